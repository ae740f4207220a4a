//! A blob on its way into a file of ours: written aside, and named once it is whole and on the disk.

use std::{fs::File, io, io::Write, sync::Arc};

use async_trait::async_trait;
use bridge_api::Cursor;
use bytes::Bytes;

use super::{accept, blobs::Blobs, writer::Writer};
use crate::store::{BlobId, Fill, StoreError};

pub(super) struct Filling {
    id: BlobId,
    bytes: u64,
    /// `None` while a piece is being written, and after one that failed.
    file: Option<File>,
    blobs: Blobs,
    writer: Arc<Writer>,
    /// The file got its name.
    placed: bool,
}

impl Filling {
    pub(super) fn new(id: BlobId, file: File, blobs: Blobs, writer: Arc<Writer>) -> Self {
        Self { id, bytes: 0, file: Some(file), blobs, writer, placed: false }
    }

    fn take(&mut self) -> Result<File, StoreError> {
        self.file.take().ok_or_else(|| StoreError::Unwritable("an earlier piece of it could not be written".to_owned()))
    }
}

#[async_trait]
impl Fill for Filling {
    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let mut file = self.take()?;
        let length = piece.len() as u64;
        let written = blocking(move || file.write_all(&piece).map(|()| file)).await?;
        self.file = Some(written);
        self.bytes += length;
        Ok(())
    }

    async fn finish(mut self: Box<Self>, cursors: Vec<(String, Cursor)>) -> Result<(), StoreError> {
        let file = self.take()?;
        let (blobs, id) = (self.blobs.clone(), self.id.clone());
        blocking(move || blobs.place(&id, &file)).await?;
        self.placed = true;
        let (id, bytes) = (self.id.clone(), self.bytes);
        let filled = self.writer.call(move |work| Ok(accept::filled(work, &id, bytes, &cursors)?)).await;
        if matches!(filled, Err(StoreError::Unwritable(_))) {
            // Nobody will ever name it, and the disk may be full.
            let (blobs, id) = (self.blobs.clone(), self.id.clone());
            blocking(move || blobs.remove(&id)).await.ok();
        }
        filled
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.placed {
            self.blobs.abandon(&self.id);
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StoreError> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Unwritable(format!("blobs: {error}")))?;
    done.map_err(|error| StoreError::Unwritable(format!("blobs: {error}")))
}
