//! Cuts a header block into its fields as they stand, without a copy and without an opinion. Linear; believes in CRLF and in LF.

use std::borrow::Cow;

/// Octets of one value that are looked at.
const VALUE_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'x> {
    /// As it stands before the colon, white space included.
    pub(crate) name: &'x [u8],
    raw: &'x [u8],
}

impl<'x> Field<'x> {
    /// `name` in lower case.
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        self.name.trim_ascii().eq_ignore_ascii_case(name)
    }

    /// On one line, without white space around it.
    pub(crate) fn value(&self) -> Cow<'x, str> {
        let raw = &self.raw[..self.raw.len().min(VALUE_BYTES_MAX)];
        let text = String::from_utf8_lossy(raw.trim_ascii());
        if text.contains(['\r', '\n']) { text.replace("\r\n", "").replace(['\r', '\n'], "").into() } else { text }
    }
}

/// Where the block ends and where what follows it begins: at an empty line, or at one that can be no field.
pub(crate) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let content = line.trim_ascii_end();
        if content.is_empty() {
            return (&text[..at], &text[at + line.len()..]);
        }
        let folded = at > 0 && matches!(line[0], b' ' | b'\t');
        if !folded && name_of(line).is_none() {
            break;
        }
        at += line.len();
    }
    text.split_at(at)
}

/// The fields of the block at the head of `text`.
pub(crate) fn fields(text: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = split(text).0;
    std::iter::from_fn(move || {
        let name = name_of(rest)?;
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            if end > 0 && !matches!(line[0], b' ' | b'\t') {
                break;
            }
            end += line.len();
        }
        let raw = &rest[name.len() + 1..end];
        rest = &rest[end..];
        Some(Field { name, raw })
    })
}

/// The value of the first field of this name.
pub(crate) fn value<'x>(text: &'x [u8], name: &[u8]) -> Option<Cow<'x, str>> {
    fields(text).find(|field| field.is(name)).map(|field| field.value())
}

fn name_of(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| !(0x21..=0x7e).contains(byte) || *byte == b':')?;
    let spaces = line[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (end > 0 && line.get(end + spaces) == Some(&b':')).then(|| &line[..end + spaces])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        fields(text.as_bytes())
            .map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value().into_owned()))
            .collect()
    }

    #[test]
    fn fields_are_cut_where_they_begin() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, expected, rest) in [
            ("A: b\r\nC: d\r\n\r\nbody", vec![pair("A", "b"), pair("C", "d")], "body"),
            ("A: b\nC : d\n\nbody", vec![pair("A", "b"), pair("C ", "d")], "body"),
            ("A: b\r\n\tc\r\n d\r\nE:\r\n\r\n", vec![pair("A", "b\tc d"), pair("E", "")], ""),
            ("A:b", vec![pair("A", "b")], ""),
            ("A: b\r\n--cut\r\nC: d", vec![pair("A", "b")], "--cut\r\nC: d"),
            ("no field here\r\nA: b", vec![], "no field here\r\nA: b"),
            (" A: b\r\n", vec![], " A: b\r\n"),
            ("\r\nA: b", vec![], "A: b"),
            ("", vec![], ""),
            (": b\r\n", vec![], ": b\r\n"),
        ] {
            assert_eq!(pairs(text), expected, "{text:?}");
            assert_eq!(split(text.as_bytes()).1, rest.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn an_endless_value_is_cut() {
        assert_eq!(pairs(&format!("A:{}", "b".repeat(VALUE_BYTES_MAX + 5)))[0].1.len(), VALUE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_loss(bytes in prop::collection::vec(prop_oneof![
            Just(b':'), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'a'), any::<u8>()
        ], 0..200)) {
            let (head, rest) = split(&bytes);
            prop_assert!(bytes.starts_with(head) && bytes.ends_with(rest));
            for field in fields(&bytes) {
                prop_assert!(!field.value().contains(['\r', '\n']));
            }
        }
    }
}
