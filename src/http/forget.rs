//! Forgetting a person while the gateway runs: over the control socket only.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Front;
use crate::store::Whom;

/// Each of them by itself: what was refused for one changes nothing for another.
pub(super) async fn forget(State(front): State<Arc<Front>>, Json(whom): Json<Vec<Whom>>) -> Response {
    let mut forgotten = Vec::new();
    for one in &whom {
        match front.levers.forget(one).await {
            Ok(done) => forgotten.push(done),
            Err(error) => {
                let reason = json!({ "error": error.to_string() });
                return (StatusCode::SERVICE_UNAVAILABLE, Json(reason)).into_response();
            }
        }
    }
    tracing::info!(bridges = whom.len(), "an operator had a person forgotten");
    Json(forgotten).into_response()
}
