//! Builds the parts, owns every task, starts and stops them in order. Nothing else spawns.

mod absent;
mod bells;
mod core;
mod desk;
mod host;
mod levers;
mod live;
mod network;
mod plan;
mod reload;
mod seats;
mod serve;
mod typing;
mod upkeep;

use std::{
    fs::OpenOptions,
    io::Write,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bridge_api::SettingsFault;
use tokio::net::{TcpListener, UnixListener};

use self::core::Task;
use crate::{
    clock::Clock,
    http::{self, Front},
    settings::Settings,
    store::{Store, StoreError},
    telemetry::StateBoard,
};

pub use self::core::Core;
pub use live::{Live, LiveError};
pub use plan::{BridgePlan, InboxPlan, Late, Plan, SESSIONS_MAX, WhenLate, client_of, location, location_of};
pub use reload::Change;
pub use serve::{Book, ServeError, serve, until_told};

/// Name of the control socket in the data directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Of a file in the data directory: what tells it from others that work on the same store.
const NAME: &str = "name";
const NAME_LETTERS: usize = 12;
/// How long a bridge that is replaced may take to leave its network.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A gateway at work.
pub struct Gateway {
    address: SocketAddr,
    core: Core,
    fronts: Task,
    control: PathBuf,
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

impl Gateway {
    /// Starts everything: the callback door, the store's lease, the pump, the bridges.
    pub async fn start(plan: Plan, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen { address: plan.listen.to_string(), source };
        let listener = TcpListener::bind(plan.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let control = plan.data_dir.join(CONTROL_SOCKET);
        let owner = format!("{}pid {} {:08x}", name_of(&plan.data_dir), std::process::id(), fastrand::u32(..));
        let core = Core::start(plan, store, &owner, Clock::system(), fastrand::Rng::new()).await?;
        let gateway = Self { address, core, fronts: Task::default(), control };
        gateway.open(listener);
        Ok(gateway)
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn board(&self) -> &StateBoard {
        self.core.board()
    }

    /// Sessions in memory.
    pub fn sessions_cached(&self) -> usize {
        self.core.sessions_cached()
    }

    /// Returns when the gateway cannot go on, with the reason.
    pub async fn failed(&mut self) -> String {
        self.core.failed().await
    }

    /// Goes on by new settings, as far as that can be done at work.
    pub async fn change(&self, change: &Change, settings: (&Settings, &Settings)) {
        self.core.change(change, settings, LEAVE_LIMIT).await;
    }

    /// The soft stop: nothing new is begun, attempts under way may finish, networks are left politely, and
    /// the callback door closes last, since Chatwoot never knocks twice.
    pub async fn stop(self) {
        self.core.stop(self.fronts.end()).await;
        if let Err(error) = std::fs::remove_file(&self.control) {
            tracing::debug!(error = error.to_string(), "the control socket was not removed");
        }
    }

    fn open(&self, listener: TcpListener) {
        let front = self.core.front();
        let public: Arc<Front> = front.clone();
        self.fronts.spawn(|stop| http::serve::serve(listener, http::public(public), stop));
        match control_socket(&self.control) {
            Ok(socket) => {
                let control = http::control(front.clone());
                self.fronts.spawn(|stop| http::serve::serve(socket, control, stop));
            }
            Err(error) => {
                tracing::warn!(
                    error = error.to_string(),
                    "no control socket: `outbox` works only while the gateway is stopped"
                );
            }
        }
    }
}

/// How the lease's owners of one data directory are all called at the beginning, on whatever machine it is by then.
fn name_of(data_dir: &Path) -> String {
    let path = data_dir.join(NAME);
    let kept = std::fs::read_to_string(&path).ok().filter(|name| name.len() == NAME_LETTERS);
    let name = kept.unwrap_or_else(|| {
        let name: String = std::iter::repeat_with(fastrand::lowercase).take(NAME_LETTERS).collect();
        // Without the file another one is taken at the next start, and waits for this one to be given up.
        if let Err(error) = keep(&path, &name) {
            tracing::debug!(error = error.to_string(), "the name of this data directory was not kept");
        }
        name
    });
    format!("gateway {name}, ")
}

fn keep(path: &Path, name: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(name.as_bytes())
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
