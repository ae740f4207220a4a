//! What next after a failed attempt or probe. Pure, and the whole of it on one screen.

use bridge_api::{FaultKind, Resend};

/// What a sink's far side asks of whoever repeats things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub resend: Resend,
    /// How long the far side may still work on a request that nobody waits for any more.
    pub settle_millis: i64,
    /// For [`Resend::Risky`]: what to do when nobody can say whether it took effect.
    pub when_in_doubt: WhenInDoubt,
}

/// The operator's choice where a network cannot say whether a line arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenInDoubt {
    /// Once more, and then failed: at most one double, and nothing lost in silence.
    Repeat,
    /// Failed at once, with the doubt in words.
    Fail,
}

/// An attempt that failed, or a probe that could not answer.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Attempts so far that count, this one included.
    pub attempts: u32,
    pub accepted_millis: i64,
    /// Attempts of which nobody could say whether they took effect, and which were repeated all the same.
    pub repeats: u32,
    pub was_probe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again then. Unspent attempts are not counted: a wait that the far side asked for is no failure.
    RetryAt { due_millis: i64, spent: bool },
    /// Once more then, although the attempt may have taken effect.
    RepeatAt { due_millis: i64 },
    /// Ask then, before anything is repeated.
    ProbeAt { due_millis: i64 },
    /// Hold the whole sink; the pump knows for how long it was held already.
    Hold { after_millis: Option<i64> },
    /// A dead letter.
    Bury(Grave),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grave {
    Refused,
    TooOld,
    InDoubt,
}

/// Waits between attempts, in seconds, before jitter. The last one repeats.
const BACKOFF_SECONDS: [i64; 8] = [0, 2, 10, 60, 300, 1800, 7200, 14400];
/// After this long, and once every wait has been gone through, an envelope that still fails is given up in public.
const AGE_MAX_MILLIS: i64 = 72 * 3600 * 1000;
/// Repeats at a network that cannot be asked. Attempts that surely failed are none.
const RISKY_REPEATS_MAX: u32 = 1;
/// Between two probes that both failed to get an answer.
const PROBE_AGAIN_MILLIS: i64 = 5_000;

/// `jitter` is from 0 (shortest wait) to 1 (the whole wait).
pub fn next(tried: Tried, fault: FaultKind, rules: Rules, now_millis: i64, jitter: f64) -> Next {
    match fault {
        // What is refused now, or only the question, may have been done by an earlier attempt.
        FaultKind::Refused if tried.was_probe || tried.repeats > 0 => Next::Bury(Grave::InDoubt),
        FaultKind::Refused => Next::Bury(Grave::Refused),
        FaultKind::Down { after } => Next::Hold { after_millis: after.map(|d| d.as_millis() as i64) },
        FaultKind::Retry { after } if tried.was_probe => {
            Next::ProbeAt { due_millis: now_millis + after.map_or(PROBE_AGAIN_MILLIS, |d| d.as_millis() as i64) }
        }
        FaultKind::Retry { after: Some(after) } => {
            Next::RetryAt { due_millis: now_millis + after.as_millis() as i64, spent: false }
        }
        FaultKind::Retry { after: None } if is_too_old(tried, now_millis) => {
            Next::Bury(if tried.repeats > 0 { Grave::InDoubt } else { Grave::TooOld })
        }
        FaultKind::Retry { after: None } => {
            Next::RetryAt { due_millis: now_millis + backoff_millis(tried.attempts, jitter), spent: true }
        }
        FaultKind::Unknown => doubt(tried, rules, now_millis, jitter),
    }
}

fn doubt(tried: Tried, rules: Rules, now_millis: i64, jitter: f64) -> Next {
    match (rules.resend, tried.was_probe) {
        (Resend::Harmless, _) if is_too_old(tried, now_millis) => Next::Bury(Grave::InDoubt),
        // A far side that never gives a definite answer is not to be asked without a pause.
        (Resend::Harmless, _) => Next::RepeatAt { due_millis: now_millis + backoff_millis(tried.attempts, jitter) },
        // Counted from now: the last of an attempt's requests may have left just before it failed.
        (_, false) => Next::ProbeAt { due_millis: now_millis + rules.settle_millis },
        // The question failed, not the attempt: ask again, never guess.
        (Resend::Askable, true) => Next::ProbeAt { due_millis: now_millis + PROBE_AGAIN_MILLIS },
        (Resend::Risky, true) if may_repeat(tried, rules) => Next::RepeatAt { due_millis: now_millis },
        (Resend::Risky, true) => Next::Bury(Grave::InDoubt),
    }
}

fn may_repeat(tried: Tried, rules: Rules) -> bool {
    rules.when_in_doubt == WhenInDoubt::Repeat && tried.repeats < RISKY_REPEATS_MAX
}

/// Age alone is no trying: a far side may have been down for all of it, and an operator may put back an old letter.
fn is_too_old(tried: Tried, now_millis: i64) -> bool {
    now_millis - tried.accepted_millis >= AGE_MAX_MILLIS && tried.attempts as usize > BACKOFF_SECONDS.len()
}

fn backoff_millis(attempts: u32, jitter: f64) -> i64 {
    let step = (attempts.max(1) as usize - 1).min(BACKOFF_SECONDS.len() - 1);
    let whole = BACKOFF_SECONDS[step] * 1000;
    // At least half of it: full jitter would let an unlucky draw hammer the far side.
    whole / 2 + (whole as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_000_000_000_000;

    fn rules(resend: Resend, when_in_doubt: WhenInDoubt) -> Rules {
        Rules { resend, settle_millis: 20_000, when_in_doubt }
    }

    fn tried(attempts: u32, was_probe: bool) -> Tried {
        Tried { attempts, accepted_millis: NOW - 60_000, repeats: 0, was_probe }
    }

    fn repeated(attempts: u32, was_probe: bool) -> Tried {
        Tried { repeats: 1, ..tried(attempts, was_probe) }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table, one row a case")]
    fn every_fault_has_one_answer() {
        use FaultKind::{Down, Refused, Retry, Unknown};
        use Resend::{Askable, Harmless, Risky};
        use WhenInDoubt::{Fail, Repeat};
        let after = Some(Duration::from_mins(1));
        let cases = [
            ("refused", tried(1, false), Refused, rules(Askable, Repeat), Next::Bury(Grave::Refused)),
            (
                "down",
                tried(1, false),
                Down { after },
                rules(Askable, Repeat),
                Next::Hold { after_millis: Some(60_000) },
            ),
            (
                "first retry",
                tried(1, false),
                Retry { after: None },
                rules(Askable, Repeat),
                Next::RetryAt { due_millis: NOW, spent: true },
            ),
            (
                "third retry",
                tried(3, false),
                Retry { after: None },
                rules(Askable, Repeat),
                Next::RetryAt { due_millis: NOW + 10_000, spent: true },
            ),
            (
                "a wait",
                tried(9, false),
                Retry { after },
                rules(Askable, Repeat),
                Next::RetryAt { due_millis: NOW + 60_000, spent: false },
            ),
            (
                "doubt is asked after the far side's own limit",
                tried(1, false),
                Unknown,
                rules(Askable, Repeat),
                Next::ProbeAt { due_millis: NOW + 20_000 },
            ),
            (
                "harmless doubt is repeated",
                tried(1, false),
                Unknown,
                rules(Harmless, Repeat),
                Next::RepeatAt { due_millis: NOW },
            ),
            (
                "harmless doubt is repeated ever more slowly",
                repeated(5, false),
                Unknown,
                rules(Harmless, Repeat),
                Next::RepeatAt { due_millis: NOW + 300_000 },
            ),
            (
                "a refused question leaves the doubt",
                tried(1, true),
                Refused,
                rules(Askable, Repeat),
                Next::Bury(Grave::InDoubt),
            ),
            (
                "a refused repeat leaves the doubt",
                repeated(2, false),
                Refused,
                rules(Risky, Repeat),
                Next::Bury(Grave::InDoubt),
            ),
            (
                "a failed question is asked again",
                tried(1, true),
                Unknown,
                rules(Askable, Repeat),
                Next::ProbeAt { due_millis: NOW + 5_000 },
            ),
            (
                "a question that must wait",
                tried(1, true),
                Retry { after },
                rules(Risky, Repeat),
                Next::ProbeAt { due_millis: NOW + 60_000 },
            ),
            (
                "nobody knows: one repeat",
                tried(1, true),
                Unknown,
                rules(Risky, Repeat),
                Next::RepeatAt { due_millis: NOW },
            ),
            (
                "nobody knows of the second, but the first surely failed",
                tried(2, true),
                Unknown,
                rules(Risky, Repeat),
                Next::RepeatAt { due_millis: NOW },
            ),
            ("nobody knows, twice", repeated(2, true), Unknown, rules(Risky, Repeat), Next::Bury(Grave::InDoubt)),
            (
                "nobody knows, and no repeat wanted",
                tried(1, true),
                Unknown,
                rules(Risky, Fail),
                Next::Bury(Grave::InDoubt),
            ),
        ];
        for (name, tried, fault, rules, expected) in cases {
            assert_eq!(next(tried, fault, rules, NOW, 1.0), expected, "{name}");
        }
    }

    #[test]
    fn after_three_days_a_failing_envelope_is_given_up() {
        let old = Tried { accepted_millis: NOW - AGE_MAX_MILLIS, ..tried(20, false) };
        let rules = rules(Resend::Askable, WhenInDoubt::Repeat);
        assert_eq!(next(old, FaultKind::Retry { after: None }, rules, NOW, 0.5), Next::Bury(Grave::TooOld));
        let in_doubt = Tried { repeats: 1, ..old };
        assert_eq!(next(in_doubt, FaultKind::Retry { after: None }, rules, NOW, 0.5), Next::Bury(Grave::InDoubt));
    }

    #[test]
    fn an_old_envelope_is_tried_with_every_wait_before_it_is_given_up() {
        let rules = rules(Resend::Askable, WhenInDoubt::Repeat);
        for attempts in 1..=9 {
            let old = Tried { accepted_millis: NOW - 2 * AGE_MAX_MILLIS, ..tried(attempts, false) };
            let what_next = next(old, FaultKind::Retry { after: None }, rules, NOW, 0.5);
            assert_eq!(what_next == Next::Bury(Grave::TooOld), attempts > 8, "{attempts}: {what_next:?}");
        }
    }

    #[test]
    fn jitter_spreads_over_half_of_the_wait() {
        assert_eq!(backoff_millis(2, 0.0), 1_000);
        assert_eq!(backoff_millis(2, 1.0), 2_000);
        assert_eq!(backoff_millis(100, 1.0), 14_400_000);
    }
}
