//! Callbacks only: each comes three times, in no order, and one in ten never, as far as somebody sweeps.
//!
//! `DESKBRIDGE_SIM_MESSAGES=n` plays so many; 20 000 are what the gateway is held to.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    canary,
    inbox::Kind,
    oracle::Oracle,
    script::Script,
    weather::{Strike, Weather, lock},
    world::{Broken, World},
};

const MESSAGES: u64 = 3_000;

/// What was counted of the messages that reached a peer.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    reached: u64,
    doubled: u64,
    disordered: u64,
}

async fn chaos(messages: u64, withheld: u32) -> (Count, Vec<String>, u64) {
    let rates = [(Strike::CallbackRepeated, 1000), (Strike::CallbackWithheld, withheld)];
    let world = World::new(Weather::only(7, &rates), Broken::Nothing);
    let (tell, orders) = mpsc::channel(1);
    let lives = world.weather.tasks.spawn(world.clone().run(0, orders));
    Script::new(world.clone(), vec![tell.clone()]).everybody_writes().await;
    world.until_quiet().await;

    let conversations: Vec<(i64, String)> = {
        let state = lock(&world.inbox.state);
        state.conversations.values().map(|conversation| (conversation.id, conversation.source_id.clone())).collect()
    };
    for number in 0..messages {
        let (conversation, link) = &conversations[world.weather.below(conversations.len())];
        world.inbox.write(*conversation, Kind::Outgoing, false, canary::to_peer(link, number as usize, 0));
        tokio::time::sleep(world.weather.between(0, 800)).await;
    }
    world.calm_down();
    world.until_quiet().await;
    let oracle = Oracle::ask(&world).await;
    oracle.told();
    oracle.delivered();
    oracle.doubles();
    drop(tell);
    lives.await.expect("the one who runs the gateway does not panic");
    let withheld = world.weather.struck().get(&Strike::CallbackWithheld).copied().unwrap_or_default();
    (count(&world), world.weather.violations(), withheld)
}

fn count(world: &World) -> Count {
    let mut count = Count { reached: 0, doubled: 0, disordered: 0 };
    for network in &world.networks {
        let mut newest: HashMap<_, i64> = HashMap::new();
        let mut seen = HashSet::new();
        for reached in network.reached() {
            let key = reached.key.as_str();
            let message: i64 = key.split([':', '/']).nth(1).and_then(|id| id.parse().ok()).expect("a key of ours");
            count.reached += 1;
            count.doubled += u64::from(!seen.insert(message));
            let newest = newest.entry(reached.thread).or_default();
            count.disordered += u64::from(message < *newest);
            *newest = message.max(*newest);
        }
    }
    count
}

fn run(messages: u64, withheld: u32) -> (Count, Vec<String>, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let limit = Duration::from_hours(1000);
    let chaos = async { tokio::time::timeout(limit, chaos(messages, withheld)).await };
    runtime.expect("a runtime without sockets").block_on(chaos).expect("it comes to an end")
}

#[test]
fn callbacks_that_come_three_times_and_in_no_order_lose_double_and_disorder_nothing() {
    let messages = crate::number("DESKBRIDGE_SIM_MESSAGES").unwrap_or(MESSAGES);
    let begun = std::time::Instant::now();
    let (count, violations, _) = run(messages, 0);
    println!("{messages} messages in {:.1} s: {count:?}", begun.elapsed().as_secs_f64());
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(count, Count { reached: messages, doubled: 0, disordered: 0 });
}

#[test]
fn callbacks_of_which_one_in_ten_never_comes_lose_and_double_nothing() {
    let messages = crate::number("DESKBRIDGE_SIM_MESSAGES").unwrap_or(MESSAGES);
    let begun = std::time::Instant::now();
    let (count, violations, withheld) = run(messages, 100);
    println!("{messages} messages, {withheld} withheld, in {:.1} s: {count:?}", begun.elapsed().as_secs_f64());
    assert_eq!(violations, Vec::<String>::new());
    assert!(withheld > messages / 20, "too few were withheld to prove anything");
    assert_eq!((count.reached, count.doubled), (messages, 0));
}
