//! What one slice of a measurement gave, and the middle of many.

use std::{fs, time::Duration};

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    /// Probes before a loud disk is taken as it is.
    pub(crate) patience: u32,
    /// A factor for counts: 1 when run as a test.
    pub(crate) scale: usize,
}

impl Effort {
    pub(crate) fn small() -> Self {
        Self { rounds: 1, slice: Duration::from_millis(150), patience: 1, scale: 1 }
    }
    pub(crate) fn large() -> Self {
        Self { rounds: 5, slice: Duration::from_millis(1500), patience: 6, scale: 100 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Slice {
    /// Events a second.
    pub(crate) rate: f64,
    pub(crate) cpu_micros: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) quiet: bool,
}

impl Slice {
    /// From how long each of the events took, and what this process spent on all of them.
    pub(crate) fn new(mut times: Vec<Duration>, elapsed: Duration, cpu: Duration, quiet: bool) -> Self {
        times.sort_unstable();
        let count = times.len().max(1) as f64;
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        Self {
            rate: times.len() as f64 / elapsed.as_secs_f64(),
            cpu_micros: cpu.as_micros() as f64 / count,
            p50: at(50),
            p99: at(99),
            quiet,
        }
    }

    /// Of so many events, whose single times nobody took.
    pub(crate) fn of_all(count: u64, elapsed: Duration, cpu: Duration, quiet: bool) -> Self {
        let (rate, cpu_micros) = (count as f64 / elapsed.as_secs_f64(), cpu.as_micros() as f64 / count as f64);
        Self { rate, cpu_micros, p50: Duration::ZERO, p99: Duration::ZERO, quiet }
    }
}

/// The middle of the quiet slices, or of all when none was quiet.
pub(crate) fn median(slices: &[Slice], of: impl Fn(&Slice) -> f64) -> f64 {
    let mut values: Vec<_> = slices.iter().filter(|slice| slice.quiet).map(&of).collect();
    if values.is_empty() {
        values = slices.iter().map(of).collect();
    }
    middle(values)
}

/// The middle of the ratios within each round, those rounds first in which both slices were quiet.
pub(crate) fn ratio(ours: &[Slice], theirs: &[Slice], of: impl Fn(&Slice) -> f64) -> f64 {
    let pairs = || ours.iter().zip(theirs);
    let mut values: Vec<_> = pairs().filter(|(a, b)| a.quiet && b.quiet).map(|(a, b)| of(a) / of(b)).collect();
    if values.is_empty() {
        values = pairs().map(|(a, b)| of(a) / of(b)).collect();
    }
    middle(values)
}

pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Of all threads of this process, to 10 ms.
pub(crate) fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |place| fields.split_whitespace().nth(place).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * (ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)))
}

/// Resident memory of a process, KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
