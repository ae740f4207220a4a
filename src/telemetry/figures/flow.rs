//! What goes through a bridge in one direction: messages of people or of agents, not what is said about them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use serde::Serialize;

use super::{families::Families, rate::Rate};

/// From a few milliseconds to half a day: beyond that it is a matter of dead letters.
const DELIVERY_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0];

/// One direction of one bridge.
pub struct Flow {
    accepted: IntCounter,
    delivered: IntCounter,
    failed: IntCounter,
    seconds: Histogram,
    accepted_rate: Rate,
    delivered_rate: Rate,
    /// 0 before the first one.
    last_success_millis: AtomicI64,
}

impl Flow {
    /// A message was kept: news, and not known before.
    pub fn accepted(&self, now_millis: i64) {
        self.accepted.inc();
        self.accepted_rate.one(now_millis);
    }
    /// The whole message is known to be on the other side.
    pub fn delivered(&self, accepted_millis: i64, now_millis: i64) {
        self.delivered.inc();
        self.delivered_rate.one(now_millis);
        self.seconds.observe((now_millis - accepted_millis).max(0) as f64 / 1000.0);
        self.last_success_millis.fetch_max(now_millis, Ordering::Relaxed);
    }
    /// A message was given up. An operator may put it back, and then it is delivered as well.
    pub fn failed(&self) {
        self.failed.inc();
    }

    pub(super) fn shown(&self, now_millis: i64) -> FlowShown {
        let last = self.last_success_millis.load(Ordering::Relaxed);
        FlowShown {
            accepted: self.accepted.get(),
            delivered: self.delivered.get(),
            failed: self.failed.get(),
            last_success_millis: (last > 0).then_some(last),
            accepted_per_minute: self.accepted_rate.per_minute(now_millis),
            delivered_per_minute: self.delivered_rate.per_minute(now_millis),
        }
    }
}

/// One direction of one bridge at one moment. Counts are those of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowShown {
    pub accepted: u64,
    pub delivered: u64,
    pub failed: u64,
    /// Unix milliseconds.
    pub last_success_millis: Option<i64>,
    /// Within the last minute.
    pub accepted_per_minute: u64,
    pub delivered_per_minute: u64,
}

/// The families that all flows are in.
pub(super) struct Flows {
    accepted: IntCounterVec,
    delivered: IntCounterVec,
    failed: IntCounterVec,
    seconds: HistogramVec,
}

impl Flows {
    pub(super) fn new(families: &Families) -> Self {
        let labels = &["bridge", "direction"];
        Self {
            accepted: families.counters(
                "messages_accepted_total",
                "Messages that were made durable, and so acknowledged, without repeats of them.",
                labels,
            ),
            delivered: families.counters(
                "messages_delivered_total",
                "Messages that are known to be whole on the other side.",
                labels,
            ),
            failed: families.counters(
                "messages_failed_total",
                "Messages that were given up as dead letters; one that is put back may be delivered later.",
                labels,
            ),
            seconds: families.histograms(
                "delivery_seconds",
                "Time from when a message was accepted to when it was known to be whole on the other side.",
                DELIVERY_SECONDS,
                &["direction"],
            ),
        }
    }

    pub(super) fn flow(&self, bridge: &str, direction: &str) -> Arc<Flow> {
        let labels = &[bridge, direction];
        Arc::new(Flow {
            accepted: self.accepted.with_label_values(labels),
            delivered: self.delivered.with_label_values(labels),
            failed: self.failed.with_label_values(labels),
            seconds: self.seconds.with_label_values(&[direction]),
            accepted_rate: Rate::default(),
            delivered_rate: Rate::default(),
            last_success_millis: AtomicI64::new(0),
        })
    }
}
