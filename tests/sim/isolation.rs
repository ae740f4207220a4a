//! Nothing leaves that is not meant to, and nothing reaches another person: a model of gate, intake and lanes under
//! random interleavings of what peers write, agents write and the inbox tells, with nick changes, merges, reconnects and
//! retries.
//!
//! `DESKBRIDGE_SIM_OPERATIONS=n` plays so many.

mod callback;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bridge_api::{BridgeName, Cursor, Inbound, Message, Part, Peer, Report, Speaker, kit::Idle};
use deskbridge::{
    chatwoot::{AccountId, InboxId, callback::parse},
    clock::Clock,
    intake::{Door, Horizon, Intake, Late, Route, Routes, WhenLate},
    lanes::{Lanes, Taken},
    model::{Envelope, Feed, InboxName, Order, SinkName},
    pump,
    store::{Begin, Lease, MemoryStore, Settle, Settled, Store, Turn},
    telemetry::Figures,
};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::callback::{Said, Sort};
use crate::canary;

const OPERATIONS: u64 = 100_000;
const BRIDGES: [&str; 3] = ["libera", "synapse", "mail"];
const PEERS: usize = 200;
/// What the store remembers: as little as still covers every repeat.
const MEMORY_MILLIS: i64 = 20_000;
/// Operations between two times of forgetting, and after a message in which it can still be told of.
const FORGET_EVERY: u64 = 512;
const RECENT: usize = 64;
/// Callbacks that overtake each other.
const UNDER_WAY: usize = 32;

struct Model {
    rng: fastrand::Rng,
    now: i64,
    store: Arc<MemoryStore>,
    intake: Intake,
    door: Door,
    feed: mpsc::Receiver<Feed>,
    lanes: Lanes,
    lease: Lease,
    /// Callbacks on their way, in no order.
    under_way: Vec<Said>,
    /// What was said lately, and can be said again.
    said: VecDeque<Said>,
    heard: VecDeque<(BridgeName, Inbound)>,
    /// Whose nick each peer bears now.
    nicks: Vec<usize>,
    /// Where each of an agent's public messages has to arrive, by message id, and how often it did.
    meant: HashMap<i64, (String, u32)>,
    message: i64,
    event: usize,
    forbidden: u64,
    arrived: u64,
    posted: u64,
}

/// Every future here is ready at once: the store is in memory, and the feed is drained after each operation.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("nothing waits in the model")
}

impl Model {
    fn new(seed: u64) -> Self {
        let store = Arc::new(MemoryStore::default());
        let (tell, feed) = pump::feed();
        let inbox = InboxName::new("support");
        let mut lanes = Lanes::default();
        lanes.set_limit(&SinkName::inbox(&inbox), 16);
        let routes = Arc::new(Routes::default());
        let figures = Figures::new(BRIDGES.map(|bridge| (bridge, "support")), ["support"], None);
        for bridge in BRIDGES {
            let name = BridgeName::from(bridge);
            lanes.set_limit(&SinkName::bridge(&name), 16);
            let figures = figures.bridge(bridge).unwrap();
            let route = Route { inbox: inbox.clone(), bridge: Arc::new(Idle), typing: mpsc::channel(1).0, figures };
            routes.put(name, Arc::new(route));
        }
        let clock = Clock::from_millis(callback::BEGIN_MILLIS);
        let horizon = Horizon { born_millis: 0, memory_millis: i64::MAX };
        let intake = Intake::new(store.clone(), tell, clock, TaskTracker::new(), (routes, Arc::default()), horizon);
        let (account_id, inbox_id) = (AccountId(callback::ACCOUNT), InboxId(callback::INBOX));
        let late = Late { after_millis: 24 * 3600 * 1000, then: WhenLate::Hold };
        let door = Door { inbox, account_id, inbox_id, send_templates: false, grace_millis: 0, late };
        let lease = at_once(store.lease("model", 0)).unwrap();
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now: callback::BEGIN_MILLIS,
            store,
            intake,
            door,
            feed,
            lanes,
            lease,
            under_way: Vec::new(),
            said: VecDeque::new(),
            heard: VecDeque::new(),
            nicks: (0..PEERS).collect(),
            meant: HashMap::new(),
            message: 9_000,
            event: 0,
            forbidden: 0,
            arrived: 0,
            posted: 0,
        }
    }

    /// One operation of one person, or of the network between.
    fn step(&mut self) {
        self.now += 10;
        match self.rng.u32(..100) {
            0..=14 => self.peer_writes(),
            15..=19 => self.two_swap_nicks(),
            20..=24 => self.network_reports_again(),
            25..=49 => self.say(Sort::Public),
            50..=69 => self.say_what_must_stay(),
            70..=79 => self.something_changes(),
            _ => {}
        }
        while self.under_way.len() > UNDER_WAY || (!self.under_way.is_empty() && self.rng.bool()) {
            let at = self.rng.usize(..self.under_way.len());
            let said = self.under_way.swap_remove(at);
            self.tell(&said);
        }
        self.work();
    }

    fn place(&mut self) -> (&'static str, usize) {
        (BRIDGES[self.rng.usize(..BRIDGES.len())], self.rng.usize(..PEERS))
    }

    fn peer_writes(&mut self) {
        let (bridge, peer) = self.place();
        self.event += 1;
        let message = Message {
            // The name says nothing of who it is.
            peer: Peer {
                id: format!("a:{peer}").into(),
                name: format!("nick{}", self.nicks[peer]),
                facts: std::collections::BTreeMap::new(),
                email: None,
                picture: None,
            },
            speaker: Speaker::Peer,
            text: canary::from_peer(&format!("{bridge}/t{peer}"), self.event),
            attachments: Vec::new(),
            reply_to: None,
            quiet: false,
            facts: std::collections::BTreeMap::new(),
            thread_facts: std::collections::BTreeMap::new(),
        };
        let event = Inbound {
            event: format!("e{}", self.event).into(),
            at_millis: self.now,
            thread: format!("t{peer}").into(),
            report: Report::Message(message),
        };
        self.hear(&bridge.into(), vec![event]);
    }

    fn two_swap_nicks(&mut self) {
        let (one, other) = (self.rng.usize(..PEERS), self.rng.usize(..PEERS));
        self.nicks.swap(one, other);
    }

    fn network_reports_again(&mut self) {
        let (bridge, _) = self.place();
        let bridge = BridgeName::from(bridge);
        let again = self.heard.iter().filter(|(of, _)| *of == bridge).map(|(_, event)| event.clone());
        let mut again: Vec<_> = again.collect();
        self.rng.shuffle(&mut again);
        again.truncate(5);
        self.hear(&bridge, again);
    }

    fn hear(&mut self, bridge: &BridgeName, events: Vec<Inbound>) {
        for event in &events {
            self.heard.push_back((bridge.clone(), event.clone()));
        }
        while self.heard.len() > RECENT {
            self.heard.pop_front();
        }
        let cursors = vec![Cursor::set("taken", self.event.to_string())];
        at_once(self.intake.inbound(bridge, events, cursors)).unwrap();
    }

    /// The inbox has something new, and says so once or several times.
    fn say(&mut self, sort: Sort) {
        let (bridge, peer) = self.place();
        self.message += 1;
        let link = format!("{bridge}/t{peer}");
        // Each thread has its conversation, whoever its contact is by now.
        let at = BRIDGES.iter().position(|name| *name == bridge).unwrap_or_default();
        let conversation = (at * PEERS + peer) as i64 + 1;
        let said = Said::new(sort, self.message, &link, (conversation, peer as i64), self.now);
        if sort == Sort::Public {
            self.meant.insert(self.message, (link, 0));
        } else {
            self.forbidden += 1;
        }
        self.send(&said);
        self.said.push_back(said);
        if self.said.len() > RECENT {
            self.said.pop_front();
        }
    }

    fn say_what_must_stay(&mut self) {
        let sort = Sort::FORBIDDEN[self.rng.usize(..Sort::FORBIDDEN.len())];
        self.say(sort);
    }

    fn send(&mut self, said: &Said) {
        for _ in 0..=self.rng.u32(..3) {
            self.under_way.push(said.clone());
        }
    }

    /// Retry, a translation, a merge of the contact, a sweep: the same message is told of in another way.
    fn something_changes(&mut self) {
        if self.said.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.said.len());
        let mut again = self.said[at].clone();
        match self.rng.u32(..4) {
            0 => again.event = "message_updated",
            1 => (again.event, again.failed) = ("message_updated", true),
            2 => again.contact = self.rng.i64(..PEERS as i64),
            _ => canary::SECRET.clone_into(&mut again.shown),
        }
        self.said[at].contact = again.contact;
        self.send(&again);
    }

    /// Through the bytes, as they come.
    fn tell(&mut self, said: &Said) {
        let raw = said.raw();
        let callback = parse(raw.as_bytes()).expect("an object");
        at_once(self.intake.callback(&self.door, &callback)).unwrap();
    }

    /// What the pump does, one round of it.
    fn work(&mut self) {
        while let Ok(Feed::Waiting(waiting)) = self.feed.try_recv() {
            for waiting in &waiting {
                self.lanes.push(waiting);
            }
        }
        let taken = self.lanes.take(i64::MAX - 1);
        if taken.is_empty() {
            return;
        }
        let begin = taken.iter().map(|taken| Begin { id: taken.id, mark: 0 }).collect();
        let turn = Turn { settle: Vec::new(), begin };
        let turned = at_once(self.store.turn(&self.lease, turn, self.now)).unwrap();
        let mut settle = Vec::new();
        for (taken, envelope) in taken.into_iter().zip(turned.begun) {
            settle.push(self.attempt(taken, &envelope));
        }
        let turn = Turn { settle, begin: Vec::new() };
        at_once(self.store.turn(&self.lease, turn, self.now)).unwrap();
    }

    fn attempt(&mut self, taken: Taken, envelope: &Envelope) -> Settle {
        self.judge(envelope);
        let outcome = match self.rng.u32(..10) {
            0 => {
                self.lanes.again(taken, self.now);
                Settled::Again { due_millis: self.now, spent: true, reason: "later".into() }
            }
            1 => {
                self.lanes.finish(taken);
                let reason = "nobody of this name".into();
                Settled::Dead { at_millis: self.now, reason, also: Vec::new(), follow: Vec::new() }
            }
            _ => {
                self.lanes.finish(taken);
                self.done(envelope);
                Settled::Done { result: None, follow: Vec::new() }
            }
        };
        Settle { id: envelope.id, outcome }
    }

    /// Whatever comes here would reach somebody.
    fn judge(&mut self, envelope: &Envelope) {
        match &envelope.order {
            Order::Send { bridge, thread, part: Part::Text { text, .. }, message, .. } => {
                let here = format!("{bridge}/{thread}");
                assert!(!text.contains(canary::SECRET), "{text:?} was about to reach {here}");
                assert_eq!(canary::meant_for(text), Some(here.as_str()), "{}", envelope.key);
                let meant = self.meant.get(&message.message);
                assert_eq!(meant.map(|(link, _)| link.as_str()), Some(here.as_str()), "{}", envelope.key);
            }
            Order::Post { bridge, thread, message } => {
                let here = format!("{bridge}/{thread}");
                assert_eq!(canary::written_in(&message.text), Some(here.as_str()), "{}", envelope.key);
            }
            Order::Status { reason, .. } => assert!(reason.is_some(), "only messages without an address are failed"),
            Order::Send { .. } | Order::Note { .. } | Order::Withdrawn { .. } | Order::Resolved { .. } => {
                panic!("nobody ordered {:?}", envelope.order)
            }
        }
    }

    fn done(&mut self, envelope: &Envelope) {
        match &envelope.order {
            Order::Send { message, thread, .. } => {
                let (_, times) = self.meant.get_mut(&message.message).expect("it was judged");
                *times += 1;
                assert_eq!(*times, 1, "{} reached {thread} again", envelope.key);
                self.arrived += 1;
            }
            Order::Post { .. }
            | Order::Status { .. }
            | Order::Note { .. }
            | Order::Withdrawn { .. }
            | Order::Resolved { .. } => self.posted += 1,
        }
    }

    fn forget(&mut self) {
        at_once(self.store.prune(self.now - MEMORY_MILLIS)).unwrap();
        let oldest = self.said.front().map_or(self.message, |said| said.message);
        self.meant.retain(|message, _| *message + 4096 > oldest);
    }
}

#[test]
fn nothing_private_leaves_and_nothing_reaches_another_person() {
    let operations = crate::number("DESKBRIDGE_SIM_OPERATIONS").unwrap_or(OPERATIONS);
    let begun = Instant::now();
    let mut model = Model::new(1);
    for operation in 0..operations {
        model.step();
        if operation % FORGET_EVERY == 0 {
            model.forget();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let Model { forbidden, arrived, posted, .. } = model;
    println!("{operations} operations in {seconds:.1} s: {forbidden} had to stay, {arrived} left, {posted} came in");
    let share = operations / 20;
    assert!(forbidden > share && arrived > share && posted > share, "too little happened to prove anything");
}

#[test]
fn a_gate_that_lets_a_note_pass_is_found_out() {
    let told = std::panic::catch_unwind(|| {
        let mut model = Model::new(1);
        for _ in 0..2_000 {
            model.step();
            // As if the gate did not look at `private`.
            for said in model.under_way.iter_mut().filter(|said| said.sort == Sort::Note) {
                said.private = serde_json::Value::Bool(false);
            }
        }
    });
    let told = told.expect_err("a note left and nobody saw it");
    let told = told.downcast_ref::<String>().expect("a panic with words");
    assert!(told.contains(canary::SECRET), "something else was found: {told}");
}
