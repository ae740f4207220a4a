//! Paths and parameters behind `MAIL FROM:` and `RCPT TO:`. Pure; asks nobody whether an address is ours.

use crate::address::Address;

use super::command::number;

/// Of a path, brackets included (RFC 5321, 4.5.3.1.3).
const PATH_BYTES_MAX: usize = 256;

/// What stands between the angle brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// `<>`
    Null,
    /// `<postmaster>`, the one name that needs no domain.
    Postmaster,
    Address(Address),
    /// A form by which a relay would be told where to send the mail on: there is no relay here.
    Relay,
    /// Beyond ASCII, which needs SMTPUTF8.
    International,
    /// Well bracketed, but nobody's address.
    Odd,
}

/// A path at the beginning of `text`, and the parameters behind it. `None` when the brackets are missing or too much is in them.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = end(inner)?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    let apart = rest.is_empty() || rest.starts_with([' ', '\t']);
    (apart && path.len() + 2 <= PATH_BYTES_MAX).then(|| (path, rest.trim_matches([' ', '\t'])))
}

/// Where the closing bracket is: one in quotes or behind a backslash is none.
fn end(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            b'<' if !quoted => return None,
            _ => {}
        }
    }
    None
}

impl Path {
    /// `inner` is without its brackets.
    pub(super) fn parse(inner: &str, international: bool) -> Self {
        if inner.is_empty() {
            return Self::Null;
        }
        let Some(mailbox) = without_route(inner) else { return Self::Odd };
        if mailbox.eq_ignore_ascii_case("postmaster") {
            return Self::Postmaster;
        }
        if !mailbox.is_ascii() && !international {
            return Self::International;
        }
        match Address::parse(mailbox) {
            Some(address) => Self::Address(address),
            None if is_relay_form(mailbox) => Self::Relay,
            None => Self::Odd,
        }
    }

    /// The same for a recipient, where names that would send a mail on are refused even though they are addresses.
    pub(super) fn recipient(inner: &str, international: bool) -> Self {
        match Self::parse(inner, international) {
            Self::Address(address) if is_relay_form(address.local()) => Self::Relay,
            path @ (Self::Null
            | Self::Postmaster
            | Self::Address(_)
            | Self::Relay
            | Self::International
            | Self::Odd) => path,
        }
    }
}

/// RFC 5321, C: `<@one.test,@two.test:user@three.test>` is taken for its last part.
fn without_route(inner: &str) -> Option<&str> {
    if !inner.starts_with('@') {
        return Some(inner);
    }
    let (route, mailbox) = inner.split_once(':')?;
    route.split(',').all(|hop| hop.len() > 1 && hop.starts_with('@')).then_some(mailbox)
}

fn is_relay_form(text: &str) -> bool {
    text.contains(['%', '!', ':', '[', ']']) || text.matches('@').count() > 1
}

/// The parameters of `MAIL`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) size: Option<u64>,
    pub(super) international: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadParameter {
    Unknown,
    Value,
}

pub(super) fn parameters(text: &str) -> Result<Parameters, BadParameter> {
    let mut found = Parameters::default();
    let mut seen: [bool; 4] = [false; 4];
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let place = match (key.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(digits)) => {
                found.size = Some(number(digits).ok_or(BadParameter::Value)?);
                0
            }
            ("BODY", Some(body)) if is_body(body) => 1,
            ("SMTPUTF8", None) => {
                found.international = true;
                2
            }
            // RFC 4954, 5: what a client says of who wrote it, believed by nobody here.
            ("AUTH", Some(_)) => 3,
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(BadParameter::Value),
            _ => return Err(BadParameter::Unknown),
        };
        if std::mem::replace(&mut seen[place], true) {
            return Err(BadParameter::Value);
        }
    }
    Ok(found)
}

fn is_body(body: &str) -> bool {
    body.eq_ignore_ascii_case("7BIT") || body.eq_ignore_ascii_case("8BITMIME")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Path {
        Path::Address(Address::parse(text).unwrap())
    }

    #[test]
    fn a_path_ends_at_its_own_bracket() {
        for (text, expected) in [
            ("<a@b.test>", Some(("a@b.test", ""))),
            ("<> SIZE=5", Some(("", "SIZE=5"))),
            ("<a@b.test>  SIZE=5 BODY=7BIT ", Some(("a@b.test", "SIZE=5 BODY=7BIT"))),
            ("<\"a>b\"@c.test> X", Some(("\"a>b\"@c.test", "X"))),
            ("<\"a\\\">b\"@c.test>", Some(("\"a\\\">b\"@c.test", ""))),
            ("a@b.test", None),
            ("<a@b.test", None),
            ("<a@b.test>SIZE=5", None),
            ("<<a@b.test>>", None),
            ("<\"a@b.test>", None),
            ("", None),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
        assert!(split(&format!("<{}>", "a".repeat(254))).is_some());
        assert!(split(&format!("<{}>", "a".repeat(255))).is_none());
    }

    #[test]
    fn a_path_is_an_address_or_says_what_else_it_is() {
        for (inner, international, expected) in [
            ("", false, Path::Null),
            ("Postmaster", false, Path::Postmaster),
            ("ada@cust.test", false, address("ada@cust.test")),
            ("\"ada\"@cust.test", false, address("ada@cust.test")),
            ("@one.test,@two.test:ada@cust.test", false, address("ada@cust.test")),
            ("füße@cust.test", true, address("füße@cust.test")),
            ("füße@cust.test", false, Path::International),
            ("@one.test", false, Path::Odd),
            ("@one.test,two.test:ada@cust.test", false, Path::Odd),
            ("@one.test:", false, Path::Odd),
            ("ada", false, Path::Odd),
            ("\"a b\"@cust.test", false, Path::Odd),
            ("\"a@b.test\"@cust.test", false, Path::Relay),
            ("a@b.test@cust.test", false, Path::Relay),
            ("ada@[192.0.2.1]", false, Path::Relay),
        ] {
            assert_eq!(Path::parse(inner, international), expected, "{inner:?}");
        }
        assert_eq!(Path::parse("a%b.test@cust.test", false), address("a%b.test@cust.test"));
        for inner in
            ["a%b.test@cust.test", "b.test!a@cust.test", "\"b.test!a\"@cust.test", "@x.test:a%b.test@cust.test"]
        {
            assert_eq!(Path::recipient(inner, false), Path::Relay, "{inner:?}");
        }
    }

    #[test]
    fn parameters_are_known_and_come_once() {
        let good = |size, international| Ok(Parameters { size, international });
        for (text, expected) in [
            ("", good(None, false)),
            ("SIZE=1000", good(Some(1000), false)),
            ("size=0 body=8bitmime SMTPUTF8", good(Some(0), true)),
            ("AUTH=<> BODY=7BIT", good(None, false)),
            ("SIZE", Err(BadParameter::Value)),
            ("SIZE=", Err(BadParameter::Value)),
            ("SIZE=-1", Err(BadParameter::Value)),
            ("SIZE=99999999999999999999", Err(BadParameter::Value)),
            ("SIZE=1 SIZE=2", Err(BadParameter::Value)),
            ("BODY=BINARYMIME", Err(BadParameter::Value)),
            ("SMTPUTF8=yes", Err(BadParameter::Value)),
            ("AUTH", Err(BadParameter::Value)),
            ("RET=FULL", Err(BadParameter::Unknown)),
            ("ENVID=x", Err(BadParameter::Unknown)),
            ("=", Err(BadParameter::Unknown)),
        ] {
            assert_eq!(parameters(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", more in "[<>@:,%!\" =a-z\\\\]{0,40}") {
            for text in [text, more] {
                if let Some((path, rest)) = split(&text) {
                    let _found = Path::recipient(path, true);
                    let _found = parameters(rest);
                }
            }
        }
    }
}
