//! `/healthz`: the process lives. `/readyz`: callbacks can be stored, and how each far side is.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Front;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means that a callback would be kept. A bridge or an inbox that is down is shown and changes nothing
/// in that: its messages wait.
pub(super) async fn ready(State(front): State<Arc<Front>>) -> Response {
    let store = front.store.check().await;
    let stopping = front.board.stopping();
    let ready = store.is_ok() && !stopping;
    let reason = store.err().map(|error| error.to_string());
    let store = json!({ "state": if reason.is_some() { "down" } else { "up" }, "reason": reason });
    let body = json!({
        "ready": ready,
        "stopping": stopping,
        "store": store,
        "bridges": front.board.bridges(),
        "inboxes": front.board.inboxes(),
    });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}
