//! The dialect with numbers: one transaction in flight, repeated until it is acknowledged.

use std::time::Duration;

use deskbridge::sandbox::homeserver::{Dialect, HomeserverSettings};
use serde_json::{Value, json};

use super::{Place, SUPPORT, bodies, told};

/// Waits so short that a test sees them all pass.
fn hasty() -> HomeserverSettings {
    HomeserverSettings { dialect: Dialect::Asmux, ..HomeserverSettings::default() }.hastened(100)
}

#[tokio::test]
async fn an_invitation_and_then_the_room_are_told_in_numbered_transactions() {
    let place = Place::fresh().await;
    place.ghost("support").await;
    let mut wire = place.socket().await;
    assert_eq!(wire.frame().await, json!({"command": "connect", "status": "connected"}));
    let kim = place.home.customer("kim");
    let room = place.home.direct_chat(&kim);
    let invitation = wire.transaction().await;
    assert_eq!((&invitation["command"], &invitation["id"]), (&json!("transaction"), &json!(1)));
    // What came before the invitation is not for us.
    assert_eq!(told(&invitation), [("m.room.member".to_owned(), kim.clone())]);
    let event = &invitation["events"][0];
    assert_eq!((&event["state_key"], &event["content"]["is_direct"]), (&json!(SUPPORT), &json!(true)));
    let stripped = event["unsigned"]["invite_room_state"].as_array().unwrap();
    assert!(stripped.iter().any(|state| state["type"] == "m.room.create" && state["sender"] == json!(kim)));
    assert!(event["age"].is_number() && event["invite_room_state"].is_array(), "the copies at the top: {event}");
    place.home.say(&kim, &room, "before the join").unwrap();
    place.home.join(SUPPORT, &room).unwrap();
    place.home.say(&kim, &room, "Hi").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(told(&wire.transaction().await));
    }
    let wanted = [("m.room.member", SUPPORT), ("m.room.message", kim.as_str())];
    assert_eq!(seen, wanted.map(|(kind, sender)| (kind.to_owned(), sender.to_owned())));
    place.until("every acknowledgement", |home| (home.undelivered() == 0).then_some(())).await;
    place.stop().await;
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_together_with_what_is_new() {
    let place = Place::start(hasty()).await;
    let (kim, room) = place.joined_chat("kim").await;
    let mut wire = place.socket().await;
    wire.frame().await;
    // The invitation and the join, from before the connection.
    let backlog = wire.transaction().await;
    assert!(backlog["txn_id"].as_str().unwrap().contains(','), "{backlog}");
    place.home.say(&kim, &room, "one").unwrap();
    let first = wire.frame().await;
    assert_eq!(bodies(&first), ["one"]);
    place.home.say(&kim, &room, "two").unwrap();
    let second = wire.frame().await;
    assert_eq!(bodies(&second), ["one", "two"], "after the timeout");
    let merged = second["txn_id"].as_str().unwrap();
    assert!(merged.starts_with(&format!("{},", first["txn_id"].as_str().unwrap())), "{merged}");
    assert_ne!(first["id"], second["id"]);
    wire.ack(&second).await;
    place.until("the acknowledgement", |home| (home.undelivered() == 0).then_some(())).await;
    place.stop().await;
}

#[tokio::test]
async fn no_more_than_ten_transactions_are_merged() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    for number in 0..12 {
        place.home.say(&kim, &room, &format!("{number}")).unwrap();
    }
    let mut wire = place.socket().await;
    wire.frame().await;
    let merged = async |wire: &mut super::Wire| wire.transaction().await["txn_id"].as_str().unwrap().split(',').count();
    assert_eq!(merged(&mut wire).await, 10);
    // The invitation, the join, and twelve messages.
    assert_eq!(merged(&mut wire).await, 4);
    place.stop().await;
}

#[tokio::test]
async fn a_refusal_brings_the_same_events_at_once() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.transaction().await;
    place.home.say(&kim, &room, "Hi").unwrap();
    let first = wire.frame().await;
    wire.send(json!({"command": "error", "id": first["id"], "data": {"code": "STORE_FAILED", "message": "full"}}))
        .await;
    let again = wire.frame().await;
    assert_eq!(
        (&again["txn_id"], &again["events"][0]["event_id"]),
        (&first["txn_id"], &first["events"][0]["event_id"])
    );
    place.stop().await;
}

#[tokio::test]
async fn silence_for_seven_waits_closes_with_4002_and_the_next_connection_begins_with_it() {
    let place = Place::start(hasty()).await;
    let (kim, room) = place.joined_chat("kim").await;
    place.home.say(&kim, &room, "Hi").unwrap();
    let mut wire = place.socket().await;
    wire.frame().await;
    for _ in 0..7 {
        assert_eq!(bodies(&wire.frame().await), ["Hi"]);
    }
    let (code, reason) = wire.close().await;
    let reason: Value = serde_json::from_str(&reason).unwrap();
    assert_eq!((code, &reason["status"]), (4002, &json!("transactions_not_acknowledged")));
    let mut next = place.socket().await;
    next.frame().await;
    assert_eq!(bodies(&next.transaction().await), ["Hi"]);
    place.stop().await;
}

#[tokio::test]
async fn an_old_client_is_not_repeated_to_and_the_oldest_is_not_waited_for() {
    let place = Place::start(hasty()).await;
    let (kim, room) = place.joined_chat("kim").await;
    let check = async |version: Option<&str>, text: &str| {
        let mut wire = place.socket_with("sandbox-as-token", version).await.unwrap();
        wire.frame().await;
        wire.is_quiet().await;
        place.home.say(&kim, &room, text).unwrap();
        assert_eq!(bodies(&wire.frame().await), [text], "version {version:?}");
        place.until("nobody to wait", |home| (home.undelivered() == 0).then_some(())).await;
        wire.is_quiet().await;
    };
    // Takes the backlog away first.
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.transaction().await;
    check(Some("2"), "dropped on the timeout").await;
    check(Some("1"), "not waited for").await;
    check(None, "not waited for either").await;
    place.stop().await;
}

#[tokio::test]
async fn the_newest_connection_wins_and_the_old_one_is_closed_with_4001() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let mut old = place.socket().await;
    old.frame().await;
    old.transaction().await;
    place.home.say(&kim, &room, "Hi").unwrap();
    let unanswered = old.frame().await;
    let mut new = place.socket().await;
    new.frame().await;
    let (code, reason) = old.close().await;
    assert_eq!((code, reason.as_str()), (4001, r#"{"command":"disconnect","status":"conn_replaced"}"#));
    let again = new.transaction().await;
    assert_eq!(again["txn_id"], unanswered["txn_id"], "it stays first in the queue");
    assert_eq!(again["events"][0]["event_id"], unanswered["events"][0]["event_id"]);
    assert!(place.home.is_connected(), "the end of the old one is not the end of the new one");
    place.stop().await;
}

#[tokio::test]
async fn pings_and_states_are_answered_and_kept_and_the_unknown_is_refused() {
    let place = Place::fresh().await;
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.send(json!({"command": "ping", "id": 4, "data": {"timestamp": 1}})).await;
    let pong = wire.frame().await;
    assert_eq!((&pong["command"], &pong["id"]), (&json!("response"), &json!(4)));
    assert!(pong["data"]["timestamp"].as_i64().unwrap() > 1_500_000_000_000, "milliseconds");
    wire.send(json!({"command": "bridge_status", "data": {"state_event": "CONNECTED"}})).await;
    wire.send(json!({"command": "message_checkpoint", "id": 5, "data": {"checkpoints": []}})).await;
    assert_eq!(wire.frame().await, json!({"command": "response", "id": 5, "data": null}), "nothing for the status");
    wire.send(json!({"command": "make_coffee", "id": 6})).await;
    let refusal = wire.frame().await;
    assert_eq!((&refusal["command"], &refusal["data"]["code"]), (&json!("error"), &json!("UNKNOWN_COMMAND")));
    wire.send(json!({"command": "make_coffee"})).await;
    wire.is_quiet().await;
    assert_eq!(place.home.heard_of("bridge_status"), [json!({"state_event": "CONNECTED"})]);
    place.stop().await;
}

#[tokio::test]
async fn the_server_asks_and_records_the_answer() {
    let place = Place::fresh().await;
    let mut wire = place.socket().await;
    wire.frame().await;
    let data = json!({"method": "POST", "path": "/_matrix/app/v1/ping", "body": {}});
    let answer = async {
        let request = wire.frame().await;
        assert_eq!((&request["command"], &request["data"]["method"]), (&json!("http_proxy"), &json!("POST")));
        wire.send(json!({"command": "response", "id": request["id"], "data": {"status": 200}})).await;
    };
    let (answer, ()) = tokio::join!(place.home.ask("http_proxy", data, super::DEADLINE), answer);
    assert_eq!(answer.unwrap()["data"]["status"], 200);
    let (silence, _) = tokio::join!(place.home.ask("start_dm", json!({}), Duration::from_millis(50)), wire.frame());
    assert_eq!(silence, None);
    place.stop().await;
}

#[tokio::test]
async fn events_that_waited_too_long_are_thrown_away_and_an_empty_transaction_is_left() {
    let settings = HomeserverSettings { drop_older_than: Some(Duration::ZERO), ..HomeserverSettings::default() };
    let place = Place::start(settings).await;
    let (kim, room) = place.joined_chat("kim").await;
    place.home.say(&kim, &room, "too old by then").unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut wire = place.socket().await;
    wire.frame().await;
    assert_eq!(wire.transaction().await["events"], json!([]));
    // Gap filling still finds it.
    let path = format!("/v3/rooms/{}/messages?dir=b&limit=1&user_id={}", super::part(&room), super::part(SUPPORT));
    assert_eq!(place.get(&path).await["chunk"][0]["content"]["body"], "too old by then");
    place.stop().await;
}
