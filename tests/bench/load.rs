//! A load of callbacks: signed beforehand, sent over connections that stay open, from a thread of its own
//! as another program's would be. Each connection has one request under way.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const SECRET: &str = "demo-callback-secret";
pub(crate) const CONVERSATIONS: u64 = 10_000;

/// An agent's reply as Chatwoot reports it, 2.9 KiB.
const CALLBACK: &str = include_str!("../fixtures/chatwoot/callback_message_created_outgoing.json");

/// Makes requests whose messages are numbered from `first` on. The number also decides when each was made.
pub(crate) fn callbacks(first: u64, count: usize, now_millis: i64) -> Vec<Vec<u8>> {
    (first..first + count as u64).map(|message| callback(message, now_millis)).collect()
}

fn callback(message: u64, now_millis: i64) -> Vec<u8> {
    let conversation = 1 + message % CONVERSATIONS;
    reply(message, (conversation, &format!("net/a:peer{conversation}")), now_millis)
}

/// An agent's message to one person: the conversation and its source id.
pub(crate) fn reply(message: u64, (conversation, source_id): (u64, &str), now_millis: i64) -> Vec<u8> {
    let created = jiff::Timestamp::from_millisecond(now_millis + (message % 1000) as i64).expect("a moment of today");
    let body = CALLBACK
        .replace("\"id\": 9002", &format!("\"id\": {message}"))
        .replace("\"id\": 42,", &format!("\"id\": {conversation},"))
        .replace("\"source_id\": \"libera/ada\"", &format!("\"source_id\": \"{source_id}\""))
        .replace("2026-06-20T09:15:03.123Z", &format!("{created:.3}"));
    let seconds = now_millis / 1000;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{seconds}.{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /callbacks/support HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Chatwoot-Timestamp: {seconds}\r\nX-Chatwoot-Signature: sha256={signature}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What came of a load: how long each request took, and how long all did.
pub(crate) struct Outcome {
    pub(crate) times: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

/// Sends until the requests or the time are spent. Every answer must be 200 with this body.
pub(crate) fn send(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    length: Duration,
    answer: &str,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(Door::to(address).await);
        }
        let (next, times, begun) = (Cell::new(0), RefCell::new(Vec::with_capacity(requests.len())), Instant::now());
        let work = streams.into_iter().map(async |mut door| {
            while let Some(request) = requests.get(next.get()) {
                next.set(next.get() + 1);
                let once = Instant::now();
                door.send(request, answer).await;
                times.borrow_mut().push(once.elapsed());
                if begun.elapsed() >= length {
                    break;
                }
            }
        });
        futures_util::future::join_all(work).await;
        Outcome { elapsed: begun.elapsed(), times: times.into_inner() }
    })
}

/// A connection that stays open.
pub(crate) struct Door {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Door {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; 4096] }
    }

    /// The answer must be 200 with this body.
    pub(crate) async fn send(&mut self, request: &[u8], answer: &str) {
        self.stream.write_all(request).await.expect("the server reads");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.expect("the server answers");
            assert!(read > 0, "the server hung up");
            filled += read;
            let text = std::str::from_utf8(&self.buffer[..filled]).expect("text");
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                assert!(head.starts_with("HTTP/1.1 200"), "{text}");
                if body.len() >= answer.len() {
                    assert_eq!(body, answer);
                    return;
                }
            }
        }
    }
}
