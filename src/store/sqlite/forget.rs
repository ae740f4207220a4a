//! Forgetting a person: their rows, and then whatever of them is left in free parts of the files.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use bridge_api::Key;
use rusqlite::params;

use super::{blobs::Blobs, work::Work};
use crate::{
    model::{OWN_SCOPE, Order},
    store::{
        BlobId, Whom,
        forget::{Forgotten, SessionRow, Trail, blobs_in},
    },
};

/// A database that is smaller than this is written anew in memory, a larger one beside it.
const IN_MEMORY_BYTES_MAX: i64 = 64 << 20;
/// How often, and after which pause, the log is tried to be emptied.
const EMPTIES_MAX: u32 = 100;
const EMPTY_PAUSE: Duration = Duration::from_millis(50);

/// What one transaction did, and which files may be theirs too.
pub(super) struct Swept {
    pub(super) forgotten: Forgotten,
    /// Files that go.
    pub(super) files: Vec<BlobId>,
}

/// Removes the rows. Nothing when some wait that are not to be removed.
pub(super) fn rows(work: &mut Work, whom: &Whom, files: &Blobs) -> rusqlite::Result<Swept> {
    let (sessions, cursors) = (sessions(work, whom)?, cursors(work, whom.bridge.as_str())?);
    let trail = Trail::follow(whom, &sessions, &cursors);
    let mut named = BTreeSet::new();
    let waiting = orders(work, "SELECT id, order_json FROM body", &trail, &mut named)?;
    if !waiting.is_empty() && !whom.also_waiting {
        let forgotten = Forgotten { refused: waiting.len(), ..Forgotten::default() };
        return Ok(Swept { forgotten, files: Vec::new() });
    }
    let dead = orders(work, "SELECT id, order_json FROM dead", &trail, &mut named)?;
    // Ids of forgotten rows are not given out again.
    work.execute("UPDATE counter SET value = ?1 WHERE name = 'id' AND value < ?1", [work.newest_id()])?;
    for id in &waiting {
        let sql = "DELETE FROM ev WHERE id = ?1 RETURNING sink";
        let sink = work.connection().prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        work.count(sink, -1);
        work.execute("DELETE FROM body WHERE id = ?1", [id])?;
    }
    for id in &dead {
        let sql = "DELETE FROM dead WHERE id = ?1 RETURNING sink";
        let sink = work.connection().prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        work.count_dead(sink, -1);
    }
    let finished = finished(work, &trail)?;
    finished.iter().try_for_each(|id| work.execute("DELETE FROM done WHERE id = ?1", [id]))?;
    for id in waiting.iter().chain(&dead).chain(&finished) {
        work.execute("DELETE FROM attempt WHERE id = ?1", [id])?;
    }
    let gone: Vec<_> = sessions.iter().filter(|row| trail.is_session(row)).collect();
    for row in &gone {
        let sql = "DELETE FROM session WHERE bridge = ?1 AND thread = ?2";
        work.execute(sql, params![whom.bridge.as_str(), row.thread])?;
    }
    let theirs = cursors.into_iter().filter(|(name, value)| trail.is_cursor(name, value));
    let mut holders: BTreeSet<_> = theirs.map(|(name, _)| (whom.bridge.to_string(), name)).collect();
    let own = self::cursors(work, OWN_SCOPE)?.into_iter().filter(|(name, value)| trail.is_own_cursor(name, value));
    holders.extend(own.map(|(name, _)| (OWN_SCOPE.to_owned(), name)));
    for (scope, name) in &holders {
        work.execute("DELETE FROM cursor WHERE scope = ?1 AND name = ?2", params![scope, name])?;
    }
    let (kept, files) = (kept(work, &trail, &holders, &named)?, large(work, &trail, (&holders, &named), files)?);
    let forgotten = Forgotten {
        refused: 0,
        waiting: waiting.len(),
        dead: dead.len(),
        finished: finished.len(),
        sessions: gone.len(),
        cursors: holders.len(),
        blobs: kept + files.len(),
        contacts: trail.contacts(),
        conversations: trail.conversations(),
        not_overwritten: None,
    };
    Ok(Swept { forgotten, files })
}

/// Writes the database anew without what was removed, and empties the log. Outside of any transaction.
pub(super) fn overwrite(work: &mut Work) -> rusqlite::Result<bool> {
    let connection = work.connection();
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = pragma("page_count")? * pragma("page_size")?;
    let is_large = bytes > IN_MEMORY_BYTES_MAX;
    if is_large {
        connection.pragma_update(None, "temp_store", "file")?;
    }
    let written = connection.execute_batch("VACUUM");
    if is_large {
        connection.pragma_update(None, "temp_store", "memory")?;
    }
    written?;
    for _ in 0..EMPTIES_MAX {
        if connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))? {
            return Ok(true);
        }
        // A checkpoint that is under way beside us is not waited for by itself.
        thread::sleep(EMPTY_PAUSE);
    }
    Ok(false)
}

fn sessions(work: &Work, whom: &Whom) -> rusqlite::Result<Vec<SessionRow>> {
    let sql = "SELECT thread, source_id, contact, conversation, home FROM session WHERE bridge = ?1";
    let mut sessions = work.connection().prepare_cached(sql)?;
    let rows = sessions.query_map([whom.bridge.as_str()], |row| {
        Ok(SessionRow {
            thread: row.get(0)?,
            source_id: row.get(1)?,
            contact: row.get(2)?,
            conversation: row.get(3)?,
            home: row.get(4)?,
        })
    })?;
    rows.collect()
}

fn cursors(work: &Work, scope: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut cursors = work.connection().prepare_cached("SELECT name, value FROM cursor WHERE scope = ?1")?;
    cursors.query_map([scope], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Ids of their orders. What they name goes with them.
fn orders(work: &Work, sql: &str, trail: &Trail<'_>, named: &mut BTreeSet<String>) -> rusqlite::Result<Vec<i64>> {
    let mut found = Vec::new();
    let mut orders = work.connection().prepare_cached(sql)?;
    let mut rows = orders.query([])?;
    while let Some(row) = rows.next()? {
        let json = row.get_ref(1)?.as_str()?;
        if serde_json::from_str::<Order>(json).is_ok_and(|order| trail.is_order(&order)) {
            named.extend(blobs_in(json).map(str::to_owned));
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

fn finished(work: &Work, trail: &Trail<'_>) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT done.id, key, name, result FROM done JOIN sink ON sink.id = done.sink";
    let mut done = work.connection().prepare_cached(sql)?;
    let mut rows = done.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Key::from(row.get_ref(1)?.as_str()?);
        if trail.is_finished(&key, row.get_ref(2)?.as_str()?, row.get::<_, Option<String>>(3)?.as_deref()) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

type Names = BTreeSet<(String, String)>;

/// Removes the small blobs; returns how many.
fn kept(work: &Work, trail: &Trail<'_>, holders: &Names, named: &BTreeSet<String>) -> rusqlite::Result<usize> {
    let mut kept = work.connection().prepare_cached("SELECT n, id, scope, name, bytes FROM kept")?;
    let mut rows = kept.query([])?;
    let mut found: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let holder = (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?);
        let is_held = holder.0.zip(holder.1).is_some_and(|holder| holders.contains(&holder));
        if is_held || named.contains(row.get_ref(1)?.as_str()?) || trail.is_blob(row.get_ref(4)?.as_blob()?) {
            found.push(row.get(0)?);
        }
    }
    drop(rows);
    found.iter().try_for_each(|n| work.execute("DELETE FROM kept WHERE n = ?1", [n]))?;
    Ok(found.len())
}

/// The large blobs that are theirs. A file that cannot be read is not.
fn large(
    work: &Work,
    trail: &Trail<'_>,
    (holders, named): (&Names, &BTreeSet<String>),
    files: &Blobs,
) -> rusqlite::Result<Vec<BlobId>> {
    let mut blobs = work.connection().prepare_cached("SELECT id, scope, name FROM blob")?;
    let mut rows = blobs.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = BlobId(row.get(0)?);
        let holder = (row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?);
        let is_held = holder.0.zip(holder.1).is_some_and(|holder| holders.contains(&holder));
        let is_theirs = || files.path(&id).and_then(|path| fs::read(path).ok()).is_some_and(|b| trail.is_blob(&b));
        if is_held || named.contains(&id.0) || is_theirs() {
            found.push(id);
        }
    }
    Ok(found)
}
