//! How far the help desk's clock is from ours: callbacks more than five minutes off are refused.

use super::Look;
use crate::{chatwoot::callback::TOLERANCE_SECONDS, clock::Clock};

const WARN_SECONDS: u64 = 30;
/// Nearer to the tolerance than clocks drift in a week.
const FAIL_SECONDS: u64 = 240;

/// Whether the difference is bearable.
#[derive(Debug, PartialEq, Eq)]
enum Skew {
    Fine,
    Warning,
    Failed,
}

fn judge(seconds: u64) -> Skew {
    match seconds {
        0..WARN_SECONDS => Skew::Fine,
        WARN_SECONDS..FAIL_SECONDS => Skew::Warning,
        FAIL_SECONDS.. => Skew::Failed,
    }
}

/// The part of the difference that neither the way of the answer nor the missing fraction of a second explains.
fn seconds_apart(theirs: i64, asked: i64, answered: i64) -> u64 {
    let early = asked - 1000 - theirs;
    let late = theirs - answered;
    early.max(late).max(0) as u64 / 1000
}

impl Look<'_> {
    pub(super) async fn compare_clocks(&self) {
        let tried = "compare the clocks";
        let passing = Clock::system();
        let asked = passing.now();
        // What does not answer here was told of before.
        let Ok(Some(theirs)) = self.client.time_millis().await else {
            return self.findings.skipped(tried, "the answer names no time");
        };
        let answered = passing.now();
        let seconds = seconds_apart(theirs, asked, answered);
        let way = if theirs < asked { "behind" } else { "ahead of" };
        let found = match seconds {
            0..=1 => "both show the same time".to_owned(),
            seconds => format!(
                "Chatwoot's is {seconds} s {way} ours; callbacks more than {TOLERANCE_SECONDS} s off are refused"
            ),
        };
        let change = "set both clocks by NTP: timedatectl tells whether this one is";
        match judge(seconds) {
            Skew::Fine => self.findings.fine(tried, found),
            Skew::Warning => self.findings.warning(tried, found, change),
            Skew::Failed => self.findings.failed(tried, found, change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_the_answer_took_is_no_difference() {
        let cases = [
            ((10_000, 10_900, 10_950), 0),
            ((12_000, 10_000, 13_000), 0),
            ((10_000, 50_000, 51_000), 39),
            ((90_000, 10_000, 20_000), 70),
        ];
        for ((theirs, asked, answered), expected) in cases {
            assert_eq!(seconds_apart(theirs, asked, answered), expected, "{theirs} {asked} {answered}");
        }
    }

    #[test]
    fn half_a_minute_is_a_warning_and_four_minutes_are_a_failure() {
        let judged: Vec<_> = [0, 29, 30, 239, 240, 100_000].map(judge).into();
        assert_eq!(judged, [Skew::Fine, Skew::Fine, Skew::Warning, Skew::Warning, Skew::Failed, Skew::Failed]);
    }
}
