//! Where effects happen: on the inbox, or on a network. A sink does one thing once and says what came of
//! it; it never repeats.

mod files;
mod inbox;
mod network;
mod notes;
mod picture;
mod search;
mod words;

use std::time::Duration;

use async_trait::async_trait;
use bridge_api::{BridgeName, Fault};

use crate::{
    model::{Envelope, Group, OpenAttempt, Order, Pace, Roster, SinkName},
    policy::Rules,
};

/// The far sides by their names.
pub type Sinks = Roster<SinkName, dyn Sink>;

/// How fast each thread of a bridge may go, where that has a limit.
pub type Paces = Roster<BridgeName, Option<Pace>>;

pub use files::Bridges;
pub use inbox::{InboxSink, InboxSinkParts};
pub use network::NetworkSink;

/// One far side.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Attempts that may be under way at once.
    fn limit(&self) -> usize;
    /// How doubt about this far side is settled.
    fn rules(&self) -> Rules;
    /// After this long an attempt is dropped and its outcome unknown.
    fn attempt_limit(&self) -> Duration;
    /// What is known of the far side now, written down with each attempt, so that a probe knows where
    /// to begin looking.
    fn mark(&self) -> i64;
    /// Causes the effect.
    async fn deliver(&self, envelope: &Envelope) -> Result<Done, Fault>;
    /// Says whether an open attempt took effect; `None` means surely not.
    async fn probe(&self, envelope: &Envelope, attempt: OpenAttempt) -> Result<Option<Done>, Fault>;
    /// What has to be said where the message came from, now that the envelope was given up.
    fn buried(&self, envelope: &Envelope, reason: &str, now_millis: i64) -> Vec<Group>;
    /// How fast the lane of this order may go on, where it may not go as fast as the far side takes it.
    fn pace(&self, _order: &Order) -> Option<Pace> {
        None
    }
    /// What has to be said now that the lane of this envelope has become slow, and so many wait behind it.
    fn slowed(&self, _envelope: &Envelope, _pace: Pace, _waiting: usize, _now_millis: i64) -> Option<Group> {
        None
    }
    /// The far side cannot be used, or (`None`) can be again.
    fn held(&self, _reason: Option<&str>) {}
}

/// An effect that happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// The far side's name for it.
    pub result: Option<String>,
    /// Orders that it causes, such as the status of the message.
    pub follow: Vec<Group>,
}
