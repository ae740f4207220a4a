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
    pub(crate) fn new(line: &'a [u8], fallback: Fallback) -> Self {
        match std::str::from_utf8(line) {
            Ok(text) => Self { text: without_controls(Cow::Borrowed(text)), fallback: None },
            Err(_) => Self {
                text: without_controls(fallback.0.decode_without_bom_handling(line).0),
                fallback: Some(fallback.0.name()),
            },
        }
    }
}

fn without_controls(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.chars().any(unwanted) { text.chars().filter(|&c| !unwanted(c)).collect::<String>().into() } else { text }
}

/// C0 and DEL, but for formatting codes, CTCP framing and tab.
fn unwanted(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f')
        && !matches!(c, '\x01'..='\x04' | '\t' | '\x0f' | '\x11' | '\x16' | '\x1d'..='\x1f')
}
