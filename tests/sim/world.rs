//! One run: an inbox, four networks and the store, which outlive every process, and the lives of the gateway between
//! them. Everything that happens is drawn from the seed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bridge_api::{Resend, Secret};
use deskbridge::{
    chatwoot::{AccountId, ClientSettings, InboxId},
    gateway::{BridgePlan, Core, InboxPlan, Plan, StartError},
    http,
    model::{InboxName, gate::GateRules},
    policy::WhenInDoubt,
    store::{MemoryStore, Store},
};
use tokio::sync::mpsc;

use crate::{
    inbox::{ACCOUNT, CallbackDoor, INBOX, Inbox, Line, SECRET},
    network::{Network, Played},
    process::Process,
    store::Handle,
    weather::{Strike, Weather, lock},
    witness::Witness,
};

/// The longest that a soft stop may take.
const STOP_LIMIT: Duration = Duration::from_mins(10);
/// A process that lost its lease hears of it within this time, if it does anything at all.
const LEASE_NEWS_LIMIT: Duration = Duration::from_mins(20);
/// In calm weather everything is where it belongs within this time: the longest pause of the policy, and some.
const DRAIN_LIMIT: Duration = Duration::from_hours(30);
/// Whatever is still on its way when all is quiet comes within this time.
const ECHO_LIMIT: Duration = Duration::from_secs(150);

/// A mechanism that is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Broken {
    #[default]
    Nothing,
    /// Attempts of unknown outcome look as if they had never begun, so that nobody asks.
    ForgetsDoubt,
    /// Some of what is acknowledged is not kept.
    Loses,
    /// What is accepted is told in the wrong order.
    TurnsRound,
    /// Callbacks call every note public.
    BlursNotes,
    /// A process that cannot renew its lease goes on as if it had.
    HoldsOn,
    /// What others accepted is not heard of.
    HearsNothing,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) weather: Arc<Weather>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) networks: Vec<Arc<Network>>,
    pub(crate) store: MemoryStore,
    pub(crate) sends_templates: bool,
    broken: Broken,
    /// The process at work in each place; one place, or one for each replica.
    live: Vec<Mutex<Option<Arc<Process>>>>,
    born: AtomicU32,
}

/// What the one who runs the gateway does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A soft stop, and a start.
    Restart,
    /// A second process takes over while the first one runs.
    TakeOver,
}

/// How a life ended.
enum End {
    Pause(Duration),
    TakenOver,
    Over,
}

impl World {
    pub(crate) fn new(weather: Weather, broken: Broken) -> Arc<Self> {
        Self::of(weather, broken, 1)
    }

    /// Several processes work on one store.
    pub(crate) fn of(weather: Weather, broken: Broken, replicas: usize) -> Arc<Self> {
        let (weather, shared) = (Arc::new(weather), replicas > 1);
        let witness = Witness::new(weather.clone(), shared);
        let networks =
            [("harm", Resend::Harmless), ("ask", Resend::Askable), ("risk", Resend::Risky), ("fail", Resend::Risky)];
        let networks = networks.map(|network| Network::new(network, shared, weather.clone(), witness.clone()));
        Arc::new(Self {
            inbox: Inbox::new(weather.clone(), witness.clone(), broken),
            networks: networks.into(),
            store: if shared { MemoryStore::shared() } else { MemoryStore::default() },
            sends_templates: weather.one_in(2),
            broken,
            live: (0..replicas).map(|_| Mutex::default()).collect(),
            born: AtomicU32::new(0),
            weather,
            witness,
        })
    }

    /// The policy for a network that cannot be asked.
    pub(crate) fn when_in_doubt(network: &Network) -> WhenInDoubt {
        if network.name.as_str() == "fail" { WhenInDoubt::Fail } else { WhenInDoubt::Repeat }
    }

    fn plan(&self, process: &Arc<Process>) -> Plan {
        let url = "http://inbox".parse().expect("an address");
        let mut client = ClientSettings::new(url, AccountId(ACCOUNT), InboxId(INBOX), Secret::new("demo-token"));
        client.exchange = Some(Arc::new(Line { inbox: self.inbox.clone(), process: process.clone() }));
        let name = InboxName::new("support");
        let bridge = |network: &Arc<Network>| BridgePlan {
            name: network.name.clone(),
            inbox: name.clone(),
            when_in_doubt: Self::when_in_doubt(network),
            peer_pace: None,
            gate: GateRules::default(),
            bridge: Played::new(network.clone(), process.clone()),
        };
        Plan {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: ".".into(),
            admin_token: None,
            admin_hosts: Vec::new(),
            stop_limit: Duration::from_secs(20),
            retention: Duration::from_hours(30 * 24),
            bridges: self.networks.iter().map(bridge).collect(),
            inboxes: vec![InboxPlan {
                callback_secret: Some(Secret::new(SECRET)),
                send_templates: self.sends_templates,
                ..InboxPlan::new(name.clone(), client)
            }],
        }
    }

    async fn start(&self, process: &Arc<Process>) -> Result<Core, StartError> {
        let handle =
            Handle::new(self.store.clone(), process.clone(), (self.weather.clone(), self.witness.clone()), self.broken);
        let owner = format!("process {}", process.number);
        let core = Core::start(self.plan(process), handle, &owner, self.weather.clock, self.weather.fork()).await?;
        let router = http::public(core.front().clone());
        let door = CallbackDoor { process: process.clone(), router };
        if self.is_shared() {
            self.inbox.open_another(door);
        } else {
            self.inbox.open_door(door);
        }
        Ok(core)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.live.len() > 1
    }

    /// One life after the other in this place, until nobody gives orders any more.
    pub(crate) async fn run(self: Arc<Self>, place: usize, mut orders: mpsc::Receiver<Order>) {
        loop {
            let process = Process::new(self.born.fetch_add(1, Ordering::Relaxed) + 1, self.weather.clone());
            self.weather.say(&format!("process {} starts", process.number));
            if !self.weather.is_calm() && self.weather.one_in(6) {
                process.crash_after(self.weather.below(60));
            }
            *lock(&self.live[place]) = Some(process.clone());
            let started = tokio::select! {
                biased;
                () = process.death() => None,
                started = self.start(&process) => Some(started),
            };
            let end = match started {
                Some(Ok(core)) => self.live(core, &process, &mut orders).await,
                Some(Err(error)) => {
                    self.weather.say(&format!("process {} cannot start: {error}", process.number));
                    process.kill();
                    End::Pause(Duration::from_secs(1))
                }
                None => End::Pause(self.weather.between(0, 9_000)),
            };
            match end {
                End::Pause(pause) => {
                    self.inbox.close_door(process.number);
                    tokio::time::sleep(pause).await;
                }
                End::TakenOver => {}
                End::Over => return,
            }
        }
    }

    async fn live(&self, mut core: Core, process: &Arc<Process>, orders: &mut mpsc::Receiver<Order>) -> End {
        let order = tokio::select! {
            biased;
            () = process.death() => return End::Pause(self.weather.between(0, 20_000)),
            reason = core.failed() => {
                self.weather.violation(format!("process {} cannot go on: {reason}", process.number));
                process.kill();
                return End::Pause(Duration::from_secs(1));
            }
            order = orders.recv() => order,
        };
        match order {
            Some(Order::TakeOver) => {
                let (weather, process) = (self.weather.clone(), process.clone());
                self.weather.tasks.spawn(retire(weather, core, process));
                End::TakenOver
            }
            Some(Order::Restart) | None => {
                self.stop(core, process).await;
                if order.is_some() { End::Pause(self.weather.between(0, 3_000)) } else { End::Over }
            }
        }
    }

    async fn stop(&self, core: Core, process: &Arc<Process>) {
        self.weather.met(Strike::SoftStop);
        self.weather.say(&format!("process {} is told to stop", process.number));
        let close_door = async { self.inbox.close_door(process.number) };
        tokio::select! {
            biased;
            () = process.death() => {}
            stopped = tokio::time::timeout(STOP_LIMIT, core.stop(close_door)) => {
                if stopped.is_err() {
                    self.weather.violation(format!("process {} did not stop", process.number));
                }
                process.kill();
            }
        }
    }

    /// The process at work, should there be one, ends within this many touches of the world.
    pub(crate) fn crash_after(&self, touches: usize) {
        if let Some(process) = self.process(0) {
            process.crash_after(touches);
        }
    }

    /// The process at work in a place.
    pub(crate) fn process(&self, place: usize) -> Option<Arc<Process>> {
        lock(&self.live[place]).clone()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm_down(&self) {
        self.weather.say("the weather calms down");
        self.weather.calm_down();
        (0..self.live.len()).filter_map(|place| self.process(place)).for_each(|process| process.spare());
    }

    /// Waits until nothing waits any more.
    pub(crate) async fn until_quiet(&self) {
        // What nobody hears of is not heard of later either.
        let limit = if self.broken == Broken::HearsNothing { DRAIN_LIMIT / 30 } else { DRAIN_LIMIT };
        let end = tokio::time::Instant::now() + limit;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if self.is_quiet().await {
                tokio::time::sleep(ECHO_LIMIT).await;
                if self.is_quiet().await {
                    return;
                }
            }
        }
        let waiting = self.store.list(5).await;
        let unheard: Vec<_> = self.networks.iter().filter(|network| !network.is_heard()).map(|n| &n.name).collect();
        self.weather.violation(format!("the outbox did not drain: {waiting:?}, not heard: {unheard:?}"));
    }

    async fn is_quiet(&self) -> bool {
        let depth = self.store.depth().await;
        depth.is_ok_and(|depth| depth.waiting == 0) && self.networks.iter().all(|network| network.is_heard())
    }
}

/// The end of a process that another one took over from: it hears of it, and causes nothing any more.
async fn retire(weather: Arc<Weather>, mut core: Core, process: Arc<Process>) {
    let end = async {
        if let Ok(reason) = tokio::time::timeout(LEASE_NEWS_LIMIT, core.failed()).await {
            if reason.contains("lease") {
                weather.met(Strike::LeaseLost);
                weather.say(&format!("process {} has lost its lease", process.number));
            } else {
                weather.violation(format!("process {} ended otherwise: {reason}", process.number));
            }
        }
        drop(tokio::time::timeout(STOP_LIMIT, core.stop(std::future::ready(()))).await);
    };
    tokio::select! {
        biased;
        () = process.death() => {}
        () = end => process.kill(),
    }
}
