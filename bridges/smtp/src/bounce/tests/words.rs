//! Reports in words alone, as servers without a form for them write them.

use super::*;

const QMAIL: &str = "From: MAILER-DAEMON@old.test
Subject: failure notice

Hi. This is the qmail-send program at old.test.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ada@cust.test>:
192.0.2.5 does not like recipient.
Remote host said: 550 5.1.1 no such user
Giving up on 192.0.2.5.

<bob@cust.test>:
Sorry, no mailbox here by that name.

--- Below this line is a copy of the message.

Return-Path: <x@acme.test>
Message-ID: <one.1@acme.test>

hi 5.7.1 eve@cust.test
";

const EXIM: &str = "X-Failed-Recipients: ada@cust.test,
 bob@cust.test
From: Mail Delivery System <Mailer-Daemon@exim.test>
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

  ada@cust.test
    host mx.cust.test [192.0.2.5]
    SMTP error from remote mail server after RCPT TO:<ada@cust.test>:
    550 5.1.1 no such user
  bob@cust.test
    retry timeout exceeded

------ This is a copy of the message, including all the headers. ------

Message-ID: <one.1@acme.test>

hi
";

const EXCHANGE: &str = "From: postmaster@ex.test
Subject: Undeliverable: Help

Your message did not reach some or all of the intended recipients.

      Subject:  Help
      Sent:     1/1/2024 0:00 AM

The following recipient(s) could not be reached:

      ada@cust.test on 1/1/2024 0:00 AM
            The e-mail account does not exist at the organization.
            <mx.cust.test #5.1.1 smtp;550 5.1.1 not found>
";

const PLAIN: &str = "From: support@isp.test
Subject: Unzustellbar: Hilfe

Die Nachricht an ada@cust.test kommt nicht an: 550 5.7.1 abgelehnt.
";

const LISTED: &str = "From: postmaster@old.test
Subject: Delivery Status Notification (Failure)

Delivery to the following recipients failed.

       ada@cust.test

";

const FOLDED: &str = "From: MAILER-DAEMON@old.test
Subject: Undelivered Mail Returned to Sender

Your mail could not be delivered.

<ada@cust.test>: host mx.cust.test said: 550 5.1.1
    no such user
";

const UNMARKED: &str = "From: MAILER-DAEMON@old.test
Subject: Mail delivery failure

It could not be delivered to
ada@cust.test
Received: from a by b
Message-ID: <one.1@acme.test>

eve@cust.test
";

const SLOW: &str = "From: MAILER-DAEMON@isp.test
Subject: Warning: message delayed

Still trying:
ada@cust.test: 451 4.4.1 no answer
";

#[test]
fn reports_in_words_are_guessed_and_say_so() {
    use Action::{Delayed, Failed};
    for (name, raw, expected, id) in [
        (
            "qmail",
            QMAIL,
            vec![
                ("ada@cust.test", Failed, "5.1.1", "Remote host said: 550 5.1.1 no such user"),
                ("bob@cust.test", Failed, "5.0.0", "Sorry, no mailbox here by that name."),
            ],
            true,
        ),
        (
            "Exim",
            EXIM,
            vec![
                ("ada@cust.test", Failed, "5.1.1", "550 5.1.1 no such user"),
                ("bob@cust.test", Failed, "5.0.0", "retry timeout exceeded"),
            ],
            true,
        ),
        (
            "Exchange",
            EXCHANGE,
            vec![("ada@cust.test", Failed, "5.1.1", "<mx.cust.test #5.1.1 smtp;550 5.1.1 not found>")],
            false,
        ),
        (
            "plain",
            PLAIN,
            vec![(
                "ada@cust.test",
                Failed,
                "5.7.1",
                "Die Nachricht an ada@cust.test kommt nicht an: 550 5.7.1 abgelehnt.",
            )],
            false,
        ),
        ("listed", LISTED, vec![("ada@cust.test", Failed, "5.0.0", "")], false),
        (
            "folded",
            FOLDED,
            vec![("ada@cust.test", Failed, "5.1.1", "<ada@cust.test>: host mx.cust.test said: 550 5.1.1 no such user")],
            false,
        ),
        ("a copy without a mark", UNMARKED, vec![("ada@cust.test", Failed, "5.0.0", "")], true),
        ("delay", SLOW, vec![("ada@cust.test", Delayed, "4.4.1", "ada@cust.test: 451 4.4.1 no answer")], false),
    ] {
        let report = report(raw);
        assert_eq!(report.kind, Kind::Words, "{name}");
        assert_eq!(short(&report), expected, "{name}");
        assert_eq!(report.returned_message_id.is_some(), id, "{name}");
    }
}
