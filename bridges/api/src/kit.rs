//! For the tests of an adapter: a host that records, and fails when told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{AcceptError, BridgeName, BridgeState, Cursor, Host, HostPort, Inbound};

/// Everything that a bridge told its host.
#[derive(Debug, Default)]
pub struct Recorded {
    pub events: Vec<Inbound>,
    pub cursors: BTreeMap<String, String>,
    pub states: Vec<BridgeState>,
    /// While true, `accept` is refused and nothing is recorded.
    pub refuses: bool,
    pub refused: usize,
}

/// A [`HostPort`] that keeps everything in memory.
#[derive(Debug, Default)]
pub struct RecordingHost {
    recorded: Mutex<Recorded>,
    changed: Notify,
}

impl RecordingHost {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn host(self: &Arc<Self>, bridge: &str) -> Host {
        Host::new(BridgeName::from(bridge), self.clone())
    }
    pub fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().expect("no test panics while it holds the record")
    }
    /// Waits until `ready` finds what it looks for. The caller sets the deadline.
    pub async fn wait_for<T>(&self, mut ready: impl FnMut(&Recorded) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = ready(&self.recorded()) {
                return found;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl HostPort for RecordingHost {
    async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        {
            let mut recorded = self.recorded();
            if recorded.refuses {
                recorded.refused += 1;
                return Err(AcceptError("the recording host was told to refuse".into()));
            }
            recorded.events.extend(events);
            for cursor in cursors {
                match cursor.value {
                    Some(value) => recorded.cursors.insert(cursor.name, value),
                    None => recorded.cursors.remove(&cursor.name),
                };
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }
    async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
        let recorded = self.recorded();
        let found = recorded.cursors.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(found.map(|(name, value)| Cursor::set(name, value)).collect())
    }
    fn state(&self, state: BridgeState) {
        self.recorded().states.push(state);
        self.changed.notify_waiters();
    }
}
