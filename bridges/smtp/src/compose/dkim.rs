//! Signs what goes out (RFC 6376): rsa-sha256, relaxed/relaxed, `From` over-signed, the whole body.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bridge_api::SettingsFault;
use mail_auth::{
    common::crypto::{HashContext, HashImpl, RsaKey, Sha256, SigningKey},
    dkim::{Canonicalization, canonicalize::BodyHasher},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};

use super::header::Fields;
use crate::settings::DkimSettings;

/// Fields that are signed where they stand, in this order. `From` is named once more than it stands, so that nobody can
/// add a second one.
const SIGNED: [&str; 12] = [
    "From",
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
];
/// Characters of a signature on one line.
const LINE_BYTES: usize = 72;
/// Octets of an RSA key of 2048 bits.
const MODULUS_BYTES_MIN: usize = 256;

pub(crate) struct Signer {
    key: RsaKey<Sha256>,
    domain: String,
    selector: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("domain", &self.domain).field("selector", &self.selector).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the key, and tries it.
    pub(crate) fn new(settings: &DkimSettings) -> Result<Self, SettingsFault> {
        let name = |text: &str| {
            !text.is_empty()
                && text.len() <= 253
                && text.split('.').all(|label| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                })
        };
        for (key, value) in [("dkim.domain", &settings.domain), ("dkim.selector", &settings.selector)] {
            if !name(value) {
                return Err(SettingsFault::new(key, format!("`{value}` is no name in DNS")));
            }
        }
        Ok(Self {
            key: read_key(settings)?,
            domain: settings.domain.to_lowercase(),
            selector: settings.selector.clone(),
        })
    }

    /// The whole `DKIM-Signature` field. `None` when the key fails.
    pub(crate) fn sign(&self, fields: &Fields, body_hash: &[u8], seconds: i64) -> Option<String> {
        let mut unused: Vec<(&str, &str)> = fields.iter().collect();
        let (mut names, mut signed) = (Vec::new(), String::new());
        for name in SIGNED {
            match unused.iter().rposition(|(other, _)| *other == name) {
                Some(at) => signed.push_str(&relaxed(unused.remove(at).1)),
                None if name == "From" => {}
                None => continue,
            }
            names.push(name);
        }
        let mut field = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={};\r\n s={}; t={seconds};\r\n h={};\r\n bh={};\r\n b=",
            self.domain,
            self.selector,
            names.join(":\r\n "),
            STANDARD.encode(body_hash),
        );
        signed.push_str(relaxed(&field).trim_end());
        let signature = STANDARD.encode(self.key.sign(signed.as_bytes()).ok()?);
        for chunk in signature.as_bytes().chunks(LINE_BYTES) {
            field.push_str("\r\n ");
            field.push_str(std::str::from_utf8(chunk).expect("base64 is ASCII"));
        }
        field.push_str("\r\n");
        Some(field)
    }
}

fn read_key(settings: &DkimSettings) -> Result<RsaKey<Sha256>, SettingsFault> {
    let file = &settings.key_file;
    let fault = |reason: String| SettingsFault::new("dkim.key_file", format!("{}: {reason}", file.display()));
    let pem = PrivateKeyDer::from_pem_file(file).map_err(|error| fault(error.to_string()))?;
    let key = RsaKey::<Sha256>::from_key_der(pem)
        .map_err(|error| fault(format!("no RSA key of at least 2048 bits: {error}")))?;
    let trial = key.sign(&b"trial"[..]).map_err(|error| fault(error.to_string()))?;
    if trial.len() < MODULUS_BYTES_MIN {
        return Err(fault("an RSA key needs at least 2048 bits".to_owned()));
    }
    Ok(key)
}

/// What has to stand behind `p=` in DNS: the public half as RFC 5280 wraps an RSA key.
pub(crate) fn public_key(settings: &DkimSettings) -> Result<Vec<u8>, SettingsFault> {
    const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bare = read_key(settings)?.public_key();
    let bits = tagged(0x03, &[&[0], bare.as_slice()].concat());
    Ok(tagged(0x30, &[&RSA, bits.as_slice()].concat()))
}

/// DER: a tag, the length, the content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let long = content.len() > 127;
    let count = if long { vec![0x80 | length.len() as u8] } else { Vec::new() };
    [&[tag], count.as_slice(), length, content].concat()
}

/// A field in the form that is signed (RFC 6376, 3.4.2).
fn relaxed(field: &str) -> String {
    let (name, value) = field.split_once(':').expect("a field has a name");
    let value: Vec<&str> = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    format!("{}:{}\r\n", name.trim_end().to_ascii_lowercase(), value.join(" "))
}

/// The hash of a body that comes in pieces.
pub(crate) struct BodyHash(BodyHasher<<Sha256 as HashImpl>::Context>);

impl BodyHash {
    pub(crate) fn new() -> Self {
        Self(BodyHasher::new(Sha256::hasher(), Canonicalization::Relaxed, 0))
    }
    pub(crate) fn write(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish().0.complete().as_ref().to_vec()
    }
}
