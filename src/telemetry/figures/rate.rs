//! How often something happened within the last minute. Without a lock, and without a clock of its own.

use std::sync::atomic::{AtomicU64, Ordering};

const SLICE_MILLIS: i64 = 5_000;
const SLICES_PER_MINUTE: u64 = 12;
/// One more, so that the slice that ends is never the one that begins.
const SLICES: usize = SLICES_PER_MINUTE as usize + 1;

/// A ring of slices of five seconds. Each holds its number in the upper half and a count in the lower one, so that a
/// slice from long ago is known by its number, and nobody has to clear it.
#[derive(Debug, Default)]
pub(super) struct Rate([AtomicU64; SLICES]);

impl Rate {
    pub(super) fn one(&self, now_millis: i64) {
        let number = number(now_millis);
        let slice = &self.0[number as usize % SLICES];
        let counted = |held: u64| {
            let count = if held >> 32 == number { held & u64::from(u32::MAX) } else { 0 };
            Some(number << 32 | (count + 1).min(u64::from(u32::MAX)))
        };
        // Never refused: the function always has an answer.
        slice.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).ok();
    }

    /// The slice that runs and the eleven before it: 55 to 60 seconds.
    pub(super) fn per_minute(&self, now_millis: i64) -> u64 {
        let last = number(now_millis);
        let first = last.saturating_sub(SLICES_PER_MINUTE - 1);
        let held = self.0.iter().map(|slice| slice.load(Ordering::Relaxed));
        held.filter(|held| (first..=last).contains(&(held >> 32))).map(|held| held & u64::from(u32::MAX)).sum()
    }
}

/// Fits into 32 bits until long after any of us.
fn number(now_millis: i64) -> u64 {
    (now_millis.max(0) / SLICE_MILLIS) as u64 & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_minute_forgets_what_was_before_it() {
        let rate = Rate::default();
        for second in 0..120 {
            rate.one(NOW + second * 1000);
        }
        assert_eq!(rate.per_minute(NOW + 119_999), 60);
        assert_eq!(rate.per_minute(NOW + 120_000), 55);
        assert_eq!(rate.per_minute(NOW + 170_000), 5);
        assert_eq!(rate.per_minute(NOW + 175_000), 0);
    }

    #[test]
    fn a_slice_of_an_earlier_round_does_not_count_again() {
        let rate = Rate::default();
        rate.one(NOW);
        rate.one(NOW + SLICES as i64 * SLICE_MILLIS);
        assert_eq!(rate.per_minute(NOW + SLICES as i64 * SLICE_MILLIS), 1);
    }

    #[test]
    fn many_threads_lose_nothing() {
        let rate = Rate::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| rate.one(NOW)));
            }
        });
        assert_eq!(rate.per_minute(NOW), 40_000);
    }
}
