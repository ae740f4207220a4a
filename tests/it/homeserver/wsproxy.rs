//! The dialect without numbers: what was written is forgotten, and nobody says whether it arrived.

use deskbridge::sandbox::homeserver::{Dialect, SocketFault};
use futures_util::SinkExt;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Place, SUPPORT, bodies, part};

#[tokio::test]
async fn frames_have_neither_command_nor_number_and_events_are_encoded_anew() {
    let place = Place::with(Dialect::Wsproxy).await;
    place.ghost("support").await;
    let mut wire = place.socket().await;
    assert_eq!(wire.frame().await, json!({"status": "connected"}));
    let kim = place.home.customer("kim");
    place.home.direct_chat(&kim);
    let frame = wire.frame().await;
    assert!(frame.get("command").is_none() && frame.get("id").is_none(), "{frame}");
    assert_eq!(frame["status"], "ok");
    let event = &frame["events"][0];
    assert!(event.get("age").is_none() && event.get("invite_room_state").is_none(), "no copies: {event}");
    assert!(event["unsigned"]["m.relations"].is_object(), "counts of nothing: {event}");
    let stripped = event["unsigned"]["invite_room_state"].as_array().unwrap();
    assert!(stripped.iter().all(|state| state.get("sender").is_none()), "stripped of its sender: {event}");
    place.stop().await;
}

#[tokio::test]
async fn each_transaction_has_a_frame_of_its_own_and_nothing_comes_twice() {
    let place = Place::with(Dialect::Wsproxy).await;
    let (kim, room) = place.joined_chat("kim").await;
    place.home.say(&kim, &room, "one").unwrap();
    place.home.typing(&kim, &room, true).unwrap();
    let mut wire = place.socket().await;
    wire.frame().await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        let frame = wire.frame().await;
        assert!(!frame["txn_id"].as_str().unwrap().contains(','));
        assert!(frame.get("ephemeral").is_none(), "dropped while nobody was connected: {frame}");
        texts.extend(bodies(&frame).into_iter().map(ToOwned::to_owned));
    }
    assert_eq!((texts, place.home.undelivered()), (vec!["one".to_owned()], 0));
    drop(wire);
    place.until("the end", |home| (!home.is_connected()).then_some(())).await;
    let mut next = place.socket().await;
    next.frame().await;
    next.is_quiet().await;
    place.stop().await;
}

#[tokio::test]
async fn what_was_written_into_a_dying_connection_is_gone_and_what_came_later_is_not() {
    let place = Place::with(Dialect::Wsproxy).await;
    let (kim, room) = place.joined_chat("kim").await;
    let mut wire = place.socket().await;
    for _ in 0..3 {
        wire.frame().await;
    }
    place.home.faults().socket(SocketFault::Cut);
    place.home.say(&kim, &room, "lost").unwrap();
    wire.cut().await;
    place.until("the end", |home| (!home.is_connected()).then_some(())).await;
    place.home.say(&kim, &room, "kept").unwrap();
    let mut next = place.socket().await;
    next.frame().await;
    assert_eq!(bodies(&next.frame().await), ["kept"]);
    // The room still has both.
    let path = format!("/v3/rooms/{}/messages?dir=b&limit=2&user_id={}", part(&room), part(SUPPORT));
    assert_eq!(place.get(&path).await["chunk"][1]["content"]["body"], "lost");
    place.stop().await;
}

#[tokio::test]
async fn states_with_a_number_are_unknown_commands_and_pings_are_answered() {
    let place = Place::with(Dialect::Wsproxy).await;
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.send(json!({"command": "bridge_status", "id": 1, "data": {}})).await;
    let refusal = wire.frame().await;
    assert_eq!((&refusal["command"], &refusal["id"]), (&json!("error"), &json!(1)));
    assert!(refusal["data"]["message"].is_string() && refusal["data"].get("code").is_none(), "{refusal}");
    wire.send(json!({"command": "ping", "id": 2, "data": {"timestamp": 1}})).await;
    assert_eq!(wire.frame().await["id"], 2);
    wire.send(json!({"command": "bridge_status", "data": {"state_event": "RUNNING"}})).await;
    wire.is_quiet().await;
    assert_eq!(place.home.heard_of("bridge_status").len(), 2, "both were heard");
    place.stop().await;
}

#[tokio::test]
async fn anything_but_json_in_text_ends_the_connection() {
    let place = Place::with(Dialect::Wsproxy).await;
    let check = async |message: Message| {
        let mut wire = place.socket().await;
        wire.frame().await;
        wire.stream.send(message).await.unwrap();
        wire.cut().await;
    };
    check(Message::text("hello")).await;
    check(Message::binary(b"{}".to_vec())).await;
    place.stop().await;
}

#[tokio::test]
async fn the_homeservers_ping_is_not_proxied() {
    let place = Place::with(Dialect::Wsproxy).await;
    let mut wire = place.socket().await;
    wire.frame().await;
    let path = "/v1/appservice/deskbridge/ping";
    let body = json!({"transaction_id": "p1"});
    let (status, answer) = place.call(Method::POST, path, Some(body.clone())).await;
    assert_eq!((status.as_u16(), &answer["errcode"], &answer["status"]), (502, &json!("M_BAD_STATUS"), &json!(404)));
    place.refused(Method::POST, "/v1/appservice/other/ping", Some(body.clone()), 403, "M_FORBIDDEN").await;
    place.stop().await;
    let place = Place::with(Dialect::Asmux).await;
    place.refused(Method::POST, path, Some(body.clone()), 502, "M_BAD_STATUS").await;
    let _wire = place.socket().await;
    place.until("the connection", |home| home.is_connected().then_some(())).await;
    assert!(place.post(path, body).await["duration_ms"].is_number());
    place.stop().await;
}

#[tokio::test]
async fn a_token_is_wanted_in_the_header_before_the_upgrade() {
    let place = Place::with(Dialect::Wsproxy).await;
    let check = async |token: &str, errcode: &str| {
        let Err(Error::Http(answer)) = place.socket_with(token, None).await else { panic!("{token} was let in") };
        let body: serde_json::Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
        assert_eq!((answer.status().as_u16(), body["errcode"].as_str()), (403, Some(errcode)));
    };
    check("", "M_MISSING_TOKEN").await;
    check("wrong", "M_UNKNOWN_TOKEN").await;
    check("sandbox-hs-token", "M_UNKNOWN_TOKEN").await;
    place.stop().await;
}
