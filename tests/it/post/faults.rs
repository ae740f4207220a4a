//! The fault switch, one fault after the other.

use deskbridge::sandbox::mail::{HandoverError, MailFault, MailRule, OutgoingMail, PostSettings, Step, tls_from_pem};

use super::{DEADLINE, Place, QUIET};

#[tokio::test]
async fn a_recipient_is_refused_or_put_off_so_many_times() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::always(Step::Recipient, MailFault::Refuse).about("nobody@"));
    place.post.faults().add(MailRule::next(2, Step::Recipient, MailFault::PutOff).about("kim@"));
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    talk.say("MAIL FROM:<a@b.test>").await;
    assert_eq!(talk.say("RCPT TO:<Nobody@example.org>").await, "550 5.1.1 nobody of this name\r\n");
    for code in [451, 451, 250] {
        assert_eq!(talk.code("RCPT TO:<kim@example.org>").await, code);
    }
    talk.content("x\r\n.\r\n").await;
    assert_eq!(place.post.mail(1).unwrap().envelope.addresses(), ["kim@example.org"]);
    assert_eq!(place.post.faults().struck(), 3);
}

#[tokio::test]
async fn every_step_can_be_refused_put_off_shut_down_or_cut() {
    let steps = [
        (Step::Hello, "EHLO x", 550),
        (Step::Auth, "AUTH PLAIN AGEAYg==", 535),
        (Step::Sender, "MAIL FROM:<a@b.test>", 550),
        (Step::Recipient, "RCPT TO:<a@b.test>", 550),
        (Step::Data, "DATA", 554),
        (Step::Reset, "RSET", 550),
    ];
    let place = Place::fresh().await;
    for (index, (step, line, refused)) in steps.into_iter().enumerate() {
        for fault in [MailFault::Refuse, MailFault::PutOff, MailFault::ShutDown, MailFault::Close] {
            place.post.faults().add(MailRule::next(1, step, fault.clone()));
            let mut talk = place.talk().await;
            for (_, line, _) in &steps[..index] {
                talk.say(line).await;
                if *line == "DATA" {
                    talk.write(".\r\n").await;
                    talk.reply().await;
                }
            }
            if fault == MailFault::Close {
                talk.write(&format!("{line}\r\n")).await;
                assert!(talk.is_closed().await, "{line}");
                continue;
            }
            let code = talk.code(line).await;
            if matches!(fault, MailFault::Refuse) {
                assert_eq!(code, refused, "{line}");
            } else if matches!(fault, MailFault::ShutDown) {
                assert_eq!(code, 421, "{line}");
                assert!(talk.is_closed().await, "{line}");
            } else {
                assert_eq!(code, if step == Step::Auth { 454 } else { 451 }, "{line}");
            }
        }
    }
    assert_eq!(place.post.faults().struck(), 24);
}

#[tokio::test]
async fn a_connection_is_turned_away_before_its_greeting() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::next(1, Step::Connect, MailFault::ShutDown));
    assert_eq!(place.hand_over("x\r\n").await, [421]);
    place.post.faults().add(MailRule::next(1, Step::Connect, MailFault::Close));
    let mail = OutgoingMail::new("a@b.test", "kim@example.org", "x\r\n");
    let broken = place.post.send(place.post.address(), &mail).await;
    assert!(matches!(broken, Err(HandoverError::Broken { .. })), "{broken:?}");
    assert_eq!(place.hand_over("x\r\n").await.last(), Some(&250));
}

#[tokio::test]
async fn any_answer_can_be_given() {
    let place = Place::fresh().await;
    let text = "4.2.2 the mailbox is full".to_owned();
    place.post.faults().add(MailRule::next(1, Step::Recipient, MailFault::Answer { code: 452, text }));
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    talk.say("MAIL FROM:<a@b.test>").await;
    assert_eq!(talk.say("RCPT TO:<kim@example.org>").await, "452 4.2.2 the mailbox is full\r\n");
}

#[tokio::test]
async fn the_connection_is_cut_in_the_middle_of_a_mail() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::CloseMidData { bytes: 10 }));
    let mut talk = place.talk_up_to_data().await;
    assert_eq!(talk.code("DATA").await, 354);
    talk.write("0123456789").await;
    assert!(tokio::time::timeout(QUIET, talk.reply()).await.is_err(), "so many may come");
    talk.write("0").await;
    assert!(talk.is_closed().await);
    assert!(place.post.mails().is_empty());
}

#[tokio::test]
async fn a_whole_mail_is_refused_or_lost_with_its_connection() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::Refuse).about("<kim@example.org>"));
    assert_eq!(place.hand_over("x\r\n").await, [220, 250, 250, 250, 354, 554]);
    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::Close));
    let mut talk = place.talk_up_to_data().await;
    assert_eq!(talk.content("x\r\n.\r\n").await, None);
    assert!(place.post.mails().is_empty());
}

#[tokio::test]
async fn a_mail_is_taken_and_the_answer_never_comes() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::CommitThenClose));
    let mut talk = place.talk_up_to_data().await;
    assert_eq!(talk.content("first\r\n.\r\n").await, None);
    assert_eq!(place.post.mail(1).unwrap().text(), "first\r\n");

    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::CommitThenHang));
    let mut talk = place.talk_up_to_data().await;
    assert_eq!(talk.code("DATA").await, 354);
    talk.write("second\r\n.\r\n").await;
    assert!(place.post.wait_for(2, DEADLINE).await.is_some());
    assert!(tokio::time::timeout(QUIET, talk.reply()).await.is_err());
    drop(talk);
    let gone = place.post.until(DEADLINE, |post| (post.counts().open == 0).then_some(())).await;
    assert!(gone.is_some(), "who hangs up is let go");

    place.post.faults().add(MailRule::next(1, Step::Content, MailFault::CommitThenSlow { milliseconds: 50 }));
    let mut talk = place.talk_up_to_data().await;
    assert_eq!(talk.content("third\r\n.\r\n").await.as_deref(), Some("250 2.0.0 kept as 3\r\n"));
    assert_eq!(place.post.faults().struck(), 3);
}

#[tokio::test]
async fn a_server_hangs_or_is_slow_and_does_nothing_meanwhile() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::next(1, Step::Sender, MailFault::Slow { milliseconds: 2_000 }));
    place.post.faults().add(MailRule::next(1, Step::Recipient, MailFault::Hang));
    let mut talk = place.talk().await;
    talk.say("EHLO x").await;
    talk.write("MAIL FROM:<a@b.test>\r\n").await;
    assert!(tokio::time::timeout(QUIET, talk.reply()).await.is_err(), "the answer is late");
    assert!(talk.reply().await.unwrap().starts_with("250"));
    talk.write("RCPT TO:<a@b.test>\r\nQUIT\r\n").await;
    assert!(tokio::time::timeout(QUIET, talk.reply()).await.is_err());
    let (open, mails, struck) = (place.post.counts().open, place.post.counts().mails, place.post.faults().struck());
    assert_eq!((open, mails, struck), (1, 0, 2));
}

#[tokio::test]
async fn starttls_is_not_offered_for_once() {
    let made = rcgen::generate_simple_self_signed(vec!["relay.sandbox.test".to_owned()]).unwrap();
    let tls = tls_from_pem(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    let place = Place::start(PostSettings { tls: Some(tls), ..PostSettings::default() }).await;
    place.post.faults().add(MailRule::next(1, Step::Hello, MailFault::NoStarttls));
    let mut talk = place.talk().await;
    assert!(!talk.say("EHLO x").await.contains("STARTTLS"));
    assert!(talk.say("EHLO x").await.contains("STARTTLS"));
    place.post.faults().add(MailRule::next(1, Step::Starttls, MailFault::Refuse));
    assert_eq!(talk.code("STARTTLS").await, 454);
}

#[tokio::test]
async fn a_cleared_switch_does_nothing() {
    let place = Place::fresh().await;
    place.post.faults().add(MailRule::always(Step::Any, MailFault::Close));
    place.post.faults().clear();
    assert_eq!(place.hand_over("x\r\n").await.last(), Some(&250));
    assert_eq!(place.post.faults().struck(), 0);
}
