//! Waiting for a change, with a look now and then in case it was missed.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until there is an answer, after every change and at least every 20 ms. None when `deadline` passes first.
pub(super) async fn until<T>(
    mut changed: watch::Receiver<u64>,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let looking = async {
        loop {
            changed.mark_unchanged();
            if let Some(found) = look() {
                return found;
            }
            // Timed out or changed: look again in both cases.
            drop(timeout(LOOK_AGAIN, changed.changed()).await);
        }
    };
    timeout(deadline, looking).await.ok()
}
