//! Everything the homeserver holds: accounts, tokens, rooms, one log of events, and what waits for the appservice.
//!
//! Knows no HTTP and never waits: one mutex around it is enough.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::HomeserverSettings;
use super::errors::MatrixError;
use super::outbox::{Outbox, Pushed};
use super::room::{Event, Room};

/// Events of one homeserver; a stand-in that holds more is being used for something else.
const EVENTS_MAX: usize = 500_000;
/// The first transaction ids are not 1: nobody may count on it.
const FIRST_TRANSACTION: u64 = 803;

#[derive(Debug, Default, Clone)]
pub(super) struct User {
    pub(super) displayname: Option<String>,
    pub(super) avatar_url: Option<String>,
    pub(super) password: Option<String>,
    pub(super) filters: Vec<Value>,
    /// By room (none for the account itself) and type.
    pub(super) account_data: BTreeMap<(String, String), Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) user: String,
    pub(super) device: String,
}

#[derive(Debug, Clone)]
pub(super) struct Medium {
    pub(super) content_type: String,
    pub(super) name: Option<String>,
    pub(super) bytes: Bytes,
}

pub(super) struct House {
    pub(super) settings: HomeserverSettings,
    pub(super) now_ms: i64,
    pub(super) random: fastrand::Rng,
    /// Counts everything that `/sync` can tell: events, typing, receipts.
    pub(super) pos: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) tokens: HashMap<String, Access>,
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) log: BTreeMap<u64, Event>,
    pub(super) by_id: HashMap<String, u64>,
    /// The first answer to each (path, requester): a repeated request gets it again.
    pub(super) sent: HashMap<(String, String), String>,
    pub(super) media: HashMap<String, Medium>,
    pub(super) outbox: Outbox,
}

impl House {
    pub(super) fn new(settings: HomeserverSettings) -> Self {
        let random = fastrand::Rng::with_seed(settings.seed ^ 0x4057);
        let mut house = Self {
            now_ms: 0,
            random,
            pos: 0,
            users: BTreeMap::new(),
            tokens: HashMap::new(),
            rooms: BTreeMap::new(),
            log: BTreeMap::new(),
            by_id: HashMap::new(),
            sent: HashMap::new(),
            media: HashMap::new(),
            outbox: Outbox::new(settings.dialect, FIRST_TRANSACTION),
            settings,
        };
        house.outbox.pushes = house.settings.push_url.is_some();
        // An address is taken to answer until it does not.
        house.outbox.connected = house.outbox.pushes;
        // Synapse knows an appservice's sender without a registration.
        let sender = house.settings.sender();
        house
            .users
            .insert(sender, User { displayname: Some(house.settings.sender_localpart.clone()), ..User::default() });
        house
    }

    pub(super) fn user_id(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.settings.server_name)
    }

    /// Letters of base64url: what ids of events, rooms and tokens are made of.
    pub(super) fn opaque(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..length).map(|_| char::from(LETTERS[self.random.usize(..LETTERS.len())])).collect()
    }

    /// Letters alone: ids of media and of old rooms.
    pub(super) fn letters(&mut self, length: usize) -> String {
        (0..length).map(|_| self.random.alphabetic()).collect()
    }

    pub(super) fn room(&self, id: &str) -> Result<&Room, MatrixError> {
        self.rooms.get(id).ok_or_else(|| MatrixError::missing("Unknown room"))
    }

    /// The room, for somebody who has to be in it.
    pub(super) fn room_of(&self, id: &str, user: &str) -> Result<&Room, MatrixError> {
        let outside = || MatrixError::forbidden(format!("User {user} not in room {id}"));
        let room = self.rooms.get(id).ok_or_else(outside)?;
        if room.is_joined(user) { Ok(room) } else { Err(outside()) }
    }

    pub(super) fn event(&self, id: &str) -> Option<&Event> {
        self.log.get(self.by_id.get(id)?)
    }

    pub(super) fn state_event(&self, room: &Room, kind: &str, key: &str) -> Option<&Event> {
        self.log.get(room.state.get(&(kind.to_owned(), key.to_owned()))?)
    }

    pub(super) fn next_pos(&mut self) -> u64 {
        self.pos += 1;
        self.pos
    }

    /// Writes an event of a client or of the server itself into the log, and tells whoever wants to know.
    pub(super) fn append(&mut self, room: &str, mut json: Map<String, Value>) -> Result<String, MatrixError> {
        if self.log.len() >= EVENTS_MAX {
            return Err(MatrixError::forbidden("This stand-in is full").with("limit", json!(EVENTS_MAX)));
        }
        let id = format!("${}", self.opaque(43));
        json.insert("event_id".to_owned(), json!(id));
        json.insert("room_id".to_owned(), json!(room));
        json.entry("origin_server_ts").or_insert_with(|| json!(self.now_ms));
        let mut unsigned = Map::new();
        if let Some(before) = self.replaced_by(room, &json) {
            unsigned.insert("prev_content".to_owned(), before.content().clone());
            unsigned.insert("replaces_state".to_owned(), json!(before.id()));
            unsigned.insert("prev_sender".to_owned(), json!(before.sender()));
        }
        if json["type"] == "m.room.member" && json["content"]["membership"] == "invite" {
            unsigned.insert("invite_room_state".to_owned(), self.stripped(room, json["sender"].as_str()));
        }
        json.insert("unsigned".to_owned(), Value::Object(unsigned));
        self.put(room, json);
        Ok(id)
    }

    /// Puts an event into the log just as it is.
    pub(super) fn put(&mut self, room: &str, json: Map<String, Value>) -> u64 {
        let pos = self.next_pos();
        let event = Event { pos, room: room.to_owned(), at_ms: self.now_ms, json, transaction: None };
        if !event.id().is_empty() {
            self.by_id.insert(event.id().to_owned(), pos);
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.timeline.push(pos);
            if let Some(key) = event.state_key() {
                room.state.insert((event.kind().to_owned(), key.to_owned()), pos);
                match event.kind() {
                    "m.room.member" => {
                        let membership = event.content()["membership"].as_str().unwrap_or_default();
                        room.members.insert(key.to_owned(), membership.to_owned());
                        if membership != "join" {
                            room.typing.remove(key);
                        }
                    }
                    "m.room.power_levels" => room.power = Some(event.content().clone()),
                    _ => {}
                }
            }
        }
        if self.concerns_appservice(&event) {
            self.outbox.push(Pushed::Event(pos));
        }
        self.log.insert(pos, event);
        pos
    }

    fn replaced_by(&self, room: &str, json: &Map<String, Value>) -> Option<&Event> {
        let key = json.get("state_key")?.as_str()?;
        self.state_event(self.rooms.get(room)?, json.get("type")?.as_str()?, key)
    }

    /// From us, about us, or in a room that one of us is in: what came before the join is not told.
    fn concerns_appservice(&self, event: &Event) -> bool {
        let ours = |user: &str| self.settings.owns(user);
        let target = event.kind() == "m.room.member" && event.state_key().is_some_and(ours);
        ours(event.sender()) || target || self.is_watched(&event.room)
    }

    pub(super) fn is_watched(&self, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.joined().any(|user| self.settings.owns(user)))
    }

    /// The state that an invitation shows.
    pub(super) fn stripped(&self, room: &str, inviter: Option<&str>) -> Value {
        const SHOWN: [&str; 7] = [
            "m.room.create",
            "m.room.join_rules",
            "m.room.canonical_alias",
            "m.room.avatar",
            "m.room.encryption",
            "m.room.name",
            "m.room.topic",
        ];
        let Some(room) = self.rooms.get(room) else { return json!([]) };
        let shown = SHOWN.into_iter().map(|kind| (kind, "")).chain(inviter.map(|inviter| ("m.room.member", inviter)));
        shown.filter_map(|(kind, key)| self.state_event(room, kind, key)).map(Event::stripped).collect()
    }

    pub(super) fn note_transaction(&mut self, event: &str, access: &str, transaction: &str) {
        if let Some(event) = self.by_id.get(event).and_then(|pos| self.log.get_mut(pos)) {
            event.transaction = Some((access.to_owned(), transaction.to_owned()));
        }
    }
}
