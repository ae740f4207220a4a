//! What the parts of a running bridge share: who we are, what is known of rooms, and the ways to each other.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};

use bridge_api::{Agent, Cursor, Host};
use tokio::sync::{mpsc, oneshot};

use crate::{
    client::Client,
    ghosts::Ghosts,
    ids::{EventRef, RoomId, UserId},
    machine::{Checkpoint, Machine, Me, Why},
    settings::Checked,
    wire::Transaction,
};

/// Transactions and changes on their way to the desk.
const INPUTS_MAX: usize = 256;
/// News for the homeserver's side that wait for the websocket. What does not fit is not told.
const NEWS_MAX: usize = 4096;

/// One bridge at work.
pub(crate) struct Hub {
    pub(crate) settings: Checked,
    pub(crate) client: Client,
    pub(crate) me: Me,
    pub(crate) host: Host,
    pub(crate) ghosts: Option<Ghosts>,
    machine: RwLock<Machine>,
    inputs: mpsc::Sender<Input>,
    news: Option<mpsc::Sender<News>>,
    out: AtomicBool,
    /// Whose turn it is to take what was pushed.
    pub(crate) pushes: tokio::sync::Mutex<()>,
}

/// Where the hub is found while the bridge is at work in this process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Here(Arc<RwLock<Option<Arc<Hub>>>>);

/// Takes the hub away when it is dropped.
pub(crate) struct AtWork(Here);

/// What the desk works on, one after another.
pub(crate) enum Input {
    /// `done` is told when the host has it and the cursors, or why not.
    Transaction {
        transaction: Transaction,
        cursors: Vec<Cursor>,
        done: oneshot::Sender<Result<(), String>>,
    },
    Change {
        change: Change,
        done: oneshot::Sender<Result<(), String>>,
    },
    /// A small courtesy to the people in a room, worth one try.
    Courtesy(Courtesy),
}

/// Something about rooms that did not come from the homeserver's events.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Joined(RoomId),
    ReadBack(RoomId),
    Out(RoomId, Why),
    Settled {
        room: RoomId,
        encrypted: bool,
        too_large: bool,
        peer: Option<UserId>,
    },
    /// The person was told that a room is encrypted.
    Told(RoomId),
    /// The conversation that began in `base` goes on in `to`. `told` is the encrypted room that it leaves.
    Placed {
        base: RoomId,
        to: RoomId,
        peer: UserId,
        told: Option<RoomId>,
    },
    Reinvited(RoomId),
    /// The conversation followed a room's replacement.
    Moved {
        from: RoomId,
        to: RoomId,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Courtesy {
    /// An agent is typing, or no longer is.
    Typing(RoomId, bool),
    /// An agent has seen what was written.
    Read(RoomId, EventRef),
    /// An agent who answers has a picture.
    Picture(Agent),
}

/// For the other end of the websocket.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Taken(Vec<Checkpoint>),
    /// A message reached the inbox, or was given up.
    Landed {
        event: EventRef,
        reason: Option<String>,
    },
}

/// The receiving ends that belong to a [`Hub`].
pub(crate) struct Ends {
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) news: mpsc::Receiver<News>,
}

impl Hub {
    pub(crate) fn new(
        settings: Checked,
        client: Client,
        machine: Machine,
        host: Host,
        ghosts: Option<Ghosts>,
        tells_news: bool,
    ) -> (Arc<Self>, Ends) {
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        let (news, told) = mpsc::channel(NEWS_MAX);
        let me = machine.me.clone();
        let news = tells_news.then_some(news);
        let hub = Self {
            settings,
            client,
            me,
            host,
            ghosts,
            machine: RwLock::new(machine),
            inputs,
            news,
            out: AtomicBool::new(false),
            pushes: tokio::sync::Mutex::default(),
        };
        (Arc::new(hub), Ends { inputs: received, news: told })
    }

    /// Held for a look, never over an await.
    pub(crate) fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.machine.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn machine_mut(&self) -> RwLockWriteGuard<'_, Machine> {
        self.machine.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the host has the transaction: only then may it be acknowledged.
    pub(crate) async fn take(&self, transaction: Transaction) -> Result<(), String> {
        self.take_with(transaction, Vec::new()).await
    }

    /// The same; the cursors are saved with it.
    pub(crate) async fn take_with(&self, transaction: Transaction, cursors: Vec<Cursor>) -> Result<(), String> {
        let (done, told) = oneshot::channel();
        self.put(Input::Transaction { transaction, cursors, done }).await?;
        told.await.map_err(|_| STOPPING.to_owned())?
    }

    /// Returns when the change is kept.
    pub(crate) async fn change(&self, change: Change) -> Result<(), String> {
        let (done, told) = oneshot::channel();
        self.put(Input::Change { change, done }).await?;
        told.await.map_err(|_| STOPPING.to_owned())?
    }

    /// Another process does the work from now on.
    pub(crate) fn step_out(&self) {
        self.out.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    pub(crate) fn courtesy(&self, courtesy: Courtesy) {
        if self.settings.presence || matches!(courtesy, Courtesy::Picture(_)) {
            // A full queue has more important things to do.
            drop(self.inputs.try_send(Input::Courtesy(courtesy)));
        }
    }

    pub(crate) fn news(&self, news: News) {
        if let Some(sender) = &self.news {
            drop(sender.try_send(news));
        }
    }

    async fn put(&self, input: Input) -> Result<(), String> {
        self.inputs.send(input).await.map_err(|_| STOPPING.to_owned())
    }
}

impl Here {
    pub(crate) fn hub(&self) -> Option<Arc<Hub>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn enter(&self, hub: Arc<Hub>) -> AtWork {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(hub);
        AtWork(self.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

const STOPPING: &str = "the bridge is stopping";
