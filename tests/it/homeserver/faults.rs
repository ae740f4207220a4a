//! The fault switch for calls, by the handle and over HTTP.

use std::time::Duration;

use deskbridge::sandbox::homeserver::{CallClass, CallFault, CallRule};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{DEADLINE, Place, SUPPORT, part};

struct Chat<'a> {
    place: &'a Place,
    path: String,
    room: String,
}

impl Chat<'_> {
    async fn send(&self, transaction: &str) -> Result<Response, reqwest::Error> {
        let url = format!("{}/_matrix/client{}/{transaction}", self.place.sandbox.url(), self.path);
        let url = format!("{url}?user_id={}", part(SUPPORT));
        let body = json!({"msgtype": "m.text", "body": transaction});
        self.place.client.put(url).bearer_auth("sandbox-as-token").json(&body).send().await
    }

    fn said(&self) -> usize {
        self.place.home.texts(&self.room).len()
    }
}

async fn room(place: &Place) -> Chat<'_> {
    let (_, room) = place.joined_chat("kim").await;
    Chat { place, path: format!("/v3/rooms/{}/send/m.room.message", part(&room)), room }
}

fn next(fault: CallFault) -> CallRule {
    CallRule::next(1, CallClass::Send, fault)
}

#[tokio::test]
async fn too_many_requests_say_how_long_to_wait_in_two_ways() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    place.home.faults().call(next(CallFault::TooManyRequests { milliseconds: 1_884 }));
    let answer = room.send("1").await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"2".parse().unwrap())
    );
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["errcode"], &body["retry_after_ms"]), (&json!("M_LIMIT_EXCEEDED"), &json!(1_884)));
    assert_eq!(room.send("1").await.unwrap().status(), StatusCode::OK);
    assert_eq!((room.said(), place.home.faults().struck()), (1, 1));
    place.home.faults().call(next(CallFault::TooManyRequests { milliseconds: 600_000 }));
    assert_eq!(room.send("2").await.unwrap().headers()["retry-after"], "600");
    let before = place.home.faults().impatient();
    assert_eq!(room.send("2").await.unwrap().status(), StatusCode::OK);
    assert_eq!(place.home.faults().impatient() - before, 1, "nobody waited ten minutes");
    place.stop().await;
}

#[tokio::test]
async fn a_fault_after_the_deed_leaves_the_deed_done_and_the_same_id_finds_it() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    let check = async |fault: CallFault, status: Option<u16>, done: usize| {
        let before = room.said();
        let transaction = format!("{}", place.home.faults().struck());
        place.home.faults().call(next(fault.clone()));
        let answer = room.send(&transaction).await.ok();
        assert_eq!(answer.as_ref().map(|answer| answer.status().as_u16()), status, "{fault:?}");
        assert_eq!(room.said() - before, done, "{fault:?}");
        if let Some(answer) = answer {
            // A body that is cut is an error too.
            assert_eq!(answer.text().await.is_err(), fault == CallFault::CommitThenCut, "{fault:?}");
        }
        assert_eq!(room.send(&transaction).await.unwrap().status(), StatusCode::OK);
        assert_eq!(room.said() - before, 1, "{fault:?}: once in all");
    };
    check(CallFault::ServerError, Some(500), 0).await;
    check(CallFault::BadGateway, Some(502), 0).await;
    check(CallFault::UnknownToken, Some(401), 0).await;
    check(CallFault::Drop, None, 0).await;
    check(CallFault::CommitThenServerError, Some(500), 1).await;
    check(CallFault::CommitThenBadGateway, Some(502), 1).await;
    check(CallFault::CommitThenDrop, None, 1).await;
    check(CallFault::CommitThenCut, Some(200), 1).await;
    check(CallFault::Slow { milliseconds: 5 }, Some(200), 1).await;
    check(CallFault::CommitThenSlow { milliseconds: 5 }, Some(200), 1).await;
    place.stop().await;
}

#[tokio::test]
async fn a_call_that_hangs_never_ends_and_is_known_to_have_come() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    for (fault, done) in [(CallFault::Hang, 0), (CallFault::CommitThenHang, 1)] {
        let before = (room.said(), place.home.faults().struck());
        place.home.faults().call(next(fault.clone()));
        let struck = place.home.until(DEADLINE, |home| {
            (home.faults().struck() == before.1 + 1 && room.said() == before.0 + done).then_some(())
        });
        let transaction = format!("{done}");
        tokio::select! {
            answer = room.send(&transaction) => panic!("{fault:?}: {answer:?}"),
            struck = struck => struck.expect("the fault strikes"),
        }
    }
    assert!(place.home.calls().iter().any(|call| call.status.is_none() && call.path.contains("/send/")));
    place.stop().await;
}

#[tokio::test]
async fn a_call_that_is_held_goes_on_when_the_switch_is_cleared_unless_its_client_gave_up() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    place.home.faults().call(CallRule::always(CallClass::Send, CallFault::Hold));
    let held = async |count| {
        place.until("calls to be held", |home| (home.faults().held("/send/") == count).then_some(())).await;
    };
    tokio::select! {
        answer = room.send("1") => panic!("{answer:?}"),
        () = held(1) => {}
    }
    // That client has hung up by now, or is about to.
    held(0).await;
    let (answer, ()) = tokio::join!(room.send("2"), async {
        held(1).await;
        assert_eq!(room.said(), 0);
        place.home.faults().clear();
    });
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    assert_eq!(place.home.texts(&room.room), [(SUPPORT.to_owned(), "2".to_owned())]);
    held(0).await;
    place.stop().await;
}

#[tokio::test]
async fn a_rule_strikes_its_class_its_method_and_its_path_alone() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    let rule = CallRule::always(CallClass::Rooms, CallFault::Forbidden);
    place.home.faults().call(CallRule { path: Some("_desk_7".to_owned()), method: Some("POST".to_owned()), ..rule });
    place.ghost("7").await;
    assert_eq!(room.send("1").await.unwrap().status(), StatusCode::OK);
    place.get(&format!("/v3/joined_rooms?user_id={}", part("@_desk_7:sandbox.test"))).await;
    let path = format!("/v3/createRoom?user_id={}", part("@_desk_7:sandbox.test"));
    // The raw path is what counts, and underscores are not encoded in it by everybody.
    let path = path.replace("%5F", "_");
    place.refused(Method::POST, &path, Some(json!({})), 403, "M_FORBIDDEN").await;
    place.home.faults().clear();
    place.post(&path, json!({})).await;
    place.stop().await;
}

#[tokio::test]
async fn the_switch_and_the_state_are_reached_over_http_and_closed_to_other_pages() {
    let place = Place::fresh().await;
    let room = room(&place).await;
    let base = format!("{}/sandbox/homeserver", place.sandbox.url());
    let post =
        async |path: &str, body: Value| place.client.post(format!("{base}/{path}")).json(&body).send().await.unwrap();
    let sheet =
        json!({"calls": [{"on": "send", "count": 1, "kind": "not_found"}], "socket": [{"kind": "cut_mid_frame"}]});
    assert_eq!(post("faults", sheet).await.json::<Value>().await.unwrap()["socket"][0]["count"], 1);
    assert_eq!(room.send("1").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(post("faults", json!({"call": []})).await.status(), StatusCode::BAD_REQUEST);
    let account: Value = post("accounts", json!({"user": "ada", "password": "x"})).await.json().await.unwrap();
    let token = account["access_token"].as_str().unwrap();
    assert_eq!(place.call_with(token, Method::GET, "/v3/account/whoami", None).await.1["user_id"], account["user_id"]);
    post("raw", json!({"room_id": room.room, "event": {"type": "odd"}})).await;
    let state: Value = place.client.get(format!("{base}/state")).send().await.unwrap().json().await.unwrap();
    assert_eq!(state["rooms"][0]["events"].as_array().unwrap().last().unwrap()["type"], "odd");
    assert!(state["calls"].as_array().unwrap().iter().any(|call| call["status"] == 404));
    assert_eq!(post("strike", json!({"kind": "cut"})).await.status(), StatusCode::NOT_FOUND, "nobody is connected");
    let foreign =
        place.client.get(format!("{base}/state")).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    place.stop().await;
}

#[tokio::test]
async fn a_homeserver_that_is_down_refuses_connections_and_cuts_the_websocket() {
    let place = Place::fresh().await;
    let mut wire = place.socket().await;
    wire.frame().await;
    place.sandbox.go_down().await;
    wire.cut().await;
    assert!(place.socket_with("sandbox-as-token", Some("3")).await.is_err());
    place.sandbox.come_up().await;
    tokio::time::timeout(Duration::from_secs(5), place.socket()).await.expect("it is back").frame().await;
    assert_eq!(place.home.closed().len(), 1);
    place.stop().await;
}
