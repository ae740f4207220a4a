//! Events that were seen a short while ago: who wrote them, and in which order a room has them. Bounded, and can
//! be asked of the homeserver again.

use std::collections::{HashMap, VecDeque};

use bridge_api::Key;

use crate::ids::{EventRef, RoomId, UserId};

/// Events of all rooms in each of two generations.
const GENERATION_MAX: usize = 20_000;
/// Events of one room.
const RING_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Author {
    Peer(UserId),
    /// With the key of the effect, unless it is a notice of the bridge's own.
    Ours(Option<Key>),
}

/// When the younger generation is full it becomes the elder one, and what was the elder one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashMap<EventRef, (RoomId, Author)>,
    old: HashMap<EventRef, (RoomId, Author)>,
}

impl Recent {
    pub(super) fn put(&mut self, event: EventRef, room: RoomId, author: Author) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(event, (room, author));
    }

    pub(super) fn get(&self, event: &EventRef) -> Option<(&RoomId, &Author)> {
        self.young.get(event).or_else(|| self.old.get(event)).map(|(room, author)| (room, author))
    }
}

/// A room's latest events in the room's own order.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Slot>);

#[derive(Debug)]
struct Slot {
    event: EventRef,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Theirs,
    /// Not known to be read.
    Unread(Key),
    Read,
}

impl Ring {
    /// `key` says that it is an effect of ours.
    pub(super) fn put(&mut self, event: EventRef, key: Option<Key>) {
        if self.0.iter().any(|slot| slot.event == event) {
            return;
        }
        if self.0.len() >= RING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Slot { event, what: key.map_or(What::Theirs, What::Unread) });
    }

    /// The keys of ours up to this event that nobody has read yet. `None` when the event is not known here.
    pub(super) fn unread_up_to(&self, event: &EventRef) -> Option<Vec<Key>> {
        let at = self.0.iter().position(|slot| slot.event == *event)?;
        let key = |slot: &Slot| match &slot.what {
            What::Unread(key) => Some(key.clone()),
            What::Theirs | What::Read => None,
        };
        Some(self.0.iter().take(at + 1).filter_map(key).collect())
    }

    pub(super) fn was_read(&mut self, key: &Key) {
        for slot in &mut self.0 {
            if matches!(&slot.what, What::Unread(unread) if unread == key) {
                slot.what = What::Read;
            }
        }
    }

    pub(super) fn newest_of_theirs(&self) -> Option<EventRef> {
        self.0.iter().rev().find(|slot| slot.what == What::Theirs).map(|slot| slot.event.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_an_event_reads_what_is_before_it() {
        let mut ring = Ring::default();
        for (event, key) in [("$1", Some("a")), ("$2", None), ("$3", Some("b")), ("$4", Some("c")), ("$1", None)] {
            ring.put(event.into(), key.map(Key::from));
        }
        let keys = |ring: &Ring, event: &str| ring.unread_up_to(&event.into());
        assert_eq!(keys(&ring, "$2"), Some(vec![Key::from("a")]));
        assert_eq!(keys(&ring, "$3"), Some(vec![Key::from("a"), Key::from("b")]));
        ring.was_read(&Key::from("a"));
        assert_eq!(keys(&ring, "$4"), Some(vec![Key::from("b"), Key::from("c")]));
        assert_eq!(keys(&ring, "$9"), None);
        assert_eq!(ring.newest_of_theirs(), Some("$2".into()));
        for number in 0..RING_MAX {
            ring.put(format!("$n{number}").as_str().into(), None);
        }
        assert_eq!(keys(&ring, "$4"), None, "the oldest are forgotten");
    }

    #[test]
    fn what_is_recent_stays_while_a_generation_fills() {
        let mut recent = Recent::default();
        for number in 0..GENERATION_MAX + 5 {
            recent.put(format!("${number}").as_str().into(), "!r".into(), Author::Ours(None));
        }
        assert!(
            recent.get(&"$0".into()).is_some() && recent.get(&format!("${GENERATION_MAX}").as_str().into()).is_some()
        );
        for number in 0..GENERATION_MAX {
            recent.put(format!("$x{number}").as_str().into(), "!r".into(), Author::Ours(None));
        }
        assert!(recent.get(&"$0".into()).is_none());
    }
}
