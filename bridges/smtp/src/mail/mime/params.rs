//! `Content-Type` and `Content-Disposition`: a value and its parameters, in pieces and charsets (RFC 2231) too.

use super::{decoded, plain_words, transfer::hex};

/// Octets and parameters of such a field that are looked at.
const FIELD_BYTES_MAX: usize = 8 * 1024;
const PARAMS_MAX: usize = 100;

/// The value in lower case, and its parameters as they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    pub(crate) value: String,
    params: Vec<(String, String)>,
}

impl Params {
    pub(crate) fn parse(field: &str) -> Self {
        let field = &field[..field.floor_char_boundary(FIELD_BYTES_MAX)];
        let (value, mut rest) = field.split_once(';').unwrap_or((field, ""));
        let value = value.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut params = Vec::new();
        while params.len() < PARAMS_MAX {
            let Some((name, after)) = rest.split_once('=') else { break };
            let name = name.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let (value, after) = value_of(after.trim_start());
            params.push((name, value));
            rest = after;
        }
        Self { value, params }
    }

    /// Decoded; the pieces put together. The form of RFC 2231 is meant for those who can read it, so it comes first.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let pieced = self.pieces(name);
        let whole = || self.raw(&format!("{name}*")).map(|value| extended(&[(value, true)]));
        let plain = || self.raw(name).map(plain_words);
        pieced.or_else(whole).or_else(plain)
    }

    /// As it is written, for a boundary.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn pieces(&self, name: &str) -> Option<String> {
        let mut pieces = Vec::new();
        for number in 0..PARAMS_MAX {
            let plain = format!("{name}*{number}");
            if let Some(value) = self.raw(&plain) {
                pieces.push((value, false));
            } else if let Some(value) = self.raw(&format!("{plain}*")) {
                pieces.push((value, true));
            } else {
                break;
            }
        }
        (!pieces.is_empty()).then(|| extended(&pieces))
    }
}

/// A value, quoted or not, and what follows its semicolon.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => {
                let rest = &quoted[at + 1..];
                return (value, rest.split_once(';').map_or("", |(_, rest)| rest));
            }
            // Windows paths come unescaped: a backslash counts only before what needs one.
            '\\' => match characters.clone().next() {
                Some((_, c @ ('"' | '\\'))) => {
                    value.push(c);
                    characters.next();
                }
                Some(_) | None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    (value, "")
}

/// `charset'language'text` in pieces, of which some are percent-encoded.
fn extended(pieces: &[(&str, bool)]) -> String {
    let mut charset = None;
    let mut bytes = Vec::new();
    for (at, (piece, encoded)) in pieces.iter().enumerate() {
        let mut text = *piece;
        if *encoded && at == 0 {
            let mut parts = piece.splitn(3, '\'');
            if let (Some(named), Some(_), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                charset = Some(named);
                text = rest;
            }
        }
        if *encoded {
            percent_decode(&mut bytes, text.as_bytes());
        } else {
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    let text = decoded(charset, &bytes);
    if pieces.iter().any(|(_, encoded)| *encoded) { text } else { plain_words(&text) }
}

fn percent_decode(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            (byte, after) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}
