//! What people search for: no index serves them, which every message would have to pay for. So they walk, on a
//! thread of their own, a bounded stretch at a time where what they walk over has no bound.

use bridge_api::{BridgeName, Key, ThreadId};
use rusqlite::{Connection, params};

use super::{fault::Failure, looks};
use crate::{
    model::{EnvelopeId, LaneId, Session},
    store::{Found, History, Wanted, written::hash},
};

/// Walks over all known keys, which are in order of time and not of hash: some millions of keys a second.
pub(super) fn history(connection: &Connection, key: &Key) -> Result<Option<History>, Failure> {
    let sql = "SELECT max(id) FROM known WHERE hash = ?1";
    let id: Option<i64> = connection.prepare_cached(sql)?.query_row([hash(key)], |row| row.get(0))?;
    match id {
        Some(id) => Ok(looks::history(connection, EnvelopeId(id))?),
        None => Ok(None),
    }
}

/// The envelopes of one stretch of numbers, wherever each of them is now.
pub(super) fn stretch(connection: &Connection, wanted: &Wanted, before: Option<EnvelopeId>) -> rusqlite::Result<Found> {
    let before = before.map_or(i64::MAX, |before| before.0);
    let Some(newest) = newest_below(connection, before)? else { return Ok(Found::default()) };
    let first = newest.saturating_sub(wanted.stretch.max(1) - 1);
    let mut ids = Vec::new();
    let waiting = if wanted.lanes_alone() {
        "SELECT id, lane, '', NULL FROM ev WHERE id BETWEEN ?1 AND ?2"
    } else {
        "SELECT ev.id, lane, key, NULL FROM ev JOIN body USING (id) WHERE ev.id BETWEEN ?1 AND ?2"
    };
    let done = "SELECT id, lane, key, result FROM done WHERE id BETWEEN ?1 AND ?2";
    let dead = "SELECT id, lane, key, NULL FROM dead WHERE id BETWEEN ?1 AND ?2";
    for sql in [waiting, done, dead] {
        let mut rows = connection.prepare_cached(sql)?;
        let mut rows = rows.query([first, newest])?;
        while let Some(row) = rows.next()? {
            let (lane, result) = (LaneId(row.get(1)?), row.get_ref(3)?.as_str_or_null()?);
            if wanted.fits(row.get_ref(2)?.as_str()?, lane, result) {
                ids.push(row.get::<_, i64>(0)?);
            }
        }
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    let cut = ids.len() > wanted.count_max;
    ids.truncate(wanted.count_max);
    let mut hits = Vec::with_capacity(ids.len());
    for id in &ids {
        hits.extend(looks::state(connection, *id)?.map(|(history, _)| history));
    }
    let next = match (cut, ids.last()) {
        (true, Some(last)) => *last,
        (true, None) => before,
        (false, _) => first,
    };
    // Where nothing is left below, the walk has come to its end.
    let more = newest_below(connection, next)?;
    Ok(Found { hits, before: more.map(|newest| EnvelopeId(newest + 1)) })
}

/// The highest number of an envelope that is there, below this one.
fn newest_below(connection: &Connection, before: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT max((SELECT coalesce(max(id), 0) FROM ev WHERE id < ?1),
        (SELECT coalesce(max(id), 0) FROM done WHERE id < ?1), (SELECT coalesce(max(id), 0) FROM dead WHERE id < ?1))";
    let newest: i64 = connection.prepare_cached(sql)?.query_row([before], |row| row.get(0))?;
    Ok((newest > 0).then_some(newest))
}

/// Walks over all sessions, of which there is one a thread.
pub(super) fn sessions(connection: &Connection, text: &str, count_max: usize) -> rusqlite::Result<Vec<Session>> {
    let sql = "SELECT bridge, thread, contact, source_id, conversation, resolved, profile, home FROM session
        WHERE instr(thread, ?1) > 0 OR instr(source_id, ?1) > 0
        ORDER BY thread = ?1 OR source_id = ?1 DESC, bridge, thread LIMIT ?2";
    let mut sessions = connection.prepare_cached(sql)?;
    let sessions = sessions.query_map(params![text, looks::limit(count_max)], |row| {
        Ok(Session {
            bridge: BridgeName::from(row.get::<_, String>(0)?),
            thread: ThreadId::from(row.get::<_, String>(1)?),
            contact: row.get(2)?,
            source_id: row.get(3)?,
            conversation: row.get(4)?,
            resolved: row.get(5)?,
            profile: row.get(6)?,
            home: row.get(7)?,
        })
    })?;
    sessions.collect()
}
