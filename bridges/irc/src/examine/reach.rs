//! The way to the server: its name, its port, TLS. Says nothing to it.

use std::{fmt, future::Future, io, time::Duration};

use rustls::{CertificateError, Error};
use tokio::time::timeout;

use super::{Look, place, said};
use crate::{
    driver::dial::{self, Socket},
    machine::Endpoint,
    settings::TlsFiles,
};

/// `None`: the finding says why not.
pub(super) async fn reach(look: &Look<'_>, endpoint: &Endpoint) -> Option<Socket> {
    let (findings, limits, place) = (look.findings, look.limits, place(endpoint));
    let tried = format!("find the address of {}", endpoint.host);
    let addresses = match within(limits.resolve, dial::resolve(endpoint)).await {
        Ok(addresses) => addresses,
        Err(why) => {
            findings.failed(tried, why, "correct `server`, or this machine's DNS settings");
            return None;
        }
    };
    findings.fine(tried, addresses[0].ip().to_string());
    let tried = format!("connect to {place}");
    let tcp = match within(limits.connect, dial::connect_tcp(&addresses)).await {
        Ok(tcp) => tcp,
        Err(why) => {
            let change = "correct `server` and `port`, or let the connection through the firewall";
            findings.failed(tried, why, change);
            return None;
        }
    };
    let Some(files) = &endpoint.tls else {
        findings.fine(tried, "connected, without TLS");
        return Some(Box::new(tcp));
    };
    findings.fine(tried, "connected");
    let tried = format!("secure the connection to {place} by TLS");
    match timeout(limits.handshake, dial::secure(endpoint, files, tcp)).await {
        Ok(Ok(socket)) => {
            let by = if files.pin_sha256.is_some() {
                "the certificate is the pinned one"
            } else {
                "the certificate is trusted"
            };
            findings.fine(tried, by);
            Some(socket)
        }
        Ok(Err(error)) => {
            let (found, change) = what_failed(&error, endpoint, files);
            findings.failed(tried, found, change);
            None
        }
        Err(_) => {
            let found = format!("no handshake within {} s", limits.handshake.as_secs_f32());
            findings.failed(tried, found, not_tls(endpoint));
            None
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs_f32())),
    }
}

fn not_tls(endpoint: &Endpoint) -> String {
    let port = endpoint.port;
    format!("see whether port {port} speaks TLS: set the port that the network names for it, most often 6697")
}

/// What came back, and what to change.
fn what_failed(error: &io::Error, endpoint: &Endpoint, files: &TlsFiles) -> (String, String) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (format!("the connection broke off: {error}"), not_tls(endpoint));
    };
    if let Error::InvalidCertificate(wrong) = tls {
        return (by_certificate(wrong, endpoint), change_for(wrong).to_owned());
    }
    let (found, change) = if matches!(tls, Error::InvalidMessage(_)) {
        ("what came back is no TLS".to_owned(), not_tls(endpoint))
    } else if let Error::AlertReceived(alert) = tls {
        let change = match files.client_cert_file {
            Some(_) => "see whether `tls.client_cert_file` is what the network knows, and not expired",
            None => "ask the network what it demands: some ask for a client certificate (`tls.client_cert_file`)",
        };
        (format!("the server ended it: {alert:?}"), change.to_owned())
    } else if let (Error::General(reason), Some(_)) = (tls, &files.pin_sha256) {
        let change = "set `tls.pin_sha256` to it only if the network announces it: else somebody else answers";
        (reason.clone(), change.to_owned())
    } else {
        (tls.to_string(), "ask whoever runs the server".to_owned())
    };
    (found, change)
}

fn by_certificate(wrong: &CertificateError, endpoint: &Endpoint) -> String {
    if is_expired(wrong) {
        "the server's certificate has expired".to_owned()
    } else if is_early(wrong) {
        "the server's certificate is not valid yet".to_owned()
    } else if let CertificateError::NotValidForNameContext { presented, .. } = wrong {
        format!("the server's certificate is not for {} but for {}", endpoint.host, said(&presented.join(", ")))
    } else if matches!(wrong, CertificateError::NotValidForName) {
        format!("the server's certificate is not for {}", endpoint.host)
    } else if matches!(wrong, CertificateError::UnknownIssuer) {
        "the server's certificate is signed by an authority that is not trusted".to_owned()
    } else {
        format!("the server's certificate cannot be trusted: {}", OneLine(wrong))
    }
}

fn change_for(wrong: &CertificateError) -> &'static str {
    if is_expired(wrong) {
        "have it renewed by whoever runs the server; until then `tls.pin_sha256` can name exactly this one"
    } else if is_early(wrong) {
        "set this machine's clock, or have the certificate renewed"
    } else if matches!(wrong, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        "set `server` to a name that the certificate bears"
    } else {
        "set `tls.ca_file` to the authority that signed it, or `tls.pin_sha256` to the certificate's fingerprint"
    }
}

fn is_expired(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::Expired | CertificateError::ExpiredContext { .. })
}

fn is_early(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })
}

struct OneLine<'a>(&'a CertificateError);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
