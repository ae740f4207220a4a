//! The callback door while no gateway runs: looks at who knocks as the gateway would, keeps nothing, and says so.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};

use super::{
    Proof, Watches,
    callbacks::{prove, read},
    health,
};
use crate::{chatwoot::callback::parse, clock::Clock};

/// What it stands on.
pub struct Trial {
    pub watches: Watches,
    pub clock: Clock,
    /// By the inbox's configured name.
    pub proofs: HashMap<String, Proof>,
}

/// The addresses of a gateway, as far as a help desk needs them.
pub fn trial(trial: Arc<Trial>) -> Router {
    Router::new()
        .route("/callbacks/{inbox}", post(knock))
        .route("/callbacks/{inbox}/{token}", post(knock_with_token))
        .route("/healthz", get(health::alive))
        .with_state(trial)
}

type Answer = Result<&'static str, (StatusCode, String)>;

async fn knock(State(trial): State<Arc<Trial>>, Path(inbox): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    look(&trial, &inbox, None, &headers, body).await
}

async fn knock_with_token(
    State(trial): State<Arc<Trial>>,
    Path((inbox, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    look(&trial, &inbox, Some(&token), &headers, body).await
}

async fn look(trial: &Trial, inbox: &str, token: Option<&str>, headers: &HeaderMap, body: Body) -> Answer {
    let proof = trial.proofs.get(inbox).ok_or_else(|| (StatusCode::NOT_FOUND, "no such inbox\n".to_owned()))?;
    let body = read(body).await?;
    let proved = prove(proof, trial.clock, token, headers, &body).await;
    let watched = trial.watches.see(inbox, &body, proved.as_ref().err());
    proved?;
    // A true message must not count as delivered: marked as failed it is found by the gateway's first sweep.
    let is_order = parse(&body).is_ok_and(|callback| callback.message_id.is_some());
    if is_order && !watched {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the gateway does not run\n".to_owned()));
    }
    Ok("ignored\n")
}
