//! Text as PostgreSQL can keep it: all but the character NUL, which people and networks may send all the same.

use std::borrow::Cow;

/// Stands before what stands for a NUL or for itself. The next one, so that texts stay in their order.
const ESCAPE: char = '\u{1}';
const NUL: char = '\u{1}';
const ITSELF: char = '\u{2}';

pub(super) fn put(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => kept.extend([ESCAPE, NUL]),
            ESCAPE => kept.extend([ESCAPE, ITSELF]),
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

pub(super) fn take(kept: String) -> String {
    if !kept.contains(ESCAPE) {
        return kept;
    }
    let mut text = String::with_capacity(kept.len());
    let mut chars = kept.chars();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE if chars.next() == Some(NUL) => text.push('\0'),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was_and_none_holds_a_nul_meanwhile() {
        let texts =
            ["", "\0", "\0\0", "\0\u{1}", "\0a", "\u{1}", "\u{1}\0", "\u{1}\u{2}", "\u{2}", "a", "a\0b", "a\u{1}", "ä"];
        for text in texts {
            let kept = put(text).into_owned();
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(take(kept), text);
        }
        assert!(texts.is_sorted() && texts.map(|text| put(text).into_owned()).is_sorted());
    }
}
