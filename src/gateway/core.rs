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
    typing::{self, AgentsTyping},
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
    tenure::{Keeper, Tenure},
};

/// How long a balancer may take to see that we are not ready any more.
const DOORS_OPEN: Duration = Duration::from_secs(2);

/// All of a gateway but its listener and its control socket. A simulation runs it as it is.
pub struct Core {
    front: Arc<Front>,
    sessions: Vec<Arc<Sessions>>,
    clients: HashMap<InboxName, Arc<Client>>,
    /// Where settings that are read again say by what callbacks are signed.
    secrets: HashMap<InboxName, watch::Sender<Vec<Secret>>>,
    stop_limit: Duration,
    clock: Clock,
    tenure: Tenure,
    /// Keeps the lease, where there may be others.
    keeper: Task,
    pump: Task,
    seats: Arc<Seats>,
    /// Starts and stops bridges as partitions come and go.
    arranging: Task,
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
    /// For those that do not come to their end.
    cut: CancellationToken,
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
        let (tenure, keeper) = tenure(&store, owner, clock).await?;
        let born = upkeep::born_millis(&*store, clock.now()).await?;
        let (feed, incoming) = pump::feed();
        let (fail, failed) = mpsc::channel(1);

        let rosters = Rosters::default();
        let (inboxes, doors) = build_inboxes(&plan, &store, (&board, &rosters), (clock, &tenure)).await?;
        check_inboxes(&plan)?;
        let books = Books { rosters: rosters.clone(), store: store.clone(), clock, figures: figures.clone() };
        let agents_typing: Vec<_> = plan.bridges.iter().map(|bridge| books.enter(bridge)).collect();
        let accepts = TaskTracker::new();
        let horizon = Horizon { born_millis: born, memory_millis: plan.retention.as_millis() as i64 };
        rosters.gates.recall(&*store, clock.now()).await?;
        let gated = (rosters.routes, rosters.gates);
        let intake = Arc::new(Intake::new(store.clone(), feed, clock, accepts.clone(), gated, horizon));
        let pump = Pump::new(store.clone(), tenure.clone(), rosters.sinks, incoming, clock, (rng, figures));
        let admin = admin(&plan, clock);
        let (side, watches) = (Task::default(), Watches::default());
        let counters = inboxes.iter().map(|(name, parts)| (name.clone(), counter(parts, &side, clock))).collect();
        let place = (plan.data_dir.as_path(), counters);
        let seats = Arc::new(Seats::new(books, (&intake, &board), place, (&tenure, &plan.bridges)));
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
            tenure,
            keeper: Task::default(),
            pump: Task::default(),
            seats,
            arranging: Task::default(),
            side,
            upkeep: Task::default(),
            accepts,
            failed,
        };
        core.sweep(&inboxes, &intake).await;
        if let Some(keeper) = keeper {
            core.keeper.spawn(|stop| keeper.run(stop));
        }
        core.run_pump(pump, fail);
        core.seat(plan.bridges.into_iter().zip(agents_typing));
        core.keep_up(inboxes, plan.retention);
        Ok(core)
    }

    fn seat(&self, bridges: impl Iterator<Item = (BridgePlan, AgentsTyping)>) {
        for (bridge, typing) in bridges {
            self.seats.open(bridge, typing);
        }
        if self.tenure.is_shared() {
            let (seats, bells) = (self.seats.clone(), self.seats.bells());
            self.arranging.spawn(|stop| seats.arrange_all(stop));
            self.arranging.spawn(|stop| bells.pass_on(stop));
        }
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
        self.arranging.end().await;
        self.seats.end().await;
        // Nothing is under way any more, so that others can take over at once.
        let is_alone = self.tenure.held().owners == 1;
        self.keeper.end().await;
        self.side.end().await;
        self.upkeep.end().await;
        if !is_alone {
            // What is in front of all of them still leads callbacks here, and what comes is kept for the others.
            tokio::time::sleep(DOORS_OPEN).await;
        }
        self.seats.end_listeners().await;
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
                    tenure: self.tenure.clone(),
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
        let store = self.front.store.clone();
        let about = (self.clock, self.board().figures().clone(), self.tenure.clone());
        self.upkeep.spawn(|stop| upkeep::keep_up(store, marks, retention, about, stop));
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
        let (task, cut) = (task(self.stop.clone()), self.cut.clone());
        self.tracker.spawn(async move { cut.run_until_cancelled(task).await.unwrap_or_default() });
    }

    pub(super) fn ask_to_end(&self) {
        self.stop.cancel();
    }

    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The same; what has not ended by then is cut off. Whether all of it came to its end.
    pub(super) async fn end_within(&self, limit: Duration) -> bool {
        let ended = tokio::time::timeout(limit, self.end()).await.is_ok();
        if !ended {
            self.cut.cancel();
            self.tracker.wait().await;
        }
        ended
    }
}

type Built = (Vec<(InboxName, InboxParts)>, HashMap<String, Door>);

/// With what the store knows of them.
async fn build_inboxes(
    plan: &Plan,
    store: &Arc<dyn Store>,
    (board, rosters): (&Arc<StateBoard>, &Rosters),
    about: (Clock, &Tenure),
) -> Result<Built, StartError> {
    let (mut inboxes, mut doors) = (Vec::new(), HashMap::new());
    for inbox in &plan.inboxes {
        let sizes = (plan.inboxes.len(), sweep::era(&**store, &inbox.name).await?);
        let (parts, door) = build_inbox(inbox, sizes, store, (board, rosters), about)?;
        let place = sweep::Place { inbox: &inbox.name, home: parts.sessions.home() };
        parts.sink.saw(sweep::newest(&**store, place).await?);
        parts.sink.knew(sweep::witnesses(&**store, place).await?);
        rosters.sinks.put(SinkName::inbox(&inbox.name), parts.sink.clone());
        doors.insert(inbox.name.to_string(), door);
        inboxes.push((inbox.name.clone(), parts));
    }
    Ok((inboxes, doors))
}

fn build_inbox(
    plan: &InboxPlan,
    (count, era): (usize, i64),
    store: &Arc<dyn Store>,
    (board, rosters): (&Arc<StateBoard>, &Rosters),
    (clock, tenure): (Clock, &Tenure),
) -> Result<(InboxParts, Door), StartError> {
    let inbox_fault = |fault| StartError::Inbox { inbox: plan.name.to_string(), fault };
    let client = Arc::new(Client::new(plan.client.clone()).map_err(inbox_fault)?);
    let sizes = (SESSIONS_MAX / count.max(1), era);
    let sessions = Arc::new(Sessions::new(store.clone(), client.clone(), (clock, tenure.clone()), sizes));
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

/// Takes a share of the store, or all of it where there can be no others.
async fn tenure(store: &Arc<dyn Store>, owner: &str, clock: Clock) -> Result<(Tenure, Option<Keeper>), StartError> {
    let asked_millis = clock.now();
    let lease = store.lease(owner, asked_millis).await?;
    if !store.is_shared() {
        return Ok((Tenure::sole(lease, clock), None));
    }
    let (keeper, tenure) = Keeper::new(store.clone(), lease, asked_millis, clock);
    Ok((tenure, Some(keeper)))
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
