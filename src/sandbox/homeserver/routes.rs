//! The table of paths, who asks, and the small extractors that answer in Matrix's words.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::errors::{MatrixError, json_body};
use super::state::Core;
use super::{account_routes, event_routes, media_routes, room_routes};

pub(super) type Cores = State<Arc<Core>>;
pub(super) type Answer = Result<Response, MatrixError>;
pub(super) type Search = Query<HashMap<String, String>>;

/// Transactions of an appservice are remembered by path alone, whoever it speaks as.
const APPSERVICE: &str = "appservice";

pub(in crate::sandbox) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .merge(account_routes::routes())
        .merge(room_routes::routes())
        .merge(event_routes::routes())
        .merge(media_routes::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        // The body was read already, and limited.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(core)
}

#[expect(clippy::unnecessary_wraps, reason = "the last word of calls that may be refused")]
pub(super) fn ok(value: &Value) -> Answer {
    Ok(json_body(StatusCode::OK, value))
}

pub(super) fn empty() -> Answer {
    ok(&serde_json::json!({}))
}

async fn no_route() -> MatrixError {
    MatrixError::unrecognised(StatusCode::NOT_FOUND)
}

async fn no_method() -> MatrixError {
    MatrixError::unrecognised(StatusCode::METHOD_NOT_ALLOWED)
}

/// Whoever a call is made as.
pub(super) struct Requester {
    pub(super) user: String,
    pub(super) device: Option<String>,
    /// The token's owner in the memory of transactions.
    pub(super) access: String,
    pub(super) by_appservice: bool,
}

/// The token, from the header or from the query as of old.
pub(super) fn token_of(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let header = header.and_then(|value| value.strip_prefix("Bearer ")).map(ToOwned::to_owned);
    header.or_else(|| query_of(parts).remove("access_token"))
}

pub(super) fn query_of(parts: &Parts) -> HashMap<String, String> {
    Query::try_from_uri(&parts.uri).map(|Query(query)| query).unwrap_or_default()
}

impl FromRequestParts<Arc<Core>> for Requester {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, MatrixError> {
        let missing = || MatrixError::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token");
        let token = token_of(parts).ok_or_else(missing)?;
        if token != core.settings.as_token {
            let access = core.look(|house| house.tokens.get(&token).cloned()).ok_or_else(MatrixError::unknown_token)?;
            let key = format!("{}|{}", access.user, access.device);
            return Ok(Self { user: access.user, device: Some(access.device), access: key, by_appservice: false });
        }
        let mut query = query_of(parts);
        let device = query.remove("device_id");
        let Some(user) = query.remove("user_id") else {
            // Synapse trips over a device without a user.
            return if device.is_some() {
                Err(MatrixError::internal())
            } else {
                let user = core.settings.sender();
                Ok(Self { user, device, access: APPSERVICE.to_owned(), by_appservice: true })
            };
        };
        if !core.settings.owns(&user) {
            return Err(MatrixError::forbidden(format!(
                "Application service cannot masquerade as this user ({user})."
            )));
        }
        // Registering is how a user comes to be, so it needs none.
        let registers = parts.uri.path().ends_with("/register");
        if !registers && !core.look(|house| house.users.contains_key(&user)) {
            return Err(MatrixError::forbidden(format!("Application service has not registered this user ({user})")));
        }
        Ok(Self { user, device, access: APPSERVICE.to_owned(), by_appservice: true })
    }
}

/// Decoded segments of the path.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MatrixError> {
        let no_route = |_| MatrixError::unrecognised(StatusCode::NOT_FOUND);
        let Path(found) = Path::<T>::from_request_parts(parts, state).await.map_err(no_route)?;
        Ok(Self(found))
    }
}

/// A body of JSON; an empty one where a call takes none is an empty object.
pub(super) struct Parsed(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Parsed {
    type Rejection = MatrixError;

    async fn from_request(request: Request, state: &S) -> Result<Self, MatrixError> {
        let optional = request.method() == axum::http::Method::POST;
        let not_json = || MatrixError::bad("M_NOT_JSON", "Content not JSON.");
        let bytes = Bytes::from_request(request, state).await.map_err(|_| not_json())?;
        if bytes.is_empty() && optional {
            return Ok(Self(serde_json::json!({})));
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| not_json())?;
        if !value.is_object() {
            return Err(MatrixError::bad_json("Content must be a JSON object."));
        }
        Ok(Self(value))
    }
}
