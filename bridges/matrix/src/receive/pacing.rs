//! When to connect again. Pure.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(2);
const MAX: Duration = Duration::from_mins(2);
/// A connection that held for longer than this begins anew.
const GOOD: Duration = Duration::from_mins(5);

/// Doubles the pause while connections break soon after one another.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    last: Option<Instant>,
    pause: Duration,
}

impl Pacing {
    /// The pause after a break at this moment; `jitter` is from 0 to 1.
    pub(crate) fn broke(&mut self, now: Instant, jitter: f64) -> Duration {
        let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < GOOD);
        self.pause = if soon { (self.pause * 2).clamp(FIRST, MAX) } else { FIRST };
        self.last = Some(now);
        self.pause.mul_f64(0.75 + jitter / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_in_a_row_wait_longer_and_a_good_connection_forgives() {
        let start = Instant::now();
        let mut pacing = Pacing::default();
        let mut at = |seconds| pacing.broke(start + Duration::from_secs(seconds), 0.5).as_secs();
        assert_eq!([at(0), at(3), at(8), at(17), at(34), at(70), at(140), at(270)], [2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(at(700), 2);
    }
}
