//! From what was found out to a level and a sentence. The one place that decides; pure.

use super::{Level, Outcome, Policy, Verdict};

/// What was found out about one mail, whoever found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) spf: Outcome,
    pub(super) dkim: Outcome,
    /// `Pass` only for a pass that fits the `From` address; `Fail` when the domain has a record and nothing fits.
    pub(super) dmarc: Outcome,
    pub(super) arc: Outcome,
    pub(super) policy: Policy,
    /// A signature passes whose domain speaks for that of `From`.
    pub(super) dkim_aligned: bool,
    /// The envelope sender passes SPF and its domain speaks for that of `From`.
    pub(super) spf_aligned: bool,
    /// DNS did not answer something that could have proved the sender.
    pub(super) trouble: bool,
}

pub(super) fn weigh(evidence: &Evidence, domain: &str) -> Verdict {
    let (level, reason) = decide(evidence, domain);
    Verdict {
        level,
        spf: evidence.spf,
        dkim: evidence.dkim,
        dmarc: evidence.dmarc,
        arc: evidence.arc,
        dmarc_policy: evidence.policy,
        domain: Some(domain.to_owned()),
        reason,
        retry: level == Level::Unverified && evidence.trouble,
    }
}

fn decide(evidence: &Evidence, domain: &str) -> (Level, String) {
    let later = || (Level::Unverified, format!("It could not be found out whether this mail comes from {domain}."));
    match evidence.dmarc {
        Outcome::Pass => (Level::Verified, format!("{domain} confirms that this mail comes from it.")),
        Outcome::Temperror => later(),
        Outcome::Fail | Outcome::Softfail => failed(evidence.policy, domain),
        Outcome::None | Outcome::Neutral | Outcome::Permerror => {
            if evidence.dkim_aligned {
                return (Level::Verified, format!("The mail carries a valid signature of {domain}."));
            }
            if evidence.trouble {
                return later();
            }
            if evidence.spf_aligned && evidence.dmarc == Outcome::None {
                let reason = format!("The mail came from a server of {domain}, but carries no signature of it.");
                return (Level::Weak, reason);
            }
            (Level::Unverified, format!("Nothing proves that this mail comes from {domain}."))
        }
    }
}

fn failed(policy: Policy, domain: &str) -> (Level, String) {
    match policy {
        Policy::None => (Level::Unverified, format!("{domain} does not confirm this mail; the sender may be forged.")),
        Policy::Quarantine => (
            Level::Failed,
            format!("{domain} does not confirm this mail and asks to be wary of it: the sender is probably forged."),
        ),
        Policy::Reject => (
            Level::Failed,
            format!("{domain} does not confirm this mail and asks to reject it: the sender is probably forged."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pass_that_fits_lifts_and_only_a_policy_sinks() {
        use Outcome::{Fail, None, Pass, Permerror, Temperror};
        for (dmarc, policy, dkim_aligned, spf_aligned, trouble, level, retry) in [
            (Pass, Policy::None, false, false, false, Level::Verified, false),
            (Pass, Policy::Reject, false, false, true, Level::Verified, false),
            (Fail, Policy::Reject, false, false, false, Level::Failed, false),
            (Fail, Policy::Quarantine, false, false, false, Level::Failed, false),
            (Fail, Policy::None, false, false, false, Level::Unverified, false),
            // What a domain's own rule calls unfit stays unfit, whatever passed besides.
            (Fail, Policy::Reject, true, true, false, Level::Failed, false),
            (Fail, Policy::Reject, false, false, true, Level::Failed, false),
            (Temperror, Policy::None, true, true, true, Level::Unverified, true),
            (None, Policy::None, true, false, false, Level::Verified, false),
            (None, Policy::None, false, true, false, Level::Weak, false),
            (None, Policy::None, false, true, true, Level::Unverified, true),
            (None, Policy::None, false, false, false, Level::Unverified, false),
            (Permerror, Policy::None, false, true, false, Level::Unverified, false),
        ] {
            let evidence =
                Evidence { dmarc, policy, dkim_aligned, spf_aligned, trouble, dkim: Pass, spf: Pass, arc: Pass };
            let verdict = weigh(&evidence, "cust.test");
            assert_eq!((verdict.level, verdict.retry), (level, retry), "{evidence:?}");
            assert!(verdict.reason.contains("cust.test") && verdict.reason.ends_with('.'), "{}", verdict.reason);
        }
    }

    #[test]
    fn levels_are_in_order() {
        assert!(Level::Failed < Level::Unverified && Level::Unverified < Level::Weak && Level::Weak < Level::Verified);
    }
}
