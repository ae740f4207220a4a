//! Reads what the verbs of a transaction need, all of it in one round trip, and locks the rows that they may change.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use tokio_postgres::Row as SqlRow;

use super::{
    fault::Failure,
    fence,
    session::{Session, together},
    text,
    work::{Known, Needs, Record, Row, Table, Work},
};
use crate::model::{Partition, Partitions};

const KNOWN: &str =
    "SELECT at, hash, id FROM unnest($1::bigint[], $2::bytea[]) AS asked (at, hash) JOIN known USING (at, hash)";
const WAITING: &str = "SELECT ev.id, key, lane, name, rank, accepted, due, attempts, number, started, mark
    FROM ev JOIN body USING (id) JOIN sink ON sink.id = ev.sink
    WHERE ev.id = ANY($1::bigint[]) ORDER BY ev.id FOR UPDATE OF ev";
const ORDERS: &str = "SELECT id, order_json FROM body WHERE id = ANY($1::bigint[])";
const RECORDS: &str =
    "SELECT id, number, started, mark, ended, outcome, reason FROM attempt WHERE id = ANY($1::bigint[])";
const DEAD_RANKS: &str =
    "SELECT dead.id, key, dead.lane, name, rank, accepted, died, attempts, number, reason, order_json
    FROM (SELECT DISTINCT lane, low, high FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (lane, low, high)) AS asked
    JOIN dead ON dead.lane = asked.lane AND dead.rank BETWEEN asked.low AND asked.high
    JOIN sink ON sink.id = dead.sink
    ORDER BY dead.id FOR UPDATE OF dead";
const DEAD_KEYS: &str =
    "SELECT dead.id, key, dead.lane, name, rank, accepted, died, attempts, number, reason, order_json
    FROM dead JOIN sink ON sink.id = dead.sink
    WHERE key = ANY($1::text[]) ORDER BY dead.id FOR UPDATE OF dead";
pub(super) const LEASES: &str =
    "SELECT owner, epoch, array_agg(partition) FROM lease WHERE owner = ANY($1::text[]) GROUP BY owner, epoch";

pub(super) const ALL: &[&str] =
    &[KNOWN, WAITING, ORDERS, RECORDS, DEAD_RANKS, DEAD_KEYS, LEASES, fence::SHARE, fence::ANNOUNCE];

type Rows = Vec<SqlRow>;

/// Begins the transaction.
pub(super) async fn load(session: &Session, needs: &Needs, work: &mut Work) -> Result<(), Failure> {
    let opened = session.simple("BEGIN");
    let fences = fences(session, needs);
    let (at, hashes): (Vec<i64>, Vec<&[u8]>) = needs.known.iter().map(|(at, hash)| (*at, &hash[..])).unzip();
    let waiting: Vec<i64> = needs.waiting.iter().copied().collect();
    let begun: Vec<i64> = needs.begun.iter().copied().collect();
    let lanes: Vec<i64> = needs.dead_ranks.iter().map(|(lane, _, _)| *lane).collect();
    let low: Vec<i64> = needs.dead_ranks.iter().map(|(_, low, _)| *low).collect();
    let high: Vec<i64> = needs.dead_ranks.iter().map(|(_, _, high)| *high).collect();
    let keys: Vec<_> = needs.dead_keys.iter().map(|key| text::put(key)).collect();
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    // Each future is polled in this order, so the statements go out in it.
    let read = together!(
        opened,
        fences,
        unless_empty(at.is_empty(), session.query(KNOWN, &[&at, &hashes])),
        unless_empty(waiting.is_empty(), session.query(WAITING, &[&waiting])),
        unless_empty(lanes.is_empty(), session.query(DEAD_RANKS, &[&lanes, &low, &high])),
        unless_empty(keys.is_empty(), session.query(DEAD_KEYS, &[&keys])),
        // Behind the locks, so that they are of the same rows.
        unless_empty(begun.is_empty(), session.query(ORDERS, &[&begun])),
        unless_empty(begun.is_empty(), session.query(RECORDS, &[&begun])),
    );
    let ((), leases, known, waiting, by_rank, by_key, orders, records) = read?;
    work.leases = leases_of(&leases);
    for row in known {
        let hash: &[u8] = row.get(1);
        let hash =
            hash.try_into().map_err(|_| Failure::Passing("a hash of another length is in `known`".to_owned()))?;
        work.known.insert((row.get(0), hash), Known { id: row.get(2), changed: false, first: false });
    }
    work.rows.extend(waiting.iter().map(waiting_row));
    work.rows.extend(by_rank.iter().chain(&by_key).map(dead_row));
    for row in orders {
        if let Some(found) = work.rows.get_mut(&row.get(0)) {
            found.order_json = Some(row.get(1));
        }
    }
    work.records.extend(records.iter().map(record));
    Ok(())
}

/// Before anything that may be written: nobody takes the lease meanwhile, and who reads knows which numbers may still
/// come.
async fn fences(session: &Session, needs: &Needs) -> Result<Rows, Failure> {
    let news = !needs.known.is_empty();
    let locks = [(!needs.owners.is_empty(), fence::SHARE), (news, fence::ANNOUNCE)];
    let locks = locks.into_iter().filter(|(wanted, _)| *wanted).map(|(_, sql)| session.query(sql, &[]));
    let locks = try_join_all(locks);
    let owners: Vec<_> = needs.owners.iter().map(|owner| text::put(owner)).collect();
    let owners: Vec<&str> = owners.iter().map(AsRef::as_ref).collect();
    let leases = async { if owners.is_empty() { Ok(Vec::new()) } else { session.query(LEASES, &[&owners]).await } };
    let (_, leases) = together!(locks, leases)?;
    Ok(leases)
}

async fn unless_empty(empty: bool, query: impl Future<Output = Result<Rows, Failure>>) -> Result<Rows, Failure> {
    if empty { Ok(Vec::new()) } else { query.await }
}

/// Partitions by owner and epoch.
pub(super) fn leases_of(rows: &[SqlRow]) -> HashMap<(String, i64), Partitions> {
    let held = |row: &SqlRow| row.get::<_, Vec<i16>>(2).into_iter().map(|one| one as Partition).collect();
    rows.iter().map(|row| ((text::take(row.get(0)), row.get(1)), held(row))).collect()
}

fn waiting_row(row: &SqlRow) -> (i64, Row) {
    let (started, mark): (Option<i64>, Option<i64>) = (row.get(9), row.get(10));
    let found = Row {
        from: Table::Ev,
        now: Table::Ev,
        changed: false,
        key: text::take(row.get(1)),
        lane: Row::lane(row.get(2), row.get(3)),
        rank: row.get(4),
        accepted_millis: row.get(5),
        due_millis: row.get(6),
        attempts: row.get(7),
        number: row.get(8),
        open: started.zip(mark),
        order_json: None,
        end: (0, None),
        discarded: false,
    };
    (row.get(0), found)
}

fn dead_row(row: &SqlRow) -> (i64, Row) {
    let found = Row {
        from: Table::Dead,
        now: Table::Dead,
        changed: false,
        key: text::take(row.get(1)),
        lane: Row::lane(row.get(2), row.get(3)),
        rank: row.get(4),
        accepted_millis: row.get(5),
        due_millis: 0,
        attempts: row.get(7),
        number: row.get(8),
        open: None,
        order_json: Some(row.get(10)),
        end: (row.get(6), Some(text::take(row.get(9)))),
        discarded: false,
    };
    (row.get(0), found)
}

fn record(row: &SqlRow) -> ((i64, i32), Record) {
    let found = Record {
        started_millis: row.get(2),
        mark: row.get(3),
        ended_millis: row.get(4),
        outcome: row.get(5),
        reason: row.get::<_, Option<String>>(6).map(text::take),
        changed: false,
    };
    ((row.get(0), row.get(1)), found)
}
