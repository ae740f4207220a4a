//! Takes out of foreign text what shows nothing but changes what is shown.

use std::borrow::Cow;

/// Text whose lines end in `\n`, without controls, without marks that reorder it, and without hidden letters.
///
/// What makes words of a script or a picture of several characters (joiners, selectors, direction marks) stays.
pub(super) fn cleaned(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_hidden(c) || breaks_line(c)) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut in_flag = false;
    let mut returned = false;
    for c in text.chars() {
        in_flag = c == FLAG || in_flag && is_tag(c);
        let ended = std::mem::replace(&mut returned, c == '\r');
        match c {
            '\n' if ended => {}
            c if breaks_line(c) => out.push('\n'),
            c if is_hidden(c) && !in_flag => {}
            c => out.push(c),
        }
    }
    out.into()
}

/// The flags of England, Scotland and Wales are this one and letters that are else invisible.
const FLAG: char = '\u{1f3f4}';

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

/// Whether it ends a line in one reader or another.
pub(super) fn breaks_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Controls, embeddings, overrides and isolates of direction, invisible operators, annotation marks, tags.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\t' && !breaks_line(c)
        || matches!(c,
            '\u{202a}'..='\u{202e}' | '\u{2061}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_taken_out_and_what_makes_words_stays() {
        for (text, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("a\r\nb\rc\u{85}d\u{2028}e\r\r\nf", "a\nb\nc\nd\ne\n\nf"),
            ("a\0b\u{7}c\u{1b}[31md\u{9b}", "abc[31md"),
            ("pay \u{202e}fdp.exe\u{202c} \u{2066}x\u{2069}", "pay fdp.exe x"),
            ("\u{feff}a\u{2063}b\u{fffa}", "ab"),
            ("a\u{e0041}\u{e0042}b", "ab"),
            ("\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}x\u{e0067}", "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}x"),
            ("👨‍👩‍👧 ❤️ می‌خواهم שלום\u{200f}", "👨‍👩‍👧 ❤️ می‌خواهم שלום\u{200f}"),
        ] {
            assert_eq!(cleaned(text), shown, "{text:?}");
        }
    }
}
