//! Lanes: sequences of envelopes that must take effect one after another.

use sha2::{Digest, Sha256};

use crate::model::SinkName;

/// Shares of the lanes; the unit of ownership between processes.
pub const PARTITIONS: i64 = 256;

/// Parts that one message may be cut into; the low bits of an outbound rank.
pub const PARTS_MAX: usize = 1 << 12;

/// A lane's stable number: 64 bits of a hash of its name. Two names that collide would merely share a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub i64);

impl LaneId {
    /// From 0 to [`PARTITIONS`] - 1.
    pub fn partition(self) -> i64 {
        self.0 & (PARTITIONS - 1)
    }
}

/// Which lane, and which sink its effects go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub id: LaneId,
    pub sink: SinkName,
}

impl Lane {
    /// The lane of one `thread` (or conversation) within one `purpose` (`in`, `out`, `status`) of a sink.
    pub fn new(sink: SinkName, purpose: &str, scope: &str, thread: &str) -> Self {
        let mut hash = Sha256::new();
        for word in [purpose, scope, thread] {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word);
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self { id: LaneId(i64::from_le_bytes(first)), sink }
    }
}

/// The rank of one part of an agent's message: message ids order it, since callbacks come unordered.
pub fn rank_of(message: i64, part: usize) -> i64 {
    message * PARTS_MAX as i64 + part.min(PARTS_MAX - 1) as i64
}
