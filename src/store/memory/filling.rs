//! A large blob on its way into the model.

use async_trait::async_trait;
use bridge_api::Cursor;
use bytes::Bytes;

use super::MemoryStore;
use crate::store::{Batch, Blob, BlobId, Fill, Store, StoreError};

pub(super) struct Filling {
    pub(super) store: MemoryStore,
    pub(super) id: BlobId,
    pub(super) bytes: Vec<u8>,
}

#[async_trait]
impl Fill for Filling {
    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        drop(self.store.write()?);
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }
    async fn finish(self: Box<Self>, cursors: Vec<(String, Cursor)>) -> Result<(), StoreError> {
        let Self { store, id, bytes } = *self;
        let held_by = cursors.first().map(|(scope, cursor)| (scope.clone(), cursor.name.clone()));
        let blobs = vec![Blob { id, bytes: bytes.into(), held_by }];
        store.accept(Batch { cursors, blobs, ..Batch::default() }, 0).await.map(drop)
    }
}
