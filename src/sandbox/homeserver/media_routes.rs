//! Files in and out. Only the authenticated paths serve them, as on every server of today.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::json;

use super::errors::MatrixError;
use super::house::Medium;
use super::routes::{Answer, At, Cores, Requester, Search, ok};
use super::state::Core;

/// What Synapse shows in place; everything else is for saving.
const INLINE: [&str; 12] = [
    "text/css",
    "text/plain",
    "application/json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/webm",
    "audio/mpeg",
    "audio/ogg",
    "audio/webm",
];

pub(super) fn routes() -> Router<Arc<Core>> {
    let media = "/_matrix/client/v1/media";
    Router::new()
        .route("/_matrix/media/v3/upload", post(upload))
        .route("/_matrix/media/v3/config", get(config))
        .route("/_matrix/media/v3/download/{server}/{id}", any(frozen))
        .route("/_matrix/media/v3/download/{server}/{id}/{name}", any(frozen))
        .route("/_matrix/media/v3/thumbnail/{server}/{id}", any(frozen))
        .route(&format!("{media}/config"), get(config))
        .route(&format!("{media}/download/{{server}}/{{id}}"), get(download))
        .route(&format!("{media}/download/{{server}}/{{id}}/{{name}}"), get(download_as))
        .route(&format!("{media}/thumbnail/{{server}}/{{id}}"), get(thumbnail))
}

async fn upload(
    State(core): Cores,
    _requester: Requester,
    Query(query): Search,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream");
    let name = query.get("filename").map(String::as_str);
    let address = core.change(|house| house.upload(content_type, name, bytes));
    ok(&json!({"content_uri": address}))
}

async fn config(State(core): Cores, _requester: Requester) -> Answer {
    ok(&json!({"m.upload.size": core.settings.upload_bytes_max}))
}

/// The paths of before authenticated media: new files are not there.
async fn frozen() -> MatrixError {
    MatrixError::missing("Not found")
}

async fn download(core: Cores, requester: Requester, At((server, id)): At<(String, String)>) -> Answer {
    serve(core, requester, &server, &id, None)
}

async fn download_as(
    core: Cores,
    requester: Requester,
    At((server, id, name)): At<(String, String, String)>,
) -> Answer {
    serve(core, requester, &server, &id, Some(&name))
}

/// Nothing is scaled here: a picture is its own thumbnail.
async fn thumbnail(State(core): Cores, _requester: Requester, At((server, id)): At<(String, String)>) -> Answer {
    let found = core.look(|house| house.medium(&server, &id).cloned());
    let found = found.filter(|medium| medium.content_type.starts_with("image/"));
    found.map(|medium| whole(&medium, None)).ok_or_else(|| MatrixError::missing("Not found"))
}

fn serve(State(core): Cores, _requester: Requester, server: &str, id: &str, name: Option<&str>) -> Answer {
    let found = core.look(|house| house.medium(server, id).cloned());
    found.map(|medium| whole(&medium, name)).ok_or_else(|| MatrixError::missing("Not found"))
}

/// The file with headers under which nothing in it can run.
pub(super) fn whole(medium: &Medium, name: Option<&str>) -> Response {
    let octets = HeaderValue::from_static("application/octet-stream");
    let bare = medium.content_type.split(';').next().unwrap_or_default().trim();
    let manner = if INLINE.contains(&bare) { "inline" } else { "attachment" };
    let disposition = match name.or(medium.name.as_deref()) {
        Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) => {
            format!("{manner}; filename={name}")
        }
        Some(name) => format!("{manner}; filename*=utf-8''{}", escaped(name)),
        None => manner.to_owned(),
    };
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&medium.content_type).unwrap_or(octets)),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    ];
    (headers, medium.bytes.clone()).into_response()
}

/// Percent-encodes everything that is not unreserved.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    text
}
