//! What decides a run: one seed, one clock, how likely each fault is, and the count of those that struck.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deskbridge::clock::Clock;
use tokio_util::task::TaskTracker;

/// Some moment, Unix milliseconds. Any other would do.
const BEGIN_MILLIS: i64 = 1_900_000_000_123;
/// How often a fault strikes, per thousand chances. Most runs do without most kinds, so that those which are
/// left are met in long chains too.
const RATES: [u32; 6] = [0, 0, 0, 4, 20, 90];
/// Lines that a failed run shows of its end.
const SHOWN_LINES: usize = 120;

macro_rules! strikes {
    ({ $($name:ident),* $(,)? } of replicas { $($other:ident),* $(,)? }) => {
        /// One kind of trouble. A set of runs that met none of a kind proves nothing about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Strike { $($name,)* $($other),* }

        impl Strike {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
            /// Of several processes on one store.
            pub(crate) const OF_REPLICAS: &[Self] = &[$(Self::$other),*];
        }
    };
}

strikes! { {
    // What the inbox does with a request.
    NotSent, CutBefore, CutAfter, CutThenSaved, Late, Silent, ErrorBefore, ErrorAfter, BadGatewayBefore,
    BadGatewayAfter, UnprocessableAfter, Unauthorised, Limited, LimitedUntil, Flooded, LoginPage, TooLarge,
    ConversationGone,
    // What becomes of its callbacks.
    CallbackRepeated, CallbackLate, CallbackCutBefore, CallbackCutAfter, CallbackWithheld, CallbackUnanswered,
    // The store.
    Unwritable, StoreSlow,
    // The processes.
    CrashInStore, CrashAfterCommit, CrashBeforeRequest, CrashAfterAnswer, CrashInSend, CrashInRun, SoftStop, LeaseLost,
    // The networks.
    SendRetry, SendRetryAfter, SendRefused, SendDown, UnknownDone, UnknownNotDone, HangDone, HangNotDone, PanicDone,
    PanicNotDone, ProbeUnknown, ProbeRetry, Disconnected, RunEnded, RunPanicked, EventRepeated, EventsReordered,
    ReceiptLate,
    // What people do.
    NickChanged, Merged, RetryPressed, TakenBack, Translated, Foreign, Note, Activity, Template, Resolved,
} of replicas {
    // What becomes of one of them.
    Crashed, Hung, CutFromStore, UnansweredByStore, CutFromInbox, StoppedSoftly,
    // What that has to lead to.
    PartitionsOrphaned, PartitionsGivenBack, RowsLost, BridgeMoved,
} }

/// Shared by everything in one run.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) clock: Clock,
    /// Whatever goes on in the world outside of a gateway.
    pub(crate) tasks: TaskTracker,
    rng: Mutex<fastrand::Rng>,
    rates: BTreeMap<Strike, u32>,
    struck: Mutex<BTreeMap<Strike, u64>>,
    calm: AtomicBool,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    hash: u64,
    violations: Vec<String>,
    shows_all: bool,
}

impl Weather {
    /// Within a runtime whose time is paused.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rates: BTreeMap<_, _> =
            Strike::ALL.iter().map(|strike| (*strike, RATES[rng.usize(..RATES.len())])).collect();
        // A question is rare already.
        rates.extend([(Strike::ProbeUnknown, 150), (Strike::ProbeRetry, 150)]);
        let shows_all = std::env::var_os("DESKBRIDGE_SIM_TRACE").is_some();
        Self {
            clock: Clock::from_millis(BEGIN_MILLIS),
            tasks: TaskTracker::new(),
            rng: Mutex::new(rng),
            rates,
            struck: Mutex::default(),
            calm: AtomicBool::new(false),
            log: Mutex::new(Log { shows_all, ..Log::default() }),
        }
    }

    /// With these faults at these rates, and no others.
    pub(crate) fn only(seed: u64, rates: &[(Strike, u32)]) -> Self {
        Self { rates: rates.iter().copied().collect(), ..Self::new(seed) }
    }

    /// From now on nothing strikes.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether a fault of this kind strikes now. Counted when it does.
    pub(crate) fn strikes(&self, strike: Strike) -> bool {
        let rate = self.rates.get(&strike).copied().unwrap_or_default();
        let hit = rate > 0 && !self.is_calm() && lock(&self.rng).u32(..1000) < rate;
        if hit {
            self.met(strike);
        }
        hit
    }
    pub(crate) fn met(&self, strike: Strike) {
        *lock(&self.struck).entry(strike).or_default() += 1;
    }
    pub(crate) fn struck(&self) -> BTreeMap<Strike, u64> {
        lock(&self.struck).clone()
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        lock(&self.rng).usize(..end.max(1))
    }
    pub(crate) fn between(&self, from_millis: u64, to_millis: u64) -> Duration {
        Duration::from_millis(lock(&self.rng).u64(from_millis..=to_millis))
    }
    pub(crate) fn one_in(&self, count: usize) -> bool {
        self.below(count) == 0
    }
    pub(crate) fn shuffle<T>(&self, all: &mut [T]) {
        lock(&self.rng).shuffle(all);
    }
    /// A stream of its own for a part that draws by itself.
    pub(crate) fn fork(&self) -> fastrand::Rng {
        lock(&self.rng).fork()
    }

    /// Something happened. Two runs of one seed say the same.
    pub(crate) fn say(&self, what: &str) {
        let mut log = lock(&self.log);
        let at = self.clock.now() - BEGIN_MILLIS;
        let mut hash = DefaultHasher::new();
        (log.hash, at, what).hash(&mut hash);
        log.hash = hash.finish();
        let line = format!("{:>9.3} {what}", at as f64 / 1000.0);
        if log.shows_all {
            println!("{line}");
        }
        log.lines.push(line);
    }
    /// Something that must never happen did.
    pub(crate) fn violation(&self, what: String) {
        self.say(&format!("VIOLATION {what}"));
        lock(&self.log).violations.push(what);
    }
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.log).violations.clone()
    }
    pub(crate) fn lines(&self) -> usize {
        lock(&self.log).lines.len()
    }
    pub(crate) fn hash(&self) -> u64 {
        lock(&self.log).hash
    }
    /// The end of the story, for a person.
    pub(crate) fn story(&self) -> String {
        let log = lock(&self.log);
        let from = log.lines.len().saturating_sub(SHOWN_LINES);
        log.lines[from..].iter().fold(String::new(), |mut story, line| {
            writeln!(story, "{line}").expect("a string takes all");
            story
        })
    }
}

/// A thread that panicked left nothing half done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
