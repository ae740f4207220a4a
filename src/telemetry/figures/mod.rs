//! The figures: counters, gauges and histograms, and what of them a page shows. Labels are names from the settings and
//! fixed words, never a peer or a message.
//!
//! Whoever counts has its handle from the start, so that a message costs a few atomic additions and no look-up of labels.

mod bridge;
mod families;
mod flow;
mod inbox;
mod rate;
mod sink;
mod state;
mod whole;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use bridge_api::BridgeState;
use serde::Serialize;

use self::{bridge::Bridges, families::Families, inbox::Inboxes, sink::Sinks, whole::Whole};

pub use self::{
    bridge::{BridgeFigures, BridgeShown},
    flow::{Flow, FlowShown},
    inbox::{Called, InboxFigures, InboxShown},
    sink::{Outcome, SinkFigures, SinkNow, SinkShown},
    whole::{Limit, Reconciled, Stage},
};
pub use prometheus::Histogram;

/// What answers to `GET /metrics` are, for whoever reads them.
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// A fast disk needs less than a millisecond, one that is full of other work some seconds.
const COMMIT_SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All figures of one gateway.
pub struct Figures {
    families: Families,
    bridges: Bridges,
    inboxes: HashMap<String, Arc<InboxFigures>>,
    sinks: Sinks,
    whole: Whole,
    /// When the store was last asked for what only it knows.
    looked_millis: AtomicI64,
}

/// Between two times that the store is asked.
const LOOK_EVERY_MILLIS: i64 = 1_000;

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// For these bridges, each with its inbox, and these inboxes. `commits` is what the store measures. More bridges may
    /// [come](Self::enter).
    pub fn new<'a>(
        bridges: impl IntoIterator<Item = (&'a str, &'a str)>,
        inboxes: impl IntoIterator<Item = &'a str>,
        commits: Option<Histogram>,
    ) -> Self {
        let families = Families::new();
        let of_inboxes = Inboxes::new(&families);
        let inboxes: HashMap<_, _> =
            inboxes.into_iter().map(|name| (name.to_owned(), Arc::new(of_inboxes.inbox(name)))).collect();
        families.add(commits.unwrap_or_else(commit_seconds));
        let (bridges_of, sinks, whole) = (Bridges::new(&families), Sinks::new(&families), Whole::new(&families));
        for name in inboxes.keys() {
            sinks.sink(&format!("inbox:{name}"));
        }
        let looked_millis = AtomicI64::new(i64::MIN);
        let figures = Self { families, bridges: bridges_of, inboxes, sinks, whole, looked_millis };
        for (name, inbox) in bridges {
            figures.enter(name, inbox);
        }
        figures
    }

    /// A bridge that feeds this inbox, from now on. One that was there before goes on with its counts.
    pub fn enter(&self, bridge: &str, inbox: &str) -> Arc<BridgeFigures> {
        self.sinks.sink(&format!("bridge:{bridge}"));
        self.bridges.enter(bridge, inbox)
    }

    /// `None` for one that the settings do not name.
    pub fn bridge(&self, name: &str) -> Option<Arc<BridgeFigures>> {
        self.bridges.find(name)
    }
    pub fn inbox(&self, name: &str) -> Option<&Arc<InboxFigures>> {
        self.inboxes.get(name)
    }
    /// By `inbox:NAME` or `bridge:NAME`; made when it is new.
    pub fn sink(&self, name: &str) -> Arc<SinkFigures> {
        self.sinks.sink(name)
    }
    pub fn sinks(&self) -> Vec<Arc<SinkFigures>> {
        self.sinks.all()
    }

    /// Nobody can say whether an attempt took effect.
    pub fn doubted(&self) {
        self.whole.unknown_outcomes.inc();
    }
    pub fn reconciled(&self, result: Reconciled) {
        self.whole.reconciled(result);
    }
    /// A far side asked for a pause.
    pub fn limited(&self, limit: Limit) {
        self.whole.limited(limit);
    }
    /// `error_type` is a fixed word of whoever meets it.
    pub fn error(&self, stage: Stage, error_type: &'static str) {
        self.whole.error(stage, error_type);
    }
    /// An attempt or a bridge panicked, and nothing else ended.
    pub fn panicked(&self) {
        self.whole.panics.inc();
    }
    /// Whether the settings that were read last are in force.
    pub fn reloaded(&self, successful: bool) {
        self.whole.reload_successful.set(successful.into());
    }
    pub fn dead_letters(&self, count: u64) {
        self.whole.dead_letters.set(count as i64);
    }
    /// Of all partitions, how many are ours.
    pub fn holds(&self, partitions: usize) {
        self.whole.partitions_held.set(partitions as i64);
    }

    pub fn space(&self, store_bytes: u64, disk_free_bytes: u64) {
        self.whole.store_bytes.set(store_bytes as i64);
        // Where it cannot be asked it is more than whole numbers hold.
        self.whole.disk_free_bytes.set(disk_free_bytes as f64);
    }
    pub(super) fn bridge_is(&self, name: &str, state: &BridgeState, again: bool) {
        let Some(bridge) = self.bridges.find(name) else { return };
        bridge.states.set(state);
        if again {
            bridge.reconnects.inc();
        }
    }
    pub(super) fn inbox_is(&self, name: &str, state: &BridgeState) {
        if let Some(inbox) = self.inboxes.get(name) {
            inbox.states.set(state);
        }
    }

    /// Whether it is time to ask the store again; whoever is told so asks.
    pub fn look_is_due(&self, now_millis: i64) -> bool {
        let next = |last: i64| (now_millis >= last.saturating_add(LOOK_EVERY_MILLIS)).then_some(now_millis);
        self.looked_millis.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        self.families.text()
    }

    /// What a page shows, as of this moment.
    pub fn snapshot(&self, now_millis: i64) -> Snapshot {
        // By name, so that a page stays as it is when it is loaded again.
        let inboxes: BTreeMap<_, _> = self.inboxes.iter().collect();
        Snapshot {
            at_millis: now_millis,
            bridges: self.bridges.shown(now_millis),
            inboxes: inboxes.into_iter().map(|(name, inbox)| inbox.shown(name)).collect(),
            sinks: self.sinks.shown(now_millis),
            dead_letters: self.whole.dead_letters.get() as u64,
            unknown_outcomes: self.whole.unknown_outcomes.get(),
            store_bytes: self.whole.store_bytes.get() as u64,
            disk_free_bytes: self.whole.disk_free_bytes.get() as u64,
        }
    }
}

/// The histogram of a store's commits, which the store itself fills.
pub fn commit_seconds() -> Histogram {
    let help = "Time that a transaction of the store took, its sync of the disk included.";
    families::histogram("store_commit_seconds", help, COMMIT_SECONDS)
}

/// The figures of one moment, plain, for a page. Counts are those of this process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// Unix milliseconds.
    pub at_millis: i64,
    pub bridges: Vec<BridgeShown>,
    pub inboxes: Vec<InboxShown>,
    pub sinks: Vec<SinkShown>,
    pub dead_letters: u64,
    pub unknown_outcomes: u64,
    pub store_bytes: u64,
    pub disk_free_bytes: u64,
}

#[cfg(test)]
mod tests;
