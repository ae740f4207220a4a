//! Very many rooms at once.

use deskbridge::sandbox::homeserver::{CallClass, CallFault, CallRule};

use futures_util::future::join_all;

use super::house::{House, Way};

const ROOMS: usize = 200;

#[tokio::test]
async fn very_many_people_at_once_get_a_conversation_each() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let people: Vec<(String, String)> = (0..ROOMS)
            .map(|number| {
                let user = house.home.customer(&format!("guest{number}"));
                let room = house.home.direct_chat(&user);
                house.home.say(&user, &room, &format!("hello from {number}")).unwrap();
                (user, room)
            })
            .collect();
        house.until("everybody's conversation", || (house.conversations().len() >= ROOMS).then_some(())).await;
        house.until("everybody's message", || (texts(&house).len() >= ROOMS).then_some(())).await;
        house.until_idle().await;
        let mut found = texts(&house);
        found.sort();
        let mut expected: Vec<String> = (0..ROOMS).map(|number| format!("hello from {number}")).collect();
        expected.sort();
        assert_eq!(found, expected, "{way:?}");
        assert_eq!((house.contacts().len(), house.conversations().len()), (ROOMS, ROOMS), "{way:?}");
        assert_eq!(people.len(), ROOMS);
    }
}

fn texts(house: &House) -> Vec<String> {
    let conversations = house.conversations();
    let rows = conversations.iter().flat_map(|conversation| conversation["messages"].as_array().unwrap().clone());
    rows.filter(|row| row["message_type"] == 0).map(|row| row["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_slow_room_holds_up_no_other() {
    join_all(Way::ALL.map(|way| async move {
        let house = House::with(way, "agents = \"hidden\"").await;
        let (slow, quick) = (house.guest("slow").await, house.guest("quick").await);
        house.until_idle().await;
        // Whatever is asked about this room gets no answer until all the rest is done.
        let (faults, room) = (house.home.faults(), slow.room.trim_start_matches('!').to_owned());
        let hold = CallRule::always(CallClass::Any, CallFault::Hold);
        faults.call(CallRule { path: Some(room.clone()), ..hold });
        let send = format!("{room}/send/");
        house.sandbox.reply(slow.conversation, "to the slow one").unwrap();
        house.until("the reply to be under way", || (faults.held(&send) == 1).then_some(())).await;
        house.home.reply(&slow.user, &slow.room, "$unknown", "pointing to what nobody knows").unwrap();
        house.until("the question what it points to", || (faults.held("/event/") == 1).then_some(())).await;
        for number in 0..5 {
            house.sandbox.reply(quick.conversation, &format!("reply {number}")).unwrap();
            house.sandbox.until_callbacks_are_done().await;
            house.home.say(&quick.user, &quick.room, &format!("line {number}")).unwrap();
        }
        house.until_said(&quick.room, "reply 4").await;
        house.until_text(quick.conversation, "line 4").await;
        // Still the same call: nothing went on only because the bridge had lost patience with it.
        assert_eq!((faults.held(&send), house.home.count("PUT", &send)), (1, 1), "{way:?}");
        assert_eq!(house.said(&slow.room), [], "{way:?}");
        faults.clear();
        house.until_said(&slow.room, "to the slow one").await;
        house.until_text(slow.conversation, "pointing to what nobody knows").await;
    }))
    .await;
}
