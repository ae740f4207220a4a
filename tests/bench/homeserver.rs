//! A trivial homeserver on a thread of its own: answers every call with the least that is valid, and says over
//! websockets what it is told to, as fast as they are read. Counts what is acknowledged.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deskbridge::clock::now_millis;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use crate::wait;

/// A homeserver puts no more into one transaction.
const EVENTS_MAX: usize = 100;

/// Who reads at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Reader {
    Gateway,
    Bare,
}

impl Reader {
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Gateway => "gateway-token",
            Self::Bare => "bare-token",
        }
    }
}

pub(crate) struct Homeserver {
    pub(crate) port: u16,
    links: Arc<Links>,
    /// Lines said in each room so far.
    said: u64,
}

#[derive(Default)]
struct Links {
    open: Mutex<HashMap<Reader, mpsc::UnboundedSender<Message>>>,
    acknowledged: AtomicU64,
}

impl Homeserver {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let links = Arc::new(Links::default());
        let theirs = links.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, serve(listener, theirs));
        });
        Self { port, links, said: 0 }
    }

    /// Says so many lines in each room. Returns how many frames that were.
    pub(crate) fn speak(&mut self, to: Reader, rooms: u64, lines: u64) -> u64 {
        let link = self.link(to);
        let (mut frames, mut events) = (0, Vec::with_capacity(EVENTS_MAX));
        let now = now_millis();
        for turn in self.said + 1..=self.said + lines {
            for room in 0..rooms {
                events.push(event(room, turn, now));
                if events.len() == EVENTS_MAX || (room + 1 == rooms && turn == self.said + lines) {
                    frames += 1;
                    link.send(Message::text(frame(frames, &events))).expect("the link is open");
                    events.clear();
                }
            }
        }
        if to == Reader::Gateway {
            self.said += lines;
        }
        frames
    }

    /// Waits for whoever should read.
    fn link(&self, to: Reader) -> mpsc::UnboundedSender<Message> {
        let what = || format!("{to:?} to connect");
        wait::until(Duration::from_millis(5), what, || self.links.open.lock().expect("nobody panics").get(&to).cloned())
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.links.acknowledged.load(Ordering::Acquire)
    }

    /// Blocks until so many frames were acknowledged; returns when.
    pub(crate) fn wait_for(&self, frames: u64) -> Instant {
        let what = || format!("{frames} frames to be acknowledged; {} were", self.acknowledged());
        wait::until(Duration::from_micros(200), what, || (self.acknowledged() >= frames).then(Instant::now))
    }
}

/// As Synapse writes one.
fn event(room: u64, turn: u64, at_millis: i64) -> String {
    format!(
        r#"{{"age":57,"content":{{"body":"hello, this is line {turn}","m.mentions":{{}},"msgtype":"m.text"}},"event_id":"$m{turn}-{room}-0123456789abcdefghijklmnopqrstuvw","origin_server_ts":{at_millis},"room_id":"!room{room}","sender":"@peer{room}:bench.example","type":"m.room.message","unsigned":{{"age":57,"membership":"join"}},"user_id":"@peer{room}:bench.example"}}"#
    )
}

fn frame(number: u64, events: &[String]) -> String {
    let events = events.join(",");
    format!(
        r#"{{"command":"transaction","data":{{}},"ephemeral":[],"events":[{events}],"id":{number},"status":"ok","txn_id":"{number}"}}"#
    )
}

async fn serve(listener: std::net::TcpListener, links: Arc<Links>) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        let links = links.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(request, links.clone()));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that hangs up has had what it wanted.
            http.serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
        });
    }
}

async fn answer(mut request: Request<Incoming>, links: Arc<Links>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path().ends_with("/fi.mau.as_sync") {
        return Ok(open(&mut request, links));
    }
    let (head, body) = request.into_parts();
    drop(body.collect().await);
    let path = head.uri.path();
    let last = path.rsplit('/').next().unwrap_or_default();
    let room = path.split('/').find(|part| part.contains("room") && *part != "rooms").unwrap_or_default();
    let (status, text) = match last {
        "sync" => (StatusCode::OK, json!({"next_batch": "s1"})),
        "joined_members" => {
            let user = format!("@peer{}:bench.example", room.trim_start_matches(|c: char| !c.is_ascii_digit()));
            (StatusCode::OK, json!({"joined": {user: {}}}))
        }
        "messages" => (StatusCode::OK, json!({"chunk": []})),
        "register" | "config" | "ping" => (StatusCode::OK, json!({})),
        _ if path.contains("/profile/") => (StatusCode::OK, json!({"displayname": "Peer"})),
        _ => (StatusCode::NOT_FOUND, json!({"errcode": "M_NOT_FOUND"})),
    };
    let mut response = Response::new(Full::new(Bytes::from(text.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

/// Whoever bears a reader's token is that reader.
fn open(request: &mut Request<Incoming>, links: Arc<Links>) -> Response<Full<Bytes>> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bears = |reader: &Reader| text(header::AUTHORIZATION).ends_with(reader.token());
    let reader = [Reader::Gateway, Reader::Bare].into_iter().find(bears).expect("one of the two");
    let accept = derive_accept_key(text(header::SEC_WEBSOCKET_KEY).as_bytes());
    let upgrading = hyper::upgrade::on(request);
    tokio::task::spawn_local(async move {
        let stream = upgrading.await.expect("it is upgraded");
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
        talk(stream, reader, links).await;
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "websocket");
    response.header(header::SEC_WEBSOCKET_ACCEPT, accept).body(Full::default()).expect("well formed")
}

async fn talk<S>(stream: WebSocketStream<S>, reader: Reader, links: Arc<Links>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "what is to be said must not wait for who says it")]
    let (orders, mut said) = mpsc::unbounded_channel();
    let (mut writer, mut answers) = stream.split();
    writer.send(Message::text(r#"{"command":"connect","status":"connected"}"#)).await.expect("the reader reads");
    links.open.lock().expect("nobody panics").insert(reader, orders);
    tokio::task::spawn_local(async move {
        while let Some(Ok(message)) = answers.next().await {
            if matches!(&message, Message::Text(text) if text.as_str().contains(r#""command":"response""#)) {
                links.acknowledged.fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    while let Some(message) = said.recv().await {
        if writer.send(message).await.is_err() {
            return;
        }
    }
}
