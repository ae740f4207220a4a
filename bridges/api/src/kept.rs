//! Bytes that a bridge gives the gateway to keep: what it has to acknowledge before it can say what it means.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{AcceptError, Cursor};

/// Something too large for memory on its way to be kept, written as it comes. Dropped before its end, it never was.
#[async_trait]
pub trait Filling: Send + Sync {
    async fn write(&mut self, piece: Bytes) -> Result<(), AcceptError>;
    /// The bytes and the cursors are durable when this returns. Kept bytes stay at least as long as the first of
    /// the cursors.
    async fn finish(self: Box<Self>, cursors: Vec<Cursor>) -> Result<(), AcceptError>;
}
