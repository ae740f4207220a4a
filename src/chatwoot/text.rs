//! Remote text made fit to be shown: short, on one line, without controls.

/// Longest piece of an answer that is repeated to a person, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// `remote` on one line: controls and direction marks dropped, runs of blanks made one, cut at [`SHOWN_CHARS_MAX`], no
/// final stop.
pub(super) fn shown(remote: &str) -> String {
    let mut line = String::new();
    // Words are taken from a bounded piece, so that a huge answer costs no more than a small one.
    let piece = remote.chars().take(SHOWN_CHARS_MAX * 4);
    let clean: String = piece.map(|c| if c.is_control() { ' ' } else { c }).filter(|&c| !turns_text(c)).collect();
    for word in clean.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((cut, _)) = line.char_indices().nth(SHOWN_CHARS_MAX) {
        line.truncate(cut);
        line.push('…');
    }
    line.truncate(line.trim_end_matches('.').len());
    line
}

/// Marks that reorder or hide what follows: bidirectional controls, zero-width characters, line and paragraph separators.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{SHOWN_CHARS_MAX, shown};

    #[test]
    fn remote_text_is_shown_on_one_short_line() {
        for (remote, wanted) in [
            ("Email has already been taken", "Email has already been taken"),
            (" a\r\n\tb\u{0}c\u{1b}[31m ", "a b c [31m"),
            ("left\u{202e}right\u{200b}", "leftright"),
            ("done...", "done"),
            ("", ""),
        ] {
            assert_eq!(shown(remote), wanted, "{remote:?}");
        }
        let long = shown(&"ä".repeat(100_000));
        assert_eq!(long.chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
