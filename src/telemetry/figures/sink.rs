//! What waits for one far side, and how its attempts end. The pump, which has the order of work in memory, writes it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use bridge_api::FaultKind;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use serde::Serialize;

use super::families::Families;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Surely not done, and later may work.
    Retry,
    /// May be done.
    Unknown,
    Refused,
    /// The far side as a whole cannot be used.
    Down,
}

impl From<FaultKind> for Outcome {
    fn from(fault: FaultKind) -> Self {
        match fault {
            FaultKind::Retry { .. } => Self::Retry,
            FaultKind::Unknown => Self::Unknown,
            FaultKind::Refused => Self::Refused,
            FaultKind::Down { .. } => Self::Down,
        }
    }
}

impl Outcome {
    pub fn word(self) -> &'static str {
        OUTCOMES[self as usize]
    }
}

const OUTCOMES: [&str; 5] = ["done", "retry", "unknown", "refused", "down"];

/// How it stands with one sink now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkNow {
    /// Neither under way nor in doubt.
    pub waiting: usize,
    pub under_way: usize,
    /// Asked about before anything is repeated.
    pub in_doubt: usize,
    /// Lanes behind a head that was tried and has to be tried, or asked about, again.
    pub lanes_blocked: usize,
    /// The store's number of the oldest head.
    pub oldest: Option<i64>,
    /// Nothing before then.
    pub held_until_millis: Option<i64>,
}

/// One sink.
pub struct SinkFigures {
    attempts: [IntCounter; 5],
    waiting: IntGauge,
    under_way: IntGauge,
    in_doubt: IntGauge,
    lanes_blocked: IntGauge,
    age_seconds: Gauge,
    /// 0 for none.
    oldest: AtomicI64,
    /// `i64::MIN` for none.
    held_until_millis: AtomicI64,
}

impl SinkFigures {
    pub fn attempted(&self, outcome: Outcome) {
        self.attempts[outcome as usize].inc();
    }

    pub fn stands(&self, now: SinkNow) {
        self.waiting.set(now.waiting as i64);
        self.under_way.set(now.under_way as i64);
        self.in_doubt.set(now.in_doubt as i64);
        self.lanes_blocked.set(now.lanes_blocked as i64);
        self.oldest.store(now.oldest.unwrap_or(0), Ordering::Relaxed);
        self.held_until_millis.store(now.held_until_millis.unwrap_or(i64::MIN), Ordering::Relaxed);
    }

    /// The store's number of what waits longest, as far as anything does.
    pub fn oldest(&self) -> Option<i64> {
        Some(self.oldest.load(Ordering::Relaxed)).filter(|id| *id > 0)
    }

    /// How long that has waited, as the store knows.
    pub fn waits_for(&self, millis: i64) {
        self.age_seconds.set(millis.max(0) as f64 / 1000.0);
    }

    fn shown(&self, name: &str, now_millis: i64) -> SinkShown {
        let held_until_millis = self.held_until_millis.load(Ordering::Relaxed);
        let count = |gauge: &IntGauge| gauge.get().max(0) as u64;
        let (waiting, under_way, in_doubt) = (count(&self.waiting), count(&self.under_way), count(&self.in_doubt));
        SinkShown {
            name: name.to_owned(),
            waiting,
            under_way,
            in_doubt,
            lanes_blocked: count(&self.lanes_blocked),
            held_until_millis: (held_until_millis > now_millis).then_some(held_until_millis),
            oldest_age_seconds: (waiting + under_way + in_doubt > 0).then(|| self.age_seconds.get()),
        }
    }
}

/// One sink at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkShown {
    /// `inbox:NAME` or `bridge:NAME`.
    pub name: String,
    pub waiting: u64,
    pub under_way: u64,
    pub in_doubt: u64,
    pub lanes_blocked: u64,
    /// Unix milliseconds; `i64::MAX` when the settings no longer name it.
    pub held_until_millis: Option<i64>,
    /// `None` when nothing waits.
    pub oldest_age_seconds: Option<f64>,
}

/// All sinks. Those of the settings are there from the beginning; what an older settings file named joins them when
/// something still waits for it.
pub(super) struct Sinks {
    attempts: IntCounterVec,
    queue: IntGaugeVec,
    age_seconds: GaugeVec,
    lanes_blocked: IntGaugeVec,
    by_name: Mutex<BTreeMap<String, Arc<SinkFigures>>>,
}

impl Sinks {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            attempts: families.counters(
                "delivery_attempts_total",
                "Attempts to cause one effect, by how they ended. Questions about earlier ones are not in it.",
                &["sink", "outcome"],
            ),
            queue: families.gauges(
                "queue_messages",
                "Envelopes that wait, are under way, or are in doubt and asked about before they are repeated.",
                &["sink", "state"],
            ),
            age_seconds: families.real_gauges(
                "queue_oldest_age_seconds",
                "How long ago the oldest one that waits was accepted; 0 when nothing waits.",
                &["sink"],
            ),
            lanes_blocked: families.gauges(
                "lanes_blocked",
                "Conversations behind a message that was tried and has to be tried, or asked about, again.",
                &["sink"],
            ),
            by_name: Mutex::default(),
        }
    }

    /// Looked up once by each who writes, and kept.
    pub(super) fn sink(&self, name: &str) -> Arc<SinkFigures> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_name.get(name) {
            return known.clone();
        }
        let state = |state| self.queue.with_label_values(&[name, state]);
        let made = Arc::new(SinkFigures {
            attempts: OUTCOMES.map(|outcome| self.attempts.with_label_values(&[name, outcome])),
            waiting: state("waiting"),
            under_way: state("under_way"),
            in_doubt: state("in_doubt"),
            lanes_blocked: self.lanes_blocked.with_label_values(&[name]),
            age_seconds: self.age_seconds.with_label_values(&[name]),
            oldest: AtomicI64::new(0),
            held_until_millis: AtomicI64::new(i64::MIN),
        });
        by_name.insert(name.to_owned(), made.clone());
        made
    }

    pub(super) fn all(&self) -> Vec<Arc<SinkFigures>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn shown(&self, now_millis: i64) -> Vec<SinkShown> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, sink)| sink.shown(name, now_millis)).collect()
    }
}
