//! Who the client is, and TLS.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge::sandbox::mail::{PostAccount, PostSettings, tls_from_pem};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Place, Talk};

fn desk() -> PostSettings {
    let account = PostAccount { user: "desk".to_owned(), password: "se cret".to_owned() };
    PostSettings { account: Some(account), ..PostSettings::default() }
}

fn plain(text: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(text))
}

#[tokio::test]
async fn without_an_account_every_name_and_password_is_right() {
    let place = Place::fresh().await;
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    assert_eq!(talk.code(&plain("\0somebody\0whatever")).await, 235);
    assert_eq!(talk.code(&plain("\0somebody\0whatever")).await, 503, "once is enough");
    for line in ["MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test>"] {
        assert_eq!(talk.code(line).await, 250);
    }
    talk.content("x\r\n.\r\n").await;
    assert_eq!(place.post.mail(1).unwrap().envelope.user.as_deref(), Some("somebody"));
}

#[tokio::test]
async fn with_an_account_nobody_else_may_hand_mail_over() {
    let place = Place::start(desk()).await;
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    assert_eq!(talk.code("MAIL FROM:<a@b.test>").await, 530);
    for wrong in ["\0desk\0secret", "\0kim\0se cret"] {
        assert_eq!(talk.code(&plain(wrong)).await, 535);
    }
    for (line, code) in [("AUTH PLAIN !", 501), ("AUTH PLAIN", 334), ("*", 501), ("AUTH LOGIN", 334), ("*", 501)] {
        assert_eq!(talk.code(line).await, code, "{line}");
    }
    assert_eq!(talk.say("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(talk.say(&STANDARD.encode("desk")).await, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(talk.code(&STANDARD.encode("se cret")).await, 235);
    assert_eq!(talk.code("MAIL FROM:<a@b.test>").await, 250);
    let counts = place.post.counts();
    assert_eq!((counts.proved, counts.unproved), (1, 2));
    assert!(place.post.heard().contains(&"AUTH PLAIN".to_owned()), "without the password");
}

#[tokio::test]
async fn plain_may_wait_for_its_challenge() {
    let place = Place::start(desk()).await;
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    assert_eq!(talk.say("AUTH PLAIN").await.trim_end(), "334");
    assert_eq!(talk.code(&STANDARD.encode("\0desk\0se cret")).await, 235);
}

/// A certificate of its own, and a client that trusts it.
fn tls() -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["relay.sandbox.test".to_owned()]).unwrap();
    let server = tls_from_pem(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    (server, TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth())))
}

async fn under_tls(connector: &TlsConnector, stream: TcpStream) -> Talk<TlsStream<TcpStream>> {
    let name = ServerName::try_from("relay.sandbox.test").unwrap();
    Talk::over(connector.connect(name, stream).await.unwrap())
}

#[tokio::test]
async fn starttls_is_offered_with_a_certificate_and_begins_anew() {
    let (server, connector) = tls();
    let place = Place::start(PostSettings { tls: Some(server), ..PostSettings::default() }).await;
    let mut talk = place.talk().await;
    assert!(talk.say("EHLO x").await.contains("250-STARTTLS\r\n"));
    assert_eq!(talk.code("STARTTLS").await, 220);
    let mut talk = under_tls(&connector, talk.stream.into_inner()).await;
    assert_eq!(talk.code("MAIL FROM:<a@b.test>").await, 503, "the greeting does not count any more");
    assert!(!talk.say("EHLO y").await.contains("STARTTLS"));
    assert_eq!(talk.code("STARTTLS").await, 503);
    for line in ["MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test>"] {
        assert_eq!(talk.code(line).await, 250);
    }
    talk.content("x\r\n.\r\n").await;
    let mail = place.post.mail(1).unwrap();
    assert!(mail.envelope.tls && mail.envelope.hello == "y");
    assert_eq!(place.post.counts().tls, 1);
}

#[tokio::test]
async fn what_comes_with_starttls_is_not_taken_for_what_comes_under_tls() {
    let (server, _) = tls();
    let place = Place::start(PostSettings { tls: Some(server), ..PostSettings::default() }).await;
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    talk.write("STARTTLS\r\nMAIL FROM:<a@b.test>\r\n").await;
    assert!(talk.reply().await.unwrap().starts_with("554 "));
    assert!(talk.is_closed().await);
}

#[tokio::test]
async fn tls_may_be_there_from_the_first_octet() {
    let (server, connector) = tls();
    let settings = PostSettings { tls: Some(server), tls_from_start: true, ..PostSettings::default() };
    let place = Place::start(settings).await;
    let mut talk = under_tls(&connector, TcpStream::connect(place.post.address()).await.unwrap()).await;
    assert!(talk.reply().await.unwrap().starts_with("220 "));
    assert!(!talk.say("EHLO x").await.contains("STARTTLS"));
}

#[test]
fn a_certificate_that_is_none_is_told() {
    assert!(tls_from_pem("", "").is_err());
    let made = rcgen::generate_simple_self_signed(vec!["x.test".to_owned()]).unwrap();
    assert!(tls_from_pem(&made.cert.pem(), "no key").is_err());
}
