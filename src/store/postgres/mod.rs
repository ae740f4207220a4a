//! The store on PostgreSQL, for several replicas: few connections that write, each with one commit for all who wait,
//! and some that read. Large blobs are in the database too. Says the same sentences as the one on SQLite.

mod fault;
mod fence;
mod filling;
mod find;
mod flush;
mod forget;
mod hints;
mod import;
mod keeper;
mod lease;
mod load;
mod looks;
mod place;
mod prune;
mod reader;
mod schema;
#[cfg(test)]
pub(in crate::store) mod server;
mod session;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod turn;
mod verbs;
mod work;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use bytes::Bytes;
use tokio_util::task::TaskTracker;

pub(super) use self::import::Import;
use self::{
    fault::Failure,
    filling::Filling,
    hints::Hints,
    keeper::{Keeper, ask},
    place::{Dialer, Role},
    reader::{Reader, look},
    session::{Name, Session as Connection},
    turn::Take,
    verbs::{Accept, Bury, Check, Discard, ForgetSession, Revive, SaveSession},
    writer::Writer,
};
pub use self::{place::PostgresPlace, tls::Tls};
use super::{
    Accepted, Batch, BlobId, BlobNames, DeadLetter, Depth, Fill, Forgotten, Found, History, Lease, Listed, News,
    Renewed, Rows, Space, Store, StoreError, Turn, Turned, Wanted, Watermark, Whom,
    copy::COPYING,
    sqlite::{blobs::make_folder, owner::Owner},
    written,
};
use crate::{
    model::{EnvelopeId, Partitions, Session, Waiting},
    telemetry::{self, Histogram},
};

/// Connections for work that reads, for people who look, and for what nobody waits for.
const LOOKUPS_MAX: usize = 4;
const LOOKS_MAX: usize = 3;
const SIDE_MAX: usize = 3;
const NUMBERS_MAX: usize = 2;
/// Where the writing connections of all replicas count, in pairs.
const SLOTS: i16 = 64;
/// How long a new process waits for the one before it to end.
const HANDOVER: Duration = Duration::from_secs(5);

/// The outbox in a schema of a PostgreSQL database. Its connections end when it is dropped, but only [`Store::close`]
/// says when what was asked for is done.
#[derive(Debug)]
pub struct PostgresStore {
    names: BlobNames,
    /// What comes in, in order of arrival.
    intake: Arc<Writer>,
    /// Attempts that end and begin.
    turns: Writer,
    /// For work: sessions, cursors, what waits.
    lookups: Reader,
    /// For people: lists, single messages, searches.
    looks: Reader,
    /// For what is long, and writes.
    side: Arc<Reader>,
    /// Gives out ordinals, which those who look may not.
    numbers: Reader,
    keeper: Keeper,
    hints: Hints,
    /// What this process may work on, as it was last told.
    mine: Mutex<Partitions>,
    dialer: Dialer,
    slot: i16,
    words: String,
    commits: Histogram,
    tasks: TaskTracker,
    /// Of the process's own folder, until the store is closed.
    owner: Mutex<Option<Owner>>,
}

impl PostgresStore {
    /// Makes the schema where it is missing, and brings it up to date.
    pub async fn open(place: &PostgresPlace) -> Result<Self, StoreError> {
        let store = Self::open_for_copy(place).await?;
        if super::own_cursor(&store, COPYING).await?.is_some() {
            store.close().await;
            let reason = "a copy into it has not come to its end: run `deskbridge store copy` again";
            return Err(StoreError::Unwritable(reason.to_owned()));
        }
        Ok(store)
    }

    /// Also one that is only half copied.
    pub(super) async fn open_for_copy(place: &PostgresPlace) -> Result<Self, StoreError> {
        let tasks = TaskTracker::new();
        let owner = own(place.data_dir.as_deref()).await?;
        let dialer = place.dialer(tasks.clone())?;
        let version = schema::prepare(&dialer).await?;
        let commits = telemetry::commit_seconds();
        // Two writers of one process meet at the same sinks, so each has a slot of its own.
        let slot = 2 * fastrand::i16(0..SLOTS);
        let own = fastrand::u64(..);
        let writer = async |role: &str, slot| {
            let name = Name { id: format!("{own:016x}/{role}"), slot };
            let session = Connection::dial(&dialer, &name, 0).await.map_err(Failure::reason)?;
            Ok::<_, StoreError>(Writer::start((dialer.clone(), name, session), commits.clone(), &tasks))
        };
        let (intake, turns) = (Arc::new(writer("intake", slot).await?), writer("turns", slot + 1).await?);
        Ok(Self {
            names: BlobNames::default(),
            intake,
            turns,
            lookups: Reader::new(&dialer, Role::Reader, LOOKUPS_MAX)?,
            looks: Reader::new(&dialer, Role::Reader, LOOKS_MAX)?,
            side: Arc::new(Reader::new(&dialer, Role::Side, SIDE_MAX)?),
            numbers: Reader::new(&dialer, Role::Side, NUMBERS_MAX)?,
            keeper: Keeper::new(dialer.clone()),
            hints: Hints::default(),
            mine: Mutex::default(),
            dialer,
            slot,
            words: format!("PostgreSQL {version}: {}", place.words()),
            commits,
            tasks,
            owner: Mutex::new(owner),
        })
    }

    /// Somebody who works on what waits at this moment, if anybody does.
    pub async fn worker(&self) -> Result<Option<String>, StoreError> {
        ask!(self.keeper, client => lease::somebody(client))
    }

    /// Owners whose names begin so are gone: others need not wait until they are missed.
    pub(super) async fn bury(&self, beginning: &str) -> Result<(), StoreError> {
        ask!(self.keeper, client => lease::bury(client, beginning))
    }

    fn holds(&self, lease: &Lease) {
        *self.mine.lock().unwrap_or_else(PoisonError::into_inner) = lease.partitions();
    }

    /// What waits now is another's to work on, as far as we know.
    fn tell<'a>(&self, waiting: impl IntoIterator<Item = &'a Waiting>) {
        let mine = *self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        if !mine.is_all() && waiting.into_iter().any(|waiting| !mine.has(waiting.lane.partition())) {
            self.hints.say();
        }
    }
}

/// The control socket and the notes of bridges are in it, so two processes must not share it.
async fn own(data_dir: Option<&Path>) -> Result<Option<Owner>, StoreError> {
    let Some(data_dir) = data_dir.map(Path::to_owned) else { return Ok(None) };
    let take = move || {
        let made = make_folder(&data_dir);
        made.map_err(|error| StoreError::Unwritable(format!("{}: {error}", data_dir.display())))?;
        Owner::take(&data_dir, HANDOVER)
    };
    let taken = tokio::task::spawn_blocking(take).await;
    taken.map_err(|error| StoreError::Unwritable(error.to_string()))?.map(Some)
}

/// An empty one, where a server is installed.
#[cfg(test)]
pub(in crate::store) async fn fresh() -> Option<PostgresStore> {
    let place = server::place()?;
    Some(PostgresStore::open(&place).await.expect("the server of the tests is there"))
}

/// Seconds on top of the database's own clock: none, but where a test makes time pass.
#[cfg(not(test))]
fn ahead(_now_millis: i64) -> f64 {
    0.0
}
#[cfg(test)]
fn ahead(now_millis: i64) -> f64 {
    (now_millis - super::suite::NOW) as f64 / 1000.0
}

/// Runs a transaction on a side connection, again while others want the same.
macro_rules! change {
    ($store:expr, $tx:ident => $change:expr) => {{
        let mut tries = 0;
        loop {
            let changed = async {
                let mut client = $store.side.client().await?;
                let $tx = client.transaction().await?;
                let changed = $change.await?;
                $tx.commit().await?;
                Ok::<_, Failure>(changed)
            };
            match changed.await {
                Err(Failure::Raced(_) | Failure::Lost(_)) if tries < 3 => tries += 1,
                changed => break changed.map_err(Failure::reason),
            }
        }
    }};
}

#[async_trait]
impl Store for PostgresStore {
    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        let groups = batch.groups.into_iter().map(written::Written::from).collect();
        let held = batch.held.into_iter().map(written::WrittenHeld::from).collect();
        let (cursors, blobs) = (batch.cursors, batch.blobs);
        let accepted = self.intake.call(Accept { groups, held, cursors, blobs, now_millis }).await?;
        self.tell(accepted.iter().flat_map(Accepted::waiting));
        Ok(accepted)
    }

    fn is_shared(&self) -> bool {
        true
    }
    async fn lease(&self, owner: &str, now_millis: i64) -> Result<Lease, StoreError> {
        self.hints.begin(&self.dialer, &self.tasks);
        let lease = ask!(self.keeper, client => lease::take(client, owner, ahead(now_millis)))?;
        self.holds(&lease);
        Ok(lease)
    }
    async fn renew(&self, lease: &Lease, now_millis: i64) -> Result<Renewed, StoreError> {
        let owner = lease.owner();
        let renewed = ask!(self.keeper, client => lease::renew(client, owner, ahead(now_millis)))?;
        self.holds(&renewed.lease);
        Ok(renewed)
    }
    async fn give_back(&self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError> {
        let owner = lease.owner();
        let left = ask!(self.keeper, client => lease::give_back(client, owner, partitions))?;
        self.holds(&left);
        Ok(left)
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.holds(&Lease::none(lease.owner()));
        ask!(self.keeper, client => lease::release(client, lease.owner()))
    }
    async fn waiting(
        &self,
        lease: &Lease,
        partitions: &Partitions,
        after: EnvelopeId,
        count_max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        look!(self.lookups, tx => looks::waiting(&tx, (lease, partitions), after, count_max))
    }
    async fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError> {
        let mut again = true;
        loop {
            let looked = reader::limited(async {
                let client = self.lookups.client().await?;
                looks::news(&client, lease, since, count_max).await
            });
            match Box::pin(looked).await {
                Err(Failure::Lost(_)) if again => again = false,
                looked => return looked.map_err(Failure::reason),
            }
        }
    }
    async fn hint(&self) {
        self.hints.heard().await;
    }
    async fn moved(&self) {
        self.hints.moved().await;
    }
    fn ring(&self) {
        self.hints.ring();
    }
    async fn rung(&self) {
        self.hints.rung().await;
    }
    async fn turn(&self, lease: &Lease, turn: Turn, now_millis: i64) -> Result<Turned, StoreError> {
        let taken = self.turns.call(Take::new(lease.clone(), turn, now_millis)).await?;
        let mut begun = Vec::with_capacity(taken.begun.len());
        let mut gone = taken.gone;
        for envelope in taken.begun {
            match envelope.read() {
                Ok(envelope) => begun.push(envelope),
                Err((id, error)) => {
                    let reason = format!("the stored order cannot be read: {error}");
                    self.turns.call(Bury { id, reason, now_millis }).await?;
                    gone.push(id);
                }
            }
        }
        self.tell(&taken.accepted);
        Ok(Turned { begun, gone, accepted: taken.accepted, lost: taken.lost })
    }

    async fn session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError> {
        look!(self.lookups, tx => looks::session(&tx, bridge, thread))
    }
    async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        self.intake.call(SaveSession(session.clone())).await
    }
    async fn forget_session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), StoreError> {
        self.intake.call(ForgetSession(bridge.to_string(), thread.to_string())).await
    }

    async fn cursors(&self, scope: &str, prefix: &str) -> Result<Vec<Cursor>, StoreError> {
        look!(self.lookups, tx => looks::cursors(&tx, scope, prefix))
    }

    /// From the database: the clocks of several processes may differ by more than passes between two numbers.
    async fn ordinal(&self, _now_millis: i64) -> Result<i64, StoreError> {
        self.numbers.ordinal().await
    }
    fn name_blob(&self, now_millis: i64) -> BlobId {
        self.names.next(now_millis)
    }
    async fn fill(&self, id: &BlobId) -> Result<Box<dyn Fill>, StoreError> {
        let parts = (self.side.clone(), self.intake.clone());
        Ok(Box::new(Filling::begin(id, parts, self.tasks.clone()).await?))
    }
    async fn blob(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        look!(self.lookups, tx => looks::blob(&tx, id))
    }

    async fn dead_rows(&self, rows: &Rows) -> Result<Vec<DeadLetter>, StoreError> {
        look!(self.looks, tx => looks::dead(&tx, rows))
    }
    async fn revive(&self, keys: &[Key], now_millis: i64) -> Result<Vec<Waiting>, StoreError> {
        let keys = keys.iter().map(Key::to_string).collect();
        let revived = self.intake.call(Revive { keys, now_millis }).await?;
        self.tell(&revived);
        Ok(revived)
    }
    async fn discard(&self, keys: &[Key], now_millis: i64) -> Result<usize, StoreError> {
        let keys = keys.iter().map(Key::to_string).collect();
        self.intake.call(Discard { keys, now_millis }).await
    }
    async fn history(&self, key: &Key) -> Result<Option<History>, StoreError> {
        look!(self.looks, tx => find::history(&tx, key))
    }
    async fn history_of(&self, id: EnvelopeId) -> Result<Option<History>, StoreError> {
        look!(self.looks, tx => looks::history(&tx, id))
    }
    async fn list_rows(&self, rows: &Rows) -> Result<Vec<Listed>, StoreError> {
        look!(self.looks, tx => looks::list(&tx, rows))
    }
    async fn depth(&self) -> Result<Depth, StoreError> {
        look!(self.looks, tx => looks::depth(&tx))
    }
    async fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Result<Found, StoreError> {
        look!(self.looks, tx => find::stretch(&tx, wanted, before))
    }
    async fn sessions_like(&self, text: &str, count_max: usize) -> Result<Vec<Session>, StoreError> {
        look!(self.looks, tx => find::sessions(&tx, text, count_max))
    }
    fn describe(&self) -> String {
        self.words.clone()
    }
    async fn accepted_millis(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, StoreError> {
        look!(self.lookups, tx => looks::accepted_millis(&tx, ids))
    }
    async fn space(&self) -> Result<Space, StoreError> {
        let used_bytes = look!(self.looks, tx => looks::bytes(&tx))?;
        Ok(Space { used_bytes, free_bytes: u64::MAX })
    }
    fn commits(&self) -> Option<Histogram> {
        Some(self.commits.clone())
    }
    async fn prune(&self, before_millis: i64) -> Result<usize, StoreError> {
        let mut progress = prune::Progress::new();
        while !progress.ended {
            let from = progress.clone();
            progress = change!(self, tx => prune::slice(&tx, from.clone(), before_millis))?;
        }
        let mut after = Some(BlobId(String::new()));
        while let Some(from) = after {
            after = change!(self, tx => prune::kept(&tx, &from, before_millis))?;
        }
        let mut after = Some(BlobId(String::new()));
        while let Some(from) = after {
            after = change!(self, tx => prune::blobs(&tx, &from, before_millis))?;
        }
        change!(self, tx => prune::read(&tx))?;
        Ok(progress.forgotten)
    }
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError> {
        let mut forgotten = change!(self, tx => forget::rows(&tx, whom, self.slot))?;
        if forgotten != Forgotten::default() && forgotten.refused == 0 {
            let client = self.side.client().await.map_err(Failure::reason)?;
            forgotten.not_overwritten = Some(forget::overwrite(&client).await.map_err(Failure::reason)?);
        }
        Ok(forgotten)
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.intake.call(Check).await
    }
    async fn close(&self) {
        self.intake.stop().await;
        self.turns.stop().await;
        self.tasks.close();
        self.keeper.close();
        self.hints.close();
        for reader in [&self.lookups, &self.looks, &*self.side, &self.numbers] {
            reader.close();
        }
        drop(self.owner.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
