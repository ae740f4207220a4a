//! A websocket client that knows nothing but frames, for tests of the proxy itself.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::{http, wait::PATIENCE};

#[derive(Debug)]
pub(crate) struct Websocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What comes next on a websocket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    Frame(Value),
    Closed(u16, String),
    /// The connection fell, without a word or in the middle of one.
    Fell,
}

impl Websocket {
    /// `Err` is the status of a refusal.
    pub(crate) fn connect(url: &str, token: &str, version: u8) -> Result<Self, u16> {
        let url = format!("{url}/_matrix/client/unstable/fi.mau.as_sync");
        let mut request = url.into_client_request().expect("an address");
        let mut set = |name: &'static str, value: &str| {
            request.headers_mut().insert(name, value.parse().expect("a header"));
        };
        set("authorization", &format!("Bearer {token}"));
        set("x-mautrix-websocket-version", &version.to_string());
        // The clock of a time limit is the runtime's, so that it is made inside.
        let connected = http::runtime().block_on(async { timeout(PATIENCE, connect_async(request)).await });
        match connected.expect("the proxy answers") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no websocket: {error}"),
        }
    }

    pub(crate) fn send(&mut self, frame: &Value) {
        let message = Message::text(frame.to_string());
        http::runtime().block_on(self.0.send(message)).expect("the proxy reads");
    }

    pub(crate) fn next(&mut self) -> Next {
        self.next_within(PATIENCE).expect("something to come")
    }

    /// `None`: nothing came.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Next> {
        let message = http::runtime().block_on(async { timeout(patience, self.0.next()).await }).ok()?;
        Some(match message {
            Some(Ok(Message::Text(text))) => Next::Frame(serde_json::from_str(text.as_str()).expect("JSON")),
            Some(Ok(Message::Close(Some(frame)))) => Next::Closed(frame.code.into(), frame.reason.to_string()),
            Some(Ok(Message::Close(None)) | Err(_)) | None => Next::Fell,
            Some(Ok(other)) => panic!("no proxy sends this: {other:?}"),
        })
    }

    pub(crate) fn frame(&mut self) -> Value {
        match self.next() {
            Next::Frame(frame) => frame,
            other @ (Next::Closed(..) | Next::Fell) => panic!("no frame: {other:?}"),
        }
    }

    pub(crate) fn acknowledge(&mut self, frame: &Value) {
        self.send(&json!({ "command": "response", "id": frame["id"], "data": { "txn_id": frame["txn_id"] } }));
    }

    /// Reads and acknowledges until a frame holds a message with this text. Returns that frame, acknowledged as well.
    pub(crate) fn until_text(&mut self, text: &str) -> Value {
        loop {
            let frame = self.frame();
            if frame["id"].is_u64() {
                self.acknowledge(&frame);
            }
            if texts(&frame).iter().any(|found| found == text) {
                return frame;
            }
        }
    }
}

/// The messages of a transaction.
pub(crate) fn texts(frame: &Value) -> Vec<String> {
    let events = frame["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().filter_map(|event| event["content"]["body"].as_str()).map(ToOwned::to_owned).collect()
}
