//! A row of the report: what is done, how often, and what came of it.

use std::time::Duration;

use crate::field::Verdict;

/// How much of everything.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    pub(crate) large: bool,
    /// Instead of a row's own number.
    pub(crate) runs: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) soak: Duration,
}

impl Effort {
    pub(crate) fn runs(&self, short: usize, large: usize) -> usize {
        self.runs.unwrap_or(if self.large { large } else { short })
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Attempts at the fault, and those that struck something.
    pub(crate) runs: usize,
    pub(crate) struck: usize,
    /// Ends of the process by SIGKILL.
    pub(crate) kills: usize,
    pub(crate) verdicts: Vec<Verdict>,
    /// What was measured beside the messages, as sentences.
    pub(crate) notes: Vec<String>,
    pub(crate) complaints: Vec<String>,
}

impl Outcome {
    /// Sums up by network and direction.
    pub(crate) fn add(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            let known = self.verdicts.iter_mut().find(|known| (known.net, known.way) == (verdict.net, verdict.way));
            match known {
                Some(known) => known.tally.add(&verdict.tally),
                None => self.verdicts.push(verdict),
            }
        }
    }

    pub(crate) fn messages(&self) -> usize {
        self.verdicts.iter().map(|verdict| verdict.tally.messages).sum()
    }

    /// What is not as it should be, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.complaints.clone();
        for Verdict { net, way, tally } in &self.verdicts {
            let wrong = [("lost", tally.lost), ("astray", tally.strayed)];
            let wrong = wrong.into_iter().filter(|(_, count)| *count > 0);
            faults.extend(wrong.map(|(word, count)| format!("{net} {}: {count} {word}", way.words())));
            faults.extend(tally.complaints.iter().map(|text| format!("{net} {}: {text}", way.words())));
        }
        if self.struck == 0 {
            faults.push("the fault never struck, so that nothing was shown".to_owned());
        }
        faults
    }
}

pub(crate) struct Row {
    /// As it is chosen by.
    pub(crate) name: &'static str,
    /// What the report says of it.
    pub(crate) fault: &'static str,
    /// `None` where something is missing that it needs, after saying so.
    pub(crate) run: fn(&Effort) -> Option<Outcome>,
}
