//! What people look at: lists, one message's whole history, what a search finds. Shapes only; the stores fill them.

use bridge_api::Key;

use crate::model::{About, EnvelopeId, LaneId, SinkName};

/// Which rows of a list are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Only what is for this sink.
    pub sink: Option<String>,
    /// Only what stands behind this row, the last one of the answer before.
    pub after: Option<RowMark>,
    pub count_max: usize,
}

impl Rows {
    pub fn first(count_max: usize) -> Self {
        Self { count_max, ..Self::default() }
    }
}

/// Where a row stands in its list. What waits goes by its number alone, a dead letter by its last moment first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowMark {
    pub at_millis: i64,
    pub id: EnvelopeId,
}

/// What a search is for: whatever fits one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How the key begins.
    pub key: Option<String>,
    /// The inbox's number of a message: what came of an agent's, or became it.
    pub message: Option<i64>,
    pub lanes: Vec<LaneId>,
    /// So many numbers of envelopes are looked through at once.
    pub stretch: i64,
    pub count_max: usize,
}

impl Wanted {
    /// `result` is the far side's name for it; an inbox names `CONVERSATION/MESSAGE`.
    pub(super) fn fits(&self, key: &str, lane: LaneId, result: Option<&str>) -> bool {
        let by_key = || self.key.as_ref().is_some_and(|begin| key.starts_with(begin.as_str()));
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let by_message = |message: i64| {
            // `INBOX:MESSAGE/…`; what a network reports has no colon before its first slash.
            let of_agent = key.split_once('/').and_then(|(owner, _)| owner.split_once(':')).map(|(_, number)| number);
            let became = result.and_then(|result| result.split_once('/')).map(|(_, number)| number);
            number(of_agent) == Some(message) || number(became) == Some(message)
        };
        by_key() || self.message.is_some_and(by_message) || self.lanes.contains(&lane)
    }

    /// Only lanes are asked for, so that keys need not be read.
    pub(super) fn lanes_alone(&self) -> bool {
        self.key.is_none() && self.message.is_none()
    }
}

/// What one stretch held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Newest first, without their attempts.
    pub hits: Vec<History>,
    /// Where the next stretch begins; `None` at the end.
    pub before: Option<EnvelopeId>,
}

/// An envelope that was given up in public.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DeadLetter {
    pub id: EnvelopeId,
    pub key: Key,
    pub sink: String,
    pub died_millis: i64,
    pub attempts: u32,
    pub reason: String,
    /// `None` when its order cannot be read.
    pub about: Option<About>,
}

/// An envelope that waits.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Listed {
    pub id: EnvelopeId,
    pub key: Key,
    pub sink: String,
    pub accepted_millis: i64,
    pub due_millis: i64,
    pub attempts: u32,
    /// An attempt is under way or its outcome is unknown.
    pub open: bool,
    /// Of the last attempt that has one.
    pub reason: Option<String>,
    /// `None` when its order cannot be read.
    pub about: Option<About>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct History {
    pub id: EnvelopeId,
    pub key: Key,
    pub sink: String,
    pub accepted_millis: i64,
    pub state: EnvelopeState,
    /// While it waits or is dead: what is done keeps no order.
    pub about: Option<About>,
    pub attempts: Vec<Attempt>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EnvelopeState {
    Waiting { due_millis: i64 },
    Done { at_millis: i64, result: Option<String> },
    Dead { at_millis: i64, reason: String },
    Discarded { at_millis: i64 },
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Attempt {
    /// Counts on over attempts that were not spent and over revivals.
    pub number: u32,
    pub started_millis: i64,
    pub mark: i64,
    /// `None` while it is open.
    pub ended_millis: Option<i64>,
    /// `done`, `again`, `doubt`, `dead`.
    pub outcome: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Depth {
    pub waiting: u64,
    pub dead: u64,
    /// Waiting by sink, those with any, by name.
    pub sinks: Vec<(String, u64)>,
    /// Dead by sink, likewise.
    pub dead_sinks: Vec<(String, u64)>,
}

impl Depth {
    pub fn of(&self, sink: &SinkName) -> u64 {
        self.sinks.iter().find(|(name, _)| name == sink.as_str()).map_or(0, |(_, count)| *count)
    }
}
