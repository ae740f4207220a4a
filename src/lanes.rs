//! The order of work in memory: for each lane the envelopes that wait, and which heads are due.
//! Pure: no store, no clock. Rebuilt by one scan at start and fed by every accept.

mod leaving;
mod resting;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use crate::model::{EnvelopeId, LaneId, Pace, Partition, SinkName, Waiting};
use resting::Resting;

/// The lanes of the partitions that this process holds.
#[derive(Debug, Default)]
pub struct Lanes {
    /// With the index of the sink: what is bound for another one is another sequence, since sinks may come to serve other
    /// threads when the settings change.
    by_id: HashMap<(usize, LaneId), LaneState, BuildHasherDefault<LaneHasher>>,
    sinks: Vec<SinkState>,
    sink_index: HashMap<SinkName, usize>,
    /// Lanes that spent something lately.
    resting: Resting,
    waiting: usize,
    /// Sinks whose counts may have changed since they were last asked for.
    changed: Vec<usize>,
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
    behind: Behind,
    /// Its entry in its sink's order of heads.
    listed: Option<EnvelopeId>,
    /// By rank, then arrival.
    entries: VecDeque<Entry>,
}

/// What a lane waits behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// A head that was not tried yet.
    Fresh,
    /// One that has to be tried again.
    Tried,
    /// One that is to be asked about.
    Doubt,
}

/// How it stands with one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Neither under way nor in doubt.
    pub waiting: usize,
    pub under_way: usize,
    pub in_doubt: usize,
    /// Lanes behind a head that was tried, or is in doubt.
    pub lanes_blocked: usize,
    /// Of all heads the one that came first.
    pub oldest: Option<EnvelopeId>,
    /// Nothing before then.
    pub held_until_millis: Option<i64>,
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
    /// Where all of its lanes belong, when they stay together.
    home: Option<Partition>,
    limit: usize,
    under_way: usize,
    held: Option<Hold>,
    /// Nothing before then.
    paused_until_millis: i64,
    /// Heads that are due, the oldest first: what was written together is read together.
    ready: BTreeSet<(EnvelopeId, LaneId)>,
    later: BTreeSet<(i64, LaneId)>,
    /// The first of each lane, whatever it waits for.
    heads: BTreeSet<EnvelopeId>,
    /// All entries, those under way included.
    entries: usize,
    /// Lanes behind a head that was tried, and of these the ones in doubt.
    tried: usize,
    in_doubt: usize,
    changed: bool,
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
            behind: Behind::Fresh,
            listed: None,
            entries: VecDeque::new(),
        });
        let place = lane.entries.partition_point(|e| (e.rank, e.id) < (waiting.rank, waiting.id));
        if lane.entries.get(place).is_some_and(|e| e.id == waiting.id) {
            return;
        }
        lane.entries.insert(place, Entry { rank: waiting.rank, id: waiting.id, due_millis: waiting.due_millis });
        self.waiting += 1;
        self.sinks[sink].entries += 1;
        self.touch(sink);
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
                let behind = std::mem::replace(&mut state.behind, Behind::Fresh);
                self.sinks[sink].is_past(behind);
                self.touch(sink);
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
            self.sinks[taken.sink].entries -= 1;
        }
        self.touch(taken.sink);
        self.queue(taken.sink, taken.lane);
    }

    /// The head stays and is due again then.
    pub fn again(&mut self, taken: Taken, due_millis: i64) {
        self.put_back(taken, due_millis, Behind::Tried);
    }

    /// The head stays, since nobody knows what became of it, and is to be asked about then.
    pub fn ask(&mut self, taken: Taken, due_millis: i64) {
        self.put_back(taken, due_millis, Behind::Doubt);
    }

    fn put_back(&mut self, taken: Taken, due_millis: i64, behind: Behind) {
        self.sinks[taken.sink].under_way -= 1;
        let Some(lane) = self.by_id.get_mut(&(taken.sink, taken.lane)) else { return };
        lane.under_way = None;
        lane.behind = behind;
        if let Some(entry) = lane.entries.iter_mut().find(|e| e.id == taken.id) {
            entry.due_millis = due_millis;
        }
        self.sinks[taken.sink].is_behind(behind);
        self.touch(taken.sink);
        self.queue(taken.sink, taken.lane);
    }

    /// The head is about to be [finished](Self::finish), and took one of the tokens of its lane. Without any left the lane
    /// rests. Says how many wait behind the head when that begins, and nothing while it goes on.
    pub fn spend(&mut self, taken: Taken, pace: Pace, now_millis: i64) -> Option<usize> {
        let lane = (taken.sink, taken.lane);
        let behind = self.by_id.get(&lane).map_or(0, |lane| lane.entries.len().saturating_sub(1));
        self.resting.spend(lane, pace, behind > 0, now_millis).then_some(behind)
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
        let removed = before - lane.entries.len();
        self.waiting -= removed;
        self.sinks[taken.sink].entries -= removed;
        self.touch(taken.sink);
        self.queue(taken.sink, taken.lane);
    }

    /// Nothing of this sink before that moment; then one head, until it is released.
    pub fn hold(&mut self, sink: usize, until_millis: i64) {
        let held = &mut self.sinks[sink].held;
        let until_millis = held.map_or(until_millis, |hold| hold.until_millis.max(until_millis));
        *held = Some(Hold { until_millis });
        self.touch(sink);
    }

    /// The far side is back. Says whether the sink was held.
    pub fn release(&mut self, sink: usize) -> bool {
        self.touch(sink);
        self.sinks[sink].held.take().is_some()
    }

    /// Nothing of this sink before that moment, whatever its far side is.
    pub fn pause(&mut self, sink: &SinkName, until_millis: i64) {
        let index = self.sink(sink);
        self.sinks[index].paused_until_millis = until_millis;
        self.touch(index);
    }

    pub fn resume(&mut self, sink: &SinkName) {
        let index = self.sink(sink);
        self.sinks[index].paused_until_millis = i64::MIN;
        self.touch(index);
    }

    pub fn find_sink(&self, name: &SinkName) -> Option<usize> {
        self.sink_index.get(name).copied()
    }

    /// A sink whose counts may have changed, each once. Asked for until there is none.
    pub fn changed(&mut self) -> Option<usize> {
        let sink = self.changed.pop()?;
        self.sinks[sink].changed = false;
        Some(sink)
    }

    pub fn count(&self, sink: usize) -> Count {
        self.sinks[sink].count()
    }

    fn touch(&mut self, sink: usize) {
        if !std::mem::replace(&mut self.sinks[sink].changed, true) {
            self.changed.push(sink);
        }
    }

    fn sink(&mut self, name: &SinkName) -> usize {
        if let Some(index) = self.sink_index.get(name) {
            return *index;
        }
        let index = self.sinks.len();
        self.sinks.push(SinkState {
            name: name.clone(),
            home: name.is_network().then(|| name.home()),
            limit: 1,
            under_way: 0,
            held: None,
            paused_until_millis: i64::MIN,
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            heads: BTreeSet::new(),
            entries: 0,
            tried: 0,
            in_doubt: 0,
            changed: false,
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
        let head = lane.entries.front().map(|head| head.id);
        if head != lane.listed {
            sink.relist(lane.listed, head);
            lane.listed = head;
        }
        if lane.under_way.is_some() {
            return;
        }
        match lane.entries.front() {
            Some(head) => {
                let due_millis = head.due_millis.max(self.resting.free((index, id)));
                sink.later.insert((due_millis, id));
                lane.queued = Some(Queued::Later(due_millis));
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
    fn count(&self) -> Count {
        let paused = Some(self.paused_until_millis).filter(|until| *until > i64::MIN);
        Count {
            waiting: self.entries.saturating_sub(self.under_way + self.in_doubt),
            under_way: self.under_way,
            in_doubt: self.in_doubt,
            lanes_blocked: self.tried,
            oldest: self.heads.first().copied(),
            held_until_millis: self.held.map(|hold| hold.until_millis).max(paused),
        }
    }

    fn is_behind(&mut self, behind: Behind) {
        self.tried += usize::from(behind != Behind::Fresh);
        self.in_doubt += usize::from(behind == Behind::Doubt);
    }

    fn is_past(&mut self, behind: Behind) {
        self.tried -= usize::from(behind != Behind::Fresh);
        self.in_doubt -= usize::from(behind == Behind::Doubt);
    }

    fn relist(&mut self, before: Option<EnvelopeId>, now: Option<EnvelopeId>) {
        if let Some(before) = before {
            self.heads.remove(&before);
        }
        self.heads.extend(now);
    }

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
