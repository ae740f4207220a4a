//! What comes in: many callers, each with one message at a time and the next one when that is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use deskbridge::{clock::now_millis, store::Store};

use super::{
    Candidate, Done, Ground, Source, Subject, all,
    bare::{self, Bare},
    commits_of, steps,
};

const CALLERS: usize = 256;

/// Where a caller brings it.
#[derive(Clone)]
enum Door {
    Store(Arc<dyn Store>),
    Bare(Arc<Bare>),
}

struct Intake {
    doors: Vec<Door>,
    callers: usize,
    source: Arc<Source>,
    kept: AtomicUsize,
}

pub(super) async fn candidates(ground: &Ground) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut add = |name: &str, doors: Vec<Door>, callers: usize| {
        let subject = Intake { doors, callers, source: ground.source.clone(), kept: AtomicUsize::default() };
        let (name, subject) = (name.to_owned(), Box::new(subject));
        candidates.push(Candidate { name, subject, slices: Vec::new(), commits: Vec::new() });
    };
    let stores = |stores: Vec<Arc<dyn Store>>| stores.into_iter().map(Door::Store).collect();
    let bares = |bares: Vec<Bare>| bares.into_iter().map(|bare| Door::Bare(Arc::new(bare))).collect();
    add("1 replica", stores(ground.replicas(1).await), CALLERS);
    add("2 replicas", stores(ground.replicas(2).await), CALLERS);
    add("4 replicas", stores(ground.replicas(4).await), CALLERS);
    add("SQLite", stores(vec![ground.sqlite("intake-beside-postgres")]), CALLERS);
    add("bare batches, 1 connection", bares(bare::open(&ground.place(), 1).await), CALLERS);
    add("bare batches, 2 connections", bares(bare::open(&ground.place(), 2).await), CALLERS);
    add("1 replica, 1 caller", stores(ground.replicas(1).await), 1);
    add("bare, 1 caller", bares(bare::open(&ground.place(), 1).await), 1);
    candidates
}

#[async_trait]
impl Subject for Intake {
    async fn work(&self, until: Instant) -> Done {
        let callers = (0..self.callers).map(|caller| {
            let (door, source) = (self.doors[caller % self.doors.len()].clone(), self.source.clone());
            steps(until, async move || {
                door.bring(&source).await;
                1
            })
        });
        let done = all(callers).await;
        self.kept.fetch_add(done.events, Ordering::Relaxed);
        done
    }

    fn commits(&self) -> u64 {
        let of = |door: &Door| match door {
            Door::Store(store) => commits_of(std::slice::from_ref(store)),
            Door::Bare(bare) => bare.commits(),
        };
        self.doors.iter().map(of).sum()
    }

    async fn check(&self) {
        let there = match &self.doors[0] {
            Door::Store(store) => store.depth().await.expect("the store works").waiting as usize,
            Door::Bare(bare) => bare.count().await,
        };
        assert_eq!(there, self.kept.load(Ordering::Relaxed), "each message is there once");
    }
}

impl Door {
    async fn bring(&self, source: &Source) {
        match self {
            Self::Store(store) => {
                let accepted = store.accept(source.batch(1), now_millis()).await.expect("the store works");
                assert_eq!(accepted[0].waiting().len(), 1, "it is new");
            }
            Self::Bare(bare) => bare.bring(source.envelope(source.numbers(1).start)).await,
        }
    }
}
