//! Stops a flood of mails from one sender, as two robots make that answer each other. Time is passed in; memory is bounded.

use std::collections::{HashMap, VecDeque};

const MINUTE: i64 = 60_000;
/// More than so many mails in so long trip it.
const MAILS_MAX: usize = 20;
const MAILS_WINDOW_MILLIS: i64 = 10 * MINUTE;
const AUTOMATIC_MAX: usize = 5;
const AUTOMATIC_WINDOW_MILLIS: i64 = 60 * MINUTE;
/// Senders that are remembered; beyond, the one that was silent for longest is forgotten.
const SENDERS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Goes,
    /// To be kept, but not shown one by one. `first` of this trip: the time to tell an agent.
    Tripped {
        first: bool,
    },
}

/// For the senders to one desk.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    senders: HashMap<String, Sender>,
}

#[derive(Debug, Default)]
struct Sender {
    mails: VecDeque<i64>,
    automatic: VecDeque<i64>,
    /// Until when a trip lasts.
    tripped_until: Option<i64>,
    seen: i64,
}

impl Breaker {
    /// Counts a mail of this author, by whatever name, at this time in Unix milliseconds.
    pub(crate) fn pass(&mut self, author: &str, automatic: bool, now: i64) -> Flow {
        let key = author.to_owned();
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&key) {
            self.make_room(now);
        }
        self.senders.entry(key).or_default().pass(automatic, now)
    }

    fn make_room(&mut self, now: i64) {
        self.senders.retain(|_, sender| now.saturating_sub(sender.seen) < AUTOMATIC_WINDOW_MILLIS);
        if self.senders.len() < SENDERS_MAX {
            return;
        }
        // A tenth at once, so that a flood of names does not look through all of them for each.
        let mut times: Vec<i64> = self.senders.values().map(|sender| sender.seen).collect();
        let (_, limit, _) = times.select_nth_unstable(SENDERS_MAX / 10);
        let limit = *limit;
        let mut rest = SENDERS_MAX / 10;
        self.senders.retain(|_, sender| {
            let goes = sender.seen <= limit && rest > 0;
            rest -= usize::from(goes);
            !goes
        });
    }
}

impl Sender {
    fn pass(&mut self, automatic: bool, now: i64) -> Flow {
        self.seen = now;
        let mails = count(&mut self.mails, now, MAILS_WINDOW_MILLIS, MAILS_MAX);
        let robots = automatic && count(&mut self.automatic, now, AUTOMATIC_WINDOW_MILLIS, AUTOMATIC_MAX);
        let until = [(mails, MAILS_WINDOW_MILLIS), (robots, AUTOMATIC_WINDOW_MILLIS)]
            .into_iter()
            .filter_map(|(over, window)| over.then_some(now.saturating_add(window)))
            .max();
        let lasts = self.tripped_until.is_some_and(|end| now < end);
        match (until, lasts) {
            // A trip lasts until there was quiet for as long as was counted, or it would be told of again and again.
            (Some(until), lasts) => {
                self.tripped_until = self.tripped_until.max(Some(until));
                Flow::Tripped { first: !lasts }
            }
            (None, true) => Flow::Tripped { first: false },
            (None, false) => {
                self.tripped_until = None;
                Flow::Goes
            }
        }
    }
}

/// Adds a time and says whether there are more than `max` in the window.
fn count(times: &mut VecDeque<i64>, now: i64, window: i64, max: usize) -> bool {
    times.retain(|time| now.saturating_sub(*time) < window);
    times.push_back(now);
    while times.len() > max + 1 {
        times.pop_front();
    }
    times.len() > max
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ada() -> &'static str {
        "ada@cust.test"
    }

    fn flows(breaker: &mut Breaker, automatic: bool, times: impl Iterator<Item = i64>) -> Vec<Flow> {
        times.map(|time| breaker.pass(ada(), automatic, time)).collect()
    }

    const FIRST: Flow = Flow::Tripped { first: true };
    const LATER: Flow = Flow::Tripped { first: false };

    #[test]
    fn twenty_mails_in_ten_minutes_go_and_the_next_ones_do_not() {
        let flows = flows(&mut Breaker::default(), false, (0..30).map(|n| n * 1000));
        assert_eq!(flows[..MAILS_MAX], [Flow::Goes; MAILS_MAX]);
        assert_eq!(flows[MAILS_MAX], FIRST);
        assert!(flows[MAILS_MAX + 1..].iter().all(|flow| *flow == LATER));
    }

    #[test]
    fn five_robots_in_an_hour_go_and_the_next_ones_do_not() {
        let flows = flows(&mut Breaker::default(), true, (0..8).map(|n| n * 5 * MINUTE));
        assert_eq!(flows[..AUTOMATIC_MAX], [Flow::Goes; AUTOMATIC_MAX]);
        assert_eq!(flows[AUTOMATIC_MAX..], [FIRST, LATER, LATER]);
    }

    #[test]
    fn mails_that_come_slowly_always_go() {
        let slow = flows(&mut Breaker::default(), false, (0..200).map(|n| n * MAILS_WINDOW_MILLIS / MAILS_MAX as i64));
        assert!(slow.iter().all(|flow| *flow == Flow::Goes));
    }

    #[test]
    fn a_trip_is_told_once_and_ends_with_quiet() {
        let mut breaker = Breaker::default();
        // Just above what is allowed, for hours: one notice.
        let step = MAILS_WINDOW_MILLIS / (MAILS_MAX as i64 + 2);
        let flows = flows(&mut breaker, false, (0..1000).map(|n| n * step));
        assert_eq!(flows.iter().filter(|flow| **flow == FIRST).count(), 1);
        let end = 1000 * step;
        assert_eq!(breaker.pass(ada(), false, end + MAILS_WINDOW_MILLIS), Flow::Goes);
        // And a new trip is told again.
        let again = (0..MAILS_MAX as i64).map(|n| breaker.pass(ada(), false, end + MAILS_WINDOW_MILLIS + n));
        assert_eq!(again.last(), Some(FIRST));
    }

    #[test]
    fn one_sender_does_not_stop_another() {
        let mut breaker = Breaker::default();
        flows(&mut breaker, false, 0..100);
        assert_eq!(breaker.pass(ada(), false, 100), LATER);
        assert_eq!(breaker.pass("bob@cust.test", false, 100), Flow::Goes);
    }

    #[test]
    fn many_senders_take_no_more_memory_than_some() {
        let mut breaker = Breaker::default();
        flows(&mut breaker, false, (0..30).map(|n| SENDERS_MAX as i64 + n));
        for n in 0..(SENDERS_MAX as i64 * 3) {
            breaker.pass(&format!("u{n}@cust.test"), false, n);
            assert!(breaker.senders.len() <= SENDERS_MAX);
        }
        assert!(breaker.senders.len() > SENDERS_MAX / 2);
    }

    proptest! {
        #[test]
        fn no_order_of_times_lets_a_flood_through(mut times in prop::collection::vec(0..MAILS_WINDOW_MILLIS, 21..60)) {
            times.sort_unstable();
            let flows = flows(&mut Breaker::default(), false, times.into_iter());
            prop_assert!(flows.iter().filter(|flow| **flow == Flow::Goes).count() <= MAILS_MAX);
            prop_assert_eq!(flows.iter().filter(|flow| **flow == FIRST).count(), 1);
        }

        #[test]
        fn any_times_are_counted_without_a_panic(times in prop::collection::vec(any::<i64>(), 0..100)) {
            flows(&mut Breaker::default(), true, times.into_iter());
        }
    }
}
