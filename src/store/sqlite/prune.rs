//! Forgetting, in slices, so that nobody waits long behind it.

use rusqlite::{OptionalExtension, params};

use super::work::Work;
use crate::store::{BlobId, BlobNames, HOUR_MILLIS};

/// Rows that one slice looks at.
const SLICE: i64 = 2_000;

/// What a walk over the old rows has reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) forgotten: usize,
    pub(super) ended: bool,
    done_after: i64,
    known_after: (i64, [u8; 16]),
    done_ended: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { known_after: (i64::MIN, [0; 16]), ..Self::default() }
    }
}

/// Finished work first, then keys, so that what both tables say of an envelope goes in one order.
pub(super) fn slice(work: &Work, mut progress: Progress, before_millis: i64) -> rusqlite::Result<Progress> {
    // Ids of forgotten rows are not given out again.
    work.execute("UPDATE counter SET value = ?1 WHERE name = 'id' AND value < ?1", [work.newest_id()])?;
    if progress.done_ended {
        keys(work, &mut progress, before_millis)?;
    } else {
        finished(work, &mut progress, before_millis)?;
    }
    Ok(progress)
}

fn finished(work: &Work, progress: &mut Progress, before_millis: i64) -> rusqlite::Result<()> {
    let mut done =
        work.connection().prepare_cached("SELECT id, accepted, ended FROM done WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let rows: Vec<(i64, i64, i64)> = done
        .query_map(params![progress.done_after, SLICE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, _, _) in rows.iter().filter(|(_, _, ended_millis)| *ended_millis < before_millis) {
        work.execute("DELETE FROM done WHERE id = ?1", [id])?;
        work.execute("DELETE FROM attempt WHERE id = ?1", [id])?;
        progress.forgotten += 1;
    }
    // Arrival goes by id: after a slice that arrived too late as a whole, nothing ended early enough.
    progress.done_ended = rows.iter().all(|(_, accepted_millis, _)| *accepted_millis >= before_millis);
    progress.done_after = rows.last().map_or(progress.done_after, |(id, _, _)| *id);
    Ok(())
}

fn keys(work: &Work, progress: &mut Progress, before_millis: i64) -> rusqlite::Result<()> {
    let mut known = work.connection().prepare_cached(
        "SELECT at, hash, EXISTS (SELECT 1 FROM ev WHERE ev.id = known.id) OR EXISTS (SELECT 1 FROM dead WHERE dead.id = known.id)
            FROM known WHERE at < ?1 AND (at, hash) > (?2, ?3) ORDER BY at, hash LIMIT ?4",
    )?;
    let (at_millis, hash) = progress.known_after;
    let rows: Vec<(i64, [u8; 16], bool)> = known
        .query_map(params![before_millis, at_millis, hash, SLICE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (at_millis, hash, _) in rows.iter().filter(|(_, _, kept)| !kept) {
        work.execute("DELETE FROM known WHERE at = ?1 AND hash = ?2", params![at_millis, hash])?;
        progress.forgotten += 1;
    }
    progress.ended = rows.is_empty();
    progress.known_after = rows.last().map_or(progress.known_after, |(at_millis, hash, _)| (*at_millis, *hash));
    Ok(())
}

/// Forgets large blobs that no living or dead envelope can name (they were there before it arrived, by less than
/// an hour) and no cursor holds: neither the one that it came with, nor `held/` and its id. Returns those whose files may go.
pub(super) fn blobs(work: &Work, before_millis: i64) -> rusqlite::Result<Vec<BlobId>> {
    let before_millis = unnamed_before(work, before_millis)?;
    let sql = "DELETE FROM blob WHERE made < ?1 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = blob.scope AND cursor.name IN (blob.name, 'held/' || blob.id)) RETURNING id";
    let mut gone = work.connection().prepare_cached(sql)?;
    gone.query_map([before_millis], |row| row.get(0).map(BlobId))?.collect()
}

/// Forgets a slice of such small ones. False when there are no more.
pub(super) fn kept(work: &Work, before_millis: i64) -> rusqlite::Result<bool> {
    let before = BlobNames::first_of(unnamed_before(work, before_millis)?);
    let sql = "DELETE FROM kept WHERE n IN (SELECT n FROM kept WHERE n < ?1 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = kept.scope AND cursor.name IN (kept.name, 'held/' || kept.id))
        ORDER BY n LIMIT ?2)";
    let gone = work.connection().prepare_cached(sql)?.execute(params![before, SLICE])?;
    Ok(gone as i64 == SLICE)
}

/// What was made before this moment can be named by nobody.
fn unnamed_before(work: &Work, before_millis: i64) -> rusqlite::Result<i64> {
    let oldest = |table: &str| {
        let sql = format!("SELECT accepted FROM {table} ORDER BY id LIMIT 1");
        work.connection().prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()
    };
    let oldest = [oldest("body")?, oldest("dead")?].into_iter().flatten().min();
    Ok(oldest.map_or(before_millis, |oldest| before_millis.min(oldest - HOUR_MILLIS)))
}
