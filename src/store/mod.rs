//! The durable side: a trait of intents, each verb one whole transaction. Knows neither the networks
//! nor the inbox.

mod copy;
mod forget;
mod lease;
mod location;
mod looking;
mod memory;
mod postgres;
mod shares;
mod sqlite;
mod written;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod suite;

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bridge_api::{BridgeName, Cursor, Key, ThreadId};

pub use copy::{Copied, CopyError, Step as CopyStep, copy};
pub use forget::{By, Forgotten, Whom};
pub use lease::{LEASE_MILLIS, Lease, News, Renewed, Watermark};
pub use location::Location;
pub use looking::{Attempt, DeadLetter, Depth, EnvelopeState, Found, History, Listed, RowMark, Rows, Wanted};
pub use memory::MemoryStore;
pub use postgres::{PostgresPlace, PostgresStore, Tls};
pub use sqlite::{Place, SqliteStore};

use crate::{
    model::{Envelope, EnvelopeId, Group, OWN_SCOPE, PARTS_MAX, Partitions, Session, Waiting},
    telemetry::Histogram,
};

const HOUR_MILLIS: i64 = 3_600_000;

/// The outbox, and what must outlive the process beside it.
///
/// Everything is durable when a verb returns `Ok`. Several verbs that wait together may share one
/// sync of the disk. Time is passed in, in Unix milliseconds.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Keeps all of the batch or nothing. The answer speaks of the groups and, behind them, of those that are held.
    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError>;

    /// Whether several processes may work on this store at once, each on its share. Where they may not, a lease is of
    /// everything, lasts until somebody else takes it, and is never [renewed](Self::renew).
    fn is_shared(&self) -> bool {
        false
    }
    /// Takes what this owner may work on. Where the store is not shared that is everything, and an older lease of any
    /// owner ends: whoever shows it from now on gets [`StoreError::LeaseLost`] and changes nothing. Where it is shared, it
    /// is what nobody who lives holds, up to a fair share, and only an older lease under this very name ends.
    async fn lease(&self, owner: &str, now_millis: i64) -> Result<Lease, StoreError>;
    /// Says that this owner lives, for [`LEASE_MILLIS`] from now. Takes what is missing from its fair share and held by
    /// nobody who lives, and says what others lack. An owner that was taken for dead joins anew: what it held and others
    /// took is not in the new lease, and what nobody took still is, with the same epochs.
    async fn renew(&self, lease: &Lease, now_millis: i64) -> Result<Renewed, StoreError>;
    /// Gives back some of what is held: others may take it at once, and have no reason to think that anything was missed.
    /// Nothing of it may be under way. Returns what is left.
    async fn give_back(&self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError>;
    /// Gives back everything, as one who goes.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
    /// What waits in these of the leased partitions, by ascending id, beginning after `after`, at most
    /// `count_max`. An empty answer is the end.
    async fn waiting(
        &self,
        lease: &Lease,
        partitions: &Partitions,
        after: EnvelopeId,
        count_max: usize,
    ) -> Result<Vec<Waiting>, StoreError>;
    /// What began to wait in the leased partitions since then, whoever accepted it or put it back: nothing that was there
    /// for others to see when this was asked is left out for good. At most about `count_max` at once. May go by what the
    /// lease says and not by what it is still good for.
    async fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError>;
    /// Returns when there may be [news](Self::news): earlier than one would look anyway, or never. May be dropped.
    async fn hint(&self) {
        std::future::pending::<()>().await;
    }
    /// Returns when somebody came, or gave something back, so that a renewal may say something new: earlier than one would
    /// renew anyway, or never. May be dropped.
    async fn moved(&self) {
        std::future::pending::<()>().await;
    }
    /// Says to other processes that something was kept for a bridge to take up. Cheap; may be lost.
    fn ring(&self) {}
    /// Returns when another process [rang](Self::ring) since this was asked last. May be dropped.
    async fn rung(&self) {
        std::future::pending::<()>().await;
    }
    /// Ends attempts and begins others, together. See [`Turn`].
    async fn turn(&self, lease: &Lease, turn: Turn, now_millis: i64) -> Result<Turned, StoreError>;

    async fn session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError>;
    async fn save_session(&self, session: &Session) -> Result<(), StoreError>;
    async fn forget_session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), StoreError>;

    /// Cursors of a scope whose name begins with `prefix`, ordered by name.
    async fn cursors(&self, scope: &str, prefix: &str) -> Result<Vec<Cursor>, StoreError>;

    /// A number greater than all that were given out before, to whichever process; where the store is not shared, to this
    /// one, and to those before as far as the clock was not set back.
    async fn ordinal(&self, now_millis: i64) -> Result<i64, StoreError>;
    /// A name for a blob that is to be kept, by [`accept`](Self::accept) or [`fill`](Self::fill). Later ones sort
    /// behind earlier ones.
    fn name_blob(&self, now_millis: i64) -> BlobId;
    /// Begins a blob that is too large for memory.
    async fn fill(&self, id: &BlobId) -> Result<Box<dyn Fill>, StoreError>;
    async fn blob(&self, id: &BlobId) -> Result<Option<bytes::Bytes>, StoreError>;

    /// The newest dead letters.
    async fn dead(&self, count_max: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.dead_rows(&Rows::first(count_max)).await
    }
    /// Dead letters, newest first.
    async fn dead_rows(&self, rows: &Rows) -> Result<Vec<DeadLetter>, StoreError>;
    /// Puts dead letters back, due now, with fresh attempts, under their old ids: so they go before
    /// what came later in their lanes. Unknown and living keys are skipped.
    async fn revive(&self, keys: &[Key], now_millis: i64) -> Result<Vec<Waiting>, StoreError>;
    /// Drops dead letters for good; their history stays. Returns how many there were.
    async fn discard(&self, keys: &[Key], now_millis: i64) -> Result<usize, StoreError>;
    /// Everything known of one key; the newest envelope, should several have borne it.
    async fn history(&self, key: &Key) -> Result<Option<History>, StoreError>;
    /// The same of the envelope with this number, at once, however many there are.
    async fn history_of(&self, id: EnvelopeId) -> Result<Option<History>, StoreError>;
    /// What has waited longest, for people to look at.
    async fn list(&self, count_max: usize) -> Result<Vec<Listed>, StoreError> {
        self.list_rows(&Rows::first(count_max)).await
    }
    /// What waits, oldest first.
    async fn list_rows(&self, rows: &Rows) -> Result<Vec<Listed>, StoreError>;
    /// How much there is. Counted as it comes and goes, so asking costs nothing that grows.
    async fn depth(&self) -> Result<Depth, StoreError>;
    /// Looks through one stretch of envelopes in whatever state, newest first, from below `before` or from the newest.
    async fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Result<Found, StoreError>;
    /// Sessions whose thread or `source_id` holds this text; those that are just it go first, then by bridge and thread.
    async fn sessions_like(&self, text: &str, count_max: usize) -> Result<Vec<Session>, StoreError>;
    /// What it is, in words for people.
    fn describe(&self) -> String;
    /// When each of these that still wait was accepted.
    async fn accepted_millis(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, StoreError>;
    /// What it takes of its disk, and what is left there.
    async fn space(&self) -> Result<Space, StoreError>;
    /// How long transactions take, where that is measured.
    fn commits(&self) -> Option<Histogram> {
        None
    }
    /// Forgets finished work, and the keys of events, from before this moment. Returns how many of both
    /// went. What waits or is dead stays, with its keys, and so do blobs that it may name, and those whose
    /// cursor is still there. May take several transactions, each of them whole.
    async fn prune(&self, before_millis: i64) -> Result<usize, StoreError>;
    /// Removes whatever is kept of a person, so that no file holds it any more. The keys of their events stay as hashes,
    /// so that none of them is taken for news. Does nothing while something of theirs waits that is not to be removed.
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError>;
    /// `Ok` when something can be written now.
    async fn check(&self) -> Result<(), StoreError>;
    /// Lets what was asked for end; later verbs fail.
    async fn close(&self);
}

/// What one caller wants kept together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub groups: Vec<Group>,
    /// With their scope: a bridge's name, or one of ours.
    pub cursors: Vec<(String, Cursor)>,
    pub blobs: Vec<Blob>,
    /// Kept, and not worked on: dead letters from the beginning, for somebody to decide about.
    pub held: Vec<Held>,
}

/// What is kept as a dead letter at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub group: Group,
    pub reason: String,
    /// Orders that it causes when it is new.
    pub follow: Vec<Group>,
}

/// Something small to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    pub id: BlobId,
    pub bytes: bytes::Bytes,
    /// Scope and name of a cursor: while it is there, so is the blob.
    pub held_by: Option<(String, String)>,
}

/// A blob on its way, piece by piece. Dropped before its end, it never was.
#[async_trait]
pub trait Fill: Send + Sync {
    async fn write(&mut self, piece: bytes::Bytes) -> Result<(), StoreError>;
    /// Durable when it returns, together with the cursors; the first of them holds it.
    async fn finish(self: Box<Self>, cursors: Vec<(String, Cursor)>) -> Result<(), StoreError>;
}

/// What became of one group, in the order of the batch. For one that is held, what waits is what it causes.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    New(Vec<Waiting>),
    /// Known already: nothing changed.
    Duplicate,
    /// Known and dead: put back.
    Revived(Vec<Waiting>),
}

impl Accepted {
    pub fn waiting(&self) -> &[Waiting] {
        match self {
            Self::New(waiting) | Self::Revived(waiting) => waiting,
            Self::Duplicate => &[],
        }
    }
    pub fn into_waiting(self) -> Vec<Waiting> {
        match self {
            Self::New(waiting) | Self::Revived(waiting) => waiting,
            Self::Duplicate => Vec::new(),
        }
    }
}

/// Attempts that end and attempts that begin, in one transaction and in this order: fsync is the price
/// of a message.
///
/// Where the store is shared, only those of partitions whose epoch is still the lease's are looked at. One partition that
/// was lost must not keep the others from going on, so the rest of the turn stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    pub settle: Vec<Settle>,
    pub begin: Vec<Begin>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Settle {
    pub id: EnvelopeId,
    pub outcome: Settled,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It took effect. `result` is the far side's name for it; `follow` are orders that it causes.
    Done { result: Option<String>, follow: Vec<Group> },
    /// Surely not done: due again then. `spent` says whether the attempt counts.
    Again { due_millis: i64, spent: bool, reason: String },
    /// May be done, and nobody can say: due again then all the same. The attempt ends in doubt, and counts.
    Repeat { due_millis: i64, reason: String },
    /// May be done: stays open, to be probed then.
    Doubt { due_millis: i64, reason: String },
    /// Given up at that moment: a dead letter, and with it the later parts of the same message, as far as they live.
    Dead { at_millis: i64, reason: String, also: Vec<EnvelopeId>, follow: Vec<Group> },
}

/// Begins an attempt, which is written down with `mark` before it starts. An envelope with an open
/// attempt is only loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    pub id: EnvelopeId,
    pub mark: i64,
}

/// The answer to a [`Turn`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turned {
    /// In the order asked for.
    pub begun: Vec<Envelope>,
    /// Asked to settle without an open attempt, or to begin without an envelope that waits: ignored.
    pub gone: Vec<EnvelopeId>,
    /// What the settled attempts caused.
    pub accepted: Vec<Waiting>,
    /// In partitions that this lease does not hold any more: nothing of them changed.
    pub lost: Vec<EnvelopeId>,
}

/// The store's name for a blob: 32 lower-case hex digits, the first 15 of which grow with time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobId(pub String);

impl BlobId {
    /// Where it stands among all.
    fn number(&self) -> Option<i64> {
        let ours = self.0.len() == 32 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if ours { i64::from_str_radix(&self.0[..15], 16).ok() } else { None }
    }
}

/// Gives out names of blobs, and other numbers that grow.
#[derive(Debug, Default)]
struct BlobNames(AtomicI64);

impl BlobNames {
    /// Numbers that one millisecond has; more than that run ahead of the clock, which harms nothing.
    const BITS: u32 = 16;

    /// Where blobs of this moment begin.
    fn first_of(millis: i64) -> i64 {
        millis.clamp(0, i64::MAX >> 20) << Self::BITS
    }

    fn next(&self, now_millis: i64) -> BlobId {
        BlobId(format!("{:015x}{:017x}", self.number(now_millis), fastrand::u128(..(1 << 68))))
    }

    fn number(&self, now_millis: i64) -> i64 {
        let floor = Self::first_of(now_millis);
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(floor.max(last + 1)));
        floor.max(last.unwrap_or_else(|last| last) + 1)
    }
}

/// Bytes on the store's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Of the database and its log.
    pub used_bytes: u64,
    /// `u64::MAX` where it cannot be asked.
    pub free_bytes: u64,
}

/// Why the store did not do it. Nothing of the verb happened, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process took everything over.
    #[error("the lease on the partitions is lost")]
    LeaseLost,
    /// Cannot be written now, for example because the disk is full. May pass.
    #[error("the store cannot be written: {0}")]
    Unwritable(String),
    /// A sync failed or the file is damaged: what was written since is in doubt, so the process must end.
    #[error("the store is broken: {0}")]
    Broken(String),
    #[error("the store is closed")]
    Closed,
    /// Another process owns the data directory.
    #[error(
        "the data directory {path} is in use by {owner}: stop that process, or give this one its own `gateway.data_dir`"
    )]
    InUse { path: String, owner: String },
    /// A gateway, of which this process is not one, works on what waits.
    #[error(
        "the gateway `{owner}` works on this store: stop it first; after a crash its right ends within ten seconds"
    )]
    AtWork { owner: String },
    #[error(
        "the store was written by a newer deskbridge (schema {found}, this one knows {known}): install that version again"
    )]
    TooNew { found: i64, known: i64 },
}

impl StoreError {
    /// Its kind in one word, to be counted by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LeaseLost => "store_lease_lost",
            Self::Unwritable(_) => "store_unwritable",
            Self::Broken(_) => "store_broken",
            Self::Closed => "store_closed",
            Self::InUse { .. } => "store_in_use",
            Self::AtWork { .. } => "store_at_work",
            Self::TooNew { .. } => "store_too_new",
        }
    }
}

/// What the gateway itself remembers under just this name.
pub async fn own_cursor(store: &dyn Store, name: &str) -> Result<Option<String>, StoreError> {
    let cursors = store.cursors(OWN_SCOPE, name).await?;
    Ok(cursors.into_iter().find(|cursor| cursor.name == name).and_then(|cursor| cursor.value))
}

pub async fn set_own_cursor(store: &dyn Store, cursor: Cursor, now_millis: i64) -> Result<(), StoreError> {
    let cursors = vec![(OWN_SCOPE.to_owned(), cursor)];
    store.accept(Batch { cursors, ..Batch::default() }, now_millis).await.map(drop)
}

/// The ranks that parts of one message can have, from the first one's on.
fn message_ranks(first: i64) -> std::ops::RangeInclusive<i64> {
    first..=first | (PARTS_MAX as i64 - 1)
}
