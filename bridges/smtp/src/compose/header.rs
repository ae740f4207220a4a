//! Header fields, written: folded, and ASCII but for the addresses that need SMTPUTF8. Takes cleaned text only.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hickory_resolver::proto::rr::Name;

use crate::address::Address;

/// Where lines are folded, if there is a place.
const LINE_BYTES: usize = 78;
/// Octets of text in one encoded word, so that it fits behind the name of a field.
const WORD_BYTES: usize = 39;
/// The longest text that stands in quotes, and the longest word of plain text.
const PLAIN_BYTES_MAX: usize = 60;
/// Characters of one section of a parameter.
const SECTION_BYTES: usize = 48;

/// A block of header fields.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    text: String,
    /// Name and whole field, in order, for signing.
    starts: Vec<(&'static str, usize)>,
}

impl Fields {
    /// A field of pieces between which a line may be folded.
    pub(crate) fn add(&mut self, name: &'static str, pieces: impl IntoIterator<Item = String>) {
        self.starts.push((name, self.text.len()));
        self.text.push_str(name);
        self.text.push(':');
        let mut used = name.len() + 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            debug_assert!(!piece.contains(['\r', '\n']), "{piece:?}");
            if at > 0 && used + 1 + piece.len() > LINE_BYTES {
                self.text.push_str("\r\n");
                used = 0;
            }
            self.text.push(' ');
            self.text.push_str(&piece);
            used += 1 + piece.len();
        }
        self.text.push_str("\r\n");
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Each field with its name, as written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.starts.iter().enumerate().map(|(at, (name, start))| {
            let end = self.starts.get(at + 1).map_or(self.text.len(), |(_, end)| *end);
            (*name, &self.text[*start..end])
        })
    }
}

/// Free text, such as a subject.
pub(crate) fn words(text: &str) -> Vec<String> {
    let plain = text.is_ascii() && !text.contains("=?") && text.split(' ').all(|word| word.len() <= PLAIN_BYTES_MAX);
    if plain { text.split(' ').map(str::to_owned).collect() } else { encoded_words(text) }
}

/// An address as it is written: a domain beyond ASCII in its ASCII form (IDNA), which every relay takes as long as the
/// local part is plain.
pub(crate) fn address(address: &Address) -> String {
    if !address.local().is_ascii() || address.domain().is_ascii() {
        return address.to_string();
    }
    match Name::from_utf8(address.domain()).map(|name| name.to_ascii()) {
        Ok(domain) if domain.is_ascii() => format!("{}@{}", address.local(), domain.trim_end_matches('.')),
        Ok(_) | Err(_) => address.to_string(),
    }
}

/// A name and an address.
pub(crate) fn mailbox(name: &str, of: &Address) -> Vec<String> {
    if name.is_empty() {
        return vec![address(of)];
    }
    let plain = name.is_ascii() && !name.contains("=?") && name.len() <= PLAIN_BYTES_MAX;
    let mut pieces = if plain { vec![format!("\"{name}\"")] } else { encoded_words(name) };
    pieces.push(format!("<{}>", address(of)));
    pieces
}

/// Mailboxes with commas between them.
pub(crate) fn mailboxes<'a>(all: impl IntoIterator<Item = (&'a str, &'a Address)>) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for (name, address) in all {
        if let Some(last) = pieces.last_mut() {
            last.push(',');
        }
        pieces.extend(mailbox(name, address));
    }
    pieces
}

/// A parameter of a MIME field (RFC 2231), its pieces divided by semicolons.
pub(crate) fn parameter(name: &str, value: &str) -> Vec<String> {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    if value.chars().all(plain) && !value.contains("=?") && value.len() <= PLAIN_BYTES_MAX {
        return vec![format!("{name}=\"{value}\"")];
    }
    let mut sections = vec![String::new()];
    // Some readers decode each section by itself, so no character is cut.
    for c in value.chars() {
        let mut coded = String::new();
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') {
            coded.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(coded, "%{byte:02X}").expect("a string takes everything");
            }
        }
        match sections.last_mut() {
            Some(section) if section.len() + coded.len() <= SECTION_BYTES => section.push_str(&coded),
            Some(_) | None => sections.push(coded),
        }
    }
    let count = sections.len();
    let write = |(at, section): (usize, String)| {
        let number = if count > 1 { format!("*{at}") } else { String::new() };
        let charset = if at == 0 { "utf-8''" } else { "" };
        let end = if at + 1 < count { ";" } else { "" };
        format!("{name}{number}*={charset}{section}{end}")
    };
    sections.into_iter().enumerate().map(write).collect()
}

/// RFC 2047.
fn encoded_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(now)));
        rest = later;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, pieces: Vec<String>) -> String {
        let mut fields = Fields::default();
        fields.add(name, pieces);
        fields.as_str().to_owned()
    }

    #[test]
    fn text_is_written_plain_when_it_can_be() {
        let long = "word ".repeat(30);
        let folded = field("Subject", words(long.trim()));
        assert!(folded.lines().count() > 1 && folded.split("\r\n").all(|line| line.len() <= LINE_BYTES), "{folded}");
        assert_eq!(field("Subject", words("Order 5")), "Subject: Order 5\r\n");
        assert_eq!(field("Subject", words("ä")), "Subject: =?UTF-8?B?w6Q=?=\r\n");
        assert_eq!(field("Subject", words("=?x?=")), "Subject: =?UTF-8?B?PT94Pz0=?=\r\n");
        let encoded = field("Subject", words(&"ü".repeat(250)));
        assert!(encoded.split("\r\n").all(|line| line.len() <= LINE_BYTES), "{encoded}");
        assert!(!encoded.starts_with("Subject:\r\n"));
    }

    #[test]
    fn mailboxes_are_quoted_or_encoded_and_divided_by_commas() {
        let address = Address::parse("a@b.test").unwrap();
        let all = [("Ada, L.", &address), ("", &address), ("Zoë", &address)];
        assert_eq!(
            field("To", mailboxes(all)),
            "To: \"Ada, L.\" <a@b.test>, a@b.test, =?UTF-8?B?Wm/Dqw==?= <a@b.test>\r\n"
        );
    }

    #[test]
    fn a_domain_is_written_in_ascii_when_the_local_part_is_plain() {
        for (text, expected) in [
            ("bob@müll.test", "bob@xn--mll-hoa.test"),
            ("bob@a_b.test", "bob@a_b.test"),
            ("böb@müll.test", "böb@müll.test"),
        ] {
            assert_eq!(address(&Address::parse(text).unwrap()), expected);
        }
    }

    #[test]
    fn a_parameter_is_cut_into_sections_when_it_is_long() {
        assert_eq!(parameter("filename", "a b.pdf"), ["filename=\"a b.pdf\""]);
        assert_eq!(parameter("filename", "ä.pdf"), ["filename*=utf-8''%C3%A4.pdf"]);
        let long = parameter("filename", &"ä".repeat(20));
        assert_eq!(long.len(), 3);
        assert!(long[0].starts_with("filename*0*=utf-8''%C3") && long[0].ends_with(';'), "{long:?}");
        assert!(long[2].starts_with("filename*2*=%") && !long[2].ends_with(';'), "{long:?}");
    }
}
