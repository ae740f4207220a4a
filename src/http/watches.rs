//! Watches for single messages: whether a callback about one came, and what it was answered. Asked for by a look at the
//! wiring, through the control socket. Keeps nothing but that, for a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Front;
use crate::chatwoot::callback::parse;

/// Messages that are watched for at once.
const WATCHES_MAX: usize = 16;
/// Callbacks that are remembered of one message.
const HEARD_MAX: usize = 8;
const WATCH_MILLIS: i64 = 60_000;
/// Longest source id that is watched for.
const SOURCE_ID_BYTES_MAX: usize = 200;

/// Messages that somebody waits for.
#[derive(Debug, Default)]
pub struct Watches(Mutex<Vec<Watch>>);

#[derive(Debug)]
struct Watch {
    source_id: String,
    until_millis: i64,
    heard: Vec<Heard>,
}

/// One callback about a watched message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Which inbox's address it came to.
    pub inbox: String,
    /// The status that it was answered with.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<String>,
}

impl Watches {
    /// Watches for a message. False when there is no place for one more.
    pub fn begin(&self, source_id: &str, now_millis: i64) -> bool {
        let mut watches = self.lock();
        watches.retain(|watch| watch.until_millis > now_millis && watch.source_id != source_id);
        let fits = watches.len() < WATCHES_MAX && source_id.len() <= SOURCE_ID_BYTES_MAX;
        if fits {
            let (source_id, until_millis) = (source_id.to_owned(), now_millis + WATCH_MILLIS);
            watches.push(Watch { source_id, until_millis, heard: Vec::new() });
        }
        fits
    }

    /// What came of a watched message.
    pub fn heard(&self, source_id: &str) -> Vec<Heard> {
        let watches = self.lock();
        watches.iter().find(|watch| watch.source_id == source_id).map(|watch| watch.heard.clone()).unwrap_or_default()
    }

    /// Notes what a callback was answered, when it is about a watched message. The body may be anybody's: it is only
    /// compared. Says whether it was watched for.
    pub(super) fn see(&self, inbox: &str, body: &[u8], refused: Option<&(StatusCode, String)>) -> bool {
        if self.lock().is_empty() {
            return false;
        }
        let Ok(callback) = parse(body) else { return false };
        let Some(source_id) = callback.source_id.as_deref() else { return false };
        let mut watches = self.lock();
        let Some(watch) = watches.iter_mut().find(|watch| watch.source_id == source_id) else { return false };
        if watch.heard.len() < HEARD_MAX {
            let status = refused.map_or(StatusCode::OK, |(status, _)| *status).as_u16();
            let reason = refused.map(|(_, reason)| reason.trim().to_owned());
            watch.heard.push(Heard { inbox: inbox.to_owned(), status, reason });
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/watches", post(begin).get(heard))
}

#[derive(Deserialize)]
struct Watched {
    source_id: String,
}

async fn begin(State(front): State<Arc<Front>>, Json(watched): Json<Watched>) -> Response {
    if front.watches.begin(&watched.source_id, front.clock.now()) {
        return Json(json!({ "watching": watched.source_id })).into_response();
    }
    let reason = "too many messages are watched for; try again in a minute";
    (StatusCode::TOO_MANY_REQUESTS, Json(json!({ "error": reason }))).into_response()
}

async fn heard(State(front): State<Arc<Front>>, Query(watched): Query<Watched>) -> Response {
    Json(json!({ "heard": front.watches.heard(&watched.source_id) })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"event":"message_created","id":1,"source_id":"w/1"}"#;

    #[test]
    fn what_is_watched_for_is_noted_with_its_answer_and_nothing_else_is() {
        let watches = Watches::default();
        assert!(!watches.see("support", BODY, None), "nobody watches");
        assert!(watches.begin("w/1", 0));
        for other in [&b"hello"[..], b"[]", b"{}", br#"{"source_id":"w/2"}"#, br#"{"source_id":3}"#] {
            assert!(!watches.see("support", other, None));
        }
        assert!(watches.see("support", BODY, Some(&(StatusCode::UNAUTHORIZED, "no\n".to_owned()))));
        assert!(watches.see("sales", BODY, None));
        let heard = |inbox: &str, status, reason: Option<&str>| Heard {
            inbox: inbox.to_owned(),
            status,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(watches.heard("w/1"), [heard("support", 401, Some("no")), heard("sales", 200, None)]);
        assert_eq!(watches.heard("w/2"), []);
    }

    #[test]
    fn watches_and_what_they_note_are_bounded_and_end_by_themselves() {
        let watches = Watches::default();
        assert!(!watches.begin(&"w".repeat(SOURCE_ID_BYTES_MAX + 1), 0));
        assert!((0..WATCHES_MAX).all(|n| watches.begin(&format!("w/{n}"), 0)));
        assert!(!watches.begin("one more", 1));
        assert!((0..HEARD_MAX * 2).all(|_| watches.see("support", BODY, None)));
        assert_eq!(watches.heard("w/1").len(), HEARD_MAX);
        assert!(watches.begin("one more", WATCH_MILLIS + 1));
        assert_eq!(watches.heard("w/1"), []);
    }
}
