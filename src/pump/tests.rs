//! The pump over the memory store and a scripted sink, under virtual time.

mod counted;
mod doubt;
mod shared;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{BridgeName, Fault, Key, Part, Resend, ThreadId};

use super::*;
use crate::{
    model::{Group, InboxName, MessageRef, MessageStatus, OnDuplicate, OpenAttempt, Order, orders},
    policy::{Rules, WhenInDoubt},
    sinks::Done,
    store::{Batch, EnvelopeState, MemoryStore},
};

/// What the far side does next; when the script is at its end it does as it is told.
#[derive(Default)]
struct Script {
    deliver: VecDeque<Result<(), Fault>>,
    probe: VecDeque<Result<Option<()>, Fault>>,
    log: Vec<String>,
    /// The next attempt does.
    panics: bool,
}

struct Scripted {
    resend: Resend,
    script: Mutex<Script>,
    /// Cannot be written any more once the next attempt is under way.
    fills: Mutex<Option<Arc<MemoryStore>>>,
}

impl Scripted {
    fn new(resend: Resend) -> Arc<Self> {
        Arc::new(Self { resend, script: Mutex::default(), fills: Mutex::default() })
    }
    fn will(&self, outcome: Result<(), Fault>) {
        lock(&self.script).deliver.push_back(outcome);
    }
    fn will_answer(&self, answer: Result<Option<()>, Fault>) {
        lock(&self.script).probe.push_back(answer);
    }
    fn log(&self) -> Vec<String> {
        lock(&self.script).log.clone()
    }
}

#[async_trait]
impl Sink for Scripted {
    fn limit(&self) -> usize {
        4
    }
    fn rules(&self) -> Rules {
        Rules { resend: self.resend, settle_millis: 20_000, when_in_doubt: WhenInDoubt::Repeat }
    }
    fn attempt_limit(&self) -> Duration {
        Duration::from_secs(30)
    }
    fn mark(&self) -> i64 {
        77
    }
    async fn deliver(&self, envelope: &Envelope) -> Result<Done, Fault> {
        if let Some(store) = self.fills.lock().unwrap().take() {
            store.refuse(StoreError::Unwritable("disk full".into()));
        }
        let mut script = lock(&self.script);
        script.log.push(format!("deliver {}", envelope.key));
        assert!(!std::mem::take(&mut script.panics), "as the test wants it");
        script.deliver.pop_front().unwrap_or(Ok(()))?;
        Ok(Done { result: Some("there".into()), follow: Vec::new() })
    }
    async fn probe(&self, envelope: &Envelope, attempt: OpenAttempt) -> Result<Option<Done>, Fault> {
        let mut script = lock(&self.script);
        script.log.push(format!("probe {} after {}", envelope.key, attempt.mark));
        let answer = script.probe.pop_front().unwrap_or(Ok(None))?;
        Ok(answer.map(|()| Done::default()))
    }
    fn buried(&self, envelope: &Envelope, reason: &str, now_millis: i64) -> Vec<Group> {
        let Order::Send { message, .. } = &envelope.order else { return Vec::new() };
        vec![orders::status(message, MessageStatus::Failed, Some(reason), now_millis)]
    }
}

/// An attempt that panicked has left the script as it was.
fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Rig {
    store: Arc<MemoryStore>,
    network: Arc<Scripted>,
    inbox: Arc<Scripted>,
    pump: Pump,
    clock: Clock,
}

impl Rig {
    async fn new(resend: Resend) -> Self {
        let store = Arc::new(MemoryStore::default());
        let (network, inbox) = (Scripted::new(resend), Scripted::new(Resend::Askable));
        let clock = Clock::from_millis(1_000_000_000_000);
        let pump = start(&store, &network, &inbox, clock).await;
        Self { store, network, inbox, pump, clock }
    }

    /// A message of an agent in this many parts.
    async fn reply(&mut self, message: i64, parts: usize) {
        self.reply_to("a:ada", message, parts).await;
    }

    async fn reply_to(&mut self, thread: &str, message: i64, parts: usize) {
        let part = |n| Part::Text { text: format!("part {n}"), reply_to: None };
        let reply = orders::Reply {
            message: MessageRef { inbox: InboxName::new("support"), conversation: 1, message },
            created_millis: self.clock.now(),
            bridge: BridgeName::from("libera"),
            thread: ThreadId::from(thread),
            agent: None,
            parts: (0..parts).map(part).collect(),
        };
        let group = orders::reply(reply, self.clock.now(), OnDuplicate::Ignore).unwrap();
        let batch = Batch { groups: vec![group], ..Batch::default() };
        for accepted in self.store.accept(batch, self.clock.now()).await.unwrap() {
            accepted.into_waiting().iter().for_each(|waiting| self.pump.push(waiting));
        }
    }

    /// Steps until nothing is due within a virtual day.
    async fn settle(&mut self) {
        for _ in 0..100 {
            if self.pump.step().await.unwrap() > 0 {
                continue;
            }
            let Some(due) = self.pump.lanes.next_due() else { return };
            if due - self.clock.now() > 24 * 3600 * 1000 {
                return;
            }
            tokio::time::sleep_until(self.clock.instant(due)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the pump does not come to rest");
    }

    /// Waits for what is due next, and does it.
    async fn settle_one(&mut self) {
        let due = self.pump.lanes.next_due().expect("something waits");
        tokio::time::sleep_until(self.clock.instant(due)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.pump.step().await.unwrap();
    }

    async fn state(&self, key: &str) -> EnvelopeState {
        self.store.history(&Key::from(key)).await.unwrap().unwrap().state
    }
}

async fn start(store: &Arc<MemoryStore>, network: &Arc<Scripted>, inbox: &Arc<Scripted>, clock: Clock) -> Pump {
    let lease = store.lease("test", clock.now()).await.unwrap();
    let sinks = Arc::new(Sinks::default());
    sinks.put(SinkName::bridge(&BridgeName::from("libera")), network.clone());
    sinks.put(SinkName::inbox(&InboxName::new("support")), inbox.clone());
    let figures = Arc::new(Figures::new([("libera", "support")], ["support"], None));
    let tenure = Tenure::sole(lease, clock);
    Pump::new(store.clone(), tenure, sinks, feed().1, clock, (fastrand::Rng::with_seed(7), figures))
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_message_go_one_after_another_and_are_done() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 3).await;
    rig.settle().await;
    assert_eq!(rig.network.log(), ["deliver support:9/1/0", "deliver support:9/1/1", "deliver support:9/1/2"]);
    assert!(matches!(rig.state("support:9/1/2").await, EnvelopeState::Done { .. }));
    assert_eq!(rig.store.depth().await.unwrap().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_cut_short_by_the_end_of_the_process_is_asked_about_first() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 1).await;
    rig.pump.turn(Begins::Yes).await.unwrap();
    // The process ends here: the attempt was written down and nobody knows how it went.
    drop(std::mem::replace(&mut rig.pump, start(&rig.store, &rig.network, &rig.inbox, rig.clock).await));
    let (before, restarted) = (rig.network.log().len(), rig.clock.now());
    rig.pump.rebuild().await.unwrap();
    rig.settle().await;
    assert_eq!(rig.network.log()[before], "probe support:9/1/0 after 77");
    assert!(rig.clock.now() - restarted >= 20_000, "the far side may still have been at work on it");
    assert!(matches!(rig.state("support:9/1/0").await, EnvelopeState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_before_the_whole_outbox_is_loaded() {
    let mut rig = Rig::new(Resend::Askable).await;
    // As much as one step of the scan holds, and then what belongs before all of it.
    for message in (1..=SCAN_ROWS as i64 + 1).rev() {
        rig.reply(message, 1).await;
    }
    rig.pump = start(&rig.store, &rig.network, &rig.inbox, rig.clock).await;
    rig.pump.rebuild().await.unwrap();
    rig.pump.step().await.unwrap();
    assert_eq!(rig.network.log(), ["deliver support:1/1/0"]);
}

#[tokio::test(start_paused = true)]
async fn a_far_side_that_is_down_costs_no_attempt_and_is_tried_with_one_head() {
    let mut rig = Rig::new(Resend::Askable).await;
    for _ in 0..5 {
        rig.network.will(Err(Fault::down("no connection")));
    }
    rig.reply(9, 2).await;
    rig.settle().await;
    assert_eq!(rig.network.log().len(), 7);
    let history = rig.store.history(&Key::from("support:9/1/0")).await.unwrap().unwrap();
    assert!(matches!(history.state, EnvelopeState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_absent_without_asking_is_no_sign_that_the_far_side_is_back() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::unknown("502")));
    rig.reply(9, 1).await;
    rig.pump.step().await.unwrap();
    for _ in 0..20 {
        rig.network.will(Err(Fault::down("no connection")));
    }
    rig.reply_to("a:eve", 10, 1).await;
    while !rig.network.log().iter().any(|line| line.starts_with("probe")) {
        rig.settle_one().await;
    }
    let libera = rig.pump.lanes.find_sink(&SinkName::bridge(&BridgeName::from("libera"))).unwrap();
    assert!(rig.pump.slot(libera).strikes > 3);
    rig.settle().await;
    assert_eq!(rig.pump.slot(libera).strikes, 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_together_are_one_strike() {
    let mut rig = Rig::new(Resend::Askable).await;
    for person in 0..4 {
        rig.network.will(Err(Fault::down("no connection")));
        rig.reply_to(&format!("a:{person}"), 9 + person, 1).await;
    }
    let begun = rig.clock.now();
    rig.settle().await;
    assert_eq!(rig.network.log().len(), 8);
    assert!(rig.clock.now() - begun < 600, "the first pause is short: {}", rig.clock.now() - begun);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_is_kept_whatever_else_is_heard() {
    let mut rig = Rig::new(Resend::Askable).await;
    // In either order: what was under way ends well beside the one that met the limit.
    for (round, limited) in [0, 1].into_iter().enumerate() {
        let round = round as i64;
        for place in 0..2 {
            let pause = Fault::down_for(Duration::from_secs(2), "too many requests");
            rig.network.will(if place == limited { Err(pause) } else { Ok(()) });
            rig.reply_to(&format!("a:{place}"), 10 * round + place + 1, 1).await;
        }
        let before = rig.network.log().len();
        assert_eq!(rig.pump.step().await.unwrap(), 2);
        rig.pump.fed(Feed::Back(SinkName::bridge(&BridgeName::from("libera"))));
        let asked = rig.clock.now();
        assert_eq!(rig.pump.step().await.unwrap(), 0);
        assert_eq!(rig.network.log().len(), before + 2);
        assert!(rig.pump.lanes.next_due().unwrap() >= asked + 2_000);
        rig.settle().await;
        assert_eq!(rig.network.log().len(), before + 3);
        let history = rig.store.history(&Key::from(format!("support:{}/1/0", 10 * round + limited + 1))).await;
        assert_eq!(history.unwrap().unwrap().attempts.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_part_takes_the_later_parts_along_and_spares_the_next_message() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Ok(()));
    rig.network.will(Err(Fault::refused("no such nick")));
    rig.reply(9, 4).await;
    rig.reply(10, 1).await;
    rig.settle().await;
    assert_eq!(rig.network.log(), ["deliver support:9/1/0", "deliver support:9/1/1", "deliver support:10/1/0"]);
    assert!(matches!(rig.state("support:9/1/3").await, EnvelopeState::Dead { .. }));
    assert_eq!(rig.inbox.log().len(), 1, "the agent is told once: {:?}", rig.inbox.log());

    let keys = ["support:9/1/1", "support:9/1/2", "support:9/1/3"].map(Key::from);
    let revived = rig.store.revive(&keys, rig.clock.now()).await.unwrap();
    for waiting in &revived {
        rig.pump.push(waiting);
    }
    rig.settle().await;
    let after = ["deliver support:9/1/1", "deliver support:9/1/2", "deliver support:9/1/3"];
    assert_eq!(rig.network.log()[3..], after);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_delays_and_loses_nothing() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 1).await;
    rig.store.refuse(StoreError::Unwritable("disk full".into()));
    assert_eq!(rig.pump.step().await.unwrap(), 0);
    assert!(rig.network.log().is_empty(), "nothing may start that is not written down");
    rig.store.allow();
    rig.settle().await;
    assert_eq!(rig.network.log(), ["deliver support:9/1/0"]);
}

/// Runs over a disk that is full when the first attempt ends and has room again a second later. Says what was written
/// before the stop, too.
async fn run_over_a_full_disk(stop_after: Duration) -> (Rig, EnvelopeState) {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 1).await;
    *rig.network.fills.lock().unwrap() = Some(rig.store.clone());
    let other = start(&Arc::new(MemoryStore::default()), &rig.network, &rig.inbox, rig.clock).await;
    let pump = std::mem::replace(&mut rig.pump, other);
    let stop = CancellationToken::new();
    let (ran, (), before) = tokio::join!(
        pump.run(stop.clone()),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rig.store.allow();
        },
        async {
            tokio::time::sleep(stop_after).await;
            let before = rig.state("support:9/1/0").await;
            stop.cancel();
            before
        }
    );
    ran.unwrap();
    (rig, before)
}

#[tokio::test(start_paused = true)]
async fn what_a_full_disk_did_not_take_is_written_down_as_soon_as_it_can_be() {
    // Long after nothing else happens, and in the middle of it.
    for (stop_after, is_done) in [(Duration::from_secs(5), true), (Duration::from_millis(10), false)] {
        let (rig, before) = run_over_a_full_disk(stop_after).await;
        assert_eq!(matches!(before, EnvelopeState::Done { .. }), is_done);
        assert_eq!(rig.network.log(), ["deliver support:9/1/0"]);
        assert!(matches!(rig.state("support:9/1/0").await, EnvelopeState::Done { .. }), "{stop_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_stops() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 1).await;
    rig.store.lease("another", rig.clock.now()).await.unwrap();
    assert_eq!(rig.pump.step().await, Err(StoreError::LeaseLost));
    assert!(rig.network.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_hears_of_it_before_a_successor_asks_about_its_attempts() {
    let rig = Rig::new(Resend::Askable).await;
    let (store, begun) = (rig.store.clone(), rig.clock.now());
    let successor_asks = begun + rig.network.rules().settle_millis;
    let (ended, ()) = tokio::join!(rig.pump.run(CancellationToken::new()), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        store.lease("another", rig.clock.now()).await.unwrap();
    });
    assert_eq!(ended, Err(StoreError::LeaseLost), "although nothing was to be done");
    // Virtual time, so just the moment of the first look.
    assert_eq!(rig.clock.now(), begun + LOOK_EVERY.as_millis() as i64);
    assert!(rig.clock.now() < successor_asks);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_accepted_is_found() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.pump = start(&rig.store, &rig.network, &rig.inbox, rig.clock).await;
    let other = start(&Arc::new(MemoryStore::default()), &rig.network, &rig.inbox, rig.clock).await;
    let (clock, network, store) = (rig.clock, rig.network.clone(), rig.store.clone());
    // One that nobody tells of what is accepted.
    let pump = std::mem::replace(&mut rig.pump, other);
    let stop = CancellationToken::new();
    let (ended, ()) = tokio::join!(pump.run(stop.clone()), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        rig.reply(9001, 1).await;
        tokio::time::sleep(LOOK_EVERY * 2).await;
        stop.cancel();
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(network.log(), ["deliver support:9001/1/0"]);
    let history = store.history(&Key::from("support:9001/1/0")).await.unwrap().unwrap();
    assert!(matches!(history.state, EnvelopeState::Done { .. }), "{:?} at {}", history.state, clock.now());
}
