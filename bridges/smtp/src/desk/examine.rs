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
    mail::{self, Mail, Mailbox, mime},
    verdict::{Case, Judge, Verdict},
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
        let small = if envelope.bytes < LARGE_BYTES { Some(self.kept(id).await?) } else { None };
        // A large mail is read twice, so that only its head is in memory while strangers' DNS is slow.
        let (its, judge) = (envelope.clone(), self.judge.clone());
        let opened = self.read(id, small.as_ref(), move |raw| open(raw, &its, &judge)).await?;
        let mut verdict = self.judge.judge(&opened.case, envelope, &opened.from).await;
        for pause in PATIENCE {
            if !verdict.retry {
                break;
            }
            sleep(pause).await;
            verdict = self.judge.judge(&opened.case, envelope, &opened.from).await;
        }
        let (mail, digest, bounce) = self.read(id, small.as_ref(), read).await?;
        if mail.from != opened.from {
            // Its reader gave up. Whoever is shown then is not the one who was asked about.
            verdict = Verdict::unverified(None, "This mail could not be read.");
        }
        Some(Content { mail, digest, verdict, bounce })
    }

    /// Reads a large mail in its turn, so that few are in memory at once, and where that keeps nobody waiting. Nobody else
    /// is waited for meanwhile, or a few senders with slow DNS would stop all others.
    async fn read<T: Send + 'static>(
        &self,
        id: &KeptId,
        small: Option<&Bytes>,
        read: impl Fn(&[u8]) -> T + Clone + Send + 'static,
    ) -> Option<T> {
        if let Some(raw) = small {
            return Some(read(raw));
        }
        let _turn = self.large.acquire().await.expect("the turns are never closed");
        let raw = self.kept(id).await?;
        let (whole, there) = (raw.clone(), read.clone());
        let read_there = tokio::task::spawn_blocking(move || there(&whole)).await;
        // Only a runtime that ends refuses; then nobody asks for the answer.
        Some(read_there.unwrap_or_else(|_| read(&raw)))
    }

    /// The bytes of a mail, as soon as the store gives them.
    async fn kept(&self, id: &KeptId) -> Option<Bytes> {
        loop {
            match self.host.kept(id).await {
                Ok(found) => return found,
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "a mail in the spool cannot be read; it is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// What there is to ask about a mail, and about whom.
struct Opened {
    from: Vec<Mailbox>,
    case: Case,
}

fn open(raw: &[u8], envelope: &Envelope, judge: &Judge) -> Opened {
    let head = mail::read_head(raw);
    let case = judge.case(raw, envelope, &head.from, head.from_fields);
    Opened { from: head.from, case }
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

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, pin::pin, time::Duration};

    use bridge_api::{Cursor, kit::RecordingHost};
    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;
    use crate::desk::tests::{envelope, settings};

    #[tokio::test]
    async fn senders_whose_dns_is_silent_stop_no_other_large_mail() {
        // Takes every question, and answers none.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let settings = settings(&format!(r#", "dns_servers": ["{}"]"#, silent.local_addr().unwrap()));
        let recording = RecordingHost::new();
        let examiner = Examiner::new(recording.host("mail"), Arc::new(Judge::new(&settings).unwrap()));
        let mut mails = Vec::new();
        // The last one names no author, so that nobody has to be asked.
        for from in (0..LARGE_AT_ONCE).map(|number| format!("From: ada@cust{number}.test\r\n")).chain([String::new()]) {
            let body = "x\r\n".repeat(LARGE_BYTES as usize / 3 + 1);
            let raw = format!("{from}Subject: Lamp\r\n\r\n{body}");
            let bytes = raw.len() as u64;
            let id = recording.host("mail").keep(raw.into(), |id| vec![Cursor::set(id.as_str(), "")]).await.unwrap();
            mails.push((id, Envelope { bytes, ..envelope("ada@cust.test", "support@acme.test", 1) }));
        }
        let last = mails[LARGE_AT_ONCE].0.clone();
        let (results, mut done) = mpsc::channel(LARGE_AT_ONCE + 1);
        let mut all = pin!(join_all(mails.into_iter().map(|mail| examiner.examine(vec![mail], &results))));
        let watched = async {
            let first = tokio::select! {
                _ = &mut all => None,
                first = done.recv() => first,
            };
            assert_eq!(first.map(|first| first.id), Some(last));
            while !recording.recorded().kept.values().all(Bytes::is_unique) {
                tokio::select! {
                    _ = &mut all => panic!("large mails were in memory while DNS was silent"),
                    () = sleep(Duration::from_millis(1)) => {}
                }
            }
        };
        timeout(Duration::from_mins(2), watched).await.expect("one of them is examined");
    }
}
