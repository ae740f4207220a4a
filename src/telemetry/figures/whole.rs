//! Figures of the process as a whole: doubt, faults, the store, the disk, the settings.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use super::families::Families;

/// What the question about an earlier attempt brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// It took effect.
    Found,
    /// Surely not.
    Absent,
    /// There was no answer: it is asked again, or nobody can say.
    Unanswered,
}

const RECONCILED: [&str; 3] = ["found", "absent", "unanswered"];

/// Whose limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The inbox takes no more requests for a while.
    InboxRequests,
    /// The inbox takes no more messages in one conversation for a while.
    ConversationMessages,
    /// A network asked us to wait.
    Network,
    /// A peer wrote faster than is passed on.
    Peer,
}

const LIMITS: [&str; 4] = ["inbox_requests", "conversation_messages", "network", "peer"];

/// Where something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A bridge reported something.
    Accept,
    /// An inbox called.
    Callback,
    /// The pump wrote down what it does.
    Pump,
    /// An inbox was asked what no callback told.
    Sweep,
    /// An inbox was asked for its own settings.
    Inbox,
    /// A bridge ended by itself.
    Bridge,
    /// What is done now and then.
    Upkeep,
}

const STAGES: [&str; 7] = ["accept", "callback", "pump", "sweep", "inbox", "bridge", "upkeep"];

pub(super) struct Whole {
    pub(super) unknown_outcomes: IntCounter,
    reconciled: [IntCounter; 3],
    limited: [IntCounter; 4],
    pub(super) panics: IntCounter,
    errors: IntCounterVec,
    pub(super) dead_letters: IntGauge,
    pub(super) store_bytes: IntGauge,
    pub(super) disk_free_bytes: Gauge,
    pub(super) reload_successful: IntGauge,
    pub(super) partitions_held: IntGauge,
}

impl Whole {
    pub(super) fn new(families: &Families) -> Self {
        let help = "Questions about attempts whose outcome was unknown, by what they brought.";
        let reconciled = families.counters("reconciled_total", help, &["result"]);
        let help = "Times that a far side asked for a pause, by whose limit it was.";
        let limited = families.counters("rate_limited_total", help, &["limit"]);
        let help = "What went wrong beside the attempts, which have a count of their own.";
        let errors = families.counters("errors_total", help, &["error_type", "stage"]);
        for stage in STAGES {
            // There from the beginning, so that the first one is seen as an increase.
            errors.with_label_values(&["store_unwritable", stage]);
        }
        let build = families.gauges("build_info", "The version that runs.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let whole = Self {
            unknown_outcomes: families.counter(
                "unknown_outcomes_total",
                "Attempts of which nobody could say whether they took effect, also those that a process left open.",
            ),
            reconciled: RECONCILED.map(|result| reconciled.with_label_values(&[result])),
            limited: LIMITS.map(|limit| limited.with_label_values(&[limit])),
            panics: families.counter("worker_panics_total", "Panics of an attempt or a bridge; nothing else ended."),
            errors,
            dead_letters: families.gauge("dead_letters", "Envelopes that were given up and can be put back."),
            store_bytes: families.gauge("store_bytes", "Bytes of the database and its log, without large files."),
            disk_free_bytes: families.real_gauge("disk_free_bytes", "Bytes that the disk of the store has left."),
            reload_successful: families.gauge(
                "config_last_reload_successful",
                "1 when the settings that were read last are in force, 0 when they were refused.",
            ),
            partitions_held: families.gauge(
                "partitions_held",
                "Partitions of the 256 that this process works on; with several gateways on one store each has its share.",
            ),
        };
        whole.reload_successful.set(1);
        whole
    }

    pub(super) fn reconciled(&self, result: Reconciled) {
        self.reconciled[result as usize].inc();
    }

    pub(super) fn limited(&self, limit: Limit) {
        self.limited[limit as usize].inc();
    }

    pub(super) fn error(&self, stage: Stage, error_type: &'static str) {
        self.errors.with_label_values(&[error_type, STAGES[stage as usize]]).inc();
    }
}
