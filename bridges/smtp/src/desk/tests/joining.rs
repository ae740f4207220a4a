//! Whose conversation a mail joins.

use super::{Rig, from_ada, message, note, spooled};
use crate::verdict::Level;

const FIRST: &str = "Message-ID: <1@cust.test>\nSubject: Broken lamp";

#[tokio::test]
async fn a_first_mail_opens_a_conversation_and_leaves_the_spool() {
    let mut rig = Rig::new("");
    let spool = bridge_api::Cursor::set(spooled(1), "{}");
    rig.host.save_cursors(vec![spool]).await.unwrap();
    let events = rig.mail(&from_ada(FIRST, "It *hums*.")).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    let message = message(event);
    assert_eq!(message.text, "**Broken lamp**\n\nIt \\*hums\\*.");
    assert_eq!((message.peer.id.as_str(), message.peer.name.as_str()), ("ada@cust.test", "Ada"));
    assert_eq!(message.peer.email.as_deref(), Some("ada@cust.test"));
    assert_eq!(message.facts["mail_auth"], "verified");
    assert_eq!(message.thread_facts["subject"], "Broken lamp");
    assert_eq!(event.at_millis, 1_700_000_001_000);
    assert_eq!(rig.cursors("mail/"), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_mail_twice_is_one_and_another_under_its_name_is_another() {
    let mut rig = Rig::new("");
    assert_eq!(rig.mail(&from_ada(FIRST, "It hums.")).await.len(), 1);
    let again = from_ada(&format!("Received: from x by y; Tue, 14 Nov 2023 22:01:00 +0000\n{FIRST}"), "It hums.");
    assert_eq!(rig.mail(&again).await.len(), 0);
    assert!(!rig.mail(&from_ada(FIRST, "It is dark.")).await.is_empty());
    assert_eq!(rig.mail(&from_ada("Subject: x", "Without a name.")).await.len(), 1);
    assert_eq!(rig.mail(&from_ada("Subject: x", "Without a name.")).await.len(), 0);
}

#[tokio::test]
async fn mails_without_a_blank_line_are_told_apart() {
    let mut rig = Rig::new("");
    for (text, is_new) in [("It hums", true), ("It is dark", true), ("It hums", false)] {
        let raw = from_ada("Subject: Lamp", text).replace("\n\n", "\n");
        assert_eq!(!rig.mail(&raw).await.is_empty(), is_new, "{text}");
    }
}

#[tokio::test]
async fn a_forged_copy_that_comes_first_takes_no_real_mails_place() {
    let mut rig = Rig::new("");
    let raw = from_ada(FIRST, "It hums.");
    assert!(!rig.enter("x@x.test", "support@acme.test", Level::Failed, &raw).await.is_empty());
    let real = rig.enter("ada@cust.test", "support@acme.test", Level::Verified, &raw).await;
    assert_eq!(message(&real[0]).peer.id.as_str(), "ada@cust.test");
    assert_eq!(rig.enter("x@x.test", "support@acme.test", Level::Unverified, &raw).await.len(), 0);
    let dated = raw.replace("14 Nov 2023 22:00", "14 Nov 2023 22:10");
    assert_eq!(rig.mail(&dated).await.len(), 0, "sent again, and dated anew");
    assert!(!rig.mail(&raw.replace("14 Nov", "15 Nov")).await.is_empty(), "a device that says the same every day");
    assert!(!rig.mail(&raw.replace("Ada <ada@", "Eve <eve@")).await.is_empty(), "somebody else's");
}

#[tokio::test]
async fn an_unproved_author_of_a_conversation_is_named_as_such() {
    let mut rig = Rig::new("");
    let first = from_ada(&format!("{FIRST}\nCc: bob@cust.test"), "It hums.");
    let thread = rig.mail(&first).await[0].thread.clone();
    let bob =
        from_ada("Message-ID: <b@cust.test>\nSubject: Re: Broken lamp", "Mine too.").replace("Ada <ada@", "Bob <bob@");
    let events = rig.enter("x@x.test", &rig.reply_address(&thread), Level::Unverified, &bob).await;
    assert_eq!(events[0].thread, thread);
    let told = message(&events[0]);
    assert!(told.text.starts_with("*Written by Bob \\<bob@cust.test\\>, which is not proved*"), "{told:?}");
    assert_eq!((told.peer.name.as_str(), told.peer.facts["mail_auth"].as_str()), ("Ada", "verified"));
}

#[tokio::test]
async fn an_answer_to_the_signed_address_joins_when_its_author_belongs_there() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada(FIRST, "It hums.")).await[0].thread.clone();
    let to = rig.reply_address(&thread);
    for (number, level) in [(2, Level::Verified), (3, Level::Weak)] {
        let raw = from_ada(&format!("Message-ID: <{number}@cust.test>\nSubject: Re: Broken lamp"), "Still.");
        let events = rig.enter("ada@cust.test", &to, level, &raw).await;
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&event.thread, message(event).text.as_str()), (&thread, "Still."), "{level:?}");
    }
    let other = from_ada("Message-ID: <4@cust.test>\nSubject: Another matter", "Also.");
    let events = rig.enter("ada@cust.test", &to.to_uppercase(), Level::Verified, &other).await;
    assert_eq!((&events[0].thread, message(&events[0]).text.as_str()), (&thread, "**Another matter**\n\nAlso."));
}

#[tokio::test]
async fn an_answer_that_names_our_mail_joins_too() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada(FIRST, "It hums.")).await[0].thread.clone();
    let (letter, _) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let ours = letter.message_id.as_str();
    for (number, field) in ["In-Reply-To", "References"].into_iter().enumerate() {
        let fields =
            format!("Message-ID: <a{number}@cust.test>\nSubject: Re: Broken lamp\n{field}: <1@cust.test> {ours}");
        assert_eq!(rig.mail(&from_ada(&fields, field)).await[0].thread, thread, "{field}");
    }
}

#[tokio::test]
async fn nothing_else_joins_and_each_says_what_it_speaks_of() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada(FIRST, "It hums.")).await[0].thread.clone();
    let to = rig.reply_address(&thread);
    let mallory = |fields: &str| from_ada(fields, fields).replace("Ada <ada@", "Mallory <mallory@");
    let token = to[8..40].to_owned();
    let mut forged = token.clone().into_bytes();
    forged[5] = if forged[5] == b'a' { b'b' } else { b'a' };
    let guessed = format!("support+{}@acme.test", String::from_utf8(forged).unwrap());
    for (name, recipient, level, raw, names) in [
        ("a stranger with the token", &to, Level::Verified, mallory("Message-ID: <m1@x.test>\nSubject: s1"), true),
        ("a forged author with it", &to, Level::Failed, from_ada("Message-ID: <m2@x.test>\nSubject: s2", "2"), true),
        (
            "an author who was proved and is not",
            &to,
            Level::Unverified,
            from_ada("Message-ID: <m3@x.test>\nSubject: s3", "3"),
            true,
        ),
        (
            "references alone",
            &"support@acme.test".to_owned(),
            Level::Verified,
            from_ada("Message-ID: <m4@x.test>\nSubject: s4\nReferences: <1@cust.test>", "4"),
            true,
        ),
        ("a guessed address", &guessed, Level::Verified, from_ada("Message-ID: <m5@x.test>\nSubject: s5", "5"), false),
    ] {
        let events = rig.enter("x@x.test", recipient, level, &raw).await;
        assert_ne!(events[0].thread, thread, "{name}");
        let abouts: Vec<_> = events[1..].iter().filter_map(|event| note(event).1).collect();
        assert_eq!(abouts, if names { vec![&thread] } else { vec![] }, "{name}");
    }
    let subject = from_ada("Message-ID: <s1@x.test>\nSubject: RE: s5", "6");
    let events = rig.mail(&subject).await;
    assert!(note(&events[1]).1.is_some(), "by the subject alone: {events:?}");
}

#[tokio::test]
async fn who_was_proved_goes_on_when_proofs_are_no_longer_asked_for() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada(FIRST, "It hums.")).await[0].thread.clone();
    rig.turn(r#", "verify": "off""#);
    let raw = from_ada("Message-ID: <2@cust.test>\nSubject: Re: Broken lamp", "Still.");
    let events = rig.enter("ada@cust.test", &rig.reply_address(&thread), Level::Unverified, &raw).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&event.thread, message(event).text.as_str()), (&thread, "Still."));
}

#[tokio::test]
async fn who_is_not_proved_is_another_person_and_the_agent_is_told() {
    let mut rig = Rig::new("");
    let raw = from_ada(FIRST, "It hums.");
    let proved = message(&rig.mail(&raw).await[0]).peer.id.clone();
    for (level, words) in [(Level::Unverified, "proved before and is not now"), (Level::Failed, "probably forged")] {
        let raw = from_ada(&format!("Subject: x\nMessage-ID: <{level:?}@x.test>"), "Pay here.");
        let events = rig.enter("x@x.test", "support@acme.test", level, &raw).await;
        let peer = &message(&events[0]).peer;
        assert_eq!((peer.id.as_str(), &peer.email), ("unproved/ada@cust.test", &None));
        assert_ne!(peer.id, proved);
        assert!(note(&events[1]).0.contains(words), "{events:?}");
    }
}

#[tokio::test]
async fn forged_mail_can_be_dropped_by_the_settings() {
    let mut rig = Rig::new(r#", "spoofed": "drop""#);
    let raw = from_ada(FIRST, "It hums.");
    assert_eq!(rig.enter("x@x.test", "support@acme.test", Level::Failed, &raw).await.len(), 0);
    assert_eq!(rig.enter("x@x.test", "support@acme.test", Level::Unverified, &raw).await.len(), 2);
}

#[tokio::test]
async fn people_who_are_copied_in_by_somebody_proved_belong_to_the_conversation() {
    let mut rig = Rig::new("");
    let first = from_ada(&format!("{FIRST}\nCc: Bob <bob@cust.test>, support@acme.test"), "It hums.");
    let events = rig.mail(&first).await;
    assert!(message(&events[0]).text.contains("*Cc: Bob"), "{events:?}");
    let (thread, to) = (events[0].thread.clone(), rig.reply_address(&events[0].thread));
    let bob =
        from_ada("Message-ID: <b@cust.test>\nSubject: Re: Broken lamp", "Mine too.").replace("Ada <ada@", "Bob <bob@");
    let events = rig.enter("bob@cust.test", &to, Level::Verified, &bob).await;
    assert_eq!(events[0].thread, thread);
    let told = message(&events[0]);
    assert_eq!(told.peer.name, "Ada", "it stays her conversation");
    assert!(told.text.starts_with("*Written by Bob"), "{told:?}");
    let (letter, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let all: Vec<_> = addressed.recipients.iter().chain(&addressed.copies).map(ToString::to_string).collect();
    assert_eq!(all, ["bob@cust.test", "ada@cust.test"]);
    assert_eq!((letter.to.len(), letter.cc.len()), (1, 1));
}

#[tokio::test]
async fn many_files_come_in_several_messages() {
    let mut rig = Rig::new("");
    let mut raw = from_ada(&format!("{FIRST}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b"), "");
    raw.push_str("--b\nContent-Type: text/plain\n\nSee the files.\n");
    for number in 0..17 {
        let file = format!("Content-Disposition: attachment; filename=\"{number}.pdf\"");
        raw.push_str(&["--b\nContent-Type: application/pdf\n", &file, "\n\nx\n"].concat());
    }
    raw.push_str("--b--\n");
    let events = rig.mail(&raw).await;
    let counts: Vec<_> = events.iter().map(|event| message(event).attachments.len()).collect();
    assert_eq!(counts, [15, 2]);
    assert_eq!(message(&events[1]).text, "(2/2)");
    assert_ne!(events[0].event, events[1].event);
}

#[tokio::test]
async fn a_text_that_is_too_long_for_the_inbox_is_cut_and_attached_whole() {
    let mut rig = Rig::new(r#", "attach_whole_text": false"#);
    for (lines, expected) in [(1_999, 0), (2_500, 1)] {
        let text = format!("{}\n", "ä".repeat(69)).repeat(lines);
        let events = rig.mail(&from_ada(&format!("Message-ID: <{lines}@cust.test>\nSubject: s{lines}"), &text)).await;
        let message = message(&events[0]);
        assert_eq!(message.attachments.len(), expected, "{lines} lines");
        assert!(message.text.chars().count() < 141_000, "{lines} lines");
        assert_eq!(message.text.ends_with("whole-text.txt)*"), expected == 1, "{lines} lines");
    }
}

#[tokio::test]
async fn a_mail_without_an_author_or_any_text_is_shown_all_the_same() {
    let mut rig = Rig::new("");
    let events = rig.enter("env@x.test", "support@acme.test", Level::Unverified, "To: x@y.test\n\n").await;
    assert_eq!(message(&events[0]).peer.facts["mail_address"], "env@x.test");
    let events = rig.enter("", "support@acme.test", Level::Unverified, "X: y\n\nHello").await;
    assert_eq!(message(&events[0]).peer.facts["mail_address"], "unknown@mail.invalid");
}
