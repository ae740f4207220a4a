//! The client against a scripted relay over loopback that refuses, cuts and hangs wherever it is told to.

use std::{
    io::Write as _,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bridge_api::{Fault, FaultKind, Secret};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustls::{ServerConfig, crypto::ring};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Addressed, Relay, driver::Limits, machine::Accepted};
use crate::{
    address::Address,
    settings::{RelaySettings, Security},
};

pub(crate) mod relay;

use relay::{Do, Script, Seen, with_relay};

fn tight() -> Limits {
    let limit = Duration::from_secs(5);
    Limits {
        connect: limit,
        handshake: limit,
        greeting: limit,
        command: limit,
        piece: limit,
        final_dot: limit,
        last_words: limit,
        idle: limit,
        mails_per_connection: 100,
    }
}

fn settings(port: u16) -> RelaySettings {
    RelaySettings {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        security: Security::None,
        username: None,
        password: None,
        ca_file: None,
        connections_max: 2,
        mail_mib_max: 25,
    }
}

fn mail() -> Addressed {
    Addressed {
        sender: Address::parse("desk@acme.test"),
        recipients: vec![Address::parse("bob@cust.test").unwrap()],
        copies: Vec::new(),
        envelope_id: None,
        bytes: None,
    }
}

const MAIL: &[u8] = b"Subject: x\r\n\r\n.dot\r\nend\r\n";

async fn send(relay: &Relay) -> Result<Accepted, Fault> {
    relay.send(&mail(), stream::iter(MAIL.chunks(5).map(|piece| Ok(Bytes::from_static(piece))))).await
}

fn kind(outcome: &Result<Accepted, Fault>) -> &'static str {
    match outcome.as_ref().map_err(|fault| fault.kind) {
        Ok(_) => "accepted",
        Err(FaultKind::Retry { .. }) => "retry",
        Err(FaultKind::Unknown) => "unknown",
        Err(FaultKind::Refused) => "refused",
        Err(FaultKind::Down { .. }) => "down",
    }
}

/// The outcome of one mail, and what the relay saw.
async fn once(script: Script, limits: Limits) -> (Result<Accepted, Fault>, Arc<Seen>) {
    with_relay(script, |port, seen| async move {
        let relay = Relay::with_limits(&settings(port), "desk.test", limits).unwrap();
        (send(&relay).await, seen)
    })
    .await
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_with_its_dots_doubled() {
    let (outcome, seen) = once(Script::default(), tight()).await;
    assert_eq!(outcome.unwrap().words, "250 2.0.0 queued as 1");
    assert_eq!(seen.mails.lock().unwrap()[0], b"Subject: x\r\n\r\n..dot\r\nend\r\n");
    assert_eq!(seen.lines(), ["EHLO desk.test", "MAIL FROM:<desk@acme.test>", "RCPT TO:<bob@cust.test>", "DATA"]);
}

#[tokio::test]
async fn each_step_that_is_cut_refused_or_never_answered_has_its_meaning() {
    let short = Limits {
        greeting: Duration::from_millis(50),
        command: Duration::from_millis(50),
        final_dot: Duration::from_millis(50),
        ..tight()
    };
    for (word, cut, four, five) in [
        ("220", "down", "down", "down"),
        ("EHLO", "down", "down", "down"),
        ("MAIL", "retry", "retry", "refused"),
        ("RCPT", "retry", "retry", "refused"),
        ("DATA", "retry", "retry", "refused"),
        (".", "unknown", "retry", "refused"),
    ] {
        for (what, expected) in [
            (Do::Close, cut),
            (Do::Hang, cut),
            (Do::Say("450 4.2.0 later"), four),
            (Do::Say("550 5.7.1 no"), five),
            (Do::Say("421 4.3.2 stopping"), if word == "." { "retry" } else { "down" }),
        ] {
            // A server that refuses EHLO is greeted by HELO, as an old one.
            let expected = if (word, what) == ("EHLO", Do::Say("550 5.7.1 no")) { "accepted" } else { expected };
            let limits = if what == Do::Hang { short } else { tight() };
            let (outcome, seen) = once(Script { odd: vec![(word, what)], ..Script::default() }, limits).await;
            assert_eq!(kind(&outcome), expected, "{word} {what:?} {outcome:?}");
            assert_eq!(seen.sessions(), 1, "{word} {what:?}");
        }
    }
}

#[tokio::test]
async fn a_relay_that_closes_anywhere_before_the_final_dot_surely_has_no_mail() {
    for at in 0..=MAIL.len() {
        let doubled = usize::from(at > 14);
        let script = Script { cut_data_at: Some(at + doubled), ..Script::default() };
        let outcome = with_relay(script, |port, seen| async move {
            let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
            let rest = stream::once(async move {
                while seen.open.load(Ordering::SeqCst) > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Once more round the reactor, which then knows of the close.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(Bytes::from_static(&MAIL[at..]))
            });
            let first = stream::iter([Ok(Bytes::from_static(&MAIL[..at]))]);
            relay.send(&mail(), first.chain(rest)).await
        })
        .await;
        assert_eq!(kind(&outcome), "retry", "{at} {outcome:?}");
    }
}

#[tokio::test]
async fn a_relay_that_goes_before_the_end_of_the_data_surely_has_no_mail() {
    // More than any buffer on the way holds, so that the client is still writing when the relay goes.
    let script = Script { cut_data_at: Some(100_000), ..Script::default() };
    let outcome = with_relay(script, |port, _| async move {
        let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
        let line = Bytes::from("x".repeat(62) + "\r\n");
        relay.send(&mail(), stream::iter((0..1_000_000).map(move |_| Ok(line.clone())))).await
    })
    .await;
    assert_eq!(kind(&outcome), "retry", "{outcome:?}");
}

#[tokio::test]
async fn a_body_that_fails_is_never_ended_with_a_dot() {
    let outcome = with_relay(Script::default(), |port, seen| async move {
        let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
        let broken = [Ok(Bytes::from_static(b"a\r\n")), Err(Fault::refused("the file is gone"))];
        let outcome = relay.send(&mail(), stream::iter(broken)).await;
        let bare = relay.send(&mail(), stream::iter([Ok(Bytes::from_static(b"a\n.\nb"))])).await;
        assert_eq!(bare.unwrap_err().reason, "the mail holds a bare CR or LF");
        send(&relay).await.unwrap();
        assert_eq!((seen.sessions(), seen.mails()), (3, 1));
        outcome
    })
    .await;
    assert_eq!(outcome.unwrap_err().reason, "the file is gone");
}

#[tokio::test]
async fn a_connection_is_kept_reset_and_worn_out() {
    with_relay(Script::default(), |port, seen| async move {
        let limits = Limits { mails_per_connection: 3, ..tight() };
        let relay = Relay::with_limits(&settings(port), "desk.test", limits).unwrap();
        for _ in 0..7 {
            send(&relay).await.unwrap();
        }
        assert_eq!((seen.sessions(), seen.mails(), seen.said("RSET")), (3, 7, 4));
        relay.close().await;
        // The farewell of the last one is on its way.
        while seen.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.said("QUIT"), 3);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_rested_too_long_is_not_used() {
    with_relay(Script::default(), |port, seen| async move {
        let relay =
            Relay::with_limits(&settings(port), "desk.test", Limits { idle: Duration::ZERO, ..tight() }).unwrap();
        send(&relay).await.unwrap();
        send(&relay).await.unwrap();
        assert_eq!((seen.sessions(), seen.said("RSET")), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_without_counting() {
    let dead = Script { closes_behind: true, ..Script::default() };
    let silent_at_reset = Script { odd: vec![("RSET", Do::Close)], ..Script::default() };
    let farewell = Script { odd: vec![("RSET", Do::Say("421 idle too long"))], ..Script::default() };
    for script in [dead, silent_at_reset, farewell] {
        with_relay(script, |port, seen| async move {
            let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
            for _ in 0..3 {
                send(&relay).await.unwrap();
            }
            assert_eq!((seen.sessions(), seen.mails()), (3, 3));
        })
        .await;
    }
}

#[tokio::test]
async fn a_kept_connection_counts_once_it_has_answered_to_the_mail() {
    for (word, expected, sessions) in [("MAIL FROM:<late@", "accepted", 2), ("RCPT TO:<late@", "retry", 1)] {
        let script = Script { odd: vec![(word, Do::Close)], odd_sessions: Some(1), ..Script::default() };
        with_relay(script, |port, seen| async move {
            let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
            send(&relay).await.unwrap();
            let late = Address::parse("late@acme.test").unwrap();
            let late = Addressed { sender: Some(late.clone()), recipients: vec![late], ..mail() };
            let outcome = relay.send(&late, stream::iter([Ok(Bytes::from_static(MAIL))])).await;
            assert_eq!((kind(&outcome), seen.sessions()), (expected, sessions), "{word}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_mail_leaves_its_connection_good_for_the_next() {
    let script = Script { odd: vec![("RCPT TO:<nobody@", Do::Say("550 5.1.1 no"))], ..Script::default() };
    with_relay(script, |port, seen| async move {
        let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
        let nobody = Addressed { recipients: vec![Address::parse("nobody@cust.test").unwrap()], ..mail() };
        let outcome = relay.send(&nobody, stream::iter([Ok(Bytes::from_static(MAIL))])).await;
        assert_eq!(outcome.unwrap_err().reason, "the relay did not take the recipient nobody@cust.test: 550 5.1.1 no");
        send(&relay).await.unwrap();
        assert_eq!((seen.sessions(), seen.mails(), seen.said("RSET")), (1, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn never_more_connections_than_allowed() {
    with_relay(Script::default(), |port, seen| async move {
        let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
        let outcomes = futures_util::future::join_all((0..20).map(|_| send(&relay))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!((seen.mails(), seen.open_most.load(Ordering::SeqCst)), (20, 2));
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let relay = Relay::with_limits(&settings(port), "desk.test", tight()).unwrap();
    assert_eq!(kind(&send(&relay).await), "down");
}

/// A server's side of TLS under this name, and the file of its authority.
fn certified(name: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

fn secret_settings(port: u16, security: Security, ca: &tempfile::NamedTempFile) -> RelaySettings {
    RelaySettings {
        security,
        username: Some("ada".to_owned()),
        password: Some(Secret::new("secret")),
        ca_file: Some(ca.path().to_owned()),
        ..settings(port)
    }
}

#[tokio::test]
async fn tls_at_once_and_by_starttls_carry_the_password() {
    for security in [Security::Tls, Security::Starttls] {
        let (acceptor, ca) = certified("127.0.0.1");
        let script = Script {
            offers: vec!["STARTTLS", "AUTH PLAIN"],
            tls: Some(acceptor),
            tls_at_once: security == Security::Tls,
            ..Script::default()
        };
        with_relay(script, |port, seen| async move {
            let settings = secret_settings(port, security, &ca);
            let relay = Relay::with_limits(&settings, "desk.test", tight()).unwrap();
            send(&relay).await.unwrap();
            send(&relay).await.unwrap();
            assert_eq!((seen.mails(), seen.said("AUTH PLAIN AGFkYQBzZWNyZXQ="), seen.sessions()), (2, 1, 1));
            let expected = usize::from(security == Security::Starttls);
            assert_eq!((seen.said("STARTTLS"), seen.said("EHLO")), (expected, expected + 1));
        })
        .await;
    }
}

#[tokio::test]
async fn no_password_and_no_mail_reach_a_relay_that_is_not_the_right_one() {
    let (_, other_ca) = certified("127.0.0.1");
    let (unknown, _) = certified("127.0.0.1");
    let (misnamed, misnamed_ca) = certified("other.test");
    let (good, good_ca) = certified("127.0.0.1");
    let offers = vec!["STARTTLS", "AUTH PLAIN"];
    let stripped = vec!["AUTH PLAIN"];
    let injected = Do::Say("220 go\r\n250 ok");
    for (offers, odd, acceptor, ca) in [
        (offers.clone(), vec![], unknown, &other_ca),
        (offers.clone(), vec![], misnamed, &misnamed_ca),
        (stripped, vec![], good.clone(), &good_ca),
        (offers.clone(), vec![("STARTTLS", Do::Say("454 not now"))], good.clone(), &good_ca),
        (offers.clone(), vec![("STARTTLS", injected)], good.clone(), &good_ca),
        (offers.clone(), vec![("EHLO", Do::Say("502 what"))], good, &good_ca),
    ] {
        let what = format!("{offers:?} {odd:?}");
        for security in [Security::Starttls, Security::Tls] {
            let tls_at_once = security == Security::Tls;
            if tls_at_once && (!odd.is_empty() || offers.len() == 1) {
                continue;
            }
            let script = Script {
                offers: offers.clone(),
                odd: odd.clone(),
                tls: Some(acceptor.clone()),
                tls_at_once,
                ..Script::default()
            };
            with_relay(script, |port, seen| async move {
                let settings = secret_settings(port, security, ca);
                let relay = Relay::with_limits(&settings, "desk.test", tight()).unwrap();
                (send(&relay).await, seen)
            })
            .await
            .pipe(|(outcome, seen)| {
                assert_eq!(kind(&outcome), "down", "{what} {outcome:?}");
                assert_eq!((seen.said("AUTH"), seen.said("MAIL"), seen.mails()), (0, 0, 0), "{what}");
            });
        }
    }
}

trait Pipe: Sized {
    fn pipe<T>(self, next: impl FnOnce(Self) -> T) -> T {
        next(self)
    }
}
impl<T> Pipe for T {}

#[test]
fn a_send_may_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    let relay = Relay::new(&settings(1), "desk.test").unwrap();
    movable(&send(&relay));
}

#[test]
fn settings_that_cannot_work_are_said_at_the_start() {
    let (_, ca) = certified("x.test");
    let good = secret_settings(1, Security::Tls, &ca);
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (settings, key) in [
        (RelaySettings { ca_file: Some("/nowhere/ca.pem".into()), ..good.clone() }, "relay.ca_file"),
        (RelaySettings { ca_file: Some(empty.path().to_owned()), ..good.clone() }, "relay.ca_file"),
        (RelaySettings { host: "a:b".to_owned(), ..good.clone() }, "relay.host"),
        (RelaySettings { username: Some("a\0b".to_owned()), ..good.clone() }, "relay.username"),
    ] {
        assert_eq!(Relay::new(&settings, "desk.test").err().map(|fault| fault.key).as_deref(), Some(key));
    }
    assert!(Relay::new(&RelaySettings { host: "[::1]".to_owned(), ..good }, "desk.test").is_ok());
}
