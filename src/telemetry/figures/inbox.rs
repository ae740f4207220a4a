//! What one inbox tells us: by callbacks, and when the sweep asks.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use serde::Serialize;

use super::{families::Families, state::States};

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    Stored,
    /// Known already: nothing changed.
    Known,
    /// Nothing for a network.
    Ignored,
    /// The signature, the moment or the token was wrong.
    Refused,
    Malformed,
    TooLarge,
    /// The body did not come in time.
    Late,
    /// It could not be stored, or nothing is done for this inbox now.
    Unavailable,
}

impl Called {
    pub fn word(self) -> &'static str {
        RESULTS[self as usize]
    }
}

const RESULTS: [&str; 8] = ["stored", "known", "ignored", "refused", "malformed", "too_large", "late", "unavailable"];

/// One inbox.
pub struct InboxFigures {
    callbacks: [IntCounter; 8],
    recovered: IntCounter,
    last_sweep_seconds: IntGauge,
    pub(super) states: States,
}

impl InboxFigures {
    pub fn called(&self, result: Called) {
        self.callbacks[result as usize].inc();
    }

    /// A sweep came to its end, and so much of it was news.
    pub fn swept(&self, recovered: usize, now_millis: i64) {
        self.recovered.inc_by(recovered as u64);
        self.last_sweep_seconds.set(now_millis / 1000);
    }

    pub(super) fn shown(&self, name: &str) -> InboxShown {
        let last = self.last_sweep_seconds.get();
        InboxShown {
            name: name.to_owned(),
            callbacks: RESULTS.into_iter().zip(self.callbacks.iter().map(IntCounter::get)).collect(),
            sweep_recovered: self.recovered.get(),
            last_sweep_millis: (last > 0).then_some(last * 1000),
        }
    }
}

/// One inbox at one moment. Counts are those of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InboxShown {
    pub name: String,
    /// By what became of them.
    pub callbacks: Vec<(&'static str, u64)>,
    /// Messages that no callback had told.
    pub sweep_recovered: u64,
    /// Unix milliseconds, to the second.
    pub last_sweep_millis: Option<i64>,
}

/// The families that all inboxes are in.
pub(super) struct Inboxes {
    callbacks: IntCounterVec,
    recovered: IntCounterVec,
    last_sweep_seconds: IntGaugeVec,
    states: IntGaugeVec,
}

impl Inboxes {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            callbacks: families.counters(
                "callbacks_total",
                "Callbacks of an inbox, by what became of them.",
                &["inbox", "result"],
            ),
            recovered: families.counters(
                "sweep_recovered_total",
                "Messages that no callback had told, found by asking the inbox.",
                &["inbox"],
            ),
            last_sweep_seconds: families.gauges(
                "sweep_last_success_timestamp_seconds",
                "When a sweep last came to its end, Unix time; 0 before the first one.",
                &["inbox"],
            ),
            states: families.gauges(
                "inbox_state",
                "How the inbox is: the state that it is in has 1, the others 0.",
                &["inbox", "state"],
            ),
        }
    }

    pub(super) fn inbox(&self, name: &str) -> InboxFigures {
        InboxFigures {
            callbacks: RESULTS.map(|result| self.callbacks.with_label_values(&[name, result])),
            recovered: self.recovered.with_label_values(&[name]),
            last_sweep_seconds: self.last_sweep_seconds.with_label_values(&[name]),
            states: States::new(&self.states, name),
        }
    }
}
