//! The one place that asks what time it is. Everything else is told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Unix time as the system has it now, in milliseconds: for stamps of foreign messages.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Time that only goes forward: the system's at the start, and from then on what really passed. A
/// clock that is set while the process runs moves no due time. Under a paused runtime it is virtual.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_millis: i64,
    calendar: Calendar,
}

/// Where the time of day comes from.
#[derive(Clone, Copy, Debug)]
enum Calendar {
    System,
    Counted,
}

impl Clock {
    pub fn system() -> Self {
        Self { calendar: Calendar::System, ..Self::from_millis(now_millis()) }
    }
    /// Begins at this Unix time, and knows no other.
    pub fn from_millis(started_millis: i64) -> Self {
        Self { started: Instant::now(), started_millis, calendar: Calendar::Counted }
    }
    pub fn now(&self) -> i64 {
        self.started_millis + self.started.elapsed().as_millis() as i64
    }
    /// Unix time as everybody else has it, in milliseconds: to be compared with foreign stamps. May jump when the
    /// system's clock is set.
    pub fn of_day(&self) -> i64 {
        match self.calendar {
            Calendar::System => now_millis(),
            Calendar::Counted => self.now(),
        }
    }
    /// The moment for a timer.
    pub fn instant(&self, millis: i64) -> Instant {
        let from_start = millis.saturating_sub(self.started_millis).max(0) as u64;
        // A year is as good as never, and cannot overflow.
        self.started + Duration::from_millis(from_start.min(365 * 24 * 3600 * 1000))
    }
}
