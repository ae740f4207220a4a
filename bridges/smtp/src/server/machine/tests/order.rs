//! Commands: what each one answers, when it may come, and how many bad ones are borne.

use super::*;

#[test]
fn the_greeting_and_what_is_offered() {
    let mut client = Client::of(site());
    client.input(Input::Greet);
    assert_eq!(client.heard(), "220 mx.acme.test ESMTP ready\r\n");
    let offered = "250-mx.acme.test\r\n250-PIPELINING\r\n250-SIZE 1048576\r\n250-STARTTLS\r\n\
        250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";
    assert_eq!(client.say("EHLO mx.cust.test\r\n"), offered);
    assert_eq!(client.say("HELO mx.cust.test\r\n"), "250 mx.acme.test\r\n");
    let mut client = Client::of(lmtp());
    client.input(Input::Greet);
    assert_eq!(client.heard(), "220 mx.acme.test LMTP ready\r\n");
    assert_eq!(client.say("LHLO mx.cust.test\r\n"), offered.replace("250-STARTTLS\r\n", ""));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_command_answers_what_it_should() {
    let begun = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\n";
    let sender = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\n";
    let refused = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<a@other.test>\r\n";
    for (before, command, expected) in [
        ("", "NOOP", "250 2.0.0"),
        ("", "RSET", "250 2.0.0"),
        ("", "VRFY ada", "252 2.1.5"),
        ("", "EXPN list", "502 5.5.1"),
        ("", "HELP", "502 5.5.1"),
        ("", "ETRN x.test", "502 5.5.1"),
        ("", "AUTH PLAIN AAAA", "502 5.5.1"),
        ("", "QUIT", "221 2.0.0"),
        ("", "LHLO c.test", "500 5.5.1"),
        ("", "EHLO", "501 5.5.4"),
        ("", "NONSENSE", "500 5.5.2"),
        ("", "", "500 5.5.2"),
        ("", "NOOP \x01", "500 5.5.2"),
        ("", "NOOP \0", "500 5.5.2"),
        ("", "NOOP a\rb", "500 5.5.2"),
        ("", "RSET now", "501 5.5.4"),
        ("", "BDAT x", "501 5.5.4"),
        ("", "BDAT 9000000 LAST", "552 5.3.4"),
        ("", "GET / HTTP/1.1", "421 4.7.0"),
        ("", "MAIL FROM:<a@c.test>", "503 5.5.1"),
        ("", "RCPT TO:<support@acme.test>", "503 5.5.1"),
        ("", "DATA", "503 5.5.1"),
        ("", "STARTTLS now", "501 5.5.4"),
        ("", "STARTTLS", "220 2.0.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<>", "250 2.1.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> SIZE=1000 BODY=8BITMIME", "250 2.1.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> AUTH=<>", "250 2.1.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<@x.test,@y.test:a@c.test>", "250 2.1.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<ä@c.test> SMTPUTF8", "250 2.1.0"),
        ("EHLO c.test\r\n", "MAIL FROM:<ä@c.test>", "553 5.6.7"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> SIZE=1048577", "552 5.3.4"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> SIZE=x", "501 5.5.4"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> BODY=BINARYMIME", "501 5.5.4"),
        ("EHLO c.test\r\n", "MAIL FROM:<a@c.test> RET=FULL", "555 5.5.4"),
        ("EHLO c.test\r\n", "MAIL FROM:a@c.test", "501 5.1.7"),
        ("EHLO c.test\r\n", "MAIL FROM:<a>", "501 5.1.7"),
        ("EHLO c.test\r\n", "MAIL FROM <a@c.test>", "501 5.5.4"),
        ("EHLO c.test\r\n", "RCPT TO:<support@acme.test>", "503 5.5.1"),
        (sender, "MAIL FROM:<b@c.test>", "503 5.5.1"),
        (sender, "DATA", "503 5.5.1"),
        (sender, "BDAT 0 LAST", "503 5.5.1"),
        (sender, "RCPT TO:<support@acme.test>", "250 2.1.5"),
        (sender, "RCPT TO:<nobody@acme.test>", "550 5.1.1"),
        (sender, "RCPT TO:<a@other.test>", "550 5.7.1"),
        (sender, "RCPT TO:<>", "501 5.1.3"),
        (sender, "RCPT TO:support@acme.test", "501 5.1.3"),
        (sender, "RCPT TO:<support@acme.test> NOTIFY=NEVER", "555 5.5.4"),
        (sender, "RCPT TO:<süpport@any.test>", "553 5.6.7"),
        (refused, "DATA", "554 5.5.1"),
        (refused, "BDAT 0 LAST", "554 5.5.1"),
        (begun, "DATA", "354 "),
        (begun, "BDAT 0", "250 2.0.0"),
        (begun, "BDAT 0 LAST", "250 2.0.0"),
        (begun, "EHLO c.test", "250-"),
    ] {
        let mut client = Client::of(site());
        client.input(Input::Greet);
        client.say(before);
        let reply = client.say(&format!("{command}\r\n"));
        assert!(reply.starts_with(expected), "{before:?} {command:?}: {reply:?}");
    }
}

#[test]
fn lmtp_has_a_greeting_of_its_own_and_takes_a_bare_lf() {
    let mut client = Client::of(lmtp());
    client.input(Input::Greet);
    client.heard();
    assert!(client.say("EHLO a\r\n").starts_with("500 5.5.1"));
    assert!(client.say("HELO a\r\n").starts_with("500 5.5.1"));
    assert_eq!(codes(&client.say("LHLO a\nNOOP\n")), "250 250");
    assert!(client.say("STARTTLS\r\n").starts_with("502 5.5.1"));
    client.say("MAIL FROM:<a@c.test>\r\nRCPT TO:<a@other.test>\r\n");
    assert!(client.say("DATA\r\n").starts_with("503 5.5.1"));
    let mut client = Client::known(site());
    client.heard();
    assert!(client.say("NOOP\n").starts_with("500 5.5.2"));
}

#[test]
fn replies_to_commands_sent_together_come_together() {
    let mut client = Client::known(site());
    let writes = client.writes;
    let flight = "MAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\nRCPT TO:<a@other.test>\r\nDATA\r\n";
    assert_eq!(codes(&client.say(flight)), "250 250 550 354");
    assert_eq!(client.writes, writes + 1);
    assert_eq!(codes(&client.say("x\r\n.\r\nMAIL FROM:<a@c.test>\r\nQUIT\r\n")), "250 250 221");
    assert_eq!((client.writes, client.closed), (writes + 2, Some(QUIT)));
}

#[test]
fn whoever_speaks_first_or_sends_data_unasked_is_shown_out() {
    let mut client = Client::of(site());
    assert!(client.say("EHLO a\r\n").starts_with("554 5.5.0"));
    assert!(client.closed.is_some());
    for before in ["", "RSET\r\n"] {
        let mut client = Client::begun(site());
        client.say(before);
        assert!(client.say("DATA\r\nSubject: x\r\n\r\n.\r\n").starts_with("554 5.5.0"), "{before:?}");
        assert_eq!((client.closed.is_some(), client.kept.len()), (true, 0));
    }
}

#[test]
fn nothing_said_in_the_clear_is_believed_under_tls() {
    let mut client = Client::begun(site());
    assert!(client.say("STARTTLS\r\n").starts_with("220"));
    assert!(client.say("RCPT TO:<support@acme.test>\r\n").starts_with("503"));
    assert!(client.say("MAIL FROM:<a@c.test>\r\n").starts_with("503"));
    assert!(!client.say("EHLO c.test\r\n").contains("STARTTLS"));
    assert!(client.say("STARTTLS\r\n").starts_with("503 5.5.1"));
    client.say("MAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\n");
    client.say("DATA\r\n");
    client.say("x\r\n.\r\n");
    assert_eq!(client.kept[0].0.protocol, "ESMTPS");

    let mut client = Client::begun(site());
    assert!(client.say("STARTTLS\r\nMAIL FROM:<evil@c.test>\r\n").starts_with("554 5.5.0"));
    assert!(client.closed.is_some());
}

#[test]
fn ten_errors_and_twenty_refused_recipients_are_enough() {
    let mut client = Client::known(site());
    for _ in 0..9 {
        assert_eq!(codes(&client.say("NONSENSE\r\n")), "500");
    }
    assert_eq!(codes(&client.say("NONSENSE\r\n")), "500 421");
    assert!(client.closed.is_some());

    let mut client = Client::begun(site());
    for _ in 0..19 {
        assert_eq!(codes(&client.say("RCPT TO:<x@acme.test>\r\n")), "550");
    }
    assert_eq!(codes(&client.say("RCPT TO:<x@acme.test>\r\n")), "550 421");
    assert!(client.closed.is_some());
}

#[test]
fn noise_becomes_an_error_in_the_end_and_a_mail_makes_up_for_it() {
    let mut client = Client::known(site());
    client.heard();
    for _ in 0..99 {
        assert_eq!(codes(&client.say("NOOP\r\n")), "250");
    }
    client.say("MAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\n");
    client.say("DATA\r\n");
    assert_eq!(codes(&client.say("x\r\n.\r\n")), "250");
    for _ in 0..109 {
        assert_eq!(codes(&client.say("VRFY x\r\n")), "252");
    }
    assert_eq!(codes(&client.say("RSET\r\n")), "250 421");
}

#[test]
fn a_line_may_be_long_but_not_longer() {
    for (bytes, expected) in [(2048, "250"), (2049, "500"), (9000, "500")] {
        for cut in [1, 700, 2048, 9000] {
            let mut client = Client::known(site());
            client.heard();
            let line = format!("NOOP {}\r\n", "x".repeat(bytes - 7));
            for piece in line.as_bytes().chunks(cut) {
                client.input(Input::Bytes(piece));
            }
            assert_eq!(codes(&client.heard()), expected, "{bytes} {cut}");
            assert_eq!(codes(&client.say("NOOP\r\n")), "250");
        }
    }
}

#[test]
fn a_connection_takes_a_thousand_mails() {
    let mut client = Client::known(site());
    for _ in 0..1000 {
        client.say("MAIL FROM:<>\r\nRCPT TO:<support@acme.test>\r\nDATA\r\n");
        assert_eq!(codes(&client.say(".\r\n")), "250");
    }
    client.heard();
    assert_eq!(codes(&client.say("MAIL FROM:<>\r\n")), "421");
    assert_eq!((client.kept.len(), client.closed.is_some()), (1000, true));
}

#[test]
fn what_the_driver_says_of_room_is_passed_on() {
    for (admission, expected) in [(Admission::NoRoom, "452 4.3.1"), (Admission::TooFast, "450 4.7.1")] {
        let mut client = Client::known(site());
        client.heard();
        client.admission = admission;
        let flight = "MAIL FROM:<a@c.test> SIZE=77\r\nRCPT TO:<support@acme.test>\r\nDATA\r\n";
        let reply = client.say(flight);
        assert!(reply.starts_with(expected), "{reply}");
        assert_eq!((codes(&reply)[4..].to_owned(), client.asked.clone()), ("503 503".to_owned(), vec![77]));
    }
}

#[test]
fn too_much_sent_ahead_closes_the_connection() {
    let mut client = Client::of(site());
    client.input(Input::Greet);
    let ahead = vec![b'x'; PENDING_BYTES_MAX + 1];
    assert_eq!(codes(&client.send(&ahead)), "220 421");
}
