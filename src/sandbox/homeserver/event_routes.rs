//! Calls about events: sending and redacting once, typing, reading, and looking back.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::errors::MatrixError;
use super::house::House;
use super::routes::{Answer, At, Cores, Parsed, Requester, Search, empty, ok};
use super::state::Core;

const TYPING_MS_DEFAULT: i64 = 30_000;
const CONTEXT_DEFAULT: usize = 10;

pub(super) fn routes() -> Router<Arc<Core>> {
    let room = "/_matrix/client/v3/rooms/{room}";
    Router::new()
        .route(&format!("{room}/send/{{kind}}/{{transaction}}"), put(send))
        .route(&format!("{room}/redact/{{event}}/{{transaction}}"), put(redact))
        .route(&format!("{room}/typing/{{user}}"), put(typing))
        .route(&format!("{room}/receipt/{{kind}}/{{event}}"), post(receipt))
        .route(&format!("{room}/read_markers"), post(read_markers))
        .route(&format!("{room}/messages"), get(messages))
        .route(&format!("{room}/event/{{event}}"), get(event))
        .route(&format!("{room}/context/{{event}}"), get(context))
}

/// Does a thing once for each path and token: a repetition gets the first answer.
///
/// An appservice has one memory for all its users: whoever repeats a path, under whatever name, says nothing new.
fn once(
    core: &Core,
    requester: &Requester,
    path: &str,
    transaction: &str,
    work: impl FnOnce(&mut House) -> Result<String, MatrixError>,
) -> Answer {
    let key = (path.to_owned(), requester.access.clone());
    let event = core.change(|house| {
        if let Some(event) = house.sent.get(&key) {
            return Ok(event.clone());
        }
        let event = work(house)?;
        house.note_transaction(&event, &requester.access, transaction);
        house.sent.insert(key, event.clone());
        Ok::<_, MatrixError>(event)
    })?;
    ok(&json!({"event_id": event}))
}

async fn send(
    State(core): Cores,
    requester: Requester,
    uri: Uri,
    At((room, kind, transaction)): At<(String, String, String)>,
    Query(query): Search,
    Parsed(body): Parsed,
) -> Answer {
    let ts = query.get("ts").filter(|_| requester.by_appservice).and_then(|ts| ts.parse().ok());
    once(&core, &requester, uri.path(), &transaction, |house| house.send(&requester.user, &room, &kind, &body, ts))
}

async fn redact(
    State(core): Cores,
    requester: Requester,
    uri: Uri,
    At((room, target, transaction)): At<(String, String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    let reason = body["reason"].as_str();
    once(&core, &requester, uri.path(), &transaction, |house| house.redact(&requester.user, &room, &target, reason))
}

async fn typing(
    State(core): Cores,
    requester: Requester,
    At((room, user)): At<(String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    if user != requester.user {
        return Err(MatrixError::bad("M_FORBIDDEN", "Cannot set another user's typing state"));
    }
    let on = body["typing"].as_bool();
    let on = on.ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing params: ['typing']"))?;
    let timeout = body["timeout"].as_i64().unwrap_or(TYPING_MS_DEFAULT);
    core.change(|house| house.typing(&user, &room, on, timeout))?;
    empty()
}

async fn receipt(
    State(core): Cores,
    requester: Requester,
    At((room, kind, event)): At<(String, String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    core.change(|house| house.read(&requester.user, &room, &kind, &event, body["thread_id"].as_str()))?;
    empty()
}

async fn read_markers(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| {
        for kind in ["m.fully_read", "m.read", "m.read.private"] {
            if let Some(event) = body[kind].as_str() {
                house.read(&requester.user, &room, kind, event, None)?;
            }
        }
        Ok::<_, MatrixError>(())
    })?;
    empty()
}

async fn messages(State(core): Cores, requester: Requester, At(room): At<String>, Query(query): Search) -> Answer {
    let text = |key: &str| query.get(key).map(String::as_str).filter(|text| !text.is_empty());
    let backwards = match text("dir") {
        Some("b") => true,
        Some("f") => false,
        _ => return Err(MatrixError::bad("M_MISSING_PARAM", "Missing required query parameter 'dir'")),
    };
    let limit = text("limit").and_then(|limit| limit.parse().ok());
    let page =
        core.look(|house| house.messages(&requester.user, &room, (text("from"), text("to")), backwards, limit))?;
    ok(&page)
}

async fn event(State(core): Cores, requester: Requester, At((room, event)): At<(String, String)>) -> Answer {
    let shown = |house: &House| {
        let found = house.visible_event(&requester.user, &room, &event)?;
        Ok::<Value, MatrixError>(found.shown(house.now_ms, Some(&requester.access)))
    };
    ok(&core.look(shown)?)
}

async fn context(
    State(core): Cores,
    requester: Requester,
    At((room, event)): At<(String, String)>,
    Query(query): Search,
) -> Answer {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(CONTEXT_DEFAULT);
    ok(&core.look(|house| house.context(&requester.user, &room, &event, limit))?)
}
