//! LMTP over a socket, as a mail server in front speaks it.

use serde_json::Value;

use super::*;

fn lmtp() -> Running {
    start(&[("listen", Value::Null), ("listen_lmtp", "127.0.0.1:0".into())], TIMING)
}

/// A mail for two, sent off but for its end.
async fn begin(running: &Running) -> TcpStream {
    let mut tcp = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert_eq!(hear(&mut tcp, "\r\n").await, "220 mx.acme.test LMTP ready\r\n");
    let offer = say(&mut tcp, "LHLO mx.front.test\r\n", "CHUNKING\r\n").await;
    assert!(offer.contains("250-PIPELINING") && !offer.contains("STARTTLS"), "{offer}");
    let flight = "MAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\nRCPT TO:<nobody@acme.test>\r\nRCPT TO:<sales@acme.test>\r\nDATA\r\n";
    let replies = say(&mut tcp, flight, "354 ").await;
    let codes: Vec<_> = replies.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "550", "250", "354"]);
    tcp
}

#[tokio::test]
async fn a_mail_for_two_is_kept_once_and_answered_twice() {
    let running = lmtp();
    let mut tcp = begin(&running).await;
    let replies = say(&mut tcp, "x\r\n.\r\nQUIT\r\n", "221").await;
    let (id, envelope) = running.mail().await;
    assert_eq!(replies, format!("250 2.0.0 kept as {id}\r\n").repeat(2) + "221 2.0.0 goodbye\r\n");
    assert_eq!(envelope.protocol, "LMTP");
    let recipients: Vec<_> = envelope.recipients.iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["support@acme.test", "sales@acme.test"]);
    assert_eq!((running.kept(), running.waiting()), (1, 1));
}

#[tokio::test]
async fn a_mail_for_two_that_cannot_be_stored_is_put_off_twice() {
    let running = lmtp();
    running.host.recorded().refuses = true;
    let mut tcp = begin(&running).await;
    let replies = say(&mut tcp, "x\r\n.\r\nQUIT\r\n", "221").await;
    let put_off = "452 4.3.1 no room for the mail now, try again later\r\n";
    assert_eq!(replies, put_off.repeat(2) + "221 2.0.0 goodbye\r\n");
    assert_eq!((running.kept(), running.waiting()), (0, 0));
}

#[tokio::test]
async fn a_plain_client_is_told_which_protocol_this_is() {
    let running = lmtp();
    let mut tcp = connect(running.addresses[0]).await;
    assert_eq!(say(&mut tcp, "EHLO c.test\r\n", "\r\n").await, "500 5.5.1 this is LMTP: say LHLO\r\n");
    let plain = start(&[], TIMING);
    let mut tcp = connect(plain.addresses[0]).await;
    assert_eq!(say(&mut tcp, "LHLO c.test\r\n", "\r\n").await, "500 5.5.1 this is SMTP: say EHLO\r\n");
}
