//! Uploads and the two steps of a download: a lasting address that redirects to one for five minutes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::Shared;
use super::params::Params;
use super::refusal::Refusal;
use super::routes::{Answer, Desks, ok};

/// `ActiveStorage.service_urls_expire_in`.
const LINK_LIFE_SECONDS: i64 = 300;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/accounts/{account}/upload", post(upload))
        .route("/rails/active_storage/blobs/redirect/{signed}/{name}", get(redirect))
        .route("/rails/active_storage/representations/redirect/{signed}/{name}", get(redirect))
        .route("/rails/active_storage/disk/{ticket}/{name}", get(download))
}

async fn upload(State(shared): Desks, mut params: Params) -> Answer {
    let found = params.files.iter().position(|(field, _)| field == "attachment");
    let missing = || Refusal::Unprocessable("No file or URL provided".to_owned());
    let (_, file) = params.files.swap_remove(found.ok_or_else(missing)?);
    let name = file.name.clone();
    let blob = shared.change(|desk| desk.store_blob(file));
    let base = shared.look(|desk| desk.frontend_url.clone());
    ok(&json!({"file_url": format!("{base}/rails/active_storage/blobs/redirect/{blob}/{name}"), "blob_id": blob}))
}

/// 302 to an address on the host that was asked, whatever `FRONTEND_URL` says.
async fn redirect(
    State(shared): Desks,
    Path((signed, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let missing = Refusal::NoRoute { json: false };
    // The event is sent when the row commits; the upload to storage may still be under way.
    if shared.faults.file_is_not_ready() || !shared.look(|desk| desk.blobs.contains_key(&signed)) {
        return Err(missing);
    }
    let expires = shared.now_ms().div_euclid(1000) + LINK_LIFE_SECONDS;
    let ticket = format!("{signed}-{expires}-{}", seal(&shared, &signed, expires));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| shared.address.to_string(), ToOwned::to_owned);
    let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric() && !"-._~".contains(letter), "_");
    let location = format!("http://{host}/rails/active_storage/disk/{ticket}/{name}");
    let location = HeaderValue::from_str(&location).map_err(|_| missing)?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

async fn download(State(shared): Desks, Path((ticket, _)): Path<(String, String)>) -> Result<Response, Refusal> {
    let missing = Refusal::NoRoute { json: false };
    let mut parts = ticket.splitn(3, '-');
    let (Some(signed), Some(expires), Some(mac)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(missing);
    };
    let Ok(expires) = expires.parse::<i64>() else { return Err(missing) };
    if mac != seal(&shared, signed, expires) || expires < shared.now_ms().div_euclid(1000) {
        return Err(missing);
    }
    let blob = shared.look(|desk| {
        let blob = desk.blobs.get(signed)?;
        Some((blob.content_type.clone(), blob.bytes.clone()))
    });
    let (content_type, bytes) = blob.ok_or(missing)?;
    let shown = ["image/", "audio/", "video/"].iter().any(|kind| content_type.starts_with(kind));
    let octets = HeaderValue::from_static("application/octet-stream");
    // A peer chose these bytes and their type: nothing in them may run beside the agent's page.
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&content_type).unwrap_or(octets)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(if shown { "inline" } else { "attachment" })),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ];
    Ok((headers, bytes).into_response())
}

fn seal(shared: &Shared, signed: &str, expires: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(shared.file_key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{signed}-{expires}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
