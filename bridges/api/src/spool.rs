//! What a bridge has acknowledged and has not worked on yet, each with a cursor that stands for it. Anybody may put
//! something in, in every replica; one takes it out.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{AcceptError, Cursor, Filling, Host, KeptId};

/// Between two counts of a spool that may be full. It is read whole for one.
const COUNT_REST: Duration = Duration::from_secs(1);

/// The way into the spool of one bridge.
#[derive(Debug)]
pub struct Spool {
    host: Host,
    prefix: &'static str,
    count_max: usize,
    /// What was there when it was counted, and what was put in here since.
    counted: AtomicUsize,
    since: AtomicUsize,
    counted_at: Mutex<Option<Instant>>,
}

/// Something in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Of kept bytes, or of text that was [put](Spool::put) in.
    pub id: KeptId,
    pub about: String,
}

impl Spooled {
    /// What is in a spool, in its order: what was kept before something else began to come is before it, also where it
    /// came to another replica. Whoever takes something out removes the cursor that has the prefix and the id, in the
    /// transaction that accepts what it says.
    pub async fn all(host: &Host, prefix: &str) -> Result<Vec<Self>, AcceptError> {
        let mut found: Vec<_> =
            host.cursors(prefix).await?.into_iter().filter_map(|cursor| place(prefix, cursor)).collect();
        found.sort_by_key(|(ordinal, _)| *ordinal);
        Ok(found.into_iter().map(|(_, spooled)| spooled).collect())
    }
}

/// What was kept before there were several replicas has no number, and its id tells when it came.
fn place(prefix: &str, Cursor { name, value }: Cursor) -> Option<(u64, Spooled)> {
    let (id, value) = (KeptId::from(name.strip_prefix(prefix)?), value?);
    let numbered = value.split_once(' ').and_then(|(number, about)| Some((number.parse().ok()?, about.to_owned())));
    let (ordinal, about) = numbered.unwrap_or((0, value));
    Some((ordinal, Spooled { id, about }))
}

fn numbered(ordinal: i64, about: &str) -> String {
    format!("{ordinal} {about}")
}

/// Rings when it is dropped, unless nothing was put in: also for one who went away in the middle, when it may be in.
struct Bell<'a> {
    host: &'a Host,
    is_due: bool,
}

impl<'a> Bell<'a> {
    fn of(host: &'a Host) -> Self {
        Self { host, is_due: true }
    }
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        if self.is_due {
            self.host.ring();
        }
    }
}

impl Spool {
    /// With cursors whose names begin with `prefix`.
    pub fn new(host: &Host, prefix: &'static str, count_max: usize) -> Self {
        let (counted, since, counted_at) = Default::default();
        Self { host: host.clone(), prefix, count_max, counted, since, counted_at }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Keeps bytes that fit into memory, and `about` them. Durable when this returns.
    pub async fn keep(&self, bytes: Bytes, about: &str) -> Result<KeptId, AcceptError> {
        let (prefix, value) = (self.prefix, numbered(self.host.ordinal().await?, about));
        let bell = Bell::of(&self.host);
        let kept = self.host.keep(bytes, move |id| vec![Cursor::set(format!("{prefix}{id}"), value)]).await;
        self.is_in(bell, kept.is_ok());
        kept
    }

    /// Keeps text in a cursor of its own, which has `prefix` and the id: it is gone for good when that is removed.
    pub async fn put(&self, text: String, prefix: &str) -> Result<(), AcceptError> {
        let ordinal = self.host.ordinal().await?;
        let cursors = vec![
            Cursor::set(format!("{}{ordinal}", self.prefix), numbered(ordinal, "")),
            Cursor::set(format!("{prefix}{ordinal}"), text),
        ];
        let bell = Bell::of(&self.host);
        let saved = self.host.save_cursors(cursors).await;
        self.is_in(bell, saved.is_ok());
        saved
    }

    /// Ends what [`Host::fill`] began, the same way.
    pub async fn finish(&self, (id, filling): (&KeptId, Box<dyn Filling>), about: &str) -> Result<(), AcceptError> {
        let value = numbered(self.host.ordinal().await?, about);
        let bell = Bell::of(&self.host);
        let finished = filling.finish(vec![Cursor::set(format!("{}{id}", self.prefix), value)]).await;
        self.is_in(bell, finished.is_ok());
        finished
    }

    fn is_in(&self, mut bell: Bell<'_>, kept: bool) {
        bell.is_due = kept;
        self.since.fetch_add(usize::from(kept), Ordering::AcqRel);
    }

    /// Whether it may hold no more, nearly: while there is much room it is hardly ever counted, and otherwise once a
    /// second, so it may come to hold more where several replicas fill it at once.
    pub async fn is_full(&self) -> bool {
        if self.is_to_count() {
            let since = self.since.load(Ordering::Acquire);
            // What cannot be read cannot be written either, as whoever puts something in will hear.
            if let Ok(found) = self.host.cursors(self.prefix).await {
                self.counted.store(found.len(), Ordering::Release);
                // Another count may have ended meanwhile.
                let less = |now: usize| Some(now.saturating_sub(since));
                self.since.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok();
            }
        }
        self.count() >= self.count_max
    }

    fn count(&self) -> usize {
        self.counted.load(Ordering::Acquire) + self.since.load(Ordering::Acquire)
    }

    fn is_to_count(&self) -> bool {
        let mut counted_at = self.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let rested =
            counted_at.is_none_or(|at| now.duration_since(at) >= COUNT_REST && self.count() >= self.count_max / 2);
        if rested {
            *counted_at = Some(now);
        }
        rested
    }
}

#[cfg(all(test, feature = "kit"))]
mod tests {
    use super::*;
    use crate::kit::RecordingHost;

    const PREFIX: &str = "mail/";

    #[tokio::test]
    async fn a_spool_is_in_the_order_of_its_numbers_whatever_the_ids_and_what_has_none_is_first() {
        let recording = RecordingHost::new();
        let host = recording.host("mail");
        let old = [("mail/b", r#"{"two": 2}"#), ("mail/a", "one"), ("mail/e", "11 eleventh"), ("mail/d", "9 ninth")];
        host.save_cursors(old.map(|(name, value)| Cursor::set(name, value)).into()).await.unwrap();
        host.save_cursors(vec![Cursor::set("mid/x", "1 another's")]).await.unwrap();
        let about: Vec<_> = Spooled::all(&host, PREFIX).await.unwrap().into_iter().map(|one| one.about).collect();
        assert_eq!(about, ["one", r#"{"two": 2}"#, "ninth", "eleventh"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_spool_is_full_until_somebody_else_has_taken_something_out() {
        let recording = RecordingHost::new();
        let host = recording.host("mail");
        let spool = Spool::new(&host, PREFIX, 2);
        for about in ["first", "second"] {
            assert!(!spool.is_full().await);
            spool.keep(Bytes::new(), about).await.unwrap();
            host.rung().await;
        }
        assert!(spool.is_full().await);
        let another = Spool::new(&host, PREFIX, 2);
        assert!(another.is_full().await, "it counts what others have put in");
        let first = Spooled::all(&host, PREFIX).await.unwrap().remove(0);
        assert_eq!(first.about, "first");
        host.save_cursors(vec![Cursor::remove(format!("{PREFIX}{}", first.id))]).await.unwrap();
        tokio::time::advance(COUNT_REST).await;
        assert!(!spool.is_full().await && !another.is_full().await);
        let (id, filling) = host.fill().await.unwrap();
        another.finish((&id, filling), "third").await.unwrap();
        assert!(another.is_full().await);
        recording.recorded().refuses = true;
        assert!(spool.keep(Bytes::new(), "fourth").await.is_err());
        assert!(!spool.is_full().await, "nothing came in here, and it was counted just now");
    }
}
