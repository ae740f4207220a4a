//! The store on SQLite: one process, one thread that writes, one sync for all who wait. Large blobs are
//! files beside the database.

mod accept;
pub(super) mod blobs;
mod checkpoint;
mod export;
mod fault;
mod filling;
mod find;
mod forget;
#[cfg(test)]
mod killed;
mod letters;
mod looks;
pub(super) mod owner;
mod prune;
mod reader;
mod schema;
mod space;
#[cfg(test)]
mod tests;
mod turn;
mod work;
mod writer;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use bytes::Bytes;
use rusqlite::params;

use self::{
    blobs::Blobs, fault::Soundness, filling::Filling, owner::Owner, reader::Reader, schema::Role, turn::WrittenTurn,
    work::Work, writer::Writer,
};
use super::{
    Accepted, Batch, BlobId, BlobNames, DeadLetter, Depth, Fill, Forgotten, Found, History, Lease, Listed, News,
    Renewed, Rows, Space, Store, StoreError, Turn, Turned, Wanted, Watermark, Whom,
    written::{Written, WrittenHeld},
};
use crate::{
    model::{EnvelopeId, Partitions, Session, Waiting},
    telemetry::{self, Histogram},
};

/// How long a new process waits for the one before it to end.
const HANDOVER_SECONDS: u64 = 5;

/// The outbox in a SQLite file. Closes by itself when it is dropped, but only [`Store::close`] says when
/// that is over.
#[derive(Debug)]
pub struct SqliteStore {
    blobs: Blobs,
    names: BlobNames,
    writer: Arc<Writer>,
    /// For work: sessions, cursors, what waits.
    lookups: Reader,
    /// For people: lists and single messages.
    looks: Reader,
    /// For people who search, which may read much.
    searches: Reader,
    soundness: Soundness,
    database: PathBuf,
    commits: Histogram,
}

/// Where a store is.
#[derive(Clone, Debug)]
pub struct Place {
    /// For attachments and the lock.
    pub data_dir: PathBuf,
    pub database: PathBuf,
    /// How long to wait for another process to let go.
    pub handover: Duration,
}

impl Place {
    /// The usual one: `deskbridge.db` in the data directory.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let database = data_dir.join("deskbridge.db");
        Self { data_dir, database, handover: Duration::from_secs(HANDOVER_SECONDS) }
    }
}

impl SqliteStore {
    /// Makes what is missing, of mode 0600 in folders of mode 0700. Blocks, up to `handover` when another
    /// process has the place.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        let soundness = Soundness::default();
        let owners = own(place)?;
        let blobs = Blobs::open(&place.data_dir).map_err(|error| unwritable(&place.data_dir, &error))?;
        make_file(&place.database).map_err(|error| unwritable(&place.database, &error))?;
        let mut connection = schema::connect(&place.database, Role::Writer, &soundness)?;
        schema::migrate(&mut connection, &soundness)?;
        let work = Work::new(&place.database, connection).map_err(|error| soundness.judge(&error))?;
        let reader = |name| {
            let connection = schema::connect(&place.database, Role::Reader, &soundness)?;
            Reader::start(name, connection, soundness.clone())
        };
        let (lookups, looks) = (reader("store lookups")?, reader("store looks")?);
        let searches = reader("store searches")?;
        let commits = telemetry::commit_seconds();
        let writer = Arc::new(Writer::start((work, commits.clone()), owners, soundness.clone())?);
        let (names, database) = (BlobNames::default(), place.database.clone());
        Ok(Self { blobs, names, writer, lookups, looks, searches, soundness, database, commits })
    }

    /// Who works on the store in this folder now, if anybody.
    pub fn owner_of(data_dir: &Path) -> io::Result<Option<String>> {
        owner::of(data_dir)
    }

    /// Of the engine that is built in.
    pub fn engine_version() -> &'static str {
        rusqlite::version()
    }

    /// The file first, then its row: a row without a file is forgotten in its time, a file without a row never. A file
    /// that cannot be removed keeps its row, and the others go all the same.
    async fn prune_files(&self, before_millis: i64) -> Result<(), StoreError> {
        let mut after = BlobId(String::new());
        loop {
            let from = after.clone();
            let found = self.writer.call(move |work| Ok(prune::blobs(work, &from, before_millis)?)).await?;
            let Some(last) = found.last else { return Ok(()) };
            after = last;
            let removed = |blobs: Blobs| found.free.into_iter().filter(|id| removed(&blobs, id)).collect::<Vec<_>>();
            let gone = self.blocking(move |blobs| Ok(removed(blobs))).await?;
            self.writer.call(move |work| Ok(prune::forget_blobs(work, &gone)?)).await?;
        }
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Blobs) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.soundness.check()?;
        let blobs = self.blobs.clone();
        let done = tokio::task::spawn_blocking(move || work(blobs)).await;
        let done = done.map_err(|error| StoreError::Unwritable(format!("blobs: {error}")))?;
        done.map_err(|error| StoreError::Unwritable(format!("blobs: {error}")))
    }
}

fn removed(blobs: &Blobs, id: &BlobId) -> bool {
    let removed = blobs.remove(id);
    if let Err(error) = &removed {
        tracing::warn!(blob = id.0.as_str(), error = ?error.to_string(), "a file that nobody needs cannot be removed");
    }
    removed.is_ok()
}

fn own(place: &Place) -> Result<Vec<Owner>, StoreError> {
    let mut folders = vec![place.data_dir.as_path()];
    // A database elsewhere must not serve two data directories.
    let beside = folder_of(&place.database);
    blobs::make_folder(&place.data_dir).map_err(|error| unwritable(&place.data_dir, &error))?;
    blobs::make_folder(beside).map_err(|error| unwritable(beside, &error))?;
    if beside.canonicalize().ok() != place.data_dir.canonicalize().ok() {
        folders.push(beside);
    }
    folders.into_iter().map(|folder| Owner::take(folder, place.handover)).collect()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_file(path: &Path) -> io::Result<()> {
    // SQLite gives the files beside it the same mode.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    File::open(folder_of(path))?.sync_all()
}

fn unwritable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unwritable(format!("{}: {error}", path.display()))
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        let groups: Vec<_> = batch.groups.into_iter().map(Written::from).collect();
        let held: Vec<_> = batch.held.into_iter().map(WrittenHeld::from).collect();
        let (cursors, small) = (batch.cursors, batch.blobs);
        let accept = move |work: &mut Work| {
            accept::cursors(work, &cursors)?;
            accept::blobs(work, &small)?;
            let mut accepted = accept::groups(work, &groups, now_millis)?;
            accepted.extend(accept::dead(work, &held, now_millis)?);
            Ok(accepted)
        };
        self.writer.call(accept).await
    }

    async fn lease(&self, owner: &str, _now_millis: i64) -> Result<Lease, StoreError> {
        let owner = owner.to_owned();
        self.writer.call(move |work| Ok(Lease::of_all(&owner, work.take_lease(&owner)?))).await
    }
    async fn renew(&self, lease: &Lease, _now_millis: i64) -> Result<Renewed, StoreError> {
        let held = lease.clone();
        self.writer.call(move |work| work.hold(&held)).await?;
        let none = Partitions::NONE;
        Ok(Renewed { lease: lease.clone(), orphaned: none, surplus: none, owners: 1 })
    }
    /// All or nothing: there is one epoch.
    async fn give_back(&self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError> {
        if !partitions.is_all() {
            return self.renew(lease, 0).await.map(|renewed| renewed.lease);
        }
        self.release(lease).await?;
        Ok(Lease::none(lease.owner()))
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        let release = move |work: &mut Work| {
            work.hold(&lease)?;
            Ok(work.end_lease()?)
        };
        self.writer.call(release).await
    }
    async fn waiting(
        &self,
        lease: &Lease,
        partitions: &Partitions,
        after: EnvelopeId,
        count_max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let (lease, partitions) = (lease.clone(), *partitions);
        self.lookups.call(move |connection| looks::waiting(connection, &lease, &partitions, after, count_max)).await
    }
    /// One writer gives out ids in the order in which they become visible.
    async fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError> {
        let waiting = self.waiting(lease, &Partitions::ALL, since.after, count_max).await?;
        let after = waiting.last().map_or(since.after, |last| last.id);
        let more = waiting.len() == count_max;
        Ok(News { waiting, next: Watermark { after, ..since }, more })
    }
    async fn turn(&self, lease: &Lease, turn: Turn, now_millis: i64) -> Result<Turned, StoreError> {
        let (lease, turn) = (lease.clone(), WrittenTurn::from(turn));
        let turned = self.writer.call(move |work| turn::run(work, &lease, &turn, now_millis)).await?;
        let mut begun = Vec::with_capacity(turned.begun.len());
        let mut gone = turned.gone;
        for envelope in turned.begun {
            match envelope.read() {
                Ok(envelope) => begun.push(envelope),
                Err((id, error)) => {
                    let reason = format!("the stored order cannot be read: {error}");
                    self.writer.call(move |work| Ok(letters::bury(work, id, &reason, now_millis)?)).await?;
                    gone.push(id);
                }
            }
        }
        Ok(Turned { begun, gone, accepted: turned.accepted, lost: Vec::new() })
    }

    async fn session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError> {
        let (bridge, thread) = (bridge.clone(), thread.clone());
        self.lookups.call(move |connection| looks::session(connection, &bridge, &thread)).await
    }
    async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        let session = session.clone();
        let save = move |work: &mut Work| {
            let Session { bridge, thread, contact, source_id, conversation, resolved, profile, home } = &session;
            Ok(work.execute(
                "INSERT OR REPLACE INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![bridge.as_str(), thread.as_str(), contact, source_id, conversation, resolved, profile, home],
            )?)
        };
        self.writer.call(save).await
    }
    async fn forget_session(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), StoreError> {
        let (bridge, thread) = (bridge.clone(), thread.clone());
        let sql = "DELETE FROM session WHERE bridge = ?1 AND thread = ?2";
        self.writer.call(move |work| Ok(work.execute(sql, [bridge.as_str(), thread.as_str()])?)).await
    }

    async fn cursors(&self, scope: &str, prefix: &str) -> Result<Vec<Cursor>, StoreError> {
        let (scope, prefix) = (scope.to_owned(), prefix.to_owned());
        self.lookups.call(move |connection| looks::cursors(connection, &scope, &prefix)).await
    }

    async fn ordinal(&self, now_millis: i64) -> Result<i64, StoreError> {
        Ok(self.names.number(now_millis))
    }
    fn name_blob(&self, now_millis: i64) -> BlobId {
        self.names.next(now_millis)
    }
    async fn fill(&self, id: &BlobId) -> Result<Box<dyn Fill>, StoreError> {
        // The row first: a row without a file is forgotten in its time, a file without a row never.
        let row = id.clone();
        self.writer.call(move |work| Ok(accept::large_blob(work, &row)?)).await?;
        let name = id.clone();
        let file = self.blocking(move |blobs| blobs.begin(&name)).await?;
        Ok(Box::new(Filling::new(id.clone(), file, self.blobs.clone(), self.writer.clone())))
    }
    async fn blob(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        let (small, large) = (id.clone(), id.clone());
        let found = self.lookups.call(move |connection| looks::kept(connection, &small)).await?;
        match found {
            Some(bytes) => Ok(Some(bytes.into())),
            None => Ok(self.blocking(move |blobs| blobs.read(&large)).await?.map(Bytes::from)),
        }
    }

    async fn dead_rows(&self, rows: &Rows) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = rows.clone();
        self.looks.call(move |connection| looks::dead(connection, &rows)).await
    }
    async fn revive(&self, keys: &[Key], now_millis: i64) -> Result<Vec<Waiting>, StoreError> {
        let keys = keys.to_vec();
        self.writer.call(move |work| Ok(letters::revive_keys(work, &keys, now_millis)?)).await
    }
    async fn discard(&self, keys: &[Key], now_millis: i64) -> Result<usize, StoreError> {
        let keys = keys.to_vec();
        self.writer.call(move |work| Ok(letters::discard_keys(work, &keys, now_millis)?)).await
    }
    async fn history(&self, key: &Key) -> Result<Option<History>, StoreError> {
        let key = key.clone();
        self.searches.call(move |connection| find::history(connection, &key)).await
    }
    async fn history_of(&self, id: EnvelopeId) -> Result<Option<History>, StoreError> {
        self.looks.call(move |connection| Ok(looks::history(connection, id)?)).await
    }
    async fn list_rows(&self, rows: &Rows) -> Result<Vec<Listed>, StoreError> {
        let rows = rows.clone();
        self.looks.call(move |connection| looks::list(connection, &rows)).await
    }
    async fn depth(&self) -> Result<Depth, StoreError> {
        self.looks.call(looks::depth).await
    }
    async fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Result<Found, StoreError> {
        let wanted = wanted.clone();
        self.searches.call(move |connection| Ok(find::stretch(connection, &wanted, before)?)).await
    }
    async fn sessions_like(&self, text: &str, count_max: usize) -> Result<Vec<Session>, StoreError> {
        let text = text.to_owned();
        self.searches.call(move |connection| Ok(find::sessions(connection, &text, count_max)?)).await
    }
    fn describe(&self) -> String {
        format!("SQLite {} in {}", rusqlite::version(), self.database.display())
    }
    async fn accepted_millis(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, StoreError> {
        let ids = ids.to_vec();
        self.lookups.call(move |connection| looks::accepted_millis(connection, &ids)).await
    }
    async fn space(&self) -> Result<Space, StoreError> {
        let database = self.database.clone();
        self.blocking(move |_| space::space(&database)).await
    }
    fn commits(&self) -> Option<Histogram> {
        Some(self.commits.clone())
    }
    async fn prune(&self, before_millis: i64) -> Result<usize, StoreError> {
        let mut progress = prune::Progress::new();
        while !progress.ended {
            let from = progress.clone();
            progress = self.writer.call(move |work| Ok(prune::slice(work, from.clone(), before_millis)?)).await?;
        }
        let mut after = Some(BlobId(String::new()));
        while let Some(from) = after {
            after = self.writer.call(move |work| Ok(prune::kept(work, &from, before_millis)?)).await?;
        }
        self.prune_files(before_millis).await?;
        Ok(progress.forgotten)
    }
    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError> {
        let (of, files) = (whom.clone(), self.blobs.clone());
        let swept = self.writer.call(move |work| Ok(forget::rows(work, &of, &files)?)).await?;
        let mut forgotten = swept.forgotten;
        if forgotten.refused > 0 {
            return Ok(forgotten);
        }
        // A file that cannot be removed keeps its row, and is tried again with the old ones.
        let gone = move |blobs: Blobs| swept.files.into_iter().filter(|id| removed(&blobs, id)).collect::<Vec<_>>();
        let gone = self.blocking(move |blobs| Ok(gone(blobs))).await?;
        self.writer.call(move |work| Ok(prune::forget_blobs(work, &gone)?)).await?;
        forgotten.not_overwritten = match self.writer.alone(forget::overwrite).await {
            Ok(true) => None,
            Ok(false) => Some("somebody was reading; do it once more".to_owned()),
            Err(StoreError::Unwritable(reason)) => Some(reason),
            Err(error) => return Err(error),
        };
        Ok(forgotten)
    }
    async fn check(&self) -> Result<(), StoreError> {
        let sql = "UPDATE counter SET value = value + 1 WHERE name = 'checks'";
        self.writer.call(move |work| Ok(work.execute(sql, [])?)).await
    }
    async fn close(&self) {
        self.lookups.stop().await;
        self.looks.stop().await;
        self.searches.stop().await;
        self.writer.stop().await;
    }
}
