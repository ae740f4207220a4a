//! Bytes as 7-bit lines of at most 76 characters that end with CR LF: quoted-printable and base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Octets of one line of base64; it has 76 characters then.
const BASE64_LINE: usize = 57;
/// Characters of a line of quoted-printable before its soft line break.
const QUOTED_LINE: usize = 75;

/// How a text travels: its encoding's name and its lines. Text with few foreign characters stays readable.
pub(crate) fn text(text: &str) -> (&'static str, String) {
    let foreign = text.bytes().filter(|byte| !byte.is_ascii()).count();
    if foreign * 3 > text.len() {
        let (mut encoder, mut lines) = (Base64Lines::default(), Vec::new());
        encoder.push(text.replace('\n', "\r\n").as_bytes(), &mut lines);
        encoder.finish(&mut lines);
        ("base64", String::from_utf8(lines).expect("base64 is ASCII"))
    } else {
        ("quoted-printable", quoted_printable(text))
    }
}

/// Lines of `text` end with `\n`. No line of the result ends with a space.
fn quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\r\n"));
        let mut used = 0;
        for (at, byte) in line.bytes().enumerate() {
            let last = at + 1 == line.len();
            let plain = match byte {
                b' ' | b'\t' => !last,
                // Some servers write a `>` before these.
                b'F' => at > 0 || !line.starts_with("From "),
                b'=' => false,
                _ => byte.is_ascii_graphic(),
            };
            let width = if plain { 1 } else { 3 };
            if used + width > QUOTED_LINE {
                out.push_str("=\r\n");
                used = 0;
            }
            used += width;
            if plain {
                out.push(char::from(byte));
            } else {
                out.push('=');
                out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
                out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
            }
        }
        out.push_str(end);
    }
    out
}

/// Base64 in whole lines of bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Base64Lines {
    carry: Vec<u8>,
}

impl Base64Lines {
    pub(crate) fn push(&mut self, mut bytes: &[u8], lines: &mut Vec<u8>) {
        if !self.carry.is_empty() {
            let (now, later) = bytes.split_at((BASE64_LINE - self.carry.len()).min(bytes.len()));
            self.carry.extend_from_slice(now);
            bytes = later;
            if self.carry.len() < BASE64_LINE {
                return;
            }
            line(&std::mem::take(&mut self.carry), lines);
        }
        let mut whole = bytes.chunks_exact(BASE64_LINE);
        whole.by_ref().for_each(|chunk| line(chunk, lines));
        self.carry.extend_from_slice(whole.remainder());
    }

    pub(crate) fn finish(&mut self, lines: &mut Vec<u8>) {
        if !self.carry.is_empty() {
            line(&std::mem::take(&mut self.carry), lines);
        }
    }

    /// Octets that so many become, line ends included.
    pub(crate) fn encoded_bytes(bytes: u64) -> u64 {
        let coded = bytes.div_ceil(3).saturating_mul(4);
        coded.saturating_add(bytes.div_ceil(BASE64_LINE as u64).saturating_mul(2))
    }
}

fn line(chunk: &[u8], lines: &mut Vec<u8>) {
    let mut coded = [0; 76];
    let count = STANDARD.encode_slice(chunk, &mut coded).expect("57 octets become 76");
    lines.extend_from_slice(&coded[..count]);
    lines.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoted_printable_hides_what_others_would_change() {
        for (text, expected) in [
            ("a b\n", "a b\r\n"),
            ("a \n", "a=20\r\n"),
            ("a\t\nb", "a=09\r\nb"),
            ("x=1\n", "x=3D1\r\n"),
            ("From me\nnot From \n", "=46rom me\r\nnot From=20\r\n"),
            ("ä\n", "=C3=A4\r\n"),
        ] {
            assert_eq!(quoted_printable(text), expected, "{text:?}");
        }
        let long = quoted_printable(&"ab ä".repeat(100));
        assert!(long.split("\r\n").all(|line| line.len() <= 76 && !line.ends_with(' ')), "{long}");
    }

    proptest! {
        #[test]
        fn base64_comes_back_however_it_was_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            cut in 0usize..200,
        ) {
            let (mut encoder, mut lines) = (Base64Lines::default(), Vec::new());
            for piece in bytes.chunks(cut + 1) {
                encoder.push(piece, &mut lines);
            }
            encoder.finish(&mut lines);
            prop_assert_eq!(lines.len() as u64, Base64Lines::encoded_bytes(bytes.len() as u64));
            let text = String::from_utf8(lines).unwrap();
            prop_assert!(text.split("\r\n").all(|line| line.len() <= 76));
            prop_assert_eq!(STANDARD.decode(text.replace("\r\n", "")).unwrap(), bytes);
        }
    }
}
