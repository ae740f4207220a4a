//! The state board: how each far side is, since when and why. Read by health checks, written by those who know.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bridge_api::BridgeState;
use serde::Serialize;

use crate::clock;

#[derive(Debug, Default)]
pub struct StateBoard {
    bridges: Mutex<BTreeMap<String, Stated>>,
    inboxes: Mutex<BTreeMap<String, Stated>>,
    stopping: AtomicBool,
}

/// A state, and when it began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stated {
    #[serde(flatten)]
    pub state: BridgeState,
    /// Unix milliseconds.
    pub since_millis: i64,
}

impl StateBoard {
    pub fn bridge(&self, name: &str, state: BridgeState) {
        set(&self.bridges, name, state);
    }
    pub fn inbox(&self, name: &str, state: BridgeState) {
        set(&self.inboxes, name, state);
    }
    pub fn bridges(&self) -> BTreeMap<String, Stated> {
        lock(&self.bridges).clone()
    }
    pub fn inboxes(&self) -> BTreeMap<String, Stated> {
        lock(&self.inboxes).clone()
    }
    /// From now on nothing new is taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The moment stays when only the wording is repeated.
fn set(board: &Mutex<BTreeMap<String, Stated>>, name: &str, state: BridgeState) {
    let mut board = lock(board);
    match board.get(name) {
        Some(stated) if stated.state == state => {}
        Some(_) | None => {
            board.insert(name.to_owned(), Stated { state, since_millis: clock::now_millis() });
        }
    }
}

fn lock(board: &Mutex<BTreeMap<String, Stated>>) -> MutexGuard<'_, BTreeMap<String, Stated>> {
    board.lock().expect("nothing panics while it holds the board")
}
