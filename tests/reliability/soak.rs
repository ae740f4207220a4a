//! A long time under mixed traffic, with a fault every half minute and a kill every two: memory and descriptors stay
//! level.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    field::Field,
    layout::Layout,
    nets::Kind,
    row::{Effort, Outcome},
    siege::{MIXED, trouble},
};

const KILL_EVERY: Duration = Duration::from_mins(2);
const FAULT_EVERY: Duration = Duration::from_secs(30);
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Of a life, before which nothing is level yet.
const WARM_UP: f64 = 0.4;
/// What a level may differ by between the first half after the warm-up and the second.
const GROWTH_MAX: f64 = 0.05;
/// Below which a difference says nothing: a cache, a batch, an arena of the allocator.
const KIB_NOISE: f64 = 8.0 * 1024.0;
/// What the pools of connections may hold at one time and not at another.
const DESCRIPTORS_NOISE: f64 = 64.0;
/// Pace of the whole crowd together.
const PAUSE: Duration = Duration::from_millis(25);

/// One look at the process.
#[derive(Clone, Copy, Debug)]
struct Sample {
    kib: f64,
    descriptors: f64,
}

pub(crate) fn soak(effort: &Effort) -> Option<Outcome> {
    if !Kind::Irc.is_present() {
        return None;
    }
    let mut field = Field::lay_out(&Layout::of(&MIXED, effort.seed));
    field.open();
    let mut outcome = Outcome::default();
    // A short soak has its faults and kills as well.
    let kill_every = KILL_EVERY.min(effort.soak / 3);
    let fault_every = FAULT_EVERY.min(effort.soak / 12);
    let begun = Instant::now();
    let mut lives: Vec<Vec<Sample>> = Vec::new();
    while begun.elapsed() < effort.soak {
        lives.push(live(&mut field, kill_every, fault_every, &mut outcome));
        outcome.runs += 1;
        field.gateway.kill();
        outcome.kills += 1;
        outcome.struck += usize::from(!field.mark_death().waiting.is_empty());
        field.gateway.start();
        field.until_up();
    }
    judge(&lives, &mut outcome);
    let desk = field.drain();
    outcome.add(field.judge(&desk));
    let (seconds, sent) = (effort.soak.as_secs(), field.sent());
    outcome.notes.push(format!("{seconds} s, {} lives of the process, {sent} messages sent.", lives.len()));
    Some(outcome)
}

/// Talk with a fault now and then, and looks at the process in between.
fn live(field: &mut Field, span: Duration, fault_every: Duration, outcome: &mut Outcome) -> Vec<Sample> {
    let pid = field.gateway.process.as_ref().expect("it was started").pid();
    let begun = Instant::now();
    let (mut samples, mut faults) = (Vec::new(), 0_u32);
    while begun.elapsed() < span {
        if begun.elapsed() >= fault_every * faults {
            faults += 1;
            field.sandbox.faults(&sheet(field.rng.usize(..)));
        }
        field.burst(1);
        std::thread::sleep(PAUSE);
        if begun.elapsed() >= SAMPLE_EVERY * samples.len() as u32 {
            samples.extend(look(pid));
        }
    }
    if !field.gateway.is_running() {
        outcome.complaints.push("the gateway ended by itself".to_owned());
    }
    samples
}

/// Something to go wrong until the next one does.
fn sheet(number: usize) -> Value {
    let rule = |kind: &str, probability: f64| {
        json!({ "routes": [{
            "on": "messages", "method": "POST", "probability": probability, "kind": kind,
        }]})
    };
    match number % 5 {
        0 => trouble(),
        1 => rule("commit_then_server_error", 0.1),
        2 => rule("commit_then_drop", 0.1),
        3 => rule("bad_gateway", 0.1),
        _ => json!({}),
    }
}

fn look(pid: u32) -> Option<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64;
    Some(Sample { kib, descriptors })
}

/// Within each life, and from the second life to the last: the first one is that of an empty store.
fn judge(lives: &[Vec<Sample>], outcome: &mut Outcome) {
    let mut grew = |what: String, before: f64, after: f64, noise: f64| {
        if after > before * (1.0 + GROWTH_MAX) + noise {
            outcome.complaints.push(format!("{what} grew from {before:.0} to {after:.0}"));
        }
    };
    let mut levels = Vec::new();
    for (number, life) in lives.iter().enumerate() {
        let level = &life[(life.len() as f64 * WARM_UP) as usize..];
        let (early, late) = level.split_at(level.len() / 2);
        if early.is_empty() {
            continue;
        }
        let kib = |samples: &[Sample]| median(samples, |sample| sample.kib);
        let descriptors = |samples: &[Sample]| median(samples, |sample| sample.descriptors);
        grew(format!("memory in life {number}, KiB"), kib(early), kib(late), KIB_NOISE);
        grew(format!("descriptors in life {number}"), descriptors(early), descriptors(late), DESCRIPTORS_NOISE);
        levels.push((kib(late), descriptors(late)));
    }
    if let [_, first, .., last] = levels.as_slice() {
        grew("memory from life to life, KiB".to_owned(), first.0, last.0, KIB_NOISE);
        grew("descriptors from life to life".to_owned(), first.1, last.1, DESCRIPTORS_NOISE);
    }
    let range = |values: Vec<f64>| {
        let (low, high) =
            values.iter().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
        (low, high)
    };
    let (low, high) = range(levels.iter().map(|level| level.0 / 1024.0).collect());
    let (few, many) = range(levels.iter().map(|level| level.1).collect());
    outcome.notes.push(format!(
        "Level after the warm-up, from life to life: {low:.1} to {high:.1} MiB resident, {few:.0} to {many:.0} descriptors."
    ));
}

fn median(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
