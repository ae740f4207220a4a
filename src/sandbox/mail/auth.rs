//! What a client says of itself by `AUTH PLAIN` and `AUTH LOGIN`. Decides nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The two questions of LOGIN, as everybody asks them.
pub(super) const USERNAME: &str = "VXNlcm5hbWU6";
pub(super) const PASSWORD: &str = "UGFzc3dvcmQ6";

/// Name and password of PLAIN (RFC 4616), which must not ask to act for somebody else.
pub(super) fn plain(response: &str) -> Option<(String, String)> {
    let decoded = decode(response)?;
    let mut parts = decoded.split('\0');
    let (acting_for, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let right = parts.next().is_none() && !user.is_empty() && (acting_for.is_empty() || acting_for == user);
    right.then(|| (user.to_owned(), password.to_owned()))
}

/// Name and password of LOGIN, from both answers.
pub(super) fn login(user: &str, password: &str) -> Option<(String, String)> {
    let user = decode(user).filter(|user| !user.is_empty())?;
    Some((user, decode(password)?))
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mechanisms_are_read() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(plain(&STANDARD.encode("\0desk\0secret")), pair("desk", "secret"));
        assert_eq!(plain(&STANDARD.encode("desk\0desk\0se cret")), pair("desk", "se cret"));
        assert_eq!(login(&STANDARD.encode("desk"), &STANDARD.encode("")), pair("desk", ""));
    }

    #[test]
    fn what_is_neither_is_nobody() {
        for text in ["other\0desk\0secret", "\0\0secret", "\0desk", "\0desk\0a\0b"] {
            assert_eq!(plain(&STANDARD.encode(text)), None, "{text:?}");
        }
        assert_eq!(plain("not base64!"), None);
        assert_eq!(plain(&STANDARD.encode([0, 0xff, 0])), None);
        assert_eq!(login("", &STANDARD.encode("x")), None);
    }
}
