//! Who is turned away at the end of a mail, in which words, and what the gateway is asked about them.

use bridge_api::{Admission, Cursor};
use serde_json::{Value, json};

use super::*;
use crate::{keyring, token::Kind};

const MAIL: &str = "From: Ada <ada@x.test>, eve@y.test\r\nSubject: Lamp\r\n\r\nx\r\n";

/// What is answered to the end of a mail.
async fn send(running: &Running, mail: &str) -> String {
    let mut tcp = begin(running.addresses[0]).await;
    tcp.write_all(format!("{mail}.\r\n").as_bytes()).await.unwrap();
    hear(&mut tcp, "\r\n").await
}

#[tokio::test]
async fn a_mail_that_is_not_let_in_is_refused_in_the_session_and_nothing_of_it_is_kept() {
    let running = start(&[], TIMING);
    for (admission, expected) in [
        (Admission::Never, "550 5.7.1 mail from this sender is not taken here\r\n"),
        (Admission::Later, "451 4.7.1 too many new conversations for now, try again later\r\n"),
    ] {
        running.host.recorded().admission = Some(admission);
        assert_eq!(send(&running, MAIL).await, expected);
        // A large one is in the store already, but for its end.
        let large = format!("{MAIL}{}", format!("{}\r\n", "z".repeat(98)).repeat(6_000));
        assert_eq!(send(&running, &large).await, expected);
    }
    assert_eq!((running.kept(), running.waiting()), (0, 0));
    let recorded = running.host.recorded();
    let (caller, begins) = &recorded.callers[0];
    assert_eq!(caller.names, ["ada@x.test", "eve@y.test", "a@c.test", "127.0.0.1"]);
    assert_eq!((caller.counted_as.as_deref(), *begins), (Some("ada@x.test"), true));
    assert!(recorded.callers.iter().all(|asked| asked == &recorded.callers[0]), "{:?}", recorded.callers);
}

#[tokio::test]
async fn by_lmtp_each_recipient_hears_it() {
    let running = start(&[("listen", Value::Null), ("listen_lmtp", "127.0.0.1:0".into())], TIMING);
    running.host.recorded().admission = Some(Admission::Never);
    let mut tcp = connect(running.addresses[0]).await;
    let flight =
        "LHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\nRCPT TO:<sales@acme.test>\r\nDATA\r\n";
    say(&mut tcp, flight, "354 ").await;
    let replies = say(&mut tcp, "x\r\n.\r\nQUIT\r\n", "221").await;
    assert_eq!(replies.matches("550 5.7.1").count(), 2, "{replies}");
}

#[tokio::test]
async fn an_answer_to_a_mail_of_ours_begins_nothing_and_neither_does_a_bounce() {
    let running = start(&[], TIMING);
    let key = keyring::made(&running.host.host("mail")).await.unwrap();
    let token = key.token(Kind::Reply, "t1");
    let address = |text: &str| json!(text);
    let thread = json!({
        "subject": "Lamp", "author": address("ada@x.test"), "to": address("ada@x.test"),
        "peer": { "id": "ada@x.test", "name": "Ada" },
        "people": [address("ada@x.test")], "desk": address("support@acme.test"), "at": 1,
    });
    let cursors = vec![Cursor::set(format!("reply/{token}"), "t1"), Cursor::set("thread/t1", thread.to_string())];
    running.host.host("mail").save_cursors(cursors).await.unwrap();
    let refers = format!("In-Reply-To: <{token}@mx.acme.test>\r\n{MAIL}");
    let stranger = refers.replace("ada@x.test", "mallory@x.test").replace("eve@", "mal@");
    for mail in [&refers, &stranger, &MAIL.to_owned()] {
        assert!(send(&running, mail).await.starts_with("250 "));
    }
    let mut tcp = connect(running.addresses[0]).await;
    let flight = format!("EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<support+{token}@acme.test>\r\nDATA\r\n");
    assert!(say(&mut tcp, &flight, "354 ").await.contains("354 "));
    assert!(say(&mut tcp, "Subject: Undelivered\r\n\r\nx\r\n.\r\n", "\r\n").await.starts_with("250 "));
    let recorded = running.host.recorded();
    let begins: Vec<bool> = recorded.callers.iter().map(|(_, begins)| *begins).collect();
    assert_eq!(begins, [false, true, true, false], "{:?}", recorded.callers);
}

/// Those of table C38.
#[tokio::test]
async fn no_inner_error_is_told_to_a_client() {
    let running = start(&[], TIMING);
    running.host.recorded().refuses = true;
    let large = format!("{MAIL}{}", format!("{}\r\n", "z".repeat(98)).repeat(6_000));
    for mail in [MAIL, &large] {
        assert_eq!(send(&running, mail).await, "452 4.3.1 no room for the mail now, try again later\r\n");
    }
}
