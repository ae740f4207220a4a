//! The inbox's callbacks: signed, unordered, told once each time and never again. One that fails marks its message
//! failed, as Chatwoot does.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tower::ServiceExt;

use super::{Inbox, Kind, Message, SECRET, shapes};
use crate::{
    process::Process,
    weather::{Strike, lock},
    world::Broken,
};

/// What Chatwoot waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Where callbacks go at the moment.
#[derive(Clone, Debug)]
pub(crate) struct CallbackDoor {
    pub(crate) process: Arc<Process>,
    pub(crate) router: Router,
}

impl Inbox {
    /// Callbacks go there from now on, and to no other.
    pub(crate) fn open_door(&self, door: CallbackDoor) {
        *lock(&self.doors) = vec![door];
    }
    /// There too.
    pub(crate) fn open_another(&self, door: CallbackDoor) {
        lock(&self.doors).push(door);
    }
    /// Unless another process has one by now.
    pub(crate) fn close_door(&self, of: u32) {
        lock(&self.doors).retain(|door| door.process.number != of);
    }

    /// Any of those that are open. Nobody has noticed yet who died.
    fn door(&self) -> Option<CallbackDoor> {
        let doors = lock(&self.doors);
        let place = if doors.len() > 1 { self.weather.below(doors.len()) } else { 0 };
        doors.get(place).cloned()
    }

    pub(super) fn announce(&self, message: &Message, event: &'static str) {
        if message.kind == Kind::Activity {
            return;
        }
        let body = {
            let state = lock(&self.state);
            let Some(conversation) = state.living(message.conversation) else { return };
            let mut body = shapes::of_message(event, message, conversation);
            if self.broken == Broken::BlursNotes {
                body["private"] = Value::Bool(false);
            }
            body
        };
        self.send_callback(event, Some(message.id), &body);
    }

    /// Sends it on its way, once or several times, sooner or later.
    pub(super) fn send_callback(&self, event: &'static str, message: Option<i64>, body: &Value) {
        let Some(inbox) = self.me.upgrade() else { return };
        // Only what an agent wrote can be found again by asking.
        let can_be_found = event == "message_created" && body["message_type"] == "outgoing";
        if can_be_found && self.weather.strikes(Strike::CallbackWithheld) {
            self.weather.say(&format!("inbox: the callback of {message:?} is withheld"));
            return;
        }
        let copies = if self.weather.strikes(Strike::CallbackRepeated) { 3 } else { 1 };
        let raw = body.to_string();
        for _ in 0..copies {
            let late = self.weather.strikes(Strike::CallbackLate);
            let delay = if late { self.weather.between(300, 90_000) } else { self.weather.between(1, 220) };
            let (inbox, raw) = (inbox.clone(), raw.clone());
            self.weather.tasks.spawn(async move {
                tokio::time::sleep(delay).await;
                let failure = inbox.deliver(&raw).await;
                if let (Some(failure), Some(message)) = (failure, message) {
                    inbox.mark(message, "failed", Some(failure.to_owned()));
                }
            });
        }
    }

    /// Why Chatwoot thinks that it failed.
    async fn deliver(&self, raw: &str) -> Option<&'static str> {
        if self.weather.strikes(Strike::CallbackCutBefore) {
            return Some("Connection reset by peer");
        }
        let Some(door) = self.door().filter(|door| !door.process.is_dead()) else {
            self.weather.met(Strike::CallbackUnanswered);
            return Some("Connection refused");
        };
        let request = signed(raw, self.now() / 1000);
        let answered = tokio::time::timeout(ANSWER_LIMIT, door.router.oneshot(request)).await;
        if self.weather.strikes(Strike::CallbackCutAfter) {
            return Some("end of file reached");
        }
        match answered {
            Ok(Ok(response)) if response.status().is_success() => None,
            Ok(Ok(response)) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Some("503 Service Unavailable"),
            Ok(Ok(response)) => {
                self.weather.violation(format!("a callback was answered {}", response.status()));
                Some("refused")
            }
            Ok(Err(never)) => match never {},
            Err(_) => {
                self.weather.met(Strike::CallbackUnanswered);
                Some("Net::ReadTimeout")
            }
        }
    }
}

/// As Chatwoot signs it.
pub(crate) fn signed(raw: &str, now_seconds: i64) -> Request<Body> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{now_seconds}.{raw}").as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    Request::post("/callbacks/support")
        .header("content-type", "application/json")
        .header("x-chatwoot-timestamp", now_seconds)
        .header("x-chatwoot-signature", signature)
        .body(Body::from(raw.to_owned()))
        .expect("plain headers")
}
