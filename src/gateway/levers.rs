//! The hand that does what operators ask for: bridges pause, come back and reconnect, and people are forgotten here and in
//! every memory that would write them down anew.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bridge_api::BridgeName;
use tokio_util::task::TaskTracker;

use super::{LEAVE_LIMIT, seats::Seats};
use crate::{
    http::{Lever, Levers, Pulled},
    sessions::Sessions,
    store::{Forgotten, Store, StoreError, Whom},
};

/// A bridge lets go of somebody within this time.
const FORGET_LIMIT: Duration = Duration::from_secs(10);
/// How often at most: each time because something was written down again meanwhile.
const ROUNDS_MAX: usize = 5;

pub(super) struct Hand {
    seats: Arc<Seats>,
    sessions: Vec<Arc<Sessions>>,
    store: Arc<dyn Store>,
    tasks: TaskTracker,
}

impl Hand {
    pub(super) fn new(
        (seats, sessions): (&Arc<Seats>, &[Arc<Sessions>]),
        store: &Arc<dyn Store>,
        tasks: &TaskTracker,
    ) -> Self {
        Self { seats: seats.clone(), sessions: sessions.to_vec(), store: store.clone(), tasks: tasks.clone() }
    }
}

#[async_trait]
impl Levers for Hand {
    async fn pull(&self, lever: Lever, bridge: &BridgeName) -> Pulled {
        let (seats, name) = (self.seats.clone(), bridge.clone());
        // Half done it would be a bridge that nobody has.
        let pulled = self.tasks.spawn(async move { pull(&seats, lever, &name).await }).await;
        pulled.unwrap_or(Pulled::Unknown)
    }

    fn is_paused(&self, bridge: &BridgeName) -> bool {
        self.seats.is_paused(bridge)
    }

    async fn forget(&self, whom: &Whom) -> Result<Forgotten, StoreError> {
        let mut all = Forgotten::default();
        let mut gone = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let before = self.names(&whom.bridge).await?;
            let forgotten = self.store.forget(whom).await?;
            let after = self.names(&whom.bridge).await?;
            gone.extend(before.difference(&after).cloned());
            add(&mut all, forgotten);
            if all.refused > 0 {
                break;
            }
            self.let_go(&whom.bridge, &gone).await;
            let now = self.names(&whom.bridge).await?;
            if !gone.iter().any(|name| now.contains(name)) {
                break;
            }
        }
        Ok(all)
    }
}

async fn pull(seats: &Seats, lever: Lever, name: &BridgeName) -> Pulled {
    let _turn = seats.turn.lock().await;
    let Some(plan) = seats.plan_of(name) else { return Pulled::Unknown };
    if seats.is_elsewhere(name) {
        return Pulled::Elsewhere;
    }
    match (lever, seats.is_paused(name)) {
        (Lever::Pause, false) => seats.pause(plan, LEAVE_LIMIT).await,
        (Lever::Resume, true) => seats.resume(plan).await,
        (Lever::Reconnect, false) => seats.replace(plan, LEAVE_LIMIT).await,
        (Lever::Pause | Lever::Reconnect, true) | (Lever::Resume, false) => return Pulled::Already,
    }
    Pulled::Done
}

impl Hand {
    async fn names(&self, bridge: &BridgeName) -> Result<BTreeSet<String>, StoreError> {
        let cursors = self.store.cursors(bridge.as_str(), "").await?;
        Ok(cursors.into_iter().map(|cursor| cursor.name).collect())
    }

    /// Whatever would write them down again.
    async fn let_go(&self, bridge: &BridgeName, cursors: &BTreeSet<String>) {
        self.sessions.iter().for_each(|sessions| sessions.forget_memory());
        self.seats.intake.gates().forget_names();
        let Some(route) = self.seats.books.rosters.routes.find(bridge) else { return };
        let cursors: Vec<String> = cursors.iter().cloned().collect();
        if tokio::time::timeout(FORGET_LIMIT, route.bridge.forget(&cursors)).await.is_err() {
            tracing::warn!(bridge = bridge.as_str(), "a bridge did not say in time that it has forgotten somebody");
        }
    }
}

fn add(all: &mut Forgotten, more: Forgotten) {
    all.refused = more.refused;
    all.waiting += more.waiting;
    all.dead += more.dead;
    all.finished += more.finished;
    all.sessions += more.sessions;
    all.cursors += more.cursors;
    all.blobs += more.blobs;
    all.contacts.extend(more.contacts);
    all.conversations.extend(more.conversations);
    all.not_overwritten = more.not_overwritten;
}
