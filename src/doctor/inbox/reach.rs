//! Whether the inbox's address answers: name, connection, TLS and Chatwoot's own health, told apart.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use reqwest::Url;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{super::advice::of_fault, Look};
use crate::chatwoot::{CallFault, tls_settings};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What is missing on the way to an address.
#[derive(Debug)]
enum Missing {
    Name(String),
    Connection(SocketAddr, String),
    Tls(String),
}

impl Look<'_> {
    /// Whether more can be asked.
    pub(super) async fn reach(&self) -> bool {
        let url = self.inbox.url.url();
        let tried = format!("reach {}", self.inbox.url);
        match way_to(url).await {
            Ok(found) => self.findings.fine(tried, found),
            Err(missing) => {
                let (found, change) = words(url, &missing);
                self.findings.failed(tried, found, change);
                return false;
            }
        }
        let tried = "GET /health";
        match self.client.health().await {
            Ok(()) => self.findings.fine(tried, "Chatwoot's web process is up"),
            // It has this page since 4.11; the version tells the rest.
            Err(CallFault::NotFound { .. }) => {
                self.findings.skipped(tried, "there is no such page before Chatwoot 4.11");
            }
            Err(fault) => {
                let words = of_fault(&fault);
                self.findings.failed(tried, words.found, words.change);
                return false;
            }
        }
        true
    }
}

/// Walks it, and says where it leads.
async fn way_to(url: &Url) -> Result<String, Missing> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in 5 s");
    let found = timeout(CONNECT_LIMIT, tokio::net::lookup_host((host, port))).await.unwrap_or_else(|_| Err(late()));
    let found: Vec<SocketAddr> = found.map_err(|error| Missing::Name(error.to_string()))?.collect();
    let mut last = Missing::Name("the name has no address".to_owned());
    for address in found {
        let connected = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(late()));
        match connected {
            Ok(stream) => return secured(url, host, address, stream).await,
            Err(error) => last = Missing::Connection(address, error.to_string()),
        }
    }
    Err(last)
}

async fn secured(url: &Url, host: &str, address: SocketAddr, stream: TcpStream) -> Result<String, Missing> {
    if url.scheme() != "https" {
        return Ok(format!("connected to {address}"));
    }
    let broken = |error: String| Missing::Tls(error);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| broken(error.to_string()))?;
    let connecting = TlsConnector::from(Arc::new(tls_settings())).connect(name, stream);
    match timeout(CONNECT_LIMIT, connecting).await {
        Ok(Ok(_)) => Ok(format!("connected to {address}, with TLS")),
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(_) => Err(broken("no answer in 5 s".to_owned())),
    }
}

/// What was found, and the way out.
fn words(url: &Url, missing: &Missing) -> (String, String) {
    let host = url.host_str().unwrap_or_default();
    match missing {
        Missing::Name(error) => (
            format!("DNS: {host} has no address ({error})"),
            "correct the host in `url`; in compose it is the service's name, and the gateway must share a network with it"
                .to_owned(),
        ),
        Missing::Connection(address, error) => (
            format!("{address} takes no connection ({error})"),
            "start Chatwoot's rails process, or correct the port in `url`".to_owned(),
        ),
        Missing::Tls(error) => (format!("TLS: {error}"), tls_change(error).to_owned()),
    }
}

/// By a part of what the TLS library says.
const TLS_CHANGES: [(&str, &str); 5] = [
    ("unknownissuer", "add the certificate's authority to the system's, or name a bundle by SSL_CERT_FILE"),
    ("expired", "renew the certificate at `url`, and check this machine's clock"),
    ("not valid yet", "check this machine's clock"),
    ("not valid for", "use the host name that the certificate is made for in `url`"),
    ("corrupt message", "what answers there does not speak TLS: write http:// in `url`, or the port that does"),
];

fn tls_change(error: &str) -> &'static str {
    let error = error.to_lowercase();
    let found = TLS_CHANGES.iter().find(|(said, _)| error.contains(said));
    found.map_or("look at what serves TLS in front of Chatwoot", |(_, change)| change)
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, pki_types::UnixTime};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn what_the_tls_library_says_leads_to_a_way_out() {
        let of = |error: CertificateError| tls_change(&rustls::Error::InvalidCertificate(error).to_string());
        let name = || ServerName::try_from("desk.example").unwrap();
        let presented = vec!["DnsName(\"other.example\")".to_owned()];
        let (now, then) =
            (UnixTime::since_unix_epoch(Duration::from_secs(9)), UnixTime::since_unix_epoch(Duration::ZERO));
        assert!(of(CertificateError::UnknownIssuer).contains("SSL_CERT_FILE"));
        assert!(of(CertificateError::ExpiredContext { time: now, not_after: then }).contains("renew"));
        assert!(of(CertificateError::NotValidYetContext { time: then, not_before: now }).contains("clock"));
        assert!(of(CertificateError::NotValidForNameContext { expected: name(), presented }).contains("host name"));
        assert!(of(CertificateError::BadSignature).contains("in front of Chatwoot"));
    }

    async fn found(url: &str) -> (String, String) {
        let url = url.parse().unwrap();
        words(&url, &way_to(&url).await.unwrap_err())
    }

    #[tokio::test]
    async fn name_connection_and_tls_are_told_apart() {
        let (no_name, change) = found("http://nowhere.invalid:3000").await;
        assert!(no_name.starts_with("DNS: nowhere.invalid") && change.contains("host"), "{no_name}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            way_to(&format!("http://{address}").parse().unwrap()).await.unwrap(),
            format!("connected to {address}")
        );
        let answering = async {
            use tokio::io::AsyncWriteExt as _;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        // The first connection is that of the look before.
        drop(listener.accept().await.unwrap());
        let url = format!("https://{address}");
        let ((tls, change), _stream) = tokio::join!(found(&url), answering);
        assert!(tls.starts_with("TLS: ") && change.contains("http://"), "{tls}: {change}");
        drop(listener);
        let (refused, change) = found(&format!("http://{address}")).await;
        assert!(refused.starts_with(&format!("{address} takes no connection")) && change.contains("port"), "{refused}");
    }
}
