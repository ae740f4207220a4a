//! What a flood from one person does to others: how long their messages take to the inbox while nobody floods, while
//! one floods a gateway that slows such people, and while one floods a gateway that does not. Beside an inbox that
//! answers at once, and beside one that thinks for a moment as a real one does.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use deskbridge::model::Pace;

use crate::{
    disk::Gate,
    others::{Desk, EVERY, OTHERS, Way},
    slices::{Effort, Slice, median, millis, ratio},
    wait::until_settled,
};

const BURST: u32 = 120;
const PAUSE_MILLIS: u32 = 1000;
/// What the flood brings at once, as a network's transactions do.
const WAVE: u64 = 50;
/// How long the inbox thinks about each call: less than any that has a database behind it.
pub(crate) const THOUGHTS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(20)];

/// How long the inbox may take for one flood.
const WORKED_OFF: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Calm,
    Slowed,
    Unslowed,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Calm, "nobody floods"),
    (Kind::Slowed, "one floods, and is slowed"),
    (Kind::Unslowed, "one floods, and nobody is slowed"),
];

pub(crate) async fn run(folder: &Path, effort: Effort) {
    for thinks in THOUGHTS {
        run_beside(&folder.join(format!("floods-{}", thinks.as_millis())), effort, thinks).await;
    }
}

async fn run_beside(folder: &Path, effort: Effort, thinks: Duration) {
    // 300 when run as a test. Of one person there is one call at a time, and each slice ends when all of it is there.
    let most = WORKED_OFF.as_millis().checked_div(thinks.as_millis()).map_or(u64::MAX, |most| most as u64);
    let flood = (100 * effort.scale as u64 + 200).min(most);
    let flood = flood / WAVE * WAVE;
    let others = effort.slice.as_micros() as u64 / EVERY.as_micros() as u64;
    let mut desks = Vec::new();
    for (place, (kind, _)) in KINDS.iter().enumerate() {
        let pace = if *kind == Kind::Unslowed { None } else { Pace::new(BURST, PAUSE_MILLIS) };
        desks.push(Desk::start(&folder.join(place.to_string()), pace, thinks, Vec::new()).await);
    }
    let mut slices = [Vec::new(), Vec::new(), Vec::new()];
    let mut gate = Gate::new(effort.patience);
    for round in 0..effort.rounds {
        let mut places = [0, 1, 2];
        fastrand::shuffle(&mut places);
        for place in places {
            let (_, quiet) = gate.wait(folder);
            let (desk, kind) = (&desks[place], KINDS[place].0);
            let flood = if kind == Kind::Calm { 0 } else { flood };
            let rush = async {
                for wave in 0..flood / WAVE {
                    let lines = wave * WAVE + 1..=(wave + 1) * WAVE;
                    desk.network.say_all(&format!("mallory{round}"), lines).await;
                }
            };
            slices[place].push(desk.slice(Way::ToTheInbox, others, quiet, rush).await);
            if kind != Kind::Slowed {
                until_settled(&*desk.store).await;
            }
        }
    }
    for ((kind, _), desk) in KINDS.iter().zip(desks) {
        judge(desk, *kind, flood * effort.rounds as u64).await;
    }
    print(&slices, flood, thinks);
}

/// Whatever came is there or waits, in order; whoever is slowed was slowed.
async fn judge(desk: Desk, kind: Kind, flooded: u64) {
    assert_eq!(desk.inbox.wrong(), 0, "each message comes once and in its conversation's order");
    let depth = desk.store.depth().await.expect("the store works");
    let others = OTHERS + desk.network.said.load(Ordering::Relaxed);
    let came = desk.inbox.messages() - others;
    match kind {
        Kind::Calm => assert_eq!((came, depth.waiting), (0, 0)),
        Kind::Unslowed => assert_eq!((came, depth.waiting), (flooded, 0)),
        Kind::Slowed => {
            let of_each = desk.begun.elapsed().as_millis() as u64 / u64::from(PAUSE_MILLIS) + u64::from(BURST);
            let floods = desk.network.floods.load(Ordering::Relaxed);
            assert!(came <= of_each * floods, "{came} came of {floods} who may bring {of_each} each");
            assert!(came + depth.waiting >= flooded && depth.waiting > 0 && depth.dead == 0, "{came} and {depth:?}");
        }
    }
    desk.gateway.stop().await;
}

fn print(slices: &[Vec<Slice>; 3], flood: u64, thinks: Duration) {
    println!(
        "\n| messages of {OTHERS} others, while {flood} come of one; the inbox thinks for {} ms | p50 ms | p99 ms | messages/s | quiet |",
        thinks.as_millis()
    );
    println!("| --- | --- | --- | --- | --- |");
    for ((_, name), slices) in KINDS.iter().zip(slices) {
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {}/{} |",
            median(slices, |slice| millis(slice.p50)),
            median(slices, |slice| millis(slice.p99)),
            median(slices, |slice| slice.rate),
            slices.iter().filter(|slice| slice.quiet).count(),
            slices.len(),
        );
    }
    let beside = |at: usize| ratio(&slices[at], &slices[0], |slice| millis(slice.p99));
    println!(
        "p99 of others beside a calm network: {:.2} while one is slowed (goal 1.10), {:.2} without",
        beside(1),
        beside(2)
    );
}
