//! The listener that a homeserver pushes to. With a full house, whoever has not shown the homeserver's token makes room.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bridge_api::{CancellationToken, Secret};
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{
    pushes::Pushes,
    routes::{Answer, Callee, answer, refusal},
};

const CONNECTIONS_MAX: usize = 64;
const HEADER_LIMIT: Duration = Duration::from_secs(10);
const BODY_LIMIT: Duration = Duration::from_mins(1);
/// A homeserver sends at most about 20 MiB at once: a hundred events of 64 KiB, each perhaps with the one before it inside,
/// and as many receipts. A smaller limit would stop the bridge for good, since a homeserver repeats what is refused before
/// it sends anything else, and a hundred long messages are anybody's to write.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;

/// Who hears what the homeserver brings.
#[derive(Clone)]
pub(crate) enum Taker {
    Pushes(Arc<Pushes>),
    /// Only whether we are there is answered; all else is to come again when somebody takes it.
    Nobody,
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Serves until `stop`.
pub(crate) async fn serve(taker: Taker, listener: TcpListener, hs_token: Secret, stop: CancellationToken) {
    let hs_token: Arc<[u8]> = Sha256::digest(hs_token.expose()).as_slice().into();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut guests = Guests::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Descriptors may have run out; others will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if places.available_permits() == 0 {
            guests.make_room();
        }
        let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await else { return };
        let guest = guests.enter();
        connections.spawn(converse(taker.clone(), stream, hs_token.clone(), (guest, place)));
    }
}

/// Those who are connected, the first to come first.
#[derive(Default)]
struct Guests(VecDeque<Guest>);

#[derive(Clone, Default)]
struct Guest {
    /// Showed the homeserver's token: never sent away.
    is_known: Arc<AtomicBool>,
    out: CancellationToken,
}

impl Guests {
    fn enter(&mut self) -> Guest {
        // Of whoever has left only the list still knows.
        self.0.retain(|guest| Arc::strong_count(&guest.is_known) > 1);
        let guest = Guest::default();
        self.0.push_back(guest.clone());
        guest
    }

    /// Sends away the stranger who has been here for longest.
    fn make_room(&mut self) {
        let is_stranger =
            |guest: &Guest| Arc::strong_count(&guest.is_known) > 1 && !guest.is_known.load(Ordering::Relaxed);
        if let Some(place) = self.0.iter().position(is_stranger)
            && let Some(guest) = self.0.remove(place)
        {
            guest.out.cancel();
        }
    }
}

async fn converse(taker: Taker, stream: TcpStream, hs_token: Arc<[u8]>, (guest, place): (Guest, OwnedSemaphorePermit)) {
    let is_known = guest.is_known.clone();
    let service = service_fn(move |request| respond(taker.clone(), hs_token.clone(), is_known.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    let conversing = http.serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = guest.out.run_until_cancelled(conversing).await {
        tracing::debug!(error = error.to_string(), "a homeserver's connection ended");
    }
    drop(place);
}

async fn respond(
    taker: Taker,
    hs_token: Arc<[u8]>,
    is_known: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (status, body) = match allowed(&hs_token, &request) {
        Ok(()) => {
            is_known.store(true, Ordering::Relaxed);
            match &taker {
                Taker::Pushes(pushes) => take(&**pushes, request).await,
                Taker::Nobody => put_off(&request),
            }
        }
        Err(refused) => {
            tracing::warn!(status = refused.0, "a request that does not bear the homeserver's token was refused");
            refused
        }
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Body::from(body.to_string())).expect("a status and a fixed header are always well formed"))
}

/// In the header; older servers put it into the query. Compared as hashes, so that the time taken says nothing.
fn allowed(hs_token: &[u8], request: &Request<Incoming>) -> Result<(), Answer> {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let header = header.and_then(|value| value.strip_prefix("Bearer "));
    let query = request.uri().query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "access_token");
    let token = header.or(query.as_ref().map(|(_, value)| &**value));
    match token {
        None => Err(refusal(401, "M_MISSING_TOKEN", "the homeserver's token is missing")),
        Some(token) if Sha256::digest(token).as_slice() == hs_token => Ok(()),
        Some(_) => Err(refusal(403, "M_FORBIDDEN", "the homeserver's token is wrong")),
    }
}

fn put_off(request: &Request<Incoming>) -> Answer {
    if request.method() == Method::POST && request.uri().path() == "/_matrix/app/v1/ping" {
        return (200, json!({}));
    }
    refusal(503, "M_UNKNOWN", "the gateway is not running")
}

async fn take(callee: &dyn Callee, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_LIMIT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => answer(callee, parts.method.as_str(), parts.uri.path(), body.to_bytes()).await,
        Ok(Err(_)) => refusal(413, "M_TOO_LARGE", "the body is too large or broke off"),
        Err(_) => refusal(408, "M_UNKNOWN", "the body took too long"),
    }
}
