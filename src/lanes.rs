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
    /// With the index of the sink: what is bound for another one is another sequence, since sinks may come to serve other
    /// threads when the settings change.
    by_id: HashMap<(usize, LaneId), LaneState, BuildHasherDefault<LaneHasher>>,
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
        let lane = self.by_id.entry((sink, lane_id)).or_insert_with(|| LaneState {
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
            self.queue(sink, lane_id);
        }
    }

    /// Takes the due heads that their sinks have room for, one of each lane, oldest first.
    pub fn take(&mut self, now_millis: i64) -> Vec<Taken> {
        let mut taken = Vec::new();
        for sink in 0..self.sinks.len() {
            self.ripen(sink, now_millis);
            while let Some((id, lane)) = self.sinks[sink].pop(now_millis) {
                let state = self.by_id.get_mut(&(sink, lane)).expect("a queued lane exists");
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
        let Some(lane) = self.by_id.get_mut(&(taken.sink, taken.lane)) else { return };
        lane.under_way = None;
        if let Some(place) = lane.entries.iter().position(|e| e.id == taken.id) {
            lane.entries.remove(place);
            self.waiting -= 1;
        }
        self.queue(taken.sink, taken.lane);
    }

    /// The head stays and is due again then.
    pub fn again(&mut self, taken: Taken, due_millis: i64) {
        self.sinks[taken.sink].under_way -= 1;
        let Some(lane) = self.by_id.get_mut(&(taken.sink, taken.lane)) else { return };
        lane.under_way = None;
        if let Some(entry) = lane.entries.iter_mut().find(|e| e.id == taken.id) {
            entry.due_millis = due_millis;
        }
        self.queue(taken.sink, taken.lane);
    }

    /// Other envelopes of a lane with a rank in this range, which can be buried with a head.
    pub fn siblings(&self, taken: Taken, ranks: std::ops::RangeInclusive<i64>) -> Vec<EnvelopeId> {
        let Some(lane) = self.by_id.get(&(taken.sink, taken.lane)) else { return Vec::new() };
        lane.entries.iter().filter(|e| ranks.contains(&e.rank) && e.id != taken.id).map(|e| e.id).collect()
    }

    /// Drops envelopes of the head's lane that are not under way.
    pub fn remove(&mut self, taken: Taken, ids: &[EnvelopeId]) {
        let Some(lane) = self.by_id.get_mut(&(taken.sink, taken.lane)) else { return };
        let before = lane.entries.len();
        let under_way = lane.under_way;
        lane.entries.retain(|e| Some(e.id) == under_way || !ids.contains(&e.id));
        self.waiting -= before - lane.entries.len();
        self.queue(taken.sink, taken.lane);
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
    fn queue(&mut self, index: usize, id: LaneId) {
        let Some(lane) = self.by_id.get_mut(&(index, id)) else { return };
        let sink = &mut self.sinks[index];
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
            None => drop(self.by_id.remove(&(index, id))),
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
            let lane = self.by_id.get_mut(&(sink, lane_id)).expect("a queued lane exists");
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
        self.0 ^= id as u64;
    }
    fn write_usize(&mut self, sink: usize) {
        self.0 ^= (sink as u64) << 32;
    }
}

#[cfg(test)]
mod tests;
