//! Lanes that rest because they went fast: a bucket for each that spent something lately. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::model::{LaneId, Pace};

/// Buckets that are kept at most. Beyond that the one that would be forgotten next is forgotten now.
const BUCKETS_MAX: usize = 100_000;

type Place = (usize, LaneId);

#[derive(Debug, Default)]
pub(super) struct Resting {
    buckets: HashMap<Place, Bucket>,
    /// In the order in which they are full again, which is when nothing needs to be known of them.
    by_full: BTreeSet<(i64, Place)>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_millis: i64,
    free_millis: i64,
    /// It was said that this lane is slow.
    told: bool,
}

impl Resting {
    /// From when on the lane's head may be taken.
    pub(super) fn free(&self, at: Place) -> i64 {
        self.buckets.get(&at).map_or(i64::MIN, |bucket| bucket.free_millis)
    }

    /// One head of this lane took effect. True when what is behind it has to wait, and nobody was told yet.
    pub(super) fn spend(&mut self, at: Place, pace: Pace, waits: bool, now_millis: i64) -> bool {
        self.forget(now_millis);
        let before = self.buckets.get(&at).copied();
        if let Some(bucket) = before {
            self.by_full.remove(&(bucket.full_millis, at));
        }
        let (full_millis, free_millis) = pace.spend(before.map_or(i64::MIN, |bucket| bucket.full_millis), now_millis);
        let told = before.is_some_and(|bucket| bucket.told);
        let slow = waits && free_millis > now_millis;
        self.buckets.insert(at, Bucket { full_millis, free_millis, told: told || slow });
        self.by_full.insert((full_millis, at));
        while self.buckets.len() > BUCKETS_MAX {
            self.forget_first();
        }
        slow && !told
    }

    /// What is full again is as if it had never been.
    fn forget(&mut self, now_millis: i64) {
        while self.by_full.first().is_some_and(|(full, _)| *full <= now_millis) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, place)) = self.by_full.pop_first() {
            self.buckets.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_is_full_again_is_forgotten_and_so_is_what_was_told() {
        let (mut resting, pace, lane) = (Resting::default(), Pace::new(2, 1000).unwrap(), (0, LaneId(7)));
        let mut spend = |waits, now| (resting.spend(lane, pace, waits, now), resting.free(lane), resting.buckets.len());
        assert_eq!(spend(true, 0), (false, 0, 1), "one more may go");
        assert_eq!(spend(true, 0), (true, 1000, 1));
        assert_eq!(spend(true, 1000), (false, 2000, 1), "told once");
        assert_eq!(spend(true, 3000), (false, 3000, 1), "full again, and begun anew");
        assert_eq!(spend(false, 3000), (false, 4000, 1), "nothing waits, so nobody is slowed");
        assert_eq!(spend(true, 4000), (true, 5000, 1));
        resting.spend((0, LaneId(8)), pace, true, 90_000);
        assert_eq!((resting.buckets.len(), resting.by_full.len(), resting.free(lane)), (1, 1, i64::MIN));
    }

    #[test]
    fn there_are_never_more_buckets_than_may_be() {
        let (mut resting, pace) = (Resting::default(), Pace::new(1, 200_000).unwrap());
        for lane in 0..=BUCKETS_MAX as i64 {
            resting.spend((0, LaneId(lane)), pace, true, lane);
        }
        assert_eq!((resting.buckets.len(), resting.by_full.len()), (BUCKETS_MAX, BUCKETS_MAX));
        let (first, last) = (resting.free((0, LaneId(0))), resting.free((0, LaneId(BUCKETS_MAX as i64))));
        assert_eq!((first, last), (i64::MIN, BUCKETS_MAX as i64 + 200_000));
    }
}
