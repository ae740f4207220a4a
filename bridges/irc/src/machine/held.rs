//! Lines that wait for a proof of who wrote them. Each is durable as a cursor `held/<epoch>-<n>`.

use std::collections::HashMap;

use bridge_api::Cursor;

use super::identity::Spoken;
use crate::isupport::{CaseMapping, Folded};

#[derive(Debug, Default)]
pub(super) struct Held {
    /// By nick, in the order received; each with its cursor's name.
    lines: HashMap<Folded, Vec<(String, Spoken)>>,
    count: usize,
    counter: u64,
}

/// Over all nicks.
const HELD_MAX: usize = 10_000;

impl Held {
    pub(super) fn recall(&mut self, name: &str, value: &str) -> bool {
        let Ok(spoken) = serde_json::from_str::<Spoken>(value) else { return false };
        // Folded again once the network's mapping is known.
        let nick = CaseMapping::default().fold(&spoken.nick);
        self.lines.entry(nick).or_default().push((name.to_owned(), spoken));
        self.count += 1;
        true
    }

    pub(super) fn holds(&self, nick: &Folded) -> bool {
        self.lines.contains_key(nick)
    }

    pub(super) fn keep(&mut self, nick: Folded, spoken: Spoken, epoch: &str) -> Result<Cursor, Box<Spoken>> {
        if self.count >= HELD_MAX {
            return Err(Box::new(spoken));
        }
        self.count += 1;
        self.counter += 1;
        let name = format!("held/{epoch}-{:08}", self.counter);
        let value = serde_json::to_string(&spoken).expect("a line is plain text and numbers");
        self.lines.entry(nick).or_default().push((name.clone(), spoken));
        Ok(Cursor::set(name, value))
    }

    pub(super) fn take(&mut self, nick: &Folded) -> Vec<(String, Spoken)> {
        let lines = self.lines.remove(nick).unwrap_or_default();
        self.count -= lines.len();
        lines
    }

    /// Those that these cursors stood for.
    pub(super) fn forget(&mut self, cursors: &[String]) {
        for lines in self.lines.values_mut() {
            lines.retain(|(name, _)| !cursors.contains(name));
        }
        self.lines.retain(|_, lines| !lines.is_empty());
        self.count = self.lines.values().map(Vec::len).sum();
    }

    pub(super) fn nicks(&self) -> Vec<Folded> {
        let mut nicks: Vec<Folded> = self.lines.keys().cloned().collect();
        nicks.sort();
        nicks
    }

    /// The nicks stay held: the next connection proves them.
    pub(super) fn link_lost(&mut self) {
        self.counter = 0;
    }

    pub(super) fn fold_by(&mut self, mapping: CaseMapping) {
        let lines = std::mem::take(&mut self.lines);
        let mut all: Vec<(String, Spoken)> = lines.into_values().flatten().collect();
        all.sort_by(|(a, one), (b, other)| (one.at_millis, a).cmp(&(other.at_millis, b)));
        for (name, spoken) in all {
            self.lines.entry(mapping.fold(&spoken.nick)).or_default().push((name, spoken));
        }
    }
}
