//! What operators see and do: a status page for people, and the same as JSON for programs. Everything here needs the
//! admin token, or a visit that began with it; without a token in the settings nothing here answers but to say so.

mod api;
mod asked;
mod board;
mod form;
mod guard;
mod hosts;
mod letters;
mod lever;
mod limit;
mod message;
mod page;
mod search;
mod shell;
mod sign_in;
mod status;
mod visits;
mod words;

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use bridge_api::Secret;

use self::{limit::Limit, visits::Visits};
use super::Front;

pub use hosts::Hosts;

/// Of a form: the keys of all dead letters that one page shows, and more.
const FORM_BYTES_MAX: usize = 512 << 10;

/// Of a token that nobody guesses.
const TOKEN_BYTES_MIN: usize = 16;

/// What the page and the API stand on beside the [`Front`].
pub struct Admin {
    token: RwLock<Option<Secret>>,
    hosts: Hosts,
    limit: Limit,
    visits: Visits,
    /// When this process began, Unix milliseconds.
    started_millis: i64,
}

impl Admin {
    pub fn new(token: Option<Secret>, hosts: Hosts, started_millis: i64) -> Self {
        let (limit, visits) = (Limit::default(), Visits::new());
        Self { token: RwLock::new(usable(token)), hosts, limit, visits, started_millis }
    }

    /// From now on this one is asked for, and whoever came in by the one before has to sign in again.
    pub fn use_token(&self, token: Option<Secret>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = usable(token);
        self.visits.end_all();
    }

    fn token(&self) -> Option<Secret> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An empty one is none: it would let everybody in.
fn usable(token: Option<Secret>) -> Option<Secret> {
    let token = token.filter(|token| !token.expose().is_empty());
    if token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_BYTES_MIN) {
        tracing::warn!("the admin token is so short that it can be guessed: `openssl rand -hex 32` makes a good one");
    }
    token
}

/// Whether the request bears the admin token.
pub(super) async fn is_borne(front: &Front, headers: &HeaderMap) -> bool {
    guard::proven(front, headers).await.is_ok()
}

/// The API, for whoever bears the token.
pub(super) fn api(front: &Arc<Front>) -> Router<Arc<Front>> {
    api::router().layer(from_fn_with_state(front.clone(), guard::bearer))
}

/// The same for the control socket, whose file mode is the guard.
pub(super) fn unguarded() -> Router<Arc<Front>> {
    api::router()
}

/// The page and its forms.
pub(super) fn pages(front: &Arc<Front>) -> Router<Arc<Front>> {
    Router::new()
        .route("/", get(page::show))
        .route("/live", get(page::live))
        .route("/sign-in", post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/letters/retry", post(page::retry))
        .route("/letters/discard", post(page::discard))
        .route("/bridges/{lever}", post(lever::pull))
        .route("/inboxes/sweep", post(lever::sweep))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(front.clone(), guard::host))
}
