//! Bytes to text: UTF-8 first, the network's fallback encoding else, unwanted controls removed.

use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};

/// What bytes that are not UTF-8 are read as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallback(&'static Encoding);

#[derive(Debug, thiserror::Error)]
#[error("no text encoding `{0}` that IRC can carry (for example windows-1252, iso-8859-15, koi8-r)")]
pub(crate) struct UnknownEncoding(String);

impl Default for Fallback {
    fn default() -> Self {
        Self(WINDOWS_1252)
    }
}

impl Fallback {
    /// By WHATWG label. Only encodings that hold ASCII as itself, since commands and nicks must stay readable.
    pub(crate) fn from_label(label: &str) -> Result<Self, UnknownEncoding> {
        Encoding::for_label_no_replacement(label.as_bytes())
            .filter(|encoding| encoding.is_ascii_compatible())
            .map(Self)
            .ok_or_else(|| UnknownEncoding(label.to_owned()))
    }
}

/// One line as text.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The fallback's name, when some part was not UTF-8.
    pub(crate) fallback: Option<&'static str>,
}

impl<'a> Decoded<'a> {
    /// Reads a line part by part (tags, words, text), so that one client's old encoding does not spoil the tags, which
    /// the server adds and which are always UTF-8.
    pub(crate) fn new(line: &'a [u8], fallback: Fallback) -> Self {
        if let Ok(text) = std::str::from_utf8(line) {
            return Self { text: without_controls(Cow::Borrowed(text)), fallback: None };
        }
        let text: String = parts(line).into_iter().map(|part| fallback.read(part)).collect();
        Self { text: without_controls(Cow::Owned(text)), fallback: Some(fallback.0.name()) }
    }
}

impl Fallback {
    fn read(self, part: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(part) {
            Ok(text) => text.into(),
            Err(_) => self.0.decode_without_bom_handling(part).0,
        }
    }
}

/// Tags, source and command with words, last parameter. Cuts beside spaces only, which no encoding here reuses.
fn parts(line: &[u8]) -> [&[u8]; 3] {
    let space = |from: usize| line[from..].iter().position(|&byte| byte == b' ').map_or(line.len(), |at| from + at);
    let tags_end = if line.first() == Some(&b'@') { space(0) } else { 0 };
    let spaces = line[tags_end..].iter().take_while(|&&byte| byte == b' ').count();
    let source_end = space(tags_end + spaces);
    let last = line[source_end..].windows(2).position(|pair| pair == b" :");
    let words_end = last.map_or(line.len(), |at| source_end + at);
    [&line[..tags_end], &line[tags_end..words_end], &line[words_end..]]
}

fn without_controls(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.chars().any(unwanted) { text.chars().filter(|&c| !unwanted(c)).collect::<String>().into() } else { text }
}

/// C0 and DEL, but for formatting codes, CTCP framing and tab.
fn unwanted(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f')
        && !matches!(c, '\x01'..='\x04' | '\t' | '\x0f' | '\x11' | '\x16' | '\x1d'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], label: &str, text: &str, fell_back: bool) {
        let decoded = Decoded::new(line, Fallback::from_label(label).unwrap());
        assert_eq!((&*decoded.text, decoded.fallback.is_some()), (text, fell_back), "{line:?}");
    }

    #[test]
    fn utf8_is_read_as_such_and_anything_else_by_the_fallback() {
        check("PRIVMSG #a :héllo".as_bytes(), "latin1", "PRIVMSG #a :héllo", false);
        check(b"PRIVMSG #a :h\xe9llo \x80", "latin1", "PRIVMSG #a :héllo €", true);
        check(b"PRIVMSG #a :\xf0\xd2\xc9", "koi8-r", "PRIVMSG #a :При", true);
        check(b"PRIVMSG #a h\xe9", "latin1", "PRIVMSG #a hé", true);
        check(b":\xe9!u@h PRIVMSG #a :x", "latin1", ":é!u@h PRIVMSG #a :x", true);
    }

    #[test]
    fn tags_and_words_stay_utf8_when_only_the_text_is_not() {
        check(b"@a=\xc3\xa9 :n!u@h PRIVMSG #\xc3\xa9 :\xe9", "latin1", "@a=é :n!u@h PRIVMSG #é :é", true);
        check(b"@a=\xc3\xa9 PRIVMSG #\xc3\xa9 :\xe9", "latin1", "@a=é PRIVMSG #é :é", true);
    }

    #[test]
    fn only_controls_with_a_meaning_on_irc_stay() {
        check(b"a\0b\x07\x1bc\x7f", "latin1", "abc", false);
        check(
            b"\x01\x02\x03\x04\t\x0f\x11\x16\x1d\x1e\x1f",
            "latin1",
            "\x01\x02\x03\x04\t\x0f\x11\x16\x1d\x1e\x1f",
            false,
        );
    }

    #[test]
    fn an_encoding_that_hides_ascii_is_refused() {
        for label in ["utf-16", "iso-2022-jp", "no-such", ""] {
            assert!(Fallback::from_label(label).is_err(), "{label}");
        }
    }
}
