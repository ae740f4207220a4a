//! What one bridge is given as its [`Host`](bridge_api::Host).

use std::sync::Arc;

use async_trait::async_trait;
use bridge_api::{
    AcceptError, Agent, Attachment, BridgeName, BridgeState, Cursor, Fault, File, HostPort, Inbound, ThreadId,
};
use tokio::sync::mpsc;

use super::{desk::Desk, typing::News};
use crate::{intake::Intake, telemetry::StateBoard};

pub(super) struct BridgeHost {
    pub(super) bridge: BridgeName,
    pub(super) intake: Arc<Intake>,
    pub(super) board: Arc<StateBoard>,
    pub(super) desk: Arc<Desk>,
    pub(super) typing: mpsc::Sender<News>,
}

#[async_trait]
impl HostPort for BridgeHost {
    async fn accept(&self, events: Vec<Inbound>, cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        self.intake.inbound(&self.bridge, events, cursors).await.map_err(|error| AcceptError(error.to_string()))
    }
    async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
        self.intake.cursors(&self.bridge, prefix).await.map_err(|error| AcceptError(error.to_string()))
    }
    fn state(&self, state: BridgeState) {
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
    fn typing(&self, thread: &ThreadId, typing: bool) {
        // Worthless later: with a full queue it is dropped.
        drop(self.typing.try_send(News { bridge: self.bridge.clone(), thread: thread.clone(), on: typing }));
    }
}
