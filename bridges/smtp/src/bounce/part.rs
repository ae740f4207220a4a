//! Finds the parts of a mail that are no multiparts themselves. One pass over its lines with a short stack, so that neither a deep
//! nor a wide mail costs more than its length. Enclosed mails are not entered.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::header;

const PARTS_MAX: usize = 500;
const DEPTH_MAX: usize = 10;
/// RFC 2046, 5.1.1, and some more for those who do not count.
const BOUNDARY_BYTES_MAX: usize = 200;

#[derive(Clone, Debug)]
pub(super) struct Part<'x> {
    /// `text/plain`, in lower case.
    pub(super) media_type: String,
    pub(super) head: &'x [u8],
    body: &'x [u8],
}

impl<'x> Part<'x> {
    fn new(text: &'x [u8]) -> Self {
        let (head, body) = header::split(text);
        Self { media_type: media_type(head), head, body }
    }

    /// The first `limit` octets of the body, or a few less, decoded.
    pub(super) fn decoded(&self, limit: usize) -> Vec<u8> {
        let encoding = header::value(self.head, b"content-transfer-encoding").unwrap_or_default();
        let body = &self.body[..self.body.len().min(limit)];
        match encoding.to_ascii_lowercase().as_str() {
            "base64" => base64(body),
            "quoted-printable" => quoted_printable(body),
            _ => body.to_vec(),
        }
    }
}

/// In their order. A mail without parts is its own only one.
pub(super) fn leaves(raw: &[u8]) -> Vec<Part<'_>> {
    let whole = Part::new(raw);
    let Some(boundary) = boundary(&whole) else { return vec![whole] };
    let mut leaves = Vec::new();
    let mut open = vec![boundary];
    let mut current: Option<usize> = None;
    let mut at = raw.len() - whole.body.len();
    while at < raw.len() && leaves.len() < PARTS_MAX {
        let end = raw[at..].iter().position(|byte| *byte == b'\n').map_or(raw.len(), |length| at + length + 1);
        let found = delimiter(&open, raw[at..end].trim_ascii_end());
        if let Some((depth, last)) = found {
            leaves.extend(current.take().map(|start| Part::new(&raw[start..at])));
            open.truncate(if last { depth } else { depth + 1 });
            if !last {
                match boundary_at(&raw[end..]).filter(|_| open.len() < DEPTH_MAX) {
                    Some(inner) => open.push(inner),
                    None => current = Some(end),
                }
            }
        }
        at = end;
        if open.is_empty() {
            break;
        }
    }
    leaves.extend(current.map(|start| Part::new(&raw[start..])));
    leaves.truncate(PARTS_MAX);
    leaves
}

fn boundary_at(text: &[u8]) -> Option<String> {
    // The head of a part is short. Without a bound a mail of delimiters before one long head would be read again and again.
    const HEAD_BYTES_MAX: usize = 4 * 1024;
    boundary(&Part::new(&text[..text.len().min(HEAD_BYTES_MAX)]))
}

fn boundary(part: &Part<'_>) -> Option<String> {
    if !part.media_type.starts_with("multipart/") {
        return None;
    }
    let value = header::value(part.head, b"content-type")?;
    let (_, rest) = value.split_once(';')?;
    // The letters may have any case, so they are looked for in a copy of the same length.
    let at = rest.to_ascii_lowercase().find("boundary")? + "boundary".len();
    let text = rest[at..].trim_start().strip_prefix('=')?.trim_start();
    let boundary = match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => text.split([';', ' ', '\t']).next().unwrap_or_default(),
    };
    let boundary = boundary.trim_end();
    (!boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX).then(|| boundary.to_owned())
}

/// Which of the open multiparts this line divides, and whether it ends it.
fn delimiter(open: &[String], line: &[u8]) -> Option<(usize, bool)> {
    let rest = line.strip_prefix(b"--")?;
    open.iter().enumerate().rev().find_map(|(depth, boundary)| match rest.strip_prefix(boundary.as_bytes())? {
        b"" => Some((depth, false)),
        b"--" => Some((depth, true)),
        _ => None,
    })
}

fn media_type(head: &[u8]) -> String {
    let value = header::value(head, b"content-type").unwrap_or_default();
    let essence = value.split([';', ' ', '\t']).next().unwrap_or_default().to_ascii_lowercase();
    if essence.is_empty() { "text/plain".to_owned() } else { essence }
}

fn base64(body: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut clean: Vec<u8> =
        body.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect();
    if clean.len() % 4 == 1 {
        clean.pop();
    }
    LENIENT.decode(&clean).unwrap_or_default()
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'=' {
            plain.push(*first);
            continue;
        }
        match tail {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => rest = after,
            [high, low, after @ ..] => match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                (Some(high), Some(low)) => {
                    plain.push((high * 16 + low) as u8);
                    rest = after;
                }
                (Some(_) | None, Some(_) | None) => plain.push(b'='),
            },
            [_] | [] => plain.push(b'='),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types(raw: &str) -> Vec<String> {
        leaves(raw.as_bytes()).into_iter().map(|part| part.media_type).collect()
    }

    #[test]
    fn leaves_come_in_their_order_from_any_depth() {
        let raw = "Content-Type: multipart/mixed;\n boundary=\"a b\"\n\nbefore\n--a b\n\none\n--a b\nContent-Type: Multipart/alternative; x=y; BOUNDARY=in\n\n\
                   --in\nContent-Type: text/HTML; charset=x\n\ntwo\n--in\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=no\n\n--no\n\n--in--\n--a b\n\
                   Content-Type: image/png\n\nthree\n--a b--\nafter\n";
        assert_eq!(types(raw), ["text/plain", "text/html", "message/rfc822", "image/png"]);
        assert_eq!(leaves(raw.as_bytes())[3].decoded(100), b"three\n");
        assert_eq!(types(&raw.replace('\n', "\r\n")), types(raw));
        assert_eq!(types("A: b\n\nhi"), ["text/plain"]);
        assert_eq!(types("Content-Type: multipart/mixed\n\nno boundary"), ["multipart/mixed"]);
        assert_eq!(types("Content-Type: multipart/mixed; boundary=x\n\nnever begins"), Vec::<String>::new());
        assert_eq!(types("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b\n\nnever ends"), ["a/b"]);
    }

    #[test]
    fn wide_and_deep_mails_are_cut_off() {
        let wide = format!("Content-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\nhi\n".repeat(40_000));
        assert_eq!(types(&wide).len(), PARTS_MAX);
        let mut deep = String::new();
        for n in 0..40_000 {
            let name = n.to_string();
            deep.extend(["Content-Type: multipart/mixed; boundary=b", &name, "\n\n--b", &name, "\n"]);
        }
        assert_eq!(types(&deep), ["multipart/mixed"]);
    }

    #[test]
    fn bodies_are_decoded_as_far_as_they_can_be() {
        for (encoding, body, expected) in [
            ("base64", "aGVs\r\nbG8=", "hello"),
            ("BASE64", "aGVsbG8", "hello"),
            ("base64", "aGVsb!!!G8a", "hello"),
            ("quoted-printable", "a=3Db=\r\nc=\nd=zz=", "a=bcd=zz="),
            ("8bit", "a=3Db", "a=3Db"),
        ] {
            let raw = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
            let decoded = Part::new(raw.as_bytes()).decoded(100);
            assert!(String::from_utf8_lossy(&decoded).starts_with(expected), "{encoding} {body}: {decoded:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_fall_into_parts(bytes in prop::collection::vec(any::<u8>(), 0..300), lines in prop::collection::vec(
            prop_oneof![Just("--x"), Just("--x--"), Just(""), Just("Content-Type: multipart/a; boundary=x"), Just("=A"), Just("text")], 0..40)
        ) {
            let mut raw = b"Content-Type: multipart/mixed; boundary=x\n\n".to_vec();
            raw.extend(lines.join("\n").as_bytes());
            raw.extend(&bytes);
            for part in leaves(&raw).iter().chain(&leaves(&bytes)) {
                prop_assert!(part.decoded(1000).len() <= 1000);
                base64(part.body);
                quoted_printable(part.body);
            }
        }
    }
}
