//! The store on PostgreSQL, on a real server as it is shipped, with its syncs: what comes in, and the whole outbox cycle,
//! by one replica and by several, beside SQLite and beside what one would write in plain SQL. Replicas are stores of
//! their own on one database, all in this process.

mod bare;
mod cycle;
mod intake;
mod report;
#[expect(dead_code, reason = "shared with the tests of the store, which need more of it")]
#[path = "../../../src/store/postgres/server.rs"]
mod server;
mod skip_locked;

use std::{
    fs,
    net::TcpListener,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use deskbridge::{
    clock::now_millis,
    model::{Group, InboxName, Lane, LaneId, NewEnvelope, Order, SinkName},
    store::{Batch, Place, PostgresPlace, PostgresStore, SqliteStore, Store, Tls},
};
use tokio::task::JoinSet;

use crate::{
    disk::Gate,
    slices::{Slice, cpu_time},
};
use server::Server;

/// Sends all of these before it waits for the first answer. The server does them in this order.
macro_rules! together {
    ($($step:expr),* $(,)?) => { tokio::try_join!(biased; $(async { $step.await }),*) };
}
use together;

/// Envelopes of one step of the cycle.
const BATCH: usize = 128;
const LANES: i64 = 10_000;
const BODY_BYTES: usize = 1024;

pub(crate) struct Sizes {
    pub(crate) waiting: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    /// Probes before a loud disk is taken as it is; none where figures do not matter.
    pub(crate) patience: u32,
}

impl Sizes {
    pub(crate) fn small() -> Self {
        Self { waiting: vec![512, 2048], rounds: 1, slice: Duration::from_millis(100), patience: 0 }
    }
    pub(crate) fn large(waiting: Vec<usize>) -> Self {
        Self { waiting, rounds: 9, slice: Duration::from_secs(1), patience: 4 }
    }
}

/// One row of a table.
struct Candidate {
    name: String,
    subject: Box<dyn Subject>,
    slices: Vec<Slice>,
    /// Of all its connections that write, a second.
    commits: Vec<f64>,
}

/// What can be put to work, again and again.
#[async_trait]
trait Subject: Send + Sync {
    /// Works until then.
    async fn work(&self, until: Instant) -> Done;
    /// So far.
    fn commits(&self) -> u64;
    /// Nothing was lost, and nothing is there twice.
    async fn check(&self);
}

/// What was done, and how long each step of it took.
#[derive(Default)]
struct Done {
    events: usize,
    times: Vec<Duration>,
}

/// All of them at once, on all threads.
async fn all<F: Future<Output = Done> + Send + 'static>(workers: impl Iterator<Item = F>) -> Done {
    let workers: JoinSet<Done> = workers.collect();
    let mut sum = Done::default();
    for done in workers.join_all().await {
        sum.events += done.events;
        sum.times.extend(done.times);
    }
    sum
}

/// Steps one after another until then; each says how many events it was good for.
async fn steps(until: Instant, mut step: impl AsyncFnMut() -> usize) -> Done {
    let mut done = Done::default();
    while Instant::now() < until {
        let once = Instant::now();
        done.events += step().await;
        done.times.push(once.elapsed());
    }
    done
}

pub(crate) async fn run(folder: &Path, sizes: &Sizes) {
    // The server has other rights than we, and must get in. Its files are on the disk that is probed.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    tempfile::env::override_temp_dir(folder).ok();
    let port = free_port();
    let settings = format!(
        "shared_buffers = 128MB\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = {port}\n"
    );
    let Some(server) = Server::start_with(&settings, &[]) else { return };
    let ground = Ground { server, port, folder: folder.to_owned(), source: Arc::new(Source::new()) };
    let mut gate = Gate::new(sizes.patience);

    let mut candidates = intake::candidates(&ground).await;
    measure(&mut candidates, sizes, &mut gate, folder).await;
    report::intake(&candidates);
    drop(candidates);

    let begun = Instant::now();
    let (mut candidates, keepers) = cycle::candidates(&ground, &sizes.waiting).await;
    println!("\neverything is loaded, in {:.1} s", begun.elapsed().as_secs_f64());
    measure(&mut candidates, sizes, &mut gate, folder).await;
    report::cycle(&candidates, &sizes.waiting);
    drop(keepers);
}

/// In turns, and then looks whether all is there.
async fn measure(candidates: &mut [Candidate], sizes: &Sizes, gate: &mut Gate, folder: &Path) {
    for _ in 0..sizes.rounds {
        fastrand::shuffle(candidates);
        for candidate in &mut *candidates {
            let quiet = sizes.patience > 0 && gate.wait(folder).1;
            let (cpu, commits, begun) = (cpu_time(), candidate.subject.commits(), Instant::now());
            let Done { events, times } = candidate.subject.work(begun + sizes.slice).await;
            let elapsed = begun.elapsed();
            let steps = Slice::new(times, elapsed, Duration::ZERO, quiet);
            let all = Slice::of_all(events.max(1) as u64, elapsed, cpu_time().saturating_sub(cpu), quiet);
            candidate.slices.push(Slice { p50: steps.p50, p99: steps.p99, ..all });
            let commits = candidate.subject.commits() - commits;
            candidate.commits.push(commits as f64 / elapsed.as_secs_f64());
        }
    }
    for candidate in candidates {
        candidate.subject.check().await;
    }
}

fn free_port() -> u16 {
    let mut ports = (20_000..32_000).skip(fastrand::usize(..11_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// What everything stands on.
struct Ground {
    server: Server,
    port: u16,
    folder: PathBuf,
    source: Arc<Source>,
}

impl Ground {
    /// A schema that nobody else uses.
    fn place(&self) -> PostgresPlace {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("deskbridge").dbname("postgres");
        PostgresPlace { config, ..self.server.place() }
    }

    /// So many replicas on one schema.
    async fn replicas(&self, count: usize) -> Vec<Arc<dyn Store>> {
        let (place, mut stores) = (self.place(), Vec::<Arc<dyn Store>>::new());
        for _ in 0..count {
            stores.push(Arc::new(PostgresStore::open(&place).await.expect("the server is there")));
        }
        stores
    }

    fn sqlite(&self, name: &str) -> Arc<dyn Store> {
        let place = Place::in_dir(self.folder.join(name));
        Arc::new(SqliteStore::open(&place).expect("the folder can be written"))
    }
}

/// Where messages come from: none twice, whoever takes them.
struct Source {
    next: AtomicI64,
    text: String,
    sink: SinkName,
}

impl Source {
    fn new() -> Self {
        let sink = SinkName::inbox(&InboxName::new("support"));
        Self { next: AtomicI64::new(now_millis() * 1000), text: "x".repeat(BODY_BYTES), sink }
    }

    fn numbers(&self, count: usize) -> Range<i64> {
        let first = self.next.fetch_add(count as i64, Ordering::Relaxed);
        first..first + count as i64
    }

    /// Of lanes by turns.
    fn envelope(&self, number: i64) -> NewEnvelope {
        let id = LaneId((number % LANES).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
        NewEnvelope {
            key: format!("irc/{number}").into(),
            at_millis: number / 1000,
            lane: Lane { id, sink: self.sink.clone() },
            rank: number,
            due_millis: 0,
            order: Order::Note {
                bridge: "irc".into(),
                thread: "ann".into(),
                text: self.text.clone(),
                reply_to: None,
                see: None,
            },
        }
    }

    fn batch(&self, count: usize) -> Batch {
        let groups = self.numbers(count).map(|number| Group::one(self.envelope(number))).collect();
        Batch { groups, ..Batch::default() }
    }
}

fn commits_of(stores: &[Arc<dyn Store>]) -> u64 {
    stores.iter().filter_map(|store| store.commits()).map(|commits| commits.get_sample_count()).sum()
}
