//! The tables, and how far the goals are reached.

use super::{Candidate, cycle, skip_locked};
use crate::slices::{Slice, median, middle, millis, ratio};

const BARE: [&str; 2] = ["bare batches, 1 connection", "bare batches, 2 connections"];
const REPLICAS: [&str; 3] = ["1 replica", "2 replicas", "4 replicas"];

pub(super) fn intake(candidates: &[Candidate]) {
    print("what comes in", candidates);
    println!();
    for name in REPLICAS {
        let beside = BARE.map(|bare| ratio(slices(candidates, name), slices(candidates, bare), rate));
        println!(
            "{name} beside bare batches on 1 and on 2 connections: {:.2}, {:.2} (goal 0.50)",
            beside[0], beside[1]
        );
        let sqlite = ratio(slices(candidates, name), slices(candidates, "SQLite"), rate);
        println!("{name} beside SQLite: {sqlite:.2}");
    }
    let alone = ratio(slices(candidates, "1 replica, 1 caller"), slices(candidates, "bare, 1 caller"), rate);
    println!("one caller beside the bare one: {alone:.2}");
}

pub(super) fn cycle(candidates: &[Candidate], waiting: &[usize]) {
    print("the outbox cycle", candidates);
    println!();
    let least = waiting.iter().copied().min().unwrap_or_default();
    let most = waiting.iter().copied().max().unwrap_or_default();
    for (replicas, waiting) in [(1, least), (2, least), (4, least), (1, most)] {
        let name = cycle::name(replicas, waiting);
        for table in skip_locked::names(waiting) {
            let beside = ratio(slices(candidates, &name), slices(candidates, &table), rate);
            println!("{name}, beside the {table}: {beside:.2} (goal 3)");
        }
        if waiting == least {
            let sqlite = ratio(slices(candidates, &name), slices(candidates, cycle::SQLITE), rate);
            println!("{name}, beside SQLite: {sqlite:.2}");
        }
    }
    for waiting in waiting {
        let (ours, small) = (cycle::name(1, *waiting), cycle::name(1, least));
        println!("{ours}, beside {least}: {:.2}", ratio(slices(candidates, &ours), slices(candidates, &small), rate));
    }
}

fn print(what: &str, candidates: &[Candidate]) {
    let mut sorted: Vec<_> = candidates.iter().collect();
    sorted.sort_by_key(|candidate| &candidate.name);
    println!(
        "\n| {what} | messages/s | p50 / p99 ms | commits/s | messages a commit | CPU us, without the server | quiet |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for Candidate { name, slices, commits, .. } in sorted {
        let (rate, commits) = (median(slices, rate), middle(commits.clone()));
        println!(
            "| {name} | {rate:.0} | {:.2} / {:.2} | {commits:.0} | {:.0} | {:.1} | {}/{} |",
            median(slices, |slice| millis(slice.p50)),
            median(slices, |slice| millis(slice.p99)),
            rate / commits,
            median(slices, |slice| slice.cpu_micros),
            slices.iter().filter(|slice| slice.quiet).count(),
            slices.len(),
        );
    }
}

fn rate(slice: &Slice) -> f64 {
    slice.rate
}

fn slices<'a>(candidates: &'a [Candidate], name: &str) -> &'a [Slice] {
    let found = candidates.iter().find(|candidate| candidate.name == name);
    &found.expect("all were measured").slices
}
