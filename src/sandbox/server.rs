//! The listener and what surrounds every request: limits on slow clients, the fault switch, the token.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::faults::{RouteClass, RouteFault};
use super::refusal::{self, Refusal};
use super::{Shared, homeserver, routes};

/// Connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1_024;
const HEADER_WAIT: Duration = Duration::from_secs(10);
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Chatwoot's upload limit, which is also what a proxy in front would allow.
const BODY_BYTES_MAX: usize = 40 * 1024 * 1024;
/// How long an answer waits for its own callbacks, when told to.
const CALLBACK_FIRST_WAIT: Duration = Duration::from_secs(5);
/// Pause before the listener is tried again, when its address is taken or descriptors have run out.
const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// The two tables of paths.
#[derive(Clone)]
struct Routers {
    desk: Router,
    homeserver: Option<Router>,
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct HangUp;

/// Accepts connections while it is wanted, for ever.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let routers =
        Routers { desk: routes::router(shared.clone()), homeserver: shared.homeserver.clone().map(homeserver::router) };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut wanted = shared.wanted.subscribe();
    let mut listener = Some(listener);
    loop {
        let Some(open) = listener.take() else {
            if wanted.wait_for(|wanted| *wanted).await.is_err() {
                return;
            }
            match TcpListener::bind(shared.address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
            }
            continue;
        };
        let era = shared.stop.child_token();
        shared.listening.send_replace(true);
        tokio::select! {
            () = accept(&shared, &open, &routers, &places, &era) => {}
            _ = wanted.wait_for(|wanted| !*wanted) => {}
        }
        drop(open);
        era.cancel();
        shared.listening.send_replace(false);
    }
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    routers: &Routers,
    places: &Arc<Semaphore>,
    era: &CancellationToken,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = converse(shared.clone(), routers.clone(), era.clone(), stream, place);
                shared.tasks.spawn(era.clone().run_until_cancelled_owned(connection));
            }
            Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
        }
    }
}

async fn converse(
    shared: Arc<Shared>,
    routers: Routers,
    era: CancellationToken,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
) {
    // Answers are small and whole: waiting to fill a segment only costs time. Failure costs only that.
    drop(stream.set_nodelay(true));
    let service =
        hyper::service::service_fn(move |request| choose(shared.clone(), routers.clone(), era.clone(), request));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        tracing::debug!(error = error.to_string(), "a connection ended");
    }
    drop(place);
}

/// Sends what is the homeserver's there: it has its own faults and limits, and connections that become websockets.
async fn choose(
    shared: Arc<Shared>,
    routers: Routers,
    era: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<Body>, HangUp> {
    match (&shared.homeserver, routers.homeserver) {
        (Some(core), Some(router)) if request.uri().path().starts_with("/_matrix/") => {
            homeserver::answer(core.clone(), router, request, era).await.ok_or(HangUp)
        }
        _ => answer(shared, routers.desk, request).await,
    }
}

async fn answer(shared: Arc<Shared>, router: Router, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    let (parts, body) = request.into_parts();
    let class = RouteClass::of(parts.uri.path());
    let body = match read(body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let request = Request::from_parts(parts, Body::from(body));
    let Some(class) = class else { return Ok(route(router, request).await) };
    if request.uri().path() != "/health" && shared.over_request_limit() {
        return Ok(stamped(&shared, refusal::retry_later()));
    }
    let fault = shared.faults.pick(class, request.method());
    if let Some(fault) = &fault
        && let Some(response) = instead(fault).await?
    {
        return Ok(stamped(&shared, response));
    }
    if let Err(refusal) = routes::authorise(&shared, request.uri().path(), request.headers()) {
        return Ok(stamped(&shared, refusal.into_response()));
    }
    let writes = *request.method() != Method::GET;
    let response = route(router, request).await;
    if writes && shared.faults.callback_faults().before_response {
        // Whether they are done or not: the answer must come at some time.
        drop(tokio::time::timeout(CALLBACK_FIRST_WAIT, shared.callbacks.until_idle()).await);
    }
    let response = match fault {
        Some(fault) => afterwards(&fault, response).await?,
        None => response,
    };
    Ok(stamped(&shared, response))
}

/// What a fault does before anything is stored. None: the request goes on.
async fn instead(fault: &RouteFault) -> Result<Option<Response<Body>>, HangUp> {
    match fault {
        RouteFault::Slow { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            Ok(None)
        }
        RouteFault::TooManyRequests => Ok(Some(refusal::retry_later())),
        RouteFault::ServerError => Ok(Some(refusal::internal_error())),
        RouteFault::Unprocessable => Ok(Some(redis_away())),
        RouteFault::BadGateway => Ok(Some(refusal::bad_gateway())),
        RouteFault::Unauthorized => Ok(Some(Refusal::UnknownToken.into_response())),
        RouteFault::Denied { why } => Ok(Some(Refusal::Denied(*why).into_response())),
        RouteFault::Drop => Err(HangUp),
        RouteFault::Hang => std::future::pending().await,
        RouteFault::CommitThenDrop
        | RouteFault::CommitThenCut
        | RouteFault::CommitThenServerError
        | RouteFault::CommitThenUnprocessable
        | RouteFault::CommitThenBadGateway
        | RouteFault::CommitThenSlow { .. }
        | RouteFault::CommitThenHang => Ok(None),
    }
}

/// What a fault does to the answer of a request that was carried out.
async fn afterwards(fault: &RouteFault, response: Response<Body>) -> Result<Response<Body>, HangUp> {
    match fault {
        RouteFault::CommitThenDrop => Err(HangUp),
        RouteFault::CommitThenCut => Ok(cut(response).await),
        RouteFault::CommitThenServerError => Ok(refusal::internal_error()),
        RouteFault::CommitThenUnprocessable => Ok(redis_away()),
        RouteFault::CommitThenBadGateway => Ok(refusal::bad_gateway()),
        RouteFault::CommitThenSlow { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            Ok(response)
        }
        RouteFault::CommitThenHang => std::future::pending().await,
        RouteFault::Slow { .. }
        | RouteFault::TooManyRequests
        | RouteFault::ServerError
        | RouteFault::Unprocessable
        | RouteFault::BadGateway
        | RouteFault::Unauthorized
        | RouteFault::Denied { .. }
        | RouteFault::Drop
        | RouteFault::Hang => Ok(response),
    }
}

/// The text of an exception that a hook behind the commit raises, and that could as well come from before it.
fn redis_away() -> Response<Body> {
    Refusal::Unprocessable("Error connecting to Redis on redis:6379 (Errno::ECONNREFUSED)".to_owned()).into_response()
}

/// Promises the whole body, sends half of it, and breaks off.
async fn cut(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    parts.headers.insert("content-length", HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let stream = futures_util::stream::iter([Ok(half), Err(HangUp)]);
    Response::from_parts(parts, Body::from_stream(stream))
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    // A length that is told too large is enough: nobody waits for those bytes.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::TooLarge);
    }
    let whole = tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_BYTES_MAX).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Refusal::BadRequest),
    }
}

async fn route(router: Router, request: Request<Body>) -> Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// With a number of its own, and the time by the sandbox's clock.
fn stamped(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    let now = jiff::Timestamp::from_millisecond(shared.now_ms()).unwrap_or_default();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    if let Some(date) = date.ok().and_then(|date| HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert("date", date);
    }
    let id = super::desk::uuid(&mut fastrand::Rng::new());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    debug_assert_ne!(response.status(), StatusCode::CREATED, "Chatwoot answers 200 on creates");
    response
}
