//! The bridges of a gateway: each with its line in the books of the others and with tasks of its own, so that one can be
//! put in, replaced or taken out while the others go on.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bridge_api::{BridgeName, BridgeState};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{
    BridgePlan,
    absent::{Absent, GONE, PAUSED},
    core::Task,
    desk::Desk,
    host::BridgeHost,
    network,
    typing::{self, AgentsTyping, News},
};
use crate::{
    clock::Clock,
    intake::{Gates, Intake, Route, Routes},
    model::{InboxName, SinkName},
    sinks::{Bridges, NetworkSink, Paces, Sinks},
    store::Store,
    telemetry::{Figures, StateBoard},
};

/// Where others find a bridge: who routes to it, who opens its files, who sends by it, and how fast it may fill an inbox.
#[derive(Clone, Default)]
pub(super) struct Rosters {
    pub(super) routes: Arc<Routes>,
    pub(super) bridges: Arc<Bridges>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) paces: Arc<Paces>,
    pub(super) gates: Arc<Gates>,
}

/// Enters bridges there.
pub(super) struct Books {
    pub(super) rosters: Rosters,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) figures: Arc<Figures>,
}

/// What an inbox has for its bridges.
#[derive(Clone)]
pub(super) struct Counter {
    pub(super) desk: Arc<Desk>,
    pub(super) typing: mpsc::Sender<News>,
}

pub(super) struct Seats {
    pub(super) books: Books,
    pub(super) intake: Arc<Intake>,
    board: Arc<StateBoard>,
    data_dir: Arc<Path>,
    counters: HashMap<InboxName, Counter>,
    taken: Mutex<HashMap<BridgeName, Seat>>,
    /// Whoever changes something waits for whoever does so already.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// One bridge of the settings.
pub(super) struct Seat {
    plan: BridgePlan,
    /// `None` while it is paused.
    task: Option<Task>,
}

impl Books {
    /// From now on everybody finds this bridge under its name.
    pub(super) fn enter(&self, plan: &BridgePlan) -> AgentsTyping {
        let (tell, told) = typing::queue();
        let figures = self.figures.enter(plan.name.as_str(), plan.inbox.as_str());
        let route = Route { inbox: plan.inbox.clone(), bridge: plan.bridge.clone(), typing: tell, figures };
        self.rosters.routes.put(plan.name.clone(), Arc::new(route));
        self.go_by(plan);
        self.send_by(plan);
        told
    }

    /// How fast people may write over it, and who of them.
    pub(super) fn go_by(&self, plan: &BridgePlan) {
        self.rosters.paces.put(plan.name.clone(), Arc::new(plan.peer_pace));
        self.rosters.gates.set(&plan.name, plan.gate.clone());
    }

    fn send_by(&self, plan: &BridgePlan) {
        let BridgePlan { name, bridge, when_in_doubt, .. } = plan;
        let (known, store, figures) = ((name.clone(), bridge.clone()), self.store.clone(), self.figures.clone());
        let sink = NetworkSink::new(known, store, *when_in_doubt, self.clock, figures);
        self.rosters.sinks.put(SinkName::bridge(name), Arc::new(sink));
        self.rosters.bridges.put(name.clone(), bridge.clone());
    }
}

impl Seats {
    pub(super) fn new(
        books: Books,
        (intake, board): (&Arc<Intake>, &Arc<StateBoard>),
        data_dir: &Path,
        counters: HashMap<InboxName, Counter>,
    ) -> Self {
        let (intake, board, data_dir) = (intake.clone(), board.clone(), data_dir.into());
        let (taken, turn) = Default::default();
        Self { books, intake, board, data_dir, counters, taken, turn }
    }

    /// Starts a bridge that was [entered](Books::enter).
    pub(super) fn seat(&self, plan: BridgePlan, typing: AgentsTyping) {
        let counter = self.counters.get(&plan.inbox).cloned();
        let Counter { desk, typing: tell } = counter.expect("each bridge's inbox was looked for before");
        let host = BridgeHost {
            bridge: plan.name.clone(),
            intake: self.intake.clone(),
            board: self.board.clone(),
            desk,
            typing: tell,
            data_dir: self.data_dir.clone(),
        };
        let (task, clock, shown) = (Task::default(), self.books.clock, plan.bridge.clone());
        task.spawn(|stop| typing::to_network(shown, typing, clock, stop));
        task.spawn(|stop| network::keep_running(plan.bridge.clone(), host, stop));
        lock(&self.taken).insert(plan.name.clone(), Seat { plan, task: Some(task) });
    }

    /// Takes the place of the bridge of this name, or a new one. What waits for it goes on with the new one. One that is
    /// paused stays so.
    pub(super) async fn replace(&self, plan: BridgePlan, limit: Duration) {
        if self.is_paused(&plan.name) {
            drop(self.books.enter(&plan));
            self.rest(plan).await;
            return;
        }
        self.leave(&plan.name, limit).await;
        let typing = self.books.enter(&plan);
        self.intake.sink_changed(&plan.name).await;
        self.seat(plan, typing);
    }

    /// Leaves its network until it is told to come back. What waits for it is kept.
    pub(super) async fn pause(&self, plan: BridgePlan, limit: Duration) {
        self.leave(&plan.name, limit).await;
        self.rest(plan).await;
    }

    async fn rest(&self, plan: BridgePlan) {
        self.books.send_by(&BridgePlan { bridge: Arc::new(Absent(PAUSED)), ..plan.clone() });
        self.intake.sink_changed(&plan.name).await;
        self.board.bridge(plan.name.as_str(), BridgeState::Down { reason: PAUSED.to_owned() });
        lock(&self.taken).insert(plan.name.clone(), Seat { plan, task: None });
    }

    pub(super) async fn resume(&self, plan: BridgePlan) {
        let typing = self.books.enter(&plan);
        self.intake.sink_changed(&plan.name).await;
        self.seat(plan, typing);
    }

    /// As the settings have it; `None` where they do not name it.
    pub(super) fn plan_of(&self, name: &BridgeName) -> Option<BridgePlan> {
        lock(&self.taken).get(name).map(|seat| seat.plan.clone())
    }

    pub(super) fn is_paused(&self, name: &BridgeName) -> bool {
        lock(&self.taken).get(name).is_some_and(|seat| seat.task.is_none())
    }

    /// Other limits and masks for a bridge that goes on.
    pub(super) fn go_by(&self, plan: &BridgePlan) {
        self.books.go_by(plan);
        if let Some(seat) = lock(&self.taken).get_mut(&plan.name) {
            // It stays the bridge that it is.
            let bridge = seat.plan.bridge.clone();
            seat.plan = BridgePlan { bridge, ..plan.clone() };
        }
    }

    /// The settings name it no longer: what waits for it is kept, and what is still written to its people too.
    pub(super) async fn empty(&self, plan: &BridgePlan, limit: Duration) {
        self.leave(&plan.name, limit).await;
        self.books.send_by(&BridgePlan { bridge: Arc::new(Absent(GONE)), ..plan.clone() });
        self.intake.sink_changed(&plan.name).await;
        self.board.bridge(plan.name.as_str(), BridgeState::Down { reason: GONE.to_owned() });
    }

    /// All leave their networks politely.
    pub(super) async fn end(&self) {
        let _turn = self.turn.lock().await;
        let all: Vec<_> = lock(&self.taken).drain().filter_map(|(_, seat)| seat.task).collect();
        join_all(all.iter().map(Task::end)).await;
    }

    async fn leave(&self, name: &BridgeName, limit: Duration) {
        let Some(task) = lock(&self.taken).remove(name).and_then(|seat| seat.task) else { return };
        if tokio::time::timeout(limit, task.end()).await.is_err() {
            tracing::warn!(bridge = name.as_str(), "a bridge did not leave its network in time; it is left behind");
        }
    }
}

/// A thread that panicked left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
