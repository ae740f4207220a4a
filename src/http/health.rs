//! `/healthz`: the process lives. `/readyz`: callbacks can be stored, and how each far side is.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bridge_api::BridgeState;
use serde_json::json;

use super::{Front, admin};
use crate::telemetry::Stated;

/// In the place of reasons, which may hold words of strangers: a server's last line, a name, an address.
const WITHHELD: &str = "the reason is told with the admin token, on the status page and in the log";

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The same for whoever bears the admin token, and for anybody with no words but ours in it.
pub(super) async fn ready(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    let whole = admin::is_borne(&front, &headers).await;
    answer(&front, whole).await
}

pub(super) async fn ready_whole(State(front): State<Arc<Front>>) -> Response {
    answer(&front, true).await
}

/// Ready means that a callback would be kept. A bridge or an inbox that is down is shown and changes nothing
/// in that: its messages wait.
async fn answer(front: &Front, whole: bool) -> Response {
    let store = front.store.check().await;
    let stopping = front.board.stopping();
    let ready = store.is_ok() && !stopping;
    let reason = store.err().map(|error| if whole { error.to_string() } else { error.word().to_owned() });
    let store = json!({ "state": if reason.is_some() { "down" } else { "up" }, "reason": reason });
    let shown = |all: BTreeMap<String, Stated>| if whole { all } else { all.into_iter().map(withheld).collect() };
    let body = json!({
        "ready": ready,
        "stopping": stopping,
        "store": store,
        "bridges": shown(front.board.bridges()),
        "inboxes": shown(front.board.inboxes()),
    });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

fn withheld((name, stated): (String, Stated)) -> (String, Stated) {
    let reason = WITHHELD.to_owned();
    let state = match stated.state {
        BridgeState::Degraded { .. } => BridgeState::Degraded { reason },
        BridgeState::Down { .. } => BridgeState::Down { reason },
        state @ (BridgeState::Connecting | BridgeState::Up | BridgeState::Elsewhere) => state,
    };
    (name, Stated { state, ..stated })
}
