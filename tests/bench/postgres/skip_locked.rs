//! The queue that one would write in SQL: a row for each lane, with how many wait in it and which is first. Two workers
//! claim lanes by `FOR UPDATE SKIP LOCKED`, and one enqueuer counts up. It does less than the store: neither is it
//! written down that an attempt begins, nor what came of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Client, Error, Statement};
use tokio_util::task::TaskTracker;

use super::{
    BATCH, Done, Ground, Source, Subject, all,
    bare::{Written, connect, make},
    steps, together,
};

const WORKERS: usize = 2;
/// Of one transaction: that of a cycle, and that of several cycles which share one.
const BATCHES: [usize; 2] = [BATCH, 4 * BATCH];
/// Enqueuer and workers may be so far apart.
const SLACK: usize = 8 * BATCH;

const TABLES: &str = "
    CREATE SEQUENCE message_id AS bigint;
    CREATE TABLE lane (id bigint PRIMARY KEY, waiting integer NOT NULL, head bigint) WITH (fillfactor = 50);
    CREATE INDEX lane_head ON lane (head) WHERE waiting > 0;
    CREATE TABLE message (id bigint PRIMARY KEY, lane bigint NOT NULL, key text COLLATE \"C\" NOT NULL,
        accepted bigint NOT NULL, order_json text COLLATE \"C\" NOT NULL)
        WITH (autovacuum_vacuum_scale_factor = 0.05);
    CREATE INDEX message_lane ON message (lane, id);
    CREATE TABLE known (at bigint NOT NULL, hash bytea NOT NULL, id bigint NOT NULL, PRIMARY KEY (at, hash))";
const NUMBERS: &str = "SELECT nextval('message_id') FROM generate_series(1, $1::bigint)";
const MESSAGE: &str = "INSERT INTO message
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[])";
const KNOWN: &str = "INSERT INTO known SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])";
const LANE: &str = "INSERT INTO lane (id, waiting, head)
    SELECT lane, 1, id FROM unnest($1::bigint[], $2::bigint[]) AS new (lane, id) ORDER BY lane
    ON CONFLICT (id) DO UPDATE SET waiting = lane.waiting + 1,
        head = CASE WHEN lane.waiting = 0 THEN excluded.head ELSE lane.head END";
const CLAIM: &str = "SELECT id, head FROM lane WHERE waiting > 0 ORDER BY head LIMIT $1::bigint FOR UPDATE SKIP LOCKED";
const GONE: &str = "DELETE FROM message WHERE id = ANY($1::bigint[]) RETURNING order_json";
const NEXT: &str = "UPDATE lane SET waiting = waiting - 1,
        head = (SELECT message.id FROM message WHERE message.lane = lane.id ORDER BY message.id LIMIT 1)
    WHERE id = ANY($1::bigint[])";

pub(super) fn name(batch: usize, waiting: usize) -> String {
    format!("lane table, skip locked, {batch} a transaction, {waiting} waiting")
}

/// Each size of transactions.
pub(super) fn names(waiting: usize) -> [String; 2] {
    BATCHES.map(|batch| name(batch, waiting))
}

struct Queue {
    enqueuer: Mutex<Connection>,
    workers: Vec<Mutex<Connection>>,
    source: Arc<Source>,
    /// How many may be taken in, and taken, until the other side follows.
    room: Semaphore,
    stock: Semaphore,
    enqueued: AtomicUsize,
    done: AtomicUsize,
    commits: AtomicU64,
    /// Transactions that were done again since two waited for each other.
    again: AtomicUsize,
}

struct Connection {
    client: Client,
    statements: [Statement; 7],
}

struct Measured(Arc<Queue>, usize);

/// One queue, measured with each size of transactions.
pub(super) async fn fill(ground: &Ground, waiting: usize) -> Vec<(String, Box<dyn Subject>)> {
    let (place, tasks) = (ground.place(), TaskTracker::new());
    make(&connect(&place, &tasks).await, &place, TABLES).await;
    let open = async || Mutex::new(Connection::new(connect(&place, &tasks).await).await);
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(open().await);
    }
    let queue = Arc::new(Queue {
        enqueuer: open().await,
        workers,
        source: ground.source.clone(),
        room: Semaphore::new(SLACK),
        stock: Semaphore::new(SLACK),
        enqueued: AtomicUsize::default(),
        done: AtomicUsize::default(),
        commits: AtomicU64::default(),
        again: AtomicUsize::default(),
    });
    while queue.enqueued.load(Ordering::Relaxed) < waiting {
        queue.enqueue(4 * BATCH).await;
    }
    // Otherwise the server has no idea yet of what is in them.
    queue.enqueuer.lock().await.client.batch_execute("ANALYZE lane, message").await.expect("the server is there");
    BATCHES.map(|batch| (name(batch, waiting), Box::new(Measured(queue.clone(), batch)) as Box<dyn Subject>)).into()
}

impl Connection {
    async fn new(client: Client) -> Self {
        let prepare = async |sql| client.prepare(sql).await.expect("a good statement");
        let statements = [
            prepare(NUMBERS).await,
            prepare(MESSAGE).await,
            prepare(KNOWN).await,
            prepare(LANE).await,
            prepare(CLAIM).await,
            prepare(GONE).await,
            prepare(NEXT).await,
        ];
        Self { client, statements }
    }

    async fn enqueue(&self, rows: &[Written]) -> Result<(), Error> {
        let (client, [numbers, message, known, lane, ..]) = (&self.client, &self.statements);
        let ids = client.query(numbers, &[&(rows.len() as i64)]).await?;
        let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
        let lanes: Vec<i64> = rows.iter().map(|row| row.lane).collect();
        let ats: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let keys: Vec<&str> = rows.iter().map(|row| &*row.key).collect();
        let orders: Vec<&str> = rows.iter().map(|row| &*row.order_json).collect();
        let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.hash[..]).collect();
        together!(
            client.batch_execute("BEGIN"),
            client.execute(known, &[&ats, &hashes, &ids]),
            client.execute(message, &[&ids, &lanes, &keys, &ats, &orders]),
            client.execute(lane, &[&lanes, &ids]),
            client.batch_execute("COMMIT"),
        )?;
        Ok(())
    }

    /// Returns how many were done.
    async fn work(&self, batch: usize) -> Result<usize, Error> {
        let (client, [_, _, _, _, claim, gone, next]) = (&self.client, &self.statements);
        let limit = batch as i64;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&limit];
        let ((), claimed) = together!(client.batch_execute("BEGIN"), client.query(claim, &params))?;
        let (lanes, heads): (Vec<i64>, Vec<i64>) =
            claimed.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))).unzip();
        let (gone, _, ()) =
            together!(client.query(gone, &[&heads]), client.execute(next, &[&lanes]), client.batch_execute("COMMIT"),)?;
        assert_eq!(gone.len(), heads.len(), "each head is there");
        Ok(heads.len())
    }

    async fn roll_back(&self) {
        self.client.batch_execute("ROLLBACK").await.expect("the server is there");
    }
}

impl Queue {
    async fn enqueue(&self, count: usize) {
        let rows: Vec<Written> = self.source.numbers(count).map(|number| self.source.envelope(number).into()).collect();
        let connection = self.enqueuer.lock().await;
        while connection.enqueue(&rows).await.is_err() {
            connection.roll_back().await;
            self.again.fetch_add(1, Ordering::Relaxed);
        }
        self.enqueued.fetch_add(count, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    async fn feed(&self, batch: usize, until: Instant) -> usize {
        if !acquired(&self.room, batch, until).await {
            return 0;
        }
        self.enqueue(batch).await;
        self.stock.add_permits(batch);
        0
    }

    async fn take(&self, worker: usize, batch: usize, until: Instant) -> usize {
        if !acquired(&self.stock, batch, until).await {
            return 0;
        }
        let connection = self.workers[worker].lock().await;
        let done = loop {
            match connection.work(batch).await {
                Ok(done) => break done,
                Err(_) => connection.roll_back().await,
            }
            self.again.fetch_add(1, Ordering::Relaxed);
        };
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.done.fetch_add(done, Ordering::Relaxed);
        self.stock.add_permits(batch - done);
        self.room.add_permits(done);
        done
    }
}

/// Whoever waits for the other side waits in vain when that one has ended.
async fn acquired(permits: &Semaphore, count: usize, until: Instant) -> bool {
    let acquired = tokio::time::timeout_at(until.into(), permits.acquire_many(count as u32)).await;
    acquired.map(|permits| permits.expect("it is never closed").forget()).is_ok()
}

#[async_trait]
impl Subject for Measured {
    async fn work(&self, until: Instant) -> Done {
        let Self(queue, batch) = self;
        let batch = *batch;
        let workers = (0..=WORKERS).map(|worker| {
            let queue = queue.clone();
            steps(until, async move || match worker {
                0 => queue.feed(batch, until).await,
                _ => queue.take(worker - 1, batch, until).await,
            })
        });
        all(workers).await
    }

    fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    async fn check(&self) {
        let queue = &self.0;
        let sql = "SELECT (SELECT count(*) FROM message), (SELECT sum(waiting)::bigint FROM lane)";
        let row = queue.enqueuer.lock().await.client.query_one(sql, &[]).await.expect("the server is there");
        let left = (queue.enqueued.load(Ordering::Relaxed) - queue.done.load(Ordering::Relaxed)) as i64;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (left, left), "each message was done once");
        let again = queue.again.load(Ordering::Relaxed);
        if again > 0 {
            println!("the lane table: {again} transactions were done again, since two waited for each other");
        }
    }
}
