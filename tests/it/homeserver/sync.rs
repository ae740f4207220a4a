//! `/sync`, for people, for a plain bot, and for ghosts; never for the appservice's sender.

use deskbridge::sandbox::homeserver::HomeserverSettings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Place, SUPPORT, part};

impl Place {
    async fn sync(&self, token: &str, query: &str) -> Value {
        let (status, answer) = self.call_with(token, Method::GET, &format!("/v3/sync?{query}"), None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

fn batch(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_sender_gets_500_and_a_ghost_finds_the_invitation_it_missed() {
    let place = Place::fresh().await;
    place.ghost("support").await;
    let sender = part("@_desk_bot:sandbox.test");
    place.refused(Method::GET, "/v3/sync", None, 500, "M_UNKNOWN").await;
    place.refused(Method::GET, &format!("/v3/sync?user_id={sender}"), None, 500, "M_UNKNOWN").await;
    let kim = place.home.customer("kim");
    let room = place.home.direct_chat(&kim);
    let answer = place.get(&format!("/v3/sync?user_id={}", part(SUPPORT))).await;
    let shown = answer["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
    assert!(shown.iter().any(|event| event["type"] == "m.room.member" && event["state_key"] == SUPPORT));
    place.stop().await;
}

#[tokio::test]
async fn a_bot_logs_in_waits_and_is_told_the_rest() {
    let settings = HomeserverSettings { support_localpart: "support".to_owned(), ..HomeserverSettings::default() };
    let place = Place::start(settings).await;
    let bot = place.home.account("support", "s3cret");
    let login = |password: &str| {
        let identifier = json!({"type": "m.id.user", "user": "support"});
        Some(json!({"type": "m.login.password", "identifier": identifier, "password": password, "device_id": "GW"}))
    };
    let (status, refusal) = place.call_with("", Method::POST, "/v3/login", login("wrong")).await;
    assert_eq!((status.as_u16(), &refusal["errcode"]), (403, &json!("M_FORBIDDEN")));
    let (_, answer) = place.call_with("", Method::POST, "/v3/login", login("s3cret")).await;
    let token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!((&answer["user_id"], &answer["device_id"]), (&json!(bot), &json!("GW")));
    let first = place.sync(&token, "").await;
    let kim = place.home.customer("kim");
    let poll = format!("timeout=20000&since={}", batch(&first));
    let (asked, room) = tokio::join!(place.sync(&token, &poll), async {
        place.until("the poll", |home| (home.count("GET", "timeout=20000") == 1).then_some(())).await;
        // Who asks later and does not wait is answered first.
        place.sync(&token, &format!("since={}", batch(&first))).await;
        let poll = place.home.calls().into_iter().find(|call| call.path.contains("timeout=20000")).unwrap();
        assert_eq!(poll.status, None, "nothing has happened that it could tell");
        place.home.direct_chat(&kim)
    });
    assert!(asked["rooms"]["invite"][&room].is_object(), "{asked}");
    let (status, _) = place.call_with(&token, Method::POST, &format!("/v3/join/{}", part(&room)), None).await;
    assert_eq!(status, StatusCode::OK);
    for number in 0..15 {
        place.home.say(&kim, &room, &number.to_string()).unwrap();
    }
    let many = place.sync(&token, &format!("since={}", batch(&asked))).await;
    let timeline = &many["rooms"]["join"][&room]["timeline"];
    assert_eq!((timeline["events"].as_array().unwrap().len(), &timeline["limited"]), (10, &json!(true)));
    let gap =
        format!("/v3/rooms/{}/messages?dir=b&limit=5&from={}", part(&room), timeline["prev_batch"].as_str().unwrap());
    let (_, gap) = place.call_with(&token, Method::GET, &gap, None).await;
    assert_eq!(gap["chunk"][0]["content"]["body"], "4", "the newest of what was left out");
    // With nothing to tell it ends by itself.
    let nothing = place.sync(&token, &format!("timeout=100&since={}", batch(&many))).await;
    assert_eq!(nothing["rooms"]["join"], json!({}), "{nothing}");
    place.home.revoke_tokens(&bot);
    let (status, refusal) = place.call_with(&token, Method::GET, "/v3/sync", None).await;
    assert_eq!((status.as_u16(), &refusal["errcode"]), (401, &json!("M_UNKNOWN_TOKEN")));
    place.stop().await;
}

#[tokio::test]
async fn own_sends_are_marked_and_ephemeral_data_has_no_room() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let (phone, desktop) = (place.home.token(&kim), place.home.token(&kim));
    let since = batch(&place.sync(&phone, "").await);
    let path = format!("/v3/rooms/{}/send/m.room.message/mine", part(&room));
    let body = Some(json!({"msgtype": "m.text", "body": "Hi"}));
    place.call_with(&phone, Method::PUT, &path, body).await;
    let event = place.home.say(SUPPORT, &room, "Hello").unwrap();
    place.home.typing(SUPPORT, &room, true).unwrap();
    place.home.read(SUPPORT, &room, &event).unwrap();
    let own = |answer: &Value| {
        let events = answer["rooms"]["join"][&room]["timeline"]["events"].clone();
        let marked = events[0]["unsigned"]["transaction_id"].clone();
        (marked, events.as_array().unwrap().len())
    };
    let answer = place.sync(&phone, &format!("since={since}")).await;
    assert_eq!(own(&answer), (json!("mine"), 2));
    assert_eq!(own(&place.sync(&desktop, &format!("since={since}")).await), (Value::Null, 2));
    let ephemeral = answer["rooms"]["join"][&room]["ephemeral"]["events"].as_array().unwrap();
    assert!(ephemeral.iter().all(|event| event.get("room_id").is_none()));
    let typing = ephemeral.iter().find(|event| event["type"] == "m.typing").unwrap();
    assert_eq!(typing["content"]["user_ids"], json!([SUPPORT]));
    let receipt = ephemeral.iter().find(|event| event["type"] == "m.receipt").unwrap();
    assert!(receipt["content"][&event]["m.read"][SUPPORT]["ts"].is_number());
    place.stop().await;
}

#[tokio::test]
async fn a_kick_is_told_among_the_rooms_left_and_the_filter_sets_the_limit() {
    let place = Place::fresh().await;
    let (kim, room) = place.joined_chat("kim").await;
    let ghost = place.ghost("7").await;
    place.home.invite(&kim, &room, &ghost).unwrap();
    place.home.join(&ghost, &room).unwrap();
    let as_ghost = format!("user_id={}", part(&ghost));
    let filter = part(&json!({"room": {"timeline": {"limit": 1}}}).to_string());
    let first = place.get(&format!("/v3/sync?filter={filter}&{as_ghost}")).await;
    let told = &first["rooms"]["join"][&room];
    assert_eq!(told["timeline"]["events"].as_array().unwrap().len(), 1);
    assert!(told["state"]["events"].as_array().unwrap().iter().any(|event| event["type"] == "m.room.create"));
    place.home.kick(&kim, &room, &ghost, "bye").unwrap();
    place.home.say(&kim, &room, "among ourselves").unwrap();
    let next = place.get(&format!("/v3/sync?since={}&{as_ghost}", batch(&first))).await;
    let left = next["rooms"]["leave"][&room]["timeline"]["events"].as_array().unwrap();
    assert_eq!((left.len(), &left[0]["content"]["reason"]), (1, &json!("bye")));
    place.stop().await;
}
