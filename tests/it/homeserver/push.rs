//! Transactions over HTTP, to an appservice that the test plays.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use deskbridge::sandbox::homeserver::{HomeserverSettings, SocketFault};
use http_body_util::BodyExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Error;

use super::{DEADLINE, Place, SUPPORT, bodies};

/// Path, token and body of each request, and the answers to come; `{}` when there are none.
#[derive(Clone, Default)]
struct Appservice {
    taken: Arc<Mutex<Vec<(String, String, Value)>>>,
    answers: Arc<Mutex<VecDeque<(StatusCode, &'static str)>>>,
}

impl Appservice {
    async fn start() -> (Self, String, JoinHandle<()>) {
        let played = Self::default();
        let router = Router::new().fallback(take).with_state(played.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a test's own task, aborted at its end")]
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (played, url, serving)
    }

    fn taken(&self) -> Vec<(String, String, Value)> {
        self.taken.lock().unwrap().clone()
    }

    fn will_answer(&self, status: u16, body: &'static str) {
        self.answers.lock().unwrap().push_back((StatusCode::from_u16(status).unwrap(), body));
    }

    /// Every request once there are so many.
    async fn until(&self, place: &Place, count: usize) -> Vec<(String, String, Value)> {
        let found = |_: &_| Some(self.taken()).filter(|taken| taken.len() >= count);
        place.home.until(DEADLINE, found).await.unwrap_or_else(|| panic!("{count} requests: {:?}", self.taken()))
    }
}

async fn take(State(played): State<Appservice>, request: Request) -> (StatusCode, &'static str) {
    let (parts, body) = request.into_parts();
    let token = parts.headers["authorization"].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    played.taken.lock().unwrap().push((parts.uri.to_string(), token, serde_json::from_slice(&body).unwrap()));
    played.answers.lock().unwrap().pop_front().unwrap_or((StatusCode::OK, "{}"))
}

/// A chat whose backlog was taken.
async fn ready() -> (Place, Appservice, String, String, JoinHandle<()>) {
    let (played, url, serving) = Appservice::start().await;
    let settings = HomeserverSettings { push_url: Some(url), ..HomeserverSettings::default() };
    let place = Place::start(settings.hastened(100)).await;
    let (kim, room) = place.joined_chat("kim").await;
    played.until(&place, 2).await;
    played.taken.lock().unwrap().clear();
    (place, played, kim, room, serving)
}

#[tokio::test]
async fn a_transaction_is_put_with_the_homeservers_token_and_repeated_until_it_is_taken() {
    let (place, played, kim, room, serving) = ready().await;
    played.will_answer(500, "{}");
    played.will_answer(200, "no JSON");
    place.home.say(&kim, &room, "Hi").unwrap();
    let taken = played.until(&place, 3).await;
    let (path, bearer, body) = &taken[0];
    assert!(path.starts_with("/_matrix/app/v1/transactions/"), "{path}");
    assert_eq!((bearer.as_str(), bodies(body)), ("Bearer sandbox-hs-token", vec!["Hi"]));
    assert_eq!((&taken[1], &taken[2]), (&taken[0], &taken[0]), "the same id and body");
    place.until("the end of it", |home| (home.undelivered() == 0 && home.is_connected()).then_some(())).await;
    place.home.typing(&kim, &room, true).unwrap();
    let typing = &played.until(&place, 4).await[3].2["ephemeral"][0];
    assert_eq!((&typing["type"], &typing["room_id"]), (&json!("m.typing"), &json!(room)));
    serving.abort();
    place.stop().await;
}

#[tokio::test]
async fn while_it_is_down_events_wait_and_typing_is_lost_and_a_ping_wakes_it() {
    let (played, url, serving) = Appservice::start().await;
    let slow = (Duration::from_mins(5), Duration::from_mins(5));
    let settings = HomeserverSettings { push_url: Some(url), push_retry: slow, ..HomeserverSettings::default() };
    let place = Place::start(settings).await;
    let (kim, room) = place.joined_chat("kim").await;
    played.until(&place, 2).await;
    played.will_answer(503, "{}");
    place.home.say(&kim, &room, "one").unwrap();
    place.until("it to be down", |home| (!home.is_connected()).then_some(())).await;
    place.home.typing(&kim, &room, true).unwrap();
    place.home.say(&kim, &room, "two").unwrap();
    let ping = "/v1/appservice/deskbridge/ping";
    let answer = place.post(ping, json!({"transaction_id": "p1"})).await;
    assert!(answer["duration_ms"].is_number());
    let taken = played.until(&place, 6).await;
    assert_eq!((taken[3].0.as_str(), &taken[3].2), ("/_matrix/app/v1/ping", &json!({"transaction_id": "p1"})));
    assert_eq!((bodies(&taken[4].2), bodies(&taken[5].2)), (vec!["one"], vec!["two"]));
    assert!(taken.iter().skip(2).all(|(_, _, body)| body["ephemeral"].as_array().is_none_or(Vec::is_empty)));
    played.will_answer(401, "no");
    place.refused(Method::POST, ping, Some(json!({})), 502, "M_BAD_STATUS").await;
    place.home.set_push_url(Some("http://127.0.0.1:1".to_owned()));
    place.refused(Method::POST, ping, Some(json!({})), 502, "M_CONNECTION_FAILED").await;
    serving.abort();
    place.stop().await;
}

#[tokio::test]
async fn one_is_lost_one_comes_twice_and_there_is_no_websocket() {
    let (place, played, kim, room, serving) = ready().await;
    place.home.faults().socket(SocketFault::Lose);
    place.home.faults().socket(SocketFault::Duplicate);
    place.home.say(&kim, &room, "lost").unwrap();
    place.home.say(&kim, &room, "twice").unwrap();
    let taken = played.until(&place, 2).await;
    assert_eq!((bodies(&taken[0].2), &taken[1]), (vec!["twice"], &taken[0]));
    assert!(
        matches!(place.socket_with("sandbox-as-token", None).await, Err(Error::Http(answer)) if answer.status() == 401)
    );
    // Back to the websocket, with what was not pushed.
    place.home.set_push_url(None);
    place.home.say(SUPPORT, &room, "by websocket").unwrap();
    let mut wire = place.socket().await;
    wire.frame().await;
    assert_eq!(bodies(&wire.transaction().await), ["by websocket"]);
    serving.abort();
    place.stop().await;
}
