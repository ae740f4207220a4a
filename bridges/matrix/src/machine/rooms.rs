//! What is known of each room, and what is still to be done about it. Kept as one cursor a room, so that a
//! restart goes on where it was.

use std::collections::{HashMap, HashSet};

use bridge_api::{Cursor, ThreadId};
use serde::{Deserialize, Serialize};

use crate::ids::{EventRef, RoomId, UserId};

pub(crate) const ROOM: &str = "room/";
const PLACE: &str = "place/";
const BASE: &str = "base/";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that was done or seen, independent of the others")]
pub(crate) struct Room {
    /// Whose conversation it is: who invited us, or wrote first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<UserId>,
    #[serde(default)]
    pub(crate) standing: Standing,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) encrypted: bool,
    /// The person has been told that we cannot read here, and another room offered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) told: bool,
    /// Agents know that somebody writes here what we cannot read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) told_agents: bool,
    /// What was written between the invite and our joining has been read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) read_back: bool,
    /// What is done once after joining is done.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) settled: bool,
    /// The newest event that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<EventRef>,
    /// The moment of their newest message here, Unix milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) wrote_at: i64,
    /// The root of the thread in which the person wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<EventRef>,
    /// The person is not in the room any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) peer_left: bool,
    /// And was invited again since.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) reinvited: bool,
    /// The room was replaced by this one, which we have not moved to yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced_by: Option<Replacement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacement {
    pub(crate) room: RoomId,
    /// A server that knows it.
    pub(crate) via: Option<String>,
}

/// Where we stand in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    #[default]
    Joined,
    Invited {
        via: Option<String>,
    },
    /// We do not want to be in it, and are not out yet.
    Leaving(Why),
    Out(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// The settings do not allow who invited us.
    Declined,
    /// More people than the settings allow.
    TooLarge,
    /// The conversation goes on elsewhere.
    Moved,
    Left,
    Kicked,
    Banned,
}

/// Something to be done about a room. Doing it twice is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    Join {
        via: Option<String>,
    },
    Leave(Why),
    /// Read what was written before we came in, since nobody is told of that.
    ReadBack,
    /// Greet, and look who is there.
    Settle,
    /// Say that we cannot read here, and open a room in which we can.
    TellEncrypted,
    Move {
        to: RoomId,
        via: Option<String>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Room {
    pub(crate) fn is_joined(&self) -> bool {
        self.standing == Standing::Joined
    }

    /// What is to be done now; when it is done, the next.
    pub(crate) fn duty(&self) -> Option<Duty> {
        match &self.standing {
            Standing::Invited { via } => return Some(Duty::Join { via: via.clone() }),
            Standing::Leaving(why) => return Some(Duty::Leave(*why)),
            Standing::Out(_) => return None,
            Standing::Joined => {}
        }
        if let Some(Replacement { room, via }) = &self.replaced_by {
            return Some(Duty::Move { to: room.clone(), via: via.clone() });
        }
        if !self.read_back {
            return Some(Duty::ReadBack);
        }
        if self.encrypted && !self.told {
            return Some(Duty::TellEncrypted);
        }
        (!self.settled && !self.encrypted).then_some(Duty::Settle)
    }
}

/// All rooms, and which conversation goes on in which.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    all: HashMap<RoomId, Room>,
    /// From where a conversation began to where it is, when that is another room.
    places: HashMap<RoomId, RoomId>,
    /// Back from every room that a conversation ever went on in.
    bases: HashMap<RoomId, RoomId>,
}

impl Rooms {
    pub(super) fn remember(kept: &[Cursor]) -> Self {
        let mut rooms = Self::default();
        for Cursor { name, value } in kept {
            let Some(value) = value else { continue };
            if let Some(room) = name.strip_prefix(ROOM) {
                match serde_json::from_str(value) {
                    Ok(state) => rooms.put(RoomId::from(room), state),
                    Err(error) => {
                        tracing::warn!(room, error = error.to_string(), "what was kept of a room is unreadable");
                    }
                }
            } else if let Some(base) = name.strip_prefix(PLACE) {
                rooms.places.insert(RoomId::from(base), RoomId::from(value.as_str()));
            } else if let Some(room) = name.strip_prefix(BASE) {
                rooms.bases.insert(RoomId::from(room), RoomId::from(value.as_str()));
            }
        }
        rooms
    }

    /// Takes out what this cursor stood for, and says of which room that was, and of whom.
    pub(super) fn forget(&mut self, cursor: &str) -> Option<(RoomId, Option<UserId>)> {
        if let Some(room) = cursor.strip_prefix(ROOM).map(RoomId::from) {
            let peer = self.all.remove(&room)?.peer;
            return Some((room, peer));
        }
        if let Some(base) = cursor.strip_prefix(PLACE).map(RoomId::from) {
            self.places.remove(&base);
        } else if let Some(room) = cursor.strip_prefix(BASE).map(RoomId::from) {
            self.bases.remove(&room);
        }
        None
    }

    pub(crate) fn get(&self, room: &RoomId) -> Option<&Room> {
        self.all.get(room)
    }

    pub(crate) fn put(&mut self, room: RoomId, state: Room) {
        self.all.insert(room, state);
    }

    pub(crate) fn place(&mut self, base: RoomId, place: RoomId) {
        self.bases.insert(place.clone(), base.clone());
        self.places.insert(base, place);
    }

    /// Where the conversation that began in this room goes on.
    pub(crate) fn place_of<'r>(&'r self, base: &'r RoomId) -> &'r RoomId {
        self.places.get(base).unwrap_or(base)
    }

    pub(crate) fn base_of<'r>(&'r self, room: &'r RoomId) -> &'r RoomId {
        self.bases.get(room).unwrap_or(room)
    }

    /// Every room that the conversation which began here was ever in, the one that it is in now first.
    pub(crate) fn of_conversation(&self, base: &RoomId) -> Vec<RoomId> {
        let mut rooms = vec![self.place_of(base).clone(), base.clone()];
        rooms.extend(self.bases.iter().filter(|(_, of)| *of == base).map(|(room, _)| room.clone()));
        let mut seen = HashSet::new();
        rooms.retain(|room| seen.insert(room.clone()));
        rooms
    }

    pub(crate) fn thread_of(&self, room: &RoomId) -> Option<ThreadId> {
        self.base_of(room).thread()
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = (&RoomId, &Room)> {
        self.all.iter().filter(|(_, room)| room.is_joined())
    }

    /// Whether some room says that this one replaces it.
    pub(super) fn names(&self, room: &RoomId) -> bool {
        self.all.values().any(|known| known.replaced_by.as_ref().is_some_and(|next| next.room == *room))
    }

    /// What was not done yet.
    pub(crate) fn duties(&self) -> Vec<(RoomId, Duty)> {
        self.all.iter().filter_map(|(id, room)| Some((id.clone(), room.duty()?))).collect()
    }
}

pub(crate) fn room_cursor(id: &RoomId, room: &Room) -> Cursor {
    let value = serde_json::to_string(room).expect("a room is plain data");
    Cursor::set(format!("{ROOM}{}", id.as_str()), value)
}

/// Whose conversation a room is, and where that began.
pub(crate) fn person(cursor: &Cursor) -> Option<(Vec<String>, String)> {
    let id = cursor.name.strip_prefix(ROOM)?;
    let room: Room = serde_json::from_str(cursor.value.as_deref()?).ok()?;
    Some((vec![room.peer?.as_str().to_owned()], id.to_owned()))
}

pub(crate) fn place_cursors(base: &RoomId, place: &RoomId) -> [Cursor; 2] {
    [
        Cursor::set(format!("{PLACE}{}", base.as_str()), place.as_str()),
        Cursor::set(format!("{BASE}{}", place.as_str()), base.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_found_by_their_id_and_forgotten_with_their_room() {
        let room = Room { peer: Some("@kim:s".into()), ..Room::default() };
        let mut cursors = vec![room_cursor(&"!a".into(), &room)];
        assert_eq!(person(&cursors[0]), Some((vec!["@kim:s".to_owned()], "!a".to_owned())));
        cursors.extend(place_cursors(&"!a".into(), &"!b".into()));
        let mut rooms = Rooms::remember(&cursors);
        let gone: Vec<_> = cursors.iter().filter_map(|cursor| rooms.forget(&cursor.name)).collect();
        assert_eq!(gone, [("!a".into(), Some("@kim:s".into()))]);
        assert_eq!((rooms.get(&"!a".into()), rooms.of_conversation(&"!a".into())), (None, vec!["!a".into()]));
    }

    #[test]
    fn a_room_is_remembered_as_it_was() {
        let room = Room {
            peer: Some("@kim:s".into()),
            standing: Standing::Invited { via: Some("s".into()) },
            last: Some("$1".into()),
            ..Room::default()
        };
        let mut cursors = vec![room_cursor(&"!a".into(), &room)];
        cursors.extend(place_cursors(&"!a".into(), &"!b".into()));
        let rooms = Rooms::remember(&cursors);
        assert_eq!(rooms.of_conversation(&"!a".into()), ["!b".into(), "!a".into()]);
        assert_eq!(rooms.get(&"!a".into()), Some(&room));
        assert_eq!(rooms.place_of(&"!a".into()), &RoomId::from("!b"));
        assert_eq!(rooms.base_of(&"!b".into()), &RoomId::from("!a"));
        assert_eq!(rooms.duties(), [("!a".into(), Duty::Join { via: Some("s".into()) })]);
        assert_eq!(Rooms::remember(&[Cursor::set("room/!a", "{odd")]).get(&"!a".into()), None);
    }

    #[test]
    fn duties_come_one_after_another() {
        let mut room = Room { standing: Standing::Invited { via: None }, ..Room::default() };
        assert_eq!(room.duty(), Some(Duty::Join { via: None }));
        room.standing = Standing::Joined;
        assert_eq!(room.duty(), Some(Duty::ReadBack));
        room.read_back = true;
        assert_eq!(room.duty(), Some(Duty::Settle));
        room.encrypted = true;
        assert_eq!(room.duty(), Some(Duty::TellEncrypted));
        room.replaced_by = Some(Replacement { room: "!n".into(), via: None });
        assert_eq!(room.duty(), Some(Duty::Move { to: "!n".into(), via: None }));
        room.standing = Standing::Out(Why::Kicked);
        assert_eq!(room.duty(), None);
    }
}
