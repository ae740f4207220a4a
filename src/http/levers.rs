//! What operators can do to a gateway at work. Whoever owns the bridges does it; here it is only asked for.

use async_trait::async_trait;
use bridge_api::BridgeName;

use crate::store::{Forgotten, StoreError, Whom};

/// What can be done to a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lever {
    /// It leaves its network. What waits for it is kept, until it is resumed or the process ends.
    Pause,
    Resume,
    /// It leaves its network and comes back.
    Reconnect,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    Done,
    /// It is so already, or paused and cannot be made to reconnect.
    Already,
    /// Another replica runs it, so it is to be told.
    Elsewhere,
    /// The settings name no such bridge, or the gateway is stopping.
    Unknown,
}

#[async_trait]
pub trait Levers: Send + Sync {
    /// Goes on to its end when whoever asked goes away.
    async fn pull(&self, lever: Lever, bridge: &BridgeName) -> Pulled;
    fn is_paused(&self, bridge: &BridgeName) -> bool;
    /// Removes whatever is kept of a person, in the store and in memory.
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError>;
}

impl Lever {
    pub(super) const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Reconnect];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reconnect => "reconnect",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lever| lever.word() == word)
    }
}
