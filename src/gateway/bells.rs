//! The bells of the bridges: whoever keeps something for one rings, in this process or in another, and who runs it hears.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bridge_api::BridgeName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Without a word from others, which may be lost.
const HEARD_ANYWAY: Duration = Duration::from_secs(2);

pub(super) struct Bells {
    store: Arc<dyn Store>,
    bells: Mutex<HashMap<BridgeName, Arc<Notify>>>,
}

/// That of one bridge.
pub(super) struct Bell {
    store: Arc<dyn Store>,
    rung: Arc<Notify>,
}

impl Bells {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, bells: Mutex::default() }
    }

    pub(super) fn of(&self, bridge: &BridgeName) -> Bell {
        Bell { store: self.store.clone(), rung: self.lock().entry(bridge.clone()).or_default().clone() }
    }

    /// Passes on what others say, which does not name the bridge, until `stop`.
    pub(super) async fn pass_on(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                self.store.rung().await;
                self.lock().values().for_each(|rung| rung.notify_one());
            }
        };
        stop.run_until_cancelled(work).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BridgeName, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.notify_one();
        self.store.ring();
    }

    pub(super) async fn heard(&self) {
        if !self.store.is_shared() {
            return self.rung.notified().await;
        }
        tokio::select! {
            () = self.rung.notified() => {}
            () = tokio::time::sleep(HEARD_ANYWAY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_bell_is_heard_once_and_by_nobody_else_and_among_several_processes_now_and_then_by_itself() {
        let heard = async |bell: &Bell| tokio::time::timeout(HEARD_ANYWAY * 2, bell.heard()).await.is_ok();
        let alone = Bells::new(Arc::new(MemoryStore::default()));
        let (mail, chat) = (alone.of(&"mail".into()), alone.of(&"chat".into()));
        alone.of(&"mail".into()).ring();
        assert_eq!((heard(&mail).await, heard(&chat).await, heard(&mail).await), (true, false, false));
        let shared = Bells::new(Arc::new(MemoryStore::shared()));
        assert!(heard(&shared.of(&"mail".into())).await);
    }
}
