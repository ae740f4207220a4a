//! Why a connection ended, and when to try again. Pure; jitter comes from the machine's seeded source.

use std::time::{Duration, Instant};

/// What ended a connection, sorted by how long to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Network,
    Shutdown,
    /// The server wants TLS on another port (IRCv3 `sts`).
    Upgrade,
    Flood,
    Limits,
    Throttled,
    Killed,
    /// No account: log-in refused.
    Auth,
    /// No account: the services are away.
    AuthAway,
    /// The settings cannot work here, for example a nick that the server refuses.
    Settings,
    Banned,
}

/// Reads an ERROR, a 465, a KILL or a server's NOTICE.
pub(super) fn classify(text: &str) -> Ending {
    const TABLE: [(&str, Ending); 27] = [
        ("excess flood", Ending::Flood),
        ("recvq exceeded", Ending::Flood),
        ("sendq exceeded", Ending::Flood),
        ("request too long", Ending::Flood),
        ("malformed line", Ending::Flood),
        ("throttl", Ending::Throttled),
        ("reconnecting too fast", Ending::Throttled),
        ("trying to reconnect", Ending::Throttled),
        ("sasl access only", Ending::Auth),
        ("bad password", Ending::Auth),
        ("password mismatch", Ending::Auth),
        ("too many host connections", Ending::Limits),
        ("too many connections", Ending::Limits),
        ("no more connections", Ending::Limits),
        ("server is full", Ending::Limits),
        ("k-lined", Ending::Banned),
        ("k-line", Ending::Banned),
        ("g-line", Ending::Banned),
        ("z-line", Ending::Banned),
        ("banned from", Ending::Banned),
        ("*** banned", Ending::Banned),
        ("you are banned", Ending::Banned),
        ("access denied", Ending::Banned),
        ("killed", Ending::Killed),
        ("server going down", Ending::Shutdown),
        ("server shutdown", Ending::Shutdown),
        ("(quit", Ending::Shutdown),
    ];
    let text = text.to_ascii_lowercase();
    TABLE.into_iter().find_map(|(mark, ending)| text.contains(mark).then_some(ending)).unwrap_or(Ending::Network)
}

/// Counts failures by kind and gives the next wait.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    kills: Vec<Instant>,
}

/// A registration that lasted this long was a good one.
const STABLE: Duration = Duration::from_mins(5);

impl Backoff {
    /// `registered` is since when we were registered, if we were. `random` is from 0 to 1.
    pub(super) fn next(&mut self, ending: Ending, registered: Option<Instant>, now: Instant, random: f64) -> Duration {
        if registered.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.failures = 0;
        }
        let step = self.failures;
        self.failures = self.failures.saturating_add(1);
        match ending {
            Ending::Upgrade => Duration::ZERO,
            Ending::Network | Ending::Shutdown => Self::network(step, random),
            Ending::Flood => jitter(Duration::from_secs(30), random),
            Ending::Limits => jitter(Duration::from_mins(5), random),
            Ending::Throttled => jitter(Duration::from_secs(60) + Duration::from_secs(20) * step.min(60), random),
            Ending::Killed => self.killed(now, random),
            Ending::Auth => doubling(Duration::from_mins(5), step, Duration::from_hours(1), random),
            Ending::AuthAway => doubling(Duration::from_secs(30), step, Duration::from_hours(1), random),
            Ending::Settings => doubling(Duration::from_mins(5), step, Duration::from_hours(1), random),
            Ending::Banned => doubling(Duration::from_mins(30), step, Duration::from_hours(24), random),
        }
    }

    /// First after 2 to 5 s, then doubling to 10 min with full jitter above the first step.
    fn network(step: u32, random: f64) -> Duration {
        const FIRST: f64 = 2.0;
        const MOST: f64 = 600.0;
        let ceiling = (5.0 * f64::from(2u32.saturating_pow(step.min(10)))).min(MOST);
        Duration::from_secs_f64(FIRST + (ceiling - FIRST) * random)
    }

    fn killed(&mut self, now: Instant, random: f64) -> Duration {
        const HOUR: Duration = Duration::from_hours(1);
        self.kills.retain(|at| now.saturating_duration_since(*at) < HOUR);
        self.kills.push(now);
        jitter(if self.kills.len() >= 3 { HOUR } else { Duration::from_mins(1) }, random)
    }
}

/// Never earlier than `base`, at most a quarter later.
fn jitter(base: Duration, random: f64) -> Duration {
    base.mul_f64(1.0 + random / 4.0)
}

fn doubling(first: Duration, step: u32, most: Duration, random: f64) -> Duration {
    jitter(first.saturating_mul(2u32.saturating_pow(step.min(16))).min(most), random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_known_by_its_words() {
        let cases = [
            ("Closing Link: help[127.0.0.1] (Killed (oper (spam)))", Ending::Killed),
            ("Closing link: (help@127.0.0.1) [Killed by oper: spam]", Ending::Killed),
            ("Closing Link: 127.0.0.1 (*** Banned: go away)", Ending::Banned),
            ("You are banned from this server", Ending::Banned),
            ("Closing link: (help@127.0.0.1) [K-Lined: bye]", Ending::Banned),
            ("Your host is trying to (re)connect too fast -- throttled", Ending::Throttled),
            ("Trying to reconnect too fast.", Ending::Throttled),
            ("Closing Link: (Excess Flood)", Ending::Flood),
            ("Request too long", Ending::Flood),
            ("Too many host connections (local)", Ending::Limits),
            ("Closing Link: 1.2.3.4 (SASL access only)", Ending::Auth),
            ("Server going down (irc.test)", Ending::Shutdown),
            ("Closing Link: 127.0.0.1 (Quit: bye)", Ending::Shutdown),
            ("Ping timeout: 120 seconds", Ending::Network),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(text), expected, "{text}");
        }
    }

    #[test]
    fn waits_grow_by_class_and_are_forgotten_after_a_good_run() {
        let now = Instant::now();
        let waits = |ending: Ending, random: f64| -> Vec<u64> {
            let mut backoff = Backoff::default();
            (0..9).map(|_| backoff.next(ending, None, now, random).as_secs()).collect()
        };
        assert_eq!(waits(Ending::Network, 0.0), [2; 9]);
        assert_eq!(waits(Ending::Network, 1.0), [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(waits(Ending::Auth, 0.0)[..5], [300, 600, 1200, 2400, 3600]);
        assert_eq!(waits(Ending::AuthAway, 0.0)[..3], [30, 60, 120]);
        assert_eq!(waits(Ending::Banned, 0.0)[5..8], [57600, 86400, 86400]);
        assert_eq!(waits(Ending::Throttled, 0.0)[..3], [60, 80, 100]);
        assert_eq!(waits(Ending::Killed, 0.0)[..3], [60, 60, 3600]);
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.next(Ending::Network, None, now, 1.0);
        }
        let stable = now + STABLE;
        assert_eq!(backoff.next(Ending::Network, Some(now), stable, 1.0).as_secs(), 5);
    }
}
