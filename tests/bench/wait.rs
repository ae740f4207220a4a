//! Waiting for a condition, with a deadline that only a failure ever reaches.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use deskbridge::store::Store;

use crate::stand_in::StandIn;

/// Beyond what the largest measurement takes.
const DEADLINE: Duration = Duration::from_mins(5);
/// Where the moment itself is not measured.
const SELDOM: Duration = Duration::from_millis(5);

/// Looks that often until there is an answer; `what` is waited for. Blocks.
pub(crate) fn until<T>(every: Duration, what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::begin();
    loop {
        if let Some(found) = look() {
            return found;
        }
        deadline.check(&what);
        thread::sleep(every);
    }
}

/// Returns when so many messages were in the inbox.
pub(crate) async fn until_posted(inbox: &Arc<StandIn>, messages: u64) -> Instant {
    let inbox = inbox.clone();
    tokio::task::spawn_blocking(move || inbox.wait_for(messages)).await.expect("they come")
}

/// The last of what was posted is written down as done too.
pub(crate) async fn until_settled(store: &dyn Store) {
    let deadline = Deadline::begin();
    loop {
        let waiting = store.depth().await.expect("the store works").waiting;
        if waiting == 0 {
            return;
        }
        deadline.check(&|| format!("what was posted to be settled; {waiting} waiting"));
        tokio::time::sleep(SELDOM).await;
    }
}

/// Looks until it is so; `what` is waited for.
pub(crate) async fn soon(what: impl Fn() -> String, mut look: impl FnMut() -> bool) {
    let deadline = Deadline::begin();
    while !look() {
        deadline.check(&what);
        tokio::time::sleep(SELDOM).await;
    }
}

struct Deadline(Instant);

impl Deadline {
    fn begin() -> Self {
        Self(Instant::now() + DEADLINE)
    }

    fn check(&self, what: &impl Fn() -> String) {
        assert!(Instant::now() < self.0, "waited {DEADLINE:?} for {}", what());
    }
}
