//! Bytes to text: by the label where it can be true, else by what the bytes look like. Never fails.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Octets that the guess is made from.
const DETECT_BYTES_MAX: usize = 64 * 1024;

/// The text of these bytes under a charset's label, which may be missing, unknown or wrong.
pub(crate) fn decoded(label: Option<&str>, bytes: &[u8]) -> String {
    let label = label.map(|label| label.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c)));
    let Some(label) = label.filter(|label| !label.is_empty() && !is_ascii(label)) else {
        return guessed(bytes);
    };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        // UTF-8 does not come about by accident, and other bytes are no UTF-8.
        Some(encoding) if encoding == UTF_8 || encoding == WINDOWS_1252 && is_utf8(bytes) => guessed(bytes),
        Some(encoding) => encoding.decode(bytes).0.into_owned(),
        None => match charset_decoder(label.as_bytes()).filter(|_| !is_replaced(label)) {
            Some(decode) => decode(bytes),
            None => guessed(bytes),
        },
    }
}

/// Of a header, where no label is: UTF-8, or what it looks like.
pub(crate) fn header_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => guessed(bytes),
    }
}

fn is_ascii(label: &str) -> bool {
    ["us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown", "default"]
        .iter()
        .any(|ascii| label.eq_ignore_ascii_case(ascii))
}

/// Labels whose decoders would give one sign for the whole text.
fn is_replaced(label: &str) -> bool {
    Encoding::for_label(label.as_bytes()).is_some()
}

fn is_utf8(bytes: &[u8]) -> bool {
    !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok()
}

fn guessed(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if !bytes.contains(&0x1b)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return text.to_owned();
    }
    // A broken character at the end or in the middle of a long text of UTF-8 does not make it another charset.
    let text = String::from_utf8_lossy(bytes);
    let broken = text.matches('\u{fffd}').count();
    let whole = text.chars().filter(|c| !c.is_ascii() && *c != '\u{fffd}').count();
    if whole > 8 * broken {
        return text.into_owned();
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes[..bytes.len().min(DETECT_BYTES_MAX)], bytes.len() <= DETECT_BYTES_MAX);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}
