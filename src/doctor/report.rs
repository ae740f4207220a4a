//! Findings as people and programs read them. Pure.

use bridge_api::{Finding, Verdict};
use serde::Serialize;
use serde_json::{Value, json as value};

/// A finding, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// `gateway`, `store`, `inbox NAME` or `bridge NAME`.
    pub about: String,
    #[serde(flatten)]
    pub finding: Finding,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub fine: usize,
    pub skipped: usize,
    pub warnings: usize,
    pub failed: usize,
}

pub fn tally(reported: &[Reported]) -> Tally {
    let mut tally = Tally::default();
    for it in reported {
        match it.finding.verdict {
            Verdict::Fine => tally.fine += 1,
            Verdict::Skipped => tally.skipped += 1,
            Verdict::Warning => tally.warnings += 1,
            Verdict::Failed => tally.failed += 1,
        }
    }
    tally
}

impl Tally {
    /// One line for people.
    pub fn words(self) -> String {
        let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let mut parts = vec![format!("{} fine", self.fine)];
        if self.skipped > 0 {
            parts.push(format!("{} not tried", self.skipped));
        }
        if self.warnings > 0 {
            parts.push(count(self.warnings, "warning", "warnings"));
        }
        parts.push(format!("{} failed", self.failed));
        parts.join(", ")
    }
}

/// The whole report as one document.
pub fn json(reported: &[Reported]) -> Value {
    value!({ "ok": tally(reported).failed == 0, "findings": reported })
}

/// A finding on a line of its own, and what to change on a second one.
///
/// On a terminal with a sign in colour below a heading for each new subject; elsewhere every line says what it is about.
pub fn line(reported: &Reported, before: Option<&Reported>, terminal: bool) -> String {
    let Reported { about, finding } = reported;
    let (tried, found) = (visible(&finding.tried), visible(&finding.found));
    let change = finding.change.as_deref().map(visible);
    if !terminal {
        let mut text = format!("{:<8} {about}: {tried}: {found}\n", word(finding.verdict));
        text.extend(change.map(|change| format!("         change: {change}\n")));
        return text;
    }
    let mut text = String::new();
    if before.is_none_or(|before| before.about != *about) {
        let gap = if before.is_some() { "\n" } else { "" };
        text = format!("{gap}\u{1b}[1m{about}\u{1b}[0m\n");
    }
    text.extend([format!("  {} {tried}: {found}\n", sign(finding.verdict))]);
    text.extend(change.map(|change| format!("      change: {change}\n")));
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    }
}

/// Told apart without colours, too.
fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => "\u{1b}[32m✓\u{1b}[0m",
        Verdict::Skipped => "\u{1b}[2m-\u{1b}[0m",
        Verdict::Warning => "\u{1b}[33m!\u{1b}[0m",
        Verdict::Failed => "\u{1b}[31m✗\u{1b}[0m",
    }
}

/// What a far side said may hold anything; it stays on its line and steers no terminal.
pub(super) fn visible(text: &str) -> String {
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(about: &str, verdict: Verdict, change: Option<&str>) -> Reported {
        let (tried, found) = ("log in".to_owned(), "no\nsuch \u{1b}[31muser".to_owned());
        Reported {
            about: about.to_owned(),
            finding: Finding { tried, verdict, found, change: change.map(str::to_owned) },
        }
    }

    #[test]
    fn a_line_stands_alone_when_piped_and_below_its_subject_on_a_terminal() {
        let failed = reported("inbox support", Verdict::Failed, Some("change the token"));
        let plain =
            "failed   inbox support: log in: no\u{fffd}such \u{fffd}[31muser\n         change: change the token\n";
        assert_eq!(line(&failed, None, false), plain);
        let first = line(&failed, None, true);
        assert!(first.starts_with("\u{1b}[1minbox support\u{1b}[0m\n  \u{1b}[31m✗\u{1b}[0m log in"), "{first:?}");
        assert!(!line(&failed, Some(&failed), true).contains("inbox support"));
        let other = line(&failed, Some(&reported("store", Verdict::Fine, None)), true);
        assert!(other.starts_with("\n\u{1b}[1minbox"), "{other:?}");
    }

    #[test]
    fn the_document_says_whether_all_is_well_and_holds_each_finding_with_its_subject() {
        let (fine, failed) = (reported("store", Verdict::Fine, None), reported("gateway", Verdict::Failed, Some("x")));
        let warning = reported("store", Verdict::Warning, Some("x"));
        assert_eq!(json(&[fine.clone(), warning])["ok"], true);
        let document = json(&[fine, failed]);
        let expected = value!({ "ok": false, "findings": [
            { "about": "store", "tried": "log in", "verdict": "fine", "found": "no\nsuch \u{1b}[31muser" },
            { "about": "gateway", "tried": "log in", "verdict": "failed", "found": "no\nsuch \u{1b}[31muser", "change": "x" },
        ] });
        assert_eq!(document, expected);
    }

    #[test]
    fn the_last_line_counts() {
        let all = [Verdict::Fine, Verdict::Skipped, Verdict::Warning, Verdict::Fine];
        let all: Vec<_> = all.iter().map(|verdict| reported("store", *verdict, None)).collect();
        assert_eq!(tally(&all).words(), "2 fine, 1 not tried, 1 warning, 0 failed");
        assert_eq!(tally(&all[..1]).words(), "1 fine, 0 failed");
    }
}
