//! One process's handle on the store that outlives it: fails, slows down and ends with its process, and shows every
//! verb to the witness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bridge_api::{BridgeName, Cursor, Key, ThreadId, async_trait};
use bytes::Bytes;
use deskbridge::{
    model::{EnvelopeId, Partitions, Session, Waiting},
    store::{
        Accepted, Batch, BlobId, DeadLetter, Depth, Fill, Forgotten, Found, History, Lease, Listed, MemoryStore, News,
        Renewed, Rows, Space, Store, StoreError, Turn, Turned, Wanted, Watermark, Whom,
    },
};

use crate::{
    process::Process,
    weather::{Strike, Weather},
    witness::Witness,
    world::Broken,
};

pub(crate) struct Handle {
    inner: MemoryStore,
    process: Arc<Process>,
    weather: Arc<Weather>,
    witness: Arc<Witness>,
    closed: AtomicBool,
    broken: Broken,
}

impl Handle {
    pub(crate) fn new(
        inner: MemoryStore,
        process: Arc<Process>,
        (weather, witness): (Arc<Weather>, Arc<Witness>),
        broken: Broken,
    ) -> Arc<Self> {
        Arc::new(Self { inner, process, weather, witness, closed: AtomicBool::new(false), broken })
    }

    async fn before(&self, writes: bool) -> Result<(), StoreError> {
        self.process.touch(Strike::CrashInStore).await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        if !self.process.reaches_store().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Err(StoreError::Unwritable("the store cannot be reached".into()));
        }
        if self.weather.strikes(Strike::StoreSlow) {
            tokio::time::sleep(self.weather.between(1, 400)).await;
        } else if writes {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if writes && self.weather.strikes(Strike::Unwritable) {
            return Err(StoreError::Unwritable("the disk is full".into()));
        }
        // It may have died while it waited.
        self.process.touch(Strike::CrashInStore).await;
        Ok(())
    }
    /// What was written is written, whether or not anybody hears of it.
    async fn after(&self) {
        self.process.touch(Strike::CrashAfterCommit).await;
    }
}

/// The youngest first.
fn turn_round(accepted: &mut Accepted) {
    match accepted {
        Accepted::New(waiting) | Accepted::Revived(waiting) => {
            for waiting in waiting.iter_mut() {
                waiting.rank = -waiting.rank;
            }
        }
        Accepted::Duplicate => {}
    }
}

#[async_trait]
impl Store for Handle {
    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        self.before(true).await?;
        if self.broken == Broken::Loses && self.weather.one_in(10) {
            return Ok(vec![Accepted::Duplicate; batch.groups.len() + batch.held.len()]);
        }
        let groups = batch.groups.clone();
        let mut accepted = self.inner.accept(batch, now_millis).await?;
        let new = self.witness.accepted(&groups, &accepted);
        self.after().await;
        self.witness.known_to(self.process.number, &new);
        if self.broken == Broken::TurnsRound {
            accepted.iter_mut().for_each(turn_round);
        }
        Ok(accepted)
    }
    async fn lease(&self, owner: &str, now_millis: i64) -> Result<Lease, StoreError> {
        self.before(true).await?;
        let lease = self.inner.lease(owner, now_millis).await?;
        self.after().await;
        Ok(lease)
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.before(true).await?;
        self.inner.release(lease).await
    }
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
    async fn renew(&self, lease: &Lease, now_millis: i64) -> Result<Renewed, StoreError> {
        if let Err(error) = self.before(true).await {
            let none = Partitions::NONE;
            let as_before = Renewed { lease: lease.clone(), orphaned: none, surplus: none, owners: 1 };
            return if self.broken == Broken::HoldsOn { Ok(as_before) } else { Err(error) };
        }
        let renewed = self.inner.renew(lease, now_millis).await?;
        if !renewed.orphaned.is_empty() {
            self.weather.met(Strike::PartitionsOrphaned);
        }
        self.weather.say(&format!("process {} holds {:?}", self.process.number, renewed.lease));
        self.after().await;
        Ok(renewed)
    }
    async fn give_back(&self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError> {
        self.before(true).await?;
        let lease = self.inner.give_back(lease, partitions).await?;
        self.weather.met(Strike::PartitionsGivenBack);
        self.after().await;
        Ok(lease)
    }
    async fn waiting(
        &self,
        lease: &Lease,
        partitions: &Partitions,
        after: EnvelopeId,
        count_max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.before(false).await?;
        let waiting = self.inner.waiting(lease, partitions, after, count_max).await?;
        self.witness.known_to(self.process.number, &waiting.iter().map(|row| row.id).collect::<Vec<_>>());
        Ok(waiting)
    }
    async fn moved(&self) {
        self.inner.moved().await;
    }
    async fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError> {
        self.before(false).await?;
        let mut news = self.inner.news(lease, since, count_max).await?;
        if self.broken == Broken::HearsNothing && since > Watermark::START {
            news.waiting.clear();
        }
        self.witness.known_to(self.process.number, &news.waiting.iter().map(|row| row.id).collect::<Vec<_>>());
        Ok(news)
    }
    async fn turn(&self, lease: &Lease, turn: Turn, now_millis: i64) -> Result<Turned, StoreError> {
        let chosen: Vec<_> = turn.begin.iter().map(|begin| begin.id).collect();
        let unheard = self.witness.unheard(self.process.number, &turn.settle, &chosen);
        self.before(true).await?;
        let settled = turn.settle.clone();
        let mut turned = self.inner.turn(lease, turn, now_millis).await?;
        if self.broken == Broken::ForgetsDoubt {
            turned.begun.iter_mut().for_each(|envelope| envelope.doubt = None);
        }
        // What is another's by now did not begin.
        for (_, fault) in unheard.into_iter().filter(|(id, _)| !turned.lost.contains(id)) {
            self.weather.violation(fault);
        }
        if !turned.lost.is_empty() {
            self.weather.met(Strike::RowsLost);
        }
        let new = self.witness.turned(&settled, &turned);
        self.after().await;
        self.witness.known_to(self.process.number, &new);
        Ok(turned)
    }

    async fn session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError> {
        self.before(false).await?;
        self.inner.session(bridge, thread).await
    }
    async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        self.before(true).await?;
        self.inner.save_session(session).await?;
        self.after().await;
        Ok(())
    }
    async fn forget_session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), StoreError> {
        self.before(true).await?;
        self.inner.forget_session(bridge, thread).await?;
        self.after().await;
        Ok(())
    }

    async fn cursors(&self, scope: &str, prefix: &str) -> Result<Vec<Cursor>, StoreError> {
        self.before(false).await?;
        self.inner.cursors(scope, prefix).await
    }

    async fn ordinal(&self, now_millis: i64) -> Result<i64, StoreError> {
        self.before(false).await?;
        self.inner.ordinal(now_millis).await
    }
    fn name_blob(&self, now_millis: i64) -> BlobId {
        self.inner.name_blob(now_millis)
    }
    async fn fill(&self, id: &BlobId) -> Result<Box<dyn Fill>, StoreError> {
        self.before(true).await?;
        self.inner.fill(id).await
    }
    async fn blob(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        self.before(false).await?;
        self.inner.blob(id).await
    }

    async fn dead_rows(&self, rows: &Rows) -> Result<Vec<DeadLetter>, StoreError> {
        self.before(false).await?;
        self.inner.dead_rows(rows).await
    }
    async fn revive(&self, keys: &[Key], now_millis: i64) -> Result<Vec<Waiting>, StoreError> {
        self.before(true).await?;
        let revived = self.inner.revive(keys, now_millis).await?;
        self.witness.revived(&revived);
        self.after().await;
        Ok(revived)
    }
    async fn discard(&self, keys: &[Key], now_millis: i64) -> Result<usize, StoreError> {
        self.before(true).await?;
        self.inner.discard(keys, now_millis).await
    }
    async fn history(&self, key: &Key) -> Result<Option<History>, StoreError> {
        self.before(false).await?;
        self.inner.history(key).await
    }
    async fn history_of(&self, id: EnvelopeId) -> Result<Option<History>, StoreError> {
        self.before(false).await?;
        self.inner.history_of(id).await
    }
    async fn list_rows(&self, rows: &Rows) -> Result<Vec<Listed>, StoreError> {
        self.before(false).await?;
        self.inner.list_rows(rows).await
    }
    async fn depth(&self) -> Result<Depth, StoreError> {
        self.before(false).await?;
        self.inner.depth().await
    }
    async fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Result<Found, StoreError> {
        self.before(false).await?;
        self.inner.find(wanted, before).await
    }
    async fn sessions_like(&self, text: &str, count_max: usize) -> Result<Vec<Session>, StoreError> {
        self.before(false).await?;
        self.inner.sessions_like(text, count_max).await
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
    async fn accepted_millis(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, StoreError> {
        self.before(false).await?;
        self.inner.accepted_millis(ids).await
    }
    async fn space(&self) -> Result<Space, StoreError> {
        self.before(false).await?;
        self.inner.space().await
    }
    async fn prune(&self, before_millis: i64) -> Result<usize, StoreError> {
        self.before(true).await?;
        self.inner.prune(before_millis).await
    }
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError> {
        self.before(true).await?;
        self.inner.forget(whom).await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.before(false).await
    }
    /// This handle only: others on the same store go on.
    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
