//! The whole gateway on one thread, in virtual time: the store in memory, scripted networks, a scripted inbox, and one
//! seed that decides everything. Faults strike at every touch of the world outside, processes die there, leases are
//! lost. Then the weather calms down, and what happened is judged.
//!
//! `DESKBRIDGE_SIM_SEED=n` plays one seed again, with `DESKBRIDGE_SIM_TRACE=1` line by line; `DESKBRIDGE_SIM_SEEDS=n`
//! plays so many, from `DESKBRIDGE_SIM_FIRST=n` on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bites;
mod canary;
mod chaos;
mod inbox;
mod isolation;
mod network;
mod oracle;
mod process;
mod replicas;
mod run;
mod script;
mod store;
mod weather;
mod witness;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use run::{Ended, play};
use weather::Strike;
use world::Broken;

/// Seeds that found something once. They are always played.
const KEPT: &[u64] = &[36, 64, 72, 265, 290, 302, 537, 2600];
/// Where the others begin, and how many there are unless somebody asks for more.
const FIRST: u64 = 1;
const COUNT: u64 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = number("DESKBRIDGE_SIM_SEED") {
        return vec![seed];
    }
    let count = number("DESKBRIDGE_SIM_SEEDS").unwrap_or(COUNT);
    let first = number("DESKBRIDGE_SIM_FIRST").unwrap_or(FIRST);
    KEPT.iter().copied().chain(first..first + count).collect()
}

/// Plays all of them, on as many threads as there are processors: each run is alone on its own.
fn play_all(seeds: &[u64], broken: Broken) -> Vec<Ended> {
    play_each(seeds, |seed| play(seed, broken))
}

fn play_each(seeds: &[u64], play: impl Fn(u64) -> Ended + Sync) -> Vec<Ended> {
    let (next, ended) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let run = play(*seed);
                    ended.lock().unwrap().push(run);
                }
            });
        }
    });
    ended.into_inner().unwrap()
}

#[test]
fn whatever_goes_wrong_everything_ends_where_it_belongs_once_and_in_order() {
    let (seeds, begun) = (seeds(), Instant::now());
    let ended = play_all(&seeds, Broken::Nothing);
    check("whatever", (&seeds, &ended), (Strike::ALL, COUNT), begun);
}

/// Nothing went wrong, and what was to be met was, where enough runs were played to prove something.
fn check(test: &str, (seeds, ended): (&[u64], &[Ended]), (all, count): (&[Strike], u64), begun: Instant) {
    let mut met: BTreeMap<Strike, u64> = BTreeMap::new();
    ended.iter().flat_map(|run| &run.struck).for_each(|(strike, times)| *met.entry(*strike).or_default() += times);
    println!("{} runs in {:.1} s, met: {met:?}", ended.len(), begun.elapsed().as_secs_f64());
    let mut failed: Vec<_> = ended.iter().filter(|run| !run.violations.is_empty()).collect();
    failed.sort_by_key(|run| run.lines);
    if let Some(first) = failed.first() {
        println!("{}", first.story);
    }
    for run in &failed {
        println!("DESKBRIDGE_SIM_SEED={} cargo test --test sim {test}: {:#?}", run.seed, run.violations);
    }
    assert!(failed.is_empty(), "{} of {} seeds failed", failed.len(), seeds.len());
    if seeds.len() as u64 >= count {
        let unmet: Vec<_> = all.iter().filter(|strike| !met.contains_key(strike)).collect();
        assert!(unmet.is_empty(), "no run met {unmet:?}: the runs prove nothing about that");
    }
}

#[test]
fn one_seed_tells_one_story() {
    for seed in 1..=4 {
        let (one, other) = (play(seed, Broken::Nothing), play(seed, Broken::Nothing));
        assert_eq!((one.lines, one.hash), (other.lines, other.hash), "seed {seed}");
    }
}
