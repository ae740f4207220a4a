//! What can be wrong with the server's certificate, told apart.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

struct Tls {
    acceptor: TlsAcceptor,
    folder: tempfile::TempDir,
}

fn server(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Tls {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("it signs itself");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).expect("our own folder");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("they fit");
    Tls { acceptor: TlsAcceptor::from(Arc::new(config)), folder }
}

impl Tls {
    fn trusted(&self) -> Value {
        json!({ "ca_file": self.folder.path().join("cert.pem") })
    }

    async fn look(&self, tls: Value) -> Seen {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let settings = settings(listener.local_addr().expect("bound").port(), &json!({ "tls": tls }));
        let findings = Findings::default();
        let serving = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            // A client that trusts it gets no further than this.
            drop(self.acceptor.accept(stream).await);
        };
        let looking = examine(&settings, Examination::new(false), PATIENT, &findings);
        timeout(PATIENCE, async { tokio::join!(serving, looking) }).await.expect("it returns");
        Seen { seen: look::Seen(findings.take()), told: Vec::new() }
    }
}

const TRIED: &str = "secure the connection";

#[tokio::test]
async fn name_dates_authority_and_pin_are_told_apart() {
    let good = server(&["127.0.0.1"], |_| {});
    good.look(good.trusted()).await.holds(TRIED, Verdict::Fine, &["trusted"]);
    let other = server(&["irc.example"], |_| {});
    other.look(other.trusted()).await.holds(TRIED, Verdict::Failed, &["not for 127.0.0.1", "irc.example", "`server`"]);
    let old = server(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    old.look(old.trusted()).await.holds(TRIED, Verdict::Failed, &["expired"]);
    let early = server(&["127.0.0.1"], |params| params.not_before = date_time_ymd(4000, 1, 1));
    early.look(early.trusted()).await.holds(TRIED, Verdict::Failed, &["not valid yet", "clock"]);
    good.look(other.trusted()).await.holds(TRIED, Verdict::Failed, &["`tls.ca_file`"]);
    let pinned = json!({ "pin_sha256": "00".repeat(32) });
    good.look(pinned).await.holds(TRIED, Verdict::Failed, &["not the pinned one but", "`tls.pin_sha256`"]);
}

#[tokio::test]
async fn a_port_without_tls_is_told_as_such() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let settings = settings(listener.local_addr().expect("bound").port(), &json!({ "tls": true }));
    let findings = Findings::default();
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b":irc.test NOTICE * :hello\r\n").await.expect("it reads");
        stream
    };
    let looking = examine(&settings, Examination::new(false), PATIENT, &findings);
    timeout(PATIENCE, async { tokio::join!(serving, looking) }).await.expect("it returns");
    let seen = Seen { seen: look::Seen(findings.take()), told: Vec::new() };
    seen.holds(TRIED, Verdict::Failed, &["no TLS", "6697"]);
}

#[tokio::test]
async fn a_server_that_asks_for_tls_is_met_again_there() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let secure = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let secure_port = secure.local_addr().expect("bound").port();
    let settings = settings(listener.local_addr().expect("bound").port(), &json!({}));
    let findings = Findings::default();
    let offer = format!(":irc.test CAP * LS :sts=port={secure_port},duration=10 batch");
    let serving = async {
        let rules = [("CAP LS", offer.as_str()), ("QUIT", "CLOSE")];
        let told = serve(listener.accept().await.expect("a connection").0, &rules).await;
        drop(secure.accept().await);
        told
    };
    let looking = examine(&settings, Examination::new(false), PATIENT, &findings);
    let (told, ()) = timeout(PATIENCE, async { tokio::join!(serving, looking) }).await.expect("it returns");
    let seen = Seen { seen: look::Seen(findings.take()), told };
    seen.holds("register at", Verdict::Warning, &["without TLS", "`tls = true`", &secure_port.to_string()]);
    seen.holds(TRIED, Verdict::Failed, &["broke off"]);
}
