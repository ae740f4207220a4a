//! Forgetting, in slices, each a transaction of its own, so that nobody waits long behind it.

use std::collections::{BTreeSet, HashSet};

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{fault::Failure, reader::query};
use crate::store::{BlobId, BlobNames, HOUR_MILLIS};

/// Rows that one slice looks at.
const SLICE: i64 = 2_000;
/// Of a blob's name.
const ID_BYTES: usize = 32;

/// What a walk over the old rows has reached.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) forgotten: usize,
    pub(super) ended: bool,
    done_after: i64,
    known_after: (i64, Vec<u8>),
    done_ended: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let known_after = (i64::MIN, Vec::new());
        Self { forgotten: 0, ended: false, done_after: 0, known_after, done_ended: false }
    }
}

/// Finished work first, then keys, so that what both tables say of an envelope goes in one order.
pub(super) async fn slice(
    tx: &Transaction<'_>,
    mut progress: Progress,
    before_millis: i64,
) -> Result<Progress, Failure> {
    if progress.done_ended {
        keys(tx, &mut progress, before_millis).await?;
    } else {
        finished(tx, &mut progress, before_millis).await?;
    }
    Ok(progress)
}

/// What was put back and every replica has read since: who was away for longer begins anew.
pub(super) async fn read(tx: &Transaction<'_>) -> Result<(), Failure> {
    query(tx, "DELETE FROM again WHERE at < now() - interval '1 hour'", &[]).await.map(drop)
}

async fn finished(tx: &Transaction<'_>, progress: &mut Progress, before_millis: i64) -> Result<(), Failure> {
    let sql = "SELECT id, accepted, ended FROM done WHERE id > $1 ORDER BY id LIMIT $2";
    let rows = query(tx, sql, &[&progress.done_after, &SLICE]).await?;
    let rows: Vec<(i64, i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let old: Vec<i64> = rows.iter().filter(|(_, _, ended)| *ended < before_millis).map(|(id, _, _)| *id).collect();
    progress.forgotten += query(tx, "DELETE FROM done WHERE id = ANY($1::bigint[]) RETURNING id", &[&old]).await?.len();
    query(tx, "DELETE FROM attempt WHERE id = ANY($1::bigint[])", &[&old]).await?;
    // Arrival goes by id: after a slice that arrived too late as a whole, nothing ended early enough.
    progress.done_ended = rows.iter().all(|(_, accepted_millis, _)| *accepted_millis >= before_millis);
    progress.done_after = rows.last().map_or(progress.done_after, |(id, _, _)| *id);
    Ok(())
}

async fn keys(tx: &Transaction<'_>, progress: &mut Progress, before_millis: i64) -> Result<(), Failure> {
    let sql = "SELECT at, hash, id, EXISTS (SELECT 1 FROM ev WHERE ev.id = known.id)
            OR EXISTS (SELECT 1 FROM dead WHERE dead.id = known.id)
        FROM known WHERE at < $1 AND (at, hash) > ($2, $3) ORDER BY at, hash LIMIT $4";
    let (after, hash) = &progress.known_after;
    let rows = query(tx, sql, &[&before_millis, after, hash, &SLICE]).await?;
    let (mut at, mut hashes, mut ids) = (Vec::<i64>::new(), Vec::<&[u8]>::new(), Vec::<i64>::new());
    for row in rows.iter().filter(|row| !row.get::<_, bool>(3)) {
        at.push(row.get(0));
        hashes.push(row.get(1));
        ids.push(row.get(2));
    }
    // One that stands for a newer envelope by now stays.
    let sql = "DELETE FROM known USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS old (at, hash, id)
        WHERE known.at = old.at AND known.hash = old.hash AND known.id = old.id RETURNING known.id";
    progress.forgotten += query(tx, sql, &[&at, &hashes, &ids]).await?.len();
    progress.ended = rows.is_empty();
    if let Some(last) = rows.last() {
        progress.known_after = (last.get(0), last.get(1));
    }
    Ok(())
}

/// Forgets some of the large blobs: those that no envelope which waits can name (they were there before it arrived, by
/// less than an hour), no dead letter names, and no cursor holds, neither the one that they came with, nor `held/` and
/// their id. In order of their ids, behind `after`; the last that was looked at, `None` when there are no more.
pub(super) async fn blobs(tx: &Transaction<'_>, after: &BlobId, before_millis: i64) -> Result<Option<BlobId>, Failure> {
    let sql = "SELECT id FROM blob WHERE id > $1 AND made < $2 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = blob.scope AND cursor.name IN (blob.name, 'held/' || blob.id))
        ORDER BY id LIMIT $3";
    let before = unnamed_before(tx, before_millis).await?;
    let found = candidates(tx, sql, &[&after.0, &before, &SLICE]).await?;
    forget_blobs(tx, &found.free).await?;
    Ok(found.last)
}

pub(super) async fn forget_blobs(tx: &Transaction<'_>, ids: &[String]) -> Result<(), Failure> {
    query(tx, "DELETE FROM piece WHERE blob = ANY($1::text[])", &[&ids]).await?;
    query(tx, "DELETE FROM blob WHERE id = ANY($1::text[])", &[&ids]).await?;
    Ok(())
}

/// The same of the small ones.
pub(super) async fn kept(tx: &Transaction<'_>, after: &BlobId, before_millis: i64) -> Result<Option<BlobId>, Failure> {
    let sql = "SELECT id FROM kept WHERE n > $1 AND n < $2 AND NOT EXISTS
        (SELECT 1 FROM cursor WHERE cursor.scope = kept.scope AND cursor.name IN (kept.name, 'held/' || kept.id))
        ORDER BY n LIMIT $3";
    let before = BlobNames::first_of(unnamed_before(tx, before_millis).await?);
    let found = candidates(tx, sql, &[&after.number().unwrap_or(i64::MIN), &before, &SLICE]).await?;
    let numbers: Vec<i64> = found.free.iter().filter_map(|id| BlobId(id.clone()).number()).collect();
    query(tx, "DELETE FROM kept WHERE n = ANY($1::bigint[])", &[&numbers]).await?;
    Ok(found.last)
}

#[derive(Default)]
struct Candidates {
    /// Those that nobody names.
    free: Vec<String>,
    /// The last that was looked at.
    last: Option<BlobId>,
}

async fn candidates(tx: &Transaction<'_>, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Candidates, Failure> {
    let mut ids: Vec<String> = query(tx, sql, params).await?.iter().map(|row| row.get(0)).collect();
    let Some(last) = ids.last().cloned().map(BlobId) else { return Ok(Candidates::default()) };
    let named = named_by_the_dead(tx, &ids.iter().map(String::as_str).collect()).await?;
    ids.retain(|id| !named.contains(id));
    Ok(Candidates { free: ids, last: Some(last) })
}

/// Those of the ids that stand in a dead letter, in whatever place: one old letter must not keep everything that came
/// after it.
async fn named_by_the_dead(tx: &Transaction<'_>, ids: &HashSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let (mut named, mut after) = (BTreeSet::new(), 0_i64);
    loop {
        let sql = "SELECT id, order_json FROM dead WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = query(tx, sql, &[&after, &SLICE]).await?;
        let Some(last) = rows.last() else { return Ok(named) };
        after = last.get(0);
        for row in &rows {
            let words = row.get::<_, &str>(1).split(|c: char| !c.is_ascii_hexdigit());
            let inside = words.flat_map(|word| (ID_BYTES..=word.len()).filter_map(|end| word.get(end - ID_BYTES..end)));
            named.extend(inside.filter(|id| ids.contains(id)).map(str::to_owned));
        }
    }
}

/// What was made before this moment can be named by nothing that waits.
async fn unnamed_before(tx: &Transaction<'_>, before_millis: i64) -> Result<i64, Failure> {
    let oldest = query(tx, "SELECT accepted FROM body ORDER BY id LIMIT 1", &[]).await?;
    Ok(oldest.first().map_or(before_millis, |row| before_millis.min(row.get::<_, i64>(0) - HOUR_MILLIS)))
}
