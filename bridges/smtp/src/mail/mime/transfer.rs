//! Content transfer encodings, read as leniently as they are written. What can be decoded is.

use std::borrow::Cow;

/// The content, and whether something in it could not be decoded.
pub(crate) fn transferred<'a>(encoding: &str, body: &'a [u8]) -> (Cow<'a, [u8]>, bool) {
    if encoding.eq_ignore_ascii_case("base64") {
        let (bytes, broken) = base64(body);
        (bytes.into(), broken)
    } else if encoding.eq_ignore_ascii_case("quoted-printable") {
        (quoted_printable(body).into(), false)
    } else {
        (body.into(), false)
    }
}

/// Other characters are skipped; a padding begins anew, for those who glue two encoded texts together.
pub(crate) fn base64(body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let (mut group, mut count, mut broken) = (0_u32, 0_u8, false);
    for &byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                broken |= flush(&mut out, group, count);
                (group, count) = (0, 0);
                continue;
            }
            byte => {
                broken |= !byte.is_ascii_whitespace();
                continue;
            }
        };
        group = group << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            out.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, count) = (0, 0);
        }
    }
    broken |= flush(&mut out, group, count);
    (out, broken)
}

/// Whether the end is one that no encoder writes.
fn flush(out: &mut Vec<u8>, group: u32, count: u8) -> bool {
    match count {
        2 => out.extend_from_slice(&(group << 12).to_be_bytes()[1..2]),
        3 => out.extend_from_slice(&(group << 6).to_be_bytes()[1..3]),
        _ => {}
    }
    count == 1
}

pub(crate) fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii_end();
        let (text, soft) = match text.strip_suffix(b"=") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            match (byte, after) {
                (b'=', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    out.push(hex(*high) << 4 | hex(*low));
                    rest = after;
                }
                (byte, after) => {
                    out.push(*byte);
                    rest = after;
                }
            }
        }
        if !soft && line.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

pub(crate) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}
