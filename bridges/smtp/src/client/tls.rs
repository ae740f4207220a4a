//! Which relays are trusted. Always verifies; opens no connection.

use std::sync::Arc;

use bridge_api::SettingsFault;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::TlsConnector;

use crate::settings::{RelaySettings, Security};

/// Reads the file of authorities that the settings name, else the system's.
pub(crate) fn connector(settings: &RelaySettings) -> Result<TlsConnector, SettingsFault> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsFault::new("relay.security", error.to_string()))?
        .with_root_certificates(roots(settings)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the relay's certificate has to bear.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, SettingsFault> {
    ServerName::try_from(bare(host).to_owned())
        .map_err(|_| SettingsFault::new("relay.host", format!("`{host}` is no name that a certificate can bear")))
}

/// An IPv6 address without its brackets; anything else as it is.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn roots(settings: &RelaySettings) -> Result<RootCertStore, SettingsFault> {
    let mut roots = RootCertStore::empty();
    if settings.security == Security::None {
        return Ok(roots);
    }
    let Some(file) = &settings.ca_file else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = "the system has no root certificates: install them (ca-certificates), or set `relay.ca_file`";
            return Err(SettingsFault::new("relay.ca_file", reason));
        }
        return Ok(roots);
    };
    let fault = |reason: String| SettingsFault::new("relay.ca_file", format!("{}: {reason}", file.display()));
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))? {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() { Err(fault("holds no certificate".to_owned())) } else { Ok(roots) }
}
