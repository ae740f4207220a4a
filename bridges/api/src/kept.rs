//! Bytes that a bridge gives the gateway to keep: what it has to acknowledge before it can say what it means.

use async_trait::async_trait;
use bytes::Bytes;

use crate::AcceptError;

/// Something too large for memory on its way to be kept, written as it comes. Dropped before its end, it never was.
#[async_trait]
pub trait Filling: Send {
    async fn write(&mut self, piece: Bytes) -> Result<(), AcceptError>;
    /// The bytes are durable when this returns. Only a cursor that names them lets them be found again.
    async fn finish(self: Box<Self>) -> Result<(), AcceptError>;
}
