//! The executable model of the store: what each verb means, in the plainest words. Keeps nothing on
//! disk, starts no thread, never waits; simulations run on it and other stores are compared with it.

mod filling;
mod forget;
mod looks;
mod news;
mod row;
mod tenants;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use bytes::Bytes;

use self::{filling::Filling, row::Row, tenants::Tenants};
use super::{
    Accepted, Attempt, Batch, Begin, Blob, BlobId, BlobNames, DeadLetter, Depth, EnvelopeState, Fill, Forgotten, Found,
    HOUR_MILLIS, Held, History, Lease, Listed, News, Renewed, Rows, Settle, Settled, Space, Store, StoreError, Turn,
    Turned, Wanted, Watermark, Whom, message_ranks,
};
use crate::model::{Envelope, EnvelopeId, Group, NewEnvelope, OnDuplicate, Partitions, Session, Waiting};

/// A store in memory. What outlives a "crash" in a simulation is this value, or a clone: all see the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    model: Arc<Mutex<Model>>,
    refusal: Arc<Mutex<Option<StoreError>>>,
    names: Arc<BlobNames>,
    moved: Arc<tokio::sync::Notify>,
}

impl MemoryStore {
    /// One that several processes may work on at once.
    pub fn shared() -> Self {
        let store = Self::default();
        lock(&store.model).tenants.shared = true;
        store
    }

    /// From now on verbs fail so, until [`allow`](Self::allow). Those that only read still answer while
    /// the store is merely unwritable.
    pub fn refuse(&self, error: StoreError) {
        *lock(&self.refusal) = Some(error);
    }
    /// Ends a refusal, and opens a closed store again.
    pub fn allow(&self) {
        *lock(&self.refusal) = None;
    }

    fn write(&self) -> Result<MutexGuard<'_, Model>, StoreError> {
        match &*lock(&self.refusal) {
            Some(error) => Err(error.clone()),
            None => Ok(lock(&self.model)),
        }
    }
    fn read(&self) -> Result<MutexGuard<'_, Model>, StoreError> {
        match &*lock(&self.refusal) {
            Some(StoreError::Unwritable(_)) | None => Ok(lock(&self.model)),
            Some(error) => Err(error.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for MemoryStore {
    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        let mut model = self.write()?;
        for (scope, cursor) in batch.cursors {
            match cursor.value {
                Some(value) => model.cursors.insert((scope, cursor.name), value),
                None => model.cursors.remove(&(scope, cursor.name)),
            };
        }
        for Blob { id, bytes, held_by } in batch.blobs {
            model.blobs.insert(id.0, (bytes, held_by));
        }
        let mut accepted: Vec<_> = batch.groups.into_iter().map(|group| model.accept(group, now_millis)).collect();
        accepted.extend(batch.held.into_iter().map(|held| model.hold_back(held, now_millis)));
        Ok(accepted)
    }

    fn is_shared(&self) -> bool {
        lock(&self.model).tenants.shared
    }
    async fn lease(&self, owner: &str, now_millis: i64) -> Result<Lease, StoreError> {
        let lease = self.write()?.tenants.lease(owner, now_millis);
        self.moved.notify_waiters();
        Ok(lease)
    }
    async fn renew(&self, lease: &Lease, now_millis: i64) -> Result<Renewed, StoreError> {
        self.write()?.tenants.renew(lease, now_millis)
    }
    async fn give_back(&self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError> {
        let left = self.write()?.tenants.give_back(lease, partitions)?;
        self.moved.notify_waiters();
        Ok(left)
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.write()?.tenants.release(lease)?;
        self.moved.notify_waiters();
        Ok(())
    }
    async fn waiting(
        &self,
        lease: &Lease,
        partitions: &Partitions,
        after: EnvelopeId,
        count_max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let model = self.read()?;
        model.tenants.hold_all(lease)?;
        let wanted = |row: &&Row| partitions.has(row.partition) && model.tenants.holds(lease, row.partition);
        let rows = model.unfinished().filter(|row| row.id > after && row.lives()).filter(wanted);
        Ok(rows.take(count_max).map(Row::waiting).collect())
    }
    async fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError> {
        self.read()?.news(lease, since, count_max)
    }
    async fn moved(&self) {
        self.moved.notified().await;
    }
    async fn turn(&self, lease: &Lease, turn: Turn, now_millis: i64) -> Result<Turned, StoreError> {
        let mut model = self.write()?;
        model.tenants.hold_all(lease)?;
        let mut turned = Turned::default();
        for settle in turn.settle {
            if model.is_lost(lease, settle.id) {
                turned.lost.push(settle.id);
            } else {
                model.settle(settle, now_millis, &mut turned);
            }
        }
        for begin in turn.begin {
            if model.is_lost(lease, begin.id) {
                turned.lost.push(begin.id);
                continue;
            }
            match model.begin(begin, now_millis) {
                Some(envelope) => turned.begun.push(envelope),
                None => turned.gone.push(begin.id),
            }
        }
        Ok(turned)
    }

    async fn session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError> {
        Ok(self.read()?.sessions.get(&(bridge.clone(), thread.clone())).cloned())
    }
    async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        self.write()?.sessions.insert((session.bridge.clone(), session.thread.clone()), session.clone());
        Ok(())
    }
    async fn forget_session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), StoreError> {
        self.write()?.sessions.remove(&(bridge.clone(), thread.clone()));
        Ok(())
    }

    async fn cursors(&self, scope: &str, prefix: &str) -> Result<Vec<Cursor>, StoreError> {
        let model = self.read()?;
        let ours = model.cursors.iter().filter(|((of, name), _)| of == scope && name.starts_with(prefix));
        Ok(ours.map(|((_, name), value)| Cursor::set(name, value)).collect())
    }

    async fn ordinal(&self, now_millis: i64) -> Result<i64, StoreError> {
        Ok(self.names.number(now_millis))
    }
    fn name_blob(&self, now_millis: i64) -> BlobId {
        self.names.next(now_millis)
    }
    async fn fill(&self, id: &BlobId) -> Result<Box<dyn Fill>, StoreError> {
        drop(self.write()?);
        Ok(Box::new(Filling { store: self.clone(), id: id.clone(), bytes: Vec::new() }))
    }
    async fn blob(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read()?.blobs.get(&id.0).map(|(bytes, _)| bytes.clone()))
    }

    async fn dead_rows(&self, rows: &Rows) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.read()?.dead_rows(rows))
    }
    async fn revive(&self, keys: &[Key], now_millis: i64) -> Result<Vec<Waiting>, StoreError> {
        let mut model = self.write()?;
        Ok(keys.iter().flat_map(|key| model.revive(|row| row.new.key == *key, now_millis)).collect())
    }
    async fn discard(&self, keys: &[Key], now_millis: i64) -> Result<usize, StoreError> {
        let mut model = self.write()?;
        let dead = model.unfinished().filter(|row| row.death().is_some() && keys.contains(&row.new.key));
        let dead: Vec<_> = dead.map(|row| row.id).collect();
        for id in &dead {
            model.finish(*id, EnvelopeState::Discarded { at_millis: now_millis });
        }
        Ok(dead.len())
    }
    async fn history(&self, key: &Key) -> Result<Option<History>, StoreError> {
        let model = self.read()?;
        Ok(model.by_key.get(key).and_then(|id| model.rows.get(id)).map(Row::history))
    }
    async fn history_of(&self, id: EnvelopeId) -> Result<Option<History>, StoreError> {
        Ok(self.read()?.rows.get(&id).map(Row::history))
    }
    async fn list_rows(&self, rows: &Rows) -> Result<Vec<Listed>, StoreError> {
        Ok(self.read()?.list_rows(rows))
    }
    async fn depth(&self) -> Result<Depth, StoreError> {
        Ok(self.read()?.depth())
    }
    async fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Result<Found, StoreError> {
        Ok(self.read()?.find(wanted, before))
    }
    async fn sessions_like(&self, text: &str, count_max: usize) -> Result<Vec<Session>, StoreError> {
        Ok(self.read()?.sessions_like(text, count_max))
    }
    fn describe(&self) -> String {
        "in memory, for as long as the process lives".to_owned()
    }
    async fn accepted_millis(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, StoreError> {
        let model = self.read()?;
        let of = |id| model.rows.get(id).filter(|row| row.lives()).map(|row| row.accepted_millis);
        Ok(ids.iter().map(of).collect())
    }
    async fn space(&self) -> Result<Space, StoreError> {
        Ok(Space { used_bytes: 0, free_bytes: u64::MAX })
    }
    async fn prune(&self, before_millis: i64) -> Result<usize, StoreError> {
        Ok(self.write()?.prune(before_millis))
    }
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError> {
        Ok(self.write()?.forget(whom))
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.write().map(drop)
    }
    async fn close(&self) {
        self.refuse(StoreError::Closed);
    }
}

#[derive(Debug, Default)]
struct Model {
    /// Of every envelope ever accepted and not pruned, in whatever state.
    rows: BTreeMap<EnvelopeId, Row>,
    /// Those of them that wait or are dead, so that long histories cost nothing.
    unfinished: BTreeSet<EnvelopeId>,
    newest: i64,
    /// Of those that began to wait, by the order in which they did. One that did so again stands there again.
    news: BTreeMap<i64, EnvelopeId>,
    stamp: i64,
    /// By moment of the event and key.
    known: HashMap<(i64, Key), EnvelopeId>,
    /// The newest of those that are known by a key.
    by_key: HashMap<Key, EnvelopeId>,
    tenants: Tenants,
    sessions: HashMap<(BridgeName, ThreadId), Session>,
    cursors: BTreeMap<(String, String), String>,
    /// By id, with the cursor that holds it.
    blobs: BTreeMap<String, (Bytes, Option<(String, String)>)>,
}

impl Model {
    fn unfinished(&self) -> impl Iterator<Item = &Row> {
        self.unfinished.iter().filter_map(|id| self.rows.get(id))
    }
    fn finish(&mut self, id: EnvelopeId, state: EnvelopeState) {
        self.unfinished.remove(&id);
        if let Some(row) = self.rows.get_mut(&id) {
            row.state = state;
        }
    }

    fn accept(&mut self, group: Group, now_millis: i64) -> Accepted {
        let Some(first) = group.envelopes.first() else { return Accepted::Duplicate };
        if group.unless.is_some_and(|key| self.known.contains_key(&(first.at_millis, key))) {
            return Accepted::Duplicate;
        }
        if self.known.contains_key(&(first.at_millis, first.key.clone())) {
            return match group.on_duplicate {
                OnDuplicate::Ignore => Accepted::Duplicate,
                OnDuplicate::Revive => {
                    let (lane, ranks) = (first.lane.id, message_ranks(first.rank));
                    let same = |row: &Row| row.new.lane.id == lane && ranks.contains(&row.new.rank);
                    match self.revive(same, now_millis) {
                        none if none.is_empty() => Accepted::Duplicate,
                        revived => Accepted::Revived(revived),
                    }
                }
            };
        }
        Accepted::New(group.envelopes.into_iter().map(|new| self.insert(new, now_millis)).collect())
    }

    fn hold_back(&mut self, held: Held, now_millis: i64) -> Accepted {
        let group = Group { on_duplicate: OnDuplicate::Ignore, ..held.group };
        let Accepted::New(letters) = self.accept(group, now_millis) else { return Accepted::Duplicate };
        for letter in letters {
            let row = self.rows.get_mut(&letter.id).expect("it was just accepted");
            row.state = EnvelopeState::Dead { at_millis: now_millis, reason: held.reason.clone() };
        }
        let follow = held.follow.into_iter().flat_map(|group| self.accept(group, now_millis).into_waiting());
        Accepted::New(follow.collect())
    }

    fn insert(&mut self, new: NewEnvelope, now_millis: i64) -> Waiting {
        self.newest += 1;
        let id = EnvelopeId(self.newest);
        self.known.insert((new.at_millis, new.key.clone()), id);
        self.by_key.insert(new.key.clone(), id);
        self.unfinished.insert(id);
        let state = EnvelopeState::Waiting { due_millis: new.due_millis };
        let partition = new.lane.partition();
        let row = Row { id, partition, new, accepted_millis: now_millis, attempts: 0, tried: Vec::new(), state };
        let waiting = row.waiting();
        self.rows.insert(id, row);
        self.is_news(id);
        waiting
    }

    fn settle(&mut self, settle: Settle, now_millis: i64, turned: &mut Turned) {
        let Some(row) = self.rows.get_mut(&settle.id).filter(|row| row.open().is_some()) else {
            turned.gone.push(settle.id);
            return;
        };
        let follow = match settle.outcome {
            Settled::Done { result, follow } => {
                row.end("done", None, now_millis);
                self.finish(settle.id, EnvelopeState::Done { at_millis: now_millis, result });
                follow
            }
            Settled::Again { due_millis, spent, reason } => {
                row.end("again", Some(reason), now_millis);
                row.attempts -= u32::from(!spent);
                row.state = EnvelopeState::Waiting { due_millis };
                Vec::new()
            }
            Settled::Repeat { due_millis, reason } => {
                row.end("doubt", Some(reason), now_millis);
                row.state = EnvelopeState::Waiting { due_millis };
                Vec::new()
            }
            Settled::Doubt { due_millis, reason } => {
                row.doubt(reason);
                row.state = EnvelopeState::Waiting { due_millis };
                Vec::new()
            }
            Settled::Dead { at_millis, reason, also, follow } => {
                for id in std::iter::once(settle.id).chain(also) {
                    if let Some(row) = self.rows.get_mut(&id).filter(|row| row.lives()) {
                        row.end("dead", Some(reason.clone()), at_millis);
                        row.state = EnvelopeState::Dead { at_millis, reason: reason.clone() };
                    }
                }
                follow
            }
        };
        for group in follow {
            turned.accepted.extend(self.accept(group, now_millis).into_waiting());
        }
    }

    fn begin(&mut self, begin: Begin, now_millis: i64) -> Option<Envelope> {
        let row = self.rows.get_mut(&begin.id).filter(|row| row.lives())?;
        let doubt = row.open();
        if doubt.is_none() {
            row.attempts += 1;
            row.tried.push(Attempt {
                number: row.tried.len() as u32 + 1,
                started_millis: now_millis,
                mark: begin.mark,
                ended_millis: None,
                outcome: None,
                reason: None,
            });
        }
        Some(Envelope {
            id: row.id,
            key: row.new.key.clone(),
            lane: row.new.lane.clone(),
            rank: row.new.rank,
            accepted_millis: row.accepted_millis,
            attempts: row.attempts,
            repeats: row.repeats(),
            doubt,
            order: row.new.order.clone(),
        })
    }

    /// Of the dead letters, those that match, by rank and then arrival.
    fn revive(&mut self, matches: impl Fn(&Row) -> bool, now_millis: i64) -> Vec<Waiting> {
        let dead = self.unfinished().filter(|row| row.death().is_some() && matches(row));
        let dead: Vec<_> = dead.map(|row| row.id).collect();
        let mut revived = Vec::with_capacity(dead.len());
        for id in dead {
            let row = self.rows.get_mut(&id).expect("it was just seen");
            row.attempts = 0;
            row.state = EnvelopeState::Waiting { due_millis: now_millis };
            revived.push(row.waiting());
            self.is_news(id);
        }
        revived.sort_by_key(|waiting| (waiting.rank, waiting.id));
        revived
    }

    fn prune(&mut self, before_millis: i64) -> usize {
        let (rows, known) = (self.rows.len(), self.known.len());
        self.rows.retain(|_, row| row.finished().is_none_or(|at_millis| at_millis >= before_millis));
        let rows_now = &self.rows;
        self.news.retain(|_, id| rows_now.contains_key(id));
        let kept = |id: &EnvelopeId| rows_now.get(id).is_some_and(|row| row.finished().is_none());
        self.known.retain(|(at_millis, _), id| *at_millis >= before_millis || kept(id));
        self.by_key.clear();
        for ((_, key), id) in &self.known {
            let newest = self.by_key.entry(key.clone()).or_insert(*id);
            *newest = (*newest).max(*id);
        }
        let oldest = self.unfinished().filter(|row| row.lives()).map(|row| row.accepted_millis).min();
        let dead = self.unfinished().filter(|row| row.death().is_some());
        let dead: Vec<_> = dead.map(|row| serde_json::to_string(&row.new.order).unwrap_or_default()).collect();
        let blobs_before = oldest.map_or(before_millis, |oldest| before_millis.min(oldest - HOUR_MILLIS));
        let first_kept = BlobNames::first_of(blobs_before);
        let cursors = &self.cursors;
        self.blobs.retain(|id, (_, held_by)| {
            let number = BlobId(id.clone()).number();
            number >= Some(first_kept)
                || dead.iter().any(|order| order.contains(id.as_str()))
                || held_by.as_ref().is_some_and(|(scope, name)| {
                    let held = (scope.clone(), format!("held/{id}"));
                    cursors.contains_key(&(scope.clone(), name.clone())) || cursors.contains_key(&held)
                })
        });
        rows - self.rows.len() + known - self.known.len()
    }
}
