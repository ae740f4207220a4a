//! Socket, TLS and clock around the protocol of the appservice websocket. Decides nothing about frames.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::{BridgeState, CancellationToken, Fault, Secret};
use futures_util::{FutureExt, SinkExt, StreamExt};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use url::Url;

use super::{
    pacing::Pacing,
    protocol::{Ack, Act, Closed, Protocol, checkpoints, closed},
    routes,
    underway::Underway,
};
use crate::{
    catch_up::catch_up,
    client::tls,
    desk::now_millis,
    hub::{Hub, News},
    settings::Appservice,
    wire::text,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Of a frame, and of all fragments of one message: as much as a homeserver pushes at once.
const FRAME_BYTES_MAX: usize = super::push::BODY_BYTES_MAX;
/// Frames that are handed to the desk at once.
const FRAMES_AT_ONCE: usize = 64;
/// Between two looks at what the link may have lost while it seemed well.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// Checkpoints of about one frame.
const NEWS_AT_ONCE: usize = 500;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Link {
    hub: Arc<Hub>,
    url: Url,
    token: Secret,
    appservice: String,
    tls: Arc<ClientConfig>,
    news: mpsc::Receiver<News>,
    underway: Underway,
}

/// Why a connection ended.
enum Ended {
    Stopped,
    Replaced,
    Broke(String),
}

pub(crate) const REPLACED: &str =
    "another process uses this appservice's websocket now: stop one of the two, then restart this one";

impl Link {
    pub(crate) fn new(hub: Arc<Hub>, url: Url, appservice: &Appservice, news: mpsc::Receiver<News>) -> Self {
        let (token, appservice) = (appservice.token.clone(), appservice.id.clone());
        Self { hub, url, token, appservice, tls: tls(), news, underway: Underway::default() }
    }

    /// Connects, and again, until `stop` or until another process takes over.
    pub(crate) async fn run(&mut self, stop: CancellationToken) -> Result<(), Fault> {
        let mut pacing = Pacing::default();
        loop {
            let ended = match Box::pin(stop.run_until_cancelled(open(&self.url, &self.token, &self.tls))).await {
                None => Ended::Stopped,
                Some(Err(shut)) => Ended::Broke(shut.to_string()),
                Some(Ok(socket)) => self.talk(socket, &stop).await,
            };
            match ended {
                Ended::Stopped => return Ok(()),
                Ended::Replaced => {
                    tracing::error!(reason = REPLACED, "the bridge is out");
                    self.hub.step_out();
                    self.hub.host.state(BridgeState::Down { reason: REPLACED.to_owned() });
                    // Coming back would throw the other one out, which would come back in turn.
                    stop.cancelled().await;
                    return Ok(());
                }
                Ended::Broke(reason) => {
                    let pause = pacing.broke(Instant::now(), fastrand::f64());
                    tracing::warn!(
                        reason = reason.as_str(),
                        pause_seconds = pause.as_secs_f32(),
                        "the websocket broke"
                    );
                    self.hub.host.state(BridgeState::Down { reason });
                    if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// First what was missed, then what comes. Meanwhile the server's frames wait in the socket.
    async fn talk(&mut self, mut socket: Socket, stop: &CancellationToken) -> Ended {
        let mut protocol = Protocol::new(self.hub.host.bridge().as_str(), Instant::now());
        match stop.run_until_cancelled(catch_up(&self.hub)).await {
            None => return leave(socket).await,
            Some(Err(reason)) => return Ended::Broke(format!("what was missed cannot be read: {reason}")),
            Some(Ok(())) => {}
        }
        self.hub.host.state(BridgeState::Up);
        tracing::info!("the appservice websocket is open");
        // Beside the frames: a homeserver that does not answer must not keep them, nor a stop, waiting.
        let mut watching = pin!(watch(self.hub.clone(), self.appservice.clone()));
        loop {
            let wake = tokio::time::sleep_until(protocol.wake().into());
            let (acts, ended) = tokio::select! {
                () = stop.cancelled() => return leave(socket).await,
                frame = socket.next() => frames(&mut protocol, frame, &mut socket),
                Some(news) = self.news.recv() => (self.tell(news), None),
                () = wake => (protocol.tick(Instant::now(), now_millis()), None),
                never = &mut watching => match never {},
            };
            // What came whole is handled, also before an end.
            if let Err(reason) = self.carry_out(acts, &mut socket).await {
                return ended.unwrap_or(Ended::Broke(reason));
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Transactions side by side go to the desk together.
    async fn carry_out(&self, acts: Vec<Act>, socket: &mut Socket) -> Result<(), String> {
        let mut transactions = Vec::new();
        let mut rest = acts.into_iter().peekable();
        while let Some(act) = rest.next() {
            match act {
                Act::Take { transaction, ack } => {
                    transactions.push((transaction, ack));
                    if !matches!(rest.peek(), Some(Act::Take { .. })) {
                        self.take(std::mem::take(&mut transactions), socket).await?;
                    }
                }
                Act::Write(text) => write(socket, text).await?,
                Act::Proxy { id, request } => {
                    let (status, body) = self.proxied(&request).await;
                    if let Some(Act::Write(text)) = Protocol::proxied(id, status, &body) {
                        write(socket, text).await?;
                    }
                }
                Act::Close(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        transactions: Vec<(crate::wire::Transaction, Option<Ack>)>,
        socket: &mut Socket,
    ) -> Result<(), String> {
        let mut all = crate::wire::Transaction::default();
        let mut acks = Vec::new();
        for (transaction, ack) in transactions {
            all.events.extend(transaction.events);
            all.ephemeral.extend(transaction.ephemeral);
            acks.push(ack);
        }
        let taken = self.hub.take(all).await;
        if taken.is_err() {
            // The server brings a refused one again at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for ack in acks {
            match Protocol::taken(ack, &taken) {
                Some(Act::Write(text)) => write(socket, text).await?,
                Some(Act::Close(reason)) => return Err(reason),
                Some(Act::Take { .. } | Act::Proxy { .. }) | None => {}
            }
        }
        Ok(())
    }

    async fn proxied(&self, request: &Value) -> routes::Answer {
        let (method, path) = (text(request, &["method"]), text(request, &["path"]));
        let (Some(method), Some(path)) = (method, path) else {
            return routes::refusal(400, "M_BAD_JSON", "the method or path is missing");
        };
        let body = request.get("body").map(Value::to_string).unwrap_or_default();
        routes::answer(&*self.hub, method, path, body.into()).await
    }

    /// All the news that there is, in a frame for each kind.
    fn tell(&mut self, first: News) -> Vec<Act> {
        let (mut taken, mut landed) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(news) = next.take() {
            match news {
                News::Taken(seen) => {
                    seen.iter().filter(|seen| seen.carried).for_each(|seen| self.underway.put(seen.clone()));
                    taken.extend(seen.into_iter().map(|seen| (seen, None)));
                }
                News::Landed { event, reason } => {
                    landed.extend(self.underway.landed(&event).map(|checkpoint| (checkpoint, reason)));
                }
            }
            if taken.len() + landed.len() < NEWS_AT_ONCE {
                next = self.news.try_recv().ok();
            }
        }
        let now = now_millis();
        let told = [("BRIDGE", taken), ("REMOTE", landed)].into_iter().filter(|(_, seen)| !seen.is_empty());
        told.map(|(step, seen)| Act::Write(checkpoints(step, &seen, now))).collect()
    }
}

/// Why the websocket did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shut {
    #[error("bad credentials: the server does not know our as_token")]
    Token,
    #[error("the websocket was refused with status {status} {code}")]
    Refused { status: u16, code: String },
    #[error("the websocket does not open: {0}")]
    Failed(String),
    #[error("the websocket does not open in time")]
    Late,
}

/// Opens it anew. Whoever had it open with the same token loses it.
pub(crate) async fn open(url: &Url, token: &Secret, tls: &Arc<ClientConfig>) -> Result<Socket, Shut> {
    let request = request(url, token).map_err(Shut::Failed)?;
    let config =
        WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
    let connector = Connector::Rustls(tls.clone());
    let connecting = connect_async_tls_with_config(request, Some(config), true, Some(connector));
    match timeout(CONNECT_LIMIT, connecting).await {
        Err(_) => Err(Shut::Late),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => {
            let body: Value =
                response.body().as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
            Err(match text(&body, &["errcode"]).unwrap_or_default() {
                "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => Shut::Token,
                code => Shut::Refused { status: response.status().as_u16(), code: code.to_owned() },
            })
        }
        Ok(Err(error)) => Err(Shut::Failed(error.to_string())),
    }
}

fn request(url: &Url, token: &Secret) -> Result<Request, String> {
    let mut url = url.clone();
    let scheme = if matches!(url.scheme(), "https" | "wss") { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| "the websocket's address cannot be used".to_owned())?;
    let path = format!("{}/_matrix/client/unstable/fi.mau.as_sync", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let mut request = url.as_str().into_client_request().map_err(|error| error.to_string())?;
    let process = format!("deskbridge-{}", std::process::id());
    for (name, value) in [
        ("authorization", format!("Bearer {}", token.expose())),
        ("user-agent", concat!("deskbridge/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("x-mautrix-process-id", process),
        ("x-mautrix-websocket-version", "3".to_owned()),
    ] {
        let value = value.parse().map_err(|_| format!("the header {name} cannot be written"))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// The frame, and whatever else is there already, up to an end of the connection.
fn frames(
    protocol: &mut Protocol,
    first: Option<Result<Message, Error>>,
    socket: &mut Socket,
) -> (Vec<Act>, Option<Ended>) {
    let (mut acts, mut next) = (Vec::new(), Some(first));
    let mut count = 0;
    while let Some(frame) = next.take() {
        match frame {
            Some(Ok(Message::Text(text))) => {
                acts.extend(protocol.hear(text.as_str(), Instant::now(), now_millis()));
            }
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) =
                    frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                let ended = match closed(code, &reason) {
                    Closed::Replaced => Ended::Replaced,
                    Closed::Other(reason) => Ended::Broke(reason),
                };
                return (acts, Some(ended));
            }
            // Pings are answered by the library; binary frames are nobody's.
            Some(Ok(_)) => {}
            Some(Err(error)) => return (acts, Some(Ended::Broke(format!("the websocket failed: {error}")))),
            None => return (acts, Some(Ended::Broke("the websocket ended".to_owned()))),
        }
        count += 1;
        if count < FRAMES_AT_ONCE {
            next = socket.next().now_or_never();
        }
    }
    (acts, None)
}

/// Asks the homeserver to hurry, and looks now and then for what the link may have lost while it seemed well.
async fn watch(hub: Arc<Hub>, appservice: String) -> Infallible {
    if let Err(fault) = hub.client.ping_appservice(&appservice).await {
        tracing::debug!(fault = fault.to_string(), "the homeserver was not asked to hurry");
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(reason) = catch_up(&hub).await {
            tracing::info!(reason, "what may have been missed cannot be read now");
        }
    }
}

async fn write(socket: &mut Socket, text: String) -> Result<(), String> {
    match timeout(WRITE_LIMIT, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the websocket failed: {error}")),
        Err(_) => Err("the websocket takes nothing any more".to_owned()),
    }
}

/// We go; what was not acknowledged waits for us, or is read back.
async fn leave(mut socket: Socket) -> Ended {
    close(&mut socket).await;
    Ended::Stopped
}

pub(crate) async fn close(socket: &mut Socket) {
    let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
    drop(timeout(Duration::from_secs(2), socket.close(Some(frame))).await);
}
