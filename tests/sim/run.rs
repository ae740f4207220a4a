//! From a seed to a verdict.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::{
    oracle::Oracle,
    script::Script,
    weather::{Strike, Weather, lock},
    world::{Broken, World},
};

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) seed: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) struck: BTreeMap<Strike, u64>,
    pub(crate) hash: u64,
    pub(crate) lines: usize,
    pub(crate) story: String,
}

/// Plays one seed in a runtime of its own.
pub(crate) fn play(seed: u64, broken: Broken) -> Ended {
    play_in_virtual_time(live(seed, broken))
}

pub(crate) fn play_in_virtual_time(run: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets");
    let ended = runtime.block_on(run);
    // Those who died wait for ever; they go with their runtime.
    drop(runtime);
    ended
}

async fn live(seed: u64, broken: Broken) -> Ended {
    let world = World::new(Weather::new(seed), broken);
    let (tell, orders) = mpsc::channel(1);
    let lives = world.weather.tasks.spawn(world.clone().run(0, orders));
    let steps = 40 + world.weather.below(120);
    Script::new(world.clone(), vec![tell.clone()]).play(steps).await;

    judge(&world).await;
    drop(tell);
    if lives.await.is_err() {
        world.weather.violation("the one who runs the gateway panicked".into());
    }
    Ended::of(seed, &world.weather)
}

/// Lets everything come to its end, and says what was wrong with it.
pub(crate) async fn judge(world: &World) {
    world.calm_down();
    world.until_quiet().await;
    Oracle::ask(world).await.told();
    retry_all(world);
    world.until_quiet().await;
    let oracle = Oracle::ask(world).await;
    oracle.delivered();
    oracle.inbound();
    oracle.doubles();
}

impl Ended {
    pub(crate) fn of(seed: u64, weather: &Weather) -> Self {
        Self {
            seed,
            violations: weather.violations(),
            struck: weather.struck(),
            hash: weather.hash(),
            lines: weather.lines(),
            story: weather.story(),
        }
    }
}

/// The agents see what failed, and press Retry on all of it.
fn retry_all(world: &World) {
    let failed: Vec<i64> = {
        let state = lock(&world.inbox.state);
        let failed = state.messages.values().filter(|message| message.status == "failed" && !message.deleted);
        failed.map(|message| message.id).collect()
    };
    for id in failed {
        world.inbox.press_retry(id);
    }
}
