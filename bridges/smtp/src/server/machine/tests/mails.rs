//! Mails: which octets are kept, which are refused, and that one mail never becomes two.

use super::*;

const MAIL: &str = "From: a@c.test\r\nSubject: x\r\n\r\nhello\r\n";

/// Sends the mail after DATA and says what is answered.
fn data(client: &mut Client, mail: &str) -> String {
    assert_eq!(codes(&client.say("DATA\r\n")), "354");
    client.say(mail)
}

#[test]
fn a_mail_is_kept_with_its_envelope_before_it_is_confirmed() {
    let mut client = Client::begun(site());
    let reply = data(&mut client, &format!("{MAIL}..dot\r\n.\r\n"));
    assert_eq!(reply, "250 2.0.0 kept as 00000000000000000000000000000000\r\n");
    let (envelope, body) = &client.kept[0];
    assert_eq!(String::from_utf8_lossy(body), format!("{MAIL}.dot\r\n"));
    let expected = Envelope {
        client: [192, 0, 2, 7].into(),
        helo: "mx.cust.test".to_owned(),
        protocol: "ESMTP".to_owned(),
        sender: Address::parse("ada@cust.test"),
        recipients: vec![Address::parse("support@acme.test").unwrap()],
        received_millis: 1_000,
        bytes: body.len() as u64,
    };
    assert_eq!(envelope, &expected);
}

#[test]
fn what_cannot_be_stored_is_put_off_and_never_refused_for_good() {
    for commands in [vec!["DATA\r\n", "x\r\n.\r\n"], vec!["BDAT 3 LAST\r\nx\r\n"]] {
        let mut client = Client::begun(site());
        client.stores = false;
        let replies: String = commands.into_iter().map(|text| client.say(text)).collect();
        assert!(replies.ends_with("452 4.3.1 no room for the mail now, try again later\r\n"), "{replies}");
        assert_eq!((client.kept.len(), client.refused), (0, 1));
        assert_eq!(codes(&client.say("MAIL FROM:<a@c.test>\r\n")), "250");
    }
}

/// Each of these was two mails to some server once. Here it is one, or none.
#[test]
fn no_form_of_line_end_smuggles_a_second_mail_in() {
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\r\n.\0\r\n",
        "\r\n\0.\r\n",
        "\n\n.\r\n",
        "\r\r.\r\n",
        "\n.\r",
        "\r\n.\n\n",
        "\r\n . \r\n",
        "\r\n.\x0b\r\n",
        "\r\n.\u{85}\r\n",
        "\r\n.. \n.\n",
    ];
    for end in ends {
        for (bare_newline, is_lmtp) in
            [(BareNewline::Reject, false), (BareNewline::Normalize, false), (BareNewline::Reject, true)]
        {
            let site = Site { bare_newline, ..if is_lmtp { lmtp() } else { site() } };
            let normalizes = is_lmtp || bare_newline == BareNewline::Normalize;
            let mut client = Client::begun(site);
            let second =
                "MAIL FROM:<evil@c.test>\r\nRCPT TO:<sales@acme.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n";
            let reply = data(&mut client, &format!("{MAIL}x{end}{second}.\r\n"));
            let has_bare = end.replace("\r\n", "").contains(['\r', '\n']);
            let taken = normalizes || !has_bare;
            let expected = if taken { "250 2.0.0" } else { "550 5.5.2" };
            assert!(reply.starts_with(expected), "{end:?} {bare_newline:?} {is_lmtp}: {reply}");
            assert_eq!(codes(&reply), &expected[..3], "{end:?}");
            assert_eq!(client.kept.len(), usize::from(taken), "{end:?}");
            if let Some((envelope, body)) = client.kept.first() {
                assert_eq!(envelope.sender, Address::parse("ada@cust.test"));
                let left = String::from_utf8_lossy(body).replace("\r\n", "");
                assert!(left.contains("evil") && !left.contains(['\r', '\n']), "{end:?}");
            }
        }
    }
}

#[test]
fn programs_on_this_machine_may_use_its_line_ends_and_nobody_else_may() {
    for (address, normalizes) in [
        ("127.0.0.1", true),
        ("127.1.2.3", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("192.0.2.7", false),
        ("10.0.0.1", false),
        ("0.0.0.0", false),
        ("2001:db8::1", false),
        ("::ffff:192.0.2.7", false),
        ("::127.0.0.1", false),
    ] {
        for chunked in [false, true] {
            let mut client = Client::begun(site());
            client.machine.client = address.parse().unwrap();
            let mail = "Subject: x\n\na\nb\rc\r\n";
            let reply = if chunked {
                client.say(&format!("BDAT {} LAST\r\n{mail}", mail.len()))
            } else {
                data(&mut client, &format!("{mail}.\r\n"))
            };
            let expected = if normalizes { "250 2.0.0" } else { "550 5.5.2" };
            assert!(reply.starts_with(expected), "{address} {chunked}: {reply}");
            let kept: Vec<_> = client.kept.iter().map(|(_, body)| &body[..]).collect();
            let whole: &[&[u8]] = &[b"Subject: x\r\n\r\na\r\nb\r\nc\r\n"];
            assert_eq!(kept, if normalizes { whole } else { &[] }, "{address} {chunked}");
        }
    }
    // Their commands end like everybody's.
    let mut client = Client::begun(site());
    client.machine.client = [127, 0, 0, 1].into();
    assert_eq!(codes(&client.say("NOOP\n")), "500");
}

#[test]
fn two_line_ends_and_a_dot_end_a_mail_whatever_stood_before() {
    let mut client = Client::begun(site());
    let reply = data(&mut client, "a\r\r\n.\r\nNOOP\r\n");
    assert_eq!(codes(&reply), "550 250");
    let mut client = Client::begun(Site { bare_newline: BareNewline::Normalize, ..site() });
    assert_eq!(codes(&data(&mut client, "a\r\r\n.\r\nNOOP\r\n")), "250 250");
    assert_eq!(client.kept[0].1, b"a\r\n\r\n");
}

#[test]
fn a_mail_is_measured_whatever_its_client_said_of_it() {
    let limit = 1024 * 1024;
    for (bytes, expected) in [(limit, "250 2.0.0"), (limit + 1, "552 5.3.4"), (2 * limit, "552 5.3.4")] {
        let mut client = Client::known(site());
        client.say("MAIL FROM:<> SIZE=10\r\nRCPT TO:<support@acme.test>\r\nDATA\r\n");
        let line = "\r\n".to_owned() + &"x".repeat(bytes - 4) + "\r\n.\r\n";
        let mut reply = String::new();
        for piece in line.as_bytes().chunks(100_000) {
            reply += &client.send(piece);
        }
        assert!(reply.starts_with(expected), "{bytes}: {reply}");
        assert_eq!(client.closed, None);
        assert_eq!(client.kept.len(), usize::from(bytes == limit));
    }
    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    for _ in 0..20 {
        client.send(&b"x".repeat(100_000));
    }
    assert_eq!(codes(&client.send(&b"x".repeat(100_000))), "552");
    assert_eq!((client.closed, client.kept.len()), (Some("the mail is far too large"), 0));
}

#[test]
fn a_header_has_bounds_and_a_line_has_none() {
    for (mail, expected) in [
        (format!("{}\r\nx\r\n", "Received: x\r\n".repeat(50)), "250 2.0.0"),
        (format!("{}\r\nx\r\n", "Received: x\r\n".repeat(51)), "554 5.4.6"),
        (format!("X: y\r\n\r\n{}", "Received: x\r\n".repeat(60)), "250 2.0.0"),
        (format!("{}\r\n", "X: y\r\n".repeat(1001)), "552 5.3.4"),
        (format!("X: {}\r\n\r\n", "y".repeat(256 * 1024)), "552 5.3.4"),
        (format!("X: y\r\n\r\n{}\r\n", "y".repeat(1_020_000)), "250 2.0.0"),
    ] {
        let mut client = Client::begun(site());
        client.say("DATA\r\n");
        let mut reply = String::new();
        for piece in format!("{mail}.\r\n").as_bytes().chunks(60_000) {
            reply += &client.send(piece);
        }
        assert!(reply.starts_with(expected), "{}: {reply}", mail.len());
    }
}

#[test]
fn a_line_beyond_a_mebibyte_is_stored_as_it_is() {
    let mut client = Client::begun(Site { mail_bytes_max: 4 * 1024 * 1024, ..site() });
    client.say("DATA\r\n");
    let mail = format!("X: y\r\n\r\n{}\r\n", "z".repeat(2 * 1024 * 1024));
    for piece in mail.as_bytes().chunks(60_000) {
        client.send(piece);
    }
    assert_eq!(codes(&client.say(".\r\n")), "250");
    assert_eq!(client.kept[0].1, mail.as_bytes());
}

#[test]
fn chunks_are_taken_as_they_are() {
    let mut client = Client::begun(site());
    assert_eq!(codes(&client.say("BDAT 5\r\n.\r\nabBDAT 4\r\nc\r\n.")), "250 250");
    assert_eq!(codes(&client.say("BDAT 0 LAST\r\nNOOP\r\n")), "250 250");
    assert_eq!(client.kept[0].1, b".\r\nabc\r\n.");
    let flight = "MAIL FROM:<>\r\nRCPT TO:<sales@acme.test>\r\nBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n";
    assert_eq!(codes(&client.say(flight)), "250 250 250 221");
    assert_eq!(client.kept[1].1, b"QUIT\r\n");
}

#[test]
fn a_chunk_nobody_wants_is_read_and_never_obeyed() {
    for (before, expected) in [
        ("", "503 250"),
        ("MAIL FROM:<a@c.test>\r\n", "503 250"),
        ("MAIL FROM:<a@c.test>\r\nRCPT TO:<a@other.test>\r\n", "554 250"),
    ] {
        let mut client = Client::known(site());
        client.say(before);
        assert_eq!(codes(&client.say("BDAT 6 LAST\r\nRSET\r\nNOOP\r\n")), expected);
        assert!(client.kept.is_empty());
    }
    let mut client = Client::known(site());
    client.heard();
    assert_eq!(codes(&client.say("BDAT six LAST\r\nNOOP\r\n")), "501");
    assert!(client.closed.is_some());
}

#[test]
fn chunks_and_data_do_not_mix_and_reset_forgets_chunks() {
    let mut client = Client::begun(site());
    assert_eq!(codes(&client.say("BDAT 3\r\nabc")), "250");
    assert_eq!(codes(&client.say("DATA\r\n")), "503");
    assert_eq!(codes(&client.say("RCPT TO:<sales@acme.test>\r\n")), "503");
    assert_eq!(codes(&client.say("MAIL FROM:<>\r\n")), "503");
    assert_eq!(codes(&client.say("RSET\r\nBDAT 3 LAST\r\nabc")), "250 503");
    assert_eq!((client.kept.len(), client.body.len()), (0, 0));
}

#[test]
fn chunks_are_measured_and_searched_like_any_mail() {
    let mut client = Client::begun(site());
    assert_eq!(codes(&client.say("BDAT 4 LAST\r\na\nb\n")), "550");
    let mut client = Client::begun(site());
    assert_eq!(codes(&client.say("BDAT 2\r\na\rBDAT 2 LAST\r\n\nb")), "250 250");
    assert_eq!(client.kept[0].1, b"a\r\nb");
    let mut client = Client::begun(Site { mail_bytes_max: 10, ..site() });
    assert_eq!(codes(&client.say("BDAT 8\r\nabcdefghBDAT 3 LAST\r\nijk")), "250 552");
    let mut client = Client::begun(Site { mail_bytes_max: 10, ..site() });
    assert_eq!(codes(&client.say("BDAT 8\r\nabcdefghBDAT 13\r\n")), "250 552");
    assert!(client.closed.is_some());
}

#[test]
fn lmtp_answers_for_each_recipient() {
    for (stores, code) in [(true, "250"), (false, "452")] {
        for end in ["DATA\r\n", "BDAT 3 LAST\r\n"] {
            let mut client = Client::begun(lmtp());
            client.stores = stores;
            client.say("RCPT TO:<nobody@acme.test>\r\nRCPT TO:<sales@acme.test>\r\nRCPT TO:<SALES@acme.test>\r\n");
            client.say(end);
            let reply = client.say(if end.starts_with("DATA") { "x\r\n.\r\n" } else { "x\r\n" });
            assert_eq!(codes(&reply), [code; 3].join(" "), "{end}");
            if let Some((envelope, body)) = client.kept.first() {
                assert_eq!((envelope.recipients.len(), &*envelope.protocol, &**body), (2, "LMTP", &b"x\r\n"[..]));
            }
        }
    }
    let mut client = Client::begun(lmtp());
    client.say("RCPT TO:<sales@acme.test>\r\nDATA\r\n");
    assert_eq!(codes(&client.say(&format!("{}\r\n.\r\n", "Received: x\r\n".repeat(60)))), "554 554");
}

#[test]
fn a_mail_cut_in_the_middle_is_never_stored() {
    for mail in ["", "x", "x\r\n", "x\r\n.", "x\r\n.\r"] {
        let mut client = Client::begun(site());
        assert_eq!(data(&mut client, mail), "");
        assert!(client.kept.is_empty());
    }
}

#[test]
fn a_stop_lets_a_mail_end_and_nothing_else() {
    for begun in [false, true] {
        let mut client = if begun { Client::begun(site()) } else { Client::known(site()) };
        client.heard();
        client.input(Input::Stop);
        assert_eq!(codes(&client.heard()), "421");
    }
    let mut client = Client::of(site());
    client.input(Input::Stop);
    assert_eq!(codes(&client.heard()), "421");
    let mut client = Client::begun(site());
    client.say("DATA\r\nx");
    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    client.input(Input::Stop);
    assert_eq!(codes(&client.say("x\r\n.\r\nMAIL FROM:<>\r\n")), "250 421");
    assert_eq!(client.kept.len(), 1);
    let mut client = Client::begun(site());
    client.say("BDAT 1\r\nx");
    client.input(Input::Stop);
    assert_eq!(codes(&client.say("BDAT 1 LAST\r\ny")), "250 421");
    assert_eq!(client.kept[0].1, b"xy");
}
