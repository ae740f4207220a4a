//! What became of the last effects, by key. In memory only: the gateway keeps the truth.

use std::collections::{HashMap, VecDeque};

use bridge_api::{EventId, Key, Sent};

use super::history::Flown;

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Sent(Sent),
    /// Surely not done: refused, or never written.
    NotDone,
    /// The connection broke, or no proof came in time. With what was written, where history may show it.
    Unknown(Option<Flown>),
}

/// Two thousand replies a minute for two minutes.
const RECENT_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Recent {
    outcomes: HashMap<Key, Outcome>,
    order: VecDeque<Key>,
}

impl Recent {
    pub(super) fn note(&mut self, key: &Key, outcome: Outcome) {
        if self.outcomes.insert(key.clone(), outcome).is_none() {
            self.order.push_back(key.clone());
        }
        if self.order.len() > RECENT_MAX {
            let oldest = self.order.pop_front();
            oldest.and_then(|key| self.outcomes.remove(&key));
        }
    }

    /// Whether a confirmed reply is this event.
    pub(super) fn has_event(&self, event: &EventId) -> bool {
        self.outcomes
            .values()
            .any(|outcome| matches!(outcome, Outcome::Sent(sent) if sent.event.as_ref() == Some(event)))
    }

    pub(super) fn of(&self, key: &Key) -> Option<&Outcome> {
        self.outcomes.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_keys_are_remembered_and_the_oldest_goes_first() {
        let mut recent = Recent::default();
        for n in 0..=RECENT_MAX {
            recent.note(&Key::from(n.to_string()), Outcome::NotDone);
        }
        assert!(recent.of(&Key::from("0")).is_none());
        assert!(recent.of(&Key::from("1")).is_some());
        assert_eq!(recent.outcomes.len(), RECENT_MAX);
    }
}
