//! A gateway without its sockets: the store's lease, the pump, the bridges, what is done now and then, and the front
//! that answers requests, whoever brings them. Owns every task of these.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bridge_api::{BridgeState, Secret};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BridgePlan, InboxPlan, Plan, SESSIONS_MAX, StartError,
    desk::Desk,
    levers::Hand,
    seats::{Books, Counter, Rosters, Seats},
    typing,
    upkeep::{self, Marked},
};
use crate::{
    chatwoot::Client,
    clock::Clock,
    http::{Admin, Door, Front, Hosts, Proof, Watches},
    intake::{self, Horizon, Intake, Missed},
    model::{InboxName, SinkName},
    pump::{self, Pump},
    sessions::Sessions,
    sinks::{InboxSink, InboxSinkParts},
    store::Store,
    sweep::{self, Sweep, SweepParts},
    telemetry::{Figures, StateBoard},
};

/// All of a gateway but its listener and its control socket. A simulation runs it as it is.
pub struct Core {
    front: Arc<Front>,
    sessions: Vec<Arc<Sessions>>,
    clients: HashMap<InboxName, Arc<Client>>,
    /// Where settings that are read again say by what callbacks are signed.
    secrets: HashMap<InboxName, watch::Sender<Vec<Secret>>>,
    stop_limit: Duration,
    clock: Clock,
    pump: Task,
    seats: Arc<Seats>,
    /// What inboxes are told beside their messages.
    side: Task,
    upkeep: Task,
    /// What was taken and is on its way into the store.
    accepts: TaskTracker,
    failed: mpsc::Receiver<String>,
}

/// Tasks that are stopped together.
#[derive(Default)]
pub(super) struct Task {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// One inbox, with what belongs to it.
pub(super) struct InboxParts {
    client: Arc<Client>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) sink: Arc<InboxSink>,
    desk: Arc<Desk>,
    /// What callbacks may be signed by, where they are signed.
    secrets: Option<watch::Sender<Vec<Secret>>>,
    /// They are the inbox's to tell.
    asks_for_secret: bool,
    door: intake::Door,
    missed: Arc<Missed>,
    sweep_every: Duration,
    sweep_requests_per_minute: u32,
}

impl Core {
    /// Starts everything that needs no socket of ours. `owner` names this process in the lease.
    pub async fn start(
        plan: Plan,
        store: Arc<dyn Store>,
        owner: &str,
        clock: Clock,
        rng: fastrand::Rng,
    ) -> Result<Self, StartError> {
        let figures = Arc::new(figures(&plan, &*store));
        let board = Arc::new(StateBoard::new(clock, figures.clone()));
        let lease = store.lease(owner, clock.now()).await?;
        let born = upkeep::born_millis(&*store, clock.now()).await?;
        let (feed, incoming) = pump::feed();
        let (fail, failed) = mpsc::channel(1);

        let rosters = Rosters::default();
        let mut doors = HashMap::new();
        let mut inboxes = Vec::new();
        for inbox in &plan.inboxes {
            let era = sweep::era(&*store, &inbox.name).await?;
            let count = plan.inboxes.len();
            let (parts, door) = build_inbox(inbox, (count, era), &store, (&board, &rosters), clock)?;
            let place = sweep::Place { inbox: &inbox.name, home: parts.sessions.home() };
            parts.sink.saw(sweep::newest(&*store, place).await?);
            parts.sink.knew(sweep::witnesses(&*store, place).await?);
            rosters.sinks.put(SinkName::inbox(&inbox.name), parts.sink.clone());
            doors.insert(inbox.name.to_string(), door);
            inboxes.push((inbox.name.clone(), parts));
        }
        check_inboxes(&plan)?;
        let books = Books { rosters: rosters.clone(), store: store.clone(), clock, figures: figures.clone() };
        let agents_typing: Vec<_> = plan.bridges.iter().map(|bridge| books.enter(bridge)).collect();
        let accepts = TaskTracker::new();
        let horizon = Horizon { born_millis: born, memory_millis: plan.retention.as_millis() as i64 };
        rosters.gates.recall(&*store, clock.now()).await?;
        let gated = (rosters.routes, rosters.gates);
        let intake = Arc::new(Intake::new(store.clone(), feed, clock, accepts.clone(), gated, horizon));
        let pump = Pump::new(store.clone(), lease, rosters.sinks, incoming, clock, (rng, figures));
        let admin = admin(&plan, clock);
        let (side, watches) = (Task::default(), Watches::default());
        let counters = inboxes.iter().map(|(name, parts)| (name.clone(), counter(parts, &side, clock))).collect();
        let seats = Arc::new(Seats::new(books, (&intake, &board), &plan.data_dir, counters));
        let sessions: Vec<_> = inboxes.iter().map(|(_, parts)| parts.sessions.clone()).collect();
        let levers = Arc::new(Hand::new((&seats, &sessions), &store, &accepts));
        let front = Front { intake: intake.clone(), store, board, clock, doors, admin, levers, watches };
        let front = Arc::new(front);
        let core = Self {
            front,
            sessions,
            clients: inboxes.iter().map(|(name, parts)| (name.clone(), parts.client.clone())).collect(),
            secrets: inboxes.iter().filter_map(|(name, parts)| Some((name.clone(), parts.told_secrets()?))).collect(),
            stop_limit: plan.stop_limit,
            clock,
            pump: Task::default(),
            seats,
            side,
            upkeep: Task::default(),
            accepts,
            failed,
        };
        core.sweep(&inboxes, &intake).await;
        core.run_pump(pump, fail);
        for (bridge, typing) in plan.bridges.into_iter().zip(agents_typing) {
            core.seats.seat(bridge, typing);
        }
        core.keep_up(inboxes, plan.retention);
        Ok(core)
    }

    /// What answers requests, for [`http::public`](crate::http::public) and [`http::control`](crate::http::control).
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    pub fn board(&self) -> &StateBoard {
        &self.front.board
    }

    pub(super) fn seats(&self) -> &Seats {
        &self.seats
    }

    pub(super) fn client(&self, inbox: &InboxName) -> Option<&Arc<Client>> {
        self.clients.get(inbox)
    }

    pub(super) fn secrets(&self, inbox: &InboxName) -> Option<&watch::Sender<Vec<Secret>>> {
        self.secrets.get(inbox)
    }

    /// Sessions in memory.
    pub fn sessions_cached(&self) -> usize {
        self.sessions.iter().map(|sessions| sessions.len()).sum()
    }

    /// Returns when the gateway cannot go on, with the reason.
    pub async fn failed(&mut self) -> String {
        match self.failed.recv().await {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// The soft stop: nothing new is begun, attempts under way may finish, networks are left politely, and
    /// `close_doors` comes last, since Chatwoot never knocks twice.
    pub async fn stop(self, close_doors: impl Future<Output = ()>) {
        self.board().stop();
        if tokio::time::timeout(self.stop_limit, self.pump.end()).await.is_err() {
            tracing::warn!("attempts under way did not finish in time; they are asked about at the next start");
        }
        self.seats.end().await;
        self.side.end().await;
        self.upkeep.end().await;
        close_doors.await;
        self.accepts.close();
        self.accepts.wait().await;
        self.front.store.close().await;
    }

    /// Before the pump: what waits for a network must not overtake a reply that nobody heard of.
    async fn sweep(&self, inboxes: &[(InboxName, InboxParts)], intake: &Arc<Intake>) {
        for (_, parts) in inboxes {
            let sweep = Sweep::new(
                SweepParts {
                    client: parts.client.clone(),
                    intake: intake.clone(),
                    store: self.front.store.clone(),
                    sessions: parts.sessions.clone(),
                    board: self.front.board.clone(),
                    door: parts.door.clone(),
                    clock: self.clock,
                    every: parts.sweep_every,
                    requests_per_minute: parts.sweep_requests_per_minute,
                },
                parts.missed.clone(),
            );
            sweep.hold_back().await;
            self.upkeep.spawn(|stop| sweep.run(stop));
        }
    }

    fn run_pump(&self, pump: Pump, fail: mpsc::Sender<String>) {
        self.pump.spawn(|stop| async move {
            if let Err(error) = pump.run(stop).await {
                // The receiver is gone only when the gateway is.
                drop(fail.send(error.to_string()).await);
            }
        });
    }

    fn keep_up(&self, inboxes: Vec<(InboxName, InboxParts)>, retention: Duration) {
        let marks = inboxes.iter().map(|(name, parts)| Marked::new(name.clone(), parts)).collect();
        let (store, clocked) = (self.front.store.clone(), (self.clock, self.board().figures().clone()));
        self.upkeep.spawn(|stop| upkeep::keep_up(store, marks, retention, clocked, stop));
        for (name, parts) in inboxes {
            let board = self.front.board.clone();
            let secrets = parts.secrets.filter(|_| parts.asks_for_secret);
            self.upkeep.spawn(|stop| upkeep::watch_inbox(name, parts.client, secrets, board, stop));
        }
    }
}

impl InboxParts {
    /// As long as it is the settings that tell them.
    fn told_secrets(&self) -> Option<watch::Sender<Vec<Secret>>> {
        self.secrets.clone().filter(|_| !self.asks_for_secret)
    }
}

impl Task {
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tracker.spawn(task(self.stop.clone()));
    }

    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn build_inbox(
    plan: &InboxPlan,
    (count, era): (usize, i64),
    store: &Arc<dyn Store>,
    (board, rosters): (&Arc<StateBoard>, &Rosters),
    clock: Clock,
) -> Result<(InboxParts, Door), StartError> {
    let inbox_fault = |fault| StartError::Inbox { inbox: plan.name.to_string(), fault };
    let client = Arc::new(Client::new(plan.client.clone()).map_err(inbox_fault)?);
    let sessions = Arc::new(Sessions::new(store.clone(), client.clone(), clock, (SESSIONS_MAX / count.max(1), era)));
    let sink = Arc::new(InboxSink::new(InboxSinkParts {
        name: plan.name.clone(),
        client: client.clone(),
        sessions: sessions.clone(),
        store: store.clone(),
        board: board.clone(),
        bridges: rosters.bridges.clone(),
        paces: rosters.paces.clone(),
        clock,
        concurrency: plan.client.concurrency,
        settle: plan.settle,
        attachment_bytes_max: plan.attachment_bytes_max,
    }));
    board.inbox(plan.name.as_str(), BridgeState::Connecting);
    let secrets = [&plan.callback_secret, &plan.callback_secret_before].into_iter().flatten().cloned().collect();
    let (tell, told) = watch::channel(secrets);
    let (proof, secrets) = match &plan.callback_path_token {
        Some(token) if plan.callback_secret.is_none() => (Proof::PathToken(token.clone()), None),
        Some(_) | None => (Proof::Signature(told), Some(tell)),
    };
    let door = intake::Door {
        inbox: plan.name.clone(),
        account_id: client.account_id(),
        inbox_id: client.inbox_id(),
        send_templates: plan.send_templates,
        grace_millis: plan.callback_grace.as_millis() as i64,
        late: plan.late,
    };
    let desk = Arc::new(Desk::new(client.clone(), clock, plan.attachment_bytes_max));
    let missed = Arc::new(Missed::default());
    let parts = InboxParts {
        client,
        sessions,
        sink,
        desk,
        secrets,
        asks_for_secret: plan.callback_secret.is_none(),
        door: door.clone(),
        missed: missed.clone(),
        sweep_every: plan.sweep_every,
        sweep_requests_per_minute: plan.sweep_requests_per_minute,
    };
    let figures = board.figures().inbox(plan.name.as_str()).expect("the figures know each inbox of the plan").clone();
    Ok((parts, Door { door, proof, missed, figures }))
}

fn admin(plan: &Plan, clock: Clock) -> Admin {
    let hosts = Hosts::new(plan.listen.ip(), plan.admin_hosts.iter().map(String::as_str));
    Admin::new(plan.admin_token.clone(), hosts, clock.now())
}

fn figures(plan: &Plan, store: &dyn Store) -> Figures {
    let bridges = plan.bridges.iter().map(|bridge| (bridge.name.as_str(), bridge.inbox.as_str()));
    let inboxes = plan.inboxes.iter().map(|inbox| inbox.name.as_str());
    Figures::new(bridges, inboxes, store.commits())
}

fn check_inboxes(plan: &Plan) -> Result<(), StartError> {
    let is_there = |bridge: &BridgePlan| plan.inboxes.iter().any(|inbox| inbox.name == bridge.inbox);
    match plan.bridges.iter().find(|bridge| !is_there(bridge)) {
        Some(BridgePlan { name, inbox, .. }) => {
            Err(StartError::NoInbox { bridge: name.to_string(), inbox: inbox.to_string() })
        }
        None => Ok(()),
    }
}

fn counter(parts: &InboxParts, side: &Task, clock: Clock) -> Counter {
    let (tell, told) = typing::queue();
    let (client, sessions) = (parts.client.clone(), parts.sessions.clone());
    side.spawn(|stop| typing::to_inbox(client, sessions, told, clock, stop));
    Counter { desk: parts.desk.clone(), typing: tell }
}
