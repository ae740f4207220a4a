//! Encoded words in headers (RFC 2047), as people's programs write them: next to each other, cut inside a character,
//! with unknown charsets.

use super::{
    decoded,
    transfer::{base64, hex},
};

/// Octets that one encoded word may have: 75 by the standard, more in the wild.
const WORD_BYTES_MAX: usize = 2000;
const CHARSET_BYTES_MAX: usize = 60;

/// One encoded word, not decoded yet.
struct Word<'a> {
    charset: &'a str,
    base64: bool,
    text: &'a str,
    /// Of the whole, with its signs.
    length: usize,
}

/// How many octets the encoded word at the start of this text has.
pub(crate) fn word_at(text: &str) -> Option<usize> {
    parse(text).map(|word| word.length)
}

fn parse(text: &str) -> Option<Word<'_>> {
    let rest = text.strip_prefix("=?")?;
    let charset_length = rest.bytes().take(CHARSET_BYTES_MAX).position(|byte| byte == b'?')?;
    let (charset, rest) = rest.split_at(charset_length);
    let charset = charset.split('*').next().unwrap_or(charset);
    let base64 = match rest.as_bytes().get(1)? {
        b'B' | b'b' => true,
        b'Q' | b'q' => false,
        _ => return None,
    };
    let rest = rest.get(2..)?.strip_prefix('?')?;
    let window = &rest[..rest.floor_char_boundary(WORD_BYTES_MAX)];
    let end = window.find("?=")?;
    let length = text.len() - rest.len() + end + 2;
    let good = !charset.is_empty() && charset.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| Word { charset, base64, text: &rest[..end], length })
}

/// The text with its encoded words decoded. Blanks between two of them are none; bytes of the same charset are joined
/// before they are decoded, since a character may be cut in two.
pub(crate) fn plain_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<(&str, Vec<u8>)> = None;
    let mut rest = text;
    while let Some(start) = rest.find("=?") {
        let (before, after) = rest.split_at(start);
        let Some(word) = parse(after) else {
            flush(&mut out, &mut open);
            out.push_str(before);
            out.push_str("=?");
            rest = &after[2..];
            continue;
        };
        if open.is_none() || !before.trim().is_empty() {
            flush(&mut out, &mut open);
            out.push_str(before);
        }
        let bytes = if word.base64 { base64(word.text.as_bytes()).0 } else { q_decoded(word.text) };
        match &mut open {
            Some((charset, joined)) if charset.eq_ignore_ascii_case(word.charset) => joined.extend(bytes),
            Some(_) | None => {
                flush(&mut out, &mut open);
                open = Some((word.charset, bytes));
            }
        }
        rest = &after[word.length..];
    }
    flush(&mut out, &mut open);
    out.push_str(rest);
    out
}

fn flush(out: &mut String, open: &mut Option<(&str, Vec<u8>)>) {
    if let Some((charset, bytes)) = open.take() {
        out.push_str(&decoded(Some(charset), &bytes));
    }
}

fn q_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'=', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            (b'_', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
    }
    out
}
