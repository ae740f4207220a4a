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

    /// Whatever was seen in this room.
    pub(super) fn forget(&mut self, room: &RoomId) {
        self.young.retain(|_, (seen_in, _)| seen_in != room);
        self.old.retain(|_, (seen_in, _)| seen_in != room);
    }

    pub(super) fn get(&self, event: &EventRef) -> Option<(&RoomId, &Author)> {
        self.young.get(event).or_else(|| self.old.get(event)).map(|(room, author)| (room, author))
    }
}

/// A room's events, the oldest first, each with the key of the effect if it is one of ours.
pub(super) type History = Vec<(EventRef, Option<Key>)>;

/// A room's latest events in the room's own order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    /// What came before this start is in it, as far as the homeserver told.
    whole: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    event: EventRef,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Theirs,
    /// Not known to be read.
    Unread(Key),
    Read,
}

impl Ring {
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
    pub(super) fn has(&self, event: &EventRef) -> bool {
        self.slots.iter().any(|slot| slot.event == *event)
    }

    /// The room's history, the oldest first, takes the place of what the ring holds of it. Whatever else is in the ring
    /// came before: the homeserver tells the latest.
    pub(super) fn adopt(&mut self, history: History) {
        let mut known = std::mem::take(&mut self.slots);
        let told = |key: Option<Key>| key.map_or(What::Theirs, What::Unread);
        let history: Vec<Slot> = history
            .into_iter()
            .map(|(event, key)| {
                let at = known.iter().position(|slot| slot.event == event);
                at.and_then(|at| known.remove(at)).unwrap_or_else(|| Slot { event, what: told(key) })
            })
            .collect();
        known.into_iter().chain(history).for_each(|slot| self.push(slot));
        self.whole = true;
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.len() >= RING_MAX {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
    }

    /// `key` says that it is an effect of ours.
    pub(super) fn put(&mut self, event: EventRef, key: Option<Key>) {
        if !self.has(&event) {
            self.push(Slot { event, what: key.map_or(What::Theirs, What::Unread) });
        }
    }

    /// The keys of ours up to this event that nobody has read yet. `None` when the event is not known here.
    pub(super) fn unread_up_to(&self, event: &EventRef) -> Option<Vec<Key>> {
        let at = self.slots.iter().position(|slot| slot.event == *event)?;
        let key = |slot: &Slot| match &slot.what {
            What::Unread(key) => Some(key.clone()),
            What::Theirs | What::Read => None,
        };
        Some(self.slots.iter().take(at + 1).filter_map(key).collect())
    }

    pub(super) fn was_read(&mut self, key: &Key) {
        for slot in &mut self.slots {
            if matches!(&slot.what, What::Unread(unread) if unread == key) {
                slot.what = What::Read;
            }
        }
    }

    pub(super) fn newest_of_theirs(&self) -> Option<EventRef> {
        self.slots.iter().rev().find(|slot| slot.what == What::Theirs).map(|slot| slot.event.clone())
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
    fn a_ring_takes_its_rooms_history_in_and_keeps_what_it_knows_better() {
        let mut ring = Ring::default();
        for (event, key) in [("$old", Some("o")), ("$2", Some("b"))] {
            ring.put(event.into(), key.map(Key::from));
        }
        ring.was_read(&Key::from("b"));
        assert!(!ring.is_whole());
        ring.adopt(vec![("$1".into(), Some("a".into())), ("$2".into(), Some("b".into())), ("$3".into(), None)]);
        ring.put("$4".into(), Some("d".into()));
        assert!(ring.is_whole() && ring.has(&"$3".into()));
        let keys = |text: &[&str]| Some(text.iter().map(|key| Key::from(*key)).collect());
        assert_eq!(ring.unread_up_to(&"$4".into()), keys(&["o", "a", "d"]));
        assert_eq!(ring.unread_up_to(&"$old".into()), keys(&["o"]));
        ring.adopt((0..100).map(|number| (format!("$n{number}").as_str().into(), None)).collect());
        assert_eq!(ring.unread_up_to(&"$4".into()), None, "the oldest are forgotten");
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
