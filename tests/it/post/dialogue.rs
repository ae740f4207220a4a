//! What the relay takes and refuses, command by command.

use deskbridge::sandbox::mail::{HandoverError, OutgoingMail, PostSettings, Recipient};

use super::{DEADLINE, Place, Talk};

#[tokio::test]
async fn a_mail_is_kept_as_received_with_its_envelope() {
    let place = Place::fresh().await;
    let mut talk = place.talk().await;
    let offers = talk.say("EHLO mail.test").await;
    for offer in ["PIPELINING", "SIZE 41943040", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"] {
        assert!(offers.contains(&format!("250-{offer}\r\n")), "{offer}: {offers}");
    }
    assert!(offers.ends_with("250 AUTH PLAIN LOGIN\r\n") && !offers.contains("STARTTLS"), "{offers}");
    assert_eq!(talk.code("MAIL FROM:<desk+1@acme.test> SIZE=30 BODY=8BITMIME RET=HDRS").await, 250);
    assert_eq!(talk.code("RCPT TO:<kim@example.org> NOTIFY=FAILURE,DELAY").await, 250);
    assert_eq!(talk.code("RCPT TO:<lee@example.org>").await, 250);
    let answer = talk.content("Subject: x\r\n\r\n..hidden\r\nbare\nend ä\r\n.\r\n").await.unwrap();
    assert_eq!(answer, "250 2.0.0 kept as 1\r\n");
    let mail = place.post.wait_for(1, DEADLINE).await.unwrap();
    assert_eq!(mail.text(), "Subject: x\r\n\r\n.hidden\r\nbare\nend ä\r\n");
    let envelope = &mail.envelope;
    assert_eq!((envelope.hello.as_str(), envelope.extended, envelope.tls), ("mail.test", true, false));
    assert_eq!(envelope.sender, "desk+1@acme.test");
    assert_eq!(envelope.sender_parameters, ["SIZE=30", "BODY=8BITMIME", "RET=HDRS"]);
    let kim = Recipient { address: "kim@example.org".to_owned(), parameters: vec!["NOTIFY=FAILURE,DELAY".to_owned()] };
    assert_eq!(envelope.recipients[0], kim);
    assert_eq!(envelope.addresses(), ["kim@example.org", "lee@example.org"]);
    assert_eq!(place.post.mails_to("LEE@example.org").len(), 1);
    assert_eq!(talk.code("QUIT").await, 221);
    assert!(talk.is_closed().await);
    let counts =
        place.post.until(DEADLINE, |post| Some(post.counts()).filter(|counts| counts.open == 0)).await.unwrap();
    assert_eq!((counts.connections, counts.mails), (1, 1));
}

#[tokio::test]
async fn commands_may_come_all_at_once() {
    let place = Place::fresh().await;
    let mut talk = place.talk().await;
    talk.write("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n").await;
    for code in ["250", "250", "250", "354"] {
        assert_eq!(&talk.reply().await.unwrap()[..3], code);
    }
    talk.write(".\r\nMAIL FROM:<x@y.test>\r\nRSET\r\nNOOP\r\nVRFY x\r\nQUIT\r\n").await;
    for code in ["250", "250", "250", "250", "252", "221"] {
        assert_eq!(&talk.reply().await.unwrap()[..3], code);
    }
    let mail = place.post.mail(1).unwrap();
    assert_eq!((mail.raw.len(), mail.envelope.sender.as_str()), (0, ""));
    let heard = place.post.heard();
    assert_eq!(heard.first().map(String::as_str), Some("EHLO x"));
    assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn a_mail_cannot_be_ended_by_anything_but_its_end() {
    let place = Place::fresh().await;
    let mut talk = place.talk_up_to_data().await;
    let smuggled = "a\n.\nMAIL FROM:<x@y.test>\n.\r\nb\r.\r\r\n.\rc\r\n";
    let answer = talk.content(&format!("{smuggled}.\r\n")).await.unwrap();
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!(place.post.mails().len(), 1);
    assert_eq!(place.post.mail(1).unwrap().text(), smuggled.replace("\r\n.\rc", "\r\n\rc"));
}

#[tokio::test]
async fn commands_that_may_not_come_now_are_refused() {
    let place = Place::start(PostSettings { mail_bytes_max: 1_000, ..PostSettings::default() }).await;
    let check = async |before: &[&str], line: &str, code: u16| {
        let mut talk = place.talk().await;
        for line in before {
            assert_eq!(talk.code(line).await, 250, "{line}");
        }
        assert_eq!(talk.code(line).await, code, "{before:?} {line}");
    };
    let (hello, sender, recipient) = ("EHLO x", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>");
    check(&[], sender, 503).await;
    check(&[hello], recipient, 503).await;
    check(&[hello], "DATA", 503).await;
    check(&[hello, sender], "DATA", 554).await;
    check(&[hello, sender], sender, 503).await;
    check(&[hello, sender, recipient, "RSET"], "DATA", 503).await;
    check(&[hello, sender, recipient, hello], "DATA", 503).await;
    check(&[hello], "MAIL FROM:<a@b.test> SIZE=1000", 250).await;
    check(&[hello], "MAIL FROM:<a@b.test> SIZE=1001", 552).await;
    check(&[hello], "MAIL FROM:<a@b.test> SIZE=x", 501).await;
    check(&[hello], "MAIL FROM:<a@b.test> BODY=BINARYMIME", 501).await;
    check(&[hello], "MAIL FROM:<ä@b.test>", 553).await;
    check(&[hello], "MAIL FROM:<ä@b.test> SMTPUTF8", 250).await;
    check(&[hello, sender], "RCPT TO:<ü@d.test>", 553).await;
    check(&[hello, "MAIL FROM:<a@b.test> SMTPUTF8"], "RCPT TO:<ü@d.test>", 250).await;
    check(&[hello], "STARTTLS", 503).await;
    check(&["HELO x"], "AUTH PLAIN AGEAYg==", 503).await;
    check(&[hello], "AUTH CRAM-MD5", 504).await;
    check(&[hello], "TURN", 500).await;
}

#[tokio::test]
async fn a_mail_larger_than_allowed_is_refused_and_the_next_one_is_not() {
    let place = Place::start(PostSettings { mail_bytes_max: 10, ..PostSettings::default() }).await;
    let mut talk = place.talk_up_to_data().await;
    let answer = talk.content("123456789\r\n.\r\n").await.unwrap();
    assert!(answer.starts_with("552 5.3.4 "), "{answer}");
    assert_eq!(talk.code("DATA").await, 503, "its envelope is gone too");
    assert_eq!(talk.code("MAIL FROM:<a@b.test>").await, 250);
    assert_eq!(talk.code("RCPT TO:<a@b.test>").await, 250);
    assert!(talk.content("12345678\r\n.\r\n").await.unwrap().starts_with("250 "));
}

#[tokio::test]
async fn lines_recipients_and_nonsense_have_bounds() {
    let place = Place::fresh().await;
    let mut talk = place.talk().await;
    talk.write(&format!("EHLO {}\r\n", "x".repeat(5_000))).await;
    assert!(talk.reply().await.unwrap().starts_with("500 "));
    assert!(talk.is_closed().await);

    let mut talk = place.talk_up_to_data().await;
    for _ in 1..1_000 {
        assert_eq!(talk.code("RCPT TO:<a@b.test>").await, 250);
    }
    assert_eq!(talk.code("RCPT TO:<a@b.test>").await, 452);
    assert!(talk.content(".\r\n").await.unwrap().starts_with("250 "));
    assert_eq!(place.post.mail(1).unwrap().envelope.recipients.len(), 1_000);

    let mut talk = place.talk().await;
    for _ in 0..20 {
        assert_eq!(talk.code("GET / HTTP/1.1").await, 500);
    }
    assert_eq!(talk.code("GET / HTTP/1.1").await, 421);
    assert!(talk.is_closed().await);
}

#[tokio::test]
async fn old_mails_are_forgotten_when_all_together_are_too_large() {
    let place = Place::start(PostSettings { mailbox_bytes_max: 25, ..PostSettings::default() }).await;
    for _ in 0..4 {
        place.hand_over("12345678\r\n").await;
    }
    let numbers: Vec<u64> = place.post.mails().iter().map(|mail| mail.number).collect();
    assert_eq!(numbers, [3, 4]);
    assert_eq!((place.post.counts().mails, place.post.mail(2)), (4, None));
    place.post.forget_mails();
    assert!(place.post.mails().is_empty());
}

#[tokio::test]
async fn the_client_tells_every_answer() {
    let place = Place::fresh().await;
    let mut mail = OutgoingMail::new("a@b.test", "kim@example.org", ".dot\r\n");
    let handover = place.post.send(place.post.address(), &mail).await.unwrap();
    assert!(handover.is_taken() && handover.refused().is_empty());
    assert_eq!(handover.codes(), [220, 250, 250, 250, 354, 250]);
    assert_eq!(handover.last().map(|(_, reply)| reply.text()), Some("250 2.0.0 kept as 1".to_owned()));
    assert_eq!(place.post.mail(1).unwrap().text(), ".dot\r\n");
    mail.recipients = vec!["nobody".to_owned(), "ü@d.test".to_owned()];
    let handover = place.post.send(place.post.address(), &mail).await.unwrap();
    assert!(handover.is_taken());
    assert_eq!(handover.refused().iter().map(|(who, reply)| (*who, reply.code)).collect::<Vec<_>>(), [("nobody", 501)]);
    mail.recipients = vec!["nobody".to_owned()];
    let handover = place.post.send(place.post.address(), &mail).await.unwrap();
    assert_eq!(handover.codes(), [220, 250, 250, 501]);
    assert!(!handover.is_taken());
}

#[tokio::test]
async fn a_relay_that_is_down_refuses_connections_and_comes_back_on_its_address() {
    let place = Place::fresh().await;
    let mut talk = place.talk_up_to_data().await;
    place.post.go_down().await;
    assert!(talk.is_closed().await, "open connections are cut");
    assert_eq!(place.post.counts().open, 0);
    let mail = OutgoingMail::new("a@b.test", "kim@example.org", "x\r\n");
    let refused = place.post.send(place.post.address(), &mail).await;
    assert!(matches!(refused, Err(HandoverError::Connect(..))), "{refused:?}");
    place.post.come_up().await;
    assert_eq!(place.hand_over("x\r\n").await.last(), Some(&250));
}

#[tokio::test]
async fn a_stopped_sandbox_leaves_no_connection() {
    let place = Place::fresh().await;
    let mut talk = Talk::connect(place.post.address()).await;
    assert!(talk.reply().await.unwrap().starts_with("220 relay.sandbox.test ESMTP"));
    tokio::time::timeout(DEADLINE, place.sandbox.stop()).await.expect("no task hangs");
    assert!(talk.is_closed().await);
}
