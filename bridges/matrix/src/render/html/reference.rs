//! Character references.

use std::borrow::Cow;

use pulldown_cmark::{Event, Parser};

/// Text or an attribute's value as its writer meant it.
pub(crate) fn decoded(source: &str) -> Cow<'_, str> {
    if !source.contains('&') {
        return source.into();
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let taken = if let Some(number) = rest.strip_prefix('#') {
            push_numbered(&mut out, number).map(|taken| taken + 1)
        } else {
            push_named(&mut out, rest)
        };
        match taken {
            Some(taken) => rest = &rest[taken..],
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out.into()
}

/// Says how many bytes the number and its end take.
fn push_numbered(out: &mut String, text: &str) -> Option<usize> {
    let hex = text.strip_prefix(['x', 'X']);
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    let count = digits.len() - digits.trim_start_matches(|c: char| c.is_digit(radix)).len();
    let significant = digits[..count].trim_start_matches('0');
    if count == 0 {
        return None;
    }
    // More digits than any character has: the standard's replacement, as for zero.
    let number = if significant.len() > 7 { 0 } else { u32::from_str_radix(significant, radix).unwrap_or(0) };
    out.push(char::from_u32(number).filter(|&c| c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
    let end = usize::from(digits[count..].starts_with(';'));
    Some(text.len() - digits.len() + count + end)
}

/// No name is longer.
const NAME_BYTES_MAX: usize = 32;

fn push_named(out: &mut String, text: &str) -> Option<usize> {
    let count = text.bytes().take(NAME_BYTES_MAX + 1).take_while(u8::is_ascii_alphanumeric).count();
    let name = &text[..count];
    if count == 0 || !text[count..].starts_with(';') {
        return None;
    }
    match name {
        "lt" => out.push('<'),
        "gt" => out.push('>'),
        "amp" => out.push('&'),
        "quot" => out.push('"'),
        "nbsp" => out.push('\u{a0}'),
        _ => out.push_str(&other(&format!("&{name};"))?),
    }
    Some(count + 1)
}

/// Markdown knows the same two thousand names.
fn other(reference: &str) -> Option<String> {
    let found =
        Parser::new(reference).find_map(|event| if let Event::Text(text) = event { Some(text) } else { None })?;
    (*found != *reference && !found.starts_with('&')).then(|| found.into_string())
}
