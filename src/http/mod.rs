//! The gateway's own listener: the callback door, health, and what operators ask. It sends nothing to
//! either side.

mod admin;
mod callbacks;
mod crowd;
mod forget;
mod health;
mod metrics;
pub mod serve;
mod trial;
mod watches;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use bridge_api::Secret;

use crate::{clock::Clock, intake::Intake, store::Store, telemetry::StateBoard};

pub use callbacks::{BODY_BYTES_MAX, Door, Proof};
pub use trial::{Trial, trial};
pub use watches::{Heard, Watches};

/// What the handlers stand on.
pub struct Front {
    pub intake: Arc<Intake>,
    pub store: Arc<dyn Store>,
    pub board: Arc<StateBoard>,
    pub clock: Clock,
    /// By the inbox's configured name.
    pub doors: HashMap<String, Door>,
    /// Without one, `/admin` answers nobody.
    pub admin_token: Option<Secret>,
    /// Messages that a look at the wiring waits for.
    pub watches: Watches,
}

/// What anybody may reach.
pub fn public(front: Arc<Front>) -> Router {
    Router::new()
        .route("/callbacks/{inbox}", post(callbacks::take))
        .route("/callbacks/{inbox}/{token}", post(callbacks::take_with_token))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .nest("/admin", admin::router().layer(axum::middleware::from_fn_with_state(front.clone(), admin::guard)))
        .with_state(front)
}

/// The same for the control socket, whose file mode is the guard.
pub fn control(front: Arc<Front>) -> Router {
    Router::new()
        .route("/readyz", get(health::ready))
        .route("/admin/forget", post(forget::forget))
        .nest("/admin", admin::router().merge(watches::router()))
        .with_state(front)
}
