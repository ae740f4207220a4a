//! The bridges of a gateway: each with its line in the books of the others and with tasks of its own, so that one can be
//! put in, replaced or taken out while the others go on.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bridge_api::{BridgeName, BridgeState, Host, Placement};
use futures_util::future::{join, join_all};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    BridgePlan, LEAVE_LIMIT,
    absent::{Absent, GONE, PAUSED},
    bells::Bells,
    core::Task,
    desk::Desk,
    host::{BridgeHost, Work},
    network,
    typing::{self, AgentsTyping, News},
};
use crate::{
    clock::Clock,
    intake::{Gates, Intake, Route, Routes},
    model::{InboxName, Partition, SinkName},
    sinks::{Bridges, NetworkSink, Paces, Sinks},
    store::Store,
    telemetry::{Figures, StateBoard},
    tenure::{Held, Tenant, Tenure, Term},
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
    tenure: Tenure,
    bells: Arc<Bells>,
    /// As the settings have them now, wherever they run.
    plans: Mutex<HashMap<BridgeName, BridgePlan>>,
    taken: Mutex<HashMap<BridgeName, Seat>>,
    /// Of those that listen in every replica.
    listeners: Mutex<HashMap<BridgeName, Task>>,
    /// Whoever changes something waits for whoever does so already.
    pub(super) turn: tokio::sync::Mutex<()>,
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

/// A bridge that runs here.
struct Seat {
    /// `None` while it is paused.
    task: Option<Task>,
    /// Of its home, where it may be another's; else 0.
    term: Term,
}

impl Seats {
    pub(super) fn new(
        books: Books,
        (intake, board): (&Arc<Intake>, &Arc<StateBoard>),
        (data_dir, counters): (&Path, HashMap<InboxName, Counter>),
        (tenure, plans): (&Tenure, &[BridgePlan]),
    ) -> Self {
        let (intake, board, data_dir, tenure) = (intake.clone(), board.clone(), data_dir.into(), tenure.clone());
        let plans = Mutex::new(plans.iter().map(|plan| (plan.name.clone(), plan.clone())).collect());
        let bells = Arc::new(Bells::new(books.store.clone()));
        let (taken, listeners, turn) = Default::default();
        Self { books, intake, board, data_dir, counters, tenure, bells, plans, taken, listeners, turn }
    }

    /// Starts a bridge that was [entered](Books::enter), if it is to run here.
    pub(super) fn open(&self, plan: BridgePlan, typing: AgentsTyping) {
        let host = Host::new(plan.name.clone(), Arc::new(self.host_of(&plan, Work::Run)));
        plan.bridge.meet(&host);
        self.listen(&plan);
        match self.term(&plan, &self.tenure.held()) {
            Some(term) => self.seat(plan, typing, term),
            None => self.board.bridge(plan.name.as_str(), BridgeState::Elsewhere),
        }
    }

    /// The term in which it runs here; `None` while it is another's to run.
    fn term(&self, plan: &BridgePlan, held: &Held) -> Option<Term> {
        if !self.tenure.is_shared() {
            return Some(0);
        }
        Some(held.term_of_work(home_of(&plan.name))).filter(|term| *term > 0)
    }

    /// Where it does so in every replica, unless it does already.
    fn listen(&self, plan: &BridgePlan) {
        if plan.bridge.capabilities().placement == Placement::OneReplica {
            return;
        }
        lock(&self.listeners).entry(plan.name.clone()).or_insert_with(|| {
            let (task, host) = (Task::default(), self.host_of(plan, Work::Listen));
            task.spawn(|stop| network::keep_running(plan.bridge.clone(), host, stop));
            task
        });
    }

    fn host_of(&self, plan: &BridgePlan, work: Work) -> BridgeHost {
        let counter = self.counters.get(&plan.inbox).cloned();
        let Counter { desk, typing } = counter.expect("each bridge's inbox was looked for before");
        BridgeHost {
            bridge: plan.name.clone(),
            work,
            bell: self.bells.of(&plan.name),
            intake: self.intake.clone(),
            board: self.board.clone(),
            desk,
            typing,
            data_dir: self.data_dir.clone(),
        }
    }

    fn seat(&self, plan: BridgePlan, typing: AgentsTyping, term: Term) {
        let (host, right) = (self.host_of(&plan, Work::Run), (home_of(&plan.name), term));
        let (task, clock, shown) = (Task::default(), self.books.clock, plan.bridge.clone());
        let with_right = |stop| {
            let showing = typing::to_network(shown, typing, clock, stop);
            guarded(self.tenure.clone(), right, showing)
        };
        task.spawn(with_right);
        // Who is not to speak any more is cut off in the middle of a word, rather than be a second voice.
        task.spawn(|stop| guarded(self.tenure.clone(), right, network::keep_running(plan.bridge, host, stop)));
        lock(&self.taken).insert(plan.name, Seat { task: Some(task), term });
    }

    pub(super) fn bells(&self) -> Arc<Bells> {
        self.bells.clone()
    }

    /// Goes by the partitions that come and go, until `stop`.
    pub(super) async fn arrange_all(self: Arc<Self>, stop: CancellationToken) {
        let mut tenure = self.tenure.clone();
        let work = async {
            loop {
                self.arrange().await;
                tenure.changed().await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    async fn arrange(&self) {
        let _turn = self.turn.lock().await;
        let held = self.tenure.held();
        let mut plans: Vec<_> = lock(&self.plans).values().cloned().collect();
        // Always in one order, so that a simulation can be played again.
        plans.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let seated = |plan: &BridgePlan| lock(&self.taken).get(&plan.name).map(|seat| seat.term);
        let goes = |plan: &&BridgePlan| seated(plan).is_some_and(|term| self.term(plan, &held) != Some(term));
        let going: Vec<_> = plans.iter().filter(goes).collect();
        join_all(going.iter().map(|plan| self.leave(&plan.name, LEAVE_LIMIT))).await;
        for plan in going {
            tracing::info!(bridge = plan.name.as_str(), "the bridge is another replica's to run");
            self.board.bridge(plan.name.as_str(), BridgeState::Elsewhere);
        }
        self.tenure.vacated(Tenant::Seats, held.plan, held.leaving);
        for plan in plans {
            // A pause that has ended here had closed it.
            if !self.is_paused(&plan.name) {
                self.listen(&plan);
            }
            if let (None, Some(term)) = (seated(&plan), self.term(&plan, &held)) {
                tracing::info!(bridge = plan.name.as_str(), "the bridge is ours to run");
                let typing = self.books.enter(&plan);
                self.intake.sink_changed(&plan.name).await;
                self.seat(plan, typing, term);
            }
        }
    }

    /// Takes the place of the bridge of this name, or a new one. What waits for it goes on with the new one. One that is
    /// paused stays so.
    pub(super) async fn replace(&self, plan: BridgePlan, limit: Duration) {
        if let Some(term) = self.term_of_paused(&plan.name) {
            lock(&self.plans).insert(plan.name.clone(), plan.clone());
            drop(self.books.enter(&plan));
            self.rest(plan, term).await;
            return;
        }
        self.leave_all(&plan.name, limit).await;
        let typing = self.books.enter(&plan);
        self.intake.sink_changed(&plan.name).await;
        lock(&self.plans).insert(plan.name.clone(), plan.clone());
        self.open(plan, typing);
    }

    /// Leaves its network until it is told to come back, or runs elsewhere. What waits for it is kept.
    pub(super) async fn pause(&self, plan: BridgePlan, limit: Duration) {
        let Some(term) = lock(&self.taken).get(&plan.name).map(|seat| seat.term) else { return };
        self.leave_all(&plan.name, limit).await;
        self.rest(plan, term).await;
    }

    async fn rest(&self, plan: BridgePlan, term: Term) {
        self.books.send_by(&BridgePlan { bridge: Arc::new(Absent(PAUSED)), ..plan.clone() });
        self.intake.sink_changed(&plan.name).await;
        self.board.bridge(plan.name.as_str(), BridgeState::Down { reason: PAUSED.to_owned() });
        lock(&self.taken).insert(plan.name, Seat { task: None, term });
    }

    pub(super) async fn resume(&self, plan: BridgePlan) {
        let typing = self.books.enter(&plan);
        self.intake.sink_changed(&plan.name).await;
        self.open(plan, typing);
    }

    /// As the settings have it; `None` where they do not name it.
    pub(super) fn plan_of(&self, name: &BridgeName) -> Option<BridgePlan> {
        lock(&self.plans).get(name).cloned()
    }

    /// Whether another replica runs it.
    pub(super) fn is_elsewhere(&self, name: &BridgeName) -> bool {
        !lock(&self.taken).contains_key(name)
    }

    pub(super) fn is_paused(&self, name: &BridgeName) -> bool {
        self.term_of_paused(name).is_some()
    }

    fn term_of_paused(&self, name: &BridgeName) -> Option<Term> {
        lock(&self.taken).get(name).filter(|seat| seat.task.is_none()).map(|seat| seat.term)
    }

    /// Other limits and masks for a bridge that goes on.
    pub(super) fn go_by(&self, plan: &BridgePlan) {
        self.books.go_by(plan);
        if let Some(kept) = lock(&self.plans).get_mut(&plan.name) {
            // It stays the bridge that it is.
            *kept = BridgePlan { bridge: kept.bridge.clone(), ..plan.clone() };
        }
    }

    /// The settings name it no longer: what waits for it is kept, and what is still written to its people too.
    pub(super) async fn empty(&self, plan: &BridgePlan, limit: Duration) {
        lock(&self.plans).remove(&plan.name);
        self.leave_all(&plan.name, limit).await;
        self.books.send_by(&BridgePlan { bridge: Arc::new(Absent(GONE)), ..plan.clone() });
        self.intake.sink_changed(&plan.name).await;
        self.board.bridge(plan.name.as_str(), BridgeState::Down { reason: GONE.to_owned() });
    }

    /// All leave their networks politely. Listeners take nobody in any more; what they are at may take longer, and is
    /// [waited for](Self::end_listeners) by itself.
    pub(super) async fn end(&self) {
        let _turn = self.turn.lock().await;
        lock(&self.plans).clear();
        lock(&self.listeners).values().for_each(Task::ask_to_end);
        let mut all: Vec<_> = lock(&self.taken).drain().filter_map(|(name, seat)| Some((name, seat.task?))).collect();
        // Always in one order, so that a simulation can be played again.
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        join_all(all.iter().map(|(_, task)| task.end())).await;
    }

    pub(super) async fn end_listeners(&self) {
        let all: Vec<_> = lock(&self.listeners).drain().map(|(_, task)| task).collect();
        join_all(all.iter().map(Task::end)).await;
    }

    /// Listens no more, either.
    async fn leave_all(&self, name: &BridgeName, limit: Duration) {
        let listener = lock(&self.listeners).remove(name);
        let closing = async {
            if let Some(listener) = listener {
                end(name, &listener, limit).await;
            }
        };
        join(closing, self.leave(name, limit)).await;
    }

    async fn leave(&self, name: &BridgeName, limit: Duration) {
        let Some(task) = lock(&self.taken).remove(name).and_then(|seat| seat.task) else { return };
        end(name, &task, limit).await;
    }
}

/// What went on beside the next one would be a second voice.
async fn end(bridge: &BridgeName, task: &Task, limit: Duration) {
    if !task.end_within(limit).await {
        tracing::warn!(bridge = bridge.as_str(), "a bridge did not leave its network in time; it was cut off");
    }
}

/// Where a bridge belongs that may run only once.
fn home_of(bridge: &BridgeName) -> Partition {
    SinkName::bridge(bridge).home()
}

async fn guarded(tenure: Tenure, (home, term): (Partition, Term), work: impl Future<Output = ()>) {
    if term == 0 { work.await } else { tenure.guard((home, term), work).await.unwrap_or_default() }
}

/// A thread that panicked left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
