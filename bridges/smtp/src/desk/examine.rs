//! Reads one mail and asks how far its sender is proved. Whatever a mail does to its reader, it comes out as something that
//! can be shown.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bridge_api::{Host, KeptId};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use crate::{
    address::Address,
    bounce,
    envelope::Envelope,
    mail::{self, Mail, mime},
    verdict::{Judge, Verdict},
};

/// Larger ones are read on threads that may block, and not many at once: each is in memory while it is read.
const LARGE_BYTES: u64 = 64 * 1024;
const LARGE_AT_ONCE: usize = 4;
/// Waits before a sender is asked about again when DNS could not say. The mail waits, too: not for long.
const PATIENCE: [Duration; 1] = [Duration::from_secs(10)];
/// When the store cannot be read.
const PAUSE: Duration = Duration::from_secs(2);

/// A mail, read.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) id: KeptId,
    pub(crate) envelope: Envelope,
    /// `None` when its bytes are gone: nothing can be shown any more.
    pub(crate) content: Option<Content>,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) mail: Mail,
    /// Of what it says: the same for two copies that came on different ways.
    pub(crate) digest: String,
    pub(crate) verdict: Verdict,
    pub(crate) bounce: Option<bounce::Report>,
}

pub(crate) struct Examiner {
    host: Host,
    judge: Arc<Judge>,
    large: Arc<Semaphore>,
}

impl Examiner {
    pub(crate) fn new(host: Host, judge: Arc<Judge>) -> Self {
        Self { host, judge, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// One sender's mails, in their order.
    pub(crate) async fn examine(&self, mails: Vec<(KeptId, Envelope)>, examined: &mpsc::Sender<Examined>) {
        for (id, envelope) in mails {
            let content = self.content(&id, &envelope).await;
            if examined.send(Examined { id, envelope, content }).await.is_err() {
                return;
            }
        }
    }

    async fn content(&self, id: &KeptId, envelope: &Envelope) -> Option<Content> {
        // Held until it is judged, so that few large mails are in memory at once.
        let _turn = if envelope.bytes >= LARGE_BYTES {
            Some(self.large.acquire().await.expect("the turns are never closed"))
        } else {
            None
        };
        let raw = loop {
            match self.host.kept(id).await {
                Ok(found) => break found?,
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "a mail in the spool cannot be read; it is tried again");
                    sleep(PAUSE).await;
                }
            }
        };
        let (mail, digest, bounce) = self.read(raw.clone()).await;
        let mut verdict = self.judge.judge(&raw, envelope, &mail.from, mail.from_fields).await;
        for pause in PATIENCE {
            if !verdict.retry {
                break;
            }
            sleep(pause).await;
            verdict = self.judge.judge(&raw, envelope, &mail.from, mail.from_fields).await;
        }
        Some(Content { mail, digest, verdict, bounce })
    }

    async fn read(&self, raw: Bytes) -> (Mail, String, Option<bounce::Report>) {
        if (raw.len() as u64) < LARGE_BYTES {
            return read(&raw);
        }
        let whole = raw.clone();
        let read_there = tokio::task::spawn_blocking(move || read(&whole)).await;
        // Only a runtime that ends refuses; then nobody asks for the answer.
        read_there.unwrap_or_else(|_| read(&raw))
    }
}

/// Neither reader panics on what we know of; should one do so all the same, the mail is shown without it.
fn read(raw: &[u8]) -> (Mail, String, Option<bounce::Report>) {
    let bounce = catch_unwind(AssertUnwindSafe(|| bounce::read(raw))).unwrap_or_else(|_| {
        tracing::error!(bytes = raw.len(), "a mail made the reader of bounces panic");
        None
    });
    let mail = mail::read(raw);
    let digest = digest(&mail, raw);
    (mail, digest, bounce)
}

/// Of the author, the subject and the body: servers on the way add other fields.
pub(super) fn digest(mail: &Mail, raw: &[u8]) -> String {
    let mut hash = Sha256::new();
    for from in &mail.from {
        hash.update(from.address.as_ref().map(Address::folded).unwrap_or_default());
        hash.update([0]);
    }
    hash.update(&mail.subject);
    hash.update([0]);
    // Where those who read it see the body begin: some senders forget the blank line.
    hash.update(&raw[mime::head(raw, 0).body..]);
    hex::encode(&hash.finalize()[..8])
}
