//! The questions, each against one state of the store. Changes nothing.

use std::collections::BTreeMap;

use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use deadpool_postgres::{Object, Transaction};
use tokio_postgres::Row;

use super::{fault::Failure, fence, load, reader::query, session::together, text, work};
use crate::{
    model::{About, EnvelopeId, Order, Partitions, Session, Waiting},
    store::{Attempt, BlobId, DeadLetter, Depth, EnvelopeState, History, Lease, Listed, News, Rows, Watermark},
};

/// Cursors of one step.
const CURSORS_MAX: usize = 1000;
/// The last of all characters, and more of them than a cursor's name may have bytes.
const LAST_LETTER: &str = "\u{10FFFF}";
const NAME_BYTES_MAX: usize = 200;

/// What waits in those of these partitions that this lease is still good for.
pub(super) async fn waiting(
    tx: &Transaction<'_>,
    (lease, partitions): (&Lease, &Partitions),
    after: EnvelopeId,
    count_max: usize,
) -> Result<Vec<Waiting>, Failure> {
    let owner = text::put(lease.owner());
    let held = load::leases_of(&query(tx, load::LEASES, &[&[owner.as_ref()].as_slice()]).await?);
    let good: Vec<i16> = work::good(&held, lease).and(partitions).iter().map(i16::from).collect();
    let sql = "SELECT ev.id, lane, name, rank, due FROM ev JOIN sink ON sink.id = ev.sink
        WHERE ev.id > $1 AND share = ANY($2::smallint[]) ORDER BY ev.id LIMIT $3";
    let rows = query(tx, sql, &[&after.0, &good, &limit(count_max)]).await?;
    Ok(rows.iter().map(waiting_of).collect())
}

/// What began to wait behind `since`, up to the highest number behind which none can still come.
pub(super) async fn news(client: &Object, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, Failure> {
    let new = "SELECT ev.id, lane, name, rank, due FROM ev JOIN sink ON sink.id = ev.sink
        WHERE ev.id > $1 AND share = ANY($2::smallint[]) ORDER BY ev.id LIMIT $3";
    let again =
        "SELECT ev.id, lane, name, rank, due, stamp FROM again JOIN ev USING (id) JOIN sink ON sink.id = ev.sink
        WHERE stamp > $1 AND share = ANY($2::smallint[]) ORDER BY stamp LIMIT $3";
    let (newest, announced) = (client.prepare_cached(fence::NEWEST), client.prepare_cached(fence::ANNOUNCED));
    let (new, again) = (client.prepare_cached(new), client.prepare_cached(again));
    let (newest, announced, new, again) = together!(newest, announced, new, again)?;
    let partitions: Vec<i16> = lease.partitions().iter().map(i16::from).collect();
    let limit = limit(count_max);
    // One after another at the server, each seeing what was committed before it; see `fence`.
    let (newest, announced, new, again) = together!(
        client.query_one(&newest, &[]),
        client.query(&announced, &[]),
        client.query(&new, &[&since.after.0, &partitions, &limit]),
        client.query(&again, &[&since.at, &partitions, &limit]),
    )?;
    let horizon = fence::horizon(newest.get(0), announced.iter().map(|row| row.get(0)));
    let mut waiting: Vec<_> = new.iter().map(waiting_of).take_while(|waiting| waiting.id.0 <= horizon).collect();
    // A full answer may go on before the horizon.
    let is_full = waiting.len() == count_max;
    let after = if is_full { waiting[count_max - 1].id.0 } else { horizon.max(since.after.0) };
    let put_back = again.last().map_or(0, |row| row.get(5));
    let all_again = again.len() < count_max;
    // What is in partitions of others is passed over.
    let at = if all_again { put_back.max(newest.get(1)).max(since.at) } else { put_back };
    waiting.extend(again.iter().map(waiting_of));
    let more = is_full || !all_again;
    Ok(News { waiting, next: Watermark { at, after: EnvelopeId(after) }, more })
}

fn waiting_of(row: &Row) -> Waiting {
    Waiting {
        id: EnvelopeId(row.get(0)),
        lane: work::Row::lane(row.get(1), row.get(2)),
        rank: row.get(3),
        due_millis: row.get(4),
    }
}

/// A small blob, or a large one that is whole.
pub(super) async fn blob(tx: &Transaction<'_>, id: &BlobId) -> Result<Option<bytes::Bytes>, Failure> {
    let Some(number) = id.number() else { return Ok(None) };
    let kept = query(tx, "SELECT bytes FROM kept WHERE n = $1 AND id = $2", &[&number, &id.0]).await?;
    if let Some(row) = kept.first() {
        return Ok(Some(row.get::<_, Vec<u8>>(0).into()));
    }
    let whole = query(tx, "SELECT bytes FROM blob WHERE id = $1 AND bytes IS NOT NULL", &[&id.0]).await?;
    let Some(size) = whole.first().map(|row| row.get::<_, i64>(0)) else { return Ok(None) };
    let mut bytes = bytes::BytesMut::with_capacity(size as usize);
    for n in 0_i32.. {
        let piece = query(tx, "SELECT bytes FROM piece WHERE blob = $1 AND n = $2", &[&id.0, &n]).await?;
        let Some(piece) = piece.first() else { break };
        bytes.extend_from_slice(piece.get(0));
    }
    if bytes.len() as i64 == size {
        Ok(Some(bytes.freeze()))
    } else {
        Err(Failure::Passing(format!("a part of the blob {} is missing", id.0)))
    }
}

pub(super) async fn session(
    tx: &Transaction<'_>,
    bridge: &BridgeName,
    thread: &ThreadId,
) -> Result<Option<Session>, Failure> {
    let sql = "SELECT bridge, thread, contact, source_id, conversation, resolved, profile, home
        FROM session WHERE bridge = $1 AND thread = $2";
    let found = query(tx, sql, &[&bridge.as_str(), &text::put(thread.as_str()).as_ref()]).await?;
    Ok(found.first().map(session_of))
}

pub(super) fn session_of(row: &Row) -> Session {
    Session {
        bridge: BridgeName::from(row.get::<_, String>(0)),
        thread: ThreadId::from(text::take(row.get(1))),
        contact: row.get(2),
        source_id: text::take(row.get(3)),
        conversation: row.get(4),
        resolved: row.get(5),
        profile: row.get(6),
        home: row.get(7),
    }
}

pub(super) async fn cursors(tx: &Transaction<'_>, scope: &str, prefix: &str) -> Result<Vec<Cursor>, Failure> {
    let sql =
        "SELECT name, value FROM cursor WHERE scope = $1 AND name BETWEEN $2 AND $3 ORDER BY name OFFSET $4 LIMIT $5";
    let (scope, prefix) = (text::put(scope), text::put(prefix));
    // Behind whatever begins so, for no name is that long: nobody else's rows are read.
    let behind = format!("{prefix}{}", LAST_LETTER.repeat(NAME_BYTES_MAX));
    let mut found = Vec::new();
    loop {
        let (skipped, count) = (found.len() as i64, CURSORS_MAX as i64);
        let rows = query(tx, sql, &[&scope.as_ref(), &prefix.as_ref(), &behind, &skipped, &count]).await?;
        let ours = rows.iter().take_while(|row| row.get::<_, &str>(0).starts_with(prefix.as_ref()));
        let before = found.len();
        found.extend(ours.map(|row| Cursor::set(text::take(row.get(0)), text::take(row.get(1)))));
        if found.len() - before < CURSORS_MAX {
            return Ok(found);
        }
    }
}

pub(super) async fn dead(tx: &Transaction<'_>, rows: &Rows) -> Result<Vec<DeadLetter>, Failure> {
    let before = rows.after.map_or((i64::MAX, i64::MAX), |mark| (mark.at_millis, mark.id.0));
    let count = limit(rows.count_max);
    // Two sentences, each of which has one good index.
    let letters = if let Some(sink) = &rows.sink {
        let sql =
            "SELECT dead.id, key, name, died, attempts, reason, order_json FROM dead JOIN sink ON sink.id = dead.sink
            WHERE dead.sink = (SELECT id FROM sink WHERE name = $4) AND (died, dead.id) < ($1, $2)
            ORDER BY died DESC, dead.id DESC LIMIT $3";
        query(tx, sql, &[&before.0, &before.1, &count, sink]).await?
    } else {
        let sql =
            "SELECT dead.id, key, name, died, attempts, reason, order_json FROM dead JOIN sink ON sink.id = dead.sink
            WHERE (died, dead.id) < ($1, $2) ORDER BY died DESC, dead.id DESC LIMIT $3";
        query(tx, sql, &[&before.0, &before.1, &count]).await?
    };
    let letter = |row: &Row| DeadLetter {
        id: EnvelopeId(row.get(0)),
        key: key(row, 1),
        sink: row.get(2),
        died_millis: row.get(3),
        attempts: row.get::<_, i32>(4) as u32,
        reason: text::take(row.get(5)),
        about: about(row.get(6)),
    };
    Ok(letters.iter().map(letter).collect())
}

pub(super) async fn list(tx: &Transaction<'_>, rows: &Rows) -> Result<Vec<Listed>, Failure> {
    let sql = "SELECT ev.id, key, name, accepted, due, attempts, started IS NOT NULL,
            (SELECT reason FROM attempt WHERE attempt.id = ev.id AND reason IS NOT NULL ORDER BY attempt.number DESC LIMIT 1),
            order_json
        FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink
        WHERE ev.id > $1 AND ($2::text IS NULL OR name = $2) ORDER BY ev.id LIMIT $3";
    let after = rows.after.map_or(0, |mark| mark.id.0);
    let list = query(tx, sql, &[&after, &rows.sink, &limit(rows.count_max)]).await?;
    let listed = |row: &Row| Listed {
        id: EnvelopeId(row.get(0)),
        key: key(row, 1),
        sink: row.get(2),
        accepted_millis: row.get(3),
        due_millis: row.get(4),
        attempts: row.get::<_, i32>(5) as u32,
        open: row.get(6),
        reason: row.get::<_, Option<String>>(7).map(text::take),
        about: about(row.get(8)),
    };
    Ok(list.iter().map(listed).collect())
}

pub(super) async fn depth(tx: &Transaction<'_>) -> Result<Depth, Failure> {
    let sql = "SELECT name, sum(waiting)::bigint, sum(dead)::bigint FROM tally JOIN sink ON sink.id = tally.sink
        GROUP BY name ORDER BY name";
    let mut depth = Depth::default();
    for row in query(tx, sql, &[]).await? {
        let (name, waiting, dead): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        depth.waiting += waiting as u64;
        depth.dead += dead as u64;
        if waiting > 0 {
            depth.sinks.push((name.clone(), waiting as u64));
        }
        if dead > 0 {
            depth.dead_sinks.push((name, dead as u64));
        }
    }
    Ok(depth)
}

pub(super) async fn accepted_millis(tx: &Transaction<'_>, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, Failure> {
    let asked: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = query(tx, "SELECT id, accepted FROM body WHERE id = ANY($1::bigint[])", &[&asked]).await?;
    let found: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(asked.iter().map(|id| found.get(id).copied()).collect())
}

/// Bytes of all that is in our schema.
pub(super) async fn bytes(tx: &Transaction<'_>) -> Result<u64, Failure> {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r'";
    let found = query(tx, sql, &[]).await?;
    Ok(found.first().map_or(0, |row| row.get::<_, i64>(0) as u64))
}

/// Everything known of one envelope.
pub(super) async fn history(tx: &Transaction<'_>, id: EnvelopeId) -> Result<Option<History>, Failure> {
    let Some((mut history, last)) = states(tx, &[id.0]).await?.remove(&id.0) else { return Ok(None) };
    let sql = "SELECT number, started, mark, ended, outcome, reason FROM attempt WHERE id = $1";
    let recorded = query(tx, sql, &[&id.0]).await?;
    let mut attempts: BTreeMap<u32, Attempt> = recorded.iter().map(attempt).map(|one| (one.number, one)).collect();
    if let Some(last) = last {
        // One in doubt is recorded and open, until it turns out well.
        if last.ended_millis.is_some() {
            attempts.insert(last.number, last);
        } else {
            attempts.entry(last.number).or_insert(last);
        }
    }
    history.attempts = attempts.into_values().collect();
    Ok(Some(history))
}

fn attempt(row: &Row) -> Attempt {
    Attempt {
        number: row.get::<_, i32>(0) as u32,
        started_millis: row.get(1),
        mark: row.get(2),
        ended_millis: row.get(3),
        outcome: row.get(4),
        reason: row.get::<_, Option<String>>(5).map(text::take),
    }
}

type State = (History, Option<Attempt>);

/// Where each of these envelopes is now, and its last attempt where that stands there too.
pub(super) async fn states(tx: &Transaction<'_>, ids: &[i64]) -> Result<BTreeMap<i64, State>, Failure> {
    let waiting = "SELECT ev.id, key, name, accepted, started, number, mark, NULL::bigint, order_json, due
        FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink WHERE ev.id = ANY($1::bigint[])";
    let done = "SELECT done.id, key, name, accepted, started, number, mark, ended, NULL::text, result, discarded
        FROM done JOIN sink ON sink.id = done.sink WHERE done.id = ANY($1::bigint[])";
    let dead = "SELECT dead.id, key, name, accepted, NULL::bigint, NULL::int, NULL::bigint, NULL::bigint, order_json, died, reason
        FROM dead JOIN sink ON sink.id = dead.sink WHERE dead.id = ANY($1::bigint[])";
    let mut states = BTreeMap::new();
    let mut put = |row: &Row, state| {
        let id = row.get(0);
        let (sink, accepted_millis, about) = (row.get(2), row.get(3), about(row.get(8)));
        let history =
            History { id: EnvelopeId(id), key: key(row, 1), sink, accepted_millis, state, about, attempts: Vec::new() };
        states.insert(id, (history, last_attempt(row)));
    };
    for row in &query(tx, waiting, &[&ids]).await? {
        put(row, EnvelopeState::Waiting { due_millis: row.get(9) });
    }
    for row in &query(tx, done, &[&ids]).await? {
        let at_millis = row.get(7);
        let result = row.get::<_, Option<String>>(9).map(text::take);
        let discarded: bool = row.get(10);
        let state =
            if discarded { EnvelopeState::Discarded { at_millis } } else { EnvelopeState::Done { at_millis, result } };
        put(row, state);
    }
    for row in &query(tx, dead, &[&ids]).await? {
        put(row, EnvelopeState::Dead { at_millis: row.get(9), reason: text::take(row.get(10)) });
    }
    Ok(states)
}

fn last_attempt(row: &Row) -> Option<Attempt> {
    let started_millis = row.get::<_, Option<i64>>(4)?;
    let ended_millis: Option<i64> = row.get(7);
    let outcome = ended_millis.map(|_| "done".to_owned());
    let number = row.get::<_, i32>(5) as u32;
    Some(Attempt { number, started_millis, mark: row.get(6), ended_millis, outcome, reason: None })
}

pub(super) fn limit(count_max: usize) -> i64 {
    i64::try_from(count_max).unwrap_or(i64::MAX)
}

/// `None` where there is no order, or none that can be read.
fn about(order: Option<&str>) -> Option<About> {
    let order: Order = serde_json::from_str(order?).ok()?;
    Some(About::of(&order))
}

fn key(row: &Row, column: usize) -> Key {
    Key::new(text::take(row.get(column)))
}
