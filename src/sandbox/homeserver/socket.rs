//! The appservice websocket: who may open it, and one task that writes transactions and reads answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use super::Dialect;
use super::errors::MatrixError;
use super::link::{Closed, ORDERS_MAX, Order};
use super::state::Core;

/// What asmux takes from a client.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const WRITE_WAIT: Duration = Duration::from_secs(30);
/// How long a closed websocket may take to answer the close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Where the websocket is opened, an unknown token is 403 and not 401.
pub(super) fn unknown_token() -> MatrixError {
    MatrixError::new(StatusCode::FORBIDDEN, "M_UNKNOWN_TOKEN", "Unknown access token")
}

/// Answers the handshake. The websocket itself lives in a task of its own, until it ends or the listener goes down.
pub(super) fn open(core: &Arc<Core>, mut request: Request<Incoming>, era: CancellationToken) -> Response<Body> {
    if let Err(error) = authorise(core, request.headers()) {
        return error.into_response();
    }
    if core.pusher.url().is_some() {
        let text = "Transactions are pushed to this appservice";
        return MatrixError::new(StatusCode::UNAUTHORIZED, "COM.BEEPER.TXN_WS_NOT_ENABLED", text).into_response();
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants = text(header::UPGRADE).eq_ignore_ascii_case("websocket") && text(header::SEC_WEBSOCKET_VERSION) == "13";
    let key = text(header::SEC_WEBSOCKET_KEY);
    if !wants || key.is_empty() {
        return MatrixError::bad("M_UNKNOWN", "Can \"Upgrade\" only to \"WebSocket\".").into_response();
    }
    let accept = derive_accept_key(key.as_bytes());
    // Absent or odd: the oldest client, which acknowledges nothing.
    let version = text(header::HeaderName::from_static("x-mautrix-websocket-version")).parse().unwrap_or(1);
    let upgrading = hyper::upgrade::on(&mut request);
    let shared = core.clone();
    core.tasks.spawn(era.run_until_cancelled_owned(async move {
        if let Ok(stream) = upgrading.await {
            Link::open(shared, stream, version).await.run().await;
        }
    }));
    let headers = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// In the header and nowhere else.
fn authorise(core: &Core, headers: &HeaderMap) -> Result<(), MatrixError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let missing = || MatrixError::new(StatusCode::FORBIDDEN, "M_MISSING_TOKEN", "Missing authorization header");
    if token.ok_or_else(missing)? == core.settings.as_token { Ok(()) } else { Err(unknown_token()) }
}

/// Whether a websocket goes on after a step.
#[derive(PartialEq, Eq)]
pub(super) enum Going {
    On,
    Over,
}

/// A transaction that was written and not yet acknowledged.
pub(super) struct InFlight {
    pub(super) number: u64,
    pub(super) ids: Vec<u64>,
    pub(super) until: Instant,
}

pub(super) struct Link {
    pub(super) core: Arc<Core>,
    pub(super) stream: WebSocketStream<TokioIo<Upgraded>>,
    pub(super) generation: u64,
    /// `X-Mautrix-Websocket-Version`: 1 is not waited for, 2 is not repeated to, 3 is both.
    pub(super) version: u32,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) changed: watch::Receiver<u64>,
    pub(super) in_flight: Option<InFlight>,
    /// In a row, and on this connection.
    pub(super) timeouts: u32,
    last_number: u64,
    asked: HashMap<u64, oneshot::Sender<Value>>,
    ended: Option<Closed>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.core.board.leave(self.generation) {
            self.core.change(|house| house.outbox.connected = false);
        }
        let nothing = Closed { code: None, reason: String::new(), by_client: false };
        self.core.board.note_end(self.ended.take().unwrap_or(nothing));
        self.core.nudge();
    }
}

impl Link {
    async fn open(core: Arc<Core>, stream: Upgraded, version: u32) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, Some(config)).await;
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let generation = core.board.enter(sender);
        core.change(|house| house.outbox.connected = true);
        let changed = core.changed.subscribe();
        Self {
            core,
            stream,
            generation,
            version,
            orders,
            changed,
            in_flight: None,
            timeouts: 0,
            last_number: 0,
            asked: HashMap::new(),
            ended: None,
        }
    }

    async fn run(mut self) {
        let welcome = match self.core.settings.dialect {
            Dialect::Wsproxy => json!({"status": "connected"}),
            Dialect::Asmux => json!({"command": "connect", "status": "connected"}),
        };
        let mut going = self.write(welcome.to_string()).await;
        while going == Going::On {
            going = self.deliver().await;
            if going == Going::On {
                going = self.step().await;
            }
        }
    }

    /// Waits for one thing to happen and reacts to it.
    async fn step(&mut self) -> Going {
        let until = self.in_flight.as_ref().map(|flight| flight.until);
        let timeout = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.stream.next() => self.hear(message).await,
            Some(order) = self.orders.recv() => self.obey(order).await,
            _ = self.changed.changed() => Going::On,
            () = timeout => self.late().await,
        }
    }

    async fn obey(&mut self, order: Order) -> Going {
        match order {
            Order::Replace => self.close(4001, &disconnect("conn_replaced")).await,
            Order::Strike(fault) => self.strike(&fault, &[]).await.unwrap_or(Going::On),
            Order::Text(text) => self.write(text).await,
            Order::Ask { command, data, answer } => {
                let number = self.next_number();
                self.asked.insert(number, answer);
                self.write(json!({"command": command, "id": number, "data": data}).to_string()).await
            }
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Going {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                self.ended = Some(Closed { code, reason, by_client: true });
                // The library answers the close while it is read to its end.
                drop(tokio::time::timeout(CLOSE_WAIT, self.stream.next()).await);
                return Going::Over;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Going::On,
            // Anything that is not JSON in text ends the connection.
            Some(Ok(Message::Binary(_)) | Err(_)) | None => return Going::Over,
        };
        let Ok(frame) = serde_json::from_str::<Value>(&text) else { return Going::Over };
        self.core.board.hear(frame.clone());
        let going = self.take(&frame).await;
        self.core.nudge();
        going
    }

    async fn take(&mut self, frame: &Value) -> Going {
        let number = frame["id"].as_u64().filter(|number| *number > 0);
        let command = frame["command"].as_str().unwrap_or_default();
        match (command, number) {
            ("response" | "error", Some(number)) => {
                self.answered(number, command == "response", frame);
                Going::On
            }
            (_, None) => Going::On,
            ("ping", Some(number)) => {
                let now = jiff::Timestamp::now().as_millisecond();
                self.respond(number, "response", json!({"timestamp": now})).await
            }
            (command, Some(number)) => match self.core.settings.dialect {
                Dialect::Asmux if matches!(command, "bridge_status" | "message_checkpoint" | "push_key") => {
                    self.respond(number, "response", Value::Null).await
                }
                Dialect::Asmux => {
                    let data = json!({"code": "UNKNOWN_COMMAND", "message": format!("Unknown command {command}")});
                    self.respond(number, "error", data).await
                }
                Dialect::Wsproxy => self.respond(number, "error", json!({"message": "unknown request type"})).await,
            },
        }
    }

    /// An answer to a transaction of ours, or to something we asked.
    fn answered(&mut self, number: u64, well: bool, frame: &Value) {
        if let Some(answer) = self.asked.remove(&number) {
            // Whoever asked may have given up.
            drop(answer.send(frame.clone()));
            return;
        }
        let Some(flight) = self.in_flight.take_if(|flight| flight.number == number) else { return };
        self.timeouts = 0;
        // A refusal leaves it where it is: it is written again at once.
        if well {
            self.core.change(|house| house.outbox.settle(&flight.ids));
        }
    }

    /// The acknowledgement did not come.
    async fn late(&mut self) -> Going {
        let Some(flight) = self.in_flight.take() else { return Going::On };
        self.timeouts += 1;
        if self.version < 3 {
            self.core.change(|house| house.outbox.settle(&flight.ids));
        }
        if self.timeouts >= self.core.settings.ack_timeouts_max {
            return self.close(4002, &disconnect("transactions_not_acknowledged")).await;
        }
        Going::On
    }

    async fn respond(&mut self, number: u64, command: &str, data: Value) -> Going {
        self.write(json!({"command": command, "id": number, "data": data}).to_string()).await
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) async fn write(&mut self, text: String) -> Going {
        self.write_message(Message::text(text)).await
    }

    pub(super) async fn write_message(&mut self, message: Message) -> Going {
        match tokio::time::timeout(WRITE_WAIT, self.stream.send(message)).await {
            Ok(Ok(())) => Going::On,
            Ok(Err(_)) | Err(_) => Going::Over,
        }
    }

    /// Says goodbye and waits a little for the same from the other side.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> Going {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.ended = Some(Closed { code: Some(code), reason: reason.to_owned(), by_client: false });
        let farewell = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        drop(tokio::time::timeout(CLOSE_WAIT, farewell).await);
        Going::Over
    }
}

/// The reason that goes with a code of ours.
pub(super) fn disconnect(status: &str) -> String {
    json!({"command": "disconnect", "status": status}).to_string()
}
