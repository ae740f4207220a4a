//! The questions, each against one state of the store. Changes nothing.

use std::collections::BTreeMap;

use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Failure;
use crate::{
    model::{About, EnvelopeId, Lane, LaneId, Order, Partitions, Session, SinkName, Waiting},
    store::{Attempt, BlobId, DeadLetter, Depth, EnvelopeState, History, Lease, Listed, Rows, StoreError},
};

pub(super) fn waiting(
    connection: &Connection,
    lease: &Lease,
    partitions: &Partitions,
    after: EnvelopeId,
    count_max: usize,
) -> Result<Vec<Waiting>, Failure> {
    let held = "SELECT epoch = ?1 AND owner IS NOT NULL FROM lease";
    let epoch = lease.epoch(0);
    if !connection.prepare_cached(held)?.query_row([epoch], |row| row.get::<_, Option<bool>>(0))?.unwrap_or(false) {
        return Err(Failure::Refused(StoreError::LeaseLost));
    }
    let mut sinks = connection.prepare_cached("SELECT name FROM sink ORDER BY id")?;
    let sinks: Vec<_> = sinks.query_map([], |row| sink(row, 0))?.collect::<Result<_, _>>()?;
    let sql = "SELECT id, sink, lane, rank, due FROM ev WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut waiting = connection.prepare_cached(sql)?;
    let rows_max = if partitions.is_all() { limit(count_max) } else { -1 };
    let waiting = waiting.query_map([after.0, rows_max], |row| {
        let sink = sinks[row.get::<_, i64>(1)? as usize - 1].clone();
        let lane = Lane { id: LaneId(row.get(2)?), sink };
        Ok(Waiting { id: EnvelopeId(row.get(0)?), lane, rank: row.get(3)?, due_millis: row.get(4)? })
    })?;
    let wanted = |row: &Result<Waiting, _>| {
        partitions.is_all() || row.as_ref().map_or(true, |row| partitions.has(row.lane.partition()))
    };
    Ok(waiting.filter(wanted).take(count_max).collect::<Result<_, _>>()?)
}

/// A small blob.
pub(super) fn kept(connection: &Connection, id: &BlobId) -> Result<Option<Vec<u8>>, Failure> {
    let Some(number) = id.number() else { return Ok(None) };
    let mut kept = connection.prepare_cached("SELECT bytes FROM kept WHERE n = ?1 AND id = ?2")?;
    Ok(kept.query_row(rusqlite::params![number, id.0], |row| row.get(0)).optional()?)
}

pub(super) fn session(
    connection: &Connection,
    bridge: &BridgeName,
    thread: &ThreadId,
) -> Result<Option<Session>, Failure> {
    let sql = "SELECT contact, source_id, conversation, resolved, profile, home
        FROM session WHERE bridge = ?1 AND thread = ?2";
    let mut session = connection.prepare_cached(sql)?;
    let session = session.query_row([bridge.as_str(), thread.as_str()], |row| {
        Ok(Session {
            bridge: bridge.clone(),
            thread: thread.clone(),
            contact: row.get(0)?,
            source_id: row.get(1)?,
            conversation: row.get(2)?,
            resolved: row.get(3)?,
            profile: row.get(4)?,
            home: row.get(5)?,
        })
    });
    Ok(session.optional()?)
}

pub(super) fn cursors(connection: &Connection, scope: &str, prefix: &str) -> Result<Vec<Cursor>, Failure> {
    // Text is ordered by its bytes, here and there.
    let sql = "SELECT name, value FROM cursor WHERE scope = ?1 AND name >= ?2 ORDER BY name";
    let mut cursors = connection.prepare_cached(sql)?;
    let mut rows = cursors.query([scope, prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !name.starts_with(prefix) {
            break;
        }
        found.push(Cursor { name, value: row.get(1)? });
    }
    Ok(found)
}

pub(super) fn dead(connection: &Connection, rows: &Rows) -> Result<Vec<DeadLetter>, Failure> {
    let of_sink = match &rows.sink {
        Some(name) => match sink_number(connection, name)? {
            Some(sink) => format!("dead.sink = {sink}"),
            None => return Ok(Vec::new()),
        },
        None => "TRUE".to_owned(),
    };
    let sql = format!(
        "SELECT dead.id, key, name, died, attempts, reason, order_json FROM dead JOIN sink ON sink.id = dead.sink
        WHERE {of_sink} AND (died, dead.id) < (?1, ?2) ORDER BY died DESC, dead.id DESC LIMIT ?3"
    );
    let before = rows.after.map_or((i64::MAX, i64::MAX), |mark| (mark.at_millis, mark.id.0));
    let mut dead = connection.prepare_cached(&sql)?;
    let dead = dead.query_map([before.0, before.1, limit(rows.count_max)], |row| {
        Ok(DeadLetter {
            id: EnvelopeId(row.get(0)?),
            key: key(row, 1)?,
            sink: row.get(2)?,
            died_millis: row.get(3)?,
            attempts: row.get(4)?,
            reason: row.get(5)?,
            about: about(row, 6)?,
        })
    })?;
    Ok(dead.collect::<Result<_, _>>()?)
}

pub(super) fn list(connection: &Connection, rows: &Rows) -> Result<Vec<Listed>, Failure> {
    let sink = match &rows.sink {
        Some(name) => match sink_number(connection, name)? {
            Some(sink) => Some(sink),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    let sql = "SELECT ev.id, key, name, accepted, due, attempts, started IS NOT NULL,
            (SELECT reason FROM attempt WHERE attempt.id = ev.id AND reason IS NOT NULL ORDER BY attempt.number DESC LIMIT 1),
            order_json
        FROM ev JOIN body USING (id) CROSS JOIN sink ON sink.id = ev.sink
        WHERE ev.id > ?1 AND (?2 IS NULL OR ev.sink = ?2) ORDER BY ev.id LIMIT ?3";
    let mut list = connection.prepare_cached(sql)?;
    let after = rows.after.map_or(0, |mark| mark.id.0);
    let list = list.query_map(rusqlite::params![after, sink, limit(rows.count_max)], |row| {
        Ok(Listed {
            id: EnvelopeId(row.get(0)?),
            key: key(row, 1)?,
            sink: row.get(2)?,
            accepted_millis: row.get(3)?,
            due_millis: row.get(4)?,
            attempts: row.get(5)?,
            open: row.get(6)?,
            reason: row.get(7)?,
            about: about(row, 8)?,
        })
    })?;
    Ok(list.collect::<Result<_, _>>()?)
}

fn sink_number(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut number = connection.prepare_cached("SELECT id FROM sink WHERE name = ?1")?;
    number.query_row([name], |row| row.get(0)).optional()
}

pub(super) fn depth(connection: &Connection) -> Result<Depth, Failure> {
    let mut sinks = connection.prepare_cached("SELECT name, waiting, dead FROM sink ORDER BY name")?;
    let sinks: Vec<(String, i64, i64)> =
        sinks.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    let mut depth = Depth::default();
    for (name, waiting, dead) in sinks {
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

pub(super) fn accepted_millis(connection: &Connection, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, Failure> {
    let mut accepted = connection.prepare_cached("SELECT accepted FROM body WHERE id = ?1")?;
    let mut of = |id: &EnvelopeId| Ok(accepted.query_row([id.0], |row| row.get(0)).optional()?);
    ids.iter().map(&mut of).collect()
}

/// Everything known of one envelope.
pub(super) fn history(connection: &Connection, id: EnvelopeId) -> rusqlite::Result<Option<History>> {
    let Some((mut history, last)) = state(connection, id.0)? else { return Ok(None) };
    history.attempts = attempts(connection, id.0, last)?;
    Ok(Some(history))
}

type StateOf = fn(&Row<'_>) -> rusqlite::Result<EnvelopeState>;

/// Where the envelope is now, and its last attempt where that stands there too.
pub(super) fn state(connection: &Connection, id: i64) -> rusqlite::Result<Option<(History, Option<Attempt>)>> {
    let tables: [(&str, StateOf); 3] = [
        (
            "SELECT key, name, accepted, started, number, mark, NULL, order_json, due
                FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink WHERE ev.id = ?1",
            |row| Ok(EnvelopeState::Waiting { due_millis: row.get(8)? }),
        ),
        (
            "SELECT key, name, accepted, started, number, mark, ended, NULL, result, discarded
                FROM done JOIN sink ON sink.id = done.sink WHERE done.id = ?1",
            |row| {
                let at_millis = row.get(6)?;
                let discarded: bool = row.get(9)?;
                Ok(if discarded {
                    EnvelopeState::Discarded { at_millis }
                } else {
                    EnvelopeState::Done { at_millis, result: row.get(8)? }
                })
            },
        ),
        (
            "SELECT key, name, accepted, NULL, NULL, NULL, NULL, order_json, died, reason
                FROM dead JOIN sink ON sink.id = dead.sink WHERE dead.id = ?1",
            |row| Ok(EnvelopeState::Dead { at_millis: row.get(8)?, reason: row.get(9)? }),
        ),
    ];
    for (sql, state) in tables {
        let found = connection.prepare_cached(sql)?.query_row([id], |row| {
            let (key, state, about) = (key(row, 0)?, state(row)?, about(row, 7)?);
            let (sink, accepted_millis, attempts) = (row.get(1)?, row.get(2)?, Vec::new());
            let history = History { id: EnvelopeId(id), key, sink, accepted_millis, state, about, attempts };
            Ok((history, last_attempt(row)?))
        });
        if let Some(found) = found.optional()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn last_attempt(row: &Row<'_>) -> rusqlite::Result<Option<Attempt>> {
    let Some(started_millis) = row.get(3)? else { return Ok(None) };
    let ended_millis: Option<i64> = row.get(6)?;
    let outcome = ended_millis.map(|_| "done".to_owned());
    Ok(Some(Attempt { number: row.get(4)?, started_millis, mark: row.get(5)?, ended_millis, outcome, reason: None }))
}

fn attempts(connection: &Connection, id: i64, last: Option<Attempt>) -> rusqlite::Result<Vec<Attempt>> {
    let sql = "SELECT number, started, mark, ended, outcome, reason FROM attempt WHERE id = ?1";
    let mut recorded = connection.prepare_cached(sql)?;
    let recorded = recorded.query_map([id], |row| {
        let attempt = Attempt {
            number: row.get(0)?,
            started_millis: row.get(1)?,
            mark: row.get(2)?,
            ended_millis: row.get(3)?,
            outcome: row.get(4)?,
            reason: row.get(5)?,
        };
        Ok((attempt.number, attempt))
    })?;
    let mut attempts: BTreeMap<u32, Attempt> = recorded.collect::<Result<_, _>>()?;
    if let Some(last) = last {
        // One in doubt is recorded and open, until it turns out well.
        if last.ended_millis.is_some() {
            attempts.insert(last.number, last);
        } else {
            attempts.entry(last.number).or_insert(last);
        }
    }
    Ok(attempts.into_values().collect())
}

pub(super) fn limit(count_max: usize) -> i64 {
    i64::try_from(count_max).unwrap_or(i64::MAX)
}

/// `None` where there is no order, or none that can be read.
fn about(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<About>> {
    let order = row.get_ref(column)?.as_str_or_null()?;
    Ok(order.and_then(|order| serde_json::from_str(order).ok()).map(|order: Order| About::of(&order)))
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Key> {
    row.get::<_, String>(column).map(Key::new)
}

fn sink(row: &Row<'_>, column: usize) -> rusqlite::Result<SinkName> {
    row.get::<_, String>(column).map(SinkName::from_stored)
}
