//! Rows in which the process lives, and everything around it goes wrong: the disk fills up, the clock jumps, the inbox
//! lies, networks go away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    field::Field,
    http,
    layout::Layout,
    nets::{Kind, Trouble},
    row::{Effort, Outcome},
    siege::MIXED,
    small_disk::SmallDisk,
    wait::{PATIENCE, until},
};

/// More than the gateway wants to be free before it takes mail.
const DISK_MIB: u64 = 400;
const SPELL: Duration = Duration::from_millis(1_500);

pub(crate) fn disk_full(effort: &Effort) -> Option<Outcome> {
    if !Kind::Irc.is_present() {
        return None;
    }
    let mut field = Field::lay_out(&Layout::of(&MIXED, effort.seed));
    let Some(small) = SmallDisk::mount(field.gateway.data_dir(), DISK_MIB) else {
        let text = "a full disk needs the right to mount one";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("\n*** SKIPPED: {text} ***\n");
        return None;
    };
    field.open();
    let mut outcome = Outcome::default();
    for _ in 0..effort.runs(2, 20) {
        outcome.runs += 1;
        field.talk(SPELL);
        let before = field.callbacks.refused();
        small.fill();
        // There is room in files that exist already.
        let end = Instant::now() + PATIENCE;
        while field.callbacks.refused() == before && Instant::now() < end {
            field.burst(3);
        }
        field.talk(SPELL);
        outcome.struck += usize::from(field.callbacks.refused() > before);
        if !field.gateway.is_running() {
            outcome.complaints.push("it ended for want of room".to_owned());
            field.mark_death();
        }
        small.free();
        field.gateway.until_ready();
        field.until_up();
    }
    outcome.notes.push(format!("{} callbacks were refused while the disk was full.", field.callbacks.refused()));
    let desk = field.drain();
    outcome.add(field.judge(&desk));
    field.gateway.kill();
    drop(small);
    Some(outcome)
}

/// Where Debian puts the library that tells processes another time.
fn faketime() -> Option<PathBuf> {
    let folders =
        fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    folders.into_iter().find(|path| path.is_file())
}

/// Seconds. By more than half a day everybody on IRC who is not logged in has become somebody new, as set.
const JUMPS: [i64; 6] = [3_600, -3_600, 90, -90, 28_800, -28_800];

pub(crate) fn clock(effort: &Effort) -> Option<Outcome> {
    let Some(library) = faketime() else {
        let text = "no libfaketime (apt-get install faketime)";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("\n*** SKIPPED: {text} ***\n");
        return None;
    };
    if !Kind::Irc.is_present() {
        return None;
    }
    let mut field = Field::lay_out(&Layout::of(&MIXED, effort.seed));
    let dial = field.folder.path().join("dial");
    set(&dial, 0);
    field.open();
    field.gateway.kill();
    field.mark_death();
    field.gateway.spawn_by(&clocked(&library, &dial));
    field.until_up();
    let mut outcome = Outcome::default();
    for jump in JUMPS.iter().cycle().take(effort.runs(6, 24)) {
        outcome.runs += 1;
        field.talk(SPELL / 2);
        let before = field.callbacks.refused();
        set(&dial, *jump);
        field.talk(SPELL);
        // Whoever is an hour off believes no signature; a minute and a half is within what is believed.
        let refused = field.callbacks.refused() - before;
        outcome.struck += usize::from((jump.abs() < 300) == (refused == 0));
        set(&dial, 0);
    }
    if outcome.struck < outcome.runs {
        outcome.complaints.push("a jump went unnoticed".to_owned());
    }
    field.talk(SPELL / 2);
    outcome.notes.push(format!(
        "{} callbacks were refused since their signatures seemed to be of another time; the gateway asked for them later.",
        field.callbacks.refused()
    ));
    let desk = field.drain();
    outcome.add(field.judge(&desk));
    Some(outcome)
}

fn set(dial: &Path, seconds: i64) {
    // Another file in its place, so that nobody reads half of one.
    let next = dial.with_extension("next");
    fs::write(&next, format!("{seconds:+}\n")).expect("a file is written");
    fs::rename(next, dial).expect("a file is renamed");
}

fn clocked(library: &Path, dial: &Path) -> Vec<String> {
    vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", dial.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
}

/// What the inbox does to requests that post messages, and how often in one spell. Hanging takes a place of few.
const LIES: [(&str, u64); 14] = [
    ("commit_then_server_error", 40),
    ("commit_then_drop", 40),
    ("commit_then_cut", 40),
    ("commit_then_bad_gateway", 40),
    ("commit_then_unprocessable", 40),
    ("commit_then_slow", 40),
    ("commit_then_hang", 2),
    ("server_error", 40),
    ("unprocessable", 10),
    ("bad_gateway", 40),
    ("drop", 40),
    ("slow", 40),
    ("hang", 2),
    ("unauthorized", 2),
];

pub(crate) fn inbox(effort: &Effort) -> Option<Outcome> {
    if !Kind::Irc.is_present() {
        return None;
    }
    let mut field = Field::lay_out(&Layout::of(&MIXED, effort.seed));
    field.open();
    let mut outcome = Outcome::default();
    for (kind, count) in LIES.iter().cycle().take(effort.runs(LIES.len(), LIES.len() * 4)) {
        outcome.runs += 1;
        let mut rule = json!({ "on": "messages", "method": "POST", "count": count, "kind": kind });
        if kind.ends_with("slow") {
            rule["milliseconds"] = json!(700);
        }
        field.sandbox.faults(&json!({ "routes": [rule], "callbacks": { "duplicate": "same_delivery", "reorder": 4 } }));
        field.talk(SPELL);
        outcome.struck += usize::from(field.sandbox.strikes_left() < *count);
    }
    field.sandbox.faults(&json!({}));
    field.sandbox.down(3);
    let state = format!("{}/sandbox/state", field.sandbox.url);
    until("the sandbox to be down", || http::get(&state).map_or(Ok(()), |_| Err("it answers".to_owned())));
    outcome.runs += 1;
    outcome.struck += 1;
    // Agents cannot write while their inbox is away.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        field.say_somewhere();
        std::thread::sleep(Duration::from_millis(10));
    }
    until("the sandbox to be back", || http::get(&state).map(drop));
    let desk = field.drain();
    outcome.add(field.judge(&desk));
    Some(outcome)
}

/// Each round breaks every network twice, and after each break within five minutes the IRC bridge stays away for up to
/// twice as long: more rounds would show nothing but its patience.
const NETWORK_ROUNDS_MAX: usize = 4;
/// Longer than the longest such pause.
const UNTIL_BACK: Duration = Duration::from_mins(11);

pub(crate) fn networks(effort: &Effort) -> Option<Outcome> {
    let kinds = [(Kind::Irc, 10), (Kind::Synapse, 4), (Kind::Postfix, 6), (Kind::MailDirect, 6)];
    if !kinds.iter().all(|(kind, _)| kind.is_present()) {
        return None;
    }
    let mut field = Field::lay_out(&Layout::of(&kinds, effort.seed));
    field.open();
    let mut outcome = Outcome::default();
    for _ in 0..effort.runs(1, 3).min(NETWORK_ROUNDS_MAX) {
        for net in 0..field.nets.len() {
            for trouble in [Trouble::Away, Trouble::Hanging] {
                // What it then forgets to tell of is read back after minutes.
                if effort.large || field.nets[net].name() != "synapse" || trouble == Trouble::Hanging {
                    suffer(&mut field, net, trouble, &mut outcome);
                }
            }
        }
    }
    let desk = field.drain();
    outcome.add(field.judge(&desk));
    Some(outcome)
}

fn suffer(field: &mut Field, net: usize, trouble: Trouble, outcome: &mut Outcome) {
    outcome.runs += 1;
    field.talk(SPELL / 2);
    field.nets[net].suffer(trouble);
    field.mark_break(net);
    field.talk(SPELL);
    // It has struck when answers wait that cannot go out.
    let sink = format!("bridge:{}", field.nets[net].name());
    let waits = |field: &Field| field.gateway.waiting().iter().any(|(_, waiting)| *waiting == sink);
    outcome.struck += usize::from(waits(field));
    field.mark_break(net);
    field.nets[net].recover();
    // Whoever was gone has to be found again.
    field.until_up_within(UNTIL_BACK);
}
