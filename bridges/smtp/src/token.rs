//! Names that nobody can guess and everybody may see: in reply addresses, Message-IDs and envelope senders. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a token stands for. One kind is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A thread: whoever answers to it speaks in that thread.
    Reply,
    /// One mail of ours.
    Sent,
}

/// The key that tokens of one bridge are made with.
#[derive(Clone)]
pub(crate) struct TokenKey([u8; 32]);

/// Of the code that makes a token: 160 bits.
const MAC_BYTES: usize = 20;
/// Letters of a token: it fits into the 64 octets of a local part, beside the desk's name.
pub(crate) const TOKEN_LETTERS: usize = 32;

impl TokenKey {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut key)
            .expect("a system without randomness runs nothing of ours");
        Self(key)
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).ok()?;
        Some(Self(key))
    }

    pub(crate) fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The same for the same subject, of lower-case letters and digits only: some systems fold case.
    pub(crate) fn token(&self, kind: Kind, subject: &str) -> String {
        base32(&self.mac(kind, subject).finalize().into_bytes()[..MAC_BYTES])
    }

    /// Whether a token is of this kind and subject. Takes the same time wherever they differ.
    pub(crate) fn verify(&self, kind: Kind, subject: &str, token: &str) -> bool {
        unbase32(token).is_some_and(|code| self.mac(kind, subject).verify_truncated_left(&code).is_ok())
    }

    fn mac(&self, kind: Kind, subject: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is good");
        mac.update(match kind {
            Kind::Reply => b"reply\0",
            Kind::Sent => b"sent\0",
        });
        mac.update(subject.as_bytes());
        mac
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Has the text the form of a token?
pub(crate) fn looks_like_token(text: &str) -> bool {
    text.len() == TOKEN_LETTERS && text.bytes().all(|b| ALPHABET.contains(&b.to_ascii_lowercase()))
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5);
    let (mut window, mut bits) = (0_u32, 0);
    for byte in bytes {
        window = window << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(window >> bits & 31) as usize]));
        }
        window &= (1 << bits) - 1;
    }
    text
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    if !looks_like_token(text) {
        return None;
    }
    let mut bytes = Vec::with_capacity(MAC_BYTES);
    let (mut window, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_lowercase())?;
        window = window << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((window >> bits) as u8);
            window &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_kind_and_subject_alone_in_any_case() {
        let key = TokenKey::new();
        let token = key.token(Kind::Reply, "thread-1");
        assert!(looks_like_token(&token), "{token}");
        assert_eq!(token, TokenKey::from_hex(&key.to_hex()).unwrap().token(Kind::Reply, "thread-1"));
        assert!(key.verify(Kind::Reply, "thread-1", &token));
        assert!(key.verify(Kind::Reply, "thread-1", &token.to_uppercase()));
        assert!(!key.verify(Kind::Sent, "thread-1", &token));
        assert!(!key.verify(Kind::Reply, "thread-2", &token));
        assert!(!TokenKey::new().verify(Kind::Reply, "thread-1", &token));
        for place in 0..TOKEN_LETTERS {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'a' { b'b' } else { b'a' };
            assert!(!key.verify(Kind::Reply, "thread-1", &String::from_utf8(forged).unwrap()), "letter {place}");
        }
        for short in ["", "a", &token[1..], "0123456789012345678901234567890!"] {
            assert!(!key.verify(Kind::Reply, "thread-1", short), "{short:?}");
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
        let code: Vec<u8> = (100..120).collect();
        assert_eq!(unbase32(&base32(&code)), Some(code));
    }
}
