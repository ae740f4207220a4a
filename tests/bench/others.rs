//! People who talk while something else goes on: what they say to the inbox, what agents say to them, and how long each
//! of it takes.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
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
    load, plan,
    slices::{Slice, cpu_time},
    stand_in::StandIn,
    wait::{soon, until_posted, until_settled},
};

pub(crate) const OTHERS: u64 = 20;
/// Between two messages of theirs.
pub(crate) const EVERY: Duration = Duration::from_millis(4);
/// Messages of agents to them are numbered from here on.
const REPLIES_FROM: u64 = 50_000_000;

/// Which way they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToTheInbox,
    ToThePerson,
}

/// A gateway with an inbox of its own, and a network that says what it is told.
pub(crate) struct Desk {
    pub(crate) begun: Instant,
    pub(crate) inbox: Arc<StandIn>,
    pub(crate) gateway: Gateway,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) network: Arc<Network>,
    replies: AtomicU64,
}

impl Desk {
    /// `beside` are other bridges; the inbox thinks for so long about each call.
    pub(crate) async fn start(
        folder: &Path,
        pace: Option<Pace>,
        thinks: Duration,
        beside: Vec<(&str, Arc<dyn Bridge>)>,
    ) -> Self {
        let (inbox, network) = (Arc::new(StandIn::thinking(thinks)), Arc::new(Network::default()));
        let mut bridges: Vec<(&str, Arc<dyn Bridge>)> = vec![("net", network.clone())];
        bridges.extend(beside);
        let (gateway, store) = plan::gateway_of(folder, inbox.address, bridges, pace).await;
        let desk = Self { begun: Instant::now(), inbox, gateway, store, network, replies: AtomicU64::default() };
        // The first message of each makes contact and conversation, which is not what is measured.
        for other in 0..OTHERS {
            desk.network.say(&format!("other{other}"), 1, "hello").await;
        }
        until_posted(&desk.inbox, OTHERS).await;
        until_settled(&*desk.store).await;
        desk
    }

    /// How long so many messages of others took while `beside` went on.
    pub(crate) async fn slice(&self, way: Way, others: u64, quiet: bool, beside: impl Future<Output = ()>) -> Slice {
        self.inbox.times();
        self.network.times();
        let (cpu, begun) = (cpu_time(), Instant::now());
        match way {
            Way::ToTheInbox => drop(tokio::join!(beside, self.talk(others))),
            Way::ToThePerson => drop(tokio::join!(beside, self.reply(others))),
        }
        let mut times = Vec::new();
        let what = || format!("{others} messages of others");
        soon(what, || {
            times.extend(match way {
                Way::ToTheInbox => self.inbox.times(),
                Way::ToThePerson => self.network.times(),
            });
            times.len() as u64 >= others
        })
        .await;
        Slice::new(times, begun.elapsed(), cpu_time().saturating_sub(cpu), quiet)
    }

    async fn talk(&self, others: u64) {
        let mut tick = tokio::time::interval(EVERY);
        for _ in 0..others {
            tick.tick().await;
            let (moment, said) = (self.inbox.begun.elapsed(), self.network.said.fetch_add(1, Ordering::Relaxed));
            let (peer, line) = (format!("other{}", said % OTHERS), 2 + said / OTHERS);
            self.network.say(&peer, line, &format!("at {}", moment.as_micros())).await;
        }
    }

    async fn reply(&self, others: u64) {
        let mut tick = tokio::time::interval(EVERY);
        let mut door = load::Door::to(self.gateway.address()).await;
        for _ in 0..others {
            tick.tick().await;
            let reply = self.replies.fetch_add(1, Ordering::Relaxed);
            let (message, other) = (REPLIES_FROM + reply, reply % OTHERS);
            let request = load::reply(message, (other + 1, &format!("net/other{other}")), now_millis());
            self.network.sent.lock().expect("nobody panics over it").insert(message, Instant::now());
            door.send(&request, "stored\n").await;
        }
    }
}

/// A network whose people say what the measurement wants.
pub(crate) struct Network {
    host: watch::Sender<Option<Host>>,
    /// Messages of others behind their first ones.
    pub(crate) said: AtomicU64,
    pub(crate) floods: AtomicU64,
    /// When agents' messages went to the gateway, by their numbers.
    sent: Mutex<HashMap<u64, Instant>>,
    times: Mutex<Vec<Duration>>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            host: watch::channel(None).0,
            said: AtomicU64::new(0),
            floods: AtomicU64::new(0),
            sent: Mutex::default(),
            times: Mutex::default(),
        }
    }
}

impl Network {
    async fn say(&self, peer: &str, line: u64, text: &str) {
        self.accept(vec![said(peer, line, text)]).await;
    }

    pub(crate) async fn say_all(&self, peer: &str, lines: std::ops::RangeInclusive<u64>) {
        self.floods.fetch_add(u64::from(*lines.start() == 1), Ordering::Relaxed);
        self.accept(lines.map(|line| said(peer, line, "more")).collect()).await;
    }

    /// How long agents' messages took, since the last question.
    fn times(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.times.lock().expect("nobody panics over it"))
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
    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        // A key is the inbox, the message and the part.
        let number = out.key.as_str().split([':', '/']).nth(1).and_then(|number| number.parse().ok());
        let sent = number.and_then(|number: u64| self.sent.lock().expect("nobody panics over it").remove(&number));
        let sent = sent.ok_or_else(|| Fault::refused(format!("nobody wrote {}", out.key)))?;
        self.times.lock().expect("nobody panics over it").push(sent.elapsed());
        Ok(Sent::default())
    }
    async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
        Ok(None)
    }
}
