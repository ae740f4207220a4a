//! One websocket of an appservice: what is written to it, what is read from it, and its end.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Service, Shared,
    frames::{self, Dialect, Transaction},
};

/// As asmux waits for an acknowledgement, before the scale of time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LATER_WAIT: Duration = Duration::from_secs(30);
const TIMEOUTS_MAX: u32 = 7;
/// Transactions in one frame.
const MERGED_MAX: usize = 10;
pub(super) const ORDERS_MAX: usize = 64;

/// What others ask of a link.
#[derive(Debug)]
pub(super) enum Order {
    /// Without a queue: tells when it is written.
    Pipe(Transaction, oneshot::Sender<bool>),
    /// There is something in the queue.
    Look,
    /// A request of the server's own.
    Ask(String, Value),
    Close(u16, &'static str),
}

/// A frame that waits for its acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Flight {
    id: u64,
    transactions: usize,
    due: Instant,
}

pub(super) struct Link {
    pub(super) socket: WebSocket,
    pub(super) service: Arc<Service>,
    pub(super) shared: Arc<Shared>,
    /// How far the client acknowledges: 3 with resends.
    pub(super) version: u8,
    /// What the wire in front knows this connection by.
    pub(super) port: u16,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) state: State,
}

#[derive(Debug, Default)]
pub(super) struct State {
    requests: u64,
    flight: Option<Flight>,
    timeouts: u32,
    /// A frame that lets the next one go first.
    held: Option<Value>,
}

/// The socket is of no use any more.
struct Ended;

impl Link {
    pub(super) async fn run(mut self) {
        drop(self.serve().await);
        self.log("ended", json!({}));
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        self.write(&frames::welcome(self.shared.dialect)).await?;
        loop {
            self.take_off().await?;
            let due = self.state.flight.map(|flight| flight.due);
            let shared = self.shared.clone();
            tokio::select! {
                () = shared.stop.cancelled() => return self.close(1001, "server_shutting_down").await,
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await?,
                    None => return Err(Ended),
                },
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(text.as_str()).await?,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map(|frame| frame.code);
                        self.log("closed", json!({ "code": code }));
                        return Err(Ended);
                    }
                    Some(Ok(Message::Binary(_)) | Err(_)) | None => return Err(Ended),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.nothing_came().await?,
            }
        }
    }

    fn log(&self, what: &'static str, data: Value) {
        self.shared.log(what, &self.service.known.id, data);
    }

    async fn write(&mut self, frame: &Value) -> Result<(), Ended> {
        if let Some(bytes) = self.shared.switched(|switches| switches.cut_frame_after.take()) {
            self.shared.wire.cut_after(self.port, bytes);
            self.log("cut", json!({ "after": bytes }));
        }
        self.socket.send(Message::Text(frame.to_string().into())).await.map_err(|_| Ended)
    }

    async fn close(&mut self, code: u16, status: &'static str) -> Result<(), Ended> {
        let reason = json!({ "command": "disconnect", "status": status }).to_string();
        self.log("close", json!({ "code": code, "status": status }));
        let frame = CloseFrame { code, reason: reason.into() };
        // It ends in either case.
        drop(self.socket.send(Message::Close(Some(frame))).await);
        Err(Ended)
    }

    async fn obey(&mut self, order: Order) -> Result<(), Ended> {
        match order {
            Order::Pipe(transaction, written) => {
                let done = self.pipe(&transaction).await;
                // Whoever waits may have given up.
                written.send(done.is_ok()).ok();
                done
            }
            Order::Look => Ok(()),
            Order::Ask(command, data) => {
                self.state.requests += 1;
                let frame = json!({ "command": command, "id": self.state.requests, "data": data });
                self.log("asked", frame.clone());
                self.write(&frame).await
            }
            Order::Close(code, status) => self.close(code, status).await,
        }
    }

    /// What wsproxy does with a transaction, or what a switch makes of it.
    async fn pipe(&mut self, transaction: &Transaction) -> Result<(), Ended> {
        let frame = frames::piped(transaction);
        tokio::time::sleep(self.shared.switched(|switches| switches.delay)).await;
        if self.shared.counted(|switches| &mut switches.drop_frames) {
            self.log("dropped", frame);
            return Ok(());
        }
        if self.state.held.is_none() && self.shared.counted(|switches| &mut switches.swap_frames) {
            self.log("held", frame.clone());
            self.state.held = Some(frame);
            return Ok(());
        }
        self.log("frame", frame.clone());
        self.write(&frame).await?;
        if self.shared.counted(|switches| &mut switches.duplicate_frames) {
            self.log("frame", frame.clone());
            self.write(&frame).await?;
        }
        if let Some(held) = self.state.held.take() {
            self.log("frame", held.clone());
            self.write(&held).await?;
        }
        Ok(())
    }

    /// Sends the head of the queue unless something is under way.
    async fn take_off(&mut self) -> Result<(), Ended> {
        if self.state.flight.is_some() || self.shared.dialect == Dialect::Wsproxy {
            return Ok(());
        }
        let transactions = self.service.head(MERGED_MAX);
        if transactions.is_empty() {
            return Ok(());
        }
        self.state.requests += 1;
        let (id, count) = (self.state.requests, transactions.len());
        let frame = frames::queued(id, &transactions);
        let (delay, scale) = self.shared.switched(|switches| (switches.delay, switches.time_scale));
        tokio::time::sleep(delay).await;
        if self.shared.counted(|switches| &mut switches.drop_frames) {
            self.log("dropped", frame);
        } else {
            self.log("frame", frame.clone());
            self.write(&frame).await?;
        }
        if self.version < 2 {
            self.service.done(count);
            return Ok(());
        }
        let wait = if self.state.timeouts == 0 { FIRST_WAIT } else { LATER_WAIT };
        self.state.flight = Some(Flight { id, transactions: count, due: Instant::now() + wait.mul_f64(scale) });
        Ok(())
    }

    async fn nothing_came(&mut self) -> Result<(), Ended> {
        let Some(flight) = self.state.flight.take() else { return Ok(()) };
        self.log("timeout", json!({ "id": flight.id }));
        if self.version < 3 {
            self.service.done(flight.transactions);
            return Ok(());
        }
        self.state.timeouts += 1;
        if self.state.timeouts >= TIMEOUTS_MAX {
            return self.close(4002, "transactions_not_acknowledged").await;
        }
        Ok(())
    }

    async fn hear(&mut self, text: &str) -> Result<(), Ended> {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            self.log("no JSON", json!(text));
            return Err(Ended);
        };
        let id = frame["id"].as_u64().unwrap_or(0);
        let command = frame["command"].as_str().unwrap_or_default();
        match command {
            "response" | "error" => {
                let what = if command == "error" { "error" } else { "answer" };
                self.acknowledged(id, command == "response");
                // After what it does, so that whoever reads the log finds it done.
                self.log(what, frame);
                Ok(())
            }
            "ping" => {
                self.log("ping", frame.clone());
                self.write(&frames::answer(id, &json!({ "timestamp": 1_795_000_000_000_u64 }))).await
            }
            "bridge_status" | "message_checkpoint" | "push_key" if self.shared.dialect == Dialect::Asmux => {
                self.log("told", frame.clone());
                if id > 0 { self.write(&frames::answer(id, &Value::Null)).await } else { Ok(()) }
            }
            _ => {
                self.log("unknown", frame.clone());
                if id == 0 {
                    return Ok(());
                }
                self.write(&frames::unknown_command(self.shared.dialect, id)).await
            }
        }
    }

    fn acknowledged(&mut self, id: u64, well: bool) {
        let Some(flight) = self.state.flight.filter(|flight| flight.id == id) else { return };
        if self.shared.counted(|switches| &mut switches.ignore_acks) {
            return;
        }
        self.state.flight = None;
        self.state.timeouts = 0;
        // What stays in the queue is sent again at once, under another id.
        if well && !self.shared.counted(|switches| &mut switches.duplicate_frames) {
            self.service.done(flight.transactions);
        }
    }
}
