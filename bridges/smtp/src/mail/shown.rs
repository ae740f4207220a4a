//! Makes what a stranger wrote safe to show: nothing invisible, nothing that turns the line around, no end of a terminal.

/// One line of at most this many characters, without anything that cannot be seen.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c == BRAILLE_BLANK {
            gap = !shown.is_empty();
        } else if !shows_nothing(c) {
            let need = 1 + usize::from(gap);
            if count + need > chars_max {
                break;
            }
            if gap {
                shown.push(' ');
            }
            gap = false;
            shown.push(c);
            count += need;
        }
    }
    shown
}

/// Text of many lines: without controls, marks of direction and the fillers of advertisers. Joiners stay, since some
/// scripts and pictures need them.
pub(crate) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' | '\u{85}' => out.push('\n'),
            '\n' | '\t' | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' => out.push(c),
            c if c.is_control() || shows_nothing(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Looks like a space and is none.
const BRAILLE_BLANK: char = '\u{2800}';

pub(crate) fn shows_nothing(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_hides_nothing() {
        for (raw, shown) in [
            (" Ada \r\n\t Lovelace ", "Ada Lovelace"),
            ("a\u{202e}b\u{200b}c\0d\u{1b}[1m", "abcd[1m"),
            ("\u{feff}\u{2800}\u{3164}", ""),
            ("abcdefgh", "abcde"),
            ("abcd efgh", "abcd"),
            ("a\u{2028}b", "a b"),
        ] {
            assert_eq!(one_line(raw, 5.max(shown.chars().count())), shown, "{raw:?}");
        }
        assert_eq!(lines("a\r\nb\rc\u{2028}d\u{202e}\0e\u{200b}\tf\u{200d}"), "a\nb\nc\nde\tf\u{200d}");
    }

    proptest! {
        #[test]
        fn any_line_is_short_and_visible(raw in any::<String>()) {
            let line = one_line(&raw, 64);
            prop_assert!(line.chars().count() <= 64 && !line.contains(shows_nothing));
            prop_assert_eq!(line.trim(), &line);
        }
    }
}
