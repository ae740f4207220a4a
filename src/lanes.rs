//! The order of work in memory: for each lane the envelopes that wait, and which heads are due.
//! Pure: no store, no clock. Rebuilt by one scan at start and fed by every accept.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use crate::model::{EnvelopeId, LaneId, SinkName, Waiting};

/// The lanes of the partitions that this process holds.
#[derive(Debug, Default)]
pub struct Lanes {
    by_id: HashMap<LaneId, LaneState, BuildHasherDefault<LaneHasher>>,
    sinks: Vec<SinkState>,
    sink_index: HashMap<SinkName, usize>,
    waiting: usize,
}

/// A head that was taken and must be given back by one of [`Lanes::finish`], [`Lanes::again`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub id: EnvelopeId,
    pub lane: LaneId,
    /// Index for [`Lanes::sink_name`].
    pub sink: usize,
}

#[derive(Debug)]
struct LaneState {
    sink: usize,
    under_way: Option<EnvelopeId>,
    /// When the lane stands in its sink's order of due heads: under which entry.
    queued: Option<Queued>,
    /// By rank, then arrival.
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rank: i64,
    id: EnvelopeId,
    due_millis: i64,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Ready(EnvelopeId),
    Later(i64),
}

#[derive(Debug)]
struct SinkState {
    name: SinkName,
    limit: usize,
    under_way: usize,
    held: Option<Hold>,
    /// Nothing before then.
    paused_until_millis: i64,
    /// Heads that are due, the oldest first: what was written together is read together.
    ready: BTreeSet<(EnvelopeId, LaneId)>,
    later: BTreeSet<(i64, LaneId)>,
}

/// A sink whose far side is down: nothing until then, and then one head to try it with.
#[derive(Clone, Copy, Debug)]
struct Hold {
    until_millis: i64,
}

impl Lanes {
    /// Makes a sink known. At most `limit` of its heads are under way at once.
    pub fn set_limit(&mut self, sink: &SinkName, limit: usize) {
        let index = self.sink(sink);
        self.sinks[index].limit = limit.max(1);
    }

    pub fn sink_name(&self, sink: usize) -> &SinkName {
        &self.sinks[sink].name
    }

    /// Envelopes that wait or are under way.
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds an envelope. Adding it twice changes nothing.
    pub fn push(&mut self, waiting: &Waiting) {
        let sink = self.sink(&waiting.lane.sink);
        let lane_id = waiting.lane.id;
        let lane = self.by_id.entry(lane_id).or_insert_with(|| LaneState {
            sink,
            under_way: None,
            queued: None,
            entries: VecDeque::new(),
        });
        let place = lane.entries.partition_point(|e| (e.rank, e.id) < (waiting.rank, waiting.id));
        if lane.entries.get(place).is_some_and(|e| e.id == waiting.id) {
            return;
        }
        lane.entries.insert(place, Entry { rank: waiting.rank, id: waiting.id, due_millis: waiting.due_millis });
        self.waiting += 1;
        if place == 0 {
            self.queue(lane_id);
        }
    }

    /// Takes the due heads that their sinks have room for, one of each lane, oldest first.
    pub fn take(&mut self, now_millis: i64) -> Vec<Taken> {
        let mut taken = Vec::new();
        for sink in 0..self.sinks.len() {
            self.ripen(sink, now_millis);
            while let Some((id, lane)) = self.sinks[sink].pop(now_millis) {
                let state = self.by_id.get_mut(&lane).expect("a queued lane exists");
                state.queued = None;
                state.under_way = Some(id);
                taken.push(Taken { id, lane, sink });
            }
        }
        taken
    }

    /// The earliest moment at which [`Lanes::take`] may find something that it does not find now.
    /// `None` while only a settled attempt or a new envelope can change that.
    pub fn next_due(&self) -> Option<i64> {
        self.sinks.iter().filter_map(SinkState::next_due).min()
    }

    /// The head is gone: done or dead. Its lane's next head may be taken.
    pub fn finish(&mut self, taken: Taken) {
        self.sinks[taken.sink].under_way -= 1;
        let Some(lane) = self.by_id.get_mut(&taken.lane) else { return };
        lane.under_way = None;
        if let Some(place) = lane.entries.iter().position(|e| e.id == taken.id) {
            lane.entries.remove(place);
            self.waiting -= 1;
        }
        self.queue(taken.lane);
    }

    /// The head stays and is due again then.
    pub fn again(&mut self, taken: Taken, due_millis: i64) {
        self.sinks[taken.sink].under_way -= 1;
        let Some(lane) = self.by_id.get_mut(&taken.lane) else { return };
        lane.under_way = None;
        if let Some(entry) = lane.entries.iter_mut().find(|e| e.id == taken.id) {
            entry.due_millis = due_millis;
        }
        self.queue(taken.lane);
    }

    /// Other envelopes of a lane with a rank in this range, which can be buried with a head.
    pub fn siblings(&self, taken: Taken, ranks: std::ops::RangeInclusive<i64>) -> Vec<EnvelopeId> {
        let Some(lane) = self.by_id.get(&taken.lane) else { return Vec::new() };
        lane.entries.iter().filter(|e| ranks.contains(&e.rank) && e.id != taken.id).map(|e| e.id).collect()
    }

    /// Drops envelopes that are not under way.
    pub fn remove(&mut self, lane_id: LaneId, ids: &[EnvelopeId]) {
        let Some(lane) = self.by_id.get_mut(&lane_id) else { return };
        let before = lane.entries.len();
        let under_way = lane.under_way;
        lane.entries.retain(|e| Some(e.id) == under_way || !ids.contains(&e.id));
        self.waiting -= before - lane.entries.len();
        self.queue(lane_id);
    }

    /// Nothing of this sink before that moment; then one head, until it is released.
    pub fn hold(&mut self, sink: usize, until_millis: i64) {
        let held = &mut self.sinks[sink].held;
        let until_millis = held.map_or(until_millis, |hold| hold.until_millis.max(until_millis));
        *held = Some(Hold { until_millis });
    }

    /// The far side is back. Says whether the sink was held.
    pub fn release(&mut self, sink: usize) -> bool {
        self.sinks[sink].held.take().is_some()
    }

    /// Nothing of this sink before that moment, whatever its far side is.
    pub fn pause(&mut self, sink: &SinkName, until_millis: i64) {
        let index = self.sink(sink);
        self.sinks[index].paused_until_millis = until_millis;
    }

    pub fn resume(&mut self, sink: &SinkName) {
        let index = self.sink(sink);
        self.sinks[index].paused_until_millis = i64::MIN;
    }

    pub fn find_sink(&self, name: &SinkName) -> Option<usize> {
        self.sink_index.get(name).copied()
    }

    fn sink(&mut self, name: &SinkName) -> usize {
        if let Some(index) = self.sink_index.get(name) {
            return *index;
        }
        let index = self.sinks.len();
        self.sinks.push(SinkState {
            name: name.clone(),
            limit: 1,
            under_way: 0,
            held: None,
            paused_until_millis: i64::MIN,
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
        });
        self.sink_index.insert(name.clone(), index);
        index
    }

    /// Puts a lane that has no head under way where its head belongs; drops an empty one.
    fn queue(&mut self, id: LaneId) {
        let Some(lane) = self.by_id.get_mut(&id) else { return };
        let sink = &mut self.sinks[lane.sink];
        match lane.queued.take() {
            Some(Queued::Ready(head)) => drop(sink.ready.remove(&(head, id))),
            Some(Queued::Later(due)) => drop(sink.later.remove(&(due, id))),
            None => {}
        }
        if lane.under_way.is_some() {
            return;
        }
        match lane.entries.front() {
            Some(head) => {
                sink.later.insert((head.due_millis, id));
                lane.queued = Some(Queued::Later(head.due_millis));
            }
            None => drop(self.by_id.remove(&id)),
        }
    }

    /// Moves heads whose time has come from `later` to `ready`.
    fn ripen(&mut self, sink: usize, now_millis: i64) {
        let state = &mut self.sinks[sink];
        while let Some(&(due, lane_id)) = state.later.first() {
            if due > now_millis {
                break;
            }
            state.later.pop_first();
            let lane = self.by_id.get_mut(&lane_id).expect("a queued lane exists");
            let head = lane.entries.front().expect("a queued lane has a head").id;
            state.ready.insert((head, lane_id));
            lane.queued = Some(Queued::Ready(head));
        }
    }
}

impl SinkState {
    fn room(&self) -> usize {
        let limit = if self.held.is_some() { 1 } else { self.limit };
        limit.saturating_sub(self.under_way)
    }

    fn pop(&mut self, now_millis: i64) -> Option<(EnvelopeId, LaneId)> {
        let waits = self.held.is_some_and(|hold| hold.until_millis > now_millis);
        if self.room() == 0 || waits || self.paused_until_millis > now_millis {
            return None;
        }
        let head = self.ready.pop_first()?;
        self.under_way += 1;
        Some(head)
    }

    fn next_due(&self) -> Option<i64> {
        if self.room() == 0 {
            return None;
        }
        let head = if self.ready.is_empty() { self.later.first().map(|(due, _)| *due) } else { Some(i64::MIN) };
        let from = self.held.map_or(i64::MIN, |hold| hold.until_millis).max(self.paused_until_millis);
        head.map(|due| due.max(from))
    }
}

/// A lane's id is a hash already.
#[derive(Debug, Default)]
struct LaneHasher(u64);

impl Hasher for LaneHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_i64(&mut self, id: i64) {
        self.0 = id as u64;
    }
}

#[cfg(test)]
mod tests {
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
        lanes.remove(taken[0].lane, &also);
        lanes.finish(taken[0]);
        assert_eq!(ids(&lanes.take(0)), [3]);
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
}
