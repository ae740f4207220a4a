//! TLS by STARTTLS and from the first octet, and what comes in its place.

use std::{
    fs,
    io::{Read as _, Write as _},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const NAME: &str = "mx.acme.test";

/// A server with a certificate in files, on both ports.
struct Secured {
    running: Running,
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

/// Puts a new certificate under `names` in place.
fn certify(folder: &TempDir, names: &[&str]) -> CertificateDer<'static> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn secured(timing: Timing) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(&folder, &[NAME]);
    let files =
        serde_json::json!({ "cert_file": folder.path().join("cert.pem"), "key_file": folder.path().join("key.pem") });
    let running = start(&[("tls", files), ("listen_tls", "127.0.0.1:0".into())], timing);
    Secured { running, folder, certificate }
}

/// Of a client that trusts this certificate alone.
fn trusting(trusted: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

async fn shake(tcp: TcpStream, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NAME).unwrap();
    timeout(PATIENCE, TlsConnector::from(trusting(trusted)).connect(name, tcp)).await.expect("a handshake ends")
}

impl Secured {
    fn plain(&self) -> SocketAddr {
        self.running.addresses[0]
    }
    fn implicit(&self) -> SocketAddr {
        self.running.addresses[1]
    }
    /// A client that was told to go ahead.
    async fn before_handshake(&self) -> TcpStream {
        let mut tcp = connect(self.plain()).await;
        let offer = say(&mut tcp, "EHLO c.test\r\n", "CHUNKING\r\n").await;
        assert!(offer.contains("250-STARTTLS\r\n"), "{offer}");
        assert_eq!(say(&mut tcp, "STARTTLS\r\n", "\r\n").await, "220 2.0.0 go ahead\r\n");
        tcp
    }
}

#[tokio::test]
async fn starttls_secures_what_follows_and_forgets_what_was_said_before() {
    let server = secured(TIMING);
    let tcp = server.before_handshake().await;
    let mut tls = shake(tcp, &server.certificate).await.unwrap();
    assert!(say(&mut tls, "MAIL FROM:<a@c.test>\r\n", "\r\n").await.starts_with("503 "), "the greeting is forgotten");
    let offer = say(&mut tls, "EHLO again.test\r\n", "CHUNKING\r\n").await;
    assert!(offer.contains("250-PIPELINING") && !offer.contains("STARTTLS"), "{offer}");
    assert!(say(&mut tls, "STARTTLS\r\n", "\r\n").await.starts_with("503 "));
    let flight = "MAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\nDATA\r\n";
    assert!(say(&mut tls, flight, "354 ").await.contains("354 "));
    assert!(say(&mut tls, "x\r\n.\r\n", "\r\n").await.starts_with("250 2.0.0"));
    let (id, envelope) = server.running.mail().await;
    assert_eq!((&*envelope.protocol, &*envelope.helo), ("ESMTPS", "again.test"));
    let recorded = server.running.host.recorded();
    assert_eq!(recorded.kept[&id], &b"x\r\n"[..]);
    assert!(recorded.cursors[&format!("mail/{id}")].contains("\"ESMTPS\""));
}

#[tokio::test]
async fn tls_from_the_first_octet_has_the_greeting_within_it() {
    let server = secured(TIMING);
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    let mut tls = shake(tcp, &server.certificate).await.unwrap();
    assert!(hear(&mut tls, "\r\n").await.starts_with("220 mx.acme.test ESMTP"));
    let replies = say(&mut tls, &format!("{BEGIN}DATA\r\n"), "354 ").await;
    assert!(replies.contains("354 ") && !replies.contains("STARTTLS"), "{replies}");
    // More than the records of TLS hold, so that a mail is put together from many.
    let mail = format!("X: y\r\n\r\n{}", format!("{}\r\n", "z".repeat(98)).repeat(5_000));
    assert!(say(&mut tls, &format!("{mail}.\r\n"), "\r\n").await.starts_with("250 2.0.0"));
    let (id, envelope) = server.running.mail().await;
    assert_eq!(envelope.protocol, "ESMTPS");
    assert_eq!(server.running.host.recorded().kept[&id], mail.as_bytes());
    assert_eq!(say(&mut tls, "QUIT\r\n", "\r\n").await, "221 2.0.0 goodbye\r\n");
    assert_eq!(tls.read(&mut [0]).await.unwrap(), 0, "the end is said in TLS, not by a cut");
}

#[tokio::test]
async fn commands_behind_starttls_are_never_obeyed() {
    let server = secured(TIMING);
    let injected = format!("RSET\r\n{BEGIN}BDAT 3 LAST\r\nx\r\n");
    let mut tcp = connect(server.plain()).await;
    say(&mut tcp, "EHLO c.test\r\n", "CHUNKING\r\n").await;
    tcp.write_all(format!("STARTTLS\r\n{injected}").as_bytes()).await.unwrap();
    assert_eq!(hear_out(&mut tcp).await, "554 5.5.0 nothing may follow STARTTLS\r\n");
    // The same behind the answer, where the handshake is waited for.
    let mut tcp = server.before_handshake().await;
    tcp.write_all(injected.as_bytes()).await.unwrap();
    let heard = hear_out(&mut tcp).await;
    assert!(!heard.contains("250") && !heard.contains("354"), "{heard}");
    // And before a handshake that would be sound by itself.
    let mut tcp = server.before_handshake().await;
    tcp.write_all(b"NOOP\r\n").await.unwrap();
    assert!(shake(tcp, &server.certificate).await.is_err());
    assert_eq!(server.running.kept(), 0);
}

#[tokio::test]
async fn a_broken_handshake_ends_its_own_session_alone() {
    let server = secured(TIMING);
    let mut other = begin(server.plain()).await;
    let stranger = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap().cert.der().clone();
    for garbage in
        [&b"EHLO c.test\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\xff"]
    {
        let mut tcp = TcpStream::connect(server.implicit()).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let heard = hear_out(&mut tcp).await;
        assert!(!heard.contains("220") && !heard.contains("250"), "{heard}");
        let mut tcp = server.before_handshake().await;
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        assert!(!hear_out(&mut tcp).await.contains("250"));
    }
    drop(TcpStream::connect(server.implicit()).await.unwrap());
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    assert!(shake(tcp, &stranger).await.is_err(), "a client that does not trust the certificate goes");
    assert!(say(&mut other, "x\r\n.\r\n", "\r\n").await.starts_with("250 2.0.0"));
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    let mut tls = shake(tcp, &server.certificate).await.unwrap();
    assert!(hear(&mut tls, "\r\n").await.starts_with("220"));
    assert_eq!(server.running.kept(), 1);
}

/// Sends what the client has to send, in one piece.
async fn push(client: &mut ClientConnection, tcp: &mut TcpStream) {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    tcp.write_all(&bytes).await.unwrap();
}

/// `false`: the server has no more to say.
async fn pull(client: &mut ClientConnection, tcp: &mut TcpStream) -> bool {
    let mut buffer = vec![0; 4096];
    let count = timeout(PATIENCE, tcp.read(&mut buffer)).await.expect("something is heard").unwrap();
    let mut bytes = &buffer[..count];
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
    }
    count > 0
}

#[tokio::test]
async fn who_speaks_before_the_greeting_within_tls_is_shown_out() {
    let server = secured(TIMING);
    let mut tcp = TcpStream::connect(server.implicit()).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(trusting(&server.certificate), name).unwrap();
    // Goes out together with the last piece of the handshake, so that it is there first.
    client.writer().write_all(format!("{BEGIN}BDAT 3 LAST\r\nx\r\n").as_bytes()).unwrap();
    while client.is_handshaking() {
        push(&mut client, &mut tcp).await;
        assert!(pull(&mut client, &mut tcp).await, "the server goes before the handshake is done");
    }
    push(&mut client, &mut tcp).await;
    while pull(&mut client, &mut tcp).await {}
    let mut heard = String::new();
    client.reader().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "554 5.5.0 the server speaks first\r\n");
    assert_eq!(server.running.kept(), 0);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let server = secured(Timing { handshake: Duration::from_millis(50), ..TIMING });
    let mut tcp = TcpStream::connect(server.implicit()).await.unwrap();
    assert_eq!(hear_out(&mut tcp).await, "");
    let mut tcp = server.before_handshake().await;
    assert_eq!(hear_out(&mut tcp).await, "");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_handshake() {
    // Far longer than the test is patient.
    let server = secured(Timing { handshake: PATIENCE * 10, stop: PATIENCE * 10, ..TIMING });
    let mut implicit = TcpStream::connect(server.implicit()).await.unwrap();
    let mut starttls = server.before_handshake().await;
    // Sessions are taken in one after the other, so the silent one is waited for by now as well.
    let mut last = TcpStream::connect(server.implicit()).await.unwrap();
    last.write_all(b"no handshake").await.unwrap();
    hear_out(&mut last).await;
    server.running.stop.cancel();
    assert_eq!(hear_out(&mut implicit).await, "");
    assert_eq!(hear_out(&mut starttls).await, "");
    server.running.ended().await;
}

#[tokio::test]
async fn the_next_connection_is_served_a_changed_certificate() {
    let server = secured(Timing { certificate: Duration::ZERO, ..TIMING });
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    let mut before = shake(tcp, &server.certificate).await.unwrap();
    // Longer than the former one: some file systems are too coarse to tell the times apart.
    let changed = certify(&server.folder, &[NAME, "a-much-longer-name-than-before.acme.test"]);
    for address in [server.implicit(), server.plain()] {
        let tcp = if address == server.implicit() {
            TcpStream::connect(address).await.unwrap()
        } else {
            server.before_handshake().await
        };
        let tls = shake(tcp, &changed).await.unwrap();
        assert_eq!(tls.get_ref().1.peer_certificates(), Some(std::slice::from_ref(&changed)));
    }
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    assert!(shake(tcp, &server.certificate).await.is_err());
    assert!(say(&mut before, "EHLO c.test\r\n", "CHUNKING\r\n").await.contains("250 CHUNKING"), "it goes on");
    // Half a change serves nobody, so the one before stays.
    fs::write(server.folder.path().join("key.pem"), "half a file").unwrap();
    let tcp = TcpStream::connect(server.implicit()).await.unwrap();
    assert!(shake(tcp, &changed).await.is_ok());
}
