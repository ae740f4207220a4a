//! The body of a mail as a stream: the text from memory, then each file as it comes, encoded on the way. Never holds a
//! file whole.

use std::sync::Arc;

use bridge_api::{Attachment, Fault, File, Host};
use bytes::Bytes;
use futures_util::StreamExt;
use mail_parts::Parts;
use sha2::{Digest, Sha256};

use super::encode::Base64Lines;

mod mail_parts;

pub(crate) use mail_parts::Parts as BodyParts;

/// Octets of a file that are encoded at once: whole lines.
const CHUNK_BYTES: usize = 57 * 512;

/// What one whole reading of a body came to, so that a second one can be held against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

enum Stage {
    Text,
    /// Before the file of this number.
    Next(usize),
    Reading {
        number: usize,
        file: File,
        /// Of the piece that came last.
        rest: Bytes,
        encoder: Base64Lines,
    },
    End,
}

/// One reading of the body.
pub(crate) struct Body {
    host: Host,
    parts: Arc<Parts>,
    stage: Stage,
    written: u64,
    /// The most that may be written.
    bytes_max: u64,
    sha256: Sha256,
    expected: Option<Seal>,
}

impl Body {
    pub(crate) fn new(host: Host, parts: Arc<Parts>, bytes_max: u64, expected: Option<Seal>) -> Self {
        let sha256 = Sha256::new();
        Self { host, parts, stage: Stage::Text, written: 0, bytes_max, sha256, expected }
    }

    /// The next piece; `None` at the end. Not asked again after a fault.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let piece = match &mut self.stage {
                Stage::Text => {
                    self.stage = Stage::Next(0);
                    self.parts.text.clone()
                }
                Stage::Next(number) => {
                    let number = *number;
                    if let Some(attachment) = self.parts.attachments.get(number).cloned() {
                        self.open(number, &attachment).await?
                    } else {
                        self.stage = Stage::End;
                        self.parts.end.clone()
                    }
                }
                Stage::Reading { .. } => self.read().await?,
                Stage::End => return Ok(None),
            };
            if piece.is_empty() {
                continue;
            }
            self.count(&piece)?;
            return Ok(Some(piece));
        }
    }

    pub(crate) fn seal(self) -> Seal {
        Seal { bytes: self.written, sha256: self.sha256.finalize().into() }
    }

    /// Opens a file; its part's header is the piece.
    async fn open(&mut self, number: usize, attachment: &Attachment) -> Result<Bytes, Fault> {
        let file = self.host.open(attachment).await?;
        let header = self.parts.file_header(attachment, file.media_type.as_deref());
        let length = file.length.map_or(0, Base64Lines::encoded_bytes);
        if self.written.saturating_add(length) > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.stage = Stage::Reading { number, file, rest: Bytes::new(), encoder: Base64Lines::default() };
        Ok(header)
    }

    /// Some lines of the open file; may be none.
    async fn read(&mut self) -> Result<Bytes, Fault> {
        let Stage::Reading { number, file, rest, encoder } = &mut self.stage else { return Ok(Bytes::new()) };
        let mut lines = Vec::new();
        if rest.is_empty() {
            let Some(piece) = file.pieces.next().await else {
                encoder.finish(&mut lines);
                self.stage = Stage::Next(*number + 1);
                return Ok(lines.into());
            };
            *rest = piece?;
        }
        let now = rest.split_to(rest.len().min(CHUNK_BYTES));
        encoder.push(&now, &mut lines);
        Ok(lines.into())
    }

    /// Looks at the bounds, and at the end also whether the body is what it was.
    fn count(&mut self, piece: &Bytes) -> Result<(), Fault> {
        self.written += piece.len() as u64;
        if self.written > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.sha256.update(piece);
        let Some(expected) = &self.expected else { return Ok(()) };
        let changed = || Fault::retry("a file changed while the mail was signed");
        if self.written > expected.bytes {
            return Err(changed());
        }
        if matches!(self.stage, Stage::End) {
            let sha256: [u8; 32] = self.sha256.clone().finalize().into();
            if self.written != expected.bytes || sha256 != expected.sha256 {
                return Err(changed());
            }
        }
        Ok(())
    }
}

/// A word that the agent can act on.
pub(crate) fn too_large(bytes_max: u64) -> Fault {
    let mib = bytes_max / (1024 * 1024);
    Fault::refused(format!(
        "the mail is larger than the {mib} MiB that the relay takes: send fewer or smaller files, or links to them"
    ))
}
