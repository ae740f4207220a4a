//! The gateway's own listener: the callback door, health, and what operators see and ask. It sends nothing to
//! either side.

mod admin;
mod callbacks;
mod crowd;
mod forget;
mod health;
mod levers;
mod metrics;
pub mod serve;
mod trial;
mod watches;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};

use crate::{clock::Clock, intake::Intake, store::Store, telemetry::StateBoard};

pub use admin::{Admin, Hosts};
pub use callbacks::{BODY_BYTES_MAX, Door, Proof};
pub use levers::{Lever, Levers, Pulled};
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
    /// Who may ask what stands on the status page and in `/admin`.
    pub admin: Admin,
    /// What can be done to bridges.
    pub levers: Arc<dyn Levers>,
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
        .nest("/admin", admin::api(&front))
        .merge(admin::pages(&front))
        .with_state(front)
}

/// The same for the control socket, whose file mode is the guard.
pub fn control(front: Arc<Front>) -> Router {
    Router::new()
        .route("/readyz", get(health::ready_whole))
        .route("/admin/forget", post(forget::forget))
        .nest("/admin", admin::unguarded().merge(watches::router()))
        .with_state(front)
}
