//! Makes what a stranger wrote safe to show: nothing invisible, nothing that turns the line around, no end of a terminal.

use crate::characters::{is_blank, is_hidden, joins};

/// One line of at most this many characters, without anything that cannot be seen.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut gap = false;
    for c in text.chars() {
        if is_blank(c) {
            gap = !shown.is_empty();
        } else if !is_hidden(c) {
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
            '\n' | '\t' => out.push(c),
            c if is_hidden(c) && !joins(c) => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Those of table C18: a hundred names, most of which pretend to be others.
    #[test]
    fn a_hundred_names_are_shown_without_what_hides() {
        let table = include_str!("../../../../tests/fixtures/names/shown.json");
        let table: Vec<(String, String)> = serde_json::from_str(table).unwrap();
        assert_eq!(table.len(), 100);
        for (name, shown) in table {
            assert_eq!(one_line(&name, 64), shown, "{name:?}");
        }
    }

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
            prop_assert!(line.chars().count() <= 64 && !line.contains(is_hidden));
            prop_assert_eq!(line.trim(), &line);
        }
    }
}
