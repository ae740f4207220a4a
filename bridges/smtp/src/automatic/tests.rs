//! Robots are told from people, and two that answer each other stop.

use proptest::prelude::*;

use super::*;

fn class(fields: &[(&str, &str)], sender: &str, from: &str, subject: &str) -> Class {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let from = [Mailbox { name: String::new(), address: Address::parse(from) }];
    let sender = Address::parse(sender);
    let signs = Signs { fields: &fields, sender: sender.as_ref(), from: &from, subject };
    classify(signs)
}

fn of_fields(fields: &[(&str, &str)]) -> Class {
    class(fields, "ada@cust.test", "ada@cust.test", "Help")
}

fn is_automatic(class: &Class) -> bool {
    class.robot.is_some()
}

#[test]
fn fields_give_robots_away() {
    for (name, value, expected) in [
        ("auto-submitted", "no", false),
        ("auto-submitted", "No (really)", false),
        ("auto-submitted", "(auto-replied) no", false),
        ("auto-submitted", "", false),
        ("auto-submitted", "auto-replied", true),
        ("auto-submitted", "AUTO-Generated; owner=x", true),
        ("auto-submitted", "(no) auto-notified", true),
        ("auto-submitted", "(no (no)) word-of-the-future", true),
        ("precedence", "bulk", true),
        ("precedence", "Junk", true),
        ("precedence", "list", true),
        ("precedence", "auto_reply", true),
        ("precedence", "first-class", false),
        ("precedence", "normal", false),
        ("x-autoreply", "yes", true),
        ("x-autorespond", "", true),
        ("x-auto-reply", "no", false),
        ("feedback-id", "1:2:3:esp", true),
        ("list-id", "<a.b>", true),
        ("list-unsubscribe", "<https://x.test/>", true),
        ("content-type", "multipart/report; report-type=\"disposition-notification\"; boundary=x", true),
        ("content-type", "multipart/report; report-type=delivery-status", false),
        ("content-type", "text/plain; name=disposition-notification", false),
        // A wish that we write nothing by ourselves is no sign of a robot.
        ("x-auto-response-suppress", "All", false),
        ("x-mailer", "auto-replied", false),
    ] {
        assert_eq!(is_automatic(&of_fields(&[(name, value)])), expected, "{name}: {value}");
    }
    assert!(is_automatic(&of_fields(&[("auto-submitted", "no"), ("auto-submitted", "auto-replied")])));
    assert_eq!(of_fields(&[]), Class { robot: None, list: None });
}

#[test]
fn senders_give_robots_away() {
    for (sender, from, expected) in [
        ("ada@cust.test", "ada@cust.test", false),
        ("", "ada@cust.test", true),
        ("MAILER-DAEMON@cust.test", "ada@cust.test", true),
        ("ada@cust.test", "postmaster@cust.test", true),
        ("noreply@cust.test", "ada@cust.test", true),
        ("ada@cust.test", "No-Reply@cust.test", true),
        ("ada@cust.test", "no_reply@cust.test", true),
        ("ada@cust.test", "do-not-reply@cust.test", true),
        ("ada@cust.test", "noreply+abc@cust.test", true),
        ("owner-list@cust.test", "ada@cust.test", true),
        ("list-request@cust.test", "ada@cust.test", true),
        ("list-bounces@cust.test", "ada@cust.test", true),
        ("ada@cust.test", "reply@cust.test", false),
        ("ada@cust.test", "requests@cust.test", false),
        ("ada@noreply.test", "ada@noreply.test", false),
        ("ada@cust.test", "owner@cust.test", false),
        ("ada@cust.test", "nora.reply@cust.test", false),
    ] {
        assert_eq!(is_automatic(&class(&[], sender, from, "Help")), expected, "{sender} {from}");
    }
}

#[test]
fn a_subject_needs_a_second_sign() {
    for subject in
        ["Out of Office: back on Monday", "Automatic reply: x", "Abwesenheitsnotiz", "Réponse automatique : x"]
    {
        assert!(!is_automatic(&class(&[], "a@cust.test", "a@cust.test", subject)), "{subject}");
        let second = [("x-auto-response-suppress", "All")];
        assert!(is_automatic(&class(&second, "a@cust.test", "a@cust.test", subject)), "{subject}");
    }
}

#[test]
fn every_sign_is_kept_when_a_mail_is_read() {
    let read = |field: &str, subject: &str| {
        let raw = format!("From: ada@cust.test\r\nSubject: {subject}\r\n{field}\r\n\r\nHi\r\n");
        let mail = crate::mail::read(raw.as_bytes());
        let sender = Address::parse("ada@cust.test");
        let signs = Signs { fields: &mail.fields, sender: sender.as_ref(), from: &mail.from, subject: &mail.subject };
        classify(signs)
    };
    for name in SECOND_SIGNS {
        assert!(!is_automatic(&read(&format!("{name}: x"), "Help")), "{name}");
        assert!(is_automatic(&read(&format!("{name}: x"), "Out of office")), "{name}");
    }
    for name in SAYS_REPLY.iter().chain(&OF_A_LIST).chain(&["feedback-id", "list-id", "auto-submitted"]) {
        assert!(is_automatic(&read(&format!("{name}: yes"), "Help")), "{name}");
    }
    assert!(is_automatic(&read("Precedence: bulk", "Help")));
    assert!(is_automatic(&read("Content-Type: multipart/report; report-type=disposition-notification", "Help")));
}

#[test]
fn a_list_is_named() {
    for (name, value, expected) in [
        ("list-id", "Users of it <users.it.test>", "users.it.test"),
        ("list-id", "users.it.test", "users.it.test"),
        ("list-id", "<>", "unnamed"),
        ("list-id", "evil\u{202e} <a\r\nb>", "ab"),
        ("list-post", "<mailto:users@it.test?subject=x>", "users@it.test"),
        ("list-unsubscribe", "<https://it.test/>", "unnamed"),
    ] {
        assert_eq!(of_fields(&[(name, value)]).list.as_deref(), Some(expected), "{name}: {value}");
    }
    let long = format!("<{}>", "a".repeat(1000));
    assert_eq!(of_fields(&[("list-id", &long)]).list.unwrap().len(), LIST_MAX);
}

#[test]
fn two_desks_that_answer_by_themselves_stop_at_once() {
    // Each answers a person by itself, and marks what it writes so, as RFC 3834 asks.
    let answer = [("auto-submitted", "auto-replied"), ("x-auto-response-suppress", "All")];
    let mut on_the_way = vec![class(&[], "a@one.test", "a@one.test", "Help")];
    let mut mails = 0;
    while let Some(mail) = on_the_way.pop() {
        mails += 1;
        assert!(mails <= 3, "they go on");
        if !is_automatic(&mail) {
            on_the_way.push(class(&answer, "", "a@two.test", "Re: Help"));
        }
    }
    assert_eq!(mails, 2);
}

proptest! {
    #[test]
    fn any_fields_are_classified(name in "auto-submitted|precedence|list-id|list-post|x-deskbridge-loop", value in "\\PC{0,60}", subject in "\\PC{0,40}") {
        let class = class(&[(&name, &value)], "a@b.test", "a@b.test", &subject);
        if let Some(list) = class.list {
            prop_assert!(!list.is_empty() && !list.contains(char::is_control));
        }
    }
}
