//! What people search for: no index serves them, which every message would have to pay for. So they walk, on
//! connections of their own, a bounded stretch at a time where what they walk over has no bound.

use bridge_api::Key;
use deadpool_postgres::Transaction;

use super::{fault::Failure, looks, reader::query, text};
use crate::{
    model::{EnvelopeId, LaneId, Session},
    store::{Found, History, Wanted, written::hash},
};

/// Walks over all known keys, which are in order of time and not of hash.
pub(super) async fn history(tx: &Transaction<'_>, key: &Key) -> Result<Option<History>, Failure> {
    let found = query(tx, "SELECT max(id) FROM known WHERE hash = $1", &[&&hash(key)[..]]).await?;
    match found.first().and_then(|row| row.get::<_, Option<i64>>(0)) {
        Some(id) => looks::history(tx, EnvelopeId(id)).await,
        None => Ok(None),
    }
}

/// The envelopes of one stretch of numbers, wherever each of them is now.
pub(super) async fn stretch(
    tx: &Transaction<'_>,
    wanted: &Wanted,
    before: Option<EnvelopeId>,
) -> Result<Found, Failure> {
    let before = before.map_or(i64::MAX, |before| before.0);
    let Some(newest) = newest_below(tx, before).await? else { return Ok(Found::default()) };
    let first = newest.saturating_sub(wanted.stretch.max(1) - 1);
    let waiting = if wanted.lanes_alone() {
        "SELECT id, lane, '', NULL::text FROM ev WHERE id BETWEEN $1 AND $2"
    } else {
        "SELECT ev.id, lane, key, NULL::text FROM ev JOIN body USING (id) WHERE ev.id BETWEEN $1 AND $2"
    };
    let done = "SELECT id, lane, key, result FROM done WHERE id BETWEEN $1 AND $2";
    let dead = "SELECT id, lane, key, NULL::text FROM dead WHERE id BETWEEN $1 AND $2";
    let mut ids = Vec::new();
    for sql in [waiting, done, dead] {
        for row in query(tx, sql, &[&first, &newest]).await? {
            let (key, result) = (text::take(row.get(2)), row.get::<_, Option<String>>(3).map(text::take));
            if wanted.fits(&key, LaneId(row.get(1)), result.as_deref()) {
                ids.push(row.get::<_, i64>(0));
            }
        }
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    let cut = ids.len() > wanted.count_max;
    ids.truncate(wanted.count_max);
    let mut states = looks::states(tx, &ids).await?;
    let hits = ids.iter().filter_map(|id| states.remove(id)).map(|(history, _)| history).collect();
    let next = match (cut, ids.last()) {
        (true, Some(last)) => *last,
        (true, None) => before,
        (false, _) => first,
    };
    // Where nothing is left below, the walk has come to its end.
    let more = newest_below(tx, next).await?;
    Ok(Found { hits, before: more.map(|newest| EnvelopeId(newest + 1)) })
}

/// The highest number of an envelope that is there, below this one.
async fn newest_below(tx: &Transaction<'_>, before: i64) -> Result<Option<i64>, Failure> {
    let sql = "SELECT greatest((SELECT max(id) FROM ev WHERE id < $1), (SELECT max(id) FROM done WHERE id < $1),
        (SELECT max(id) FROM dead WHERE id < $1))";
    Ok(query(tx, sql, &[&before]).await?.first().and_then(|row| row.get(0)))
}

/// Walks over all sessions, of which there is one a thread.
pub(super) async fn sessions(tx: &Transaction<'_>, text: &str, count_max: usize) -> Result<Vec<Session>, Failure> {
    let sql = "SELECT bridge, thread, contact, source_id, conversation, resolved, profile, home FROM session
        WHERE strpos(thread, $1) > 0 OR strpos(source_id, $1) > 0
        ORDER BY (thread = $1 OR source_id = $1) DESC, bridge, thread LIMIT $2";
    let found = query(tx, sql, &[&text::put(text).as_ref(), &looks::limit(count_max)]).await?;
    Ok(found.iter().map(looks::session_of).collect())
}
