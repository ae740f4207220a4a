//! A websocket proxy for appservices, fed by a real Synapse, which speaks as wsproxy or as asmux does, and fails as a
//! test asks it to.

mod frames;
mod link;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Query, State, WebSocketUpgrade},
    http::{HeaderMap, Request, Response, StatusCode},
    response::IntoResponse,
    routing::{any, get, post, put},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use frames::Dialect;
use frames::Transaction;
use link::{Link, Order};

use super::{
    proxy::{Proxy, Wire},
    server::{PeerPort, Server, forward},
    synapse::Appservice,
};
use crate::{process::free_port, wait::until};

/// What goes wrong on purpose. Counts go down as they strike.
#[derive(Debug)]
pub(crate) struct Switches {
    /// Of the time that the asmux dialect waits for acknowledgements.
    pub(crate) time_scale: f64,
    /// Frames that are never written, though the homeserver was answered 200.
    pub(crate) drop_frames: usize,
    /// Frames that come twice. The second one of the asmux dialect comes after the first was acknowledged.
    pub(crate) duplicate_frames: usize,
    /// Frames that let the next one go first. Of the wsproxy dialect only: the other has one under way.
    pub(crate) swap_frames: usize,
    /// Acknowledgements that get lost, so that a frame comes again, together with what was queued meanwhile.
    pub(crate) ignore_acks: usize,
    /// The connection ends after so many bytes of the next frame.
    pub(crate) cut_frame_after: Option<usize>,
    /// No token is known.
    pub(crate) refuse: bool,
    /// Before each frame.
    pub(crate) delay: Duration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            time_scale: 1.0,
            drop_frames: 0,
            duplicate_frames: 0,
            swap_frames: 0,
            ignore_acks: 0,
            cut_frame_after: None,
            refuse: false,
            delay: Duration::ZERO,
        }
    }
}

/// Something that happened, in order.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `connect`, `refused`, `transaction`, `frame`, `dropped`, `held`, `cut`, `answer`, `error`, `timeout`, `ping`,
    /// `told`, `unknown`, `asked`, `close` (ours), `closed` (theirs), `ended`, `no JSON`.
    pub(crate) what: &'static str,
    pub(crate) service: String,
    pub(crate) data: Value,
}

#[derive(Debug)]
pub(crate) struct AsProxy {
    shared: Arc<Shared>,
    /// In front of the websocket, and of nothing else.
    wire: Proxy,
    _servers: Vec<Server>,
}

#[derive(Debug)]
struct Shared {
    dialect: Dialect,
    homeserver: String,
    services: Vec<Arc<Service>>,
    switches: Mutex<Switches>,
    log: Mutex<Vec<Entry>>,
    wire: Arc<Wire>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Service {
    known: Appservice,
    queue: Mutex<VecDeque<Transaction>>,
    link: Mutex<Option<mpsc::Sender<Order>>>,
}

impl AsProxy {
    /// Homeservers push to the ports of the services; the gateway connects to [`AsProxy::url`].
    /// `homeserver` is where the asmux dialect has the rest carried out.
    pub(crate) fn start(dialect: Dialect, homeserver: &str, services: &[Appservice]) -> Self {
        let port = free_port();
        let wire = Proxy::to(SocketAddr::from(([127, 0, 0, 1], port)));
        let service = |known: &Appservice| {
            Arc::new(Service { known: known.clone(), queue: Mutex::default(), link: Mutex::default() })
        };
        let shared = Arc::new(Shared {
            dialect,
            homeserver: homeserver.to_owned(),
            services: services.iter().map(service).collect(),
            switches: Mutex::default(),
            log: Mutex::default(),
            wire: wire.wire(),
            stop: CancellationToken::new(),
        });
        let ports = services.iter().map(|service| service.port).chain([port]);
        let servers = ports.map(|port| Server::on(port, router(shared.clone()))).collect();
        Self { shared, wire, _servers: servers }
    }

    /// For websockets, and in the asmux dialect for the homeserver's API too.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.wire.port)
    }

    pub(crate) fn websocket_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.wire.port)
    }

    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut locked(&self.shared.switches));
    }

    /// Cuts TCP connections without a word.
    pub(crate) fn cut(&self) {
        self.shared.wire.cut_connections();
    }

    /// Cuts, and refuses connections until [`AsProxy::mend`].
    pub(crate) fn go_away(&mut self) {
        self.wire.cut();
    }

    pub(crate) fn mend(&mut self) {
        self.wire.mend();
    }

    /// A link that is dead though both ends believe in it.
    pub(crate) fn hold(&self) {
        self.shared.wire.hold();
    }

    pub(crate) fn release(&self) {
        self.shared.wire.release();
    }

    /// Closes the websocket of a service with this code.
    pub(crate) fn close(&self, service: &Appservice, code: u16, status: &'static str) {
        self.order(service, Order::Close(code, status));
    }

    /// Asks the client something; the log has its answer.
    pub(crate) fn ask(&self, service: &Appservice, command: &str, data: &Value) -> Value {
        let before = self.log().iter().filter(|entry| entry.what == "asked").count();
        self.order(service, Order::Ask(command.to_owned(), data.clone()));
        let asked = self.until("the request to be sent", |log| {
            log.iter().filter(|entry| entry.what == "asked").nth(before).map(|entry| entry.data["id"].clone())
        });
        self.until(&format!("an answer to {command}"), |log| {
            let answers = |entry: &&Entry| ["answer", "error"].contains(&entry.what) && entry.data["id"] == asked;
            log.iter().rfind(answers).map(|entry| entry.data.clone())
        })
    }

    fn order(&self, service: &Appservice, order: Order) {
        let found = self.shared.services.iter().find(|known| known.known == *service).expect("one of ours");
        let link = locked(&found.link).clone().expect("it is connected");
        link.try_send(order).expect("the link takes orders");
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        locked(&self.shared.log).clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.log().iter().filter(|entry| entry.what == what).count()
    }

    /// Waits for something in the log; a failure shows all of it.
    pub(crate) fn until<T>(&self, what: &str, find: impl Fn(&[Entry]) -> Option<T>) -> T {
        until(what, || {
            let log = self.log();
            find(&log).ok_or_else(|| shown(&log))
        })
    }

    /// Returns once so many connections have been made.
    pub(crate) fn until_connected(&self, times: usize) {
        self.until(&format!("{times} connections"), |log| {
            (log.iter().filter(|entry| entry.what == "connect").count() >= times).then_some(())
        });
    }
}

fn shown(log: &[Entry]) -> String {
    let line = |entry: &Entry| format!("\n  {} {} {}", entry.service, entry.what, entry.data);
    log.iter().map(line).collect::<Vec<_>>().concat()
}

impl Drop for AsProxy {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn log(&self, what: &'static str, service: &str, data: Value) {
        locked(&self.log).push(Entry { what, service: service.to_owned(), data });
    }

    fn switched<T>(&self, look: impl FnOnce(&mut Switches) -> T) -> T {
        look(&mut locked(&self.switches))
    }

    /// Whether one more of these is to go wrong.
    fn counted(&self, which: impl FnOnce(&mut Switches) -> &mut usize) -> bool {
        let mut switches = locked(&self.switches);
        let left = which(&mut switches);
        let strikes = *left > 0;
        *left = left.saturating_sub(1);
        strikes
    }

    fn by_token(&self, token: Option<&str>, of: impl Fn(&Appservice) -> &str) -> Option<Arc<Service>> {
        let found = |service: &&Arc<Service>| Some(of(&service.known)) == token;
        self.services.iter().find(found).cloned()
    }
}

impl Service {
    fn head(&self, max: usize) -> Vec<Transaction> {
        locked(&self.queue).iter().take(max).cloned().collect()
    }

    fn done(&self, count: usize) {
        locked(&self.queue).drain(..count);
    }

    /// The newest connection wins.
    async fn take_over(&self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(link::ORDERS_MAX);
        let old = locked(&self.link).replace(sender);
        if let Some(old) = old {
            // It may have ended by itself.
            drop(old.send(Order::Close(4001, "conn_replaced")).await);
        }
        orders
    }

    fn current(&self) -> Option<mpsc::Sender<Order>> {
        locked(&self.link).clone().filter(|link| !link.is_closed())
    }
}

type Proxied = State<Arc<Shared>>;
type Words = Query<HashMap<String, String>>;

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_matrix/client/unstable/fi.mau.as_sync", get(connect))
        .route("/_matrix/app/v1/transactions/{id}", put(transaction))
        .route("/transactions/{id}", put(transaction))
        .route("/_matrix/app/v1/ping", post(ping))
        .route("/_matrix/client/{*rest}", any(pass_on))
        .route("/_matrix/media/{*rest}", any(pass_on))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "M_UNRECOGNIZED"))
        .with_state(shared)
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    (status, axum::Json(json!({ "errcode": code, "error": "no" }))).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn connect(
    State(shared): Proxied,
    Extension(PeerPort(port)): Extension<PeerPort>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    let known = shared.by_token(bearer(&headers), |service| &service.as_token);
    let Some(service) = known.filter(|_| !shared.switched(|switches| switches.refuse)) else {
        shared.log("refused", "", json!({}));
        let code = if bearer(&headers).is_none() { "M_MISSING_TOKEN" } else { "M_UNKNOWN_TOKEN" };
        return refusal(StatusCode::FORBIDDEN, code);
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let version = header("x-mautrix-websocket-version").and_then(|text| text.parse().ok()).unwrap_or(1);
    let told = json!({ "version": version, "process": header("x-mautrix-process-id") });
    upgrade.on_upgrade(async move |socket| {
        let orders = service.take_over().await;
        shared.log("connect", &service.known.id, told);
        Link { socket, service, shared, version, port, orders, state: link::State::default() }.run().await;
    })
}

async fn transaction(
    State(shared): Proxied,
    Path(id): Path<String>,
    Query(words): Words,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response<Body> {
    let token = bearer(&headers).or(words.get("access_token").map(String::as_str));
    let Some(service) = shared.by_token(token, |service| &service.hs_token) else {
        return refusal(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    };
    let transaction = Transaction { id, body };
    let told = json!({ "txn_id": transaction.id, "events": transaction.event_ids() });
    shared.log("transaction", &service.known.id, told);
    let link = service.current();
    if shared.dialect == Dialect::Asmux {
        locked(&service.queue).push_back(transaction);
        if let Some(link) = link {
            // One that ends looks again when it is replaced.
            drop(link.send(Order::Look).await);
        }
        return axum::Json(json!({})).into_response();
    }
    let Some(link) = link else { return refusal(StatusCode::BAD_GATEWAY, "FI.MAU.WS_NOT_CONNECTED") };
    let (tell, written) = oneshot::channel();
    let sent = link.send(Order::Pipe(transaction, tell)).await.is_ok();
    match written.await {
        Ok(true) if sent => axum::Json(json!({})).into_response(),
        Ok(_) | Err(_) => refusal(StatusCode::BAD_GATEWAY, "FI.MAU.WS_SEND_FAIL"),
    }
}

async fn ping(State(shared): Proxied, headers: HeaderMap) -> Response<Body> {
    let service = shared.by_token(bearer(&headers), |service| &service.hs_token);
    match (shared.dialect, service) {
        (Dialect::Wsproxy, _) => refusal(StatusCode::NOT_FOUND, "M_UNRECOGNIZED"),
        (Dialect::Asmux, Some(service)) if service.current().is_some() => axum::Json(json!({})).into_response(),
        (Dialect::Asmux, _) => refusal(StatusCode::BAD_GATEWAY, "FI.MAU.WS_NOT_CONNECTED"),
    }
}

async fn pass_on(State(shared): Proxied, request: Request<Body>) -> Response<Body> {
    match shared.dialect {
        Dialect::Asmux => forward(&shared.homeserver, request).await,
        Dialect::Wsproxy => refusal(StatusCode::NOT_FOUND, "M_UNRECOGNIZED"),
    }
}
