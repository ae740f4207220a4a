//! HTTP servers of the tests' own, which can also hang up without an answer, and pass requests on to a real one.

use std::{convert::Infallible, error::Error, fmt, sync::LazyLock, time::Duration};

use axum::{Router, body::Body, response::IntoResponse};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::http;

/// Longer than anybody waits for news of a homeserver.
const FORWARD_WAIT: Duration = Duration::from_mins(2);
const BODY_BYTES_MAX: usize = 64 << 20;

/// An answer with this extension is none: the connection closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HangUp;

impl fmt::Display for HangUp {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("hung up on purpose")
    }
}

impl Error for HangUp {}

pub(crate) fn hang_up() -> Response<Body> {
    let mut response = StatusCode::IM_A_TEAPOT.into_response();
    response.extensions_mut().insert(HangUp);
    response
}

/// The port of whoever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPort(pub(crate) u16);

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: CancellationToken,
}

impl Server {
    pub(crate) fn on(port: u16, router: Router) -> Self {
        let stop = CancellationToken::new();
        let listener = http::runtime().block_on(TcpListener::bind(("127.0.0.1", port))).expect("our own port");
        http::runtime().spawn(stop.clone().run_until_cancelled_owned(accept(listener, router, stop.clone())));
        Self { stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let serve = stop.clone().run_until_cancelled_owned(serve(stream, router.clone()));
            http::runtime().spawn(serve);
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let peer = PeerPort(stream.peer_addr().map_or(0, |address| address.port()));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        answer(router.clone(), request)
    });
    // A connection ends in whatever way it likes.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
}

async fn answer(router: Router, request: Request<Body>) -> Result<Response<Body>, HangUp> {
    let response: Result<_, Infallible> = router.oneshot(request).await;
    let response = response.unwrap_or_else(|never| match never {});
    if response.extensions().get::<HangUp>().is_some() { Err(HangUp) } else { Ok(response) }
}

static FORWARDING: LazyLock<reqwest::Client> = LazyLock::new(|| {
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.timeout(FORWARD_WAIT).build().expect("a client is built")
});

/// Has the request carried out by the server at `base`. A server that does not answer is a bad gateway.
pub(crate) async fn forward(base: &str, request: Request<Body>) -> Response<Body> {
    match try_forward(base, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn try_forward(base: &str, request: Request<Body>) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await?;
    let call = FORWARDING.request(parts.method, format!("{base}{path}")).headers(passed_on(&parts.headers));
    let answer = call.body(body).send().await?;
    let (status, headers) = (answer.status(), passed_on(answer.headers()));
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Without what belongs to one connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
