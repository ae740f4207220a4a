//! The whole outbox cycle through the store: accept 128, begin 128, settle 128, with as many waiting as
//! before. Lane heads are chosen in memory, oldest first.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use deskbridge::{
    clock::now_millis,
    model::{EnvelopeId, Group, InboxName, Lane, LaneId, NewEnvelope, Order, Partitions, SinkName, Waiting},
    store::{Batch, Begin, Lease, Place, Settle, Settled, SqliteStore, Store, Turn},
};

use crate::disk::{Gate, RawLog};

const BATCH: usize = 128;
const LANES: i64 = 10_000;
const BODY_BYTES: usize = 1024;
/// Cycles under way at once, so that the writer finds the next one when it has committed.
const WORKERS: usize = 4;

pub(crate) struct Sizes {
    pub(crate) waiting: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    /// Probes before a loud disk is taken as it is.
    pub(crate) patience: u32,
}

impl Sizes {
    pub(crate) fn small() -> Self {
        Self { waiting: vec![1_000, 4_000], rounds: 1, slice: Duration::from_millis(200), patience: 1 }
    }
    pub(crate) fn large(waiting: Vec<usize>) -> Self {
        Self { waiting, rounds: 9, slice: Duration::from_secs(1), patience: 6 }
    }
}

/// One row of the table.
struct Candidate {
    name: String,
    kind: Kind,
    slices: Vec<Slice>,
}

enum Kind {
    Raw(RawLog),
    Store(Box<Subject>),
}

#[derive(Clone, Copy)]
struct Slice {
    rate: f64,
    cpu_micros: f64,
    p50: Duration,
    p99: Duration,
    quiet: bool,
}

pub(crate) async fn run(folder: &Path, sizes: &Sizes) {
    let largest = sizes.waiting.iter().copied().max().unwrap_or_default();
    let raw = RawLog::open(&folder.join("raw"));
    let mut candidates = vec![Candidate { name: "raw log".into(), kind: Kind::Raw(raw), slices: Vec::new() }];
    for (waiting, blocked) in sizes.waiting.iter().map(|count| (*count, false)).chain([(largest, true)]) {
        let name = format!("{waiting} waiting{}", if blocked { ", half in one blocked lane" } else { "" });
        let begun = Instant::now();
        let subject = Subject::load(&folder.join(name.replace([' ', ','], "-")), waiting, blocked).await;
        println!("{name}: loaded in {:.1} s", begun.elapsed().as_secs_f64());
        candidates.push(Candidate { name, kind: Kind::Store(Box::new(subject)), slices: Vec::new() });
    }
    let mut gate = Gate::new(sizes.patience);
    for _ in 0..sizes.rounds {
        fastrand::shuffle(&mut candidates);
        for candidate in &mut candidates {
            let (_, quiet) = gate.wait(folder);
            let slice = match &candidate.kind {
                Kind::Raw(log) => measure(sizes.slice, quiet, || raw_cycle(log)).await,
                Kind::Store(subject) => measure(sizes.slice, quiet, || subject.cycle()).await,
            };
            candidate.slices.push(slice);
        }
    }
    print(&mut candidates, &sizes.waiting);
}

/// Runs cycles for a while, several at once.
async fn measure<F: Future<Output = ()>>(length: Duration, quiet: bool, cycle: impl Fn() -> F) -> Slice {
    let (cpu, begun) = (cpu_time(), Instant::now());
    let times = Mutex::new(Vec::new());
    let worker = async || {
        while begun.elapsed() < length {
            let once = Instant::now();
            cycle().await;
            times.lock().expect("no panic").push(once.elapsed());
        }
    };
    futures_util::future::join_all((0..WORKERS).map(|_| worker())).await;
    let elapsed = begun.elapsed();
    let mut times = times.into_inner().expect("no panic");
    times.sort_unstable();
    let events = (times.len() * BATCH) as f64;
    Slice {
        rate: events / elapsed.as_secs_f64(),
        cpu_micros: cpu_time().saturating_sub(cpu).as_micros() as f64 / events,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        quiet,
    }
}

/// The same bytes as a cycle has to keep, without knowing what they are.
async fn raw_cycle(log: &RawLog) {
    let accept = log.append(vec![7; BATCH * (BODY_BYTES + 32)]);
    let turn = log.append(vec![7; BATCH * 48]);
    tokio::join!(accept, turn);
}

/// A store with much in it.
pub(crate) struct Subject {
    place: Place,
    store: SqliteStore,
    lease: Lease,
    heads: Mutex<Heads>,
    open: Mutex<Vec<EnvelopeId>>,
    next: AtomicI64,
    text: String,
}

impl Subject {
    /// Fills a new store, unless it is there from an earlier run.
    pub(crate) async fn load(folder: &Path, waiting: usize, blocked: bool) -> Self {
        let place = Place::in_dir(folder);
        let store = SqliteStore::open(&place).expect("the folder can be written");
        let lease = store.lease("bench", now_millis()).await.expect("the store works");
        let heads = Mutex::new(Heads { blocked: blocked.then(|| lane(0).id), ..Heads::default() });
        let text = "x".repeat(BODY_BYTES);
        let next = AtomicI64::new(now_millis() * 1000);
        let subject = Self { place, store, lease, heads, open: Mutex::default(), next, text };
        subject.scan().await;
        let per_round = 4 * BATCH;
        while subject.count() + per_round <= waiting {
            let accepts = (0..per_round / BATCH).map(|_| subject.accept(blocked));
            futures_util::future::join_all(accepts).await;
        }
        subject
    }

    fn count(&self) -> usize {
        self.heads.lock().expect("no panic").count
    }

    async fn scan(&self) {
        let mut after = EnvelopeId(0);
        loop {
            let page = self.store.waiting(&self.lease, &Partitions::ALL, after, 4096).await.expect("the store works");
            let Some(last) = page.last() else { return };
            after = last.id;
            self.heads.lock().expect("no panic").add(&page);
        }
    }

    /// Takes in `BATCH` envelopes of lanes by turns; half of them for the blocked lane, where there is one.
    async fn accept(&self, half_blocked: bool) {
        let first = self.next.fetch_add(BATCH as i64, Ordering::Relaxed);
        let envelope = |number: i64| {
            let of_lane = if half_blocked && number % 2 == 0 { 0 } else { number % LANES };
            Group::one(NewEnvelope {
                key: format!("irc/{number}").into(),
                at_millis: number / 1000,
                lane: lane(of_lane),
                rank: number,
                due_millis: 0,
                order: Order::Note {
                    bridge: "irc".into(),
                    thread: "ann".into(),
                    text: self.text.clone(),
                    reply_to: None,
                    see: None,
                },
            })
        };
        let groups = (first..first + BATCH as i64).map(envelope).collect();
        let batch = Batch { groups, ..Batch::default() };
        let accepted = self.store.accept(batch, now_millis()).await.expect("the store works");
        let mut heads = self.heads.lock().expect("no panic");
        for one in accepted {
            heads.add(&one.into_waiting());
        }
    }

    /// Settles what this worker's predecessor began, begins the oldest heads, takes in as many.
    pub(crate) async fn cycle(&self) {
        let open = std::mem::take(&mut *self.open.lock().expect("no panic"));
        let begin = self.heads.lock().expect("no panic").take(BATCH);
        let done = Settled::Done { result: Some("12345".into()), follow: Vec::new() };
        let settle = open.iter().map(|id| Settle { id: *id, outcome: done.clone() }).collect();
        let begin = begin.into_iter().map(|id| Begin { id, mark: 12_345 }).collect();
        let turn = self.store.turn(&self.lease, Turn { settle, begin }, now_millis());
        let (turned, ()) = tokio::join!(turn, self.accept(false));
        let turned = turned.expect("the store works");
        assert!(turned.gone.is_empty(), "{:?}", turned.gone);
        let under_way: Vec<_> = turned.begun.iter().map(|envelope| envelope.id).collect();
        self.heads.lock().expect("no panic").free(&under_way);
        self.open.lock().expect("no panic").extend(under_way);
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.place.database.with_extension("db-wal")).map_or(0, |log| log.len())
    }
}

fn lane(number: i64) -> Lane {
    thread_local! {
        static SINK: SinkName = SinkName::inbox(&InboxName::new("support"));
    }
    Lane { id: LaneId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)), sink: SINK.with(Clone::clone) }
}

/// Which envelopes are first in their lanes. As little as the bench needs; the product's is `lanes`.
#[derive(Default)]
struct Heads {
    lanes: HashMap<LaneId, VecDeque<EnvelopeId>>,
    /// Heads that nobody works on, by age.
    idle: BTreeMap<EnvelopeId, LaneId>,
    busy: HashMap<EnvelopeId, LaneId>,
    blocked: Option<LaneId>,
    count: usize,
}

impl Heads {
    fn add(&mut self, all: &[Waiting]) {
        self.count += all.len();
        for one in all {
            let lane = self.lanes.entry(one.lane.id).or_default();
            if lane.is_empty() && self.blocked != Some(one.lane.id) {
                self.idle.insert(one.id, one.lane.id);
            }
            lane.push_back(one.id);
        }
    }

    fn take(&mut self, count: usize) -> Vec<EnvelopeId> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count
            && let Some((id, lane)) = self.idle.pop_first()
        {
            self.busy.insert(id, lane);
            taken.push(id);
        }
        taken
    }

    /// Their lanes may go on: in the bench an effect takes no time.
    fn free(&mut self, ids: &[EnvelopeId]) {
        self.count -= ids.len();
        for id in ids {
            let Some(lane) = self.busy.remove(id) else { continue };
            let Some(waiting) = self.lanes.get_mut(&lane) else { continue };
            waiting.pop_front();
            if let Some(next) = waiting.front() {
                self.idle.insert(*next, lane);
            }
        }
    }
}

fn print(candidates: &mut [Candidate], sizes: &[usize]) {
    candidates.sort_by_key(|candidate| candidate.name.clone());
    let slices = |name: &str| candidates.iter().find(|one| one.name == name).map_or(&[][..], |found| &found.slices);
    println!(
        "\n| the outbox cycle | events/s | of the raw log | cycle p50 / p99 ms | CPU us/event | log MiB | quiet |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for candidate in candidates.iter() {
        let of = |field: fn(&Slice) -> f64| median(&candidate.slices, field);
        let log = match &candidate.kind {
            Kind::Raw(_) => 0,
            Kind::Store(subject) => subject.log_bytes() >> 20,
        };
        println!(
            "| {} | {:.0} | {:.2} | {:.2} / {:.2} | {:.1} | {log} | {}/{} |",
            candidate.name,
            of(|slice| slice.rate),
            ratio(&candidate.slices, slices("raw log")),
            of(|slice| slice.p50.as_secs_f64() * 1e3),
            of(|slice| slice.p99.as_secs_f64() * 1e3),
            of(|slice| slice.cpu_micros),
            candidate.slices.iter().filter(|slice| slice.quiet).count(),
            candidate.slices.len(),
        );
    }
    let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max()) else { return };
    let full = slices(&format!("{most} waiting"));
    let flat = ratio(full, slices(&format!("{least} waiting")));
    let blocked = ratio(slices(&format!("{most} waiting, half in one blocked lane")), full);
    println!("\n{most} waiting beside {least}: {flat:.2} (goal 0.90 at 1000000, 0.75 at 10000000)");
    println!("one blocked lane holding half of {most}: {blocked:.2} (goal 0.90)");
}

/// Round by round, since the machine is another one in each of them; the median of those where both
/// slices were quiet, if there are any.
fn ratio(ours: &[Slice], theirs: &[Slice]) -> f64 {
    let pairs = ours.iter().zip(theirs);
    let pairs: Vec<_> = pairs
        .map(|(one, other)| Slice { rate: one.rate / other.rate, quiet: one.quiet && other.quiet, ..*one })
        .collect();
    median(&pairs, |pair| pair.rate)
}

/// Of the quiet slices, if there are any.
fn median(slices: &[Slice], of: fn(&Slice) -> f64) -> f64 {
    let mut values: Vec<_> = slices.iter().filter(|slice| slice.quiet).map(of).collect();
    if values.is_empty() {
        values = slices.iter().map(of).collect();
    }
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Of all threads of this process, to 10 ms.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |place| fields.split_whitespace().nth(place).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * (ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)))
}

/// How long a store with much in it takes to open and to be scanned, and what that leaves in memory.
/// Alone in its process.
pub(crate) async fn restart(folder: PathBuf) {
    let begun = Instant::now();
    let store = SqliteStore::open(&Place::in_dir(&folder)).expect("the store was filled before");
    let opened = begun.elapsed();
    let lease = store.lease("bench", now_millis()).await.expect("the store works");
    let (mut after, mut count) = (EnvelopeId(0), 0);
    let mut first = None;
    loop {
        let page = store.waiting(&lease, &Partitions::ALL, after, 4096).await.expect("the store works");
        let Some(last) = page.last() else { break };
        (after, count) = (last.id, count + page.len());
        first.get_or_insert(begun.elapsed());
    }
    let scanned = begun.elapsed();
    println!(
        "opened in {opened:?}, first page after {first:?}, all {count} after {scanned:?}, {} MiB resident",
        resident_mib()
    );
    store.close().await;
}

pub(crate) fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}
