//! Rows in which the process dies, again and again, while everybody talks.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use serde_json::{Value, json};

use crate::{
    field::Field,
    gateway::Gateway,
    layout::Layout,
    nets::Kind,
    peers,
    power::{Disk, until_still},
    row::{Effort, Outcome},
    store::{self, Log},
};

/// What a kill comes within, from the moment it may.
const LIFE_MILLIS_MAX: u64 = 1_500;
/// A strike at a system call that has not come within this time becomes an ordinary one.
const LIFE_UNDER_TRACE: Duration = Duration::from_secs(8);
/// After so many deaths people and inbox are new ones, so that no look at everything gets long.
const DEATHS_MAX: usize = 50;

/// How the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// SIGKILL at a random moment.
    AnyTime,
    /// SIGKILL at the n-th call of one kind, n being random.
    AtCall,
    /// A sync of the disk fails once, and the process has to end by itself.
    SyncFails,
    /// The disk keeps what had reached it, and nothing else.
    PowerCut,
}

/// Calls between a message and its next safe place: written, synced, sent, read.
const CALLS: [&str; 6] = ["fsync", "pwrite64", "sendto", "recvfrom", "writev", "epoll_wait"];
const CALLS_MAX: u64 = 200;
/// What the log says once nothing of the store may be believed any more.
const BROKEN: &str = "the store is broken";
/// What the log says where the store's file could not be made safe, so that nothing was ever opened.
const NOT_MADE: &str = "deskbridge: the store cannot be written: ";
/// What it says once the store is open and read.
const OPENED: &str = "the outbox is loaded";

pub(crate) fn irc(effort: &Effort) -> Option<Outcome> {
    besiege(&[(Kind::Irc, 60)], Death::AnyTime, effort.runs(7, 250), effort.seed)
}

pub(crate) fn matrix(effort: &Effort) -> Option<Outcome> {
    besiege(&[(Kind::MatrixStandIn, 60)], Death::AnyTime, effort.runs(7, 250), effort.seed)
}

pub(crate) fn synapse(effort: &Effort) -> Option<Outcome> {
    besiege(&[(Kind::Synapse, 8)], Death::AnyTime, effort.runs(8, 80), effort.seed)
}

pub(crate) fn mail(effort: &Effort) -> Option<Outcome> {
    besiege(&[(Kind::MailDirect, 60)], Death::AnyTime, effort.runs(7, 200), effort.seed)
}

pub(crate) fn postfix(effort: &Effort) -> Option<Outcome> {
    besiege(&[(Kind::Postfix, 30)], Death::AnyTime, effort.runs(8, 80), effort.seed)
}

/// All three kinds of bridge in one gateway.
pub(crate) const MIXED: [(Kind, usize); 3] = [(Kind::Irc, 20), (Kind::MatrixStandIn, 20), (Kind::MailDirect, 15)];

pub(crate) fn calls(effort: &Effort) -> Option<Outcome> {
    if !peers::have(&["strace"]) {
        return None;
    }
    besiege(&MIXED, Death::AtCall, effort.runs(18, 240), effort.seed)
}

pub(crate) fn sync_fails(effort: &Effort) -> Option<Outcome> {
    if !peers::have(&["strace"]) {
        return None;
    }
    besiege(&MIXED, Death::SyncFails, effort.runs(4, 30), effort.seed)
}

pub(crate) fn power(effort: &Effort) -> Option<Outcome> {
    besiege(&MIXED, Death::PowerCut, effort.runs(5, 50), effort.seed)
}

fn besiege(kinds: &[(Kind, usize)], death: Death, runs: usize, seed: u64) -> Option<Outcome> {
    if !kinds.iter().all(|(kind, _)| kind.is_present()) {
        return None;
    }
    let mut outcome = Outcome::default();
    while outcome.runs < runs {
        let seed = seed.wrapping_add(outcome.runs as u64);
        let mut siege = Siege::lay(kinds, death, seed)?;
        for _ in 0..DEATHS_MAX.min(runs - outcome.runs) {
            siege.round(&mut outcome);
        }
        siege.end(&mut outcome);
    }
    if death == Death::AnyTime && outcome.struck * 4 < outcome.runs {
        outcome.complaints.push(format!("only {} of {} kills struck anything", outcome.struck, outcome.runs));
    }
    Some(outcome)
}

/// Answers that come late widen the moments in which an outcome is unknown; others never come.
pub(crate) fn trouble() -> Value {
    let late = |on: &str| json!({ "on": on, "method": "POST", "probability": 0.2, "kind": "commit_then_slow", "milliseconds": 250 });
    let lies = json!({ "on": "messages", "method": "POST", "probability": 0.02, "kind": "commit_then_server_error" });
    let cut = json!({ "on": "messages", "method": "POST", "probability": 0.02, "kind": "commit_then_drop" });
    json!({ "routes": [lies, cut, late("messages")], "callbacks": { "duplicate": "new_delivery" } })
}

struct Siege {
    field: Field,
    death: Death,
    disk: Option<Disk>,
    /// Messages that were missing from a store whose log never reached the disk, to show that a cut can be told.
    missed_without_log: usize,
    /// The last life ended for a failed sync, and said so.
    says_why: bool,
}

impl Siege {
    fn lay(kinds: &[(Kind, usize)], death: Death, seed: u64) -> Option<Self> {
        let mut field = Field::lay_out(&Layout::of(kinds, seed));
        let disk = if death == Death::PowerCut {
            Some(Disk::mount(field.folder.path(), field.gateway.data_dir())?)
        } else {
            None
        };
        field.open();
        field.sandbox.faults(&trouble());
        Some(Self { field, death, disk, missed_without_log: 0, says_why: false })
    }

    fn round(&mut self, outcome: &mut Outcome) {
        outcome.runs += 1;
        let life = Duration::from_millis(self.field.rng.u64(..LIFE_MILLIS_MAX));
        match self.death {
            Death::AnyTime => {
                self.live(life);
                self.field.must_live();
                self.field.gateway.kill();
                outcome.kills += 1;
                let waiting = self.field.mark_death().waiting.len();
                outcome.struck += usize::from(waiting > 0);
            }
            Death::AtCall => {
                let call = CALLS[self.field.rng.usize(..CALLS.len())];
                match self.live_under(call, "signal=KILL") {
                    Some(status) if is_killed(status) => outcome.struck += 1,
                    Some(status) => outcome.complaints.push(format!("it ended otherwise than killed: {status}")),
                    // The call never came.
                    None => {}
                }
                outcome.kills += 1;
                self.field.mark_death();
            }
            Death::SyncFails => {
                match self.live_under("fsync", "error=EIO") {
                    Some(status) if status.code().is_some_and(|code| code != 0) && self.says_why => {
                        outcome.struck += 1;
                    }
                    Some(status) => outcome.complaints.push(format!("after a sync that failed: {status}")),
                    // The call never came.
                    None => outcome.kills += 1,
                }
                self.field.mark_death();
            }
            Death::PowerCut => {
                self.live(life);
                self.field.must_live();
                let lacks = self.cut();
                outcome.kills += 1;
                outcome.struck += usize::from(lacks);
            }
        }
    }

    /// Half of the lives begin with talk, half once every bridge is on its network.
    fn live(&mut self, life: Duration) {
        if !self.field.gateway.is_running() {
            self.field.gateway.spawn();
            if self.field.rng.bool() {
                self.field.until_up();
            }
        }
        self.field.talk(life);
    }

    /// Under a tracer that strikes at one call, random which. Returns with how the process ended by itself, if it did.
    fn live_under(&mut self, call: &str, what: &str) -> Option<ExitStatus> {
        let when = self.field.rng.u64(1..=CALLS_MAX);
        // Half of them strike early: a process that starts makes calls as well.
        let when = if self.field.rng.bool() { when } else { when / 10 + 1 };
        if self.field.gateway.is_running() {
            self.field.gateway.kill();
            self.field.mark_death();
        }
        // The lives of one field share a log.
        let logged = self.field.gateway.log().len();
        self.field.gateway.spawn_by(&tracer(call, &format!("{what}:when={when}")));
        // The disk is worth most while everybody is on their networks; a kill is worth as much before.
        if self.death == Death::SyncFails || self.field.rng.bool() {
            self.field.until_up_or_gone();
        }
        self.field.talk(LIFE_UNDER_TRACE);
        let said =
            |gateway: &Gateway, words: &str| gateway.log().get(logged..).is_some_and(|text| text.contains(words));
        if said(&self.field.gateway, BROKEN) || !self.field.gateway.is_running() {
            let status = self.field.gateway.wait();
            let gateway = &self.field.gateway;
            self.says_why = said(gateway, BROKEN) || said(gateway, NOT_MADE) && !said(gateway, OPENED);
            return Some(status);
        }
        self.field.gateway.kill();
        None
    }

    /// Everything stands still, the disk is copied, and the next life begins on the copy.
    fn cut(&mut self) -> bool {
        let disk = self.disk.as_mut().expect("it was mounted");
        let pid = self.field.gateway.process.as_ref().expect("it was started").pid();
        self.field.gateway.signal("STOP");
        until_still(pid);
        disk.copy();
        self.field.gateway.kill();
        let live = store::look(&self.field.gateway.data_dir(), &Log::Kept);
        let lacks = disk.swap();
        let without = store::look(&self.field.gateway.data_dir(), &Log::Gone);
        self.missed_without_log += live.keys.difference(&without.keys).count();
        self.field.mark_death();
        lacks
    }

    fn end(mut self, outcome: &mut Outcome) {
        let desk = self.field.drain();
        let verdicts = self.field.judge(&desk);
        outcome.add(verdicts);
        if self.death == Death::PowerCut {
            let missed = self.missed_without_log;
            if missed == 0 {
                outcome.complaints.push("a store without its log lacks nothing: cuts cannot be told".to_owned());
            }
            outcome.notes.push(format!(
                "Each copy of the disk lacked what the tests had written and not synced. Had the store not synced its \
                 log, {missed} messages that it had taken would have been missing after the cuts."
            ));
        }
        // The disk goes first, so that the folder below it can.
        self.field.gateway.kill();
        drop(self.disk);
    }
}

/// The tracer ends as what it traced did.
fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Stops every thread at every call: by a filter in the kernel it would be faster, but then nothing is injected.
fn tracer(call: &str, strike: &str) -> Vec<String> {
    let inject = format!("inject={call}:{strike}");
    let trace = format!("trace={call}");
    ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(String::from).to_vec()
}
