//! The mail peers without a gateway: what the other scenes rely on.

use crate::{
    peers::{
        postfix::{HandIn, Postfix},
        relay::{Answer, Relay},
        sink::Sink,
        source::Source,
        swaks::{self, Mail, Swaks},
    },
    process::free_port,
};

const ADA: &str = "ada@cust.test";
const HELP: &str = "help@support.test";

#[test]
fn a_mail_with_files_goes_through_postfix_into_a_mailbox_unchanged() {
    if !Postfix::present() {
        return;
    }
    let server = Postfix::start(HandIn::Smtp, free_port());
    let picture: Vec<u8> = (0..=255).collect();
    let mail = Mail::new("bob@cust.test", ADA)
        .header("From", "=?UTF-8?Q?Bob_M=C3=BCller?= <bob@cust.test>")
        .subject("=?UTF-8?B?R3LDvMOfZQ==?=")
        .id("<one@cust.test>")
        .header("In-Reply-To", "<zero@cust.test>")
        .header("References", "<first@cust.test> <zero@cust.test>")
        .text("plain words, §\n.dots\n")
        .html("<p>rich <b>words</b></p>")
        .file("bytes.bin", "application/octet-stream", &picture)
        .file("empty.txt", "text/plain", b"");
    Swaks::to(server.smarthost).tls().pipeline().send(&mail);
    let letter = server.mailbox("ada").with("plain words, §");
    assert_eq!(letter.from(), ("Bob Müller".to_owned(), "bob@cust.test".to_owned()));
    assert_eq!((letter.to().1, letter.answer_to()), (ADA.to_owned(), "bob@cust.test".to_owned()));
    assert_eq!((letter.subject().as_str(), letter.id().as_str()), ("Grüße", "one@cust.test"));
    assert_eq!(letter.in_reply_to(), ["zero@cust.test"]);
    assert_eq!(letter.references(), ["first@cust.test", "zero@cust.test"]);
    assert!(letter.html().is_some_and(|html| html.contains("<b>words</b>")), "{letter:?}");
    let files = letter.files();
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["bytes.bin", "empty.txt"]);
    assert_eq!(files[0].bytes, picture);
    assert_eq!((letter.count("Received"), letter.header("X-Original-To")), (1, Some(ADA.to_owned())));
}

#[test]
fn a_stranger_gets_a_bounce_written_that_goes_where_the_envelope_says() {
    if !Postfix::present() {
        return;
    }
    let desk = Sink::start(&[]);
    let server = Postfix::start(HandIn::Smtp, desk.port);
    let sender = "help+token@support.test";
    Swaks::to(server.smarthost).send(&Mail::new(sender, "nobody@cust.test").id("<answer@support.test>").text("hello"));
    let bounce = desk.until(1).remove(0);
    assert_eq!((bounce.sender.as_str(), bounce.recipients.as_slice()), ("", [sender.to_owned()].as_slice()));
    let text = bounce.letter.raw();
    for words in ["multipart/report", "Status: 5.1.1", "nknown user", "answer@support.test"] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    server.until_empty();
}

#[test]
fn postfix_hands_in_what_it_took_by_smtp_or_lmtp_and_keeps_it_while_nobody_takes_it() {
    if !Postfix::present() {
        return;
    }
    for (hand_in, options) in [(HandIn::Smtp, [].as_slice()), (HandIn::Lmtp, ["-L"].as_slice())] {
        let port = free_port();
        let mut server = Postfix::start(hand_in, port);
        Swaks::to(server.front).send(&Mail::new(ADA, HELP).text("hello"));
        crate::wait::until("the mail to be put off", || {
            if server.log().contains("status=deferred") { Ok(()) } else { Err(server.log()) }
        });
        assert_eq!(server.queued(), [HELP]);
        server.go_down();
        server.come_up();
        let desk = Sink::on(port, options);
        let mail = desk.until(1).remove(0);
        assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), (ADA, [HELP.to_owned()].as_slice()));
        server.until_empty();
        assert!(!Swaks::to(server.front).try_send(&Mail::new(ADA, "someone@else.test")).is_taken(), "an open relay");
    }
}

#[test]
fn a_source_counts_only_what_was_taken() {
    if !Postfix::present() {
        return;
    }
    let desk = Sink::start(&[]);
    let source = Source::to(desk.port, 40).clients(5).numbered();
    assert_eq!(source.run(ADA, HELP).code, Some(0));
    let mut recipients: Vec<_> = desk.until(40).into_iter().flat_map(|mail| mail.recipients).collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), 40, "each has a number of its own");
    let lmtp = Sink::start(&["-L"]);
    let folder = crate::peers::folder();
    let mut sending = Source::to(lmtp.port, 40).clients(5).lmtp().kept().spawn(ADA, HELP, folder.path());
    assert!(sending.wait().success(), "{}", sending.err());
    lmtp.until(40);
    let closed = Sink::start(&["-r", "RCPT"]);
    assert_ne!(Source::to(closed.port, 2).run(ADA, HELP).code, Some(0));
    assert_eq!(Source::to(closed.port, 2).stubborn().run(ADA, HELP).code, Some(0));
}

#[test]
fn a_relay_says_what_its_script_says_and_keeps_what_it_took() {
    if !Postfix::present() {
        return;
    }
    let relay = Relay::start(&[Answer::Say("451 4.3.0 later"), Answer::KeepAndHangUp]);
    let send = || Swaks::to(relay.port).try_send(&Mail::new(HELP, ADA).text("hello\n.dots stay"));
    let put_off = send();
    assert!(!put_off.is_taken());
    assert_eq!(put_off.last_answer(), "451 4.3.0 later");
    assert!(!send().is_taken());
    assert!(send().is_taken());
    assert_eq!((relay.until(3).len(), relay.kept().len()), (3, 2));
    let kept = relay.kept().remove(1);
    assert_eq!((kept.sender.as_str(), kept.recipients.as_slice()), (HELP, [ADA.to_owned()].as_slice()));
    assert!(kept.letter.text().contains("\n.dots stay"), "{kept:?}");

    let exact = "Subject: exact\r\n\r\na line\r\n..\r\n.\r\n";
    assert!(swaks::raw(relay.port, HELP, ADA, exact).is_taken());
    assert_eq!(relay.until(4)[3].letter.raw(), "Subject: exact\r\n\r\na line\r\n.\r\n");
}
