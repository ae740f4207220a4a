//! The right to work on partitions, and what is told to one who renews it.

use std::{fmt, sync::Arc};

use crate::model::{EnvelopeId, PARTITIONS, Partition, Partitions, Waiting};

/// How long a right lasts that is not renewed, where several processes share a store.
pub const LEASE_MILLIS: i64 = 10_000;

/// The right to work on partitions. Of each that is held it has the fencing number, which grows whenever the partition is
/// taken: who shows an older one changes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    owner: Arc<str>,
    /// 0 where it is not held.
    epochs: Arc<[i64; PARTITIONS]>,
}

impl Lease {
    /// Of those with an epoch above 0.
    pub fn new(owner: &str, epochs: [i64; PARTITIONS]) -> Self {
        Self { owner: owner.into(), epochs: Arc::new(epochs) }
    }
    /// Of all partitions, taken together.
    pub fn of_all(owner: &str, epoch: i64) -> Self {
        Self::new(owner, [epoch; PARTITIONS])
    }
    /// Of none.
    pub fn none(owner: &str) -> Self {
        Self::new(owner, [0; PARTITIONS])
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }
    pub fn epoch(&self, partition: Partition) -> Option<i64> {
        Some(self.epochs[usize::from(partition)]).filter(|epoch| *epoch > 0)
    }
    pub fn partitions(&self) -> Partitions {
        (0..=Partition::MAX).filter(|partition| self.epoch(*partition).is_some()).collect()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.partitions();
        let epochs: std::collections::BTreeSet<_> = held.iter().filter_map(|one| self.epoch(one)).collect();
        write!(f, "Lease of {:?}: {} partitions of epochs {epochs:?}", &*self.owner, held.len())
    }
}

/// What one hears who renews a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub lease: Lease,
    /// Of what was taken just now: what nobody had given back. Whoever had it died, hangs or is cut off.
    pub orphaned: Partitions,
    /// Of what is held: what others who came should have.
    pub surplus: Partitions,
    /// How many owners live, this one included.
    pub owners: usize,
}

/// How far somebody has read what began to wait. Only the store knows what it means; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark {
    pub(super) at: i64,
    pub(super) after: EnvelopeId,
}

impl Watermark {
    /// Before everything.
    pub const START: Self = Self { at: 0, after: EnvelopeId(0) };
}

/// What began to wait since a [`Watermark`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// May name some that were named before.
    pub waiting: Vec<Waiting>,
    /// Where to go on.
    pub next: Watermark,
    /// There is more already.
    pub more: bool,
}
