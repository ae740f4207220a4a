//! The words of the gateway as types. No I/O, no async, no clock.

mod about;
mod envelope;
mod feed;
pub mod gate;
mod ids;
mod lane;
mod late_failure;
pub mod orders;
pub mod pace;
mod partitions;
mod roster;
mod session;
mod witness;
mod words;

pub use about::About;
pub use envelope::{
    Carries, Envelope, Group, MessageRef, MessageStatus, NewEnvelope, OnDuplicate, OpenAttempt, Order, Waiting,
};
pub use feed::{CATCH_UP_LIMIT_MILLIS, Feed};
pub use ids::{EnvelopeId, InboxName, OWN_SCOPE, SinkName};
pub use lane::{Lane, LaneId, PARTS_MAX, rank_of};
pub use late_failure::LateFailure;
pub use pace::Pace;
pub use partitions::{PARTITIONS, Partition, Partitions};
pub use roster::Roster;
pub use session::Session;
pub use witness::{Witness, Witnesses};
pub use words::plain;
