//! Lanes: sequences of envelopes that must take effect one after another.

use sha2::{Digest, Sha256};

use crate::model::{Partition, SinkName};

/// Parts that one message may be cut into; the low bits of an outbound rank.
pub const PARTS_MAX: usize = 1 << 12;

/// A lane's stable number: 64 bits of a hash of its name. Two names that collide would merely share a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub i64);

impl LaneId {
    /// Of the lane that [`Lane::new`] makes of the same words.
    pub fn new(purpose: &str, scope: &str, thread: &str) -> Self {
        let mut hash = Sha256::new();
        for word in [purpose, scope, thread] {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word);
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(i64::from_le_bytes(first))
    }

    /// Its share, where the lanes of one sink are spread.
    pub fn partition(self) -> Partition {
        self.0.to_le_bytes()[0]
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
        Self { id: LaneId::new(purpose, scope, thread), sink }
    }

    /// Lanes towards an inbox are spread. Those towards a network stay together, and with its bridge: there may be only
    /// one that speaks.
    pub fn partition(&self) -> Partition {
        if self.sink.is_network() { self.sink.home() } else { self.id.partition() }
    }
}

/// The rank of one part of an agent's message: message ids order it, since callbacks come unordered.
pub fn rank_of(message: i64, part: usize) -> i64 {
    message * PARTS_MAX as i64 + part.min(PARTS_MAX - 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InboxName;

    #[test]
    fn lanes_of_an_inbox_are_spread_and_those_of_a_network_stay_together() {
        let count = |sink: &SinkName| {
            let lane = |thread: u32| Lane::new(sink.clone(), "out", "net", &thread.to_string());
            (0..1000).map(|thread| lane(thread).partition()).collect::<std::collections::BTreeSet<_>>().len()
        };
        let (inbox, network) = (SinkName::inbox(&InboxName::new("support")), SinkName::bridge(&"libera".into()));
        assert!(count(&inbox) > 200);
        assert_eq!(count(&network), 1);
        assert_eq!(Lane::new(network.clone(), "out", "net", "ada").partition(), network.home());
    }

    /// Processes of different versions must agree about it.
    #[test]
    fn a_home_never_changes() {
        let home = |name: &str| SinkName::from_stored(name.to_owned()).home();
        assert_eq!(["bridge:libera", "bridge:mail", "inbox:support"].map(home), HOMES);
    }

    const HOMES: [Partition; 3] = [152, 45, 57];
}
