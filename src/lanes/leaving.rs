//! Lanes of partitions that are held no longer, or not for long: what is not under way is taken out. The store has it.

use super::{Behind, Lanes};
use crate::model::{LaneId, Partition, Partitions};

impl Lanes {
    /// Where a lane of this sink belongs.
    pub fn partition(&self, sink: usize, lane: LaneId) -> Partition {
        self.sinks[sink].home.unwrap_or_else(|| lane.partition())
    }

    /// Takes out whatever is not under way in these partitions. What is goes on until it is [finished](Self::finish).
    pub fn leave(&mut self, partitions: &Partitions) {
        let left = |(sink, lane): &&(usize, LaneId)| partitions.has(self.partition(*sink, *lane));
        let lanes: Vec<_> = self.by_id.keys().filter(left).copied().collect();
        for (sink, lane) in lanes {
            self.leave_lane(sink, lane);
        }
    }

    /// The same for one lane.
    pub fn leave_lane(&mut self, sink: usize, id: LaneId) {
        let Some(lane) = self.by_id.get_mut(&(sink, id)) else { return };
        let before = lane.entries.len();
        lane.entries.retain(|entry| Some(entry.id) == lane.under_way);
        let removed = before - lane.entries.len();
        // While one is under way nobody stands behind one that was tried.
        let behind = std::mem::replace(&mut lane.behind, Behind::Fresh);
        self.sinks[sink].is_past(behind);
        self.waiting -= removed;
        self.sinks[sink].entries -= removed;
        self.touch(sink);
        self.queue(sink, id);
    }
}
