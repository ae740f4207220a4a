//! How full the spool is, and whether the desk has to look through it: what the server and the desk share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the mails that were acknowledged and not yet entered.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    waiting: AtomicUsize,
    missed: AtomicBool,
    hint: Notify,
}

impl Spool {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
    /// Mails were found at the start, or one was kept.
    pub(crate) fn add(&self, mails: usize) {
        self.waiting.fetch_add(mails, Ordering::Relaxed);
    }
    /// The desk entered so many.
    pub(crate) fn took(&self, mails: usize) {
        // Never below nothing, whoever counted wrong.
        let less = |waiting: usize| Some(waiting.saturating_sub(mails));
        drop(self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less));
    }
    /// A kept mail did not fit into the channel: the desk finds it in the spool.
    pub(crate) fn miss(&self) {
        self.missed.store(true, Ordering::Release);
        self.hint.notify_one();
    }
    /// True once for each time that something was missed.
    pub(crate) fn was_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }
    /// Returns when something may have been missed.
    pub(crate) async fn missed(&self) {
        self.hint.notified().await;
    }
}
