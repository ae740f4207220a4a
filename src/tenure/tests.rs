//! The right to work over the model of the store, in virtual time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::store::{MemoryStore, Store, StoreError};

struct Site {
    store: Arc<MemoryStore>,
    clock: Clock,
    tasks: TaskTracker,
}

struct Replica {
    tenure: Tenure,
    stop: CancellationToken,
}

impl Site {
    fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::shared()), Clock::from_millis(1_000_000_000_000));
        Self { store, clock, tasks: TaskTracker::new() }
    }

    /// On the store of the site, or on one of its own that can be refused to it alone.
    async fn join_on(&self, store: &Arc<MemoryStore>, owner: &str) -> Replica {
        let asked = self.clock.now();
        let lease = store.lease(owner, asked).await.unwrap();
        let (keeper, tenure) = Keeper::new(store.clone(), lease, asked, self.clock);
        let stop = CancellationToken::new();
        self.tasks.spawn(keeper.run(stop.clone()));
        Replica { tenure, stop }
    }

    async fn join(&self, owner: &str) -> Replica {
        self.join_on(&self.store, owner).await
    }
}

impl Replica {
    fn holds(&self) -> usize {
        let held = self.tenure.held();
        (0..=Partition::MAX).filter(|partition| held.term(*partition) > 0).count()
    }
    fn works_on(&self) -> usize {
        (0..=Partition::MAX).filter(|partition| self.tenure.term_of_work(*partition) > 0).count()
    }
    /// Nothing is under way in what is leaving, for ever.
    async fn gives_way(&self) {
        let mut tenure = self.tenure.clone();
        loop {
            let held = tenure.held();
            tenure.vacated(Tenant::Pump, held.plan, held.leaving);
            tenure.vacated(Tenant::Seats, held.plan, held.leaving);
            tenure.changed().await;
        }
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_lack_is_given_when_nothing_is_under_way_there_and_not_before() {
    let site = Site::new();
    let one = site.join("one").await;
    let other = site.join("other").await;
    seconds(7).await;
    assert_eq!((one.holds(), one.works_on(), other.holds()), (256, 128, 0), "it has to go, and is still held");
    let one_gives = one.tenure.clone();
    let held = one_gives.held();
    one_gives.vacated(Tenant::Pump, held.plan, held.leaving);
    seconds(7).await;
    assert_eq!(other.holds(), 0, "a network was not left yet");
    one_gives.vacated(Tenant::Seats, held.plan, held.leaving);
    seconds(4).await;
    assert_eq!((one.holds(), other.holds()), (128, 128));
    assert_eq!((one.tenure.held().orphans, other.tenure.held().orphans), (0, 0), "nobody was missing");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_given_back_is_given_back_later() {
    let site = Site::new();
    let one = site.join("one").await;
    let other = site.join("other").await;
    seconds(4).await;
    site.store.refuse(StoreError::Unwritable("full".into()));
    let held = one.tenure.held();
    one.tenure.vacated(Tenant::Pump, held.plan, held.leaving);
    one.tenure.vacated(Tenant::Seats, held.plan, held.leaving);
    seconds(1).await;
    site.store.allow();
    seconds(7).await;
    assert_eq!((one.holds(), other.holds()), (128, 128), "although nobody said again that it is vacant");
}

#[tokio::test(start_paused = true)]
async fn who_stops_is_followed_within_one_renewal_and_who_dies_within_a_lease_and_one() {
    let site = Site::new();
    let one = site.join("one").await;
    let other = site.join("other").await;
    tokio::select! {
        () = one.gives_way() => {}
        () = seconds(8) => {}
    }
    assert_eq!((one.holds(), other.holds()), (128, 128));
    one.stop.cancel();
    tokio::time::sleep(RENEW_EVERY).await;
    assert_eq!((one.holds(), other.holds(), other.tenure.held().orphans), (0, 256, 0));

    // One that is never heard of again.
    site.store.lease("dead", site.clock.now()).await.unwrap();
    let before = site.store.lease("dead", site.clock.now()).await.unwrap();
    tokio::select! {
        () = other.gives_way() => {}
        () = seconds(4) => {}
    }
    assert_eq!(other.holds(), 128);
    site.store.renew(&before, site.clock.now()).await.unwrap();
    seconds(14).await;
    assert_eq!((other.holds(), other.tenure.held().orphans), (256, 1));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_begins_nothing_and_then_ends_before_others_may_take_over() {
    let site = Site::new();
    let one = site.join("one").await;
    let done = Arc::new(AtomicU32::new(0));
    let work = {
        let (tenure, done) = (one.tenure.clone(), done.clone());
        let term = tenure.term(7);
        async move {
            let work = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            tenure.guard((7, term), work).await
        }
    };
    let mut work = Box::pin(work);
    tokio::select! {
        _ = &mut work => panic!("it is held"),
        () = seconds(31) => {}
    }
    assert!(done.load(Ordering::Relaxed) >= 300);
    let renewed = site.clock.now() - 1_000;
    site.store.refuse(StoreError::Unwritable("cut off".into()));
    tokio::select! {
        _ = &mut work => panic!("it is still held"),
        () = seconds(7) => {}
    }
    assert!(!one.tenure.may_begin() && one.works_on() == 0 && one.holds() == 256, "it comes to its end");
    assert_eq!(work.await, None::<()>);
    assert!(site.clock.now() - renewed < crate::store::LEASE_MILLIS, "after {} ms", site.clock.now() - renewed);
    seconds(1).await;
    assert_eq!(one.holds(), 0);

    // Nobody took it meanwhile. It is held anew, for nothing was done for a while.
    site.store.allow();
    seconds(2).await;
    assert_eq!((one.holds(), one.works_on(), one.tenure.held().orphans), (256, 256, 1));
    assert!(one.tenure.term(7) > 1);
}

/// As one that was stopped and goes on: the clock has moved, and nobody had a chance to notice.
#[tokio::test(start_paused = true)]
async fn who_wakes_after_its_lease_says_nothing_more() {
    let site = Site::new();
    let asked = site.clock.now();
    let lease = site.store.lease("one", asked).await.unwrap();
    let (_keeper, tenure) = Keeper::new(site.store.clone(), lease, asked, site.clock);
    let said = AtomicU32::new(0);
    let right = (7, tenure.term(7));
    let work = async {
        loop {
            said.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let mut guarded = Box::pin(tenure.guard(right, work));
    assert!(futures_util::poll!(&mut guarded).is_pending());
    assert!(futures_util::poll!(&mut guarded).is_pending());
    assert_eq!(said.load(Ordering::Relaxed), 2);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(futures_util::poll!(&mut guarded), std::task::Poll::Ready(None::<()>));
    assert_eq!(said.load(Ordering::Relaxed), 2, "not a word more");
    assert_eq!((tenure.term(7), tenure.may_begin()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn who_has_everything_is_never_asked_again() {
    let clock = Clock::from_millis(0);
    let mut tenure = Tenure::sole(Lease::of_all("one", 3), clock);
    seconds(1_000_000).await;
    assert!(tenure.may_begin() && tenure.term(255) == 1 && tenure.term_of_work(0) == 1 && !tenure.is_shared());
    assert_eq!(tenure.guard((1, 0), async { 5 }).await, Some(5));
    assert!(tokio::time::timeout(Duration::from_secs(1), tenure.changed()).await.is_err());
}
