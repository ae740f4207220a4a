//! Several processes on one store: each has its share of the work and of the networks. They crash, hang for longer than
//! their lease lasts and go on, are stopped softly, and are cut off from the store or from the inbox. Nobody notices but
//! by their leases.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    check, number, play_each,
    process::Cut,
    run::{Ended, judge, play_in_virtual_time},
    script::Script,
    weather::{Strike, Weather},
    world::{Broken, Order, World},
};

/// Seeds that found something once. They are always played.
const KEPT: &[u64] = &[33, 1197, 1291, 2023, 3004];
const COUNT: u64 = 60;
/// Seeds that are played until one finds what is broken on purpose.
const SEEDS_MAX: u64 = 100;

fn play(seed: u64, broken: Broken) -> Ended {
    play_in_virtual_time(live(seed, broken))
}

async fn live(seed: u64, broken: Broken) -> Ended {
    let weather = Weather::new(seed);
    let replicas = 2 + weather.below(2);
    let world = World::of(weather, broken, replicas);
    let (mut tell, mut lives) = (Vec::new(), Vec::new());
    for place in 0..replicas {
        let (to, orders) = mpsc::channel(1);
        tell.push(to);
        lives.push(world.weather.tasks.spawn(world.clone().run(place, orders)));
    }
    let steps = 60 + world.weather.below(140);
    Script::new(world.clone(), tell.clone()).play(steps).await;
    judge(&world).await;
    drop(tell);
    for life in lives {
        if life.await.is_err() {
            world.weather.violation("the one who runs a gateway panicked".into());
        }
    }
    Ended::of(seed, &world.weather)
}

/// Something happens to one of them.
pub(crate) async fn suffers(world: &Arc<World>, place: usize, orders: &mpsc::Sender<Order>) {
    let weather = &world.weather;
    let Some(process) = world.process(place).filter(|process| !process.is_dead()) else { return };
    let met = |strike, what: &str| {
        weather.met(strike);
        weather.say(&format!("process {} {what}", process.number));
    };
    // As long as a lease, and some less and some more.
    let pause = weather.between(500, 25_000);
    match weather.below(12) {
        0..=2 => {
            met(Strike::Crashed, "dies soon");
            process.crash_after(weather.below(150));
        }
        3 | 4 => {
            met(Strike::Hung, "hangs");
            process.hang(pause);
        }
        5 | 6 => {
            met(Strike::CutFromStore, "does not reach the store");
            process.cut_from_store(pause, Cut::Refused);
        }
        7 => {
            met(Strike::UnansweredByStore, "is not answered by the store");
            process.cut_from_store(pause, Cut::Silent);
        }
        8 | 9 => {
            met(Strike::CutFromInbox, "does not reach the inbox");
            process.cut_from_inbox(pause);
        }
        _ => {
            met(Strike::StoppedSoftly, "is told to stop");
            // Between two lives nobody takes orders.
            if orders.send_timeout(Order::Restart, Duration::from_secs(5)).await.is_err() {
                weather.say("nobody takes orders now");
            }
        }
    }
}

#[test]
fn several_replicas_lose_nothing_double_nothing_and_speak_with_one_voice() {
    let begun = Instant::now();
    let seeds = match (number("DESKBRIDGE_SIM_SEED"), number("DESKBRIDGE_SIM_FIRST").unwrap_or(1)) {
        (Some(seed), _) => vec![seed],
        (None, first) => {
            KEPT.iter().copied().chain(first..first + number("DESKBRIDGE_SIM_SEEDS").unwrap_or(COUNT)).collect()
        }
    };
    let ended = play_each(&seeds, |seed| play(seed, Broken::Nothing));
    check("several_replicas", (&seeds, &ended), (Strike::OF_REPLICAS, COUNT), begun);
}

#[test]
fn one_seed_of_several_replicas_tells_one_story() {
    for seed in 1..=3 {
        let (one, other) = (play(seed, Broken::Nothing), play(seed, Broken::Nothing));
        assert_eq!((one.lines, one.hash), (other.lines, other.hash), "seed {seed}");
    }
}

/// Whether some seed sees `what`.
fn found(broken: Broken, what: &str) {
    for first in (1..SEEDS_MAX).step_by(10) {
        let ended = play_each(&(first..first + 10).collect::<Vec<_>>(), |seed| play(seed, broken));
        if ended.iter().flat_map(|run| &run.violations).any(|violation| violation.contains(what)) {
            return;
        }
    }
    panic!("{SEEDS_MAX} seeds did not see {what:?} with {broken:?}");
}

#[test]
fn a_process_that_goes_on_without_its_lease_is_found_out() {
    found(Broken::HoldsOn, "speak at once");
}

#[test]
fn a_process_that_does_not_hear_what_others_accepted_is_found_out() {
    found(Broken::HearsNothing, "did not drain");
    found(Broken::HearsNothing, "comes first");
}
