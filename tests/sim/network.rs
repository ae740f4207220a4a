//! A scripted network and the bridge to it. The network keeps what is said until it was taken in, lets one connection
//! speak at a time, and records whatever reaches a person.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bridge_api::{
    Bridge, BridgeName, BridgeState, CancellationToken, Capabilities, Cursor, EventId, Fault, Host, Inbound, Key,
    Landing, Outbound, Part, Reply, Resend, Sent, ThreadId, async_trait,
};
use tokio::sync::Notify;

use crate::{
    canary,
    process::Process,
    weather::{Strike, Weather, lock},
    witness::Witness,
};

/// Events of one report.
const BATCH: usize = 5;
/// Short, so that a hang costs little.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(90);
/// How long a connection that was taken over keeps away.
const CONFLICT: Duration = Duration::from_secs(45);
/// Of an effect that was said to happen and ended otherwise.
const SCRIPTED: &str = "scripted";

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) name: BridgeName,
    pub(crate) resend: Resend,
    /// Nobody may come while another one is there: the processes have agreed about it.
    shared: bool,
    weather: Arc<Weather>,
    witness: Arc<Witness>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Everything that people said, in the network's order.
    events: Vec<Inbound>,
    /// How far the bridges have taken it in, over all processes.
    taken: usize,
    /// The connection that may speak: the newest.
    connection: u64,
    /// What reached people, in order.
    reached: Vec<Reached>,
    by_key: HashMap<Key, EventId>,
    /// Threads whose peers are gone for good.
    gone: BTreeSet<ThreadId>,
    landed: BTreeMap<EventId, Landing>,
    /// Processes that are connected.
    voices: Vec<Arc<Process>>,
    /// The last one that was.
    last_voice: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) key: Key,
    pub(crate) thread: ThreadId,
}

/// How one `send` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Good,
    Retry { after: Option<Duration> },
    Refused,
    Down,
    Unknown { done: bool },
    Hang { done: bool },
    Panic { done: bool },
}

impl Network {
    pub(crate) fn new(
        (name, resend): (&str, Resend),
        shared: bool,
        weather: Arc<Weather>,
        witness: Arc<Witness>,
    ) -> Arc<Self> {
        let (name, state, news) = (BridgeName::from(name), Mutex::default(), Notify::new());
        Arc::new(Self { name, resend, shared, weather, witness, state, news })
    }

    /// For as long as what is returned lives.
    fn enter(self: &Arc<Self>, process: &Arc<Process>) -> Voice {
        let mut state = lock(&self.state);
        state.voices.retain(|voice| !voice.is_dead());
        for other in state.voices.iter().filter(|_| self.shared) {
            self.weather.violation(format!("{}: {} and {} speak at once", self.name, other.number, process.number));
        }
        if self.shared && state.last_voice != process.number && state.last_voice > 0 {
            self.weather.met(Strike::BridgeMoved);
        }
        state.last_voice = process.number;
        state.voices.push(process.clone());
        self.weather.say(&format!("{}: {} is there", self.name, process.number));
        Voice { network: self.clone(), process: process.clone() }
    }

    /// Somebody does something.
    pub(crate) fn happens(&self, event: Inbound) {
        self.weather.say(&format!("{}: {} in {}", self.name, event.event, event.thread));
        lock(&self.state).events.push(event);
        self.news.notify_waiters();
    }
    pub(crate) fn leaves(&self, thread: &ThreadId) {
        lock(&self.state).gone.insert(thread.clone());
    }
    pub(crate) fn is_gone(&self, thread: &ThreadId) -> bool {
        lock(&self.state).gone.contains(thread)
    }
    pub(crate) fn events(&self) -> Vec<Inbound> {
        lock(&self.state).events.clone()
    }
    pub(crate) fn reached(&self) -> Vec<Reached> {
        lock(&self.state).reached.clone()
    }
    /// Whether everything that was said was taken in.
    pub(crate) fn is_heard(&self) -> bool {
        let state = lock(&self.state);
        state.taken == state.events.len()
    }

    fn connect(&self) -> u64 {
        let mut state = lock(&self.state);
        state.connection += 1;
        self.news.notify_waiters();
        state.connection
    }
    fn speaks(&self, connection: u64) -> bool {
        lock(&self.state).connection == connection
    }

    /// It reaches the person. Here its effect happens.
    fn reach(&self, out: &Outbound) -> EventId {
        let mut state = lock(&self.state);
        if let (Resend::Harmless, Some(event)) = (self.resend, state.by_key.get(&out.key)) {
            return event.clone();
        }
        self.witness.effect(&out.key);
        let here = format!("{}/{}", self.name, out.thread);
        for text in texts(&out.part) {
            if text.contains(canary::SECRET) || canary::meant_for(text).is_none_or(|thread| thread != here) {
                self.weather.violation(format!("{here} was shown {text:?} ({})", out.key));
            }
        }
        let event = EventId::from(format!("m{}", state.reached.len()));
        state.by_key.insert(out.key.clone(), event.clone());
        state.reached.push(Reached { key: out.key.clone(), thread: out.thread.clone() });
        self.weather.say(&format!("{}: {} reaches {}", self.name, out.key, out.thread));
        event
    }

    fn ending(&self, out: &Outbound) -> Ending {
        let strikes = |strike| self.weather.strikes(strike);
        if self.is_gone(&out.thread) || strikes(Strike::SendRefused) {
            return Ending::Refused;
        }
        let endings = [
            (Strike::SendRetry, Ending::Retry { after: None }),
            (Strike::SendRetryAfter, Ending::Retry { after: Some(Duration::from_secs(3)) }),
            (Strike::SendDown, Ending::Down),
            (Strike::UnknownDone, Ending::Unknown { done: true }),
            (Strike::UnknownNotDone, Ending::Unknown { done: false }),
            (Strike::HangDone, Ending::Hang { done: true }),
            (Strike::HangNotDone, Ending::Hang { done: false }),
            (Strike::PanicDone, Ending::Panic { done: true }),
            (Strike::PanicNotDone, Ending::Panic { done: false }),
        ];
        endings.into_iter().find(|(strike, _)| strikes(*strike)).map_or(Ending::Good, |(_, ending)| ending)
    }
}

fn texts(part: &Part) -> Vec<&str> {
    match part {
        Part::Text { text, .. } | Part::Letter { text, .. } => vec![text],
        // What is taken back shows nothing.
        Part::Attachment(_) | Part::Withdraw { .. } | _ => Vec::new(),
    }
}

/// A process that is connected.
struct Voice {
    network: Arc<Network>,
    process: Arc<Process>,
}

impl Drop for Voice {
    fn drop(&mut self) {
        lock(&self.network.state).voices.retain(|voice| !Arc::ptr_eq(voice, &self.process));
    }
}

/// One process's bridge to a network.
#[derive(Debug)]
pub(crate) struct Played {
    network: Arc<Network>,
    process: Arc<Process>,
    /// 0 while there is none.
    connection: AtomicU64,
}

impl Played {
    pub(crate) fn new(network: Arc<Network>, process: Arc<Process>) -> Arc<Self> {
        Arc::new(Self { network, process, connection: AtomicU64::new(0) })
    }

    fn speaks(&self) -> bool {
        let connection = self.connection.load(Ordering::Relaxed);
        connection > 0 && self.network.speaks(connection) && !self.process.is_dead()
    }

    /// Reports from where the cursor stands, in the network's order or out of it, some of it again. Returns how far.
    async fn report(&self, host: &Host, from: usize) -> Result<usize, Fault> {
        let weather = &self.network.weather;
        let mut batch: Vec<Inbound> = {
            let state = lock(&self.network.state);
            let until = state.events.len().min(from + 1 + weather.below(BATCH));
            state.events[from..until].to_vec()
        };
        let until = from + batch.len();
        if from > 0 && weather.strikes(Strike::EventRepeated) {
            batch.push(lock(&self.network.state).events[weather.below(from)].clone());
        }
        if batch.len() > 1 && weather.strikes(Strike::EventsReordered) {
            weather.shuffle(&mut batch);
        }
        self.process.touch(Strike::CrashInRun).await;
        if !self.speaks() {
            return Ok(from);
        }
        let kept = host.accept(batch, vec![Cursor::set("taken", until.to_string())]).await;
        self.process.touch(Strike::CrashInRun).await;
        if kept.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(from);
        }
        let mut state = lock(&self.network.state);
        state.taken = state.taken.max(until);
        Ok(until)
    }

    async fn talk(&self, host: &Host, stop: &CancellationToken) -> Result<(), Fault> {
        let weather = &self.network.weather;
        let cursors = host.cursors("taken").await.map_err(|error| Fault::retry(error.0))?;
        let taken = cursors.first().and_then(|cursor| cursor.value.as_ref());
        let mut from: usize = taken.and_then(|value| value.parse().ok()).unwrap_or(0);
        {
            // What was kept without our hearing of it is behind the cursor.
            let mut state = lock(&self.network.state);
            state.taken = state.taken.max(from);
        }
        host.state(BridgeState::Up);
        while !stop.is_cancelled() {
            let news = self.network.news.notified();
            if !self.speaks() {
                // Another process speaks now; it is not fought, and looked for again in a while.
                host.state(BridgeState::Down { reason: "another connection took over".into() });
                stop.run_until_cancelled(tokio::time::sleep(CONFLICT)).await;
                return Ok(());
            }
            if weather.strikes(Strike::Disconnected) {
                return Ok(());
            }
            if weather.strikes(Strike::RunEnded) {
                return Err(Fault::retry("it cannot go on by itself"));
            }
            if weather.strikes(Strike::RunPanicked) {
                std::panic::resume_unwind(Box::new(SCRIPTED));
            }
            let all = lock(&self.network.state).events.len();
            if from < all {
                from = self.report(host, from).await?;
            } else if stop.run_until_cancelled(news).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Bridge for Played {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::cautious();
        capabilities.resend = self.network.resend;
        capabilities.attempt_limit = ATTEMPT_LIMIT;
        capabilities
    }

    /// One part for each line, so that messages have several.
    fn parts(&self, _thread: &ThreadId, reply: Reply) -> Vec<Part> {
        let text = |line: &str| Part::Text { text: line.to_owned(), reply_to: None };
        reply.text.lines().map(text).collect()
    }

    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        while !stop.is_cancelled() {
            self.process.touch(Strike::CrashInRun).await;
            let _voice = self.network.enter(&self.process);
            self.connection.store(self.network.connect(), Ordering::Relaxed);
            self.talk(&host, &stop).await?;
            if self.speaks() {
                self.connection.store(0, Ordering::Relaxed);
            }
            host.state(BridgeState::Connecting);
            stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(700))).await;
        }
        Ok(())
    }

    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        let network = &self.network;
        self.process.touch(Strike::CrashInSend).await;
        if !self.speaks() {
            return Err(Fault::down("no connection"));
        }
        let ending = network.ending(out);
        if ending != Ending::Good {
            network.weather.say(&format!("{}: {} will end {ending:?}", network.name, out.key));
        }
        tokio::time::sleep(network.weather.between(1, 25)).await;
        self.process.touch(Strike::CrashInSend).await;
        // A line that was cut meanwhile carries nothing more.
        if !self.speaks() {
            return Err(Fault::down("the connection ended before anything was sent"));
        }
        let sent = match ending {
            Ending::Good
            | Ending::Unknown { done: true }
            | Ending::Hang { done: true }
            | Ending::Panic { done: true } => Some(network.reach(out)),
            Ending::Retry { .. }
            | Ending::Refused
            | Ending::Down
            | Ending::Unknown { done: false }
            | Ending::Hang { done: false }
            | Ending::Panic { done: false } => None,
        };
        tokio::time::sleep(network.weather.between(0, 25)).await;
        self.process.touch(Strike::CrashInSend).await;
        match ending {
            Ending::Good => Ok(Sent { event: sent, remark: None }),
            Ending::Retry { after: None } => Err(Fault::retry("the peer is away")),
            Ending::Retry { after: Some(after) } => Err(Fault::retry_after(after, "not so fast")),
            Ending::Refused => Err(Fault::refused("nobody has this name")),
            Ending::Down => Err(Fault::down("the server is away")),
            Ending::Unknown { .. } => Err(Fault::unknown("the connection fell after the last byte")),
            Ending::Hang { .. } => std::future::pending().await,
            Ending::Panic { .. } => std::panic::resume_unwind(Box::new(SCRIPTED)),
        }
    }

    async fn probe(&self, out: &Outbound) -> Result<Option<Sent>, Fault> {
        let network = &self.network;
        self.process.touch(Strike::CrashInSend).await;
        tokio::time::sleep(network.weather.between(1, 20)).await;
        if !self.speaks() {
            return Err(Fault::down("no connection"));
        }
        if network.resend != Resend::Askable {
            return Err(Fault::unknown("this network keeps no history"));
        }
        if network.weather.strikes(Strike::ProbeUnknown) {
            return Err(Fault::unknown("no answer"));
        }
        if network.weather.strikes(Strike::ProbeRetry) {
            return Err(Fault::retry("ask later"));
        }
        let found = lock(&network.state).by_key.get(&out.key).cloned();
        self.process.touch(Strike::CrashInSend).await;
        Ok(found.map(|event| Sent { event: Some(event), remark: None }))
    }

    fn landed(&self, event: &EventId, landing: Landing) {
        lock(&self.network.state).landed.insert(event.clone(), landing);
    }
}
