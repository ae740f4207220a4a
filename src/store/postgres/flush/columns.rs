//! Envelopes as columns, by where they come from and where they go.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::ToSql;

use super::run;
use crate::store::postgres::{
    fault::Failure,
    session::{Session, together},
    text,
    work::{Row, Table, Work},
};

pub(super) const EV_NEW: &str =
    "INSERT INTO ev (id, share, sink, lane, rank, due, attempts, number, started, mark)
    SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::int[],
        $9::bigint[], $10::bigint[])";
pub(super) const EV_SAME: &str =
    "UPDATE ev SET due = now.due, attempts = now.attempts, number = now.number, started = now.started, mark = now.mark
    FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::bigint[], $6::bigint[])
        AS now (id, due, attempts, number, started, mark)
    WHERE ev.id = now.id";
pub(super) const DEAD_NEW: &str =
    "INSERT INTO dead (id, key, sink, lane, rank, accepted, died, attempts, number, reason, order_json)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::int[],
        $9::int[], $10::text[], $11::text[])";
pub(super) const DEAD_OF_EV: &str =
    "INSERT INTO dead (id, key, sink, lane, rank, accepted, died, attempts, number, reason, order_json)
    SELECT id, body.key, sink, lane, rank, body.accepted, died, attempts, number, reason, order_json
    FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::int[], $8::text[])
        AS died (id, sink, lane, rank, died, attempts, number, reason)
    JOIN body USING (id)";
pub(super) const DEAD_OF_DEAD: &str =
    "UPDATE dead SET died = now.died, attempts = now.attempts, number = now.number, reason = now.reason
    FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[]) AS now (id, died, attempts, number, reason)
    WHERE dead.id = now.id";
pub(super) const DONE: &str =
    "INSERT INTO done (id, key, sink, lane, accepted, ended, discarded, result, number, started, mark)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bool[], $8::text[],
        $9::int[], $10::bigint[], $11::bigint[])";
pub(super) const ATTEMPT: &str = "INSERT INTO attempt (id, number, started, mark, ended, outcome, reason)
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[])
    ON CONFLICT (id, number) DO UPDATE SET ended = excluded.ended, outcome = excluded.outcome, reason = excluded.reason";

/// The rows that are written, each with its sink's number.
pub(super) struct Moves<'a> {
    work: &'a Work,
    sinks: &'a HashMap<String, i32>,
}

type Moved<'a> = Vec<(i64, &'a Row)>;

/// One for each parameter of a statement.
type Columns = Vec<Box<dyn ToSql + Sync + Send>>;

async fn write(session: &Session, rows: usize, sql: &'static str, columns: Columns) -> Result<(), Failure> {
    let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| &**column as _).collect();
    run(session, rows, sql, &params).await
}

fn column<T>(rows: &Moved<'_>, of: impl Fn(&Row) -> T) -> Vec<T> {
    rows.iter().map(|(_, row)| of(row)).collect()
}

fn ids(rows: &Moved<'_>) -> Vec<i64> {
    rows.iter().map(|(id, _)| *id).collect()
}

fn kept(text: Option<&str>) -> Option<String> {
    text.map(|text| text::put(text).into_owned())
}

impl<'a> Moves<'a> {
    pub(super) fn of(work: &'a Work, sinks: &'a HashMap<String, i32>) -> Self {
        Self { work, sinks }
    }

    /// In order of their numbers.
    pub(super) fn of_move(&self, from: Table, now: Table) -> Moved<'a> {
        let moved = |row: &Row| row.from == from && row.now == now && (from != now || row.changed);
        self.work.rows.iter().filter(|(_, row)| moved(row)).map(|(id, row)| (*id, row)).collect()
    }

    pub(super) fn gone(&self, from: Table) -> Vec<i64> {
        self.work.rows.iter().filter(|(_, row)| row.from == from && row.now != from).map(|(id, _)| *id).collect()
    }

    fn sink(&self, row: &Row) -> i32 {
        *self.sinks.get(row.lane.sink.as_str()).expect("sinks of what was read and of what is new are interned")
    }

    /// How many more wait and are dead, by sink.
    pub(super) fn counts(&self) -> BTreeMap<i32, (i64, i64)> {
        let mut counts = BTreeMap::<i32, (i64, i64)>::new();
        for row in self.work.rows.values().filter(|row| row.from != row.now) {
            let change = |table| i64::from(row.now == table) - i64::from(row.from == table);
            let (waiting, dead) = counts.entry(self.sink(row)).or_default();
            *waiting += change(Table::Ev);
            *dead += change(Table::Dead);
        }
        counts.retain(|_, change| *change != (0, 0));
        counts
    }
}

pub(super) async fn ev(session: &Session, moves: &Moves<'_>) -> Result<(), Failure> {
    let mut new = moves.of_move(Table::New, Table::Ev);
    new.extend(moves.of_move(Table::Dead, Table::Ev));
    let same = moves.of_move(Table::Ev, Table::Ev);
    let started = |rows| column(rows, |row| row.open.map(|(started, _)| started));
    let mark = |rows| column(rows, |row| row.open.map(|(_, mark)| mark));
    let counts = |rows: &Moved<'_>| (column(rows, |row| row.attempts), column(rows, |row| row.number));
    let (attempts, numbers) = counts(&new);
    let (attempts_now, numbers_now) = counts(&same);
    together!(
        write(
            session,
            new.len(),
            EV_NEW,
            vec![
                Box::new(ids(&new)),
                Box::new(column(&new, |row| i16::from(row.lane.partition()))),
                Box::new(column(&new, |row| moves.sink(row))),
                Box::new(column(&new, |row| row.lane.id.0)),
                Box::new(column(&new, |row| row.rank)),
                Box::new(column(&new, |row| row.due_millis)),
                Box::new(attempts),
                Box::new(numbers),
                Box::new(started(&new)),
                Box::new(mark(&new)),
            ]
        ),
        write(
            session,
            same.len(),
            EV_SAME,
            vec![
                Box::new(ids(&same)),
                Box::new(column(&same, |row| row.due_millis)),
                Box::new(attempts_now),
                Box::new(numbers_now),
                Box::new(started(&same)),
                Box::new(mark(&same)),
            ]
        ),
    )?;
    Ok(())
}

pub(super) async fn dead(session: &Session, moves: &Moves<'_>) -> Result<(), Failure> {
    let (new, of_ev) = (moves.of_move(Table::New, Table::Dead), moves.of_move(Table::Ev, Table::Dead));
    let of_dead = moves.of_move(Table::Dead, Table::Dead);
    let reason = |rows| column(rows, |row| kept(row.end.1.as_deref()).unwrap_or_default());
    together!(
        write(
            session,
            new.len(),
            DEAD_NEW,
            vec![
                Box::new(ids(&new)),
                Box::new(column(&new, |row| text::put(&row.key).into_owned())),
                Box::new(column(&new, |row| moves.sink(row))),
                Box::new(column(&new, |row| row.lane.id.0)),
                Box::new(column(&new, |row| row.rank)),
                Box::new(column(&new, |row| row.accepted_millis)),
                Box::new(column(&new, |row| row.end.0)),
                Box::new(column(&new, |row| row.attempts)),
                Box::new(column(&new, |row| row.number)),
                Box::new(reason(&new)),
                Box::new(column(&new, |row| row.order_json.clone().unwrap_or_default())),
            ]
        ),
        write(
            session,
            of_ev.len(),
            DEAD_OF_EV,
            vec![
                Box::new(ids(&of_ev)),
                Box::new(column(&of_ev, |row| moves.sink(row))),
                Box::new(column(&of_ev, |row| row.lane.id.0)),
                Box::new(column(&of_ev, |row| row.rank)),
                Box::new(column(&of_ev, |row| row.end.0)),
                Box::new(column(&of_ev, |row| row.attempts)),
                Box::new(column(&of_ev, |row| row.number)),
                Box::new(reason(&of_ev)),
            ]
        ),
        write(
            session,
            of_dead.len(),
            DEAD_OF_DEAD,
            vec![
                Box::new(ids(&of_dead)),
                Box::new(column(&of_dead, |row| row.end.0)),
                Box::new(column(&of_dead, |row| row.attempts)),
                Box::new(column(&of_dead, |row| row.number)),
                Box::new(reason(&of_dead)),
            ]
        ),
    )?;
    Ok(())
}

/// Of the last attempt only when it ended well.
pub(super) async fn done(session: &Session, moves: &Moves<'_>) -> Result<(), Failure> {
    let mut rows = moves.of_move(Table::Ev, Table::Done);
    rows.extend(moves.of_move(Table::Dead, Table::Done));
    rows.extend(moves.of_move(Table::New, Table::Done));
    let columns: Columns = vec![
        Box::new(ids(&rows)),
        Box::new(column(&rows, |row| text::put(&row.key).into_owned())),
        Box::new(column(&rows, |row| moves.sink(row))),
        Box::new(column(&rows, |row| row.lane.id.0)),
        Box::new(column(&rows, |row| row.accepted_millis)),
        Box::new(column(&rows, |row| row.end.0)),
        Box::new(column(&rows, |row| row.discarded)),
        Box::new(column(&rows, |row| kept(row.end.1.as_deref()))),
        Box::new(column(&rows, |row| row.open.map(|_| row.number))),
        Box::new(column(&rows, |row| row.open.map(|(started, _)| started))),
        Box::new(column(&rows, |row| row.open.map(|(_, mark)| mark))),
    ];
    write(session, rows.len(), DONE, columns).await
}

pub(super) async fn attempts(session: &Session, work: &Work) -> Result<(), Failure> {
    let changed: Vec<_> = work.records.iter().filter(|(_, record)| record.changed).collect();
    let ids: Vec<i64> = changed.iter().map(|((id, _), _)| *id).collect();
    let numbers: Vec<i32> = changed.iter().map(|((_, number), _)| *number).collect();
    let started: Vec<i64> = changed.iter().map(|(_, record)| record.started_millis).collect();
    let marks: Vec<i64> = changed.iter().map(|(_, record)| record.mark).collect();
    let ended: Vec<Option<i64>> = changed.iter().map(|(_, record)| record.ended_millis).collect();
    let outcomes: Vec<&str> = changed.iter().map(|(_, record)| record.outcome.as_str()).collect();
    let reasons: Vec<Option<String>> = changed.iter().map(|(_, record)| kept(record.reason.as_deref())).collect();
    run(session, ids.len(), ATTEMPT, &[&ids, &numbers, &started, &marks, &ended, &outcomes, &reasons]).await
}
