//! The table of paths, the token check, and the small extractors that answer in Chatwoot's words.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::{Refusal, body};
use super::{
    Shared, agent_routes, contact_routes, conversation_routes, file_routes, homeserver, inbox_routes, mail,
    public_routes,
};

pub(super) type Desks = State<Arc<Shared>>;
pub(super) type Answer = Result<Response, Refusal>;
pub(super) type Search = axum::extract::Query<HashMap<String, String>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let customers = shared.homeserver.clone().map(homeserver::customer_routes).unwrap_or_default();
    let post = shared.post.clone().map(mail::routes).unwrap_or_default();
    Router::new()
        .merge(contact_routes::routes())
        .merge(conversation_routes::routes())
        .merge(inbox_routes::routes())
        .merge(file_routes::routes())
        .merge(agent_routes::routes())
        .merge(public_routes::routes())
        .fallback(no_route)
        // The server has read the body already, and limited it.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(shared)
        .merge(customers.layer(axum::extract::DefaultBodyLimit::disable()))
        .merge(post.layer(axum::extract::DefaultBodyLimit::disable()))
}

#[expect(clippy::unnecessary_wraps, reason = "the last word of calls that may be refused")]
/// 200 with a body. Chatwoot answers 200 to creates too.
pub(super) fn ok(value: &Value) -> Answer {
    Ok(body(StatusCode::OK, value))
}

#[expect(clippy::unnecessary_wraps, reason = "the last word of calls that may be refused")]
/// 200 without a body.
pub(super) fn ok_empty() -> Answer {
    use axum::response::IntoResponse;
    Ok(StatusCode::OK.into_response())
}

/// Lets requests of the application API pass that carry the token and name the account.
pub(super) fn authorise(shared: &Shared, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(rest) = path.strip_prefix("/api/v1/") else { return Ok(()) };
    // Rack makes one variable of both spellings.
    let token = headers.get("api-access-token").or_else(|| headers.get("api_access_token")).ok_or(Refusal::SignIn)?;
    if token.as_bytes() != shared.settings.api_access_token.as_bytes() {
        return Err(Refusal::UnknownToken);
    }
    let Some(account) = rest.strip_prefix("accounts/").and_then(|rest| rest.split('/').next()) else { return Ok(()) };
    if account.parse() == Ok(shared.settings.account_id) { Ok(()) } else { Err(Refusal::Missing) }
}

pub(super) fn administrators_only(shared: &Shared) -> Result<(), Refusal> {
    if shared.settings.role.is_administrator() { Ok(()) } else { Err(Refusal::NotPermitted) }
}

async fn no_route(headers: HeaderMap) -> Refusal {
    let wants_json = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    Refusal::NoRoute { json: wants_json.is_some_and(|accept| accept.contains("json")) }
}

/// Numbers from the path. What is no number is no record: 404.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(found) = Path::<T>::from_request_parts(parts, state).await.map_err(|_| Refusal::Missing)?;
        Ok(Self(found))
    }
}

/// The page of a list, from 1.
pub(super) fn page(search: &HashMap<String, String>) -> usize {
    search.get("page").and_then(|page| page.parse().ok()).filter(|page| *page > 0).unwrap_or(1)
}

/// One page of a list.
pub(super) fn paged<T>(rows: &[T], page: usize, size: usize) -> &[T] {
    let from = (page - 1).saturating_mul(size).min(rows.len());
    &rows[from..rows.len().min(from + size)]
}
