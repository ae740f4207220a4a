//! TLS by the settings: what is trusted, and what the bridge shows of itself. Opens no connection.

use std::{path::Path, sync::Arc};

use bridge_api::SettingsFault;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};

use crate::settings::TlsFiles;

/// Reads the files that the settings name.
pub(crate) fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, SettingsFault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsFault::new("tls", error.to_string()))?;
    let builder = match &files.pin_sha256 {
        Some(pin) => {
            let verifier = Pinned { sha256: fingerprint(pin)?, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        None => builder.with_root_certificates(roots(files)?),
    };
    let config = match &files.client_cert_file {
        None => builder.with_no_client_auth(),
        Some(cert_file) => {
            let chain = certificates("tls.client_cert_file", cert_file)?;
            let key_file = files.client_key_file.as_ref().unwrap_or(cert_file);
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| SettingsFault::new("tls.client_key_file", format!("{}: {error}", key_file.display())))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| SettingsFault::new("tls.client_cert_file", error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, SettingsFault> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &files.ca_file {
        for certificate in certificates("tls.ca_file", file)? {
            roots.add(certificate).map_err(|error| SettingsFault::new("tls.ca_file", error.to_string()))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = "the system has no root certificates: install them (ca-certificates), or set `tls.ca_file`";
        return Err(SettingsFault::new("tls", reason));
    }
    Ok(roots)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsFault> {
    let fault = |reason: String| SettingsFault::new(key, format!("{}: {reason}", file.display()));
    let found = CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("holds no certificate".to_owned())) } else { Ok(found) }
}

fn fingerprint(pin: &str) -> Result<[u8; 32], SettingsFault> {
    let digits: String = pin.chars().filter(|c| *c != ':').collect();
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digits, &mut sha256)
        .map_err(|_| SettingsFault::new("tls.pin_sha256", "must be 64 hexadecimal digits, colons allowed"))?;
    Ok(sha256)
}

/// Trusts one certificate and nothing else. Chain, name and dates do not matter then; that the
/// server has the certificate's key is checked as ever.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        if seen == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(format!("the server's certificate is not the pinned one but {}", hex::encode(seen))))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
