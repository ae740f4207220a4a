//! What the pump is told by those who have something for it.

use crate::model::{SinkName, Waiting};

/// Nothing is sent to an inbox's networks before it was asked what was missed, for at most so long: an elder reply may
/// have been missed while nobody listened.
pub const CATCH_UP_LIMIT_MILLIS: i64 = 60_000;

#[derive(Debug)]
pub enum Feed {
    /// These were accepted.
    Waiting(Vec<Waiting>),
    /// The far side of this sink is back.
    Back(SinkName),
    /// Nothing of these sinks is begun before that moment, or before [`Resume`](Self::Resume): something that belongs
    /// before what waits there may still come.
    Pause {
        sinks: Vec<SinkName>,
        until_millis: i64,
    },
    Resume(Vec<SinkName>),
}
