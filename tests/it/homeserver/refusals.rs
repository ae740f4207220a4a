//! What the homeserver refuses, with the status and code that a bridge has to tell apart.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Place, SUPPORT, part};

fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

#[tokio::test]
async fn a_message_is_looked_at_before_it_is_taken() {
    let place = Place::fresh().await;
    let (_, room) = place.joined_chat("kim").await;
    let send = |transaction: &str| {
        format!("/v3/rooms/{}/send/m.room.message/{transaction}?user_id={}", part(&room), part(SUPPORT))
    };
    let check = async |transaction: &str, body: Value, status: u16, errcode: &str| {
        place.refused(Method::PUT, &send(transaction), Some(body), status, errcode).await;
    };
    check("float", json!({"msgtype": "m.text", "body": "x", "n": 1.5}), 400, "M_BAD_JSON").await;
    check("body", json!({"msgtype": "m.text", "body": {}}), 400, "M_BAD_JSON").await;
    check("none", json!({"msgtype": "m.text"}), 400, "M_BAD_JSON").await;
    check("list", json!(["m.text"]), 400, "M_BAD_JSON").await;
    check("long", text(&"x".repeat(65_536)), 413, "M_TOO_LARGE").await;
    let bad = place.client.put(format!("{}/_matrix/client{}", place.sandbox.url(), send("bad")));
    let bad = bad.bearer_auth("sandbox-as-token").body("{\"msgtype\":").send().await.unwrap();
    assert_eq!(bad.status(), 400);
    assert_eq!(bad.json::<Value>().await.unwrap()["errcode"], "M_NOT_JSON");
    // A refusal is not remembered: the same id works once the content is right.
    place.put(&send("long"), text("x")).await;
    assert_eq!(place.home.texts(&room).len(), 1);
    place.stop().await;
}

#[tokio::test]
async fn who_is_not_in_or_has_no_power_cannot_speak() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let ghost = place.ghost("7").await;
    let send = |user: &str| format!("/v3/rooms/{}/send/m.room.message/{user}?user_id={}", part(&room), part(user));
    place.refused(Method::PUT, &send(&ghost), Some(text("x")), 403, "M_FORBIDDEN").await;
    let join = format!("/v3/rooms/{}/join?user_id={}", part(&room), part(&ghost));
    place.refused(Method::POST, &join, Some(json!({})), 403, "M_FORBIDDEN").await;
    let invite = format!("/v3/rooms/{}/invite?user_id={}", part(&room), part(SUPPORT));
    place.post(&invite, json!({"user_id": ghost})).await;
    place.post(&join, json!({})).await;
    place.put(&send(&ghost), text("hello")).await;
    place.home.set_power(&kim, &room, &json!({"events_default": 50})).unwrap();
    let path = format!("/v3/rooms/{}/send/m.room.message/later?user_id={}", part(&room), part(&ghost));
    place.refused(Method::PUT, &path, Some(text("silenced")), 403, "M_FORBIDDEN").await;
    place.home.kick(&kim, &room, &ghost, "bye").unwrap();
    place.refused(Method::PUT, &path, Some(text("gone")), 403, "M_FORBIDDEN").await;
    place.refused(Method::PUT, "/v3/rooms/%21nowhere/send/m.room.message/1", Some(text("x")), 403, "M_FORBIDDEN").await;
    place.stop().await;
}

#[tokio::test]
async fn members_state_and_redactions_have_rules_of_their_own() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let ghost = place.ghost("7").await;
    place.home.invite(&kim, &room, &ghost).unwrap();
    place.home.join(&ghost, &room).unwrap();
    let event = place.home.say(&kim, &room, "Hi").unwrap();
    let base = format!("/v3/rooms/{}", part(&room));
    let as_ghost = format!("user_id={}", part(&ghost));
    let check = async |method: Method, path: &str, body: Value, status: u16, errcode: &str| {
        place.refused(method, &format!("{base}{path}?{as_ghost}"), Some(body), status, errcode).await;
    };
    let target = json!({"user_id": kim});
    check(Method::POST, "/kick", target.clone(), 403, "M_FORBIDDEN").await;
    check(Method::POST, "/ban", target.clone(), 403, "M_FORBIDDEN").await;
    check(Method::POST, "/invite", target, 403, "M_FORBIDDEN").await;
    check(Method::POST, "/kick", json!({}), 400, "M_MISSING_PARAM").await;
    check(Method::POST, "/forget", json!({}), 400, "M_UNKNOWN").await;
    check(Method::PUT, "/state/m.room.name/", json!({"name": "x"}), 403, "M_FORBIDDEN").await;
    check(Method::GET, "/state/m.room.topic/", json!({}), 404, "M_NOT_FOUND").await;
    check(Method::PUT, &format!("/redact/{}/1", part(&event)), json!({}), 403, "M_FORBIDDEN").await;
    check(Method::PUT, &format!("/redact/{}/1", part("$none")), json!({}), 404, "M_NOT_FOUND").await;
    check(Method::PUT, &format!("/typing/{}", part(SUPPORT)), json!({"typing": true}), 400, "M_FORBIDDEN").await;
    check(Method::POST, &format!("/receipt/m.seen/{}", part(&event)), json!({}), 400, "M_INVALID_PARAM").await;
    check(Method::GET, "/messages", json!({}), 400, "M_MISSING_PARAM").await;
    let reaction = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "👍"}});
    place.put(&format!("{base}/send/m.reaction/1?{as_ghost}"), reaction.clone()).await;
    check(Method::PUT, "/send/m.reaction/2", reaction, 400, "M_DUPLICATE_ANNOTATION").await;
    let creators = json!({"users": {kim.clone(): 100}});
    let path = format!("{base}/state/m.room.power_levels?user_id={}", part(SUPPORT));
    place.refused(Method::PUT, &path, Some(creators), 400, "M_BAD_JSON").await;
    place.stop().await;
}

#[tokio::test]
async fn after_the_door_closes_the_room_is_seen_up_to_that_moment() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    place.home.say(&kim, &room, "seen").unwrap();
    place.home.leave(SUPPORT, &room).unwrap();
    place.home.say(&kim, &room, "unseen").unwrap();
    let path = format!("/v3/rooms/{}/messages?dir=b&limit=2&user_id={}", part(&room), part(SUPPORT));
    assert_eq!(place.get(&path).await["chunk"][1]["content"]["body"], "seen");
    place.post(&format!("/v3/rooms/{}/forget?user_id={}", part(&room), part(SUPPORT)), json!({})).await;
    place.refused(Method::GET, &path, None, 403, "M_FORBIDDEN").await;
    place.stop().await;
}

#[tokio::test]
async fn tokens_paths_and_methods_that_are_not_known() {
    let place = Place::fresh().await;
    let check = async |token: &str, method: Method, path: &str, status: u16, errcode: &str| {
        let (found, answer) = place.call_with(token, method, path, None).await;
        assert_eq!((found.as_u16(), answer["errcode"].as_str()), (status, Some(errcode)), "{path}: {answer}");
    };
    check("", Method::GET, "/v3/account/whoami", 401, "M_MISSING_TOKEN").await;
    check("wrong", Method::GET, "/v3/account/whoami", 401, "M_UNKNOWN_TOKEN").await;
    check("sandbox-as-token", Method::GET, "/v3/nothing", 404, "M_UNRECOGNIZED").await;
    check("sandbox-as-token", Method::DELETE, "/v3/account/whoami", 405, "M_UNRECOGNIZED").await;
    check("sandbox-as-token", Method::GET, "/v3/account/whoami?device_id=X", 500, "M_UNKNOWN").await;
    // Without a homeserver in the settings there is none.
    let bare = deskbridge::sandbox::Sandbox::start(deskbridge::sandbox::SandboxSettings::default()).await.unwrap();
    let answer = place.client.get(format!("{}/_matrix/client/versions", bare.url())).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(place.client.get(format!("{}/customer", bare.url())).send().await.unwrap().status(), 404);
    bare.stop().await;
    place.stop().await;
}
