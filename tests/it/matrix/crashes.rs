//! The gateway dies again and again under traffic in both directions.

use std::time::Duration;

use deskbridge::sandbox::homeserver::{CallClass, CallFault, CallRule};
use futures_util::future::join_all;

use super::house::{Guest, House, Way};

const CRASHES: usize = 30;

#[tokio::test]
async fn thirty_crashes_lose_nothing_double_nothing_and_keep_the_order() {
    let stores = [(Way::Asmux, true), (Way::Wsproxy, true)];
    let all = Way::ALL.map(|way| (way, false)).into_iter().chain(stores);
    join_all(all.map(|(way, on_disk)| async move {
        let greeting = "greeting = \"Welcome\"";
        let mut house = if on_disk { House::on_disk(way, greeting).await } else { House::with(way, greeting).await };
        let guests = [house.guest("carol").await, house.guest("dave").await];
        let mut rng = fastrand::Rng::with_seed(way as u64 + 7);
        for round in 0..CRASHES {
            for Guest { user, room, conversation } in &guests {
                house.home.say(user, room, &format!("line {round}")).unwrap();
                house.sandbox.reply(*conversation, &format!("reply {round}")).unwrap();
            }
            // A callback that nobody answers is the inbox's loss; what was answered is ours.
            house.sandbox.until_callbacks_are_done().await;
            if rng.u8(..) < 128 {
                house.home.faults().call(CallRule::next(1, CallClass::Send, CallFault::CommitThenDrop));
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..120))).await;
            house.crash().await;
            for Guest { user, room, .. } in &guests {
                house.home.say(user, room, &format!("nobody there {round}")).unwrap();
            }
            house.start().await;
        }
        house.home.faults().clear();
        house.until_up().await;
        for Guest { room, conversation, .. } in &guests {
            house.until("the last line", || (house.texts(*conversation).len() > 2 * CRASHES).then_some(())).await;
            house.until("the last reply", || (house.said(room).len() >= CRASHES).then_some(())).await;
        }
        house.until_idle().await;
        for Guest { room, conversation, .. } in &guests {
            let mut lines = vec!["hello".to_owned()];
            lines.extend((0..CRASHES).flat_map(|round| [format!("line {round}"), format!("nobody there {round}")]));
            assert_eq!(house.texts(*conversation), lines, "{way:?}");
            let replies: Vec<String> = house.said(room).into_iter().map(|(_, text)| text).collect();
            let prefix = if way == Way::Sync { "Grace: " } else { "" };
            let expected: Vec<String> = (0..CRASHES).map(|round| format!("{prefix}reply {round}")).collect();
            assert_eq!(replies, expected, "{way:?}");
            assert_eq!(house.notices(room), ["Welcome"], "{way:?}");
        }
        assert_eq!((house.contacts().len(), house.conversations().len()), (2, 2), "{way:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_crash_while_an_invite_is_followed_is_made_good() {
    join_all(Way::ALL.map(|way| async move {
        let mut house = House::with(way, "greeting = \"Welcome\"").await;
        let mut rng = fastrand::Rng::with_seed(11);
        let mut rooms = Vec::new();
        for number in 0..12 {
            let user = house.home.customer(&format!("guest{number}"));
            let room = house.home.direct_chat(&user);
            house.home.say(&user, &room, "first").unwrap();
            tokio::time::sleep(Duration::from_millis(rng.u64(0..15))).await;
            house.crash().await;
            house.home.say(&user, &room, "second").unwrap();
            house.start().await;
            rooms.push((user, room));
        }
        house.until_up().await;
        for (user, room) in &rooms {
            house.until_joined(room).await;
            let conversation = house.until("a conversation", || house.conversation_of(user)).await;
            house.until_text(conversation, "second").await;
            house.until("a greeting", || (!house.notices(room).is_empty()).then_some(())).await;
        }
        house.until_idle().await;
        for (user, room) in &rooms {
            let conversation = house.conversation_of(user).unwrap();
            assert_eq!(house.texts(conversation), ["first", "second"], "{way:?}");
            assert_eq!(house.notices(room), ["Welcome"], "{way:?}");
        }
        assert_eq!(house.conversations().len(), rooms.len(), "{way:?}");
    }))
    .await;
}
