//! What we know to stand in an inbox, by which it is known again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// A message that we posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Display id.
    pub conversation: i64,
    pub message: i64,
    pub source_id: String,
}

/// The newest messages of a few conversations, the newest first: a conversation may be deleted, several at once hardly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Witnesses(VecDeque<Witness>);

impl Witnesses {
    const COUNT_MAX: usize = 3;

    pub fn add(&mut self, witness: Witness) {
        self.0.retain(|other| other.conversation != witness.conversation);
        self.0.push_front(witness);
        self.0.truncate(Self::COUNT_MAX);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Witness> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conversation_has_its_newest_message_and_the_oldest_goes() {
        let mut witnesses = Witnesses::default();
        for (conversation, message) in [(1, 10), (2, 11), (1, 12), (3, 13), (4, 14)] {
            witnesses.add(Witness { conversation, message, source_id: format!("net/{message}/0") });
        }
        let seen: Vec<_> = witnesses.iter().map(|w| (w.conversation, w.message)).collect();
        assert_eq!(seen, [(4, 14), (3, 13), (1, 12)]);
    }
}
