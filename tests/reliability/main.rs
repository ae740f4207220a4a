//! The real thing under fire: the release binary among ngIRCd, Synapse, Postfix and the sandbox inbox, killed, starved
//! and lied to, and one judge of what arrived.
//!
//! Run as a test it is the short form. `--large` takes all and writes `RELIABILITY.md`:
//!
//! ```text
//! cargo test --release --test reliability -- --large
//! cargo test --release --test reliability -- [ROW ...] [--large] [--runs N] [--seed N] [--soak 10m]
//! ```

#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/irc.rs"]
mod irc;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/mail/world.rs"]
mod mail_world;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/peers/mod.rs"]
mod peers;
#[path = "../e2e/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the tests in e2e, which drive it further")]
#[path = "../e2e/sandbox.rs"]
mod sandbox;
#[path = "../e2e/small_disk.rs"]
mod small_disk;
#[path = "../e2e/wait.rs"]
mod wait;

mod bytes;
mod callbacks;
mod field;
mod fleet;
mod layout;
mod nets;
mod oracle;
mod power;
mod report;
mod row;
mod scissors;
mod sender;
mod siege;
mod soak;
mod store;
mod trouble;

use std::{env, panic, process::ExitCode, time::Duration};

use report::{Entry, Report};
use row::{Effort, Row};

/// In the order of the report.
const ROWS: [Row; 18] = [
    Row { name: "kill-irc", fault: "SIGKILL at a random moment, the inbox late and lying", run: siege::irc },
    Row { name: "kill-matrix", fault: "SIGKILL at a random moment, the inbox late and lying", run: siege::matrix },
    Row { name: "kill-synapse", fault: "SIGKILL at a random moment, the inbox late and lying", run: siege::synapse },
    Row { name: "kill-mail", fault: "SIGKILL at a random moment, the inbox late and lying", run: siege::mail },
    Row { name: "kill-postfix", fault: "SIGKILL at a random moment, the inbox late and lying", run: siege::postfix },
    Row { name: "kill-at-call", fault: "SIGKILL at the n-th system call of one kind, n up to 200", run: siege::calls },
    Row {
        name: "sync-fails",
        fault: "a sync of the disk fails (EIO); the process ends by itself",
        run: siege::sync_fails,
    },
    Row { name: "power", fault: "the power is cut: only what had reached the disk is there", run: siege::power },
    Row { name: "disk-full", fault: "the disk is full for a while", run: trouble::disk_full },
    Row { name: "clock", fault: "the clock jumps by 90 s, an hour, eight hours, and back", run: trouble::clock },
    Row { name: "inbox", fault: "the inbox lies, hangs, is slow, refuses, is away", run: trouble::inbox },
    Row { name: "networks", fault: "a network goes away, or hangs", run: trouble::networks },
    Row { name: "cut-inbox-request", fault: "the request to the inbox is cut at a byte", run: bytes::inbox_request },
    Row { name: "cut-inbox-answer", fault: "the inbox's answer is cut at a byte", run: bytes::inbox_answer },
    Row {
        name: "cut-homeserver-request",
        fault: "the request to a homeserver is cut at a byte",
        run: bytes::homeserver_request,
    },
    Row {
        name: "cut-homeserver-answer",
        fault: "the homeserver's answer is cut at a byte",
        run: bytes::homeserver_answer,
    },
    Row {
        name: "replicas",
        fault: "three gateways on one PostgreSQL: each killed, hung, stopped, cut off from the database or from the inbox; \
                the database restarted",
        run: fleet::replicas,
    },
    Row { name: "soak", fault: "a long time, a fault each half minute, a kill each two", run: soak::soak },
];

const SOAK_SHORT: Duration = Duration::from_secs(36);
const SOAK_LARGE: Duration = Duration::from_mins(10);
const SEED: u64 = 4711;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let number = |name: &str| value(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number")));
    let large = words.iter().any(|word| word == "--large");
    let soak = value("--soak").map_or(if large { SOAK_LARGE } else { SOAK_SHORT }, |text| span(text));
    let effort = Effort {
        large,
        runs: number("--runs").map(|runs| runs as usize),
        seed: number("--seed").unwrap_or(SEED),
        soak,
    };
    let values = ["--runs", "--seed", "--soak"].map(value);
    let names: Vec<_> = words.iter().filter(|word| !word.starts_with('-') && !values.contains(&Some(*word))).collect();
    let wanted: Vec<_> =
        ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| *name == row.name)).collect();
    if wanted.is_empty() {
        let known = ROWS.map(|row| row.name).join(" ");
        eprintln!("no row is called {names:?}; there are {known}");
        // As any test target does with the name of another's test.
        return if large { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    oracle::prove_the_judge();
    eprintln!("seed {}", effort.seed);
    let entries = wanted.iter().filter_map(|row| take(row, &effort).or_else(|| skipped(row, &effort)));
    let report = Report { entries: entries.collect(), effort };
    println!("{}", report.table());
    if large && names.is_empty() && cfg!(debug_assertions) {
        eprintln!("not written: it is the release binary that a report is about (--release)");
    } else if large && names.is_empty() {
        report.write();
    }
    let faults = report.faults();
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is published has every row.
fn skipped(row: &Row, effort: &Effort) -> Option<Entry> {
    let complaints = vec!["was skipped, since what it needs is not here".to_owned()];
    let outcome = row::Outcome { complaints, ..row::Outcome::default() };
    effort.large.then_some(Entry { name: row.name, fault: row.fault, outcome })
}

/// A row that panics is one that failed, and no reason not to run the others.
fn take(row: &Row, effort: &Effort) -> Option<Entry> {
    let begun = std::time::Instant::now();
    eprintln!("{} …", row.name);
    let outcome = panic::catch_unwind(|| (row.run)(effort));
    let outcome = outcome.unwrap_or_else(|_| {
        Some(row::Outcome { complaints: vec!["did not come to its end".to_owned()], ..row::Outcome::default() })
    })?;
    let faults = outcome.faults();
    let verdict = if faults.is_empty() { "held" } else { "FAILED" };
    let (runs, struck, messages) = (outcome.runs, outcome.struck, outcome.messages());
    eprintln!(
        "{}: {verdict}; {struck} of {runs} struck, {messages} messages, {} s",
        row.name,
        begun.elapsed().as_secs()
    );
    for note in &outcome.notes {
        eprintln!("  {note}");
    }
    Some(Entry { name: row.name, fault: row.fault, outcome })
}

/// `90s`, `10m`, `4h`.
fn span(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("`{text}` is no span such as 90s, 10m or 4h"));
    match unit {
        "s" => Duration::from_secs(number),
        "m" => Duration::from_mins(number),
        "h" => Duration::from_hours(number),
        _ => panic!("`{text}` is no span such as 90s, 10m or 4h"),
    }
}
