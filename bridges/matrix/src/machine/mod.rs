//! What a transaction means: which events are reported, what is remembered, what is to be done. Pure: no I/O, no
//! clock, and nothing changes before the host has kept it.
//!
//! A transaction goes through in three steps. [`Machine::wants`] says what must be asked of the homeserver first,
//! [`Machine::take`] turns events into a [`Staged`] change, and [`Machine::commit`] makes it ours.

mod answers;
mod chat;
mod ephemeral;
mod media;
mod membership;
mod recent;
mod rooms;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use bridge_api::{Cursor, EventId, Inbound, Key, Report, ThreadId};

pub(crate) use answers::{Answers, Found, Wants};
pub(crate) use rooms::{Duty, ROOM, Room, Rooms, Standing, Why, person};

use crate::{
    client::Profile,
    ids::{EventRef, RoomId, UserId},
    settings::Invites,
    wire::{Ephemeral, Event, Transaction},
};
use recent::{Author, History, Recent, Ring};
use rooms::{place_cursors, room_cursor};

/// The key in our events by which an earlier try is found again.
pub(crate) const KEY_MARK: &str = "org.deskbridge.key";
/// The key in the creation of a room of ours that says where the conversation began that goes on in it.
pub(crate) const PLACE_MARK: &str = "org.deskbridge.place_of";
/// Marks what the bridge itself says, rather than an agent.
pub(crate) const NOTICE_MARK: &str = "org.deskbridge.notice";
/// A moment that nothing is ever pruned at: for events whose own one is too old to be remembered by.
const NEVER_FORGOTTEN: i64 = 4_102_444_800_000;
/// An event that claims to be older than this is remembered for good instead of by its moment.
const AGE_MAX_MILLIS: i64 = 14 * 24 * 3600 * 1000;

/// People whose names, and rooms whose newest events, are in memory.
const PEOPLE_MAX: usize = 50_000;
const RINGS_MAX: usize = 10_000;

/// Who we are.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    /// Whom people write to.
    pub(crate) user: UserId,
    /// Localparts that begin so are ours, on our own server. A bot has none.
    pub(crate) namespace: Option<String>,
}

impl Me {
    pub(crate) fn is_ours(&self, user: &UserId) -> bool {
        let ghost = |prefix: &String| user.server() == self.user.server() && user.localpart().starts_with(prefix);
        *user == self.user || self.namespace.as_ref().is_some_and(ghost)
    }
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) me: Me,
    invites: Invites,
    pub(crate) rooms: Rooms,
    people: HashMap<UserId, Profile>,
    recent: Recent,
    rings: HashMap<RoomId, Ring>,
    typing: HashMap<RoomId, BTreeSet<UserId>>,
}

/// What a transaction comes to. Nothing of it counts before the host has kept `inbound` and `cursors`.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) rooms: BTreeMap<RoomId, Room>,
    /// A conversation goes on in another room: where it began, and where it is now.
    pub(crate) places: BTreeMap<RoomId, RoomId>,
    /// Rooms in which somebody began to type, or stopped, with their threads.
    pub(crate) typing: Vec<(RoomId, ThreadId, bool)>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    people: HashMap<UserId, Profile>,
    recent: Vec<(EventRef, RoomId, Author)>,
    ring: Vec<(RoomId, EventRef, Option<Key>)>,
    read: Vec<(RoomId, Key)>,
    /// Histories that the homeserver told.
    adopted: Vec<(RoomId, History)>,
    now_typing: HashMap<RoomId, BTreeSet<UserId>>,
}

impl Staged {
    /// What is to be kept of it.
    pub(crate) fn cursors(&self) -> Vec<Cursor> {
        let rooms = self.rooms.iter().map(|(id, room)| room_cursor(id, room));
        rooms.chain(self.places.iter().flat_map(|(base, place)| place_cursors(base, place))).collect()
    }
}

/// How far a person's event came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) event: EventRef,
    pub(crate) room: RoomId,
    pub(crate) kind: String,
    pub(crate) msgtype: Option<String>,
    /// False where we cannot carry it.
    pub(crate) carried: bool,
}

impl Machine {
    pub(crate) fn new(me: Me, invites: Invites, kept: &[Cursor]) -> Self {
        let rooms = Rooms::remember(kept);
        let (people, rings, typing) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { me, invites, rooms, people, recent: Recent::default(), rings, typing }
    }

    /// What becomes of a transaction, with the answers to what it wants.
    pub(crate) fn take(&self, transaction: Transaction, answers: &Answers, now_millis: i64) -> Staged {
        let mut taking = Taking { machine: self, answers, now_millis, staged: Staged::default() };
        for (user, profile) in &answers.profiles {
            taking.staged.people.insert(user.clone(), profile.clone());
        }
        for event in &transaction.events {
            taking.event(event);
        }
        for ephemeral in transaction.ephemeral {
            match ephemeral {
                Ephemeral::Typing { room, users } => taking.types(&room, users),
                Ephemeral::Receipts { room, seen } => seen.into_iter().for_each(|seen| taking.reads(&room, &seen)),
            }
        }
        taking.keep_histories();
        taking.staged
    }

    /// The host has it.
    pub(crate) fn commit(&mut self, staged: Staged) {
        for (room, state) in staged.rooms {
            self.rooms.put(room, state);
        }
        for (base, place) in staged.places {
            self.rooms.place(base, place);
        }
        self.people.extend(staged.people);
        bound(&mut self.people, PEOPLE_MAX);
        for (event, room, author) in staged.recent {
            self.recent.put(event, room, author);
        }
        for (room, history) in staged.adopted {
            self.rings.entry(room).or_default().adopt(history);
            bound(&mut self.rings, RINGS_MAX);
        }
        for (room, event, key) in staged.ring {
            self.rings.entry(room).or_default().put(event, key);
            bound(&mut self.rings, RINGS_MAX);
        }
        for (room, key) in staged.read {
            if let Some(ring) = self.rings.get_mut(&room) {
                ring.was_read(&key);
            }
        }
        for (room, users) in staged.now_typing {
            if users.is_empty() {
                self.typing.remove(&room)
            } else {
                self.typing.insert(room, users)
            };
        }
    }

    /// The people behind these cursors are to be forgotten: we know no more of their rooms than after a start without
    /// them.
    pub(crate) fn forget(&mut self, cursors: &[String]) {
        for (room, peer) in cursors.iter().filter_map(|name| self.rooms.forget(name)).collect::<Vec<_>>() {
            self.recent.forget(&room);
            self.rings.remove(&room);
            self.typing.remove(&room);
            peer.map(|peer| self.people.remove(&peer));
        }
    }

    /// An effect of ours has happened, and this is its event.
    pub(crate) fn sent(&mut self, room: &RoomId, event: &EventRef, key: &Key) {
        self.recent.put(event.clone(), room.clone(), Author::Ours(Some(key.clone())));
    }

    /// The event of a person that a receipt of ours in this room would be about.
    pub(crate) fn newest_of_theirs(&self, room: &RoomId) -> Option<EventRef> {
        self.rings.get(room)?.newest_of_theirs()
    }

    /// Nobody has been seen typing for too long: takes them off and says in which threads.
    pub(crate) fn stop_typing(&mut self, room: &RoomId) -> Option<ThreadId> {
        self.typing.remove(room)?;
        self.rooms.thread_of(room)
    }
}

/// Forgets every other one when there are too many: what is forgotten can be asked for again.
fn bound<K: Eq + Hash, V>(known: &mut HashMap<K, V>, count_max: usize) {
    if known.len() > count_max {
        let mut odd = false;
        known.retain(|_, _| {
            odd = !odd;
            odd
        });
    }
}

/// One transaction on its way through.
struct Taking<'m> {
    machine: &'m Machine,
    answers: &'m Answers,
    now_millis: i64,
    staged: Staged,
}

impl Taking<'_> {
    fn event(&mut self, event: &Event) {
        if self.machine.rooms.thread_of(&event.room).is_none() {
            tracing::warn!(room = event.room.as_str(), "a room with an id too long to keep is skipped");
            return;
        }
        match event.kind.as_str() {
            "m.room.create" if event.is_state() => self.created(event),
            "m.room.member" if event.is_state() => self.member(event),
            "m.room.encryption" if event.is_state() => self.room(&event.room).encrypted = true,
            "m.room.tombstone" if event.is_state() => self.tombstone(event),
            "m.room.message" | "m.sticker" if !event.is_state() => self.message(event),
            "m.room.encrypted" if !event.is_state() => self.unreadable(event),
            "m.reaction" if !event.is_state() => self.reaction(event),
            "m.room.redaction" if !event.is_state() => self.redaction(event),
            _ => {}
        }
        if self.knows(&event.room) {
            self.room(&event.room).last = Some(event.id.clone());
        }
    }

    /// The room as this transaction has it so far, to be changed.
    fn room(&mut self, room: &RoomId) -> &mut Room {
        let known = || self.machine.rooms.get(room).cloned().unwrap_or_default();
        self.staged.rooms.entry(room.clone()).or_insert_with(known)
    }

    fn known(&self, room: &RoomId) -> Option<&Room> {
        self.staged.rooms.get(room).or_else(|| self.machine.rooms.get(room))
    }

    fn knows(&self, room: &RoomId) -> bool {
        self.known(room).is_some()
    }

    /// The room in which the conversation of this room began.
    fn base(&self, room: &RoomId) -> RoomId {
        let staged = self.staged.places.iter().find(|(_, place)| *place == room).map(|(base, _)| base);
        staged.unwrap_or_else(|| self.machine.rooms.base_of(room)).clone()
    }

    fn thread(&self, room: &RoomId) -> Option<ThreadId> {
        self.base(room).thread()
    }

    fn profile(&self, user: &UserId) -> Profile {
        self.staged.people.get(user).or_else(|| self.machine.people.get(user)).cloned().unwrap_or_default()
    }

    fn name(&self, user: &UserId) -> String {
        crate::render::display_name(self.profile(user).name.as_deref().unwrap_or_default(), user.as_str())
    }

    fn report(&mut self, event: &Event, report: Report) {
        let Some(thread) = self.thread(&event.room) else { return };
        let at_millis = self.moment(event.at_millis, event.id.as_str());
        self.staged.inbound.push(Inbound { event: EventId::from(event.id.as_str()), at_millis, thread, report });
    }

    fn note(&mut self, event: &Event, text: String) {
        self.report(event, Report::Note { text, see: None });
    }

    /// The event's own moment, the same at every report of it. Events are remembered by their moments, so one that
    /// is far off is given a moment which is never forgotten, spread by the event's id.
    fn moment(&self, at_millis: i64, id: &str) -> i64 {
        // However far ahead of us: our own clock may be the one that is behind, and may be set before it is told again.
        if (self.now_millis - AGE_MAX_MILLIS..NEVER_FORGOTTEN).contains(&at_millis) {
            return at_millis;
        }
        let spread = id.bytes().fold(0_i64, |sum, b| (sum * 31 + i64::from(b)) % 1_000_000_007);
        NEVER_FORGOTTEN + spread
    }

    fn author(&self, event: &EventRef) -> Option<(&RoomId, &Author)> {
        let staged =
            self.staged.recent.iter().rev().find(|(id, ..)| id == event).map(|(_, room, author)| (room, author));
        staged.or_else(|| self.machine.recent.get(event))
    }
}

/// Markdown that shows just this text.
pub(crate) fn literal(text: &str) -> String {
    crate::render::to_markdown(&crate::render::Content { body: text, ..crate::render::Content::default() })
}

/// Markdown that says whose words these are, the name in `marks`. A list, quote or table needs a line of its own.
pub(crate) fn said_by(name: &str, marks: &str, markdown: &str) -> String {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let first = Parser::new_ext(markdown, Options::ENABLE_TABLES).next();
    let gap = if matches!(first, Some(Event::Start(Tag::Paragraph)) | None) { " " } else { "\n\n" };
    format!("{marks}{}:{marks}{gap}{markdown}", literal(name))
}

/// The key that one of our events bears.
fn key_of(content: &serde_json::Value) -> Option<Key> {
    crate::wire::text(content, &[KEY_MARK]).map(Key::from)
}
