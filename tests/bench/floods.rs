//! What a flood from one person does to others: how long their messages take to the inbox while nobody floods, while
//! one floods a gateway that slows such people, and while one floods a gateway that does not.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bridge_api::{
    Bridge, CancellationToken, Capabilities, Fault, Host, Inbound, Message, Outbound, Peer, Report, Sent, Speaker,
    async_trait,
};
use deskbridge::{clock::now_millis, gateway::Gateway, model::Pace, store::Store};
use tokio::sync::watch;

use crate::{
    disk::Gate,
    plan,
    slices::{Effort, Slice, cpu_time, median, millis, ratio},
    stand_in::StandIn,
    wait::{soon, until_posted, until_settled},
};

const OTHERS: u64 = 20;
const BURST: u32 = 120;
const PAUSE_MILLIS: u32 = 1000;
/// Between two messages of others.
const EVERY: Duration = Duration::from_millis(4);
/// What the flood brings at once, as a network's transactions do.
const WAVE: u64 = 50;

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
    // 300 when run as a test.
    let flood = 100 * effort.scale as u64 + 200;
    let flood = flood / WAVE * WAVE;
    let others = effort.slice.as_micros() as u64 / EVERY.as_micros() as u64;
    let mut desks = Vec::new();
    for (place, (kind, _)) in KINDS.iter().enumerate() {
        let pace = if *kind == Kind::Unslowed { None } else { Pace::new(BURST, PAUSE_MILLIS) };
        desks.push(Desk::start(&folder.join(format!("floods-{place}")), pace).await);
    }
    let mut slices = [Vec::new(), Vec::new(), Vec::new()];
    let mut gate = Gate::new(effort.patience);
    for round in 0..effort.rounds {
        let mut places = [0, 1, 2];
        fastrand::shuffle(&mut places);
        for place in places {
            let (_, quiet) = gate.wait(folder);
            let kind = KINDS[place].0;
            let flood = if kind == Kind::Calm { 0 } else { flood };
            slices[place].push(desks[place].slice(round, flood, others, quiet).await);
            if kind != Kind::Slowed {
                until_settled(&*desks[place].store).await;
            }
        }
    }
    for ((kind, _), desk) in KINDS.iter().zip(desks) {
        desk.judge(*kind, flood * effort.rounds as u64).await;
    }
    print(&slices, flood);
}

/// A gateway with an inbox of its own, and a network that says what it is told.
struct Desk {
    begun: Instant,
    inbox: Arc<StandIn>,
    gateway: Gateway,
    store: Arc<dyn Store>,
    network: Arc<Network>,
}

impl Desk {
    async fn start(folder: &Path, pace: Option<Pace>) -> Self {
        let (inbox, network) = (Arc::new(StandIn::start()), Arc::new(Network::default()));
        let (gateway, store) = plan::paced_gateway(folder, inbox.address, network.clone(), pace).await;
        let desk = Self { begun: Instant::now(), inbox, gateway, store, network };
        // The first message of each makes contact and conversation, which is not what is measured.
        for other in 0..OTHERS {
            desk.network.say(&format!("other{other}"), 1, "hello").await;
        }
        until_posted(&desk.inbox, OTHERS).await;
        until_settled(&*desk.store).await;
        desk
    }

    /// How long the messages of others took while somebody, another one each time, flooded.
    async fn slice(&self, round: usize, flood: u64, others: u64, quiet: bool) -> Slice {
        self.inbox.times();
        let (cpu, begun) = (cpu_time(), Instant::now());
        let rush = async {
            for wave in 0..flood / WAVE {
                self.network.say_all(&format!("mallory{round}"), wave * WAVE + 1..=(wave + 1) * WAVE).await;
            }
        };
        let talk = async {
            let mut tick = tokio::time::interval(EVERY);
            for _ in 0..others {
                tick.tick().await;
                let (moment, said) = (self.inbox.begun.elapsed(), self.network.said.fetch_add(1, Ordering::Relaxed));
                let (peer, line) = (format!("other{}", said % OTHERS), 2 + said / OTHERS);
                self.network.say(&peer, line, &format!("at {}", moment.as_micros())).await;
            }
        };
        tokio::join!(rush, talk);
        let mut times = Vec::new();
        let what = || format!("{others} messages of others");
        soon(what, || {
            times.extend(self.inbox.times());
            times.len() as u64 >= others
        })
        .await;
        Slice::new(times, begun.elapsed(), cpu_time().saturating_sub(cpu), quiet)
    }

    /// Whatever came is there or waits, in order; whoever is slowed was slowed.
    async fn judge(self, kind: Kind, flooded: u64) {
        assert_eq!(self.inbox.wrong(), 0, "each message comes once and in its conversation's order");
        let depth = self.store.depth().await.expect("the store works");
        let others = OTHERS + self.network.said.load(Ordering::Relaxed);
        let came = self.inbox.messages() - others;
        match kind {
            Kind::Calm => assert_eq!((came, depth.waiting), (0, 0)),
            Kind::Unslowed => assert_eq!((came, depth.waiting), (flooded, 0)),
            Kind::Slowed => {
                let of_each = self.begun.elapsed().as_millis() as u64 / u64::from(PAUSE_MILLIS) + u64::from(BURST);
                let floods = self.network.floods.load(Ordering::Relaxed);
                assert!(came <= of_each * floods, "{came} came of {floods} who may bring {of_each} each");
                assert!(
                    came + depth.waiting >= flooded && depth.waiting > 0 && depth.dead == 0,
                    "{came} and {depth:?}"
                );
            }
        }
        self.gateway.stop().await;
    }
}

/// A network whose people say what the measurement wants.
struct Network {
    host: watch::Sender<Option<Host>>,
    /// Messages of others behind their first ones.
    said: AtomicU64,
    floods: AtomicU64,
}

impl Default for Network {
    fn default() -> Self {
        Self { host: watch::channel(None).0, said: AtomicU64::new(0), floods: AtomicU64::new(0) }
    }
}

impl Network {
    async fn say(&self, peer: &str, line: u64, text: &str) {
        self.accept(vec![said(peer, line, text)]).await;
    }

    async fn say_all(&self, peer: &str, lines: std::ops::RangeInclusive<u64>) {
        self.floods.fetch_add(u64::from(*lines.start() == 1), Ordering::Relaxed);
        self.accept(lines.map(|line| said(peer, line, "more")).collect()).await;
    }

    async fn accept(&self, events: Vec<Inbound>) {
        let mut host = self.host.subscribe();
        let host = host.wait_for(Option::is_some).await.expect("the bridge runs").clone();
        host.expect("it is there").accept(events, Vec::new()).await.expect("the store works");
    }
}

fn said(peer: &str, line: u64, text: &str) -> Inbound {
    let message = Message {
        peer: Peer { id: peer.into(), name: peer.into(), facts: [].into(), email: None, picture: None },
        speaker: Speaker::Peer,
        text: format!("{text} {line}"),
        attachments: Vec::new(),
        reply_to: None,
        quiet: false,
        facts: [].into(),
        thread_facts: [].into(),
    };
    let event = format!("{peer}-{line}").as_str().into();
    Inbound { event, at_millis: now_millis(), thread: peer.into(), report: Report::Message(message) }
}

#[async_trait]
impl Bridge for Network {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        self.host.send_replace(Some(host));
        stop.cancelled().await;
        Ok(())
    }
    async fn send(&self, _out: &Outbound) -> Result<Sent, Fault> {
        Err(Fault::refused("nobody answers here"))
    }
    async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
        Ok(None)
    }
}

fn print(slices: &[Vec<Slice>; 3], flood: u64) {
    println!("\n| messages of {OTHERS} others, while {flood} come of one | p50 ms | p99 ms | messages/s | quiet |");
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
