//! What the pump works on, where others have a share too: what comes is loaded, what goes is let come to its end.

use super::{Begins, Pump, SCAN_ROWS, attempt::Right};
use crate::{
    clock::Clock,
    model::{CATCH_UP_LIMIT_MILLIS, EnvelopeId, PARTITIONS, Partition, Partitions, SinkName},
    store::{StoreError, Watermark},
    tenure::{Held, Tenant, Tenure, Term},
};

/// The pump's part of the partitions.
pub(super) struct Share {
    pub(super) tenure: Tenure,
    /// As it was last looked at.
    pub(super) held: Held,
    /// The plan that all is done by, and the orphans that were seen.
    plan: u64,
    orphans: u64,
    /// By partition: the term that is worked on, 0 for none.
    works: [Term; PARTITIONS],
    /// Attempts from before these moments are not ours, so their far sides may still be at work on them.
    pub(super) since_millis: [i64; PARTITIONS],
    /// Attempts under way.
    pub(super) under_way: [u32; PARTITIONS],
    /// How far what began to wait was read.
    pub(super) seen: Watermark,
}

impl Share {
    pub(super) fn new(tenure: Tenure, clock: Clock) -> Self {
        let held = tenure.held();
        let works = std::array::from_fn(|partition| held.term_of_work(partition as Partition));
        let since_millis = [clock.now(); PARTITIONS];
        let Held { plan, orphans, .. } = held;
        Self { tenure, held, plan, orphans, works, since_millis, under_way: [0; PARTITIONS], seen: Watermark::START }
    }

    /// By which something there is done now; nobody asks for it where there are no others.
    pub(super) fn right(&self, partition: Partition) -> Option<Right> {
        self.tenure.is_shared().then(|| Right { partition, term: self.held.term(partition) })
    }

    /// Whether what was begun by this right may still be gone on with.
    pub(super) fn is_good(&self, right: Option<Right>) -> bool {
        right.is_none_or(|right| self.tenure.term(right.partition) == right.term)
    }

    /// Nothing can be anybody else's.
    pub(super) fn works_on_all(&self) -> bool {
        !self.tenure.is_shared()
    }

    pub(super) fn works_on(&self, partition: Partition) -> bool {
        !self.tenure.is_shared() || self.works[usize::from(partition)] > 0
    }
}

impl Pump {
    /// Goes by what is held now.
    pub(super) async fn follow(&mut self) -> Result<(), StoreError> {
        if !self.share.tenure.is_shared() {
            return Ok(());
        }
        let held = self.share.tenure.held();
        self.share.held = held.clone();
        if held.orphans != self.share.orphans {
            self.share.orphans = held.orphans;
            self.hold_networks_back();
        }
        if held.plan != self.share.plan {
            let (mut gained, mut left) = (Partitions::NONE, Partitions::NONE);
            for partition in 0..=Partition::MAX {
                let (before, now) = (self.share.works[usize::from(partition)], held.term_of_work(partition));
                if before != now && before > 0 {
                    left.insert(partition);
                }
                if before != now && now > 0 {
                    gained.insert(partition);
                }
            }
            self.leave(&left);
            // What we left in doubt there may have been tried by others since.
            self.doubted.retain(|_, partition| !gained.has(*partition));
            // What ended and is not written down yet would be passed over, and be in no lane afterwards.
            self.turn_once(Begins::No).await?;
            // What cannot be read now is tried again with the next look.
            if self.settle.is_empty() && self.load(&gained, &held).await? {
                self.share.plan = held.plan;
            } else {
                self.leave(&gained);
            }
        }
        self.tell_what_is_vacant();
        Ok(())
    }

    fn leave(&mut self, left: &Partitions) {
        for partition in left.iter() {
            self.share.works[usize::from(partition)] = 0;
        }
        self.lanes.leave(left);
        self.doubted.retain(|_, partition| !left.has(*partition));
    }

    /// Whether all that waits in these partitions is in the lanes. Nothing begins before it is.
    async fn load(&mut self, gained: &Partitions, held: &Held) -> Result<bool, StoreError> {
        if gained.is_empty() {
            return Ok(true);
        }
        let now = self.clock.now();
        for partition in gained.iter() {
            self.share.works[usize::from(partition)] = held.term_of_work(partition);
            self.share.since_millis[usize::from(partition)] = now;
        }
        let mut after = EnvelopeId(0);
        loop {
            let rows = match self.store.waiting(&held.lease, gained, after, SCAN_ROWS).await {
                Ok(rows) => rows,
                Err(StoreError::Unwritable(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            let Some(last) = rows.last() else { return Ok(true) };
            after = last.id;
            self.push_all(&rows);
            self.drain();
        }
    }

    /// Whoever had what came may have missed a reply: what is written after it must not overtake it, so nothing is sent
    /// to any network before its inbox was asked.
    fn hold_networks_back(&mut self) {
        let until_millis = self.clock.now() + CATCH_UP_LIMIT_MILLIS;
        let mut networks = self.sinks.names_of(|_| true);
        networks.retain(SinkName::is_network);
        // Always in one order, so that a simulation can be played again.
        networks.sort_unstable();
        for name in networks {
            self.know(&name);
            self.lanes.pause(&name, until_millis);
        }
    }

    /// Of what ended in an earlier term nothing is written down: somebody else may have an attempt open there.
    pub(super) fn drop_what_is_not_ours(&mut self) {
        let share = &self.share;
        if !share.works_on_all() {
            self.settle.retain(|(right, _)| share.is_good(*right));
        }
    }

    /// What ended there is written down, or is none of ours.
    pub(super) fn tell_what_is_vacant(&self) {
        let held = &self.share.held;
        if held.leaving.is_empty() || !self.settle.is_empty() || held.plan != self.share.plan {
            return;
        }
        let vacant = held.leaving.iter().filter(|partition| self.share.under_way[usize::from(*partition)] == 0);
        self.share.tenure.vacated(Tenant::Pump, held.plan, vacant.collect());
    }
}
