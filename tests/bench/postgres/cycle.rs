//! The whole outbox cycle: accept 128, begin 128, settle 128, with as many waiting as before. Each replica has its share
//! of the partitions, and the order of work in memory, as the gateway does.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use deskbridge::{
    clock::now_millis,
    lanes::{Lanes, Taken},
    model::{EnvelopeId, PARTITIONS, Waiting},
    store::{Begin, Lease, Settle, Settled, Store, Turn, Watermark},
};
use tokio::task::JoinSet;

use super::{BATCH, Candidate, Done, Ground, Source, Subject, all, commits_of, skip_locked, steps};

/// Cycles of one replica under way at once, so that its connections find the next one when they have committed.
const CYCLES: usize = 4;
/// Well before a replica is taken for dead.
const RENEW_EVERY: Duration = Duration::from_secs(2);
const SCAN_ROWS: usize = 10_000;
/// Where no more than that waits, all of it is worked off in the end.
const WORKED_OFF_MAX: usize = 20_000;

pub(super) const SQLITE: &str = "SQLite";

pub(super) fn name(replicas: usize, waiting: usize) -> String {
    format!("{replicas} replica{}, {waiting} waiting", if replicas == 1 { "" } else { "s" })
}

/// The second is to be kept as long as there is work.
pub(super) async fn candidates(ground: &Ground, waiting: &[usize]) -> (Vec<Candidate>, JoinSet<()>) {
    let (mut candidates, mut keepers) = (Vec::new(), JoinSet::new());
    let mut add = |name: String, subject: Box<dyn Subject>| {
        candidates.push(Candidate { name, subject, slices: Vec::new(), commits: Vec::new() });
    };
    let least = waiting.iter().copied().min().unwrap_or_default();
    let most = waiting.iter().copied().max().unwrap_or_default();
    let alone = waiting.iter().map(|count| (1, *count));
    for (replicas, waiting) in alone.chain([(2, least), (4, least)]) {
        let site = Site::fill(ground.replicas(replicas).await, &ground.source, waiting, &mut keepers).await;
        add(name(replicas, waiting), Box::new(Filled(site)));
    }
    let sqlite = vec![ground.sqlite("cycle-beside-postgres")];
    add(SQLITE.to_owned(), Box::new(Filled(Site::fill(sqlite, &ground.source, least, &mut keepers).await)));
    for waiting in BTreeSet::from([least, most]) {
        for (name, subject) in skip_locked::fill(ground, waiting).await {
            add(name, subject);
        }
    }
    (candidates, keepers)
}

/// Some replicas on one store.
struct Site {
    replicas: Vec<Replica>,
    stores: Vec<Arc<dyn Store>>,
    source: Arc<Source>,
    accepted: AtomicUsize,
    settled: AtomicUsize,
}

struct Filled(Arc<Site>);

struct Replica {
    store: Arc<dyn Store>,
    lease: Mutex<Lease>,
    desk: Mutex<Desk>,
    /// How far what was accepted has been read. Nobody else reads meanwhile, so that nothing comes twice.
    seen: tokio::sync::Mutex<Watermark>,
    open: Mutex<Vec<EnvelopeId>>,
}

/// The order of work.
#[derive(Default)]
struct Desk {
    lanes: Lanes,
    under_way: usize,
}

impl Site {
    async fn fill(
        stores: Vec<Arc<dyn Store>>,
        source: &Arc<Source>,
        waiting: usize,
        keepers: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let mut replicas = Vec::new();
        for (number, store) in stores.iter().enumerate() {
            let lease = store.lease(&format!("replica {number}"), now_millis()).await.expect("the store works");
            replicas.push(Replica {
                store: store.clone(),
                lease: Mutex::new(lease),
                desk: Mutex::default(),
                seen: tokio::sync::Mutex::new(Watermark::START),
                open: Mutex::default(),
            });
        }
        let (accepted, settled) = (AtomicUsize::default(), AtomicUsize::default());
        let site = Arc::new(Self { replicas, stores, source: source.clone(), accepted, settled });
        if site.stores[0].is_shared() {
            site.share().await;
            keepers.spawn(site.clone().keep());
        }
        while site.accepted.load(Ordering::Relaxed) < waiting {
            let accept = async || site.accept(&site.replicas[0]).await;
            futures_util::future::join_all((0..CYCLES).map(|_| accept())).await;
        }
        for replica in &site.replicas {
            replica.look().await;
        }
        site
    }

    /// Until each has its part.
    async fn share(&self) {
        let fair = PARTITIONS / self.replicas.len();
        while self.replicas.iter().any(|replica| replica.lease().partitions().len() != fair) {
            for replica in &self.replicas {
                let renewed = replica.store.renew(&replica.lease(), now_millis()).await.expect("the store works");
                let left = replica.store.give_back(&renewed.lease, &renewed.surplus).await.expect("the store works");
                *replica.lease.lock().expect("no panic") = left;
            }
        }
    }

    async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            for replica in &self.replicas {
                let before = replica.lease();
                // What a busy disk keeps from being said in time is said the next time.
                let Ok(renewed) = replica.store.renew(&before, now_millis()).await else { continue };
                assert_eq!(renewed.lease, before, "nobody came, and nobody went");
            }
        }
    }

    /// Takes in what is for all of them.
    async fn accept(&self, by: &Replica) {
        let accepted = by.store.accept(self.source.batch(BATCH), now_millis()).await.expect("the store works");
        self.accepted.fetch_add(BATCH, Ordering::Relaxed);
        // Where others accept too, all of it is found by looking, and so each once.
        if !by.store.is_shared() {
            for one in accepted {
                by.push(one.waiting());
            }
        }
    }

    /// Returns how many were settled.
    async fn cycle(&self, replica: usize) -> usize {
        let replica = &self.replicas[replica];
        let ((settled, _), ()) = tokio::join!(replica.turn(), self.accept(replica));
        self.settled.fetch_add(settled, Ordering::Relaxed);
        settled
    }

    async fn waiting(&self) -> usize {
        self.stores[0].depth().await.expect("the store works").waiting as usize
    }

    fn left(&self) -> usize {
        self.accepted.load(Ordering::Relaxed) - self.settled.load(Ordering::Relaxed)
    }

    /// Until nobody finds anything any more.
    async fn work_off(&self) {
        let mut moved = true;
        while moved {
            moved = false;
            for replica in &self.replicas {
                let (settled, begun) = replica.turn().await;
                self.settled.fetch_add(settled, Ordering::Relaxed);
                moved |= settled + begun > 0;
            }
        }
        assert_eq!(self.left(), 0, "each message was settled once");
    }
}

impl Replica {
    fn lease(&self) -> Lease {
        self.lease.lock().expect("no panic").clone()
    }

    fn push(&self, waiting: &[Waiting]) {
        let (mine, mut desk) = (self.lease().partitions(), self.desk.lock().expect("no panic"));
        for one in waiting.iter().filter(|one| mine.has(one.lane.partition())) {
            desk.lanes.push(one);
        }
    }

    /// Finds what was accepted, by whomever.
    async fn look(&self) {
        let mut seen = self.seen.lock().await;
        loop {
            let news = self.store.news(&self.lease(), *seen, SCAN_ROWS).await.expect("the store works");
            self.push(&news.waiting);
            *seen = news.next;
            if !news.more {
                return;
            }
        }
    }

    /// Looks, settles what this worker's predecessor began, begins the oldest heads. Returns how many of both.
    async fn turn(&self) -> (usize, usize) {
        if self.store.is_shared() {
            self.look().await;
        }
        let taken = self.desk.lock().expect("no panic").take();
        let open = std::mem::take(&mut *self.open.lock().expect("no panic"));
        if taken.is_empty() && open.is_empty() {
            return (0, 0);
        }
        let done = Settled::Done { result: Some("12345".into()), follow: Vec::new() };
        let settle = open.iter().map(|id| Settle { id: *id, outcome: done.clone() }).collect();
        let begin = taken.iter().map(|taken| Begin { id: taken.id, mark: 12_345 }).collect();
        let turned = self.store.turn(&self.lease(), Turn { settle, begin }, now_millis()).await;
        let turned = turned.expect("the store works");
        assert!(turned.lost.is_empty(), "{:?} are another's", turned.lost);
        assert!(turned.gone.is_empty(), "{:?} were settled before", turned.gone);
        assert!(turned.begun.iter().all(|envelope| envelope.doubt.is_none()), "each is begun once");
        self.desk.lock().expect("no panic").finish(&taken);
        self.open.lock().expect("no panic").extend(turned.begun.iter().map(|envelope| envelope.id));
        (open.len(), turned.begun.len())
    }
}

impl Desk {
    /// `BATCH` more than are under way.
    fn take(&mut self) -> Vec<Taken> {
        let sink = (!self.lanes.is_empty()).then(|| self.lanes.sink_name(0).clone());
        if let Some(sink) = sink {
            self.lanes.set_limit(&sink, self.under_way + BATCH);
        }
        let taken = self.lanes.take(now_millis());
        self.under_way += taken.len();
        taken
    }

    /// Their lanes may go on: in the bench an effect takes no time.
    fn finish(&mut self, taken: &[Taken]) {
        self.under_way -= taken.len();
        for taken in taken {
            self.lanes.finish(*taken);
        }
    }
}

#[async_trait]
impl Subject for Filled {
    async fn work(&self, until: Instant) -> Done {
        let workers = (0..CYCLES * self.0.replicas.len()).map(|worker| {
            let site = self.0.clone();
            steps(until, async move || site.cycle(worker / CYCLES).await)
        });
        all(workers).await
    }

    fn commits(&self) -> u64 {
        commits_of(&self.0.stores)
    }

    async fn check(&self) {
        let site = &self.0;
        assert_eq!(site.waiting().await, site.left(), "what was not settled waits");
        if site.left() <= WORKED_OFF_MAX {
            site.work_off().await;
            assert_eq!(site.waiting().await, 0);
        }
    }
}
