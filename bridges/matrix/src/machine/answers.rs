//! What must be asked of the homeserver before a transaction can be understood.

use std::collections::{BTreeSet, HashMap};

use super::Machine;
use crate::{
    client::Profile,
    ids::{EventRef, RoomId, UserId},
    wire::{Ephemeral, Event, Relation, Transaction},
};

/// More is not asked about one transaction; what is left unasked is treated as not answered.
const ASKED_MAX: usize = 256;

/// Questions. Each may stay unanswered.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wants {
    pub(crate) profiles: BTreeSet<UserId>,
    /// Earlier events that others speak of, with the room that they must be in.
    pub(crate) events: BTreeSet<(RoomId, EventRef)>,
    /// Rooms in which something was read that is older than what is in memory.
    pub(crate) histories: BTreeSet<RoomId>,
    /// Rooms that we came into: what was written before was told to nobody.
    pub(crate) entered: BTreeSet<RoomId>,
}

/// Answers, as far as they came in time.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) profiles: HashMap<UserId, Profile>,
    pub(crate) events: HashMap<EventRef, Found>,
    /// The newest events of rooms, oldest first.
    pub(crate) histories: HashMap<RoomId, Vec<Event>>,
    /// Rooms of which the beginning is in the transaction.
    pub(crate) entered: BTreeSet<RoomId>,
}

#[derive(Debug)]
pub(crate) enum Found {
    Event(Box<Event>),
    /// The room surely has none such.
    Absent,
}

impl Machine {
    pub(crate) fn wants(&self, transaction: &Transaction) -> Wants {
        let mut wants = Wants::default();
        let here: BTreeSet<&EventRef> = transaction.events.iter().map(|event| &event.id).collect();
        for event in transaction.events.iter().filter(|event| event.kind == "m.room.member") {
            let comes = event.state_key.as_deref() == Some(self.me.user.as_str())
                && crate::wire::text(&event.content, &["membership"]) == Some("join");
            if comes && !self.rooms.get(&event.room).is_some_and(|room| room.read_back) {
                wants.entered.insert(event.room.clone());
            }
        }
        for event in transaction.events.iter().filter(|event| !self.me.is_ours(&event.sender)) {
            if writes(event) && !self.people.contains_key(&event.sender) {
                wants.profiles.insert(event.sender.clone());
            }
            let spoken_of = match event.relation() {
                Relation::Edit(to) | Relation::Reply(to) | Relation::Reaction { to, .. } => Some(to),
                Relation::Thread { reply, .. } => reply,
                Relation::None => None,
            };
            if let Some(to) = spoken_of.filter(|to| !here.contains(to) && self.recent.get(to).is_none()) {
                wants.events.insert((event.room.clone(), to));
            }
        }
        for ephemeral in &transaction.ephemeral {
            let Ephemeral::Receipts { room, seen } = ephemeral else { continue };
            for seen in seen.iter().filter(|seen| !self.me.is_ours(&seen.user)) {
                // A ring that began in the middle of a room does not know what stood before.
                let ring = self.rings.get(room).filter(|ring| ring.is_whole());
                if ring.is_some_and(|ring| ring.has(&seen.event) || here.contains(&seen.event)) {
                    continue;
                }
                if self.rooms.get(room).is_some() {
                    wants.histories.insert(room.clone());
                }
                if self.recent.get(&seen.event).is_none() && !here.contains(&seen.event) {
                    wants.events.insert((room.clone(), seen.event.clone()));
                }
            }
        }
        while wants.entered.len() > ASKED_MAX {
            wants.entered.pop_last();
        }
        while wants.profiles.len() > ASKED_MAX {
            wants.profiles.pop_last();
        }
        while wants.histories.len() > ASKED_MAX {
            wants.histories.pop_last();
        }
        while wants.events.len() > ASKED_MAX {
            wants.events.pop_last();
        }
        wants
    }
}

/// Whoever writes is shown to agents.
fn writes(event: &Event) -> bool {
    matches!(event.kind.as_str(), "m.room.message" | "m.sticker" | "m.reaction" | "m.room.encrypted")
}
