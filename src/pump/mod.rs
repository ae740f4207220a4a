//! Takes due heads, runs attempts, settles. The only code that ever repeats anything. It parses
//! nothing and knows neither side.

mod attempt;
mod counted;
mod share;
mod verdict;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    lanes::{Lanes, Taken},
    model::{Envelope, EnvelopeId, Feed, Partition, SinkName, Waiting},
    sinks::{Sink, Sinks},
    store::{Begin, Settle, Settled, Store, StoreError, Turn},
    telemetry::{Figures, SinkFigures, Stage},
    tenure::Tenure,
};
use attempt::{Finished, Right};
use share::Share;

/// Messages to the pump that may wait before those who send them do.
const FEED_MAX: usize = 4096;
/// Rows of one step of the scan at start.
const SCAN_ROWS: usize = 10_000;
/// Between two looks at what another process may have accepted, or taken from us. Well below the time after which a
/// successor asks an inbox about our attempts, where that is left as it is usually set; a network is asked at once.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause before such a look, when there may be something.
const HINT_REST: Duration = Duration::from_millis(20);
/// Pause before a store that could not be written is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// Tries to write down how the last attempts ended, before a process that stops leaves them in doubt.
const STOP_TRIES_MAX: usize = 20;

/// How others reach the pump.
pub fn feed() -> (mpsc::Sender<Feed>, mpsc::Receiver<Feed>) {
    mpsc::channel(FEED_MAX)
}

pub struct Pump {
    store: Arc<dyn Store>,
    share: Share,
    clock: Clock,
    lanes: Lanes,
    sinks: Arc<Sinks>,
    /// By the lanes' index: the sink, `None` when its settings are gone.
    by_index: Vec<Option<SinkSlot>>,
    figures: Arc<Figures>,
    /// By the lanes' index.
    counted: Vec<Arc<SinkFigures>>,
    feed: mpsc::Receiver<Feed>,
    attempts: JoinSet<Finished>,
    /// Ended attempts that the store has not been told of yet.
    settle: Vec<(Option<Right>, Settle)>,
    rng: fastrand::Rng,
    /// What is in doubt because of an attempt that we made, or asked about in vain: other open attempts belong to a
    /// process that is gone.
    doubted: HashMap<EnvelopeId, Partition>,
}

struct SinkSlot {
    sink: Arc<dyn Sink>,
    /// Holds in a row, and when the last one ends.
    strikes: u32,
    held_until_millis: i64,
    /// The far side asked for quiet until then, which nothing else ends: neither an answer that was under way nor the
    /// news that it is back.
    asked_until_millis: i64,
}

impl SinkSlot {
    fn of(sink: Arc<dyn Sink>) -> Self {
        Self { sink, strikes: 0, held_until_millis: 0, asked_until_millis: 0 }
    }
}

impl Pump {
    pub fn new(
        store: Arc<dyn Store>,
        tenure: Tenure,
        sinks: Arc<Sinks>,
        feed: mpsc::Receiver<Feed>,
        clock: Clock,
        (rng, figures): (fastrand::Rng, Arc<Figures>),
    ) -> Self {
        Self {
            store,
            share: Share::new(tenure, clock),
            clock,
            lanes: Lanes::default(),
            sinks,
            by_index: Vec::new(),
            figures,
            counted: Vec::new(),
            feed,
            attempts: JoinSet::new(),
            settle: Vec::new(),
            rng,
            doubted: HashMap::new(),
        }
    }

    /// Works until `stop`, then lets open attempts finish, writes down how they ended and, where nobody else keeps it,
    /// gives the lease back. An error means that this process must not go on: the store is broken or the lease lost.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        self.rebuild().await?;
        let shared = self.share.tenure.is_shared();
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            // What the store did not take is due at once: the pause was made when it was refused.
            let due = if self.settle.is_empty() { self.lanes.next_due() } else { Some(i64::MIN) };
            let due = due.map(|due| self.clock.instant(due));
            tokio::select! {
                // In this order, so that a simulation can be played again; what is ready is drained below in any case.
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(look_at) => {
                    self.look().await?;
                    look_at = Instant::now() + LOOK_EVERY;
                }
                () = self.share.tenure.changed() => {}
                () = hint(&*self.store, shared) => look_at = look_at.min(Instant::now() + HINT_REST),
                Some(feed) = self.feed.recv() => self.fed(feed),
                Some(finished) = self.attempts.join_next() => self.conclude(finished),
                () = sleep_until(due) => {}
            }
            self.drain();
            self.follow().await?;
            self.turn(Begins::Yes).await?;
        }
        while let Some(finished) = self.attempts.join_next().await {
            self.conclude(finished);
            self.turn(Begins::No).await?;
        }
        for _ in 0..STOP_TRIES_MAX {
            self.turn(Begins::No).await?;
        }
        if !self.settle.is_empty() {
            tracing::warn!(
                attempts = self.settle.len(),
                "ended attempts could not be written down; they will be asked about"
            );
        }
        if shared { Ok(()) } else { self.store.release(&self.share.held.lease).await }
    }

    /// Begins what is due, waits for all of it and settles it. Returns how many attempts ended.
    /// For tests that want to see each step.
    pub async fn step(&mut self) -> Result<usize, StoreError> {
        self.drain();
        self.follow().await?;
        self.turn(Begins::Yes).await?;
        let mut ended = 0;
        while let Some(finished) = self.attempts.join_next().await {
            self.conclude(finished);
            ended += 1;
        }
        self.turn(Begins::No).await?;
        Ok(ended)
    }

    /// Fills the lanes from the store. What is accepted meanwhile waits in the feed; pushing an
    /// envelope twice changes nothing.
    pub async fn rebuild(&mut self) -> Result<(), StoreError> {
        self.scan().await?;
        self.show();
        tracing::info!(waiting = self.lanes.len(), "the outbox is loaded");
        Ok(())
    }

    /// Finds what another process on the same store accepted, and hears of it when that one took the lease: while we do
    /// nothing, nothing else would tell, and our attempts under way would go on beside its own. Whether it could be done.
    async fn look(&mut self) -> Result<bool, StoreError> {
        match self.scan().await {
            Ok(()) => Ok(true),
            // It passes, and everything that is ours we are told of.
            Err(StoreError::Unwritable(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn scan(&mut self) -> Result<(), StoreError> {
        loop {
            let news = self.store.news(&self.share.held.lease, self.share.seen, SCAN_ROWS).await?;
            self.share.seen = news.next;
            self.push_all(&news.waiting);
            if !news.more {
                return Ok(());
            }
            // The feed has a bound, so it must flow. But nothing begins before all is here: a row further on may belong
            // before those that are.
            self.drain();
        }
    }

    /// What has ended and could not be written down yet is in the store as something that waits.
    fn push_all(&mut self, rows: &[Waiting]) {
        let ended: HashSet<_> = self.settle.iter().map(|(_, settle)| settle.id).collect();
        for row in rows.iter().filter(|row| !ended.contains(&row.id)) {
            self.push(row);
        }
    }

    fn drain(&mut self) {
        while let Ok(feed) = self.feed.try_recv() {
            self.fed(feed);
        }
        while let Some(finished) = self.attempts.try_join_next() {
            self.conclude(finished);
        }
    }

    fn fed(&mut self, feed: Feed) {
        match feed {
            Feed::Waiting(waiting) => waiting.iter().for_each(|waiting| self.push(waiting)),
            Feed::Back(name) => {
                if let Some(index) = self.lanes.find_sink(&name) {
                    self.back(index);
                }
            }
            Feed::Pause { sinks, until_millis } => {
                for sink in sinks {
                    self.know(&sink);
                    self.lanes.pause(&sink, until_millis);
                }
            }
            Feed::Resume(sinks) => sinks.iter().for_each(|sink| {
                self.know(sink);
                self.lanes.resume(sink);
            }),
        }
    }

    fn push(&mut self, waiting: &Waiting) {
        if !self.share.works_on_all() && !self.share.works_on(waiting.lane.partition()) {
            return;
        }
        self.know(&waiting.lane.sink);
        self.lanes.push(waiting);
    }

    /// Gives a sink that the lanes meet its limit. One without settings is held for good: its envelopes are kept and
    /// shown.
    fn know(&mut self, name: &SinkName) {
        if self.lanes.find_sink(name).is_some() {
            return;
        }
        self.lanes.set_limit(name, 1);
        let index = self.lanes.find_sink(name).expect("the lanes know a sink with a limit");
        self.by_index.resize_with(index + 1, || None);
        self.counted.push(self.figures.sink(name.as_str()));
        if let Some(sink) = self.sinks.find(name) {
            self.lanes.set_limit(name, sink.limit());
            self.by_index[index] = Some(SinkSlot::of(sink));
        } else {
            tracing::warn!(sink = name.as_str(), "messages wait for something that the settings no longer name");
            self.lanes.hold(index, i64::MAX);
        }
    }

    /// One transaction: settles what ended and begins what is due.
    async fn turn(&mut self, begins: Begins) -> Result<(), StoreError> {
        let turned = self.turn_once(begins).await;
        self.show();
        self.tell_what_is_vacant();
        turned
    }

    async fn turn_once(&mut self, begins: Begins) -> Result<(), StoreError> {
        let begins = begins == Begins::Yes && self.may_begin().await?;
        self.drop_what_is_not_ours();
        let now = self.clock.now();
        let taken = if begins { self.lanes.take(now) } else { Vec::new() };
        if taken.is_empty() && self.settle.is_empty() {
            return Ok(());
        }
        let begin = taken.iter().map(|t| Begin { id: t.id, mark: self.slot(t.sink).sink.mark() }).collect();
        let settle = std::mem::take(&mut self.settle);
        let turn = Turn { settle: settle.iter().map(|(_, settle)| settle.clone()).collect(), begin };
        match self.store.turn(&self.share.held.lease, turn, now).await {
            Ok(turned) => {
                turned.accepted.iter().for_each(|waiting| self.push(waiting));
                self.begun(taken, turned.begun);
                Ok(())
            }
            Err(StoreError::Unwritable(reason)) => {
                tracing::error!(reason = reason.as_str(), "the store cannot be written; trying again");
                self.figures.error(Stage::Pump, "store_unwritable");
                self.settle = settle;
                let due = now + STORE_PAUSE.as_millis() as i64;
                for taken in taken {
                    self.lanes.again(taken, due);
                }
                tokio::time::sleep(STORE_PAUSE).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Where others accept as well, something that belongs before what is due may have come to them: whatever was kept
    /// by now is known before anything begins.
    async fn may_begin(&mut self) -> Result<bool, StoreError> {
        if !self.share.tenure.is_shared() || self.lanes.next_due().is_none_or(|due| due > self.clock.now()) {
            return Ok(true);
        }
        let may = self.share.tenure.may_begin() && self.look().await? && self.share.tenure.may_begin();
        if !may {
            // What is due stays due, and must not be asked about without a rest.
            tokio::time::sleep(STORE_PAUSE).await;
        }
        Ok(may)
    }

    /// Starts the attempts that were written down; what the store no longer has, or is not ours any more, is dropped.
    fn begun(&mut self, taken: Vec<Taken>, envelopes: Vec<Envelope>) {
        let mut envelopes = envelopes.into_iter().peekable();
        for taken in taken {
            match envelopes.next_if(|envelope| envelope.id == taken.id) {
                Some(envelope) => self.start(taken, envelope),
                None => self.lanes.finish(taken),
            }
        }
    }

    fn start(&mut self, taken: Taken, envelope: Envelope) {
        let sink = self.slot(taken.sink).sink.clone();
        self.counts_what_was_left_open(&envelope);
        let partition = self.lanes.partition(taken.sink, taken.lane);
        let right = self.share.right(partition);
        // The process that began it may have ended with a request on its way: the far side is asked only when it
        // can no longer be at work on that.
        let is_ours = envelope.doubt.is_none() || self.doubted.contains_key(&envelope.id);
        let safe_millis = self.share.since_millis[usize::from(partition)] + sink.rules().settle_millis;
        if !is_ours && self.clock.now() < safe_millis {
            self.lanes.ask(taken, safe_millis);
            let reason = "the process ended during the attempt".to_owned();
            let outcome = Settled::Doubt { due_millis: safe_millis, reason };
            self.settle.push((right, Settle { id: envelope.id, outcome }));
            return;
        }
        if right.is_some() {
            self.share.under_way[usize::from(partition)] += 1;
        }
        let right = right.map(|right| (self.share.tenure.clone(), right));
        self.attempts.spawn(attempt::run(sink, right, taken, envelope));
    }

    fn slot(&self, index: usize) -> &SinkSlot {
        self.by_index[index].as_ref().expect("a sink without settings is held for good")
    }

    /// A far side that is back may be another one by now, or the first one under its name.
    fn back(&mut self, index: usize) {
        let now = self.clock.now();
        let name = self.lanes.sink_name(index).clone();
        let Some(sink) = self.sinks.find(&name) else { return };
        let slot = self.by_index[index].get_or_insert_with(|| SinkSlot::of(sink.clone()));
        if !Arc::ptr_eq(&slot.sink, &sink) {
            *slot = SinkSlot::of(sink);
        }
        if slot.asked_until_millis <= now {
            slot.strikes = 0;
            if self.lanes.release(index) {
                slot.sink.held(None);
            }
        }
        let limit = slot.sink.limit();
        self.lanes.set_limit(&name, limit);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    Yes,
    No,
}

async fn hint(store: &dyn Store, shared: bool) {
    if shared { store.hint().await } else { std::future::pending().await }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
