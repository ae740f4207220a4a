//! Messages on their way to the inbox, until it is told how far they came. Bounded: what is forgotten is not told.

use std::collections::HashMap;

use crate::{ids::EventRef, machine::Checkpoint};

const GENERATION_MAX: usize = 4096;

/// When the younger generation is full it becomes the elder one, and what was the elder one is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    young: HashMap<EventRef, Checkpoint>,
    old: HashMap<EventRef, Checkpoint>,
}

impl Underway {
    pub(super) fn put(&mut self, checkpoint: Checkpoint) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(checkpoint.event.clone(), checkpoint);
    }

    pub(super) fn landed(&mut self, event: &EventRef) -> Option<Checkpoint> {
        self.young.remove(event).or_else(|| self.old.remove(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_each_lands_once() {
        let checkpoint = |number: usize| Checkpoint {
            event: EventRef::new(format!("${number}")),
            room: "!r".into(),
            kind: "m.room.message".to_owned(),
            msgtype: None,
            carried: true,
        };
        let mut underway = Underway::default();
        for number in 0..=2 * GENERATION_MAX {
            underway.put(checkpoint(number));
        }
        assert_eq!(underway.landed(&"$0".into()), None);
        let kept = checkpoint(GENERATION_MAX);
        assert_eq!(underway.landed(&kept.event), Some(kept.clone()));
        assert_eq!(underway.landed(&kept.event), None);
    }
}
