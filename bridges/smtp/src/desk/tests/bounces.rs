//! What robots write: bounces, absences, our own mail.

use bridge_api::{Receipt, Report};

use super::{Rig, from_ada, message, note};
use crate::verdict::Level;

fn bounce(returned: &str, action: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@relay.test\nTo: x\nSubject: Undelivered\nMessage-ID: <{action}{status}@relay.test>\nAuto-Submitted: auto-replied\n\
         MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; relay.test\n\n\
         Final-Recipient: rfc822; ada@cust.test\nAction: {action}\nStatus: {status}\n\
         Diagnostic-Code: smtp; 550 {status} User unknown\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {returned}\n\n--b--\n"
    )
}

#[tokio::test]
async fn a_bounce_finds_the_mail_that_it_speaks_of_by_each_of_its_names() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    let (letter, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let sender = addressed.sender.unwrap();
    for (recipient, returned) in [(sender.as_str(), "<gone@x.test>"), ("support@acme.test", letter.message_id.as_str())]
    {
        let raw = bounce(returned, "failed", if returned.contains("gone") { "5.1.1" } else { "5.1.2" });
        let events = rig.enter("", recipient, Level::Unverified, &raw).await;
        let [event] = &events[..] else { panic!("{events:?}") };
        let Report::Receipt { key, receipt: Receipt::Failed(reason) } = &event.report else { panic!("{event:?}") };
        assert_eq!((key.as_str(), &event.thread), ("support:1/2/0", &thread));
        assert!(reason.contains("User unknown"), "{reason}");
    }
    let delayed = bounce(letter.message_id.as_str(), "delayed", "4.4.1");
    let events = rig.enter("", "support@acme.test", Level::Unverified, &delayed).await;
    assert!(note(&events[0]).0.starts_with("A mail to ada@cust.test is still on its way"), "{events:?}");
    let delivered = bounce(letter.message_id.as_str(), "delivered", "2.0.0");
    let events = rig.enter("", "support@acme.test", Level::Unverified, &delivered).await;
    assert!(matches!(&events[0].report, Report::Receipt { receipt: Receipt::Delivered, .. }), "{events:?}");
}

#[tokio::test]
async fn a_copy_that_reaches_nobody_fails_no_mail_and_is_sent_to_them_no_more() {
    let mut rig = Rig::new("");
    let first = from_ada("Message-ID: <1@cust.test>\nSubject: Lamp\nCc: bob@cust.test, eve@cust.test", "It hums.");
    let thread = rig.mail(&first).await[0].thread.clone();
    let (_, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let sender = addressed.sender.unwrap();
    let of_bob = bounce("<gone@x.test>", "failed", "5.1.1").replace("ada@cust.test", "bob@cust.test");
    let events = rig.enter("", sender.as_str(), Level::Unverified, &of_bob).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((note(event).0, &event.thread), ("No copy reached bob@cust.test: 5.1.1 User unknown", &thread));
    let of_ada = bounce("<gone@x.test>", "failed", "5.1.2");
    let events = rig.enter("", sender.as_str(), Level::Unverified, &of_ada).await;
    assert!(matches!(&events[0].report, Report::Receipt { receipt: Receipt::Failed(_), .. }), "{events:?}");
    let (_, again) = rig.letter(&thread, "support:2/2/0", Some("Grace")).await.unwrap();
    let copies: Vec<_> = again.copies.iter().map(ToString::to_string).collect();
    assert_eq!((again.recipients[0].as_str(), copies), ("ada@cust.test", vec!["eve@cust.test".to_owned()]));
}

#[tokio::test]
async fn a_forged_bounce_changes_nothing_and_is_shown_as_what_it_is() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let raw = bounce("<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@mail.acme.test>", "failed", "5.1.1");
    let events = rig.enter("", "support@acme.test", Level::Unverified, &raw).await;
    assert_eq!(message(&events[0]).facts["automatic"], "it says so itself (Auto-Submitted)");
    assert_ne!(events[0].thread, thread);
}

#[tokio::test]
async fn a_report_is_believed_only_from_servers_and_only_of_the_mail_that_came_back() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    let (letter, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let (ours, back) = (letter.message_id.as_str(), addressed.sender.unwrap());
    let referring = |status: &str| {
        bounce("<other@cust.test>", "failed", status)
            .replace("<other@cust.test>", &format!("<other@cust.test>\nIn-Reply-To: {ours}\nReferences: {ours}"))
    };
    let words = |number: u32| {
        format!(
            "From: MAILER-DAEMON@relay.test\nSubject: Undelivered Mail\nMessage-ID: <w{number}@relay.test>\n\n\
             <ada@cust.test>: 550 5.1.1 no such user\n"
        )
    };
    for (name, sender, recipient, raw, is_believed) in [
        ("a server's", "", "support@acme.test", bounce(ours, "failed", "5.1.1"), true),
        ("anybody's", "eve@evil.test", "support@acme.test", bounce(ours, "failed", "5.1.2"), false),
        ("anybody's who knows where", "eve@evil.test", back.as_str(), bounce(ours, "failed", "5.1.3"), true),
        ("of an answer to ours", "", "support@acme.test", referring("5.1.4"), false),
        ("words to anybody", "", "support@acme.test", words(1), false),
        ("words of anybody", "eve@evil.test", back.as_str(), words(2), false),
        ("words of a server to where they belong", "", back.as_str(), words(3), true),
    ] {
        let events = rig.enter(sender, recipient, Level::Unverified, &raw).await;
        let failed = |event: &bridge_api::Inbound| matches!(&event.report, Report::Receipt { .. });
        assert_eq!(events.iter().any(failed), is_believed, "{name}: {events:?}");
    }
}

#[tokio::test]
async fn an_absence_is_a_note_and_changes_no_address() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    let fields = "Message-ID: <2@cust.test>\nSubject: Away\nAuto-Submitted: auto-replied\nReply-To: else@x.test";
    let to = rig.reply_address(&thread);
    let events = rig.enter("", &to, Level::Verified, &from_ada(fields, "I am away.")).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    let told = message(event);
    assert!(told.quiet && told.text.contains("I am away"), "{event:?}");
    assert_eq!(event.thread, thread);
    let (letter, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    assert_eq!((addressed.recipients[0].as_str(), letter.subject.as_str()), ("ada@cust.test", "Re: Lamp"));
}

#[tokio::test]
async fn an_absence_with_a_file_is_shown_with_it() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    let fields = "Message-ID: <2@cust.test>\nSubject: Away\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: application/pdf";
    let to = rig.reply_address(&thread);
    let events = rig.enter("", &to, Level::Verified, &from_ada(fields, "x")).await;
    assert!(!message(&events[0]).quiet && message(&events[0]).attachments.len() == 1, "{events:?}");
}

#[tokio::test]
async fn our_own_mail_that_comes_back_is_not_shown() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    let (letter, _) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let back = |token: &str| {
        let fields =
            format!("Message-ID: {}\nSubject: Re: Lamp\nX-Deskbridge-Loop: {token}", letter.message_id.as_str());
        from_ada(&fields, token)
    };
    assert_eq!(rig.mail(&back(&letter.loop_token)).await.len(), 0);
    let both = back(" theirs").replace("\n\n", &format!("\nX-DESKBRIDGE-LOOP : {} \n\n", letter.loop_token));
    assert_eq!(rig.mail(&both).await.len(), 0, "beside another's");
    assert_ne!(rig.mail(&back("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).await.len(), 0, "somebody else's token");
}
