//! Attempts: how they end and how they begin.

use bridge_api::Key;
use rusqlite::{OptionalExtension, Row, params};

use super::{
    accept,
    fault::Failure,
    letters::{self, Ended, Tried},
    work::Work,
};
use crate::{
    model::{Envelope, EnvelopeId, Lane, LaneId, OpenAttempt, Waiting},
    store::{Begin, Lease, Settled, Turn, written::Written},
};

/// A turn in the form in which it is written.
pub(super) struct WrittenTurn {
    settle: Vec<WrittenSettle>,
    begin: Vec<Begin>,
}

struct WrittenSettle {
    id: EnvelopeId,
    outcome: Settled,
    /// Taken out of the outcome.
    follow: Vec<Written>,
}

impl From<Turn> for WrittenTurn {
    fn from(turn: Turn) -> Self {
        let settle = turn.settle.into_iter().map(|mut settle| {
            let follow = match &mut settle.outcome {
                Settled::Done { follow, .. } | Settled::Dead { follow, .. } => std::mem::take(follow),
                Settled::Again { .. } | Settled::Repeat { .. } | Settled::Doubt { .. } => Vec::new(),
            };
            let follow = follow.into_iter().map(Written::from).collect();
            WrittenSettle { id: settle.id, outcome: settle.outcome, follow }
        });
        Self { settle: settle.collect(), begin: turn.begin }
    }
}

/// The answer, with the orders still as text.
#[derive(Default)]
pub(super) struct WrittenTurned {
    pub(super) begun: Vec<Begun>,
    pub(super) gone: Vec<EnvelopeId>,
    pub(super) accepted: Vec<Waiting>,
}

pub(super) struct Begun {
    id: EnvelopeId,
    lane: Lane,
    rank: i64,
    attempts: u32,
    repeats: u32,
    doubt: Option<OpenAttempt>,
    key: Key,
    accepted_millis: i64,
    order_json: String,
}

impl Begun {
    /// Fails with the id and the reason when no order can be read from it.
    pub(super) fn read(self) -> Result<Envelope, (EnvelopeId, String)> {
        let order = serde_json::from_str(&self.order_json).map_err(|error| (self.id, error.to_string()))?;
        Ok(Envelope {
            id: self.id,
            key: self.key,
            lane: self.lane,
            rank: self.rank,
            accepted_millis: self.accepted_millis,
            attempts: self.attempts,
            repeats: self.repeats,
            doubt: self.doubt,
            order,
        })
    }
}

pub(super) fn run(
    work: &mut Work,
    lease: &Lease,
    turn: &WrittenTurn,
    now_millis: i64,
) -> Result<WrittenTurned, Failure> {
    work.hold(lease)?;
    let mut turned = WrittenTurned::default();
    for settle in &turn.settle {
        if !end(work, settle, now_millis)? {
            turned.gone.push(settle.id);
            continue;
        }
        for accepted in accept::groups(work, &settle.follow, now_millis)? {
            turned.accepted.extend(accepted.into_waiting());
        }
    }
    for wanted in &turn.begin {
        match begin(work, *wanted, now_millis)? {
            Some(begun) => turned.begun.push(begun),
            None => turned.gone.push(wanted.id),
        }
    }
    Ok(turned)
}

/// Whether there was an open attempt to end.
fn end(work: &mut Work, settle: &WrittenSettle, now_millis: i64) -> rusqlite::Result<bool> {
    match &settle.outcome {
        Settled::Done { result, .. } => done(work, settle.id, result.as_deref(), now_millis),
        Settled::Again { due_millis, spent, reason } => {
            let ended = Ended { outcome: "again", reason, at_millis: Some(now_millis) };
            let Some(tried) = open(work, settle.id)? else { return Ok(false) };
            letters::record(work, settle.id, &tried, &ended)?;
            let sql = "UPDATE ev SET due = ?2, attempts = attempts - ?3, started = NULL, mark = NULL WHERE id = ?1";
            work.execute(sql, params![settle.id.0, due_millis, !spent])?;
            Ok(true)
        }
        Settled::Repeat { due_millis, reason } => {
            let ended = Ended { outcome: "doubt", reason, at_millis: Some(now_millis) };
            let Some(tried) = open(work, settle.id)? else { return Ok(false) };
            letters::record(work, settle.id, &tried, &ended)?;
            let sql = "UPDATE ev SET due = ?2, started = NULL, mark = NULL WHERE id = ?1";
            work.execute(sql, params![settle.id.0, due_millis])?;
            Ok(true)
        }
        Settled::Doubt { due_millis, reason } => {
            let ended = Ended { outcome: "doubt", reason, at_millis: None };
            let Some(tried) = open(work, settle.id)? else { return Ok(false) };
            letters::record(work, settle.id, &tried, &ended)?;
            work.execute("UPDATE ev SET due = ?2 WHERE id = ?1", params![settle.id.0, due_millis])?;
            Ok(true)
        }
        Settled::Dead { at_millis, reason, also, .. } => {
            if open(work, settle.id)?.is_none() {
                return Ok(false);
            }
            for id in std::iter::once(&settle.id).chain(also) {
                letters::bury(work, *id, reason, *at_millis)?;
            }
            Ok(true)
        }
    }
}

fn open(work: &Work, id: EnvelopeId) -> rusqlite::Result<Option<Tried>> {
    let sql = "SELECT number, started, mark FROM ev WHERE id = ?1 AND started IS NOT NULL";
    let tried = |row: &Row<'_>| Ok(Tried { number: row.get(0)?, started_millis: row.get(1)?, mark: row.get(2)? });
    work.connection().prepare_cached(sql)?.query_row([id.0], tried).optional()
}

/// Plain statements of one row each: `RETURNING` and `INSERT … SELECT` copy every page that they touch,
/// in case half of them must be undone.
fn done(work: &mut Work, id: EnvelopeId, result: Option<&str>, now_millis: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT sink, number, started, mark, key, accepted, lane
        FROM ev JOIN body USING (id) WHERE ev.id = ?1 AND started IS NOT NULL";
    let mut load = work.connection().prepare_cached(sql)?;
    let mut rows = load.query([id.0])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let sink: i64 = row.get(0)?;
    let last: (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let (key, accepted_millis, lane): (String, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
    drop(rows);
    drop(load);
    work.execute(
        "INSERT INTO done VALUES (?1, ?2, ?3, ?4, ?5, FALSE, ?6, ?7, ?8, ?9, ?10)",
        params![id.0, key, sink, accepted_millis, now_millis, result, last.0, last.1, last.2, lane],
    )?;
    work.execute("DELETE FROM ev WHERE id = ?1", [id.0])?;
    work.execute("DELETE FROM body WHERE id = ?1", [id.0])?;
    work.count(sink, -1);
    Ok(true)
}

fn begin(work: &Work, wanted: Begin, now_millis: i64) -> rusqlite::Result<Option<Begun>> {
    let sql = "SELECT sink, lane, rank, attempts, number, started, mark, key, accepted, order_json
        FROM ev JOIN body USING (id) WHERE ev.id = ?1";
    let mut load = work.connection().prepare_cached(sql)?;
    let mut number = 0;
    let loaded = load.query_row([wanted.id.0], |row| {
        let (started, mark): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
        number = row.get(4)?;
        Ok(Begun {
            id: wanted.id,
            lane: Lane { id: LaneId(row.get(1)?), sink: work.sink_name(row.get(0)?) },
            rank: row.get(2)?,
            attempts: row.get(3)?,
            repeats: 0,
            doubt: started.zip(mark).map(|(started_millis, mark)| OpenAttempt {
                number,
                started_millis,
                mark,
                reason: None,
            }),
            key: Key::new(row.get::<_, String>(7)?),
            accepted_millis: row.get(8)?,
            order_json: row.get(9)?,
        })
    });
    let Some(mut begun) = loaded.optional()? else { return Ok(None) };
    // Most succeed at once and have nothing recorded.
    if number > 0 {
        begun.repeats = repeats(work, wanted.id)?;
    }
    if let Some(open) = &mut begun.doubt {
        open.reason = reason(work, wanted.id, open.number)?;
    }
    if begun.doubt.is_none() {
        let sql = "UPDATE ev SET attempts = attempts + 1, number = number + 1, started = ?2, mark = ?3 WHERE id = ?1";
        work.execute(sql, [wanted.id.0, now_millis, wanted.mark])?;
        begun.attempts += 1;
    }
    Ok(Some(begun))
}

/// Attempts that ended in doubt, since it was accepted or put back.
fn repeats(work: &Work, id: EnvelopeId) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM attempt WHERE id = ?1 AND outcome = 'doubt' AND ended IS NOT NULL
        AND number > (SELECT coalesce(max(number), 0) FROM attempt WHERE id = ?1 AND outcome = 'dead')";
    work.connection().prepare_cached(sql)?.query_row([id.0], |row| row.get(0))
}

fn reason(work: &Work, id: EnvelopeId, number: u32) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT reason FROM attempt WHERE id = ?1 AND number = ?2";
    let recorded = work.connection().prepare_cached(sql)?.query_row([id.0, i64::from(number)], |row| row.get(0));
    Ok(recorded.optional()?.flatten())
}
