//! The questions, each against one state of the store. Changes nothing.

use std::collections::BTreeMap;

use bridge_api::{BridgeName, Cursor, Key, ThreadId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{accept::hash, fault::Failure};
use crate::{
    model::{EnvelopeId, Lane, LaneId, Session, SinkName, Waiting},
    store::{Attempt, BlobId, DeadLetter, Depth, EnvelopeState, History, Lease, Listed, StoreError},
};

pub(super) fn waiting(
    connection: &Connection,
    lease: &Lease,
    after: EnvelopeId,
    count_max: usize,
) -> Result<Vec<Waiting>, Failure> {
    let held = "SELECT epoch = ?1 AND owner IS NOT NULL FROM lease";
    if !connection.prepare_cached(held)?.query_row([lease.epoch], |row| row.get(0))? {
        return Err(Failure::Refused(StoreError::LeaseLost));
    }
    let mut sinks = connection.prepare_cached("SELECT name FROM sink ORDER BY id")?;
    let sinks: Vec<_> = sinks.query_map([], |row| sink(row, 0))?.collect::<Result<_, _>>()?;
    let sql = "SELECT id, sink, lane, rank, due FROM ev WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut waiting = connection.prepare_cached(sql)?;
    let waiting = waiting.query_map([after.0, limit(count_max)], |row| {
        let sink = sinks[row.get::<_, i64>(1)? as usize - 1].clone();
        let lane = Lane { id: LaneId(row.get(2)?), sink };
        Ok(Waiting { id: EnvelopeId(row.get(0)?), lane, rank: row.get(3)?, due_millis: row.get(4)? })
    })?;
    Ok(waiting.collect::<Result<_, _>>()?)
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

pub(super) fn dead(connection: &Connection, count_max: usize) -> Result<Vec<DeadLetter>, Failure> {
    let sql = "SELECT key, name, died, attempts, reason FROM dead JOIN sink ON sink.id = dead.sink
        ORDER BY died DESC, dead.id DESC LIMIT ?1";
    let mut dead = connection.prepare_cached(sql)?;
    let dead = dead.query_map([limit(count_max)], |row| {
        Ok(DeadLetter {
            key: key(row, 0)?,
            sink: row.get(1)?,
            died_millis: row.get(2)?,
            attempts: row.get(3)?,
            reason: row.get(4)?,
        })
    })?;
    Ok(dead.collect::<Result<_, _>>()?)
}

pub(super) fn list(connection: &Connection, count_max: usize) -> Result<Vec<Listed>, Failure> {
    let sql = "SELECT key, name, accepted, due, attempts, started IS NOT NULL,
            (SELECT reason FROM attempt WHERE attempt.id = ev.id AND reason IS NOT NULL ORDER BY attempt.number DESC LIMIT 1)
        FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink ORDER BY ev.id LIMIT ?1";
    let mut list = connection.prepare_cached(sql)?;
    let list = list.query_map([limit(count_max)], |row| {
        Ok(Listed {
            key: key(row, 0)?,
            sink: row.get(1)?,
            accepted_millis: row.get(2)?,
            due_millis: row.get(3)?,
            attempts: row.get(4)?,
            open: row.get(5)?,
            reason: row.get(6)?,
        })
    })?;
    Ok(list.collect::<Result<_, _>>()?)
}

pub(super) fn depth(connection: &Connection) -> Result<Depth, Failure> {
    let sql = "SELECT name, waiting FROM sink WHERE waiting > 0 ORDER BY name";
    let mut sinks = connection.prepare_cached(sql)?;
    let sinks: Vec<(String, i64)> =
        sinks.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let sinks: Vec<_> = sinks.into_iter().map(|(name, waiting)| (name, waiting as u64)).collect();
    let dead: i64 = connection.prepare_cached("SELECT count(*) FROM dead")?.query_row([], |row| row.get(0))?;
    Ok(Depth { waiting: sinks.iter().map(|(_, waiting)| waiting).sum(), dead: dead as u64, sinks })
}

pub(super) fn accepted_millis(connection: &Connection, ids: &[EnvelopeId]) -> Result<Vec<Option<i64>>, Failure> {
    let mut accepted = connection.prepare_cached("SELECT accepted FROM body WHERE id = ?1")?;
    let mut of = |id: &EnvelopeId| Ok(accepted.query_row([id.0], |row| row.get(0)).optional()?);
    ids.iter().map(&mut of).collect()
}

/// Walks over all known keys, which are in order of time and not of hash: a question that people ask,
/// some millions of keys a second.
pub(super) fn history(connection: &Connection, key: &Key) -> Result<Option<History>, Failure> {
    let sql = "SELECT max(id) FROM known WHERE hash = ?1";
    let id: Option<i64> = connection.prepare_cached(sql)?.query_row([hash(key)], |row| row.get(0))?;
    let Some(id) = id else { return Ok(None) };
    let Some((mut history, last)) = state(connection, id)? else { return Ok(None) };
    history.attempts = attempts(connection, id, last)?;
    Ok(Some(history))
}

type StateOf = fn(&Row<'_>) -> rusqlite::Result<EnvelopeState>;

/// Where the envelope is now, and its last attempt where that stands there too.
fn state(connection: &Connection, id: i64) -> rusqlite::Result<Option<(History, Option<Attempt>)>> {
    let tables: [(&str, StateOf); 3] = [
        (
            "SELECT key, name, accepted, started, number, mark, NULL, due
                FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink WHERE ev.id = ?1",
            |row| Ok(EnvelopeState::Waiting { due_millis: row.get(7)? }),
        ),
        (
            "SELECT key, name, accepted, started, number, mark, ended, result, discarded
                FROM done JOIN sink ON sink.id = done.sink WHERE done.id = ?1",
            |row| {
                let at_millis = row.get(6)?;
                let discarded: bool = row.get(8)?;
                Ok(if discarded {
                    EnvelopeState::Discarded { at_millis }
                } else {
                    EnvelopeState::Done { at_millis, result: row.get(7)? }
                })
            },
        ),
        (
            "SELECT key, name, accepted, NULL, NULL, NULL, NULL, died, reason
                FROM dead JOIN sink ON sink.id = dead.sink WHERE dead.id = ?1",
            |row| Ok(EnvelopeState::Dead { at_millis: row.get(7)?, reason: row.get(8)? }),
        ),
    ];
    for (sql, state) in tables {
        let found = connection.prepare_cached(sql)?.query_row([id], |row| {
            let (key, state) = (key(row, 0)?, state(row)?);
            let attempts = Vec::new();
            let history = History { key, sink: row.get(1)?, accepted_millis: row.get(2)?, state, attempts };
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

fn limit(count_max: usize) -> i64 {
    i64::try_from(count_max).unwrap_or(i64::MAX)
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Key> {
    row.get::<_, String>(column).map(Key::new)
}

fn sink(row: &Row<'_>, column: usize) -> rusqlite::Result<SinkName> {
    row.get::<_, String>(column).map(SinkName::from_stored)
}
