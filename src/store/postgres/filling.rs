//! A blob on its way into the database, in pieces, where every replica can read it once it is whole.

use std::{mem, sync::Arc};

use async_trait::async_trait;
use bridge_api::Cursor;
use bytes::{Bytes, BytesMut};
use tokio_util::task::TaskTracker;

use super::{fault::Failure, reader::Reader, verbs::Filled, writer::Writer};
use crate::store::{BlobId, BlobNames, Fill, StoreError};

/// Of one row.
pub(super) const PIECE_BYTES: usize = 256 << 10;

pub(super) struct Filling {
    id: BlobId,
    bytes: i64,
    pieces: i32,
    piece: BytesMut,
    failed: bool,
    side: Arc<Reader>,
    writer: Arc<Writer>,
    tasks: TaskTracker,
    whole: bool,
}

impl Filling {
    /// The row first: pieces without it would never be forgotten.
    pub(super) async fn begin(
        id: &BlobId,
        (side, writer): (Arc<Reader>, Arc<Writer>),
        tasks: TaskTracker,
    ) -> Result<Self, StoreError> {
        let number = id.number().expect("names of blobs are given out by the store");
        let made = number >> BlobNames::BITS;
        let begun = async {
            let client = side.client().await?;
            client.execute("INSERT INTO blob (id, made) VALUES ($1, $2)", &[&id.0, &made]).await?;
            Ok::<_, Failure>(())
        };
        begun.await.map_err(Failure::reason)?;
        let (id, piece) = (id.clone(), BytesMut::new());
        Ok(Self { id, bytes: 0, pieces: 0, piece, failed: false, side, writer, tasks, whole: false })
    }

    async fn put(&mut self, piece: BytesMut) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Unwritable("an earlier piece of it could not be written".to_owned()));
        }
        // Until it is there.
        self.failed = true;
        let put = async {
            let client = self.side.client().await?;
            let sql = client.prepare_cached("INSERT INTO piece (blob, n, bytes) VALUES ($1, $2, $3)").await?;
            client.execute(&sql, &[&self.id.0, &self.pieces, &&piece[..]]).await?;
            Ok::<_, Failure>(())
        };
        put.await.map_err(Failure::reason)?;
        self.failed = false;
        self.pieces += 1;
        self.bytes += piece.len() as i64;
        Ok(())
    }
}

#[async_trait]
impl Fill for Filling {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.piece.extend_from_slice(&bytes);
        while self.piece.len() >= PIECE_BYTES {
            let piece = self.piece.split_to(PIECE_BYTES);
            self.put(piece).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, cursors: Vec<(String, Cursor)>) -> Result<(), StoreError> {
        let rest = mem::take(&mut self.piece);
        if !rest.is_empty() || self.failed {
            self.put(rest).await?;
        }
        let filled = self.writer.call(Filled { id: self.id.clone(), bytes: self.bytes, cursors }).await;
        // What may be whole after all is forgotten in its time.
        self.whole = true;
        filled
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.whole || self.tasks.is_closed() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (side, id) = (self.side.clone(), self.id.0.clone());
        // What stays all the same is forgotten in its time.
        self.tasks.spawn(async move {
            if let Ok(client) = side.client().await {
                let sql = "WITH gone AS (DELETE FROM blob WHERE id = $1 AND bytes IS NULL RETURNING id)
                    DELETE FROM piece USING gone WHERE piece.blob = gone.id";
                client.execute(sql, &[&id]).await.ok();
            }
        });
    }
}
