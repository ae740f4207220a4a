//! What a homeserver can do to calls: each reply of an agent is in the room once, and in order.

use std::time::Duration;

use deskbridge::sandbox::homeserver::{CallClass, CallFault, CallRule, SocketFault};
use futures_util::future::join_all;
use serde_json::json;

use super::house::{House, Way};

const REPLIES: usize = 5;

async fn reply_all(house: &House, conversation: u64) {
    for number in 0..REPLIES {
        house.sandbox.reply(conversation, &format!("reply {number}")).unwrap();
        house.sandbox.until_callbacks_are_done().await;
    }
}

fn expected() -> Vec<String> {
    (0..REPLIES).map(|number| format!("reply {number}")).collect()
}

fn texts(house: &House, room: &str) -> Vec<String> {
    house.said(room).into_iter().map(|(_, text)| text).collect()
}

#[tokio::test]
async fn each_reply_is_said_once_whatever_becomes_of_the_call_also_when_the_server_forgets_it() {
    let faults = [
        CallFault::Slow { milliseconds: 300 },
        CallFault::TooManyRequests { milliseconds: 900 },
        CallFault::ServerError,
        CallFault::BadGateway,
        CallFault::Drop,
        CallFault::Hang,
        CallFault::CommitThenServerError,
        CallFault::CommitThenBadGateway,
        CallFault::CommitThenDrop,
        CallFault::CommitThenCut,
        CallFault::CommitThenHang,
    ];
    let ways = [Way::Asmux, Way::Sync];
    let each = ways.into_iter().flat_map(|way| faults.clone().map(|fault| (way, fault)));
    join_all(each.map(|(way, fault)| async move {
        let house = House::with(way, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        house.until_idle().await;
        // Twice, but where the bridge waits out its own time limit each time.
        let hangs = matches!(fault, CallFault::Hang | CallFault::CommitThenHang);
        let skips = if hangs { &[1][..] } else { &[1, 2] };
        for skip in skips {
            house.home.faults().call(CallRule { skip: *skip, ..CallRule::next(1, CallClass::Send, fault.clone()) });
        }
        reply_all(&house, carol.conversation).await;
        house
            .until(&format!("all replies after {fault:?}"), || {
                // Its memory of transaction ids is no help, as after its own restart.
                house.home.forget_transactions();
                (texts(&house, &carol.room).len() >= REPLIES).then_some(())
            })
            .await;
        house.until_idle().await;
        assert_eq!(texts(&house, &carol.room), expected(), "{way:?} {fault:?}");
        assert_eq!(house.home.faults().struck(), skips.len() as u64, "{way:?} {fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_reply_in_doubt_is_found_absent_in_a_room_of_any_length() {
    let house = House::with(Way::Push, "agents = \"hidden\"").await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    let hour_ago = deskbridge::clock::now_millis() - 3_600_000;
    for number in 0..2_100 {
        house.home.raw(
            &carol.room,
            &json!({"type": "org.example.game", "room_id": carol.room, "sender": carol.user,
                "event_id": format!("$move-{number}"), "origin_server_ts": hour_ago, "content": {}}),
        );
    }
    house.until_idle().await;
    let pages = house.home.count("GET", "/messages");
    house.home.faults().call(CallRule::next(1, CallClass::Send, CallFault::ServerError));
    let reply = house.sandbox.reply(carol.conversation, "your move").unwrap();
    house.until_status(reply, "delivered").await;
    assert_eq!(house.home.faults().struck(), 1);
    assert!(house.home.count("GET", "/messages") - pages <= 2, "what is older need not be read");
    assert_eq!(texts(&house, &carol.room), ["your move"]);
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it_and_no_attempt_is_spent() {
    let house = House::with(Way::Push, "agents = \"hidden\"").await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    let limited = CallFault::TooManyRequests { milliseconds: 1_500 };
    house.home.faults().call(CallRule::next(2, CallClass::Send, limited));
    let reply = house.sandbox.reply(carol.conversation, "no hurry").unwrap();
    house.until("a refusal", || (house.home.faults().struck() >= 1).then_some(())).await;
    // While it waits, which an attempt under way hides only for a moment.
    let spent = loop {
        match house.store().list(1).await.unwrap().first() {
            Some(row) if row.open => tokio::task::yield_now().await,
            row => break row.map(|row| row.attempts),
        }
    };
    assert_eq!(spent, Some(0));
    house.until_status(reply, "delivered").await;
    assert_eq!((house.home.faults().struck(), house.home.faults().impatient()), (2, 0));
    assert_eq!(house.home.count("PUT", "/send/m.room.message/"), 3);
    assert_eq!(house.said(&carol.room).len(), 1);
}

#[tokio::test]
async fn ghosts_are_made_and_brought_in_whatever_becomes_of_a_call() {
    let classes = [CallClass::Account, CallClass::Profile, CallClass::Rooms, CallClass::Upload];
    let faults = [CallFault::ServerError, CallFault::CommitThenDrop, CallFault::TooManyRequests { milliseconds: 300 }];
    let each = classes.into_iter().flat_map(|class| faults.clone().map(|fault| (class, fault)));
    join_all(each.map(|(class, fault)| async move {
        let house = House::new(Way::Asmux).await;
        let carol = house.guest("carol").await;
        house.until_idle().await;
        for skip in [0, 1] {
            house.home.faults().call(CallRule { skip, ..CallRule::next(1, class, fault.clone()) });
        }
        reply_all(&house, carol.conversation).await;
        house
            .until(&format!("all replies after {class:?} {fault:?}"), || {
                (texts(&house, &carol.room).len() >= REPLIES).then_some(())
            })
            .await;
        house.until_idle().await;
        assert_eq!(texts(&house, &carol.room), expected(), "{class:?} {fault:?}");
        let ghosts =
            house.said(&carol.room).iter().filter(|(who, _)| who == "@_desk_agent_user-5:sandbox.test").count();
        assert_eq!(ghosts, REPLIES, "{class:?} {fault:?}");
        assert!(house.home.faults().struck() > 0, "{class:?} {fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn invites_are_followed_whatever_becomes_of_a_call() {
    let classes = [CallClass::Rooms, CallClass::History, CallClass::State, CallClass::Profile, CallClass::Send];
    let faults = [CallFault::ServerError, CallFault::CommitThenDrop, CallFault::TooManyRequests { milliseconds: 300 }];
    let each = classes.into_iter().flat_map(|class| faults.clone().map(|fault| (class, fault)));
    join_all(each.map(|(class, fault)| async move {
        let house = House::with(Way::Push, "greeting = \"Welcome\"").await;
        let carol = house.home.customer("carol");
        house.home.faults().call(CallRule::next(2, class, fault.clone()));
        let room = house.home.direct_chat(&carol);
        for number in 0..3 {
            house.home.say(&carol, &room, &format!("early {number}")).unwrap();
        }
        house.until_joined(&room).await;
        house.home.say(&carol, &room, "late").unwrap();
        house
            .until("all of it", || {
                let conversation = house.conversation_of(&carol)?;
                (house.texts(conversation).len() >= 4).then_some(())
            })
            .await;
        house.until("a greeting", || (!house.notices(&room).is_empty()).then_some(())).await;
        house.until_idle().await;
        let conversation = house.conversation_of(&carol).unwrap();
        let mut texts = house.texts(conversation);
        texts.sort();
        assert_eq!(texts, ["early 0", "early 1", "early 2", "late"], "{class:?} {fault:?}");
        assert_eq!(house.notices(&room).len(), 1, "{class:?} {fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_homeserver_that_is_away_at_the_start_or_later_delays_and_loses_nothing() {
    join_all(Way::ALL.map(|way| async move {
        let mut house = House::unstarted(way, "agents = \"hidden\"", |settings| settings).await;
        let away = || house_away(&house);
        away();
        house.start().await;
        house.until_down("").await;
        house.home.faults().clear();
        house.until_up().await;
        let carol = house.guest("carol").await;
        house_away(&house);
        house.home.strike(SocketFault::Cut);
        reply_all(&house, carol.conversation).await;
        house.home.say(&carol.user, &carol.room, "anybody?").unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.home.faults().clear();
        house.until_text(carol.conversation, "anybody?").await;
        house.until("all replies", || (texts(&house, &carol.room).len() >= REPLIES).then_some(())).await;
        house.until_idle().await;
        assert_eq!(texts(&house, &carol.room), expected(), "{way:?}");
        assert_eq!(house.texts(carol.conversation), ["hello", "anybody?"], "{way:?}");
    }))
    .await;
}

fn house_away(house: &House) {
    house.home.faults().call(CallRule::always(CallClass::Any, CallFault::Drop));
}

#[tokio::test]
async fn a_bots_token_that_was_taken_back_is_told() {
    let house = House::new(Way::Sync).await;
    let carol = house.guest("carol").await;
    house.home.revoke_tokens(&house.support());
    house.home.say(&carol.user, &carol.room, "hello?").unwrap();
    house.until_down("does not know our token").await;
    let reply = house.sandbox.reply(carol.conversation, "kept").unwrap();
    house.sandbox.until_callbacks_are_done().await;
    assert_eq!(house.message(reply)["status"], "sent");
}

#[tokio::test]
async fn no_reply_waits_for_a_picture() {
    let house = House::new(Way::Asmux).await;
    let (carol, dave) = (house.guest("carol").await, house.guest("dave").await);
    house.until_idle().await;
    house.home.faults().call(CallRule::always(CallClass::Upload, CallFault::Hang));
    for (agent, conversation) in [(5, carol.conversation), (6, dave.conversation), (5, dave.conversation)] {
        let reply = house.sandbox.reply_as(agent, conversation, "at once").unwrap();
        house.until_status(reply, "delivered").await;
    }
    assert!(house.home.faults().struck() > 0, "a picture was on its way");
}

/// Shorter than the bridge's own patience with a call, so that the stop cannot have waited for one.
const STOP_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_homeserver_that_hangs_keeps_nobody_from_stopping() {
    let ways = Way::ALL.into_iter().flat_map(|way| ["/ping", "/sync", "/register", "/whoami"].map(|call| (way, call)));
    join_all(ways.map(|(way, call)| async move {
        let mut house = House::unstarted(way, "", |settings| settings).await;
        let hangs = CallRule::always(CallClass::Any, CallFault::Hang);
        house.home.faults().call(CallRule { path: Some(call.to_owned()), ..hangs });
        house.start().await;
        // Not each way makes each call.
        let asked = || (house.home.faults().struck() > 0 || house.state() == "Up").then_some(());
        house.until("the call", asked).await;
        assert_eq!(house.stop_within(STOP_LIMIT).await, Some(()), "{way:?} {call}");
    }))
    .await;
}
