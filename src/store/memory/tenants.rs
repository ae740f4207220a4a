//! Who may work on what, in the model.

use std::collections::BTreeMap;

use crate::{
    model::{PARTITIONS, Partition, Partitions},
    store::{
        LEASE_MILLIS, Lease, Renewed, StoreError,
        shares::{Holder, share_of},
    },
};

#[derive(Debug)]
pub(super) struct Tenants {
    pub(super) shared: bool,
    /// Until when each of them is taken to live.
    living: BTreeMap<String, i64>,
    slots: [Slot; PARTITIONS],
}

#[derive(Clone, Debug, Default)]
struct Slot {
    epoch: i64,
    owner: Option<String>,
    /// Nobody gave it back.
    orphaned: bool,
}

impl Default for Tenants {
    fn default() -> Self {
        Self { shared: false, living: BTreeMap::new(), slots: std::array::from_fn(|_| Slot::default()) }
    }
}

impl Tenants {
    /// Whether this lease is good for this partition.
    pub(super) fn holds(&self, lease: &Lease, partition: Partition) -> bool {
        let slot = &self.slots[usize::from(partition)];
        slot.owner.as_deref() == Some(lease.owner()) && lease.epoch(partition) == Some(slot.epoch)
    }
    /// For a store that is not shared.
    pub(super) fn hold_all(&self, lease: &Lease) -> Result<(), StoreError> {
        let holds = self.shared || (0..=Partition::MAX).all(|partition| self.holds(lease, partition));
        if holds { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    pub(super) fn lease(&mut self, owner: &str, now_millis: i64) -> Lease {
        if self.shared {
            let older = self.held_by(owner);
            self.free(&older, true);
            return self.take_share(owner, now_millis).lease;
        }
        self.take(owner, &Partitions::ALL);
        self.lease_of(owner)
    }

    pub(super) fn renew(&mut self, lease: &Lease, now_millis: i64) -> Result<Renewed, StoreError> {
        self.hold_all(lease)?;
        if self.shared {
            return Ok(self.take_share(lease.owner(), now_millis));
        }
        let none = Partitions::NONE;
        Ok(Renewed { lease: lease.clone(), orphaned: none, surplus: none, owners: 1 })
    }

    pub(super) fn give_back(&mut self, lease: &Lease, partitions: &Partitions) -> Result<Lease, StoreError> {
        self.hold_all(lease)?;
        if !self.shared && !partitions.is_all() {
            return Ok(lease.clone());
        }
        let held = partitions.iter().filter(|partition| self.holds(lease, *partition)).collect();
        self.free(&held, false);
        Ok(self.lease_of(lease.owner()))
    }

    pub(super) fn release(&mut self, lease: &Lease) -> Result<(), StoreError> {
        self.give_back(lease, &Partitions::ALL)?;
        self.living.remove(lease.owner());
        Ok(())
    }

    fn take_share(&mut self, owner: &str, now_millis: i64) -> Renewed {
        // Whoever was not heard of for so long is only missed when somebody else looks.
        let dead: Vec<_> =
            self.living.iter().filter(|(_, until)| **until <= now_millis).map(|(name, _)| name.clone()).collect();
        for dead in dead.iter().filter(|dead| *dead != owner) {
            self.living.remove(dead);
            let left = self.held_by(dead);
            self.free(&left, true);
        }
        self.living.insert(owner.to_owned(), now_millis + LEASE_MILLIS);
        let living: Vec<_> = self.living.keys().map(|owner| Holder { owner, holds: self.held_by(owner) }).collect();
        let (owners, share) = (living.len(), share_of(owner, &living));
        let orphaned = share.takes.iter().filter(|one| self.slots[usize::from(*one)].orphaned).collect();
        self.take(owner, &share.takes);
        Renewed { lease: self.lease_of(owner), orphaned, surplus: share.surplus, owners }
    }

    fn held_by(&self, owner: &str) -> Partitions {
        let holds = |partition: &Partition| self.slots[usize::from(*partition)].owner.as_deref() == Some(owner);
        (0..=Partition::MAX).filter(holds).collect()
    }
    fn free(&mut self, partitions: &Partitions, orphaned: bool) {
        for partition in partitions.iter() {
            let slot = &mut self.slots[usize::from(partition)];
            (slot.owner, slot.orphaned) = (None, orphaned);
        }
    }
    fn take(&mut self, owner: &str, partitions: &Partitions) {
        for partition in partitions.iter() {
            let slot = &mut self.slots[usize::from(partition)];
            *slot = Slot { epoch: slot.epoch + 1, owner: Some(owner.to_owned()), orphaned: false };
        }
    }
    fn lease_of(&self, owner: &str) -> Lease {
        let epoch = |slot: &Slot| if slot.owner.as_deref() == Some(owner) { slot.epoch } else { 0 };
        Lease::new(owner, std::array::from_fn(|place| epoch(&self.slots[place])))
    }
}
