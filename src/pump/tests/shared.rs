//! The pump with a share of the partitions, beside others.

use super::*;
use crate::{
    model::{Partition, Partitions},
    store::{LEASE_MILLIS, Lease},
    tenure::{Keeper, RENEW_EVERY, Tenant},
};

/// A pump on a shared store, whose lease is kept.
struct Beside {
    rig: Rig,
    tenure: Tenure,
    /// Of the other one.
    other: Option<Lease>,
}

impl Beside {
    async fn new() -> Self {
        let mut rig = Rig::new(Resend::Askable).await;
        rig.store = Arc::new(MemoryStore::shared());
        let asked = rig.clock.now();
        let lease = rig.store.lease("one", asked).await.unwrap();
        let (keeper, tenure) = Keeper::new(rig.store.clone(), lease, asked, rig.clock);
        tokio_util::task::TaskTracker::new().spawn(keeper.run(CancellationToken::new()));
        let sinks = Arc::new(Sinks::default());
        sinks.put(SinkName::bridge(&BridgeName::from("libera")), rig.network.clone());
        sinks.put(SinkName::inbox(&InboxName::new("support")), rig.inbox.clone());
        let figures = Arc::new(Figures::new([("libera", "support")], ["support"], None));
        let about = (fastrand::Rng::with_seed(7), figures);
        rig.pump = Pump::new(rig.store.clone(), tenure.clone(), sinks, feed().1, rig.clock, about);
        Self { rig, tenure, other: None }
    }

    fn home() -> Partition {
        SinkName::bridge(&BridgeName::from("libera")).home()
    }

    /// Somebody else comes and renews its lease until it has its share, or for so long.
    async fn another_comes(&mut self, until: impl Fn(&Partitions) -> bool) {
        for _ in 0..8 {
            let held = self.tenure.held();
            self.tenure.vacated(Tenant::Seats, held.plan, held.leaving);
            let now = self.rig.clock.now();
            self.other = Some(match &self.other {
                None => self.rig.store.lease("another", now).await.unwrap(),
                Some(lease) => self.rig.store.renew(lease, now).await.unwrap().lease,
            });
            self.rig.pump.follow().await.unwrap();
            if until(&self.other.as_ref().unwrap().partitions()) {
                return;
            }
            tokio::time::sleep(RENEW_EVERY).await;
        }
    }
}

/// As an agent's, told to somebody else.
async fn accepted_elsewhere(rig: &Rig, thread: &str, message: i64) {
    let reply = orders::Reply {
        message: MessageRef { inbox: InboxName::new("support"), conversation: 1, message },
        created_millis: rig.clock.now(),
        bridge: BridgeName::from("libera"),
        thread: ThreadId::from(thread),
        agent: None,
        parts: vec![Part::Text { text: "hello".into(), reply_to: None }],
    };
    let group = orders::reply(reply, rig.clock.now(), OnDuplicate::Ignore).unwrap();
    rig.store.accept(Batch { groups: vec![group], ..Batch::default() }, rig.clock.now()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_accepted_stands_before_what_is_younger_although_nobody_told() {
    let Beside { mut rig, .. } = Beside::new().await;
    rig.pump.rebuild().await.unwrap();
    accepted_elsewhere(&rig, "a:ada", 8).await;
    rig.reply(9, 1).await;
    rig.settle().await;
    assert_eq!(rig.network.log(), ["deliver support:8/1/0", "deliver support:9/1/0"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_leaves_is_drained_first_and_what_waits_there_goes_with_it() {
    let mut beside = Beside::new().await;
    let home = Beside::home();
    assert!(home >= 128, "else it would not leave");
    beside.rig.pump.rebuild().await.unwrap();
    beside.rig.reply(9, 2).await;
    // The first part is under way for as long as nobody looks.
    beside.rig.pump.turn(Begins::Yes).await.unwrap();
    beside.another_comes(|held| held.has(home)).await;
    let other = beside.other.clone().unwrap();
    assert!(!other.partitions().has(home) && other.partitions().len() == 127, "{other:?}");
    beside.rig.pump.step().await.unwrap();
    assert!(matches!(beside.rig.state("support:9/1/0").await, EnvelopeState::Done { .. }), "it was written down");
    beside.another_comes(|held| held.has(home)).await;
    let other = beside.other.clone().unwrap();
    assert_eq!(other.partitions().len(), 128);
    assert_eq!(beside.rig.network.log(), ["deliver support:9/1/0"], "the second part is another's");
    let rows = beside.rig.store.waiting(&other, &Partitions::ALL, EnvelopeId(0), 9).await.unwrap();
    assert!(rows.iter().any(|row| row.lane.partition() == home));
}

#[tokio::test(start_paused = true)]
async fn who_was_cut_off_drops_what_it_did_and_begins_anew_with_a_question() {
    let Beside { mut rig, tenure, .. } = Beside::new().await;
    rig.pump.rebuild().await.unwrap();
    rig.reply(9, 1).await;
    rig.pump.turn(Begins::Yes).await.unwrap();
    rig.store.refuse(StoreError::Unwritable("cut off".into()));
    tokio::time::sleep(Duration::from_millis(LEASE_MILLIS as u64)).await;
    assert_eq!(tenure.term(Beside::home()), 0);
    rig.store.allow();
    tokio::time::sleep(RENEW_EVERY).await;
    let back = rig.clock.now();
    assert!(tenure.term(Beside::home()) > 1);
    rig.pump.step().await.unwrap();
    assert!(matches!(rig.state("support:9/1/0").await, EnvelopeState::Waiting { .. }), "what ended then counts not");
    rig.pump.fed(Feed::Resume(vec![SinkName::bridge(&BridgeName::from("libera"))]));
    rig.settle().await;
    assert_eq!(rig.network.log()[1], "probe support:9/1/0 after 77");
    assert!(rig.clock.now() - back >= 20_000, "the far side may still have been at work on it");
}

#[tokio::test(start_paused = true)]
async fn what_is_still_under_way_when_its_partition_is_there_again_is_not_forgotten() {
    let Beside { mut rig, .. } = Beside::new().await;
    rig.pump.rebuild().await.unwrap();
    rig.reply(9, 1).await;
    rig.pump.turn(Begins::Yes).await.unwrap();
    rig.store.refuse(StoreError::Unwritable("cut off".into()));
    tokio::time::sleep(Duration::from_millis(LEASE_MILLIS as u64)).await;
    rig.store.allow();
    tokio::time::sleep(RENEW_EVERY).await;
    // It is loaded before anybody heard how the attempt ended.
    rig.pump.follow().await.unwrap();
    rig.reply(10, 1).await;
    rig.pump.fed(Feed::Resume(vec![SinkName::bridge(&BridgeName::from("libera"))]));
    rig.settle().await;
    let anew = ["probe support:9/1/0 after 77", "deliver support:9/1/0", "deliver support:10/1/0"];
    assert_eq!(rig.network.log()[1..], anew);
}

/// The right was never lost: it came so near to its end that everything was let come to its end.
#[tokio::test(start_paused = true)]
async fn what_ended_and_could_not_be_written_down_is_loaded_again_with_the_rest() {
    let Beside { mut rig, tenure, .. } = Beside::new().await;
    rig.pump.rebuild().await.unwrap();
    rig.network.will(Err(Fault::retry("busy")));
    rig.reply(9, 1).await;
    rig.pump.turn(Begins::Yes).await.unwrap();
    let refusing = StoreError::Unwritable("cut off".into());
    rig.store.refuse(refusing);
    while tenure.term_of_work(Beside::home()) > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.pump.drain();
    rig.pump.follow().await.unwrap();
    rig.store.allow();
    assert_eq!(tenure.term(Beside::home()), 1);
    while tenure.term_of_work(Beside::home()) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.reply(10, 1).await;
    rig.settle().await;
    assert_eq!(
        rig.network.log(),
        ["deliver support:9/1/0", "deliver support:9/1/0", "deliver support:10/1/0"],
        "nothing overtakes it"
    );
}

/// Whoever had it in between may have tried it again just now.
#[tokio::test(start_paused = true)]
async fn what_was_left_in_doubt_is_no_doubt_of_ours_once_it_comes_back() {
    let mut beside = Beside::new().await;
    let home = Beside::home();
    beside.rig.pump.rebuild().await.unwrap();
    beside.rig.network.will(Err(Fault::unknown("cut")));
    beside.rig.reply(9, 1).await;
    beside.rig.pump.turn(Begins::Yes).await.unwrap();
    // It has to go while the attempt is under way.
    beside.another_comes(|held| held.has(home)).await;
    assert_eq!(beside.tenure.term_of_work(home), 0);
    beside.rig.pump.step().await.unwrap();
    beside.another_comes(|held| held.has(home)).await;
    let other = beside.other.take().unwrap();
    assert!(other.partitions().has(home));
    // Nobody hears of the other any more.
    while beside.tenure.term_of_work(home) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let back = beside.rig.clock.now();
    beside.rig.pump.follow().await.unwrap();
    beside.rig.pump.fed(Feed::Resume(vec![SinkName::bridge(&BridgeName::from("libera"))]));
    while beside.rig.network.log().len() < 2 {
        beside.rig.settle_one().await;
    }
    assert_eq!(beside.rig.network.log()[1], "probe support:9/1/0 after 77");
    assert!(beside.rig.clock.now() - back >= 20_000, "a request of the other's may still be on its way");
}
