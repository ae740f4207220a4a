//! Message-IDs of strangers: kept and written back only when nothing can hide in them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Message-ID with its angle brackets: printable ASCII around one `@`, nothing else, so that it can stand in a header
/// of ours as it is.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MessageId(Box<str>);

impl MessageId {
    /// Octets, brackets included.
    pub(crate) const BYTES_MAX: usize = 250;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix('<')?.strip_suffix('>')?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '(' | ')' | ',' | ';' | '\\');
        let (left, right) = inner.split_once('@')?;
        let good = !left.is_empty() && !right.is_empty() && !right.contains('@') && inner.chars().all(plain);
        (good && inner.len() + 2 <= Self::BYTES_MAX).then(|| Self(format!("<{inner}>").into()))
    }
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
    /// What stands before and behind the `@`.
    pub(crate) fn halves(&self) -> (&str, &str) {
        self.0[1..self.0.len() - 1].split_once('@').expect("parsed with one")
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_in_which_nothing_can_hide_are_kept() {
        assert_eq!(MessageId::parse(" <a.b+c@d.e> ").unwrap().halves(), ("a.b+c", "d.e"));
        for bad in [
            "a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a@b@c>",
            "<a b@c>",
            "<a@b>\r\nX: y",
            "<a\n@b>",
            "<ä@b>",
            "<<a@b>>",
            "<\"a\"@b>",
        ] {
            assert_eq!(MessageId::parse(bad), None, "{bad:?}");
        }
        assert!(MessageId::parse(&format!("<{}@b>", "a".repeat(246))).is_some());
        assert!(MessageId::parse(&format!("<{}@b>", "a".repeat(247))).is_none());
    }
}
