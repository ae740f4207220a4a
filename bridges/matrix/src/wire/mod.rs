//! Shapes of the wire, read leniently: what is odd is skipped, so that one odd event never fails the others.
//!
//! Only the fields that survive every server and proxy are read.

mod event;
mod frame;
mod synced;
mod transaction;

pub(crate) use event::{Event, Relation, read_event};
pub(crate) use frame::{Heard, answer, ask, error_answer};
pub(crate) use synced::{Synced, read_sync};
pub(crate) use transaction::{Ephemeral, Seen, Transaction, read_body};

use serde_json::Value;

/// A text below this path of keys.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter().try_fold(value, |value, key| value.get(key)).and_then(Value::as_str)
}
