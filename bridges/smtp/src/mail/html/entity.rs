//! Character references in HTML, as browsers read them.

use std::borrow::Cow;

use html5ever::data::NAMED_ENTITIES;

/// No name is longer.
const NAME_BYTES_MAX: usize = 33;

pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if let Some((length, characters)) = numeric(after).or_else(|| named(after)) {
            out.extend(characters.into_iter().flatten());
            &after[length..]
        } else {
            out.push('&');
            after
        };
    }
    out.push_str(rest);
    out.into()
}

type Reference = (usize, [Option<char>; 2]);

fn numeric(after: &str) -> Option<Reference> {
    let digits = after.strip_prefix('#')?;
    let (digits, radix, prefix) = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 2),
        None => (digits, 10, 1),
    };
    let count = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if count == 0 {
        return None;
    }
    let end = prefix + count;
    let length = end + usize::from(after[end..].starts_with(';'));
    let value = u32::from_str_radix(&digits[..count], radix).unwrap_or(u32::MAX);
    Some((length, [Some(character(value)), None]))
}

/// Numbers of the old Windows charset mean its characters.
fn character(value: u32) -> char {
    match u8::try_from(value) {
        Ok(byte @ 0x80..=0x9f) => {
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next().unwrap_or('\u{fffd}')
        }
        Ok(_) | Err(_) => char::from_u32(value).filter(|c| *c != '\0').unwrap_or('\u{fffd}'),
    }
}

/// The longest name that is one, since some need no semicolon.
fn named(after: &str) -> Option<Reference> {
    let window = after.bytes().take(NAME_BYTES_MAX).take_while(u8::is_ascii_alphanumeric).count();
    let longest = window + usize::from(after[window..].starts_with(';'));
    (1..=longest).rev().find_map(|length| {
        let (first, second) = *NAMED_ENTITIES.get(&after[..length])?;
        let first = char::from_u32(first).filter(|c| *c != '\0')?;
        Some((length, [Some(first), char::from_u32(second).filter(|c| *c != '\0')]))
    })
}
