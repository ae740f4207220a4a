//! The right to work, as everybody in the process reads it: on which partitions, and until when. Where several processes
//! share a store, it ends by the process's own clock before anybody else may think that it has ended.

mod guard;
mod keeper;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::{
    clock::Clock,
    model::{PARTITIONS, Partition, Partitions},
    store::Lease,
};

pub use keeper::{Keeper, RENEW_EVERY};

/// Which time it is that this process holds a partition. The same number means: without a gap.
pub type Term = u32;

/// What is held at one moment.
#[derive(Clone, Debug)]
pub struct Held {
    pub lease: Lease,
    /// 0 where it is not held.
    terms: Arc<[Term; PARTITIONS]>,
    /// Given back as soon as nothing of them is under way any more.
    pub leaving: Partitions,
    /// Another number than before when something was taken that nobody had given back: whoever had it may have missed
    /// what nobody tells twice.
    pub orphans: u64,
    /// How many work on the store, this one included, as far as is known.
    pub owners: usize,
    /// Another number than before when the terms or what is leaving are others.
    pub plan: u64,
    /// Grows with every word of the keeper's.
    number: u64,
    /// From then on nothing is begun, and from then on nothing goes on. By the clock that nobody sets.
    begin_until_millis: i64,
    act_until_millis: i64,
}

/// Who may have something under way in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant {
    Pump,
    Seats,
}

/// A reader of the right. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tenure {
    clock: Clock,
    told: Arc<Told>,
    /// The keeper's last word that this reader went by.
    seen: u64,
    vacant: Arc<Vacant>,
    shared: bool,
}

/// What the keeper says. Readers are woken in the order in which they began to wait, so that a simulation can be played
/// again.
#[derive(Debug)]
struct Told {
    held: RwLock<Held>,
    news: Notify,
}

/// In which of the partitions that are leaving nothing is under way, by plan and as each tenant says.
#[derive(Debug, Default)]
struct Vacant {
    pump: Mutex<(u64, Partitions)>,
    seats: Mutex<(u64, Partitions)>,
    told: Notify,
}

impl Held {
    fn none(owner: &str) -> Self {
        Self {
            lease: Lease::none(owner),
            terms: Arc::new([0; PARTITIONS]),
            leaving: Partitions::NONE,
            orphans: 0,
            owners: 1,
            plan: 0,
            number: 0,
            begin_until_millis: i64::MIN,
            act_until_millis: i64::MIN,
        }
    }

    /// 0 where it is not held.
    pub fn term(&self, partition: Partition) -> Term {
        self.terms[usize::from(partition)]
    }
    /// The same, as long as it is not leaving.
    pub fn term_of_work(&self, partition: Partition) -> Term {
        if self.leaving.has(partition) { 0 } else { self.term(partition) }
    }
}

impl Told {
    fn new(held: Held) -> Arc<Self> {
        Arc::new(Self { held: RwLock::new(held), news: Notify::new() })
    }
    fn held(&self) -> Held {
        self.read(Held::clone)
    }
    fn read<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }
    fn tell(&self, held: Held) {
        {
            let mut told = self.held.write().unwrap_or_else(PoisonError::into_inner);
            *told = Held { number: told.number + 1, ..held };
        }
        self.news.notify_waiters();
    }
    /// Returns when there is another word than this one.
    async fn after(&self, seen: u64) -> u64 {
        loop {
            let news = self.news.notified();
            let number = self.read(|held| held.number);
            if number != seen {
                return number;
            }
            news.await;
        }
    }
}

impl Tenure {
    /// Of a process that has everything, until it is told otherwise by the store.
    pub fn sole(lease: Lease, clock: Clock) -> Self {
        let terms = Arc::new([1; PARTITIONS]);
        let until = i64::MAX;
        let held = Held { lease, terms, begin_until_millis: until, act_until_millis: until, ..Held::none("") };
        Self { clock, told: Told::new(held), seen: 0, vacant: Arc::default(), shared: false }
    }

    /// Whether there may be others, so that anything can be taken away.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
    pub fn held(&self) -> Held {
        self.told.held()
    }
    /// The term in which it is held now, by the clock too; 0 when it is not.
    pub fn term(&self, partition: Partition) -> Term {
        let now = self.clock.now();
        self.told.read(|held| if !self.shared || now < held.act_until_millis { held.term(partition) } else { 0 })
    }
    /// The same, as long as it is not leaving.
    pub fn term_of_work(&self, partition: Partition) -> Term {
        let leaving = self.told.read(|held| held.leaving.has(partition));
        if leaving { 0 } else { self.term(partition) }
    }
    pub fn may_begin(&self) -> bool {
        !self.shared || self.clock.now() < self.told.read(|held| held.begin_until_millis)
    }
    /// Returns when something may be otherwise than at the last time.
    pub async fn changed(&mut self) {
        if !self.shared {
            std::future::pending::<()>().await;
        }
        self.seen = self.told.after(self.seen).await;
    }
    /// Nothing of this tenant is under way in these of the partitions that are leaving by that plan.
    pub fn vacated(&self, tenant: Tenant, plan: u64, partitions: Partitions) {
        let place = self.vacant.of(tenant);
        let mut said = place.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != (plan, partitions) {
            *said = (plan, partitions);
            self.vacant.told.notify_one();
        }
    }
}

impl Vacant {
    fn of(&self, tenant: Tenant) -> &Mutex<(u64, Partitions)> {
        match tenant {
            Tenant::Pump => &self.pump,
            Tenant::Seats => &self.seats,
        }
    }
    /// As all say.
    fn by(&self, plan: u64) -> Partitions {
        let said = |tenant| match *self.of(tenant).lock().unwrap_or_else(PoisonError::into_inner) {
            (of, partitions) if of == plan => partitions,
            _ => Partitions::NONE,
        };
        said(Tenant::Pump).and(&said(Tenant::Seats))
    }
}
