//! As few statements as can keep the same rows: all who wait share one transaction, with one insert into each table. No
//! look-up, no lease, nobody who works on what is kept.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use deskbridge::{model::NewEnvelope, store::PostgresPlace};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls, Statement};
use tokio_util::task::TaskTracker;

use super::together;

/// As the store has them.
const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 512;
/// How a connection begins, as those of the store that write.
const BEGIN: &str = "SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off; SET enable_hashjoin TO off;
    SET enable_mergejoin TO off; SET jit TO off";

const TABLES: &str = "
    CREATE SEQUENCE envelope_id AS bigint;
    CREATE TABLE ev (id bigint PRIMARY KEY, share smallint NOT NULL, sink integer NOT NULL, lane bigint NOT NULL,
        rank bigint NOT NULL, due bigint NOT NULL) WITH (fillfactor = 70);
    CREATE TABLE body (id bigint PRIMARY KEY, key text COLLATE \"C\" NOT NULL, accepted bigint NOT NULL,
        order_json text COLLATE \"C\" NOT NULL);
    CREATE TABLE known (at bigint NOT NULL, hash bytea NOT NULL, id bigint NOT NULL, PRIMARY KEY (at, hash))";
const NUMBERS: &str = "SELECT nextval('envelope_id') FROM generate_series(1, $1::bigint)";
const EV: &str = "INSERT INTO ev (id, share, sink, lane, rank, due)
    SELECT id, 0, 1, lane, rank, 0 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (id, lane, rank)";
const BODY: &str = "INSERT INTO body SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[])";
const KNOWN: &str = "INSERT INTO known SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])";

/// A message as it is written.
pub(super) struct Written {
    pub(super) key: String,
    pub(super) hash: [u8; 16],
    pub(super) at: i64,
    pub(super) lane: i64,
    pub(super) rank: i64,
    pub(super) order_json: String,
}

impl From<NewEnvelope> for Written {
    fn from(new: NewEnvelope) -> Self {
        Self {
            key: new.key.to_string(),
            // As long as a real one, and for nothing.
            hash: fastrand::u128(..).to_be_bytes(),
            at: new.at_millis,
            lane: new.lane.id.0,
            rank: new.rank,
            order_json: serde_json::to_string(&new.order).expect("an order has text keys only"),
        }
    }
}

type Call = (Written, oneshot::Sender<()>);

/// One connection, and those who wait for it.
pub(super) struct Bare {
    queue: mpsc::Sender<Call>,
    commits: Arc<AtomicU64>,
    /// For the question at the end.
    side: Client,
}

/// A connection for statements in this schema.
pub(super) async fn connect(place: &PostgresPlace, tasks: &TaskTracker) -> Client {
    let (client, connection) = place.config.connect(NoTls).await.expect("the server is there");
    // Ends with the client.
    tasks.spawn(connection);
    let path = format!("SET search_path TO \"{}\"; {BEGIN}", place.schema);
    client.batch_execute(&path).await.expect("the server is there");
    client
}

/// A schema with these tables.
pub(super) async fn make(client: &Client, place: &PostgresPlace, tables: &str) {
    let make = format!("CREATE SCHEMA \"{}\"; {tables}", place.schema);
    client.batch_execute(&make).await.expect("the schema is new");
}

/// So many connections to the same tables.
pub(super) async fn open(place: &PostgresPlace, connections: usize) -> Vec<Bare> {
    let tasks = TaskTracker::new();
    let mut all = Vec::new();
    for _ in 0..connections {
        let (client, side) = (connect(place, &tasks).await, connect(place, &tasks).await);
        if all.is_empty() {
            make(&side, place, TABLES).await;
        }
        let (queue, calls) = mpsc::channel(QUEUE_MAX);
        let commits = Arc::new(AtomicU64::default());
        tasks.spawn(serve(client, calls, commits.clone()));
        all.push(Bare { queue, commits, side });
    }
    all
}

impl Bare {
    pub(super) async fn bring(&self, new: NewEnvelope) {
        let (caller, kept) = oneshot::channel();
        self.queue.send((new.into(), caller)).await.expect("the task runs as long as this");
        kept.await.expect("the task answers all");
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) async fn count(&self) -> usize {
        let sql = "SELECT count(*) FROM ev JOIN body USING (id) JOIN known USING (id)";
        self.side.query_one(sql, &[]).await.expect("the server is there").get::<_, i64>(0) as usize
    }
}

async fn serve(client: Client, mut calls: mpsc::Receiver<Call>, commits: Arc<AtomicU64>) {
    let prepare = async |sql| client.prepare(sql).await.expect("a good statement");
    let statements = [prepare(NUMBERS).await, prepare(EV).await, prepare(BODY).await, prepare(KNOWN).await];
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while calls.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (rows, callers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        write(&client, &statements, &rows).await.expect("nothing can be in the way");
        commits.fetch_add(1, Ordering::Relaxed);
        for caller in callers {
            caller.send(()).ok();
        }
    }
}

/// One transaction, in two round trips.
async fn write(
    client: &Client,
    [numbers, ev, body, known]: &[Statement; 4],
    rows: &[Written],
) -> Result<(), tokio_postgres::Error> {
    let ids = client.query(numbers, &[&(rows.len() as i64)]).await?;
    let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
    let of = |field: fn(&Written) -> i64| rows.iter().map(field).collect::<Vec<i64>>();
    let (lanes, ranks, ats) = (of(|row| row.lane), of(|row| row.rank), of(|row| row.at));
    let keys: Vec<&str> = rows.iter().map(|row| &*row.key).collect();
    let orders: Vec<&str> = rows.iter().map(|row| &*row.order_json).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.hash[..]).collect();
    // Sent in this order before the first answer is there.
    together!(
        client.batch_execute("BEGIN"),
        client.execute(ev, &[&ids, &lanes, &ranks]),
        client.execute(body, &[&ids, &keys, &ats, &orders]),
        client.execute(known, &[&ats, &hashes, &ids]),
        client.batch_execute("COMMIT"),
    )?;
    Ok(())
}
