//! What trouble elsewhere does to others, both ways: while a bridge's network never answers, with replies to many people
//! waiting for it, and while very much waits in one conversation, whose bridge does not answer either.

use std::{path::Path, sync::Arc, time::Duration};

use bridge_api::{Bridge, CancellationToken, Capabilities, Fault, Host, Outbound, Sent, async_trait};
use deskbridge::{clock::now_millis, model::SinkName};

use crate::{
    disk::Gate,
    floods::THOUGHTS,
    load,
    others::{Desk, EVERY, OTHERS, Way},
    slices::{Effort, Slice, median, millis, ratio},
};

const WAYS: [Way; 2] = [Way::ToTheInbox, Way::ToThePerson];
/// What waits for the network that does not answer, per unit of effort: 50 000 in a measurement.
const WAITING: usize = 500;
const CONNECTIONS: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Calm,
    /// Everybody has something waiting.
    Hole,
    /// All of it in one conversation.
    Heap,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Calm, "no trouble"),
    (Kind::Hole, "a bridge that never answers, replies to many waiting"),
    (Kind::Heap, "the same, all of them in one conversation"),
];

pub(crate) async fn run(folder: &Path, effort: Effort) {
    for thinks in THOUGHTS {
        run_beside(&folder.join(format!("troubles-{}", thinks.as_millis())), effort, thinks).await;
    }
}

async fn run_beside(folder: &Path, effort: Effort, thinks: Duration) {
    let waiting = WAITING * effort.scale;
    let others = effort.slice.as_micros() as u64 / EVERY.as_micros() as u64;
    let mut desks = Vec::new();
    for (place, (kind, _)) in KINDS.iter().enumerate() {
        let hole: Arc<dyn Bridge> = Arc::new(Hole);
        let desk = Desk::start(&folder.join(place.to_string()), None, thinks, vec![("hole", hole)]).await;
        pile_up(&desk, *kind, waiting).await;
        desks.push(desk);
    }
    let mut slices: Vec<[Vec<Slice>; 3]> = WAYS.iter().map(|_| [const { Vec::new() }; 3]).collect();
    let mut gate = Gate::new(effort.patience);
    for _ in 0..effort.rounds {
        let mut turns: Vec<_> = (0..KINDS.len()).flat_map(|place| [(place, 0), (place, 1)]).collect();
        fastrand::shuffle(&mut turns);
        for (place, way) in turns {
            let (_, quiet) = gate.wait(folder);
            slices[way][place].push(desks[place].slice(WAYS[way], others, quiet, async {}).await);
        }
    }
    for ((kind, _), desk) in KINDS.iter().zip(desks) {
        assert_eq!(desk.inbox.wrong(), 0, "each message comes once and in its conversation's order");
        let expected = if *kind == Kind::Calm { 0 } else { waiting };
        assert_eq!(in_the_hole(&desk).await, expected, "nothing of it is lost or given up");
        desk.gateway.stop().await;
    }
    for (way, slices) in WAYS.iter().zip(&slices) {
        print(*way, slices, waiting, thinks);
    }
}

async fn pile_up(desk: &Desk, kind: Kind, waiting: usize) {
    if kind == Kind::Calm {
        return;
    }
    let requests: Vec<_> = (0..waiting as u64)
        .map(|number| {
            let conversation = if kind == Kind::Heap { 1 } else { 1 + number % load::CONVERSATIONS };
            let person = format!("hole/peer{conversation}");
            load::reply(1_000_000 + number, (1_000_000 + conversation, &person), now_millis())
        })
        .collect();
    let address = desk.gateway.address();
    let pile = move || load::send(address, &requests, CONNECTIONS, Duration::from_mins(2), "stored\n");
    let piled = tokio::task::spawn_blocking(pile).await.expect("each callback is answered");
    assert_eq!(piled.times.len(), waiting);
}

async fn in_the_hole(desk: &Desk) -> usize {
    desk.store.depth().await.expect("the store works").of(&SinkName::bridge(&"hole".into())) as usize
}

/// A network that takes everything and answers nothing.
struct Hole;

#[async_trait]
impl Bridge for Hole {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, _host: Host, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
    async fn send(&self, _out: &Outbound) -> Result<Sent, Fault> {
        std::future::pending().await
    }
    async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
        std::future::pending().await
    }
}

fn print(way: Way, slices: &[Vec<Slice>; 3], waiting: usize, thinks: Duration) {
    let to = match way {
        Way::ToTheInbox => "to the inbox",
        Way::ToThePerson => "to the person",
    };
    println!(
        "\n| messages of {OTHERS} others {to}, while {waiting} wait; the inbox thinks for {} ms | p50 ms | p99 ms | quiet |",
        thinks.as_millis()
    );
    println!("| --- | --- | --- | --- |");
    for ((_, name), slices) in KINDS.iter().zip(slices) {
        println!(
            "| {name} | {:.2} | {:.2} | {}/{} |",
            median(slices, |slice| millis(slice.p50)),
            median(slices, |slice| millis(slice.p99)),
            slices.iter().filter(|slice| slice.quiet).count(),
            slices.len(),
        );
    }
    let beside = |at: usize| ratio(&slices[at], &slices[0], |slice| millis(slice.p99));
    println!("p99 of others beside no trouble: {:.2} and {:.2} (goal 1.10)", beside(1), beside(2));
}
