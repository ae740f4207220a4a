//! Forgetting, in slices, so that nobody waits long behind it.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Params, params};

use super::work::Work;
use crate::store::{BlobId, BlobNames, HOUR_MILLIS};

/// Rows that one slice looks at.
const SLICE: i64 = 2_000;
/// Of a blob's name.
const ID_BYTES: usize = 32;

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

/// Some of the large blobs that can be forgotten: those that no envelope which waits can name (they were there before it
/// arrived, by less than an hour), no dead letter names, and no cursor holds, neither the one that it came with, nor
/// `held/` and its id. In order of their ids, behind `after`; none are left when there are none.
pub(super) fn blobs(work: &Work, after: &BlobId, before_millis: i64) -> rusqlite::Result<Candidates> {
    let sql = "SELECT id FROM blob WHERE id > ?1 AND made < ?2 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = blob.scope AND cursor.name IN (blob.name, 'held/' || blob.id))
        ORDER BY id LIMIT ?3";
    candidates(work, sql, params![after.0, unnamed_before(work, before_millis)?, SLICE])
}

/// Once their files are gone.
pub(super) fn forget_blobs(work: &Work, ids: &[BlobId]) -> rusqlite::Result<()> {
    ids.iter().try_for_each(|id| work.execute("DELETE FROM blob WHERE id = ?1", [&id.0]))
}

/// Forgets some of the small ones, by the same rule. The last that was looked at; `None` when there are no more.
pub(super) fn kept(work: &Work, after: &BlobId, before_millis: i64) -> rusqlite::Result<Option<BlobId>> {
    let sql = "SELECT id FROM kept WHERE n > ?1 AND n < ?2 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = kept.scope AND cursor.name IN (kept.name, 'held/' || kept.id))
        ORDER BY n LIMIT ?3";
    let before = BlobNames::first_of(unnamed_before(work, before_millis)?);
    let found = candidates(work, sql, params![after.number().unwrap_or(i64::MIN), before, SLICE])?;
    for id in &found.free {
        work.execute("DELETE FROM kept WHERE n = ?1", [id.number()])?;
    }
    Ok(found.last)
}

#[derive(Default)]
pub(super) struct Candidates {
    /// Those that nobody names.
    pub(super) free: Vec<BlobId>,
    /// The last that was looked at.
    pub(super) last: Option<BlobId>,
}

fn candidates(work: &Work, sql: &str, params: impl Params) -> rusqlite::Result<Candidates> {
    let mut found = work.connection().prepare_cached(sql)?;
    let mut ids: Vec<String> = found.query_map(params, |row| row.get(0))?.collect::<Result<_, _>>()?;
    let Some(last) = ids.last().cloned().map(BlobId) else { return Ok(Candidates::default()) };
    let named = named_by_the_dead(work, &ids.iter().map(String::as_str).collect())?;
    ids.retain(|id| !named.contains(id));
    Ok(Candidates { free: ids.into_iter().map(BlobId).collect(), last: Some(last) })
}

/// Those of the ids that stand in a dead letter, in whatever place: one old letter must not keep everything that came
/// after it.
fn named_by_the_dead(work: &Work, ids: &HashSet<&str>) -> rusqlite::Result<HashSet<String>> {
    let mut named = HashSet::new();
    let mut dead = work.connection().prepare_cached("SELECT order_json FROM dead")?;
    let mut rows = dead.query([])?;
    while let Some(row) = rows.next()? {
        let order = row.get_ref(0)?.as_str()?;
        let words = order.split(|c: char| !c.is_ascii_hexdigit());
        let inside = words.flat_map(|word| (ID_BYTES..=word.len()).filter_map(|end| word.get(end - ID_BYTES..end)));
        named.extend(inside.filter(|id| ids.contains(id)).map(str::to_owned));
    }
    Ok(named)
}

/// What was made before this moment can be named by nothing that waits.
fn unnamed_before(work: &Work, before_millis: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT accepted FROM body ORDER BY id LIMIT 1";
    let oldest = work.connection().prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
    Ok(oldest.map_or(before_millis, |oldest| before_millis.min(oldest - HOUR_MILLIS)))
}
