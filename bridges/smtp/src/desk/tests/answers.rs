//! An agent's answer: addressed, named, and sometimes not sent.

use bridge_api::{FaultKind, ThreadId};

use super::{Rig, from_ada};
use crate::verdict::Level;

#[tokio::test]
async fn an_answer_has_the_same_names_at_every_try() {
    let mut rig = Rig::new("");
    let fields = "Message-ID: <1@cust.test>\nSubject: Lamp\nReferences: <0@cust.test>";
    let thread = rig.mail(&from_ada(fields, "It hums.")).await[0].thread.clone();
    let (letter, addressed) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    let (again, addressed_again) = rig.letter(&thread, "support:1/2/0", Some("Grace")).await.unwrap();
    assert_eq!((&letter.message_id, letter.date_millis), (&again.message_id, again.date_millis));
    assert_eq!(addressed, addressed_again);
    let (other, _) = rig.letter(&thread, "support:2/2/0", Some("Grace")).await.unwrap();
    assert_ne!(letter.message_id, other.message_id);
    assert_eq!(letter.reply_to.unwrap().as_str(), rig.reply_address(&thread));
    assert_eq!(letter.in_reply_to.unwrap().as_str(), "<1@cust.test>");
    let references: Vec<_> = letter.references.iter().map(crate::mail::MessageId::as_str).collect();
    assert_eq!(references, ["<0@cust.test>", "<1@cust.test>"]);
    assert_eq!((letter.agent_name.as_deref(), letter.auto_submitted), (Some("Grace"), false));
    let sender = addressed.sender.unwrap();
    assert!(letter.message_id.as_str().contains(sender.split_detail('+').1.unwrap()), "{sender}");
    assert_eq!(rig.cursors("sent/").len(), 2);
}

#[tokio::test]
async fn answers_go_elsewhere_only_when_somebody_proved_asks_for_it() {
    for (level, expected) in [(Level::Verified, "else@x.test"), (Level::Unverified, "ada@cust.test")] {
        let mut rig = Rig::new("");
        let raw = from_ada("Message-ID: <1@cust.test>\nSubject: Lamp\nReply-To: else@x.test", "It hums.");
        let events = rig.enter("ada@cust.test", "support@acme.test", level, &raw).await;
        let (_, addressed) = rig.letter(&events[0].thread, "support:1/2/0", Some("Grace")).await.unwrap();
        assert_eq!(addressed.recipients[0].as_str(), expected);
    }
}

#[tokio::test]
async fn robots_and_strangers_get_no_automatic_answer_and_people_one_a_day() {
    let mut rig = Rig::new("");
    let events = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await;
    let thread = events[0].thread.clone();
    let (letter, _) = rig.letter(&thread, "support:1/2/0", None).await.unwrap();
    assert!(letter.auto_submitted);
    rig.letter(&thread, "support:1/2/0", None).await.expect("the same one may be tried again");
    let fault = rig.letter(&thread, "support:3/2/0", None).await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.reason.as_str()),
        (FaultKind::Refused, "the person had an automatic answer within the last day")
    );
    rig.letter(&thread, "support:4/2/0", Some("Grace")).await.expect("an agent may always answer");

    let robot = from_ada("Message-ID: <2@cust.test>\nSubject: s\nPrecedence: bulk", "Buy.").replace("ada@", "shop@");
    let events = rig.mail(&robot).await;
    let fault = rig.letter(&events[0].thread, "support:5/2/0", None).await.unwrap_err();
    assert!(fault.reason.starts_with("automatic mail is not answered automatically"), "{fault}");

    let stranger = from_ada("Message-ID: <3@cust.test>\nSubject: t", "Hi.").replace("ada@", "eve@");
    let events = rig.enter("eve@cust.test", "support@acme.test", Level::Unverified, &stranger).await;
    let fault = rig.letter(&events[0].thread, "support:6/2/0", None).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
}

#[tokio::test]
async fn what_programs_write_goes_to_the_proved_author_alone() {
    let mut rig = Rig::new("");
    let fields = "Message-ID: <1@cust.test>\nSubject: Lamp\nReply-To: victim@x.test\nCc: other@x.test";
    let events = rig.mail(&from_ada(fields, "It hums.")).await;
    for agent in [None, Some("Bot")] {
        let (letter, addressed) =
            rig.letter(&events[0].thread, &format!("support:{agent:?}/2/0"), agent).await.unwrap();
        assert_eq!((addressed.recipients[0].as_str(), addressed.copies.len()), ("ada@cust.test", 0), "{agent:?}");
        assert!(letter.auto_submitted && letter.cc.is_empty(), "{agent:?}");
        assert_eq!(addressed.sender, None, "{agent:?}: nothing comes back to a program");
    }
    rig.letter(&events[0].thread, "support:9/2/0", Some("Bot")).await.expect("a bot may go on talking");
    let robot = from_ada("Message-ID: <2@cust.test>\nSubject: s\nPrecedence: bulk", "Buy.").replace("ada@", "shop@");
    let events = rig.mail(&robot).await;
    let fault = rig.letter(&events[0].thread, "support:5/2/0", Some("Bot")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
}

#[tokio::test]
async fn two_programs_that_do_not_say_what_they_are_are_parted() {
    let mut rig = Rig::new("");
    let mut answered = 0;
    for number in 0..30 {
        let fields = format!("Message-ID: <{number}@cust.test>\nSubject: s{number}");
        let thread = rig.mail(&from_ada(&fields, "And you?")).await[0].thread.clone();
        answered += i32::from(rig.letter(&thread, &format!("support:{number}/2/0"), Some("Bot")).await.is_ok());
    }
    assert_eq!(answered, 20);
}

#[tokio::test]
async fn an_answer_to_nobody_says_so() {
    let rig = Rig::new("");
    let fault = rig.letter(&ThreadId::from("gone"), "support:1/2/0", Some("Grace")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
}

#[tokio::test]
async fn a_name_of_this_server_is_refused_when_no_message_id_has_room_for_it() {
    let mut rig = Rig::new("");
    let thread = rig.mail(&from_ada("Message-ID: <1@cust.test>\nSubject: Lamp", "It hums.")).await[0].thread.clone();
    for length in [215, 216, 255] {
        let mut settings = super::settings("");
        settings.hostname = "a".repeat(length);
        if let Err(fault) = settings.check() {
            assert_eq!((length > 215, fault.key.as_str()), (true, "hostname"), "{fault}");
            continue;
        }
        rig.settings = settings.into();
        let (letter, _) = rig.letter(&thread, &format!("support:{length}/2/0"), Some("Grace")).await.unwrap();
        assert_eq!(letter.message_id.as_str().len(), 250);
    }
}
