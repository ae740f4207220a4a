//! What operators see and do, as JSON: what waits, what was given up, one message's whole history.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bridge_api::Key;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Front;
use crate::store::StoreError;

/// Rows of one list.
const ROWS_MAX: usize = 10_000;
/// Keys of one order.
const KEYS_MAX: usize = 10_000;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/outbox", get(list))
        .route("/outbox/entry", get(show))
        .route("/outbox/retry", post(retry))
        .route("/outbox/discard", post(discard))
}

/// Lets only the holder of the admin token through.
pub(super) async fn guard(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    match &front.admin_token {
        Some(token) if bears(request.headers(), token.expose()) => next.run(request).await,
        Some(_) => refuse(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong"),
        None => refuse(StatusCode::NOT_FOUND, "there is no `gateway.admin_token` in the settings"),
    }
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    // Compared as hashes, so that the time taken says nothing about the token.
    given.is_some_and(|given| !token.is_empty() && Sha256::digest(given) == Sha256::digest(token))
}

#[derive(Deserialize)]
struct Entry {
    key: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

async fn list(State(front): State<Arc<Front>>) -> Response {
    let (depth, dead, waiting) =
        match tokio::try_join!(front.store.depth(), front.store.dead(ROWS_MAX), front.store.list(ROWS_MAX)) {
            Ok(all) => all,
            Err(error) => return failed(&error),
        };
    Json(json!({ "depth": depth, "dead": dead, "waiting": waiting })).into_response()
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

fn refuse(status: StatusCode, reason: &str) -> Response {
    let body: Json<Value> = Json(json!({ "error": reason }));
    (status, body).into_response()
}
