//! Waiting for a condition, with a deadline that only a failure ever reaches.

use std::{
    thread,
    time::{Duration, Instant},
};

/// For what takes a moment. Generous: a loaded machine is no bug of ours.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// A longer wait is no failure, and worth a line.
const NOTED: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is an answer. `Err` says what is seen instead, for the report of a failure.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    until_within(PATIENCE, what, look)
}

pub(crate) fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        let waited = begun.elapsed();
        match look() {
            Ok(found) => {
                if waited > NOTED {
                    eprintln!("waited {} s for {what}", waited.as_secs());
                }
                return found;
            }
            Err(seen) => assert!(waited < patience, "waited {patience:?} for {what}; seen: {seen}"),
        }
        thread::sleep(LOOK_EVERY);
    }
}
