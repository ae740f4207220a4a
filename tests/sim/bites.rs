//! The oracle is worth what it finds: mechanisms are broken on purpose, and each has to be found out.

use crate::{Broken, play_all};

/// Seeds that are played until one finds it.
const SEEDS_MAX: u64 = 200;

/// How many seeds it took to see `what`.
fn found(broken: Broken, what: &str) -> u64 {
    for first in (1..SEEDS_MAX).step_by(10) {
        let ended = play_all(&(first..first + 10).collect::<Vec<_>>(), broken);
        if ended.iter().flat_map(|run| &run.violations).any(|violation| violation.contains(what)) {
            return first + 9;
        }
    }
    panic!("{SEEDS_MAX} seeds did not see {what:?} with {broken:?}");
}

#[test]
fn a_gateway_that_repeats_without_asking_is_found_out() {
    found(Broken::ForgetsDoubt, "is in the inbox 2 times");
    found(Broken::ForgetsDoubt, "reached its peer 2 times, at most 1");
}

#[test]
fn a_note_that_is_told_as_public_is_found_out() {
    found(Broken::BlursNotes, "SECRET");
}

#[test]
fn a_store_that_forgets_what_was_acknowledged_is_found_out() {
    found(Broken::Loses, "was acknowledged and is nowhere");
}

#[test]
fn a_lane_that_runs_backwards_is_found_out() {
    found(Broken::TurnsRound, "comes first");
}
