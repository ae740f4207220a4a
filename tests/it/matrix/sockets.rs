//! What a websocket can do to the events that come over it: each one reaches the inbox once, and in its room's order.

use std::time::Duration;

use deskbridge::{
    sandbox::{
        RouteClass, RouteFault, RouteRule,
        homeserver::{CallClass, CallFault, CallRule, HomeserverSettings, SocketFault},
    },
    store::StoreError,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{DEADLINE, Guest, House, Way};

fn close(code: u16, status: &str) -> SocketFault {
    let reason = if status.is_empty() { String::new() } else { json!({"status": status}).to_string() };
    SocketFault::Close { code, reason }
}

/// A house in which everything that a person says is struck once.
async fn struck(way: Way, fault: SocketFault) -> (House, Guest) {
    let house = House::new(way).await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    let needed = if let SocketFault::Merge { transactions } = fault { transactions } else { 1 };
    house.home.faults().socket(fault);
    for number in 0..6.max(needed) {
        house.home.say(&carol.user, &carol.room, &format!("line {number}")).unwrap();
    }
    (house, carol)
}

#[tokio::test]
async fn whatever_happens_to_a_frame_each_message_comes_once_and_in_order() {
    let faults = [
        SocketFault::Duplicate,
        SocketFault::Merge { transactions: 5 },
        SocketFault::Cut,
        SocketFault::CutMidFrame,
        SocketFault::Delay { milliseconds: 800 },
        SocketFault::Oversized { bytes: 20 << 20 },
        SocketFault::Oversized { bytes: 65 << 20 },
        SocketFault::EndlessFragments { bytes: 70 << 20 },
        SocketFault::InvalidUtf8,
        SocketFault::NotJson,
        SocketFault::Binary,
        close(4002, "transactions_not_acknowledged"),
        close(1001, "server_shutting_down"),
        close(1012, ""),
        close(1011, "queue_consumer_failed"),
        close(1000, ""),
    ];
    let each = [Way::Wsproxy, Way::Asmux].into_iter().flat_map(|way| faults.clone().map(|fault| (way, fault)));
    join_all(each.map(|(way, fault)| async move {
        let name =
            if let SocketFault::EndlessFragments { .. } = fault { "endless".to_owned() } else { format!("{fault:?}") };
        let (house, carol) = struck(way, fault).await;
        house.until_text(carol.conversation, "line 5").await;
        house.until("all of them", || (house.texts(carol.conversation).len() >= 7).then_some(())).await;
        house.until_idle().await;
        let expected: Vec<String> =
            std::iter::once("hello".to_owned()).chain((0..6).map(|number| format!("line {number}"))).collect();
        assert_eq!(house.texts(carol.conversation), expected, "{way:?} {name}");
        assert_eq!(house.home.faults().struck(), 1, "{way:?} {name}");
    }))
    .await;
}

#[tokio::test]
async fn transactions_that_overtake_each_other_are_put_in_order_while_they_wait() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        house.until_idle().await;
        // The inbox is slow with what comes first.
        house.sandbox.faults().add(RouteRule::next(
            1,
            RouteClass::Any,
            &Method::POST,
            RouteFault::Slow { milliseconds: 1500 },
        ));
        house.home.say(&carol.user, &carol.room, "zero").unwrap();
        house.until("it to be taken", || (house.home.undelivered() == 0).then_some(())).await;
        house.home.faults().socket(SocketFault::Reorder);
        // An edit waits for nothing: two transactions.
        house.home.say(&carol.user, &carol.room, "one").unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        house.home.say(&carol.user, &carol.room, "two").unwrap();
        house.until("all three", || (house.texts(carol.conversation).len() == 4).then_some(())).await;
        assert_eq!(house.texts(carol.conversation), ["hello", "zero", "one", "two"], "{way:?}");
        assert_eq!(house.home.faults().struck(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn what_a_pipe_has_lost_is_read_back_with_the_next_connection() {
    let house = House::new(Way::Wsproxy).await;
    let carol = house.guest("carol").await;
    let dave = house.guest("dave").await;
    house.until_idle().await;
    house.home.faults().socket(SocketFault::Lose);
    house.home.say(&carol.user, &carol.room, "lost").unwrap();
    house.until("the loss", || (house.home.faults().struck() == 1).then_some(())).await;
    house.home.faults().socket(SocketFault::Lose);
    // An invite may be lost as well.
    let erin = house.home.customer("erin");
    let room = house.home.direct_chat(&erin);
    house.until("the loss", || (house.home.faults().struck() == 2).then_some(())).await;
    house.home.say(&carol.user, &carol.room, "later").unwrap();
    house.home.say(&dave.user, &dave.room, "and Dave").unwrap();
    house.until_text(carol.conversation, "later").await;
    house.home.strike(SocketFault::Cut);
    house.until_text(carol.conversation, "lost").await;
    house.until_joined(&room).await;
    house.until_idle().await;
    assert_eq!(house.texts(carol.conversation).len(), 3);
    assert_eq!(house.texts(dave.conversation), ["hello", "and Dave"]);
}

#[tokio::test]
async fn a_queue_repeats_what_was_not_acknowledged() {
    let house = House::new(Way::Asmux).await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    house.home.faults().socket(SocketFault::Lose);
    house.home.say(&carol.user, &carol.room, "lost").unwrap();
    house.home.say(&carol.user, &carol.room, "later").unwrap();
    house.until_text(carol.conversation, "later").await;
    assert_eq!(house.texts(carol.conversation), ["hello", "lost", "later"]);
    assert_eq!(house.home.connections(), 1);
}

#[tokio::test]
async fn who_is_replaced_stays_away_says_so_and_keeps_what_agents_write() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let mut house = House::new(way).await;
        let carol = house.guest("carol").await;
        house.until_idle().await;
        assert!(house.home.strike(close(4001, "conn_replaced")));
        house.until_down("another process uses this appservice").await;
        house.sandbox.reply(carol.conversation, "wait for me").unwrap();
        house.home.say(&carol.user, &carol.room, "hello?").unwrap();
        house.sandbox.until_callbacks_are_done().await;
        // Longer than the first pause before another try.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((house.home.connections(), house.said(&carol.room)), (1, Vec::new()), "{way:?}");
        house.restart().await;
        house.until_said(&carol.room, "wait for me").await;
        house.until_text(carol.conversation, "hello?").await;
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_and_tried_again() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let mut house = House::unstarted(way, "", |settings| settings).await;
        house.home.faults().call(CallRule::always(CallClass::Socket, CallFault::UnknownToken));
        house.start().await;
        house.until_down("bad credentials").await;
        house.home.faults().clear();
        house.until_up().await;
        let carol = house.guest("carol").await;
        house.home.faults().call(CallRule::always(CallClass::Any, CallFault::UnknownToken));
        house.home.strike(SocketFault::Cut);
        house.until_down("").await;
        house.sandbox.reply(carol.conversation, "later, then").unwrap();
        house.sandbox.until_callbacks_are_done().await;
        house.home.faults().clear();
        house.until_said(&carol.room, "later, then").await;
    }
}

#[tokio::test]
async fn what_the_store_does_not_take_comes_again() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        house.until_idle().await;
        house.memory.refuse(StoreError::Unwritable("disk full".into()));
        house.home.say(&carol.user, &carol.room, "one").unwrap();
        house.home.say(&carol.user, &carol.room, "two").unwrap();
        match way {
            Way::Asmux => {
                let refusal = || house.home.heard().iter().any(|f| f["data"]["code"] == "STORE_FAILED").then_some(());
                house.until("a refusal", refusal).await;
            }
            Way::Wsproxy => house.until_down("could not be kept").await,
            Way::Sync => house.until_down("disk full").await,
            Way::Push => house.until("a refusal", || (!house.home.is_connected()).then_some(())).await,
        }
        assert_eq!(house.texts(carol.conversation), ["hello"], "{way:?}");
        house.memory.allow();
        house.until_text(carol.conversation, "two").await;
        house.until_idle().await;
        assert_eq!(house.texts(carol.conversation), ["hello", "one", "two"], "{way:?}");
    }
}

#[tokio::test]
async fn questions_of_the_server_are_answered() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let house = House::new(way).await;
        let ask = async |command: &str, data: Value| house.home.ask(command, data, DEADLINE).await.expect("an answer");
        let pong = ask("ping", json!({})).await;
        assert_eq!(
            (&pong["command"], &pong["data"]["bridgeState"]["state_event"]),
            (&json!("response"), &json!("RUNNING"))
        );
        assert_eq!(pong["data"]["remoteState"]["net"]["state_event"], "CONNECTED", "{pong}");
        let call = |method: &str, path: &str, body: Value| json!({"method": method, "path": path, "query": "", "headers": {}, "body": body, "escaped_path": true});
        let pinged = ask("http_proxy", call("POST", "/_matrix/app/v1/ping", json!({}))).await;
        assert_eq!((&pinged["data"]["status"], &pinged["data"]["body"]), (&json!(200), &json!({})), "{pinged}");
        let user = format!("/_matrix/app/v1/users/{}", house.support().replace('@', "%40"));
        assert_eq!(ask("http_proxy", call("GET", &user, Value::Null)).await["data"]["status"], 200);
        assert_eq!(ask("http_proxy", call("GET", "/nowhere", Value::Null)).await["data"]["status"], 404);
        let unknown = ask("start_dm", json!({})).await;
        assert_eq!((&unknown["command"], &unknown["data"]["code"]), (&json!("error"), &json!("UNKNOWN_COMMAND")));
        // Nobody wants an answer to these.
        for text in [r#"{"command":"start_dm"}"#, r#"{"command":"response","id":99}"#, r#"{"command":"error","id":99}"#]
        {
            assert!(house.home.write_text(text));
        }
        assert_eq!(ask("ping", json!({})).await["command"], "response");
        assert_eq!(house.home.connections(), 1);
        let carol = house.guest("carol").await;
        house
            .until("how far the message came", || {
                let told = house.home.heard_of("message_checkpoint");
                let told: Vec<Value> =
                    told.iter().flat_map(|d| d["checkpoints"].as_array().cloned().unwrap_or_default()).collect();
                let step = |step: &str| told.iter().any(|one| one["step"] == step && one["status"] == "SUCCESS");
                (step("BRIDGE") && step("REMOTE")).then_some(())
            })
            .await;
        assert_eq!(house.texts(carol.conversation), ["hello"]);
        assert!(!house.home.heard_of("bridge_status").is_empty());
    }
}

#[tokio::test]
async fn odd_events_do_not_take_good_ones_with_them() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        let good = |more: Value| {
            let mut event = json!({"type": "m.room.message", "room_id": carol.room, "sender": carol.user,
                "origin_server_ts": 1, "content": {"msgtype": "m.text", "body": "odd"}});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        let odd = [
            json!({}),
            json!({"type": "m.room.message"}),
            good(json!({"event_id": "no-sigil"})),
            good(json!({"event_id": format!("${}", "x".repeat(300))})),
            good(json!({"event_id": "$sender", "sender": "nobody"})),
            good(json!({"event_id": "$content", "content": "text"})),
            good(json!({"event_id": "$null", "content": null})),
            good(json!({"event_id": "$ts", "origin_server_ts": "yesterday"})),
            good(json!({"event_id": "$body", "content": {"msgtype": "m.text", "body": {"a": 1.5}}})),
            good(json!({"event_id": "$float", "content": {"msgtype": 1.5, "body": 2.5}})),
            good(json!({"event_id": "$relates", "content": {"msgtype": "m.text", "m.relates_to": 7}})),
            good(
                json!({"event_id": "$member", "type": "m.room.member", "state_key": "@lee:sandbox.test", "content": {"membership": 5}}),
            ),
        ];
        for event in &odd {
            house.home.raw(&carol.room, event);
        }
        house.home.raw(&carol.room, &good(json!({"event_id": "$future", "origin_server_ts": 1e18})));
        house.home.say(&carol.user, &carol.room, "fine").unwrap();
        house.until_text(carol.conversation, "fine").await;
        house.until_idle().await;
        let texts = house.texts(carol.conversation);
        assert!(texts.iter().all(|text| ["hello", "odd", "fine"].contains(&text.as_str())), "{way:?} {texts:?}");
        assert_eq!(texts.iter().filter(|text| *text == "odd").count(), 1, "{way:?} {texts:?}");
    }
}

#[tokio::test]
async fn a_queue_that_throws_old_events_away_costs_nothing() {
    let mut house = House::unstarted(Way::Asmux, "", |settings| HomeserverSettings {
        drop_older_than: Some(Duration::from_millis(500)),
        ..settings
    })
    .await;
    house.start().await;
    house.until_up().await;
    let carol = house.guest("carol").await;
    house.crash().await;
    house.home.say(&carol.user, &carol.room, "while you were away").unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    house.start().await;
    house.until_text(carol.conversation, "while you were away").await;
}

#[tokio::test]
async fn a_homeserver_that_forgot_us_is_introduced_to_all_of_us_again() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let house = House::with(way, "display_name = \"Acme support\"").await;
        let carol = house.guest("carol").await;
        house.sandbox.reply(carol.conversation, "good morning").unwrap();
        let before = house.until_said(&carol.room, "good morning").await;
        house.until_idle().await;
        house.home.forget_service();
        house.home.strike(SocketFault::Cut);
        let dave = house.guest("dave").await;
        house.sandbox.reply(dave.conversation, "good evening").unwrap();
        let heard = house.until_said(&dave.room, "good evening").await;
        assert_eq!(heard["sender"], before["sender"], "{way:?}: the agent speaks as the same user");
        assert_ne!(heard["sender"], house.support(), "{way:?}");
        let name = house.home.timeline(&dave.room).into_iter().find_map(|event| {
            let ours = event["state_key"] == house.support() && event["content"]["membership"] == "join";
            ours.then(|| event["content"]["displayname"].clone())
        });
        assert_eq!(name, Some(json!("Acme support")), "{way:?}");
    }
}
