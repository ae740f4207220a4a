//! What a bridge calls: being somebody, making rooms, sending once, and looking back.

use deskbridge::sandbox::homeserver::HomeserverSettings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{DEADLINE, Place, SENDER, SUPPORT, part};

#[tokio::test]
async fn a_ghost_is_registered_once_and_then_acts_under_its_own_name() {
    let place = Place::fresh().await;
    assert_eq!(place.get("/v3/account/whoami").await["user_id"], SENDER);
    let ghost = "@_desk_7:sandbox.test";
    let as_ghost = format!("user_id={}", part(ghost));
    place.refused(Method::GET, &format!("/v3/account/whoami?{as_ghost}"), None, 403, "M_FORBIDDEN").await;
    place.ghost("7").await;
    assert_eq!(place.get(&format!("/v3/account/whoami?{as_ghost}")).await["user_id"], ghost);
    let again = json!({"type": "m.login.application_service", "username": "_desk_7", "inhibit_login": true});
    place.refused(Method::POST, "/v3/register", Some(again), 400, "M_USER_IN_USE").await;
    let outside = json!({"type": "m.login.application_service", "username": "kim", "inhibit_login": true});
    place.refused(Method::POST, "/v3/register", Some(outside), 400, "M_EXCLUSIVE").await;
    let login = json!({"type": "m.login.application_service", "username": "_desk_8"});
    place.refused(Method::POST, "/v3/register", Some(login), 400, "M_APPSERVICE_LOGIN_UNSUPPORTED").await;
    let elsewhere = format!("/v3/account/whoami?user_id={}", part("@kim:sandbox.test"));
    place.refused(Method::GET, &elsewhere, None, 403, "M_FORBIDDEN").await;
    assert!(place.get("/versions").await["versions"].as_array().unwrap().contains(&json!("v1.11")));
    place.stop().await;
}

#[tokio::test]
async fn a_name_is_told_to_each_room_as_a_join_that_is_no_arrival() {
    let place = Place::fresh().await;
    let (_, room) = place.joined_chat("kim").await;
    let path = format!("/v3/profile/{}/displayname?user_id={}", part(SUPPORT), part(SUPPORT));
    place.put(&path, json!({"displayname": "Acme support"})).await;
    let last = place.home.timeline(&room).pop().unwrap();
    assert_eq!((&last["type"], &last["content"]["membership"]), (&json!("m.room.member"), &json!("join")));
    assert_eq!(last["content"]["displayname"], "Acme support");
    assert_eq!(last["unsigned"]["prev_content"]["membership"], "join");
    let profile = place.get(&format!("/v3/profile/{}", part(SUPPORT))).await;
    assert_eq!(profile, json!({"displayname": "Acme support"}));
    let others = format!("/v3/profile/{}/displayname", part(SUPPORT));
    place.refused(Method::PUT, &others, Some(json!({"displayname": "x"})), 400, "M_FORBIDDEN").await;
    place.refused(Method::GET, "/v3/profile/%40nobody%3Asandbox.test", None, 404, "M_NOT_FOUND").await;
    place.stop().await;
}

#[tokio::test]
async fn the_same_transaction_id_of_another_user_says_nothing() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let ghost = place.ghost("7").await;
    place.home.invite(&kim, &room, &ghost).unwrap();
    place.home.join(&ghost, &room).unwrap();
    let send = async |user: &str, transaction: &str, text: &str| {
        let path = format!("/v3/rooms/{}/send/m.room.message/{transaction}?user_id={}", part(&room), part(user));
        place.put(&path, json!({"msgtype": "m.text", "body": text})).await["event_id"].as_str().unwrap().to_owned()
    };
    let first = send(SUPPORT, "cw-1", "from support").await;
    assert_eq!(send(SUPPORT, "cw-1", "from support").await, first);
    assert_eq!(send(&ghost, "cw-1", "from Sam").await, first, "the other user's event");
    assert_ne!(send(&ghost, "cw-2", "from Sam").await, first);
    let said = [(SUPPORT.to_owned(), "from support".to_owned()), (ghost.clone(), "from Sam".to_owned())];
    assert_eq!(place.home.texts(&room), said);
    // A customer's device has a memory of its own.
    let token = place.home.token(&kim);
    let path = format!("/v3/rooms/{}/send/m.room.message/cw-1", part(&room));
    let body = Some(json!({"msgtype": "m.text", "body": "from Kim"}));
    let (_, answer) = place.call_with(&token, Method::PUT, &path, body).await;
    assert_ne!(answer["event_id"], json!(first));
    place.home.forget_transactions();
    assert_ne!(send(SUPPORT, "cw-1", "from support").await, first, "after a restart");
    place.stop().await;
}

#[tokio::test]
async fn rooms_of_version_twelve_have_no_server_and_older_ones_do() {
    let place = Place::fresh().await;
    place.ghost("support").await;
    let kim = place.home.customer("kim");
    let (new, old) = (place.home.direct_chat(&kim), place.home.old_direct_chat(&kim));
    assert!(new.starts_with('!') && new.len() == 44 && !new.contains(':'), "{new}");
    assert!(old.ends_with(":sandbox.test"), "{old}");
    for room in [&new, &old] {
        let path = format!("/v3/join/{}?via=sandbox.test&user_id={}", part(room), part(SUPPORT));
        assert_eq!(place.post(&path, json!({})).await["room_id"], json!(room));
        assert_eq!(place.post(&path, json!({})).await["room_id"], json!(room), "twice is harmless");
    }
    let joined = place.get(&format!("/v3/joined_rooms?user_id={}", part(SUPPORT))).await;
    assert_eq!(joined["joined_rooms"].as_array().unwrap().len(), 2);
    let members = place.get(&format!("/v3/rooms/{}/joined_members?user_id={}", part(&new), part(SUPPORT))).await;
    assert_eq!(members["joined"][&kim]["display_name"], "kim");
    place.stop().await;
}

#[tokio::test]
async fn a_room_of_ours_is_made_as_asked_and_its_guest_can_be_removed() {
    let place = Place::fresh().await;
    place.ghost("support").await;
    let (kim, sam) = (place.home.customer("kim"), place.home.customer("sam"));
    let make = async |preset: &str, guest: &str| {
        let body = json!({
            "preset": preset, "is_direct": true, "invite": [guest], "name": "Acme support", "topic": "#42",
            "power_level_content_override": {"users_default": 0, "invite": 50},
            "initial_state": [{"type": "com.acme.source", "state_key": "", "content": {"id": 42}}],
        });
        let room = place.post(&format!("/v3/createRoom?user_id={}", part(SUPPORT)), body).await;
        room["room_id"].as_str().unwrap().to_owned()
    };
    let room = make("private_chat", &kim).await;
    let path = |kind: &str| format!("/v3/rooms/{}/state/{kind}?user_id={}", part(&room), part(SUPPORT));
    assert_eq!(place.get(&path("m.room.name")).await, json!({"name": "Acme support"}));
    assert_eq!(place.get(&path("com.acme.source/")).await, json!({"id": 42}));
    let power = place.get(&path("m.room.power_levels")).await;
    assert_eq!((&power["invite"], &power["users"]), (&json!(50), &json!({})));
    assert_eq!(place.home.membership(&room, &kim), "invite");
    place.home.join(&kim, &room).unwrap();
    place.home.kick(SUPPORT, &room, &kim, "done").unwrap();
    // Who is trusted in a room of version 12 is its creator too.
    let trusted = make("trusted_private_chat", &sam).await;
    place.home.join(&sam, &trusted).unwrap();
    let body = json!({"user_id": sam});
    for deed in ["kick", "ban"] {
        let path = format!("/v3/rooms/{}/{deed}?user_id={}", part(&trusted), part(SUPPORT));
        place.refused(Method::POST, &path, Some(body.clone()), 403, "M_FORBIDDEN").await;
    }
    place.stop().await;
}

#[tokio::test]
async fn history_is_read_backwards_in_pages_and_one_event_by_its_id() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    for number in 0..5 {
        place.home.say(&kim, &room, &number.to_string()).unwrap();
    }
    let page = async |query: &str| {
        place.get(&format!("/v3/rooms/{}/messages?{query}&user_id={}", part(&room), part(SUPPORT))).await
    };
    let texts = |page: &Value| -> Vec<String> {
        let chunk = page["chunk"].as_array().unwrap();
        chunk.iter().filter_map(|event| event["content"]["body"].as_str()).map(ToOwned::to_owned).collect()
    };
    let newest = page("dir=b&limit=2").await;
    assert_eq!(texts(&newest), ["4", "3"]);
    let older = page(&format!("dir=b&limit=2&from={}", newest["end"].as_str().unwrap())).await;
    assert_eq!(texts(&older), ["2", "1"]);
    let forwards = page(&format!("dir=f&limit=50&from={}", older["end"].as_str().unwrap())).await;
    assert_eq!(texts(&forwards), ["1", "2", "3", "4"]);
    assert!(forwards.get("end").is_none(), "the end is reached");
    let event = &newest["chunk"][1];
    let id = part(event["event_id"].as_str().unwrap());
    let base = format!("/v3/rooms/{}", part(&room));
    let same = place.get(&format!("{base}/event/{id}?user_id={}", part(SUPPORT))).await;
    assert_eq!(same["content"], event["content"]);
    let around = place.get(&format!("{base}/context/{id}?limit=2&user_id={}", part(SUPPORT))).await;
    let neighbours = (&around["events_before"][0]["content"]["body"], &around["events_after"][0]["content"]["body"]);
    assert_eq!(neighbours, (&json!("2"), &json!("4")));
    place.stop().await;
}

#[tokio::test]
async fn a_message_redacted_before_it_was_pushed_arrives_empty() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let event = place.home.say(&kim, &room, "my card number is").unwrap();
    place.home.redact(&kim, &room, &event, Some("oops")).unwrap();
    let mut wire = place.socket().await;
    wire.frame().await;
    let frame = wire.transaction().await;
    let events = frame["events"].as_array().unwrap();
    let message = events.iter().find(|one| one["event_id"] == json!(event)).unwrap();
    assert_eq!(message["content"], json!({}));
    assert_eq!(message["unsigned"]["redacted_because"]["content"]["reason"], "oops");
    let redaction = events.last().unwrap();
    assert_eq!((&redaction["redacts"], &redaction["content"]["redacts"]), (&json!(event), &json!(event)));
    place.stop().await;
}

#[tokio::test]
async fn typing_and_reading_are_pushed_in_full_and_come_back_to_their_own_sender() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let event = place.home.say(&kim, &room, "Hi").unwrap();
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.transaction().await;
    let path = format!("/v3/rooms/{}/typing/{}?user_id={}", part(&room), part(SUPPORT), part(SUPPORT));
    place.put(&path, json!({"typing": true, "timeout": 30_000})).await;
    place.home.typing(&kim, &room, true).unwrap();
    let mut last = Value::Null;
    while last["content"]["user_ids"].as_array().is_none_or(|users| users.len() < 2) {
        let frame = wire.transaction().await;
        last = frame["ephemeral"].as_array().unwrap().last().unwrap().clone();
    }
    assert_eq!((&last["type"], &last["room_id"]), (&json!("m.typing"), &json!(room)));
    let receipt = format!("/v3/rooms/{}/receipt/m.read/{}?user_id={}", part(&room), part(&event), part(SUPPORT));
    place.post(&receipt, json!({"thread_id": "main"})).await;
    let told = &wire.transaction().await["ephemeral"][0];
    let receipt = &told["content"][&event]["m.read"][SUPPORT];
    assert!(receipt["ts"].is_number() && receipt.get("thread_id").is_none(), "{told}");
    place.until("the receipt", |home| home.read_by(&room, SUPPORT)).await;
    place.home.read(&kim, &room, &event).unwrap();
    assert!(wire.transaction().await["ephemeral"][0]["content"][&event]["m.read"][&kim].is_object());
    place.stop().await;
}

#[tokio::test]
async fn what_a_client_keeps_for_itself_comes_back_to_it_alone() {
    let place = Place::fresh().await;
    let path = format!("/v3/user/{}/account_data/m.direct", part(SENDER));
    place.refused(Method::GET, &path, None, 404, "M_NOT_FOUND").await;
    place.put(&path, json!({"@kim:sandbox.test": ["!r"]})).await;
    assert_eq!(place.get(&path).await, json!({"@kim:sandbox.test": ["!r"]}));
    place.ghost("7").await;
    let foreign = format!("{path}?user_id={}", part("@_desk_7:sandbox.test"));
    place.refused(Method::GET, &foreign, None, 403, "M_FORBIDDEN").await;
    place.stop().await;
}

#[tokio::test]
async fn odd_events_go_through_as_they_are() {
    let place = Place::fresh().await;
    let (_, room) = place.joined_chat("kim").await;
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.transaction().await;
    let odd =
        json!({"type": "m.room.message", "content": {"body": 4.5, "msgtype": ["m.text"]}, "origin_server_ts": "late"});
    place.home.raw(&room, &odd);
    let event = wire.transaction().await["events"][0].clone();
    assert_eq!((&event["content"], &event["origin_server_ts"]), (&odd["content"], &odd["origin_server_ts"]));
    assert!(event.get("event_id").is_none() && event.get("sender").is_none(), "{event}");
    let id = place.home.unchecked("@kim:sandbox.test", &room, "m.room.encrypted", &json!({"ciphertext": "x"})).unwrap();
    assert_eq!(wire.transaction().await["events"][0]["event_id"], json!(id));
    place.stop().await;
}

#[tokio::test]
async fn an_appservice_may_set_the_time_and_anybody_may_edit_anything() {
    let place =
        Place::start(HomeserverSettings { room_version: "11".to_owned(), ..HomeserverSettings::default() }).await;
    let (kim, room) = place.joined_chat("kim").await;
    let path = format!("/v3/rooms/{}/send/m.room.message/1?ts=1700000000000&user_id={}", part(&room), part(SUPPORT));
    let event = place.put(&path, json!({"msgtype": "m.text", "body": "Hi"})).await;
    let event = event["event_id"].as_str().unwrap();
    assert_eq!(place.home.event(event).unwrap()["origin_server_ts"], 1_700_000_000_000_i64);
    // The check is the reader's business: servers take a foreign edit.
    place.home.edit(&kim, &room, event, "something else").unwrap();
    place.home.tombstone(&kim, &room, "!new").unwrap();
    assert_eq!(place.home.state(&room, "m.room.tombstone", "").unwrap()["replacement_room"], "!new");
    place.home.encrypt(&kim, &room).unwrap();
    assert!(place.home.until(DEADLINE, |home| home.state(&room, "m.room.encryption", "")).await.is_some());
    place.stop().await;
}
