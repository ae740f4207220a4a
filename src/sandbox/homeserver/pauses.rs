//! Pauses that the homeserver asked its clients for, and how many calls did not keep them. Pure bookkeeping.

use std::time::{Duration, Instant};

use super::faults::{Asked, CallFault, CallRule};

/// Clients count their waits in whole milliseconds, and round down.
const TICK: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(super) struct Pauses {
    /// Who asked, which says for which calls, and when the pause is over.
    open: Vec<(CallRule, Instant)>,
    impatient: u64,
}

impl Pauses {
    /// Begins one where the rule asks for one, in place of an earlier one for the same calls.
    pub(super) fn begin(&mut self, rule: &CallRule, now: Instant) {
        let CallFault::TooManyRequests { milliseconds } = rule.fault else { return };
        self.open.retain(|(earlier, _)| !earlier.aims_like(rule));
        // As long as the header says, which counts whole seconds.
        let over = now.checked_add(Duration::from_secs(milliseconds.div_ceil(1000)));
        self.open.extend(over.map(|over| (rule.clone(), over)));
    }

    /// A call came, before a fault is looked for.
    pub(super) fn see(&mut self, asked: Asked<'_>, now: Instant) {
        self.open.retain(|(_, over)| now + TICK < *over);
        if self.open.iter().any(|(rule, _)| rule.aims_at(asked)) {
            self.impatient += 1;
        }
    }

    pub(super) fn impatient(&self) -> u64 {
        self.impatient
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::super::faults::{CallClass, HomeserverFaults};
    use super::*;

    const SEND: &str = "/_matrix/client/v3/rooms/%21r/send/m.room.message/1";

    #[test]
    fn a_call_is_impatient_where_a_pause_was_asked_for_and_until_it_is_over() {
        let (faults, begun) = (HomeserverFaults::default(), Instant::now());
        faults.call(CallRule::next(2, CallClass::Send, CallFault::TooManyRequests { milliseconds: 1_500 }));
        let check = |path: &str, milliseconds: u64, impatient: u64| {
            faults.pick_call(path, &Method::PUT, begun + Duration::from_millis(milliseconds));
            assert_eq!(faults.impatient(), impatient, "{path} after {milliseconds} ms");
        };
        check(SEND, 0, 0);
        check("/_matrix/client/v3/rooms/%21r/typing/%40kim", 10, 0);
        // Refused once more, for two seconds from now.
        check(SEND, 1_600, 1);
        check(SEND, 3_590, 2);
        faults.clear();
        check(SEND, 3_591, 3);
        check(SEND, 3_600, 3);
    }

    #[test]
    fn a_pause_longer_than_any_clock_is_harmless() {
        let faults = HomeserverFaults::default();
        faults.call(CallRule::always(CallClass::Any, CallFault::TooManyRequests { milliseconds: u64::MAX }));
        assert!(faults.pick_call(SEND, &Method::PUT, Instant::now()).is_some());
    }
}
