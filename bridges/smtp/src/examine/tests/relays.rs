//! What relays have against us, told apart.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::tests::relay::{Do, Script, Seen as Told, with_relay};

const LOG_IN: &str = "log in to the relay";
const TRIED: &str = "secure the connection to the relay";
const BEGIN: &str = "begin a mail from support+doctor@acme.test";

async fn look(script: Script, relay: Value) -> (Seen, Arc<Told>) {
    with_relay(script, |port, told| async move {
        let mut relay = relay;
        relay["host"] = "127.0.0.1".into();
        relay["port"] = port.into();
        let settings = settings(&json!({ "relay": relay }));
        (part(&settings, async |look| crate::examine::relay::look(look).await).await, told)
    })
    .await
}

fn open() -> Value {
    json!({ "security": "none" })
}

fn named() -> Value {
    json!({ "security": "none", "username": "desk", "password": "sesame" })
}

#[tokio::test]
async fn a_good_relay_is_fine_all_through_and_gets_no_mail() {
    let script = Script { offers: vec!["SIZE 52428800", "AUTH PLAIN"], ..Script::default() };
    let (seen, told) = look(script, named()).await;
    assert!(seen.0.iter().all(|finding| finding.verdict == Verdict::Fine), "{:#?}", seen.0);
    assert!(seen.0.len() >= 5, "{:#?}", seen.0);
    let lines = told.lines();
    let words: Vec<&str> = lines.iter().filter_map(|line| line.split([' ', ':']).next()).collect();
    assert_eq!(words, ["EHLO", "AUTH", "MAIL", "RCPT", "RSET", "QUIT"]);
    assert_eq!(lines[2..4], ["MAIL FROM:<support+doctor@acme.test>", "RCPT TO:<support@acme.test>"]);
    assert_eq!(told.mails(), 0);
}

#[tokio::test]
async fn each_refusal_is_told_with_its_way_out() {
    type Case<'a> = (&'a str, &'a str, Value, &'a str, Verdict, &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        ("220", "554 5.7.1 no.", open(), "connect to the relay", Verdict::Failed, &["turns us away: 554 5.7.1 no"]),
        (
            "220",
            "HTTP/1.1 400",
            open(),
            "connect to the relay",
            Verdict::Failed,
            &["does not speak SMTP", "`relay.port`"],
        ),
        ("EHLO", "450 4.7.1 who", open(), "connect to the relay", Verdict::Failed, &["450", "`hostname`"]),
        ("AUTH", "535 5.7.8 no", named(), LOG_IN, Verdict::Failed, &["wrong name or password", "`relay.password`"]),
        ("AUTH", "454 4.7.0 later", named(), LOG_IN, Verdict::Failed, &["454", "try again later"]),
        ("MAIL", "530 5.7.0 log in", open(), BEGIN, Verdict::Failed, &["`relay.username`"]),
        ("MAIL", "550 5.7.1 not yours", open(), BEGIN, Verdict::Failed, &["refuses our sender address", "not yours"]),
        ("RCPT", "553 5.7.1 <boss@other.test>", open(), BEGIN, Verdict::Failed, &["refuses our sender", "(address)"]),
        ("RCPT", "451 4.7.1 greylisted", open(), BEGIN, Verdict::Warning, &["puts it off", "greylisted"]),
    ];
    for (word, answer, relay, tried, verdict, words) in cases {
        let offers = vec!["AUTH PLAIN LOGIN"];
        let (seen, _) = look(Script { offers, odd: vec![(word, Do::Say(answer))], ..Script::default() }, relay).await;
        seen.holds(tried, verdict, words);
    }
}

#[tokio::test]
async fn what_is_not_offered_is_told() {
    let (seen, told) = look(Script::default(), json!({ "security": "starttls" })).await;
    seen.holds("secure the connection", Verdict::Failed, &["does not offer STARTTLS", "465"]);
    assert_eq!(told.said("MAIL"), 0);
    let (seen, told) = look(Script { offers: vec!["AUTH CRAM-MD5"], ..Script::default() }, named()).await;
    seen.holds(LOG_IN, Verdict::Failed, &["neither AUTH PLAIN nor AUTH LOGIN"]);
    assert_eq!(told.said("AUTH"), 0);
    let mut relay = open();
    relay["mail_mib_max"] = 25.into();
    let (seen, _) = look(Script { offers: vec!["SIZE 10485760"], ..Script::default() }, relay).await;
    seen.holds("compare the largest mail", Verdict::Warning, &["10485760", "`relay.mail_mib_max` to 10"]);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_told_where_it_was() {
    for (word, tried) in [("220", "connect to the relay"), ("AUTH", LOG_IN), ("RCPT", BEGIN)] {
        let script = Script { offers: vec!["AUTH PLAIN"], odd: vec![(word, Do::Close)], ..Script::default() };
        let (seen, _) = look(script, named()).await;
        seen.holds(tried, Verdict::Failed, &["connection was closed"]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_certificate_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let certified = |name: &str, change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(&file, made.pem()).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], private)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    };
    let trusting = json!({ "security": "tls", "ca_file": folder.path().join("ca.pem") });
    let secured = |tls: TlsAcceptor| Script { tls: Some(tls), tls_at_once: true, ..Script::default() };
    let (seen, _) = look(secured(certified("127.0.0.1", |_| {})), trusting.clone()).await;
    seen.holds(TRIED, Verdict::Fine, &["trusted"]);
    seen.holds(BEGIN, Verdict::Fine, &["takes it"]);
    let (seen, _) = look(secured(certified("relay.test", |_| {})), trusting.clone()).await;
    seen.holds(TRIED, Verdict::Failed, &["not for 127.0.0.1", "relay.test", "`relay.host`"]);
    let old = certified("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (seen, _) = look(secured(old), trusting.clone()).await;
    seen.holds(TRIED, Verdict::Failed, &["expired"]);
    let other = certified("127.0.0.1", |_| {});
    certified("127.0.0.1", |_| {});
    let (seen, _) = look(secured(other), trusting.clone()).await;
    seen.holds(TRIED, Verdict::Failed, &["`relay.ca_file`"]);
    let upgraded = Script { offers: vec!["STARTTLS"], tls_at_once: false, ..secured(certified("127.0.0.1", |_| {})) };
    let mut relay = trusting.clone();
    relay["security"] = "starttls".into();
    let (seen, told) = look(upgraded, relay).await;
    seen.holds(TRIED, Verdict::Fine, &["trusted"]);
    assert_eq!(told.said("EHLO"), 2, "what was said before TLS does not count");
}
