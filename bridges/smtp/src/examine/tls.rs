//! What can be wrong with somebody's TLS, in words. Opens no connection.

use std::io;

use rustls::{CertificateError, Error};

use super::quoted;

/// What came back, and what to change. `host` is the name that the certificate has to bear.
pub(super) fn what_failed(error: &io::Error, host: &str) -> (String, &'static str) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (format!("the connection broke off: {error}"), "see in the relay's log why");
    };
    if let Error::InvalidCertificate(wrong) = tls {
        return (by_certificate(wrong, host), change_for(wrong));
    }
    if matches!(tls, Error::InvalidMessage(_)) {
        let change = "set `relay.security` to what this port speaks: `starttls` on 587, `tls` on 465";
        return ("what came back is no TLS".to_owned(), change);
    }
    (quoted(&tls.to_string()), "ask whoever runs the relay")
}

fn by_certificate(wrong: &CertificateError, host: &str) -> String {
    if is_expired(wrong) {
        "its certificate has expired".to_owned()
    } else if is_early(wrong) {
        "its certificate is not valid yet".to_owned()
    } else if let CertificateError::NotValidForNameContext { presented, .. } = wrong {
        format!("its certificate is not for {host} but for {}", quoted(&presented.join(", ")))
    } else if is_of_name(wrong) {
        format!("its certificate is not for {host}")
    } else if matches!(wrong, CertificateError::UnknownIssuer) {
        "its certificate is signed by an authority that is not trusted".to_owned()
    } else {
        format!("its certificate cannot be trusted: {}", quoted(&wrong.to_string()))
    }
}

fn change_for(wrong: &CertificateError) -> &'static str {
    if is_expired(wrong) {
        "have it renewed by whoever runs the relay"
    } else if is_early(wrong) {
        "set this machine's clock, or have the certificate renewed"
    } else if is_of_name(wrong) {
        "set `relay.host` to a name that the certificate bears"
    } else {
        "set `relay.ca_file` to the authority that signed it"
    }
}

pub(super) fn is_expired(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::Expired | CertificateError::ExpiredContext { .. })
}

pub(super) fn is_early(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })
}

pub(super) fn is_of_name(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}
