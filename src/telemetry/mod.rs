//! What the gateway lets be seen of itself: the log, the board of states, and figures. Written by those who know, read
//! by operators. Nothing here decides anything.

mod board;
mod figures;
mod log;
#[cfg(feature = "otlp")]
mod otlp;
pub mod spans;

pub use board::{StateBoard, Stated};
pub use figures::{
    BridgeFigures, BridgeShown, Called, Figures, Flow, FlowShown, Histogram, InboxFigures, InboxShown, Limit, Outcome,
    Reconciled, SinkFigures, SinkNow, SinkShown, Snapshot, Stage, TEXT_FORMAT, commit_seconds,
};
pub use log::{Logging, start_log};
