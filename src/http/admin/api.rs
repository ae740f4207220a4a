//! What operators see and do, as JSON for programs: everything that the page shows, in pieces where it is long.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bridge_api::Key;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{asked, lever, search, status::Status};
use crate::{
    http::Front,
    model::EnvelopeId,
    store::{DeadLetter, Listed, RowMark, Rows, StoreError},
};

/// Rows of one list.
const ROWS_MAX: usize = 10_000;
/// Keys of one order.
const KEYS_MAX: usize = 10_000;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/status", get(status))
        .route("/search", get(find))
        .route("/bridges/{name}/{lever}", post(lever::pull_by_api))
        .route("/inboxes/{name}/sweep", post(lever::sweep_by_api))
        .route("/outbox", get(list))
        .route("/outbox/entry", get(show))
        .route("/outbox/retry", post(retry))
        .route("/outbox/discard", post(discard))
}

#[derive(Deserialize)]
struct Entry {
    key: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

/// Which part of the lists.
#[derive(Deserialize)]
struct Part {
    sink: Option<String>,
    state: Option<Which>,
    /// `next` of the answer before.
    after: Option<String>,
    count: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    Waiting,
    Dead,
}

#[derive(Deserialize)]
struct Search {
    q: String,
    before: Option<i64>,
}

async fn status(State(front): State<Arc<Front>>) -> Response {
    Json(Status::now(&front).await).into_response()
}

async fn find(State(front): State<Arc<Front>>, Query(Search { q, before }): Query<Search>) -> Response {
    match search::search(&front, q.trim(), before.map(EnvelopeId)).await {
        Ok(found) => Json(found).into_response(),
        Err(error) => failed(&error),
    }
}

/// Both lists, or with `state` one of them, which can be read on from `after`.
async fn list(State(front): State<Arc<Front>>, Query(part): Query<Part>) -> Response {
    let after = match part.after.as_deref().map(asked::mark) {
        None => None,
        Some(Some(mark)) if part.state.is_some() => Some(mark),
        Some(Some(_)) => return refuse(StatusCode::BAD_REQUEST, "`after` needs `state=waiting` or `state=dead`"),
        Some(None) => return refuse(StatusCode::BAD_REQUEST, "`after` is the `next` of an answer"),
    };
    let rows = Rows { sink: part.sink, after, count_max: part.count.unwrap_or(ROWS_MAX).min(ROWS_MAX) };
    match lists(&front, &rows, part.state).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => failed(&error),
    }
}

async fn lists(front: &Front, rows: &Rows, state: Option<Which>) -> Result<Value, StoreError> {
    let mut answer = json!({ "depth": front.store.depth().await? });
    let mut next = None;
    if state != Some(Which::Waiting) {
        let dead = front.store.dead_rows(rows).await?;
        next = dead.last().map(mark_of_letter).filter(|_| dead.len() == rows.count_max);
        answer["dead"] = json!(dead);
    }
    if state != Some(Which::Dead) {
        let waiting = front.store.list_rows(rows).await?;
        next = waiting.last().map(mark_of_row).filter(|_| waiting.len() == rows.count_max);
        answer["waiting"] = json!(waiting);
    }
    if state.is_some() {
        answer["next"] = json!(next.map(asked::written));
    }
    Ok(answer)
}

fn mark_of_letter(letter: &DeadLetter) -> RowMark {
    RowMark { at_millis: letter.died_millis, id: letter.id }
}

fn mark_of_row(row: &Listed) -> RowMark {
    RowMark { at_millis: row.due_millis, id: row.id }
}

async fn show(State(front): State<Arc<Front>>, Query(entry): Query<Entry>) -> Response {
    match front.store.history(&Key::from(entry.key.as_str())).await {
        Ok(Some(history)) => Json(history).into_response(),
        Ok(None) => refuse(StatusCode::NOT_FOUND, "no envelope has this key; `outbox list` shows those that wait"),
        Err(error) => failed(&error),
    }
}

async fn retry(State(front): State<Arc<Front>>, Json(keys): Json<Keys>) -> Response {
    let Ok(keys) = bounded(keys) else { return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too many keys at once") };
    let asked = keys.len();
    match front.intake.revive(keys).await {
        Ok(revived) => Json(json!({ "revived": revived, "asked": asked })).into_response(),
        Err(error) => failed(&error),
    }
}

async fn discard(State(front): State<Arc<Front>>, Json(keys): Json<Keys>) -> Response {
    let Ok(keys) = bounded(keys) else { return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too many keys at once") };
    match front.store.discard(&keys, front.clock.now()).await {
        Ok(discarded) => Json(json!({ "discarded": discarded, "asked": keys.len() })).into_response(),
        Err(error) => failed(&error),
    }
}

fn bounded(keys: Keys) -> Result<Vec<Key>, ()> {
    if keys.keys.len() > KEYS_MAX { Err(()) } else { Ok(keys.keys.into_iter().map(Key::from).collect()) }
}

fn failed(error: &StoreError) -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
}

pub(super) fn refuse(status: StatusCode, reason: &str) -> Response {
    let body: Json<Value> = Json(json!({ "error": reason }));
    (status, body).into_response()
}
