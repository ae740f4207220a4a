//! A file on its way, read once and never held whole.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::Fault;

/// Pieces of a file, ending with the first fault.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>;

/// An opened file.
pub struct File {
    /// As its holder says, which is better than what was declared.
    pub media_type: Option<String>,
    /// In bytes, when its holder tells. The pieces end at just this length or with a fault.
    pub length: Option<u64>,
    pub pieces: Pieces,
}

impl File {
    pub fn new(
        media_type: Option<String>,
        length: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, Fault>> + Send + 'static,
    ) -> Self {
        Self { media_type, length, pieces: Box::pin(pieces) }
    }

    /// A file that is whole already.
    pub fn whole(media_type: Option<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(media_type, Some(bytes.len() as u64), stream::iter([Ok(bytes)]))
    }

    /// The whole file, at most `bytes_max` of it: for small ones such as pictures of people.
    pub async fn read(mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        let mut whole = Vec::new();
        while let Some(piece) = self.pieces.next().await {
            let piece = piece?;
            if whole.len() + piece.len() > bytes_max {
                return Err(Fault::refused(format!("the file is larger than {bytes_max} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("media_type", &self.media_type)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
