//! SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_api::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::SaslError;

/// The exchange up to the server's challenge.
#[derive(Debug)]
pub(super) struct Scram {
    password: Secret,
    nonce: String,
    first_bare: String,
}

/// What is left once our proof is sent: the server's signature, not yet compared.
pub(super) struct Final(Hmac<Sha256>);

impl std::fmt::Debug for Final {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Final")
    }
}

const ITERATIONS_MIN: u64 = 4096;
/// Bounds the work that a hostile server can ask for.
const ITERATIONS_MAX: u64 = 600_000;
const NONCE_CHARS_MIN: usize = 16;
/// "n,,": no channel binding, no other identity.
const GS2_HEADER: &str = "n,,";

impl Scram {
    pub(super) fn new(account: &str, password: Secret, nonce: &str) -> Result<Self, SaslError> {
        if nonce.len() < NONCE_CHARS_MIN || !printable(nonce) {
            return Err(SaslError::Nonce);
        }
        let name = account.replace('=', "=3D").replace(',', "=2C");
        Ok(Self { password, nonce: nonce.to_owned(), first_bare: format!("n={name},r={nonce}") })
    }

    pub(super) fn client_first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// Our proof, and what the server's own must be.
    pub(super) fn answer(self, server_first: &str) -> Result<(String, Final), SaslError> {
        if let Some(reason) = server_first.strip_prefix("e=") {
            return Err(SaslError::Refused(reason.to_owned()));
        }
        let challenge = Challenge::parse(server_first)?;
        if !challenge.nonce.starts_with(&self.nonce)
            || challenge.nonce.len() == self.nonce.len()
            || !printable(challenge.nonce)
        {
            return Err(SaslError::Protocol("the nonce does not extend ours"));
        }
        let final_bare = format!("c={},r={}", STANDARD.encode(GS2_HEADER), challenge.nonce);
        let signed = format!("{},{server_first},{final_bare}", self.first_bare);

        let password = self.password.expose().as_bytes();
        let salted = pbkdf2::pbkdf2_array::<Hmac<Sha256>, 32>(password, &challenge.salt, challenge.iterations)
            .expect("hmac takes a key of any length");
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let server = keyed(&mac(&salted, b"Server Key")).chain_update(signed.as_bytes());
        Ok((format!("{final_bare},p={}", STANDARD.encode(proof)), Final(server)))
    }
}

impl Final {
    /// Compares in constant time.
    pub(super) fn verify(self, server_final: &str) -> Result<(), SaslError> {
        let first = server_final.split(',').next().unwrap_or("");
        if let Some(reason) = first.strip_prefix("e=") {
            return Err(SaslError::Refused(reason.to_owned()));
        }
        let signature = first.strip_prefix("v=").and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.ok_or(SaslError::ServerSignature)?;
        self.0.verify_slice(&signature).map_err(|_| SaslError::ServerSignature)
    }
}

struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    /// `r=…,s=…,i=…`, in this order; later extensions are ignored, a leading `m=` may not be (RFC 5802, 5.1).
    fn parse(text: &'a str) -> Result<Self, SaslError> {
        let mut fields = text.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = field("r=").ok_or(SaslError::Protocol("no nonce first"))?;
        let salt = field("s=").and_then(|salt| STANDARD.decode(salt).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(SaslError::Protocol("no salt"))?;
        let iterations = field("i=").and_then(|count| count.parse::<u64>().ok());
        let iterations = iterations.ok_or(SaslError::Protocol("no iteration count"))?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(SaslError::Iterations(iterations));
        }
        Ok(Self { nonce, salt, iterations: iterations as u32 })
    }
}

fn printable(nonce: &str) -> bool {
    nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("hmac takes a key of any length")
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(text).finalize().into_bytes().into()
}
