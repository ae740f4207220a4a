//! The relay's fault switch: what goes wrong on purpose, at which step, and how often. Pure bookkeeping.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A step of the dialogue that a fault may be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    #[default]
    Any,
    /// The greeting.
    Connect,
    /// `EHLO` and `HELO`.
    Hello,
    Starttls,
    Auth,
    Sender,
    Recipient,
    /// The command, before any byte of the mail.
    Data,
    /// The mail and its final dot.
    Content,
    Reset,
    Quit,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MailFault {
    /// Refused for good: 550 5.1.1 for a recipient, 535 5.7.8 for `AUTH`, else 550 or 554.
    Refuse,
    /// Refused for now: 451.
    PutOff,
    /// Any answer, instead of what would have been done. The text begins with its enhanced code, if it has one.
    Answer { code: u16, text: String },
    /// 421, and the connection is closed.
    ShutDown,
    /// The connection is closed without a word.
    Close,
    /// The connection is closed when more than so many bytes of the mail have come. At `content` only.
    CloseMidData { bytes: usize },
    /// Everything is right, only late.
    Slow { milliseconds: u64 },
    /// No answer ever, nothing done.
    Hang,
    /// The mail is taken; then the connection is closed without an answer to the final dot. At `content` only.
    CommitThenClose,
    /// The mail is taken; no answer ever. At `content` only.
    CommitThenHang,
    /// The mail is taken at once and answered late. At `content` only.
    CommitThenSlow { milliseconds: u64 },
    /// `STARTTLS` is not offered, though there is a certificate. At `hello` only.
    NoStarttls,
}

impl MailFault {
    /// The only step at which this fault means anything, if there is only one.
    fn only_at(&self) -> Option<Step> {
        match self {
            Self::CloseMidData { .. } | Self::CommitThenClose | Self::CommitThenHang | Self::CommitThenSlow { .. } => {
                Some(Step::Content)
            }
            Self::NoStarttls => Some(Step::Hello),
            Self::Refuse
            | Self::PutOff
            | Self::Answer { .. }
            | Self::ShutDown
            | Self::Close
            | Self::Slow { .. }
            | Self::Hang => None,
        }
    }
}

/// A fault with its aim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailRule {
    #[serde(default)]
    pub on: Step,
    /// Only commands whose line contains this, e.g. one recipient; without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How often it still strikes; every time when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many times it could strike and does not, before it begins.
    #[serde(default)]
    pub skip: u64,
    #[serde(flatten)]
    pub fault: MailFault,
}

impl MailRule {
    /// Strikes at this step every time.
    pub fn always(on: Step, fault: MailFault) -> Self {
        Self { on, about: None, count: None, skip: 0, fault }
    }

    /// Strikes at this step the next `count` times.
    pub fn next(count: u64, on: Step, fault: MailFault) -> Self {
        Self { count: Some(count), ..Self::always(on, fault) }
    }

    /// Only commands whose line contains this.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        self.about = Some(text.to_owned());
        self
    }

    /// Whether it can ever strike: some faults mean nothing at other steps than theirs.
    pub(super) fn fits(&self) -> bool {
        self.fault.only_at().is_none_or(|step| self.on == step || self.on == Step::Any)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sheet {
    pub(super) rules: Vec<MailRule>,
}

/// Rules of one sheet; more are refused.
pub(super) const RULES_MAX: usize = 64;

/// The switch itself.
#[derive(Default)]
pub struct MailFaults {
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    sheet: Sheet,
    struck: u64,
}

impl MailFaults {
    /// Adds a rule behind those that are there; the first that matches strikes. Panics when the rule can never
    /// strike: a test that meets no fault shows nothing.
    pub fn add(&self, rule: MailRule) {
        assert!(rule.fits(), "{:?} means nothing at {:?}", rule.fault, rule.on);
        let mut set = self.set();
        if set.sheet.rules.len() < RULES_MAX {
            set.sheet.rules.push(rule);
        }
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.replace(Sheet::default());
    }

    /// How often a fault struck since the start.
    pub fn struck(&self) -> u64 {
        self.set().struck
    }

    pub(super) fn replace(&self, sheet: Sheet) {
        self.set().sheet = sheet;
    }

    pub(super) fn sheet(&self) -> Sheet {
        self.set().sheet.clone()
    }

    /// The fault for this step, which it uses up.
    pub(super) fn pick(&self, step: Step, line: &str) -> Option<MailFault> {
        let mut set = self.set();
        for rule in &mut set.sheet.rules {
            let here = (rule.on == Step::Any || rule.on == step)
                && rule.fault.only_at().is_none_or(|only| only == step)
                && rule.about.as_ref().is_none_or(|part| contains(line, part));
            if !here || rule.count == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.count = rule.count.map(|count| count - 1);
            let fault = rule.fault.clone();
            set.struck += 1;
            return Some(fault);
        }
        None
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contains(line: &str, part: &str) -> bool {
    line.to_lowercase().contains(&part.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_rule_strikes_that_often_after_those_it_skips() {
        let faults = MailFaults::default();
        let rule = MailRule::next(2, Step::Recipient, MailFault::PutOff).about("Kim@");
        faults.add(MailRule { skip: 1, ..rule });
        assert_eq!(faults.pick(Step::Recipient, "RCPT TO:<lee@x.test>"), None, "another recipient");
        assert_eq!(faults.pick(Step::Sender, "MAIL FROM:<kim@x.test>"), None, "another step");
        let struck = [(); 4].map(|()| faults.pick(Step::Recipient, "rcpt to:<kim@x.test>").is_some());
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.struck(), 2);
    }

    #[test]
    fn a_fault_waits_for_the_step_where_it_means_something() {
        let faults = MailFaults::default();
        faults.add(MailRule::next(1, Step::Any, MailFault::CommitThenClose));
        assert_eq!(faults.pick(Step::Recipient, ""), None);
        assert_eq!(faults.pick(Step::Content, ""), Some(MailFault::CommitThenClose));
    }

    #[test]
    #[should_panic(expected = "means nothing at")]
    fn a_rule_that_can_never_strike_is_not_taken() {
        MailFaults::default().add(MailRule::always(Step::Quit, MailFault::NoStarttls));
    }

    #[test]
    fn rules_have_a_bound() {
        let faults = MailFaults::default();
        for _ in 0..=RULES_MAX {
            faults.add(MailRule::always(Step::Quit, MailFault::Close));
        }
        assert_eq!(faults.sheet().rules.len(), RULES_MAX);
    }

    #[test]
    fn a_sheet_is_read_as_it_is_written() {
        let text = r#"{"rules":[{"on":"recipient","about":"kim","count":1,"kind":"answer","code":452,"text":"4.2.2 full"},
            {"on":"content","kind":"close_mid_data","bytes":10}]}"#;
        let sheet: Sheet = serde_json::from_str(text).unwrap();
        assert_eq!(sheet.rules[1].fault, MailFault::CloseMidData { bytes: 10 });
        let again: Sheet = serde_json::from_str(&serde_json::to_string(&sheet).unwrap()).unwrap();
        assert_eq!(again, sheet);
        assert!(serde_json::from_str::<Sheet>(r#"{"rule":[]}"#).is_err());
    }
}
