//! Reports of delivery are read in every form in which they are written, and nothing else is taken for one.

use proptest::prelude::*;

use super::*;

mod words;

const POSTFIX: &str = "Return-Path: <>
From: MAILER-DAEMON@relay.test (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounce+t@acme.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"A1.1700000000/relay.test\"

This is a MIME-encapsulated message.

--A1.1700000000/relay.test
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host relay.test.

<ada@cust.test>: host mx.cust.test[192.0.2.5] said: 550 5.1.1 <ada@cust.test>:
    no such user (in reply to RCPT TO command)

--A1.1700000000/relay.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
Original-Envelope-Id: env-token
X-Postfix-Queue-ID: A1
Arrival-Date: Mon,  1 Jan 2024 00:00:00 +0000 (UTC)

Final-Recipient: rfc822; ada@cust.test
Original-Recipient: rfc822;ada@cust.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.cust.test
Diagnostic-Code: smtp; 550 5.1.1 <ada@cust.test>: no such
    user

--A1.1700000000/relay.test
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Acme <support@acme.test>
Message-ID: <one.1@acme.test>
In-Reply-To: <q@cust.test>
References: <p@cust.test> <q@cust.test>
Subject: Re: Help

--A1.1700000000/relay.test--
";

fn report(raw: &str) -> Report {
    let lf = read(raw.as_bytes()).expect("a report");
    let crlf = read(raw.replace('\n', "\r\n").as_bytes()).expect("a report");
    assert_eq!(lf, crlf, "line ends make no difference");
    lf
}

/// Address, action, status and diagnostic of each recipient.
fn short(report: &Report) -> Vec<(&str, Action, &str, &str)> {
    report
        .recipients
        .iter()
        .map(|one| {
            let address = one.address.as_ref().map_or("", Address::as_str);
            (address, one.action, one.status.as_str(), one.diagnostic.as_str())
        })
        .collect()
}

fn status_part(part: &str) -> String {
    format!(
        "From: <MAILER-DAEMON@relay.test>\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/plain\n\nSorry.\n--b\n{part}\n--b--\n"
    )
}

#[test]
fn a_report_as_postfix_writes_it_is_read_whole() {
    let report = report(POSTFIX);
    assert_eq!(report.kind, Kind::Status);
    assert_eq!(report.original_envelope_id.as_deref(), Some("env-token"));
    assert_eq!(report.returned_message_id, MessageId::parse("<one.1@acme.test>"));
    assert_eq!(short(&report), [("ada@cust.test", Action::Failed, "5.1.1", "550 5.1.1 <ada@cust.test>: no such user")]);
    assert_eq!(report.recipients[0].remote.as_deref(), Some("mx.cust.test"));
    assert_eq!(report.recipients[0].sentence(), "5.1.1 <ada@cust.test>: no such user (mx.cust.test)");
}

#[test]
fn what_a_returned_mail_refers_to_is_another_mail() {
    let unnamed = POSTFIX.replace("Message-ID: <one.1@acme.test>\n", "");
    assert_eq!(report(&unnamed).returned_message_id, None, "what it refers to is another mail");
}

#[test]
fn a_line_of_a_mailbox_before_the_head_is_passed_over() {
    let stored = format!("From MAILER-DAEMON Mon Jan  1 00:00:00 2024\n{POSTFIX}");
    assert_eq!(report(&stored), report(POSTFIX));
}

#[test]
fn a_delay_is_no_failure() {
    let text = POSTFIX.replace(
        "Action: failed\nStatus: 5.1.1",
        "Action: delayed\nStatus: 4.4.1\nWill-Retry-Until: Tue, 2 Jan 2024 00:00:00 +0000 (UTC)",
    );
    let one = &report(&text).recipients[0];
    assert_eq!((one.action, one.status.as_str()), (Action::Delayed, "4.4.1"));
}

/// A status part, and what is read from it: address, action, status, diagnostic.
type Written = (&'static str, &'static str, &'static [(&'static str, Action, &'static str, &'static str)]);

const WAYS_TO_WRITE: &[Written] = &[
    (
        "several recipients",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.1.1\n\nFinal-Recipient: rfc822;b@x.test\nAction: delivered\nStatus: 2.0.0\n\nFinal-Recipient: rfc822;c@x.test\nAction: relayed\nStatus: 2.0.0\n\nFinal-Recipient: rfc822;d@x.test\nAction: expanded\nStatus: 2.0.0",
        &[
            ("a@x.test", Action::Failed, "5.1.1", ""),
            ("b@x.test", Action::Delivered, "2.0.0", ""),
            ("c@x.test", Action::Relayed, "2.0.0", ""),
            ("d@x.test", Action::Expanded, "2.0.0", ""),
        ],
    ),
    (
        "no empty line between them",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822;b@x.test\nAction: failed\nStatus: 5.1.2",
        &[("a@x.test", Action::Failed, "5.1.1", ""), ("b@x.test", Action::Failed, "5.1.2", "")],
    ),
    (
        "no empty line, the original first",
        "Content-Type: message/delivery-status\n\nOriginal-Recipient: rfc822;a@x.test\nFinal-Recipient: rfc822;a@y.test\nAction: failed\nStatus: 5.1.1\nOriginal-Recipient: rfc822;b@x.test\nFinal-Recipient: rfc822;b@y.test\nAction: failed\nStatus: 5.1.2",
        &[("a@x.test", Action::Failed, "5.1.1", ""), ("b@x.test", Action::Failed, "5.1.2", "")],
    ),
    (
        "no empty line after the head of the part",
        "Content-Type: message/delivery-status\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.1.1",
        &[("a@x.test", Action::Failed, "5.1.1", "")],
    ),
    (
        "lower case and other spellings",
        "Content-type: MESSAGE/Delivery-Status\n\nReporting-MTA: dns; r.test\n\nfinal-recipient: RFC822 ;a@x.test\naction: FAILED (really)\nstatus: 5.2.2 (mailbox full)",
        &[("a@x.test", Action::Failed, "5.2.2", "")],
    ),
    (
        "the code only in the words, as Exim writes it",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nAction: failed\nFinal-Recipient: rfc822;a@x.test\nStatus: 5.0.0\nRemote-MTA: dns; mx.x.test\nDiagnostic-Code: smtp; 550 5.1.1 no such user",
        &[("a@x.test", Action::Failed, "5.1.1", "550 5.1.1 no such user")],
    ),
    (
        "a code of another class is no better",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 450 4.2.0 greylisted",
        &[("a@x.test", Action::Failed, "5.0.0", "450 4.2.0 greylisted")],
    ),
    (
        "given up after a while",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 4.4.7",
        &[("a@x.test", Action::Failed, "4.4.7", "")],
    ),
    (
        "without an action",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nStatus: 4.4.1\n\nFinal-Recipient: rfc822;b@x.test\nStatus: 5.1.1",
        &[("a@x.test", Action::Delayed, "4.4.1", ""), ("b@x.test", Action::Failed, "5.1.1", "")],
    ),
    (
        "without a status",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed",
        &[("a@x.test", Action::Failed, "5.0.0", "")],
    ),
    (
        "international (RFC 6533)",
        "Content-Type: message/global-delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: utf-8; f\\x{fc}r@x.test\nAction: failed\nStatus: 5.6.7",
        &[("für@x.test", Action::Failed, "5.6.7", "")],
    ),
    (
        "in base64",
        "Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\nUmVwb3J0aW5nLU1UQTogZG5zOyByLnRlc3QKCkZpbmFsLVJlY2lwaWVudDogcmZjODIyO2FAeC50\nZXN0CkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4xLjEK",
        &[("a@x.test", Action::Failed, "5.1.1", "")],
    ),
    (
        "with a line that is no field",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.1.1\n???\nFinal-Recipient: rfc822;b@x.test\nAction: failed\nStatus: 5.1.2",
        &[("a@x.test", Action::Failed, "5.1.1", ""), ("b@x.test", Action::Failed, "5.1.2", "")],
    ),
    (
        "nobody we could write to",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; r.test\n\nFinal-Recipient: X400; c=de\nAction: failed\nStatus: 5.1.1",
        &[("", Action::Failed, "5.1.1", "")],
    ),
];

#[test]
fn the_many_ways_to_write_a_status_part_are_read() {
    for (name, part, expected) in WAYS_TO_WRITE {
        let report = report(&status_part(part));
        assert_eq!(short(&report), *expected, "{name}");
        assert_eq!(report.kind, Kind::Status, "{name}");
    }
}

#[test]
fn a_status_part_counts_in_any_multipart() {
    // As OpenSMTPD writes it.
    let mixed = POSTFIX.replace("multipart/report; report-type=delivery-status;", "multipart/mixed;");
    assert_eq!(short(&report(&mixed)), short(&report(POSTFIX)));
}

#[test]
fn complaints_and_receipts_are_told_apart() {
    let complaint = status_part(
        "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <ada@cust.test>\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <one.1@acme.test>\n\nhi",
    );
    let complaint = report(&complaint);
    assert_eq!(complaint.kind, Kind::Complaint);
    assert_eq!(short(&complaint), [("ada@cust.test", Action::Delivered, "2.0.0", "")]);
    assert_eq!(complaint.returned_message_id, MessageId::parse("<one.1@acme.test>"));
    let receipt = status_part(
        "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;ada@cust.test\nOriginal-Message-ID: <one.1@acme.test>\nDisposition: manual-action/MDN-sent-manually; displayed",
    );
    let receipt = report(&receipt);
    assert_eq!(receipt.kind, Kind::Receipt);
    assert_eq!(short(&receipt), [("ada@cust.test", Action::Delivered, "2.0.0", "")]);
    assert_eq!(receipt.returned_message_id, MessageId::parse("<one.1@acme.test>"));
}

#[test]
fn what_people_write_is_no_report() {
    for raw in [
        "From: ada@cust.test\nSubject: Help\n\nI got 550 5.1.1 when I wrote to bob@cust.test.\n",
        "From: ada@cust.test\nSubject: Undeliverable?\n\nWhat does that mean?\n",
        "From: MAILER-DAEMON@cust.test\nSubject: hi\n\nnothing\n",
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <a@b>\n\nx\n--b--\n",
        "",
        "\n",
    ] {
        assert_eq!(read(raw.as_bytes()), None, "{raw:?}");
    }
}

#[test]
fn sentences_are_short_and_on_one_line() {
    let one = |status: &str, diagnostic: &str, remote: Option<&str>| RecipientReport {
        address: None,
        action: Action::Failed,
        status: status.to_owned(),
        diagnostic: diagnostic.to_owned(),
        remote: remote.map(str::to_owned),
    };
    for (status, diagnostic, remote, expected) in [
        ("5.1.1", "550 5.1.1 user unknown", Some("mx.example.org"), "5.1.1 user unknown (mx.example.org)"),
        ("5.7.26", "550-5.7.26 not signed", None, "5.7.26 not signed"),
        ("5.1.1", "550 - no", None, "5.1.1 no"),
        ("5.1.1", "", Some("mx.test"), "5.1.1 there is no such address (mx.test)"),
        ("5.7.1", "550", None, "5.7.1 the server refuses the mail"),
        ("5.0.0", "", None, "5.0.0 it could not be delivered"),
        ("5.0.0", "555 things", None, "5.0.0 things"),
    ] {
        assert_eq!(one(status, diagnostic, remote).sentence(), expected);
    }
    let hostile = status_part(&format!(
        "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx\u{202e}\u{7}x\nDiagnostic-Code: smtp; 550 \u{1b}[31mred {}",
        "ä ".repeat(2000)
    ));
    let report = report(&hostile);
    let one = &report.recipients[0];
    assert!(one.diagnostic.chars().count() <= DIAGNOSTIC_MAX && one.sentence().chars().count() <= DIAGNOSTIC_MAX);
    assert!(!one.sentence().contains(char::is_control) && one.diagnostic.starts_with("550 [31mred ä"));
    assert_eq!(one.remote.as_deref(), Some("mx x"));
}

#[test]
fn reports_are_read_up_to_a_bound() {
    let one = |n: usize| format!("Final-Recipient: rfc822;a{n}@x.test\nAction: failed\nStatus: 5.1.1\n\n");
    let many = (0..RECIPIENTS_MAX + 5).map(one).collect::<Vec<_>>().concat();
    let raw = status_part(&format!("Content-Type: message/delivery-status\n\n{many}"));
    assert_eq!(report(&raw).recipients.len(), RECIPIENTS_MAX);
    let raw = status_part(&format!("Content-Type: message/delivery-status\n\n{}", many.replace("\n\n", "\n")));
    assert_eq!(report(&raw).recipients.len(), RECIPIENTS_MAX);
    let mut parts = "From: MAILER-DAEMON@x.test\nContent-Type: multipart/report; boundary=b\n\n".to_owned();
    parts.push_str(
        &"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822;a@x.test\nAction: failed\n\n"
            .repeat(40_000),
    );
    assert_eq!(report(&parts).recipients.len(), 1, "told once");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        read(&bytes);
        one_line(&String::from_utf8_lossy(&bytes), 20);
    }

    #[test]
    fn a_report_with_damage_is_read_without_a_panic(cuts in prop::collection::vec((0..POSTFIX.len(), any::<u8>()), 0..20), end in 0..POSTFIX.len()) {
        let mut raw = POSTFIX.as_bytes().to_vec();
        for (at, byte) in cuts {
            raw[at] = byte;
        }
        raw.truncate(end.max(1));
        if let Some(report) = read(&raw) {
            for one in &report.recipients {
                prop_assert!(!one.sentence().contains(char::is_control));
            }
        }
    }

    #[test]
    fn any_words_of_a_robot_are_read(lines in prop::collection::vec(prop_oneof![
        Just("<ada@cust.test>:".to_owned()), Just(String::new()), Just("550 5.1.1 bob@cust.test".to_owned()), "\\PC{0,40}"
    ], 0..30)) {
        read(format!("From: MAILER-DAEMON@x.test\n\n{}", lines.join("\n")).as_bytes());
    }
}
