//! For tests: a host that records and fails when told to, a bridge on which nothing happens, looks at wiring, fuzzing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    AcceptError, Admission, Attachment, BridgeName, BridgeState, Caller, Cursor, CursorsOf, Fault, File, Filling, Host,
    HostPort, Inbound, KeptId,
};

pub mod fuzz;
mod idle;
pub mod look;

pub use idle::Idle;

/// Everything that a bridge told its host.
#[derive(Debug, Default)]
pub struct Recorded {
    pub events: Vec<Inbound>,
    pub cursors: BTreeMap<String, String>,
    pub states: Vec<BridgeState>,
    /// What was given to keep.
    pub kept: BTreeMap<KeptId, Bytes>,
    /// Files that can be opened, by their addresses.
    pub files: BTreeMap<String, Bytes>,
    /// While true, `accept` is refused and nothing is recorded.
    pub refuses: bool,
    pub refused: usize,
    /// What callers are told, and who asked so far, each with whether it was for a new conversation.
    pub admission: Option<Admission>,
    pub callers: Vec<(Caller, bool)>,
    /// What the disk has left. `None`: more than anybody asks for.
    pub free_bytes: Option<u64>,
}

/// A [`HostPort`] that keeps everything in memory.
#[derive(Debug)]
pub struct RecordingHost {
    recorded: Mutex<Recorded>,
    changed: Notify,
    bell: Notify,
    me: Weak<Self>,
    named: AtomicU64,
}

impl RecordingHost {
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            recorded: Mutex::default(),
            changed: Notify::new(),
            bell: Notify::new(),
            me: me.clone(),
            named: AtomicU64::new(0),
        })
    }
    fn next_kept(&self) -> KeptId {
        KeptId::from(format!("{:032x}", self.named.fetch_add(1, Ordering::Relaxed)))
    }
    pub fn host(self: &Arc<Self>, bridge: &str) -> Host {
        Host::new(BridgeName::from(bridge), self.clone())
    }
    pub fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().expect("no test panics while it holds the record")
    }
    /// Waits until so many calls were refused.
    pub async fn wait_refused(&self, count: usize) {
        self.wait_for(|recorded| (recorded.refused >= count).then_some(())).await;
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
    async fn keep(&self, bytes: Bytes, cursors: CursorsOf) -> Result<KeptId, AcceptError> {
        let id = self.next_kept();
        self.accept(Vec::new(), cursors(&id)).await?;
        self.recorded().kept.insert(id.clone(), bytes);
        self.changed.notify_waiters();
        Ok(id)
    }
    async fn fill(&self) -> Result<(KeptId, Box<dyn Filling>), AcceptError> {
        let id = self.next_kept();
        let host = self.me.upgrade().expect("it is asked through a handle on it");
        Ok((id.clone(), Box::new(RecordedFilling { id, bytes: Vec::new(), host })))
    }
    async fn ordinal(&self) -> Result<i64, AcceptError> {
        Ok(self.named.fetch_add(1, Ordering::Relaxed).cast_signed())
    }
    async fn kept(&self, id: &KeptId) -> Result<Option<Bytes>, AcceptError> {
        Ok(self.recorded().kept.get(id).cloned())
    }
    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        let found = self.recorded().files.get(&attachment.url).cloned();
        let bytes = found.ok_or_else(|| Fault::refused(format!("nobody keeps a file {:?}", attachment.name)))?;
        Ok(File::whole(attachment.media_type.clone(), bytes))
    }
    async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        {
            let mut recorded = self.recorded();
            if recorded.refuses {
                recorded.refused += 1;
                self.changed.notify_waiters();
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
    fn free_bytes(&self) -> u64 {
        self.recorded().free_bytes.unwrap_or(u64::MAX)
    }
    fn ring(&self) {
        self.bell.notify_one();
    }
    async fn rung(&self) {
        self.bell.notified().await;
    }
    fn admit(&self, caller: &Caller, begins: bool) -> Admission {
        let mut recorded = self.recorded();
        recorded.callers.push((caller.clone(), begins));
        recorded.admission.unwrap_or(Admission::Welcome)
    }
    fn state(&self, state: BridgeState) {
        self.recorded().states.push(state);
        self.changed.notify_waiters();
    }
}

struct RecordedFilling {
    id: KeptId,
    bytes: Vec<u8>,
    host: Arc<RecordingHost>,
}

#[async_trait]
impl Filling for RecordedFilling {
    async fn write(&mut self, piece: Bytes) -> Result<(), AcceptError> {
        if self.host.recorded().refuses {
            return Err(AcceptError("the recording host was told to refuse".into()));
        }
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }
    async fn finish(self: Box<Self>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        let Self { id, bytes, host } = *self;
        host.accept(Vec::new(), cursors).await?;
        host.recorded().kept.insert(id, bytes.into());
        host.changed.notify_waiters();
        Ok(())
    }
}
