//! Which websocket is the current one, what is asked of it, and what was heard and seen of all of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::faults::SocketFault;

/// Frames from clients, and ends of connections, that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Orders that one websocket may have before it has looked at them.
pub(super) const ORDERS_MAX: usize = 256;

/// What somebody wants of the current websocket.
pub(super) enum Order {
    /// A newer one has come.
    Replace,
    Strike(SocketFault),
    /// A request to the client, whose whole answer is told.
    Ask {
        command: String,
        data: Value,
        answer: oneshot::Sender<Value>,
    },
    /// A text frame as it is.
    Text(String),
}

/// How a websocket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// None when there was no close frame.
    pub code: Option<u16>,
    pub reason: String,
    pub by_client: bool,
}

#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<(u64, mpsc::Sender<Order>)>,
    connections: u64,
    heard: VecDeque<Value>,
    closed: VecDeque<Closed>,
}

impl Board {
    /// A new websocket is the current one from now on. Returns its number among all.
    pub(super) fn enter(&self, orders: mpsc::Sender<Order>) -> u64 {
        let mut state = self.state();
        state.connections += 1;
        let generation = state.connections;
        if let Some((_, old)) = state.current.replace((generation, orders)) {
            // A full or closed queue belongs to one that is ending anyway.
            drop(old.try_send(Order::Replace));
        }
        generation
    }

    /// Returns whether it was the current one.
    pub(super) fn leave(&self, generation: u64) -> bool {
        let mut state = self.state();
        let current = state.current.as_ref().is_some_and(|(number, _)| *number == generation);
        if current {
            state.current = None;
        }
        current
    }

    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.state().current.as_ref().is_some_and(|(number, _)| *number == generation)
    }

    /// False when nobody is connected.
    pub(super) fn order(&self, order: Order) -> bool {
        self.state().current.as_ref().is_some_and(|(_, orders)| orders.try_send(order).is_ok())
    }

    pub(super) fn hear(&self, frame: Value) {
        remember(&mut self.state().heard, frame);
    }

    pub(super) fn note_end(&self, closed: Closed) {
        remember(&mut self.state().closed, closed);
    }

    pub(super) fn connections(&self) -> u64 {
        self.state().connections
    }

    pub(super) fn heard(&self) -> Vec<Value> {
        self.state().heard.iter().cloned().collect()
    }

    pub(super) fn closed(&self) -> Vec<Closed> {
        self.state().closed.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() == REMEMBERED_MAX {
        list.pop_front();
    }
    list.push_back(entry);
}
