//! Rooms that we cannot read.

use std::time::Duration;

use deskbridge::sandbox::homeserver::{CallClass, CallFault, CallRule};
use serde_json::json;

use super::house::{House, Way};

const SECRET: &str = "m.room.encrypted";

#[tokio::test]
async fn a_room_that_is_encrypted_at_the_invite_is_told_once_and_another_offered() {
    for way in Way::ALL {
        let mut house = House::with(way, "agents = \"hidden\"\ngreeting = \"Welcome\"").await;
        let carol = house.home.customer("carol");
        let body = json!({"preset": "private_chat", "is_direct": true, "invite": [house.support()],
            "initial_state": [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]});
        let room = house.home.create_room(&carol, &body).unwrap();
        let open = house.until("an open room", || house.rooms_from_us(&carol).first().cloned()).await;
        house.until("the notice", || (house.notices(&room).len() == 1).then_some(())).await;
        for number in 0..3 {
            house.home.send(&carol, &room, SECRET, &json!({"ciphertext": format!("x{number}")})).unwrap();
        }
        let conversation = house.until("a conversation", || house.conversation_of(&carol)).await;
        house.home.join(&carol, &open).unwrap();
        house.home.say(&carol, &open, "can you read this?").unwrap();
        house.until_text(conversation, "can you read this?").await;
        house.sandbox.reply(conversation, "every word").unwrap();
        house.until_said(&open, "every word").await;
        house.restart().await;
        house.sandbox.reply(conversation, "and again").unwrap();
        house.until_said(&open, "and again").await;
        house.until_idle().await;
        assert_eq!(house.notices(&room).len(), 1, "{way:?}: {:?}", house.notices(&room));
        assert_eq!(house.said(&room), [], "{way:?}");
        assert_eq!((house.conversations().len(), house.rooms_from_us(&carol).len()), (1, 1), "{way:?}");
        let texts = house.texts(conversation);
        assert_eq!(texts.len(), 2, "{way:?}: {texts:?}");
        assert!(texts[0].contains("encrypted message"), "{way:?}: {texts:?}");
        assert_eq!(house.notices(&open), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn a_room_that_is_encrypted_later_keeps_its_conversation_elsewhere() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        house.sandbox.reply(carol.conversation, "good morning").unwrap();
        house.until_said(&carol.room, "good morning").await;
        house.home.encrypt(&carol.user, &carol.room).unwrap();
        house.home.send(&carol.user, &carol.room, SECRET, &json!({"ciphertext": "x"})).unwrap();
        // At once, while the other room is being made.
        house.sandbox.reply(carol.conversation, "are you there?").unwrap();
        let open = house.until("an open room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        house.until_said(&open, "are you there?").await;
        house.home.join(&carol.user, &open).unwrap();
        house.home.say(&carol.user, &open, "yes").unwrap();
        house.until_text(carol.conversation, "yes").await;
        house.until_idle().await;
        assert_eq!(house.said(&carol.room).len(), 1, "{way:?}: {:?}", house.said(&carol.room));
        assert_eq!((house.conversations().len(), house.rooms_from_us(&carol.user).len()), (1, 1), "{way:?}");
        assert_eq!(house.notices(&carol.room).len(), 1, "{way:?}");
        // Written in the clear in a room that is encrypted: carried, but answered elsewhere.
        house.home.say(&carol.user, &carol.room, "in the clear").unwrap();
        house.until_text(carol.conversation, "in the clear").await;
        house.sandbox.reply(carol.conversation, "elsewhere").unwrap();
        house.until_said(&open, "elsewhere").await;
        assert_eq!(house.said(&carol.room).len(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_room_whose_making_was_not_answered_is_used_and_no_second_made() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"\ngreeting = \"Welcome\"").await;
        let carol = house.guest("carol").await;
        house.until("a greeting", || (house.notices(&carol.room).len() == 1).then_some(())).await;
        let rule = CallRule::next(1, CallClass::Rooms, CallFault::CommitThenDrop);
        house.home.faults().call(CallRule { path: Some("createRoom".to_owned()), ..rule });
        house.home.encrypt(&carol.user, &carol.room).unwrap();
        house.sandbox.reply(carol.conversation, "here").unwrap();
        let open = house.until("an open room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        house.until_said(&open, "here").await;
        // What was not answered is tried again, after a pause.
        let again = || (house.home.count("PUT", "/deskbridge-encrypted-") == 2).then_some(());
        house.until("another try", again).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(house.rooms_from_us(&carol.user).len(), 1, "{way:?}");
        assert_eq!((house.notices(&open).len(), house.notices(&carol.room).len()), (0, 2), "{way:?}");
        assert_eq!(house.home.faults().struck(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_the_proxy_too() {
    let house = House::with(Way::Asmux, "").await;
    let carol = house.guest("carol").await;
    house.home.encrypt(&carol.user, &carol.room).unwrap();
    let event = house.home.send(&carol.user, &carol.room, SECRET, &json!({"ciphertext": "x"})).unwrap();
    house
        .until("a checkpoint", || {
            let told = house.home.heard_of("message_checkpoint");
            let told = told.iter().flat_map(|data| data["checkpoints"].as_array().cloned().unwrap_or_default());
            told.into_iter().find(|one| one["event_id"] == event.as_str() && one["status"] == "UNSUPPORTED").map(drop)
        })
        .await;
}
