//! Keeps the right: renews it, tells what came and what has to go, gives back what nobody works on any more. When it
//! cannot be renewed, it is over before others may take it: an epoch keeps us from the store, and not from the far side.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Held, Tenure, Term, Told, Vacant};
use crate::{
    clock::Clock,
    model::{PARTITIONS, Partition, Partitions},
    store::{LEASE_MILLIS, Lease, Renewed, Store, StoreError},
};

/// Between two renewals that went well.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long the store may take for one, and the pause before one that failed is tried again.
const ASK_LIMIT: Duration = Duration::from_millis(1_500);
const AGAIN: Duration = Duration::from_millis(500);
/// Before a renewal for which there may be a reason: several of them are one.
const MOVED_REST: Duration = Duration::from_millis(20);
/// Nothing is begun when so much of the lease or less is left: networks are left then.
const LEAVE_MILLIS: i64 = 3_000;
/// Nothing goes on when so much is left.
const MARGIN_MILLIS: i64 = 1_000;

pub struct Keeper {
    store: Arc<dyn Store>,
    clock: Clock,
    /// As the store had it last, whether or not we go by it.
    lease: Lease,
    /// What others should have.
    surplus: Partitions,
    told: Arc<Told>,
    vacant: Arc<Vacant>,
    newest_term: Term,
    /// The store was asked and nobody knows what it did: what comes next may be something that nobody gave back.
    unsure: bool,
}

impl Keeper {
    /// For a lease that was taken when the store was asked at that moment.
    pub fn new(store: Arc<dyn Store>, lease: Lease, asked_millis: i64, clock: Clock) -> (Self, Tenure) {
        let told = Told::new(Held::none(lease.owner()));
        let vacant = Arc::<Vacant>::default();
        let none = Lease::none(lease.owner());
        let (newest_term, unsure) = (0, false);
        let surplus = Partitions::NONE;
        let mut keeper = Self {
            store,
            clock,
            lease: none,
            surplus,
            told: told.clone(),
            vacant: vacant.clone(),
            newest_term,
            unsure,
        };
        keeper.take(asked_millis, Renewed { lease, orphaned: surplus, surplus, owners: 1 });
        (keeper, Tenure { clock, told, seen: 0, vacant, shared: true })
    }

    /// Keeps it until `stop`, and gives everything back.
    pub async fn run(mut self, stop: CancellationToken) {
        let (vacant, store) = (self.vacant.clone(), self.store.clone());
        let mut next = Instant::now() + RENEW_EVERY;
        loop {
            tokio::select! {
                // In this order, so that nothing puts a renewal off, and a simulation can be played again.
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {
                    let pause = if self.renew().await { RENEW_EVERY } else { AGAIN };
                    next = Instant::now() + pause;
                    // Nobody says it again of what the store refused to take back.
                    self.give_back().await;
                }
                () = vacant.told.notified() => self.give_back().await,
                () = store.moved() => next = next.min(Instant::now() + MOVED_REST),
            }
        }
        let lease = self.lease.clone();
        self.suspend();
        if let Err(error) = within(ASK_LIMIT, self.store.release(&lease)).await {
            tracing::info!(error = error.to_string(), "the lease was not given back; others take over when it ends");
        }
    }

    /// Whether it went well.
    async fn renew(&mut self) -> bool {
        let asked_millis = self.clock.now();
        let left_millis = self.told.read(|held| held.begin_until_millis).saturating_sub(asked_millis);
        let limit = if left_millis > 0 { ASK_LIMIT.min(Duration::from_millis(left_millis as u64)) } else { ASK_LIMIT };
        let lease = self.lease.clone();
        match within(limit, self.store.renew(&lease, asked_millis)).await {
            Ok(renewed) => {
                self.take(asked_millis, renewed);
                true
            }
            Err(error) => {
                self.unsure = true;
                tracing::warn!(error = error.to_string(), "the lease could not be renewed; trying again");
                self.withdraw();
                false
            }
        }
    }

    async fn give_back(&mut self) {
        let Held { plan, leaving, .. } = self.told.held();
        let free = leaving.and(&self.surplus).and(&self.vacant.by(plan));
        if free.is_empty() {
            return;
        }
        let lease = self.lease.clone();
        match within(ASK_LIMIT, self.store.give_back(&lease, &free)).await {
            Ok(lease) => {
                tracing::info!(count = free.len(), "partitions are given to others");
                self.lease = lease;
                let mut held = self.told.held();
                held.lease = self.lease.clone();
                held.leaving = held.leaving.without(&free);
                let terms = Arc::make_mut(&mut held.terms);
                free.iter().for_each(|one| terms[usize::from(one)] = 0);
                held.plan += 1;
                self.told.tell(held);
            }
            // It is tried again after the next renewal.
            Err(error) => tracing::info!(error = error.to_string(), "partitions could not be given to others"),
        }
    }

    fn take(&mut self, asked_millis: i64, renewed: Renewed) {
        // Too late for what was under way: that has ended by the clock, so what is held now is held anew.
        if self.clock.now() >= self.told.read(|held| held.act_until_millis) {
            self.suspend();
        }
        let before = self.told.held();
        let next_term = self.newest_term + 1;
        let (mut terms, mut gained) = ([0; PARTITIONS], 0);
        for partition in 0..=Partition::MAX {
            let epoch = renewed.lease.epoch(partition);
            let stays = before.term(partition) > 0 && epoch == self.lease.epoch(partition);
            let term = match epoch {
                None => 0,
                Some(_) if stays => before.term(partition),
                Some(_) => next_term,
            };
            gained += usize::from(term == next_term);
            terms[usize::from(partition)] = term;
        }
        let lost =
            (0..=Partition::MAX).filter(|one| before.term(*one) > 0 && terms[usize::from(*one)] != before.term(*one));
        let lost = lost.count();
        if lost > 0 {
            tracing::warn!(count = lost, "partitions were taken by others");
        }
        if gained > 0 {
            self.newest_term = next_term;
            tracing::info!(count = gained, "partitions are taken");
        }
        let orphans = !renewed.orphaned.is_empty() || (self.unsure && gained > 0);
        self.unsure = false;
        self.lease = renewed.lease.clone();
        self.surplus = renewed.surplus;
        let is_other = gained > 0 || *before.terms != terms || before.leaving != renewed.surplus;
        self.told.tell(Held {
            number: before.number,
            lease: renewed.lease,
            terms: Arc::new(terms),
            leaving: renewed.surplus,
            orphans: before.orphans + u64::from(orphans),
            owners: renewed.owners,
            plan: before.plan + u64::from(is_other),
            begin_until_millis: asked_millis + LEASE_MILLIS - LEAVE_MILLIS,
            act_until_millis: asked_millis + LEASE_MILLIS - MARGIN_MILLIS,
        });
    }

    /// The lease is about to end, or has ended. First everything is to come to its end politely, then it is over.
    fn withdraw(&mut self) {
        let (now, held) = (self.clock.now(), self.told.held());
        if now >= held.act_until_millis {
            self.suspend();
        } else if now >= held.begin_until_millis && held.leaving != held.lease.partitions() {
            tracing::warn!("the right to work is about to end; nothing is begun until it is there again");
            let leaving = held.lease.partitions();
            self.told.tell(Held { leaving, plan: held.plan + 1, ..held });
        }
    }

    /// Nothing is held any more, as far as we may say.
    fn suspend(&mut self) {
        let before = self.told.held();
        if *before.terms == [0; PARTITIONS] {
            return;
        }
        self.unsure = true;
        tracing::warn!("the right to work has ended; nothing is done until it is there again");
        let none = Held::none(self.lease.owner());
        self.told.tell(Held { orphans: before.orphans, plan: before.plan + 1, ..none });
    }
}

/// A store that does not answer in time is one that cannot be asked.
async fn within<T>(limit: Duration, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let unanswered = || StoreError::Unwritable("no answer in time".to_owned());
    tokio::time::timeout(limit, question).await.unwrap_or_else(|_| Err(unanswered()))
}
