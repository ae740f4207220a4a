//! Remote text made fit: to be shown (short, on one line, without controls), to be stored, to name a file.

use serde_json::Value;

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
    let short = cut(&line, SHOWN_CHARS_MAX).len();
    if short < line.len() {
        line.truncate(short);
        line.push('…');
    }
    line.truncate(line.trim_end_matches('.').len());
    line
}

/// Marks that reorder or hide what follows: bidirectional controls, zero-width characters, line and paragraph separators.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `body` without NUL characters: Chatwoot's database stores none, and its refusal would not say so.
pub(super) fn storable(body: Value) -> Value {
    match body {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "")),
        Value::Array(entries) => entries.into_iter().map(storable).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, storable(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body,
    }
}

/// At most the first `chars_max` characters.
pub(super) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Longest file name handed on, in bytes.
const NAME_BYTES_MAX: usize = 120;

/// The last part of an address's path as a [`safe_name`], percent signs resolved.
pub(super) fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let encoded = path.rsplit('/').next().unwrap_or_default();
    safe_name(&percent_decoded(encoded))
}

/// A remote file name as one that may be handed on: its last part, no separators, controls or direction marks, no
/// leading dot, at most [`NAME_BYTES_MAX`] bytes with the extension kept. `file` when nothing is left.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|&c| !c.is_control() && !turns_text(c)).collect();
    let clean = clean.trim_end().trim_start_matches(|c: char| c == '.' || c.is_whitespace());
    if clean.is_empty() {
        return "file".to_owned();
    }
    shortened(clean)
}

fn shortened(name: &str) -> String {
    let dot = name.rfind('.').filter(|&dot| name.len() - dot <= 16);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let stem = &stem[..stem.floor_char_boundary(NAME_BYTES_MAX - extension.len())];
    format!("{}{extension}", stem.trim_end())
}

/// One segment of a path. Dots are encoded too: the router of Rails takes one as it stands for the beginning of a format.
pub(super) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| hex::decode(pair).ok()).and_then(|decoded| decoded.first().copied());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, SHOWN_CHARS_MAX, file_name, shown};

    /// Those of table C25.
    #[test]
    fn two_hundred_names_of_files_become_one_short_part_of_a_path() {
        let names: Vec<String> = serde_json::from_str(include_str!("../../tests/fixtures/names/files.json")).unwrap();
        assert_eq!(names.len(), 200);
        for declared in &names {
            let name = super::safe_name(declared);
            assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{declared:?}: {name:?}");
            assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{declared:?}: {name:?}");
            assert!(!name.contains(|c: char| c.is_control() || super::turns_text(c)), "{declared:?}: {name:?}");
        }
    }

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

    #[test]
    fn a_file_name_is_harmless_and_keeps_its_extension() {
        for (url, wanted) in [
            ("https://desk.example/rails/active_storage/blobs/redirect/eyJ--1f/cat.png", "cat.png"),
            ("/a/cat%20and%20dog.png?disposition=inline#x", "cat and dog.png"),
            ("/a/..%2f..%2fetc%2fpasswd%00.png", "passwd.png"),
            ("/a/C%3A%5Ctemp%5Cx.txt", "x.txt"),
            ("/a/.htaccess", "htaccess"),
            ("/a/%E2%80%AEgpj.exe", "gpj.exe"),
            ("/a/100%.txt", "100%.txt"),
            ("/a/%FF.txt", "\u{fffd}.txt"),
            ("/a/..", "file"),
            ("/a/.%E3%80%80.%20.htaccess", "htaccess"),
            ("", "file"),
        ] {
            assert_eq!(file_name(url), wanted, "{url}");
        }
        let long = file_name(&format!("/{}.jpeg", "%C3%A4".repeat(500)));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("ä.jpeg"), "{long}");
        assert_eq!(file_name(&format!("/{}%20%20b", "a".repeat(119))), "a".repeat(119));
    }
}
