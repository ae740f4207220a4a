//! The sweep's own budget of requests, so that it leaves the inbox to people and to messages.

use std::time::Duration;

use tokio::time::Instant;

/// Requests that may follow each other without a pause, as a part of the budget of a minute.
const BURST_ONE_OF: u32 = 10;

/// Lets one request go at a time, so many a minute, and a short burst after a rest.
#[derive(Debug)]
pub(super) struct Pace {
    between: Duration,
    burst: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_minute: u32) -> Self {
        let between = Duration::from_mins(1) / per_minute.max(1);
        Self { between, burst: between * (per_minute / BURST_ONE_OF), next: None }
    }

    /// Waits until one more may go.
    pub(super) async fn turn(&mut self) {
        let now = Instant::now();
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let at = self.next.map_or(earliest, |next| next.max(earliest));
        self.next = Some(at + self.between);
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_then_so_many_a_minute() {
        let mut pace = Pace::new(60);
        let begun = Instant::now();
        // A second between two, but a tenth of a minute's worth may come early.
        for _ in 0..7 {
            pace.turn().await;
        }
        assert_eq!(Instant::now(), begun, "no virtual time has passed");
        for _ in 0..60 {
            pace.turn().await;
        }
        assert_eq!(Instant::now(), begun + Duration::from_mins(1));
    }
}
