//! From findings to faults: where in the file or the environment each was made, and what of the file
//! may be shown with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    document::{Document, KeyPath},
    faults::{Fault, Faults, Finding, Place, Wrong},
    page::{Page, Snippet, line},
    shape::Checked,
};

pub(super) struct Placing<'a> {
    page: Page<'a>,
    document: &'a Document,
    variables: &'a BTreeMap<KeyPath, String>,
}

impl<'a> Placing<'a> {
    pub(super) fn new(
        file: &'a str,
        text: &'a str,
        document: &'a Document,
        variables: &'a BTreeMap<KeyPath, String>,
        checked: &Checked,
        vocabulary: BTreeSet<String>,
    ) -> Self {
        let broken = document.broken.iter().filter(|broken| !broken.twice).map(|broken| line(text, &broken.span));
        let torn: BTreeSet<usize> = broken.collect();
        let sure = |span: &Range<usize>| !span.is_empty() && (torn.is_empty() || !is_quoted(text, span));
        let keys = document.spots.values().map(|spot| spot.key.clone()).filter(sure);
        let twice = document.broken.iter().filter(|broken| broken.twice).map(|broken| broken.span.clone());
        let plain = document.spots.iter().filter(|(path, _)| checked.plain.contains(path) && !looks_secret(path));
        let plain = plain.map(|(_, spot)| spot.value.clone()).filter(|span| !holds_password(&text[span.clone()]));
        let harmless = keys.chain(twice.filter(sure)).chain(plain).collect();
        let ends = document.spots.values().map(|spot| spot.value.end).collect();
        Self { page: Page { file, text, harmless, ends, torn, vocabulary }, document, variables }
    }

    pub(super) fn faults(&self, findings: Vec<Finding>) -> Faults {
        const FAULTS_MAX: usize = 100;
        let mut faults = self.broken();
        let placed = findings.into_iter().filter(|finding| self.is_sure(finding)).take(FAULTS_MAX);
        faults.extend(placed.map(|finding| self.fault(finding)).filter(|fault| !self.is_torn(&fault.place)));
        faults.sort_by(|left, right| left.place.cmp(&right.place));
        faults.truncate(FAULTS_MAX);
        Faults(faults)
    }

    /// The mistakes of TOML itself: of a torn line the first, since the others follow from it.
    fn broken(&self) -> Vec<Fault> {
        let mut lines = BTreeSet::new();
        let first = self.document.broken.iter().filter(|broken| {
            let Page { text, torn, .. } = &self.page;
            if broken.twice {
                torn.is_empty() || !is_quoted(text, &broken.span)
            } else {
                lines.insert(line(text, &broken.span))
            }
        });
        first
            .map(|broken| {
                let (place, snippet) = self.page.point(&broken.span);
                let message = broken.message.clone();
                Fault { place, key: String::new(), message, nearest: None, snippet: Some(snippet) }
            })
            .collect()
    }

    /// Where the text is no TOML, a key that is missing may be written, and what was taken for a key
    /// may be a secret: only a bare one that is like a known one is believed.
    fn is_sure(&self, finding: &Finding) -> bool {
        let unlike = finding.wrong == Wrong::Key && finding.nearest.is_none();
        let spot = self.document.spots.get(&finding.path);
        let quoted = spot.is_some_and(|spot| is_quoted(self.page.text, &spot.key));
        self.page.torn.is_empty() || (finding.wrong != Wrong::Missing && !quoted && !unlike)
    }

    fn is_torn(&self, place: &Place) -> bool {
        match place {
            Place::File { line, .. } => self.page.torn.contains(line),
            Place::Whole { .. } | Place::Variable(_) => false,
        }
    }

    fn fault(&self, finding: Finding) -> Fault {
        let Finding { wrong, path, message, nearest } = finding;
        let (place, snippet) = self.place(wrong, &path);
        Fault { place, key: path.to_string(), message, nearest, snippet }
    }

    fn place(&self, wrong: Wrong, path: &KeyPath) -> (Place, Option<Snippet>) {
        if let Some(name) = self.variable(path) {
            return (Place::Variable(name.clone()), None);
        }
        if let Some(spot) = self.document.spots.get(path).or_else(|| self.document.spots.get(&path.as_file()?)) {
            return self.in_file(if wrong == Wrong::Key { &spot.key } else { &spot.value });
        }
        // What is not written is shown where it should be: at the nearest table around it.
        let mut around = path.parent();
        while let Some(table) = around {
            if let Some(spot) = self.document.spots.get(&table) {
                return self.in_file(&spot.key);
            }
            if let Some((_, name)) =
                self.variables.iter().find(|(set, _)| !table.keys().is_empty() && set.is_within(&table))
            {
                return (Place::Variable(name.clone()), None);
            }
            around = table.parent();
        }
        (Place::Whole { file: self.page.file.to_owned() }, None)
    }

    /// The variable that said this value, or the table around it.
    fn variable(&self, path: &KeyPath) -> Option<&String> {
        let said = |path: &KeyPath| self.variables.iter().find(|(set, _)| path.is_within(set)).map(|(_, name)| name);
        let below = || {
            let absent = !self.document.spots.contains_key(path);
            self.variables.iter().find(|(set, _)| absent && set.is_within(path)).map(|(_, name)| name)
        };
        said(path).or_else(|| said(&path.as_file()?)).or_else(below)
    }

    fn in_file(&self, span: &Range<usize>) -> (Place, Option<Snippet>) {
        let (place, snippet) = self.page.point(span);
        (place, Some(snippet))
    }
}

fn is_quoted(text: &str, span: &Range<usize>) -> bool {
    text[span.clone()].starts_with(['"', '\''])
}

/// Whether a key sounds like a secret though its type is none: better masked in vain than shown.
fn looks_secret(path: &KeyPath) -> bool {
    const WORDS: [&str; 6] = ["secret", "token", "passw", "passphrase", "credential", "api_key"];
    let last = path.last().unwrap_or_default().to_lowercase();
    !last.ends_with("_file") && WORDS.iter().any(|word| last.contains(word))
}

/// Whether a value is an address with a name or a password in it.
fn holds_password(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}
