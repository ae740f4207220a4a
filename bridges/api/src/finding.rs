//! What a look at the wiring found: one line a check, with the way out where something is wrong.

use std::sync::Mutex;

use serde::Serialize;

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried, for example "log in to irc.example:6697". No secret.
    pub tried: String,
    pub verdict: Verdict,
    /// What came back, in one line. No secret.
    pub found: String,
    /// What to change, in one sentence that begins lower case and has no full stop. Only where something is not fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fine,
    /// Could not be tried, for a reason that is told.
    Skipped,
    /// Works, and should not stay so.
    Warning,
    Failed,
}

/// How a look at the wiring may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examination {
    /// The gateway is running with these settings: its ports are taken by itself, and so is its nick.
    pub at_work: bool,
}

impl Examination {
    pub fn new(at_work: bool) -> Self {
        Self { at_work }
    }
}

/// Where findings are written as they come, so that a check that hangs does not hide those before it.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Vec<Finding>>);

impl Findings {
    pub fn fine(&self, tried: impl Into<String>, found: impl Into<String>) {
        self.add(Verdict::Fine, tried.into(), found.into(), None);
    }
    pub fn skipped(&self, tried: impl Into<String>, found: impl Into<String>) {
        self.add(Verdict::Skipped, tried.into(), found.into(), None);
    }
    pub fn warning(&self, tried: impl Into<String>, found: impl Into<String>, change: impl Into<String>) {
        self.add(Verdict::Warning, tried.into(), found.into(), Some(change.into()));
    }
    pub fn failed(&self, tried: impl Into<String>, found: impl Into<String>, change: impl Into<String>) {
        self.add(Verdict::Failed, tried.into(), found.into(), Some(change.into()));
    }
    /// What was found so far, in the order in which it came; none of it comes again.
    pub fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.0.lock().expect("nothing panics while it holds the findings"))
    }
    fn add(&self, verdict: Verdict, tried: String, found: String, change: Option<String>) {
        let finding = Finding { tried, verdict, found, change };
        self.0.lock().expect("nothing panics while it holds the findings").push(finding);
    }
}
