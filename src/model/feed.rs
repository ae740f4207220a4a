//! What the pump is told by those who have something for it.

use crate::model::{SinkName, Waiting};

#[derive(Debug)]
pub enum Feed {
    /// These were accepted.
    Waiting(Vec<Waiting>),
    /// The far side of this sink is back.
    Back(SinkName),
}
