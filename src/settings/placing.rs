//! From findings to faults: where in the file or the environment each was made, and what of the file
//! may be shown with it.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use super::{
    document::{Document, KeyPath},
    faults::{Fault, Faults, Finding, Place, Wrong},
    page::{Page, Snippet},
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
    ) -> Self {
        let keys = document.spots.values().map(|spot| spot.key.clone());
        let twice = document.broken.iter().filter(|broken| broken.twice).map(|broken| broken.span.clone());
        let plain = document.spots.iter().filter(|(path, _)| checked.plain.contains(path) && !looks_secret(path));
        let plain = plain.map(|(_, spot)| spot.value.clone()).filter(|span| !holds_password(&text[span.clone()]));
        let mut harmless: Vec<Range<usize>> = keys.chain(twice).chain(plain).filter(|span| !span.is_empty()).collect();
        harmless.sort_by_key(|span| (span.start, Reverse(span.end)));
        Self { page: Page { file, text, harmless }, document, variables }
    }

    pub(super) fn faults(&self, findings: Vec<Finding>) -> Faults {
        const FAULTS_MAX: usize = 100;
        let broken = self.document.broken.iter().map(|broken| {
            let (place, snippet) = self.page.point(&broken.span);
            Fault { place, key: String::new(), message: broken.message.clone(), nearest: None, snippet: Some(snippet) }
        });
        let mut faults: Vec<Fault> = broken.take(FAULTS_MAX).collect();
        let torn: Vec<usize> = self.torn_lines(&faults);
        let placed = findings.into_iter().take(FAULTS_MAX).map(|finding| self.fault(finding));
        // Where the text is no TOML, what is missing or odd may only be a part of that mistake.
        faults.extend(
            placed
                .filter(|(wrong, fault)| {
                    torn.is_empty() || {
                        let same_line = matches!(fault.place, Place::File { line, .. } if torn.contains(&line));
                        *wrong != Wrong::Missing && !same_line
                    }
                })
                .map(|(_, fault)| fault),
        );
        faults.sort_by(|left, right| left.place.cmp(&right.place));
        Faults(faults)
    }

    fn torn_lines(&self, broken: &[Fault]) -> Vec<usize> {
        let torn = self.document.broken.iter().zip(broken).filter(|(broken, _)| !broken.twice);
        torn.filter_map(|(_, fault)| match fault.place {
            Place::File { line, .. } => Some(line),
            Place::Whole { .. } | Place::Variable(_) => None,
        })
        .collect()
    }

    fn fault(&self, finding: Finding) -> (Wrong, Fault) {
        let Finding { wrong, path, message, nearest } = finding;
        let (place, snippet) = self.place(wrong, &path);
        (wrong, Fault { place, key: path.to_string(), message, nearest, snippet })
    }

    fn place(&self, wrong: Wrong, path: &KeyPath) -> (Place, Option<Snippet>) {
        if wrong != Wrong::Missing {
            if let Some(name) = self.variable(path) {
                return (Place::Variable(name.clone()), None);
            }
            if let Some(spot) = self.document.spots.get(path).or_else(|| self.document.spots.get(&path.as_file()?)) {
                let span = if wrong == Wrong::Key { &spot.key } else { &spot.value };
                return self.in_file(span);
            }
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
        said(path).or_else(|| said(&path.as_file()?))
    }

    fn in_file(&self, span: &Range<usize>) -> (Place, Option<Snippet>) {
        let (place, snippet) = self.page.point(span);
        (place, Some(snippet))
    }
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
