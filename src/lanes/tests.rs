//! The order of work, head by head.

use proptest::prelude::*;

use super::*;
use crate::model::Lane;

fn sink() -> SinkName {
    SinkName::from_stored("inbox:support")
}

fn waiting(lane: i64, id: i64, rank: i64, due_millis: i64) -> Waiting {
    Waiting { id: EnvelopeId(id), lane: Lane { id: LaneId(lane), sink: sink() }, rank, due_millis }
}

fn lanes(limit: usize) -> Lanes {
    let mut lanes = Lanes::default();
    lanes.set_limit(&sink(), limit);
    lanes
}

fn ids(taken: &[Taken]) -> Vec<i64> {
    taken.iter().map(|t| t.id.0).collect()
}

#[test]
fn one_head_of_each_lane_is_taken_and_the_next_only_after_it_is_settled() {
    let mut lanes = lanes(10);
    for (lane, id) in [(1, 1), (1, 2), (2, 3)] {
        lanes.push(&waiting(lane, id, 0, 0));
    }
    let taken = lanes.take(0);
    assert_eq!(ids(&taken), [1, 3]);
    assert_eq!(ids(&lanes.take(0)), [0; 0]);
    lanes.finish(taken[0]);
    assert_eq!(ids(&lanes.take(0)), [2]);
}

#[test]
fn a_late_elder_takes_its_place_before_younger_ones_whose_grace_runs() {
    let mut lanes = lanes(10);
    lanes.push(&waiting(1, 1, 102, 250));
    lanes.push(&waiting(1, 2, 101, 260));
    assert_eq!(lanes.next_due(), Some(260));
    let taken = lanes.take(260);
    assert_eq!(ids(&taken), [2]);
    lanes.finish(taken[0]);
    assert_eq!(ids(&lanes.take(260)), [1]);
}

#[test]
fn an_elder_that_comes_while_a_younger_is_under_way_is_next() {
    let mut lanes = lanes(10);
    lanes.push(&waiting(1, 1, 102, 0));
    lanes.push(&waiting(1, 3, 103, 0));
    let taken = lanes.take(0);
    lanes.push(&waiting(1, 2, 101, 0));
    assert!(lanes.take(0).is_empty());
    lanes.finish(taken[0]);
    assert_eq!(ids(&lanes.take(0)), [2]);
    assert_eq!(lanes.len(), 2);
}

#[test]
fn a_head_that_waits_blocks_its_lane_only() {
    let mut lanes = lanes(10);
    for (lane, id) in [(1, 1), (1, 2), (2, 3)] {
        lanes.push(&waiting(lane, id, 0, 0));
    }
    let taken = lanes.take(0);
    lanes.again(taken[0], 500);
    lanes.finish(taken[1]);
    assert!(lanes.take(499).is_empty());
    assert_eq!(lanes.next_due(), Some(500));
    assert_eq!(ids(&lanes.take(500)), [1]);
}

#[test]
fn a_sink_takes_no_more_than_its_limit_and_the_oldest_first() {
    let mut lanes = lanes(2);
    for id in [5, 3, 4] {
        lanes.push(&waiting(id, id, 0, 0));
    }
    assert_eq!(ids(&lanes.take(0)), [3, 4]);
    assert_eq!(lanes.next_due(), None);
}

#[test]
fn a_held_sink_is_tried_with_one_head_and_then_released() {
    let mut lanes = lanes(10);
    for id in 1..=3 {
        lanes.push(&waiting(id, id, 0, 0));
    }
    lanes.hold(0, 1000);
    assert!(lanes.take(999).is_empty());
    assert_eq!(lanes.next_due(), Some(1000));
    assert_eq!(ids(&lanes.take(1000)), [1]);
    assert!(lanes.take(1000).is_empty());
    assert!(lanes.release(0));
    assert_eq!(ids(&lanes.take(1000)), [2, 3]);
}

#[test]
fn a_pushed_envelope_is_pushed_once_and_buried_ones_are_gone() {
    let mut lanes = lanes(10);
    for _ in 0..2 {
        lanes.push(&waiting(1, 1, 4096, 0));
        lanes.push(&waiting(1, 2, 4097, 0));
        lanes.push(&waiting(1, 3, 8192, 0));
    }
    assert_eq!(lanes.len(), 3);
    let taken = lanes.take(0);
    let also = lanes.siblings(taken[0], 4096..=8191);
    assert_eq!(also, [EnvelopeId(2)]);
    lanes.remove(taken[0], &also);
    lanes.finish(taken[0]);
    assert_eq!(ids(&lanes.take(0)), [3]);
}

#[test]
fn what_is_bound_for_another_sink_is_another_sequence() {
    let mut lanes = lanes(10);
    let gone = SinkName::from_stored("inbox:renamed since");
    let old = Waiting { lane: Lane { id: LaneId(1), sink: gone.clone() }, ..waiting(1, 1, 1, 0) };
    lanes.push(&old);
    lanes.push(&waiting(1, 2, 2, 0));
    lanes.hold(lanes.find_sink(&gone).unwrap(), i64::MAX);
    let taken = lanes.take(0);
    assert_eq!(ids(&taken), [2], "it neither waits behind the old one nor takes it along");
    assert_eq!(lanes.sink_name(taken[0].sink), &sink());
    lanes.finish(taken[0]);
    assert_eq!((ids(&lanes.take(0)), lanes.len()), (vec![], 1));
    lanes.push(&old);
    assert_eq!(lanes.len(), 1);
}

#[test]
fn a_paused_sink_begins_nothing_until_it_is_resumed_or_its_time_has_come() {
    let mut lanes = lanes(10);
    lanes.pause(&sink(), 100);
    lanes.push(&waiting(1, 2, 2, 0));
    assert_eq!((ids(&lanes.take(99)), lanes.next_due()), (vec![], Some(100)));
    // What belongs before it has come meanwhile.
    lanes.push(&waiting(1, 3, 1, 0));
    // Nor does the news that the far side is back end it.
    lanes.release(0);
    assert_eq!(ids(&lanes.take(99)), [0; 0]);
    lanes.resume(&sink());
    assert_eq!(ids(&lanes.take(99)), [3]);
    lanes.pause(&sink(), 200);
    lanes.push(&waiting(2, 4, 0, 0));
    assert_eq!((ids(&lanes.take(199)), ids(&lanes.take(200))), (vec![], vec![4]));
}

fn counts(lanes: &Lanes) -> (usize, usize, usize, usize, Option<i64>) {
    let Count { waiting, under_way, in_doubt, lanes_blocked, oldest, .. } = lanes.count(0);
    (waiting, under_way, in_doubt, lanes_blocked, oldest.map(|id| id.0))
}

#[test]
fn a_sink_counts_what_waits_what_is_under_way_and_what_is_in_doubt() {
    let mut lanes = lanes(2);
    for (lane, id) in [(1, 1), (1, 4), (2, 2), (3, 3)] {
        lanes.push(&waiting(lane, id, 0, 0));
    }
    assert_eq!(counts(&lanes), (4, 0, 0, 0, Some(1)));
    let taken = lanes.take(0);
    assert_eq!(counts(&lanes), (2, 2, 0, 0, Some(1)));
    lanes.ask(taken[0], 100);
    lanes.again(taken[1], 50);
    assert_eq!(counts(&lanes), (3, 0, 1, 2, Some(1)));
    let third = lanes.take(0);
    lanes.finish(third[0]);
    let taken = lanes.take(100);
    assert_eq!((ids(&taken), counts(&lanes)), (vec![1, 2], (1, 2, 0, 0, Some(1))));
    lanes.finish(taken[0]);
    assert_eq!(counts(&lanes), (1, 1, 0, 0, Some(2)));
    lanes.finish(taken[1]);
    let last = lanes.take(100);
    lanes.finish(last[0]);
    assert_eq!(counts(&lanes), (0, 0, 0, 0, None));
}

#[test]
fn a_sink_that_changed_is_named_once() {
    let mut lanes = lanes(2);
    while lanes.changed().is_some() {}
    lanes.push(&waiting(1, 1, 0, 0));
    lanes.push(&waiting(2, 2, 0, 0));
    assert_eq!((lanes.changed(), lanes.changed()), (Some(0), None));
    let taken = lanes.take(0);
    assert_eq!((lanes.changed(), lanes.changed()), (Some(0), None));
    lanes.hold(0, 70);
    assert_eq!((lanes.changed(), lanes.count(0).held_until_millis), (Some(0), Some(70)));
    lanes.pause(&sink(), 90);
    assert_eq!((lanes.changed(), lanes.count(0).held_until_millis), (Some(0), Some(90)));
    lanes.resume(&sink());
    lanes.release(0);
    assert_eq!((lanes.changed(), lanes.count(0).held_until_millis), (Some(0), None));
    lanes.finish(taken[0]);
    assert_eq!((lanes.changed(), lanes.changed()), (Some(0), None));
}

#[test]
fn a_lane_that_spent_what_it_may_rests_and_the_others_go_on() {
    let (mut lanes, pace) = (lanes(10), Pace::new(2, 1000).unwrap());
    for id in 1..=4 {
        lanes.push(&waiting(1, id, 0, 0));
    }
    let mut took = Vec::new();
    for now in [0, 0, 0, 999, 1000, 1000, 2000] {
        for taken in lanes.take(now) {
            took.push((now, taken.id.0, lanes.spend(taken, pace, now)));
            lanes.finish(taken);
        }
    }
    assert_eq!(took, [(0, 1, None), (0, 2, Some(2)), (1000, 3, None), (2000, 4, None)], "told once");
    lanes.push(&waiting(1, 5, 0, 0));
    lanes.push(&waiting(2, 6, 0, 0));
    assert_eq!(ids(&lanes.take(2000)), [6], "it rests also when nothing of it waited meanwhile");
    assert_eq!(lanes.next_due(), Some(3000));
    assert_eq!(ids(&lanes.take(3000)), [5]);
}

#[test]
fn what_failed_and_what_is_not_of_a_peer_costs_a_lane_nothing() {
    let (mut lanes, pace) = (lanes(10), Pace::new(1, 1000).unwrap());
    for id in 1..=3 {
        lanes.push(&waiting(1, id, 0, 0));
    }
    let taken = lanes.take(0)[0];
    lanes.again(taken, 10);
    let taken = lanes.take(10)[0];
    lanes.finish(taken);
    let taken = lanes.take(10)[0];
    assert_eq!((taken.id.0, lanes.spend(taken, pace, 10)), (2, Some(1)));
    lanes.finish(taken);
    assert_eq!((ids(&lanes.take(1009)), ids(&lanes.take(1010))), (vec![], vec![3]));
}

/// Each lane of a sink without a limit of its own, in virtual time: what comes when, and what is taken when.
fn played(arrivals: &[(i64, i64)], pace: Pace, paced: impl Fn(i64) -> bool) -> Vec<(i64, i64, i64)> {
    let mut lanes = lanes(1000);
    let mut coming = arrivals.iter().enumerate().peekable();
    let (mut now, mut took) = (0, Vec::new());
    loop {
        while let Some((id, (_, lane))) = coming.next_if(|(_, (at, _))| *at <= now) {
            lanes.push(&waiting(*lane, id as i64, *lane, now));
        }
        let taken = lanes.take(now);
        for taken in &taken {
            took.push((taken.lane.0, taken.id.0, now));
            if paced(taken.lane.0) {
                lanes.spend(*taken, pace, now);
            }
            lanes.finish(*taken);
        }
        if taken.is_empty() {
            let next = coming.peek().map(|(_, (at, _))| *at);
            let Some(next) = next.into_iter().chain(lanes.next_due()).min() else { return took };
            now = next;
        }
    }
}

fn of_lane(took: &[(i64, i64, i64)], lane: i64) -> Vec<(i64, i64)> {
    took.iter().filter(|(of, ..)| *of == lane).map(|(_, id, at)| (*id, *at)).collect()
}

proptest! {
    #[test]
    fn a_pace_loses_nothing_keeps_the_order_holds_the_rate_and_slows_nobody_else(
        mut arrivals in prop::collection::vec((0_i64..20_000, 0_i64..4), 0..120), burst in 1_u32..6, pause in 1_u32..3000,
    ) {
        arrivals.sort_by_key(|(at, _)| *at);
        let pace = Pace::new(burst, pause).unwrap();
        // The last lane has no pace.
        let took = played(&arrivals, pace, |lane| lane < 3);
        prop_assert_eq!(took.len(), arrivals.len());
        for lane in 0..4 {
            let taken = of_lane(&took, lane);
            prop_assert!(taken.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            let alone: Vec<_> = arrivals.iter().map(|(at, of)| (*at, if *of == lane { lane } else { 99 })).collect();
            prop_assert_eq!(&taken, &of_lane(&played(&alone, pace, |lane| lane < 3), lane), "as if it were alone");
            for (place, (_, first)) in taken.iter().enumerate().filter(|_| lane < 3) {
                for (further, (_, later)) in taken[place..].iter().enumerate() {
                    let allowed = i64::from(burst) + (later - first) / i64::from(pause);
                    prop_assert!((further as i64) < allowed, "{further} after {first} until {later}");
                }
            }
            let waited = taken.iter().any(|(id, at)| *at != arrivals[*id as usize].0);
            prop_assert!(lane < 3 || !waited, "nobody else waits");
        }
    }
}

#[test]
fn lanes_of_partitions_that_are_left_go_but_for_what_is_under_way() {
    let mut lanes = lanes(9);
    for (id, lane) in [1, 1, 2, 2, 257].into_iter().enumerate() {
        lanes.push(&waiting(lane, id as i64, 0, 0));
    }
    let taken = lanes.take(0);
    let [one, two, far] = taken[..] else { panic!("three lanes: {taken:?}") };
    lanes.ask(far, 5);
    lanes.leave(&[1].into_iter().collect());
    let count = lanes.count(0);
    assert_eq!((lanes.len(), count.under_way, count.in_doubt, count.waiting), (3, 2, 0, 1));
    lanes.again(one, 7);
    lanes.leave_lane(one.sink, one.lane);
    lanes.finish(two);
    assert_eq!((lanes.len(), lanes.take(100).len()), (1, 1), "only the rest of the lane that stays");
    lanes.push(&waiting(1, 9, 0, 0));
    assert_eq!(lanes.take(100).len(), 1, "it may come back");
}
