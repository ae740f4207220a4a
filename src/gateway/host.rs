//! What one bridge is given as its [`Host`](bridge_api::Host).

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bridge_api::{
    AcceptError, Admission, Agent, Attachment, BridgeName, BridgeState, Caller, Cursor, CursorsOf, Fault, File,
    Filling, HostPort, Inbound, KeptId, ThreadId,
};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{bells::Bell, desk::Desk, typing::News};
use crate::{
    intake::Intake,
    store::{BlobId, Fill, StoreError},
    telemetry::{Stage, StateBoard},
};

/// Of which work of a bridge a state is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// In one replica.
    Run,
    /// In every replica.
    Listen,
}

pub(super) struct BridgeHost {
    pub(super) bridge: BridgeName,
    pub(super) work: Work,
    pub(super) bell: Bell,
    pub(super) intake: Arc<Intake>,
    pub(super) board: Arc<StateBoard>,
    pub(super) desk: Arc<Desk>,
    pub(super) typing: mpsc::Sender<News>,
    /// Where what it keeps lies.
    pub(super) data_dir: Arc<Path>,
}

impl BridgeHost {
    /// It has ended, as it was told to.
    pub(super) fn stopped(&self) {
        match self.work {
            Work::Run => self.state(BridgeState::Down { reason: "stopped".into() }),
            Work::Listen => self.board.listener(self.bridge.as_str(), None),
        }
    }

    /// The bridge ended before it was told to, for a reason of this kind.
    pub(super) fn ended(&self, error_type: &'static str) {
        self.board.figures().error(Stage::Bridge, error_type);
    }

    pub(super) fn panicked(&self) {
        self.board.figures().panicked();
    }

    fn refuse(&self, error: &StoreError) -> AcceptError {
        self.board.figures().error(Stage::Accept, error.word());
        AcceptError(error.to_string())
    }
}

/// Large bytes that a bridge gives to keep.
struct Kept {
    scope: String,
    fill: Box<dyn Fill>,
}

#[async_trait]
impl Filling for Kept {
    async fn write(&mut self, piece: Bytes) -> Result<(), AcceptError> {
        self.fill.write(piece).await.map_err(|error| AcceptError(error.to_string()))
    }
    async fn finish(self: Box<Self>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        let Self { scope, fill } = *self;
        let cursors = cursors.into_iter().map(|cursor| (scope.clone(), cursor)).collect();
        fill.finish(cursors).await.map_err(|error| AcceptError(error.to_string()))
    }
}

#[async_trait]
impl HostPort for BridgeHost {
    async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        self.intake.inbound(&self.bridge, events, cursors).await.map_err(|error| self.refuse(&error))
    }
    async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
        self.intake.cursors(&self.bridge, prefix).await.map_err(|error| AcceptError(error.to_string()))
    }
    fn state(&self, state: BridgeState) {
        if self.work == Work::Listen {
            return self.board.listener(self.bridge.as_str(), Some(state));
        }
        if matches!(state, BridgeState::Up | BridgeState::Degraded { .. }) {
            self.intake.back(&self.bridge);
        }
        self.board.bridge(self.bridge.as_str(), state);
    }
    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        self.desk.open(attachment).await
    }
    async fn agent_picture(&self, agent: &Agent) -> Result<Option<Attachment>, Fault> {
        Ok(self.desk.picture(agent).await)
    }
    async fn keep(&self, bytes: Bytes, cursors: CursorsOf) -> Result<KeptId, AcceptError> {
        let cursors = |id: &BlobId| cursors(&KeptId::from(id.0.as_str()));
        let kept = self.intake.keep(&self.bridge, bytes, cursors).await;
        kept.map(|id| KeptId::from(id.0)).map_err(|error| self.refuse(&error))
    }
    async fn fill(&self) -> Result<(KeptId, Box<dyn Filling>), AcceptError> {
        let (id, fill) = self.intake.fill().await.map_err(|error| AcceptError(error.to_string()))?;
        Ok((KeptId::from(id.0), Box::new(Kept { scope: self.bridge.to_string(), fill })))
    }
    async fn ordinal(&self) -> Result<i64, AcceptError> {
        self.intake.ordinal().await.map_err(|error| self.refuse(&error))
    }
    async fn kept(&self, id: &KeptId) -> Result<Option<Bytes>, AcceptError> {
        let id = BlobId(id.as_str().to_owned());
        self.intake.kept(&id).await.map_err(|error| AcceptError(error.to_string()))
    }
    fn free_bytes(&self) -> u64 {
        // A disk that cannot be asked is found out by writing.
        rustix::fs::statvfs(&*self.data_dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    fn ring(&self) {
        self.bell.ring();
    }
    async fn rung(&self) {
        self.bell.heard().await;
    }
    fn admit(&self, caller: &Caller, begins: bool) -> Admission {
        self.intake.admit(&self.bridge, caller, begins)
    }
    fn typing(&self, thread: &ThreadId, typing: bool) {
        // Worthless later: with a full queue it is dropped.
        drop(self.typing.try_send(News { bridge: self.bridge.clone(), thread: thread.clone(), on: typing }));
    }
}
