//! Mail addresses, as they are compared and as they are written. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::characters::{is_blank, is_hidden};

/// Octets of a local part and of a domain (RFC 5321, 4.5.3.1).
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;
const ADDRESS_BYTES_MAX: usize = 254;

/// A mail address, with its domain in lower case. Two that differ only in the case of the local part are the same one: no
/// provider gives them to different people.
#[derive(Clone, Eq)]
pub(crate) struct Address {
    text: Box<str>,
    at: usize,
}

impl Address {
    /// From `local@domain` without angle brackets. A quoted local part comes unquoted. `None` for what is no address that mail
    /// can be sent to: an empty part, control characters, white space, a literal such as `[192.0.2.1]`, too long a part.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let local = unquoted(local)?;
        // Before it is measured: some letters are longer when they are small.
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
        let sizes = (1..=LOCAL_BYTES_MAX).contains(&local.len()) && (1..=DOMAIN_BYTES_MAX).contains(&domain.len());
        if !sizes || local.len() + 1 + domain.len() > ADDRESS_BYTES_MAX || !is_local(&local) || !is_domain(&domain) {
            return None;
        }
        let text = format!("{local}@{domain}");
        Some(Self { text: text.into(), at: local.len() })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
    pub(crate) fn local(&self) -> &str {
        &self.text[..self.at]
    }
    pub(crate) fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
    /// The form by which addresses are compared and people are named.
    pub(crate) fn folded(&self) -> String {
        self.text.to_lowercase()
    }
    /// `support+token@d` as `support@d` and `token`, for this separator. What is no address without its detail has none.
    pub(crate) fn split_detail(&self, separator: char) -> (Self, Option<&str>) {
        let split = self.local().match_indices(separator).find_map(|(at, sign)| {
            let base = Self::parse(&format!("{}@{}", &self.local()[..at], self.domain()))?;
            Some((base, Some(&self.local()[at + sign.len()..])))
        });
        split.unwrap_or_else(|| (self.clone(), None))
    }
    /// The other way round. `None` when it gets too long.
    pub(crate) fn with_detail(&self, separator: char, detail: &str) -> Option<Self> {
        Self::parse(&format!("{}{separator}{detail}@{}", self.local(), self.domain()))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("no mail address: {text:?}")))
    }
}

/// RFC 5321, 4.1.2: `"a b"` is written for `a b`. Only what could have been written without quotes is taken: the rest is
/// nobody's address in practice, and a way to smuggle a second one past a relay.
fn unquoted(local: &str) -> Option<String> {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(local.to_owned());
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.push(characters.next()?),
            '"' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

fn is_local(local: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_foreign(c);
    local.chars().all(allowed) && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..")
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_foreign(c);
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// A letter or sign beyond ASCII that one can see.
fn is_foreign(c: char) -> bool {
    !c.is_ascii() && !is_blank(c) && !is_hidden(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_or_it_is_nothing() {
        for (text, expected) in [
            ("ada@cust.test", Some("ada@cust.test")),
            ("Ada.L@CUST.Test.", Some("Ada.L@cust.test")),
            ("\"ada\"@cust.test", Some("ada@cust.test")),
            ("\"a\\da\"@cust.test", Some("ada@cust.test")),
            ("füße@müll.test", Some("füße@müll.test")),
            ("\"a b\"@cust.test", None),
            ("\"a@b\"@cust.test", None),
            ("a@b@c.test", None),
            ("ada@[192.0.2.1]", None),
            ("ada@", None),
            ("@cust.test", None),
            ("ada", None),
            (".ada@cust.test", None),
            ("a..b@cust.test", None),
            ("ada@cust..test", None),
            ("ada@İİİİİİİİİİİİİİİİİİİİİİİİİİİİİİ.test", None),
            ("ada@-cust.test", None),
            ("ada\r\n@cust.test", None),
            ("ad\0a@cust.test", None),
            ("ad\u{202e}a@cust.test", None),
            ("ad\u{ad}a@cust.test", None),
            ("ad\u{fe0f}a@cust.test", None),
            ("ada@cu\u{3164}st.test", None),
            ("ada@cu\u{2800}st.test", None),
            ("ada <x@cust.test", None),
        ] {
            assert_eq!(Address::parse(text).as_ref().map(Address::as_str), expected, "{text:?}");
        }
        assert!(Address::parse(&format!("{}@c.test", "a".repeat(64))).is_some());
        assert!(Address::parse(&format!("{}@c.test", "a".repeat(65))).is_none());
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_read_back_as_it_was_written(text in "[a-zA-ZİßÄ.+]{1,20}@[a-zİÄß.-]{1,70}") {
            if let Some(address) = Address::parse(&text) {
                let again = Address::parse(address.as_str());
                proptest::prop_assert_eq!(again.as_ref().map(Address::as_str), Some(address.as_str()));
            }
        }
    }

    #[test]
    fn the_same_address_is_equal_in_any_case() {
        assert_eq!(Address::parse("ADA@cust.test"), Address::parse("ada@CUST.TEST"));
        assert_ne!(Address::parse("ada@cust.test"), Address::parse("ada+1@cust.test"));
    }

    #[test]
    fn a_detail_is_taken_off_and_put_on() {
        let address = Address::parse("support+abc@acme.test").unwrap();
        let (base, detail) = address.split_detail('+');
        assert_eq!((base.as_str(), detail), ("support@acme.test", Some("abc")));
        assert_eq!(base.with_detail('+', "abc"), Some(address));
        assert_eq!(Address::parse("+abc@acme.test").unwrap().split_detail('+').1, None);
        assert_eq!(base.with_detail('+', &"a".repeat(60)), None);
        for (text, expected) in [
            ("a.+x@acme.test", ("a.+x@acme.test", None)),
            ("a.+x+y+z@acme.test", ("a.+x@acme.test", Some("y+z"))),
            ("a+@acme.test", ("a@acme.test", Some(""))),
        ] {
            let address = Address::parse(text).unwrap();
            let (base, detail) = address.split_detail('+');
            assert_eq!((base.as_str(), detail), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_left_without_a_detail_is_read_back(
            text in "[a-zß.+=_-]{1,20}@[a-zß-]{1,10}", separator in "[-+=_.]"
        ) {
            let separator = separator.chars().next().unwrap();
            if let Some(address) = Address::parse(&text) {
                let (base, _) = address.split_detail(separator);
                let json = serde_json::to_string(&base).unwrap();
                let again: Address = serde_json::from_str(&json).unwrap();
                proptest::prop_assert_eq!(again.as_str(), base.as_str());
                if let Some(signed) = base.with_detail(separator, "token") {
                    proptest::prop_assert!(signed.split_detail(separator).1.is_some());
                }
            }
        }
    }
}
