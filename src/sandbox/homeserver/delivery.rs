//! How transactions are written to a websocket in each dialect, and how that goes wrong on purpose.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::Dialect;
use super::faults::{Picked, SocketFault};
use super::link::Order;
use super::outbox::Transaction;
use super::socket::{Going, InFlight, Link};
use super::wire;

/// One fragment of a message without end.
const FRAGMENT_BYTES: usize = 64 * 1024;

/// How many transactions must wait before this fault can strike.
fn needed(fault: &SocketFault) -> usize {
    match fault {
        SocketFault::Merge { transactions } => *transactions,
        SocketFault::Reorder => 2,
        SocketFault::Cut
        | SocketFault::CutMidFrame
        | SocketFault::Lose
        | SocketFault::Duplicate
        | SocketFault::Close { .. }
        | SocketFault::Delay { .. }
        | SocketFault::Oversized { .. }
        | SocketFault::EndlessFragments { .. }
        | SocketFault::InvalidUtf8
        | SocketFault::NotJson
        | SocketFault::Binary
        | SocketFault::Freeze => 1,
    }
}

impl Link {
    /// Writes what waits, as far as the dialect lets it.
    pub(super) async fn deliver(&mut self) -> Going {
        while self.in_flight.is_none() && self.core.board.is_current(self.generation) {
            let waiting = self.core.look(|house| house.outbox.waiting.len());
            if waiting == 0 {
                return Going::On;
            }
            let picked = self.core.faults.pick_socket(|fault| waiting >= needed(fault));
            let fault = match picked {
                Picked::Nothing => None,
                Picked::Wait => return Going::On,
                Picked::Fault(fault) => Some(fault),
            };
            let batch = self.batch(fault.as_ref());
            let going = match &fault {
                Some(fault) => match self.strike(fault, &batch).await {
                    Some(going) => going,
                    None => self.send(&batch, Some(fault)).await,
                },
                None => self.send(&batch, None).await,
            };
            if going == Going::Over {
                return Going::Over;
            }
        }
        Going::On
    }

    /// The transactions of the next frame.
    fn batch(&self, fault: Option<&SocketFault>) -> Vec<Transaction> {
        let settings = &self.core.settings;
        let usual = if settings.dialect == Dialect::Asmux { settings.merged_max.max(1) } else { 1 };
        let (skip, count) = match fault {
            Some(fault @ SocketFault::Merge { .. }) => (0, needed(fault)),
            Some(SocketFault::Reorder) => (1, 1),
            Some(_) | None => (0, usual),
        };
        self.core.look(|house| house.outbox.waiting.iter().skip(skip).take(count).cloned().collect())
    }

    /// Writes one frame; what comes of it is the dialect's matter.
    async fn send(&mut self, batch: &[Transaction], fault: Option<&SocketFault>) -> Going {
        let times = if fault == Some(&SocketFault::Duplicate) { 2 } else { 1 };
        let number = self.number();
        for _ in 0..times {
            let text = self.frame(batch, number, fault);
            if self.write(text).await == Going::Over {
                // 502 for wsproxy, still queued for asmux: it stays in both.
                return Going::Over;
            }
        }
        self.sent(batch, number);
        Going::On
    }

    fn number(&mut self) -> Option<u64> {
        (self.core.settings.dialect == Dialect::Asmux).then(|| self.next_number())
    }

    fn frame(&self, batch: &[Transaction], number: Option<u64>, fault: Option<&SocketFault>) -> String {
        let mut frame = self.core.look(|house| house.frame(batch, number));
        if let Some(SocketFault::Oversized { bytes }) = fault {
            frame.insert("padding".to_owned(), json!("x".repeat(*bytes)));
        }
        serde_json::Value::Object(frame).to_string()
    }

    /// The bytes are in the kernel: wsproxy is done with them, asmux waits.
    fn sent(&mut self, batch: &[Transaction], number: Option<u64>) {
        let ids: Vec<u64> = batch.iter().map(|transaction| transaction.id).collect();
        match number {
            Some(number) if self.version >= 2 => {
                let (first, later) = self.core.settings.ack_wait;
                let wait = if self.timeouts == 0 { first } else { later };
                self.in_flight = Some(InFlight { number, ids, until: Instant::now() + wait });
            }
            _ => self.core.change(|house| house.outbox.settle(&ids)),
        }
    }

    /// Does what a fault does in place of a frame. None: the frame is to be written after all.
    pub(super) async fn strike(&mut self, fault: &SocketFault, batch: &[Transaction]) -> Option<Going> {
        let going = match fault {
            SocketFault::Duplicate
            | SocketFault::Merge { .. }
            | SocketFault::Reorder
            | SocketFault::Oversized { .. } => return None,
            SocketFault::Delay { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                return None;
            }
            SocketFault::Lose => {
                let number = self.number();
                self.sent(batch, number);
                Going::On
            }
            SocketFault::Cut => {
                let number = self.number();
                self.sent(batch, number);
                Going::Over
            }
            SocketFault::CutMidFrame => {
                let number = self.number();
                let text = self.frame(batch, number, None);
                self.write_bytes(&wire::half_of_text(text.as_bytes())).await;
                self.sent(batch, number);
                Going::Over
            }
            SocketFault::Close { code, reason } => self.close(*code, reason).await,
            SocketFault::EndlessFragments { bytes } => self.fragments(*bytes).await,
            SocketFault::InvalidUtf8 => self.write_bytes(&wire::text(b"{\"status\":\"\xff\xfe\"}")).await,
            SocketFault::NotJson => self.write("this is no JSON".to_owned()).await,
            SocketFault::Binary => {
                let text = self.frame(batch, None, None);
                self.write_message(Message::binary(text.into_bytes())).await
            }
            SocketFault::Freeze => self.freeze().await,
        };
        Some(going)
    }

    async fn fragments(&mut self, bytes: usize) -> Going {
        let payload = vec![b'x'; FRAGMENT_BYTES];
        for index in 0..bytes.div_ceil(FRAGMENT_BYTES) {
            if self.write_bytes(&wire::fragment(index == 0, &payload)).await == Going::Over {
                return Going::Over;
            }
        }
        // No frame may follow: the message is still open.
        loop {
            tokio::select! {
                message = self.stream.next() => if !matches!(message, Some(Ok(_))) { return Going::Over },
                order = self.orders.recv() => if matches!(order, Some(Order::Replace) | None) { return Going::Over },
            }
        }
    }

    async fn write_bytes(&mut self, bytes: &[u8]) -> Going {
        let stream = self.stream.get_mut();
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match tokio::time::timeout(Duration::from_secs(30), written).await {
            Ok(Ok(())) => Going::On,
            Ok(Err(_)) | Err(_) => Going::Over,
        }
    }

    /// Half open: the connection stands, and nothing passes. What wsproxy writes into it is gone.
    async fn freeze(&mut self) -> Going {
        loop {
            if self.core.settings.dialect == Dialect::Wsproxy && self.core.board.is_current(self.generation) {
                let ids: Vec<u64> = self.core.look(|house| house.outbox.waiting.iter().map(|one| one.id).collect());
                if !ids.is_empty() {
                    self.core.change(|house| house.outbox.settle(&ids));
                }
            }
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Replace | Order::Strike(SocketFault::Cut)) | None => return Going::Over,
                    Some(Order::Strike(_) | Order::Text(_) | Order::Ask { .. }) => {}
                },
                _ = self.changed.changed() => {}
            }
        }
    }
}
