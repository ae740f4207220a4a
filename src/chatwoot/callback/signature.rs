//! Whether a callback was made by our inbox: the signature over its raw bytes (Chatwoot 4.13), checked before any JSON.

use axum::http::{HeaderMap, HeaderName};
use bridge_api::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// `sha256=` and the lower-case hex of HMAC-SHA256 over `timestamp.body`, keyed with the inbox's `secret`.
pub static SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-chatwoot-signature");
/// Unix seconds at which the callback was sent.
pub static TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("x-chatwoot-timestamp");
/// A UUID, the same when one delivery is run again. A hint only: duplicates of an event have different ones.
pub static DELIVERY_HEADER: HeaderName = HeaderName::from_static("x-chatwoot-delivery");
/// How far the timestamp may be from our clock, either way.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Why a callback is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the callback carries no signature: chatwoot signs from 4.13 on")]
    Unsigned,
    #[error("the callback's signature headers are malformed")]
    Malformed,
    #[error("the callback's timestamp is more than {TOLERANCE_SECONDS} seconds off: check both clocks")]
    Untimely,
    #[error("the callback's signature does not match: check the inbox's callback secret")]
    Mismatch,
}

/// Accepts `body` when exactly one signature and one timestamp stand in `headers`, the timestamp is within
/// [`TOLERANCE_SECONDS`] of `now_unix_seconds`, and one of `secrets` made the signature. Compared in constant time. An
/// empty secret matches nothing.
pub fn verify(headers: &HeaderMap, body: &[u8], secrets: &[Secret], now_unix_seconds: i64) -> Result<(), Refusal> {
    let signature = single(headers, &SIGNATURE_HEADER)?;
    let timestamp = single(headers, &TIMESTAMP_HEADER)?;
    let signature = decoded(signature).ok_or(Refusal::Malformed)?;
    let sent = seconds(timestamp).ok_or(Refusal::Malformed)?;
    if sent.abs_diff(now_unix_seconds) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(Refusal::Untimely);
    }
    let made_it = |secret: &Secret| signed_by(secret, timestamp, body, &signature);
    if secrets.iter().any(made_it) { Ok(()) } else { Err(Refusal::Mismatch) }
}

fn signed_by(secret: &Secret, timestamp: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let key = secret.expose().as_bytes();
    if key.is_empty() {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(timestamp);
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().ok_or(Refusal::Unsigned)?;
    // With two, a proxy and we might each believe a different one.
    if values.next().is_some() { Err(Refusal::Malformed) } else { Ok(first.as_bytes()) }
}

fn decoded(signature: &[u8]) -> Option<[u8; 32]> {
    let digits = signature.strip_prefix(b"sha256=")?;
    let mut bytes = [0; 32];
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn seconds(timestamp: &[u8]) -> Option<i64> {
    if timestamp.is_empty() || !timestamp.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(timestamp).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};
    use bridge_api::Secret;
    use serde_json::Value;

    use super::{Refusal, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify};

    /// The vector that sandbox and gateway are both held to.
    struct Vector {
        secret: String,
        timestamp: String,
        body: String,
        signature: String,
    }

    fn vector() -> Vector {
        let fixture = include_str!("../../../tests/fixtures/chatwoot/signature.json");
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let field = |name: &str| fixture[name].as_str().unwrap().to_owned();
        Vector {
            secret: field("secret"),
            timestamp: field("timestamp"),
            body: field("body"),
            signature: field("signature"),
        }
    }

    type Header<'a> = (&'a HeaderName, &'a str);

    fn headers(pairs: &[Header<'_>]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for &(name, value) in pairs {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    const NOW: i64 = 1_781_946_902;

    #[test]
    fn the_vector_is_accepted_with_any_of_the_secrets() {
        let v = vector();
        let signed = headers(&[(&SIGNATURE_HEADER, &v.signature), (&TIMESTAMP_HEADER, &v.timestamp)]);
        let secrets = [Secret::new("next"), Secret::new(v.secret)];
        for now in [NOW, NOW - 300, NOW + 300] {
            assert_eq!(verify(&signed, v.body.as_bytes(), &secrets, now), Ok(()), "{now}");
        }
    }

    #[test]
    fn a_replay_is_refused_once_it_is_old() {
        let v = vector();
        let signed = headers(&[(&SIGNATURE_HEADER, &v.signature), (&TIMESTAMP_HEADER, &v.timestamp)]);
        let secrets = [Secret::new(v.secret)];
        for now in [NOW - 301, NOW + 301, i64::MIN, i64::MAX] {
            assert_eq!(verify(&signed, v.body.as_bytes(), &secrets, now), Err(Refusal::Untimely), "{now}");
        }
    }

    #[test]
    fn forgeries_are_refused() {
        let v = vector();
        let (signature, time) = (v.signature.as_str(), v.timestamp.as_str());
        let upper = signature.to_uppercase().replace("SHA256", "sha256");
        let wrong = format!("{}0", &signature[..signature.len() - 1]);
        let cut = &signature[..signature.len() - 2];
        let long = format!("{signature}00");
        let bare = signature.strip_prefix("sha256=").unwrap();
        let sha1 = format!("sha1={bare}");
        let (s, t) = (&SIGNATURE_HEADER, &TIMESTAMP_HEADER);
        let cases: [(&str, &[Header<'_>], Refusal); 14] = [
            ("no header", &[], Refusal::Unsigned),
            ("no signature", &[(t, time)], Refusal::Unsigned),
            ("no timestamp", &[(s, signature)], Refusal::Unsigned),
            ("wrong", &[(s, &wrong), (t, time)], Refusal::Mismatch),
            ("truncated", &[(s, cut), (t, time)], Refusal::Malformed),
            ("too long", &[(s, &long), (t, time)], Refusal::Malformed),
            ("upper case", &[(s, &upper), (t, time)], Refusal::Malformed),
            ("no scheme", &[(s, bare), (t, time)], Refusal::Malformed),
            ("another scheme", &[(s, &sha1), (t, time)], Refusal::Malformed),
            ("two signatures", &[(s, &wrong), (s, signature), (t, time)], Refusal::Malformed),
            ("two timestamps", &[(s, signature), (t, time), (t, time)], Refusal::Malformed),
            ("another time", &[(s, signature), (t, "1781946903")], Refusal::Mismatch),
            ("a signed time", &[(s, signature), (t, "+1781946902")], Refusal::Malformed),
            ("an endless time", &[(s, signature), (t, "99999999999999999999")], Refusal::Malformed),
        ];
        for (name, pairs, wanted) in cases {
            let secrets = [Secret::new(v.secret.clone())];
            assert_eq!(verify(&headers(pairs), v.body.as_bytes(), &secrets, NOW), Err(wanted), "{name}");
        }
    }

    #[test]
    fn only_the_signed_bytes_and_our_secret_match() {
        let v = vector();
        let signed = headers(&[(&SIGNATURE_HEADER, &v.signature), (&TIMESTAMP_HEADER, &v.timestamp)]);
        let respelled = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&v.body).unwrap()).unwrap();
        let longer = format!("{} ", v.body);
        let cases: [(&str, &str, Vec<Secret>); 6] = [
            ("another spelling of the same JSON", &respelled, vec![Secret::new(v.secret.clone())]),
            ("a byte more", &longer, vec![Secret::new(v.secret.clone())]),
            ("no body", "", vec![Secret::new(v.secret.clone())]),
            ("another inbox's secret", &v.body, vec![Secret::new("another")]),
            ("an empty secret", &v.body, vec![Secret::new("")]),
            ("no secret", &v.body, vec![]),
        ];
        for (name, body, secrets) in cases {
            assert_eq!(verify(&signed, body.as_bytes(), &secrets, NOW), Err(Refusal::Mismatch), "{name}");
        }
        // A body signed with nothing is not ours either, even where no secret was configured.
        let empty = "sha256=".to_owned() + &signed_with_nothing(&v);
        let signed = headers(&[(&SIGNATURE_HEADER, &empty), (&TIMESTAMP_HEADER, &v.timestamp)]);
        assert_eq!(verify(&signed, v.body.as_bytes(), &[Secret::new("")], NOW), Err(Refusal::Mismatch));
    }

    fn signed_with_nothing(v: &Vector) -> String {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"").unwrap();
        mac.update(format!("{}.{}", v.timestamp, v.body).as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}
