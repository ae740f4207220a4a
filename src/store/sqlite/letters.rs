//! Dead letters: given up, put back, dropped. Each keeps its whole envelope.

use bridge_api::Key;
use rusqlite::{OptionalExtension, Params, params};

use super::work::Work;
use crate::model::{EnvelopeId, Lane, LaneId, Waiting};

/// Ends the attempt of an envelope that waits otherwise than well; see the table `attempt`.
pub(super) struct Ended<'a> {
    pub(super) outcome: &'a str,
    pub(super) reason: &'a str,
    pub(super) at_millis: Option<i64>,
}

pub(super) struct Tried {
    pub(super) number: i64,
    pub(super) started_millis: i64,
    pub(super) mark: i64,
}

pub(super) fn record(work: &Work, id: EnvelopeId, tried: &Tried, ended: &Ended<'_>) -> rusqlite::Result<()> {
    work.execute(
        "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE
            SET ended = excluded.ended, outcome = excluded.outcome, reason = excluded.reason",
        params![id.0, tried.number, tried.started_millis, tried.mark, ended.at_millis, ended.outcome, ended.reason],
    )
}

/// Makes a dead letter of what waits. Whether it did.
pub(super) fn bury(work: &mut Work, id: EnvelopeId, reason: &str, now_millis: i64) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO dead SELECT ev.id, key, sink, lane, rank, accepted, ?2, attempts, number, ?3, order_json
        FROM ev JOIN body USING (id) WHERE ev.id = ?1";
    work.execute(sql, params![id.0, now_millis, reason])?;
    let sql = "DELETE FROM ev WHERE id = ?1 RETURNING sink, number, started, mark";
    let gone = work.connection().prepare_cached(sql)?.query_row([id.0], |row| {
        let started: Option<i64> = row.get(2)?;
        let mark: Option<i64> = row.get(3)?;
        let number = row.get(1)?;
        let tried = started.zip(mark).map(|(started_millis, mark)| Tried { number, started_millis, mark });
        Ok((row.get(0)?, tried))
    });
    let Some((sink, tried)) = gone.optional()? else { return Ok(false) };
    work.execute("DELETE FROM body WHERE id = ?1", [id.0])?;
    work.count(sink, -1);
    work.count_dead(sink, 1);
    if let Some(tried) = tried {
        record(work, id, &tried, &Ended { outcome: "dead", reason, at_millis: Some(now_millis) })?;
    }
    Ok(true)
}

/// Puts a dead letter back, due now, with fresh attempts.
pub(super) fn revive(work: &mut Work, id: EnvelopeId, now_millis: i64) -> rusqlite::Result<Waiting> {
    work.execute(
        "INSERT INTO ev SELECT id, sink, lane, rank, ?2, 0, number, NULL, NULL FROM dead WHERE id = ?1",
        [id.0, now_millis],
    )?;
    work.execute("INSERT INTO body SELECT id, key, accepted, order_json FROM dead WHERE id = ?1", [id.0])?;
    let sql = "DELETE FROM dead WHERE id = ?1 RETURNING sink, lane, rank";
    let letter = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (sink, lane, rank) = work.connection().prepare_cached(sql)?.query_row([id.0], letter)?;
    work.count(sink, 1);
    work.count_dead(sink, -1);
    let lane = Lane { id: LaneId(lane), sink: work.sink_name(sink) };
    Ok(Waiting { id, lane, rank, due_millis: now_millis })
}

pub(super) fn revive_keys(work: &mut Work, keys: &[Key], now_millis: i64) -> rusqlite::Result<Vec<Waiting>> {
    let mut revived = Vec::new();
    for key in keys {
        for id in ids(work, "SELECT id FROM dead WHERE key = ?1 ORDER BY rank, id", [key.as_str()])? {
            revived.push(revive(work, id, now_millis)?);
        }
    }
    Ok(revived)
}

pub(super) fn discard_keys(work: &mut Work, keys: &[Key], now_millis: i64) -> rusqlite::Result<usize> {
    let mut count = 0;
    for key in keys {
        let sql = "INSERT INTO done SELECT id, key, sink, accepted, ?2, TRUE, NULL, NULL, NULL, NULL, lane
            FROM dead WHERE key = ?1";
        work.execute(sql, params![key.as_str(), now_millis])?;
        let sinks: Vec<i64> = {
            let mut gone = work.connection().prepare_cached("DELETE FROM dead WHERE key = ?1 RETURNING sink")?;
            gone.query_map([key.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        count += sinks.len();
        for sink in sinks {
            work.count_dead(sink, -1);
        }
    }
    Ok(count)
}

pub(super) fn ids(work: &Work, sql: &str, params: impl Params) -> rusqlite::Result<Vec<EnvelopeId>> {
    let mut ids = work.connection().prepare_cached(sql)?;
    ids.query_map(params, |row| row.get(0).map(EnvelopeId))?.collect()
}
