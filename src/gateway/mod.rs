//! Builds the parts, owns every task, starts and stops them in order. Nothing else spawns.

mod desk;
mod host;
mod network;
mod plan;
mod serve;
mod typing;
mod upkeep;

use std::{
    collections::HashMap,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bridge_api::{BridgeName, BridgeState, SettingsFault};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Notify, mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{desk::Desk, host::BridgeHost, typing::AgentsTyping, upkeep::Marked};
use crate::{
    chatwoot::Client,
    clock::Clock,
    http::{self, Door, Front, Proof},
    intake::{self, Horizon, Intake, Route},
    model::{InboxName, SinkName},
    pump::{self, Pump},
    sessions::Sessions,
    sinks::{Bridges, InboxSink, InboxSinkParts, NetworkSink, Sink},
    store::{Store, StoreError},
    sweep::{self, Sweep, SweepParts},
    telemetry::StateBoard,
};

pub use plan::{BridgePlan, InboxPlan, Late, Plan, SESSIONS_MAX, WhenLate, place_of};
pub use serve::{ServeError, serve, until_told};

/// Name of the control socket in the data directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// A gateway at work.
pub struct Gateway {
    address: SocketAddr,
    store: Arc<dyn Store>,
    board: Arc<StateBoard>,
    sessions: Vec<Arc<Sessions>>,
    stop_limit: Duration,
    pump: Task,
    bridges: Task,
    upkeep: Task,
    fronts: Task,
    /// What was taken and is on its way into the store.
    accepts: TaskTracker,
    failed: mpsc::Receiver<String>,
    control: PathBuf,
}

/// Tasks that are stopped together.
#[derive(Default)]
struct Task {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("inbox `{inbox}`: {fault}")]
    Inbox { inbox: String, fault: SettingsFault },
    #[error("bridge `{bridge}` names the inbox `{inbox}`, which is not there")]
    NoInbox { bridge: String, inbox: String },
}

/// One inbox, with what belongs to it.
struct InboxParts {
    client: Arc<Client>,
    sessions: Arc<Sessions>,
    sink: Arc<InboxSink>,
    desk: Arc<Desk>,
    secrets: Option<watch::Sender<Vec<bridge_api::Secret>>>,
    door: intake::Door,
    missed: Arc<Notify>,
    sweep_every: Duration,
    sweep_requests_per_minute: u32,
}

impl Gateway {
    /// Starts everything: the store's lease, the callback door, the pump, the bridges.
    pub async fn start(plan: Plan, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let clock = Clock::system();
        let board = Arc::new(StateBoard::default());
        let lease = store.lease(&format!("pid {}", std::process::id()), clock.now()).await?;
        let born = upkeep::born_millis(&*store, clock.now()).await?;
        let (feed, incoming) = pump::feed();
        let (fail, failed) = mpsc::channel(1);

        let mut sinks: HashMap<SinkName, Arc<dyn Sink>> = HashMap::new();
        let mut doors = HashMap::new();
        let mut inboxes = Vec::new();
        let bridges = plan.bridges.iter().map(|plan| (plan.name.clone(), plan.bridge.clone()));
        let bridges: Arc<Bridges> = Arc::new(bridges.collect());
        for inbox in &plan.inboxes {
            let era = sweep::era(&*store, &inbox.name).await?;
            let (parts, door) = build_inbox(inbox, (plan.inboxes.len(), era), &store, (&board, &bridges))?;
            let place = sweep::Place { inbox: &inbox.name, home: parts.sessions.home() };
            parts.sink.saw(sweep::newest(&*store, place).await?);
            sinks.insert(SinkName::inbox(&inbox.name), parts.sink.clone());
            doors.insert(inbox.name.to_string(), door);
            inboxes.push((inbox.name.clone(), parts));
        }
        let (routes, agents_typing) = build_routes(&plan, &store, clock, &mut sinks)?;
        let accepts = TaskTracker::new();
        let horizon = Horizon { born_millis: born, memory_millis: plan.retention.as_millis() as i64 };
        let intake = Arc::new(Intake::new(store.clone(), feed, clock, accepts.clone(), routes, horizon));
        let pump = Pump::new(store.clone(), lease, sinks, incoming, clock, fastrand::Rng::new());
        let front = Front {
            intake: intake.clone(),
            store: store.clone(),
            board: board.clone(),
            doors,
            admin_token: plan.admin_token,
        };

        let listen = |source| StartError::Listen { address: plan.listen.to_string(), source };
        let listener = TcpListener::bind(plan.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let control = plan.data_dir.join(CONTROL_SOCKET);

        let gateway = Self {
            address,
            store: store.clone(),
            board: board.clone(),
            sessions: inboxes.iter().map(|(_, parts)| parts.sessions.clone()).collect(),
            stop_limit: plan.stop_limit,
            pump: Task::default(),
            bridges: Task::default(),
            upkeep: Task::default(),
            fronts: Task::default(),
            accepts,
            failed,
            control,
        };
        gateway.open(listener, Arc::new(front));
        gateway.sweep(&inboxes, &intake, clock).await;
        gateway.run_pump(pump, fail);
        gateway.run_bridges(plan.bridges, &inboxes, &intake, agents_typing);
        gateway.keep_up(inboxes, plan.retention);
        Ok(gateway)
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn board(&self) -> &StateBoard {
        &self.board
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
    /// the callback door closes last, since Chatwoot never knocks twice.
    pub async fn stop(self) {
        self.board.stop();
        if tokio::time::timeout(self.stop_limit, self.pump.end()).await.is_err() {
            tracing::warn!("attempts under way did not finish in time; they are asked about at the next start");
        }
        self.bridges.end().await;
        self.upkeep.end().await;
        self.fronts.end().await;
        self.accepts.close();
        self.accepts.wait().await;
        self.store.close().await;
        if let Err(error) = std::fs::remove_file(&self.control) {
            tracing::debug!(error = error.to_string(), "the control socket was not removed");
        }
    }

    fn open(&self, listener: TcpListener, front: Arc<Front>) {
        self.fronts.spawn(|stop| http::serve::serve(listener, http::public(front.clone()), stop));
        match control_socket(&self.control) {
            Ok(socket) => self.fronts.spawn(|stop| http::serve::serve(socket, http::control(front), stop)),
            Err(error) => {
                tracing::warn!(
                    error = error.to_string(),
                    "no control socket: `outbox` works only while the gateway is stopped"
                );
            }
        }
    }

    /// Before the pump: what waits for a network must not overtake a reply that nobody heard of.
    async fn sweep(&self, inboxes: &[(InboxName, InboxParts)], intake: &Arc<Intake>, clock: Clock) {
        for (_, parts) in inboxes {
            let sweep = Sweep::new(
                SweepParts {
                    client: parts.client.clone(),
                    intake: intake.clone(),
                    store: self.store.clone(),
                    sessions: parts.sessions.clone(),
                    board: self.board.clone(),
                    door: parts.door.clone(),
                    clock,
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

    fn run_bridges(
        &self,
        bridges: Vec<BridgePlan>,
        inboxes: &[(InboxName, InboxParts)],
        intake: &Arc<Intake>,
        agents_typing: Vec<AgentsTyping>,
    ) {
        let mut peers_typing = HashMap::new();
        for (name, parts) in inboxes {
            let (tell, told) = typing::queue();
            let (client, sessions) = (parts.client.clone(), parts.sessions.clone());
            self.bridges.spawn(|stop| typing::to_inbox(client, sessions, told, stop));
            peers_typing.insert(name, (tell, parts.desk.clone()));
        }
        let data_dir: Arc<Path> = self.control.parent().unwrap_or(Path::new(".")).into();
        for (bridge, typing) in bridges.into_iter().zip(agents_typing) {
            let found = peers_typing.get(&bridge.inbox).cloned();
            let (tell, desk) = found.expect("each bridge's inbox was looked for when its route was built");
            let host = BridgeHost {
                bridge: bridge.name,
                intake: intake.clone(),
                board: self.board.clone(),
                desk,
                typing: tell,
                data_dir: data_dir.clone(),
            };
            let shown = bridge.bridge.clone();
            self.bridges.spawn(|stop| typing::to_network(shown, typing, stop));
            self.bridges.spawn(|stop| network::keep_running(bridge.bridge, host, stop));
        }
    }

    fn keep_up(&self, inboxes: Vec<(InboxName, InboxParts)>, retention: Duration) {
        let marks = inboxes.iter().map(|(name, parts)| Marked::new(name.clone(), parts)).collect();
        let store = self.store.clone();
        self.upkeep.spawn(|stop| upkeep::keep_up(store, marks, retention, stop));
        for (name, parts) in inboxes {
            let board = self.board.clone();
            self.upkeep.spawn(|stop| upkeep::watch_inbox(name, parts.client, parts.secrets, board, stop));
        }
    }
}

impl Task {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tracker.spawn(task(self.stop.clone()));
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn build_inbox(
    plan: &InboxPlan,
    (count, era): (usize, i64),
    store: &Arc<dyn Store>,
    (board, bridges): (&Arc<StateBoard>, &Arc<Bridges>),
) -> Result<(InboxParts, Door), StartError> {
    let inbox_fault = |fault| StartError::Inbox { inbox: plan.name.to_string(), fault };
    let client = Arc::new(Client::new(plan.client.clone()).map_err(inbox_fault)?);
    let sessions = Arc::new(Sessions::new(store.clone(), client.clone(), SESSIONS_MAX / count.max(1), era));
    let sink = Arc::new(InboxSink::new(InboxSinkParts {
        name: plan.name.clone(),
        client: client.clone(),
        sessions: sessions.clone(),
        store: store.clone(),
        board: board.clone(),
        bridges: bridges.clone(),
        concurrency: plan.client.concurrency,
        settle: plan.settle,
        attachment_bytes_max: plan.attachment_bytes_max,
    }));
    board.inbox(plan.name.as_str(), BridgeState::Connecting);
    let (proof, secrets) = match (&plan.callback_secret, &plan.callback_path_token) {
        (Some(secret), _) => (Proof::Signature(watch::channel(vec![secret.clone()]).1), None),
        (None, Some(token)) => (Proof::PathToken(token.clone()), None),
        (None, None) => {
            let (tell, told) = watch::channel(Vec::new());
            (Proof::Signature(told), Some(tell))
        }
    };
    let door = intake::Door {
        inbox: plan.name.clone(),
        account_id: client.account_id(),
        inbox_id: client.inbox_id(),
        send_templates: plan.send_templates,
        grace_millis: plan.callback_grace.as_millis() as i64,
        late: plan.late,
    };
    let desk = Arc::new(Desk::new(client.clone(), plan.attachment_bytes_max));
    let missed = Arc::new(Notify::new());
    let parts = InboxParts {
        client,
        sessions,
        sink,
        desk,
        secrets,
        door: door.clone(),
        missed: missed.clone(),
        sweep_every: plan.sweep_every,
        sweep_requests_per_minute: plan.sweep_requests_per_minute,
    };
    Ok((parts, Door { door, proof, missed }))
}

/// The routes, and for each bridge in its order where it hears of agents who type.
fn build_routes(
    plan: &Plan,
    store: &Arc<dyn Store>,
    clock: Clock,
    sinks: &mut HashMap<SinkName, Arc<dyn Sink>>,
) -> Result<(HashMap<BridgeName, Route>, Vec<AgentsTyping>), StartError> {
    let (mut routes, mut agents_typing) = (HashMap::new(), Vec::new());
    for bridge in &plan.bridges {
        if !plan.inboxes.iter().any(|inbox| inbox.name == bridge.inbox) {
            let (bridge, inbox) = (bridge.name.to_string(), bridge.inbox.to_string());
            return Err(StartError::NoInbox { bridge, inbox });
        }
        let (name, doubt) = (bridge.name.clone(), bridge.when_in_doubt);
        let sink = NetworkSink::new(name, bridge.bridge.clone(), store.clone(), doubt, clock);
        sinks.insert(SinkName::bridge(&bridge.name), Arc::new(sink));
        let (tell, told) = typing::queue();
        let route = Route { inbox: bridge.inbox.clone(), bridge: bridge.bridge.clone(), typing: tell };
        routes.insert(bridge.name.clone(), route);
        agents_typing.push(told);
    }
    Ok((routes, agents_typing))
}

/// For the owner alone. The data directory's lock says that whoever left an old one is gone.
fn control_socket(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}
