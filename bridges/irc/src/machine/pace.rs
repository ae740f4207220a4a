//! How fast lines may leave: one token bucket a connection. Knows no protocol.

use std::time::{Duration, Instant};

use crate::settings::{PaceSettings, PaceTable, Profile};

/// Measured limits, each a little below what the servers themselves allow.
fn table(profile: Profile) -> PaceTable {
    let (burst, per_second) = match profile {
        Profile::Default | Profile::Libera | Profile::Oftc => (4, 0.5),
        Profile::Inspircd => (8, 1.0),
        Profile::Ergo => (5, 2.0),
        Profile::Ngircd => (3, 2.0),
    };
    PaceTable { burst, per_second }
}

/// Four lines of this length stay below the smallest receive queue measured (2560 bytes).
const BYTES_A_LINE: f64 = 384.0;
/// After the server threw us out for flooding, and again, until this share is reached.
const SHARE_MIN: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Pace {
    table: PaceTable,
    /// The operator named the figures; they are used as they are.
    exact: bool,
    share: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Pace {
    pub(super) fn new(settings: PaceSettings, share: f64, now: Instant) -> Self {
        let (table, exact) = match settings {
            PaceSettings::Auto => (table(Profile::Default), false),
            PaceSettings::Named(profile) => (table(profile), false),
            PaceSettings::Exact(table) => (table, true),
        };
        Self { table, exact, share, tokens: f64::from(table.burst), filled_at: now }
    }

    /// Takes what the server said of itself, unless the settings name a pace.
    pub(super) fn adopt(&mut self, settings: PaceSettings, profile: Profile) {
        if settings == PaceSettings::Auto {
            self.table = table(profile);
            self.tokens = self.tokens.min(self.burst());
        }
    }

    pub(super) fn burst(&self) -> f64 {
        f64::from(self.table.burst)
    }

    fn per_second(&self) -> f64 {
        self.table.per_second * self.share
    }

    fn cost(&self, bytes: usize) -> f64 {
        if self.exact { 1.0 } else { (bytes as f64 / BYTES_A_LINE).max(1.0) }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second()).min(self.burst());
        self.filled_at = now;
    }

    /// Whether `lines` short lines could leave now.
    pub(super) fn has(&mut self, lines: f64, now: Instant) -> bool {
        self.fill(now);
        self.tokens + EPSILON >= lines.min(self.burst())
    }

    /// Takes one line's cost, when it is there.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let cost = self.cost(bytes).min(self.burst());
        let there = self.tokens + EPSILON >= cost;
        if there {
            self.tokens -= cost;
        }
        there
    }

    /// For what must leave now (PONG, registration). The debt is bounded, so that it is soon paid.
    pub(super) fn force(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        self.tokens = (self.tokens - self.cost(bytes)).max(-self.burst());
    }

    /// When `lines` short lines can leave, at the earliest.
    pub(super) fn ready_at(&self, lines: f64) -> Instant {
        let missing = lines.min(self.burst()) - self.tokens;
        let wait = Duration::from_secs_f64((missing / self.per_second()).clamp(0.0, 3600.0));
        // A hair later, so that rounding never makes it too early.
        if wait.is_zero() { self.filled_at } else { self.filled_at + wait + Duration::from_micros(1) }
    }

    pub(super) fn halved(share: f64) -> f64 {
        (share / 2.0).max(SHARE_MIN)
    }
}

const EPSILON: f64 = 1e-6;

/// Which profile fits what 004 or 005 said.
pub(super) fn profile_of(version: &str) -> Option<Profile> {
    let version = version.to_ascii_lowercase();
    [
        ("ngircd", Profile::Ngircd),
        ("inspircd", Profile::Inspircd),
        ("ergo", Profile::Ergo),
        ("oragono", Profile::Ergo),
        ("hybrid", Profile::Oftc),
        ("solanum", Profile::Libera),
        ("charybdis", Profile::Libera),
    ]
    .into_iter()
    .find_map(|(name, profile)| version.contains(name).then_some(profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_of_time_holds_more_than_the_burst_and_the_rate() {
        let start = Instant::now();
        for (settings, bytes) in [
            (PaceSettings::Auto, 40),
            (PaceSettings::Named(Profile::Ngircd), 40),
            (PaceSettings::Named(Profile::Oftc), 512),
            (PaceSettings::Exact(PaceTable { burst: 1, per_second: 3.0 }), 512),
        ] {
            let mut pace = Pace::new(settings, 1.0, start);
            let step = Duration::from_millis(10);
            let sent: Vec<f64> = (0..6000u32)
                .flat_map(|tick| {
                    let now = start + step * tick;
                    std::iter::from_fn(|| pace.take(bytes, now).then_some(now)).collect::<Vec<_>>()
                })
                .map(|at| (at - start).as_secs_f64())
                .collect();
            assert!(sent.len() > 20);
            for (from, first) in sent.iter().enumerate() {
                for (count, last) in sent[from..].iter().enumerate() {
                    let allowed = f64::from(pace.table.burst) + pace.table.per_second * (last - first) + 0.05;
                    assert!((count + 1) as f64 <= allowed, "{settings:?}: {} in {}", count + 1, last - first);
                }
            }
        }
    }

    #[test]
    fn a_forced_line_is_paid_back_by_the_others() {
        let start = Instant::now();
        let mut pace = Pace::new(PaceSettings::Exact(PaceTable { burst: 2, per_second: 1.0 }), 1.0, start);
        for _ in 0..4 {
            pace.force(20, start);
        }
        assert!(!pace.take(20, start + Duration::from_millis(2900)));
        assert!(pace.take(20, start + Duration::from_millis(3100)));
    }

    #[test]
    fn the_wake_time_is_when_the_line_can_leave() {
        let start = Instant::now();
        let mut pace = Pace::new(PaceSettings::Named(Profile::Default), 1.0, start);
        while pace.take(20, start) {}
        let at = pace.ready_at(1.0);
        assert!(!pace.take(20, at - Duration::from_millis(5)));
        assert!(pace.take(20, at + Duration::from_millis(1)));
    }
}
