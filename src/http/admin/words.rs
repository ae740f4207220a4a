//! How things are written on the page: moments, numbers, and above all what strangers wrote.

use maud::{Markup, html};

/// Characters of a foreign text.
const SHOWN_MAX: usize = 240;
/// Stands for what cannot be seen, or would turn the text around.
const UNSEEN: char = '\u{fffd}';

/// What strangers wrote: cut, with what is invisible made visible, and unable to turn what stands around it.
pub(super) fn foreign(text: &str) -> Markup {
    html! { bdi { (seen(text, SHOWN_MAX)) } }
}

/// The same with nothing cut off, for what has to be known exactly.
pub(super) fn exact(text: &str) -> Markup {
    html! { bdi { (seen(text, usize::MAX)) } }
}

fn seen(text: &str, max: usize) -> String {
    let mut shown: String = text.chars().take(max).map(|c| if is_unseen(c) { UNSEEN } else { c }).collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

/// Controls, and what has no width or changes the direction.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// How long ago, with the moment itself for whoever looks closer.
pub(super) fn ago(millis: i64, now_millis: i64) -> Markup {
    moment(
        millis,
        &match now_millis - millis {
            ..1_000 => "just now".to_owned(),
            past => format!("{} ago", span(past)),
        },
    )
}

/// How long it lasts already.
pub(super) fn since(millis: i64, now_millis: i64) -> Markup {
    moment(millis, &span(now_millis - millis))
}

/// The moment itself.
pub(super) fn at(millis: i64) -> Markup {
    let text = jiff::Timestamp::from_millisecond(millis).map(|moment| moment.strftime("%F %T UTC").to_string());
    moment(millis, text.as_deref().unwrap_or("?"))
}

fn moment(millis: i64, shown: &str) -> Markup {
    let moment = jiff::Timestamp::from_millisecond(millis);
    let exact = moment.map_or_else(|_| String::new(), |moment| format!("{moment:.0}"));
    html! { time datetime=(exact) title=(exact) { (shown) } }
}

/// A length of time in its two largest units at most.
pub(super) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, 1..10, _) if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        (0, _, _) => format!("{hours} h"),
        (1..10, _, _) if hours % 24 > 0 => format!("{days} d {} h", hours % 24),
        (_, _, _) => format!("{days} d"),
    }
}

/// With its thousands set apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// One or several.
pub(super) fn many(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// `inbox:support` as a person says it.
pub(super) fn sink(name: &str) -> String {
    match name.split_once(':') {
        Some((kind, name)) => format!("{kind} {name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_is_text_and_nothing_of_it_hides() {
        for (text, expected) in [
            ("ada", "<bdi>ada</bdi>"),
            ("<script>alert(1)</script>", "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"),
            ("\" onload=\"x", "<bdi>&quot; onload=&quot;x</bdi>"),
            ("a&amp;b", "<bdi>a&amp;amp;b</bdi>"),
            ("gnp.\u{202e}exe", "<bdi>gnp.\u{fffd}exe</bdi>"),
            ("a\u{200b}da\n\u{1b}[0m\u{0}", "<bdi>a\u{fffd}da\u{fffd}\u{fffd}[0m\u{fffd}</bdi>"),
        ] {
            assert_eq!(foreign(text).into_string(), expected, "{text:?}");
        }
        let long = "ü".repeat(SHOWN_MAX + 1);
        assert!(foreign(&long).into_string().ends_with("ü…</bdi>"));
        assert_eq!(exact(&long).into_string(), format!("<bdi>{long}</bdi>"));
    }

    #[test]
    fn numbers_and_times_are_read_at_a_glance() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")]
        {
            assert_eq!(count(number), expected);
        }
        for (seconds, expected) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (18_000, "5 h"),
            (36_000, "10 h"),
            (172_800, "2 d"),
            (90_000, "1 d 1 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(span(seconds * 1000), expected);
        }
        assert_eq!(
            (many(1, "letter", "letters"), many(2, "letter", "letters")),
            ("1 letter".into(), "2 letters".into())
        );
        assert!(at(i64::MAX).into_string().contains('?'));
    }
}
