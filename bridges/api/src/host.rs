//! The way back: what a bridge may ask of the gateway.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Admission, Agent, Attachment, BridgeName, Caller, Fault, File, Filling, Inbound, KeptId, ThreadId};

/// A named value that a bridge keeps between runs: a position, or what it knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Unique within the bridge, at most 200 bytes.
    pub name: String,
    /// `None` removes it.
    pub value: Option<String>,
}

impl Cursor {
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
    pub fn remove(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// How a bridge is, for health checks and operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BridgeState {
    Connecting,
    Up,
    /// Works, with something that an operator should look at.
    Degraded {
        reason: String,
    },
    Down {
        reason: String,
    },
    /// Another replica of the gateway runs it. The gateway says so itself, and no bridge does.
    Elsewhere,
}

/// Where a reported message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The inbox has it.
    Done,
    /// It was given up, for this reason, until an operator puts it back.
    Dead(String),
}

/// The event could not be kept. The bridge does not acknowledge it, slows down and reports it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AcceptError(pub String);

/// The cursors to save with kept bytes, once their name is known.
pub type CursorsOf = Box<dyn FnOnce(&KeptId) -> Vec<Cursor> + Send>;

/// What the gateway implements, and a recording host in tests.
#[async_trait]
pub trait HostPort: Send + Sync {
    async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError>;
    async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError>;
    fn state(&self, state: BridgeState);
    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        Err(Fault::refused(format!("nobody keeps a file {:?}", attachment.name)))
    }
    async fn agent_picture(&self, _agent: &Agent) -> Result<Option<Attachment>, Fault> {
        Ok(None)
    }
    async fn keep(&self, _bytes: Bytes, _cursors: CursorsOf) -> Result<KeptId, AcceptError> {
        Err(AcceptError("nothing is kept here".into()))
    }
    async fn fill(&self) -> Result<(KeptId, Box<dyn Filling>), AcceptError> {
        Err(AcceptError("nothing is kept here".into()))
    }
    async fn ordinal(&self) -> Result<i64, AcceptError> {
        Err(AcceptError("nothing is kept here".into()))
    }
    async fn kept(&self, _id: &KeptId) -> Result<Option<Bytes>, AcceptError> {
        Ok(None)
    }
    fn free_bytes(&self) -> u64 {
        u64::MAX
    }
    fn typing(&self, _thread: &ThreadId, _typing: bool) {}
    fn ring(&self) {}
    async fn rung(&self) {
        std::future::pending::<()>().await;
    }
    fn admit(&self, _caller: &Caller, _begins: bool) -> Admission {
        Admission::Welcome
    }
}

/// A handle on the gateway, given to [`Bridge::run`](crate::Bridge::run). Cheap to clone.
#[derive(Clone)]
pub struct Host {
    bridge: BridgeName,
    port: Arc<dyn HostPort>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("bridge", &self.bridge).finish_non_exhaustive()
    }
}

impl Host {
    pub fn new(bridge: BridgeName, port: Arc<dyn HostPort>) -> Self {
        Self { bridge, port }
    }
    pub fn bridge(&self) -> &BridgeName {
        &self.bridge
    }
    /// Keeps the events, in their order, and the cursors with them: all of it or nothing. They are
    /// durable when this returns, and only then may the network be told so. Many events in one call
    /// cost one sync of the disk.
    pub async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        self.port.accept(events, cursors).await
    }
    /// Whether this caller may be acknowledged; `begins`: with a conversation that is new, which is counted. Only for a
    /// bridge that names no [`caller`](crate::Bridge::caller); for others it is asked in [`accept`](Self::accept), where
    /// what is not let in is counted and dropped. Cheap.
    pub fn admit(&self, caller: &Caller, begins: bool) -> Admission {
        self.port.admit(caller, begins)
    }
    /// Keeps cursors alone.
    pub async fn save_cursors(&self, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        self.port.accept(Vec::new(), cursors).await
    }
    /// All cursors of this bridge whose name begins with `prefix`, ordered by name.
    pub async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
        self.port.cursors(prefix).await
    }
    /// Says how the bridge is. Cheap; the last word counts.
    pub fn state(&self, state: BridgeState) {
        self.port.state(state);
    }
    /// Opens a file of an agent's message, from its beginning. Each piece has a time limit.
    pub async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        self.port.open(attachment).await
    }
    /// The agent's picture as the inbox shows it now, as an attachment to [`open`](Self::open). May ask
    /// the inbox; the answer is remembered for a while.
    pub async fn agent_picture(&self, agent: &Agent) -> Result<Option<Attachment>, Fault> {
        self.port.agent_picture(agent).await
    }
    /// Keeps bytes and cursors, in one transaction: durable when this returns. For what fits into memory; many
    /// callers share one sync of the disk. Kept bytes go when the gateway's time of remembering is over, the
    /// first of the cursors is removed, there is no cursor `held/` with their id behind it, and nothing waits that
    /// was reported within the hour after they came.
    pub async fn keep(
        &self,
        bytes: Bytes,
        cursors: impl FnOnce(&KeptId) -> Vec<Cursor> + Send + 'static,
    ) -> Result<KeptId, AcceptError> {
        self.port.keep(bytes, Box::new(cursors)).await
    }
    /// Begins to keep something too large for memory.
    pub async fn fill(&self) -> Result<(KeptId, Box<dyn Filling>), AcceptError> {
        self.port.fill().await
    }
    /// A number, not below 0, that is greater than all that were given out before, by whichever replica; those from before
    /// a restart as far as the clock was not set back.
    pub async fn ordinal(&self) -> Result<i64, AcceptError> {
        self.port.ordinal().await
    }
    /// Kept bytes, whole. `None` when they are gone.
    pub async fn kept(&self, id: &KeptId) -> Result<Option<Bytes>, AcceptError> {
        self.port.kept(id).await
    }
    /// Bytes that the disk has left for what is to be kept. Cheap.
    pub fn free_bytes(&self) -> u64 {
        self.port.free_bytes()
    }
    /// Something was kept that whoever [runs](crate::Bridge::run) the bridge has to take up, in whatever replica. Cheap.
    pub fn ring(&self) {
        self.port.ring();
    }
    /// Returns when it was [rung](Self::ring) since this was asked last, and now and then by itself where there are other
    /// replicas, whose word may be lost. For one who waits; may be dropped.
    pub async fn rung(&self) {
        self.port.rung().await;
    }
    /// The peer is typing, or no longer is. Shown to agents if that can be done at once, else dropped.
    pub fn typing(&self, thread: &ThreadId, typing: bool) {
        self.port.typing(thread, typing);
    }
}
