//! How callbacks that were not stored are told of to whoever asks the inbox.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Callbacks of one inbox that did not come to be stored: whoever meets one says so, and the sweep asks for them.
#[derive(Debug, Default)]
pub struct Missed {
    count: AtomicU64,
    told: Notify,
}

impl Missed {
    /// One that the inbox made was not stored.
    pub fn one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ask();
    }
    /// Perhaps one was not: nobody may hold anything up by saying so.
    pub fn ask(&self) {
        self.told.notify_one();
    }
    /// How many there surely were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
    /// Returns when there was one since the last time.
    pub async fn told(&self) {
        self.told.notified().await;
    }
}
