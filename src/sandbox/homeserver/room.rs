//! A room and an event as the homeserver keeps them, and the rules of power. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Keys of state: the event's type and its state key.
pub(super) type StateKey = (String, String);

/// Creators of a room of version 12 stand above every number.
pub(super) const ABOVE_ALL: i64 = i64::MAX;

/// One entry of the log. Its JSON may be anything at all, since tests put in what no server would.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) pos: u64,
    pub(super) room: String,
    /// When it came in, which its own time stamp need not say.
    pub(super) at_ms: i64,
    pub(super) json: Map<String, Value>,
    /// Who sent it by which transaction id: told to that device alone.
    pub(super) transaction: Option<(String, String)>,
}

impl Event {
    pub(super) fn text(&self, key: &str) -> &str {
        self.json.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn kind(&self) -> &str {
        self.text("type")
    }

    pub(super) fn sender(&self) -> &str {
        self.text("sender")
    }

    pub(super) fn id(&self) -> &str {
        self.text("event_id")
    }

    pub(super) fn state_key(&self) -> Option<&str> {
        self.json.get("state_key")?.as_str()
    }

    pub(super) fn content(&self) -> &Value {
        self.json.get("content").unwrap_or(&Value::Null)
    }

    /// As a client sees it.
    pub(super) fn shown(&self, now_ms: i64, access: Option<&str>) -> Value {
        let mut json = self.json.clone();
        let unsigned = json.entry("unsigned").or_insert_with(|| json!({}));
        if let Some(unsigned) = unsigned.as_object_mut() {
            unsigned.insert("age".to_owned(), json!((now_ms - self.at_ms).max(0)));
            if let Some((owner, id)) = &self.transaction
                && Some(owner.as_str()) == access
            {
                unsigned.insert("transaction_id".to_owned(), json!(id));
            }
        }
        Value::Object(json)
    }

    /// What somebody who is not in the room sees of its state.
    pub(super) fn stripped(&self) -> Value {
        let part = |key: &str| self.json.get(key).cloned().unwrap_or(Value::Null);
        json!({"type": part("type"), "state_key": part("state_key"), "sender": part("sender"), "content": part("content")})
    }
}

/// One user's typing or reading in one room.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) event: String,
    pub(super) ts: i64,
    pub(super) thread: Option<String>,
    pub(super) pos: u64,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) creators: Vec<String>,
    /// Positions in the log, ascending.
    pub(super) timeline: Vec<u64>,
    pub(super) state: BTreeMap<StateKey, u64>,
    /// `join`, `invite`, `leave` or `ban` of everybody who was ever told of.
    pub(super) members: BTreeMap<String, String>,
    pub(super) forgotten: BTreeSet<String>,
    /// Until when each user counts as typing.
    pub(super) typing: BTreeMap<String, i64>,
    pub(super) typing_pos: u64,
    /// By user and kind of receipt.
    pub(super) receipts: BTreeMap<(String, String), Receipt>,
    /// The content of `m.room.power_levels`, if there is one.
    pub(super) power: Option<Value>,
}

impl Room {
    pub(super) fn new(id: String, version: String, creators: Vec<String>) -> Self {
        Self {
            id,
            version,
            creators,
            timeline: Vec::new(),
            state: BTreeMap::new(),
            members: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            typing: BTreeMap::new(),
            typing_pos: 0,
            receipts: BTreeMap::new(),
            power: None,
        }
    }

    pub(super) fn membership(&self, user: &str) -> &str {
        self.members.get(user).map_or("", String::as_str)
    }

    pub(super) fn is_joined(&self, user: &str) -> bool {
        self.membership(user) == "join"
    }

    pub(super) fn joined(&self) -> impl Iterator<Item = &String> {
        self.members.iter().filter(|(_, membership)| *membership == "join").map(|(user, _)| user)
    }

    pub(super) fn typing_now(&self, now_ms: i64) -> Vec<&String> {
        self.typing.iter().filter(|(_, until)| **until > now_ms).map(|(user, _)| user).collect()
    }

    /// Whether creators are not named in the power levels and the id has no server.
    pub(super) fn has_creators_above_all(&self) -> bool {
        creators_above_all(&self.version)
    }

    pub(super) fn level_of(&self, user: &str) -> i64 {
        if self.has_creators_above_all() && self.creators.iter().any(|creator| creator == user) {
            return ABOVE_ALL;
        }
        let Some(power) = &self.power else {
            return if self.creators.first().is_some_and(|creator| creator == user) { 100 } else { 0 };
        };
        power["users"][user].as_i64().or_else(|| power["users_default"].as_i64()).unwrap_or(0)
    }

    /// What `ban`, `kick`, `redact` and `invite` need.
    pub(super) fn level_to(&self, deed: &str) -> i64 {
        let default = if deed == "invite" { 0 } else { 50 };
        self.power.as_ref().and_then(|power| power[deed].as_i64()).unwrap_or(default)
    }

    pub(super) fn level_to_send(&self, kind: &str, is_state: bool) -> i64 {
        let Some(power) = &self.power else { return 0 };
        let (default, floor) = if is_state { ("state_default", 50) } else { ("events_default", 0) };
        power["events"][kind].as_i64().or_else(|| power[default].as_i64()).unwrap_or(floor)
    }
}

/// True from room version 12 on.
pub(super) fn creators_above_all(version: &str) -> bool {
    version.parse::<u32>().is_ok_and(|version| version >= 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creators_of_version_twelve_stand_above_every_number() {
        let check = |version: &str, level| {
            let mut room = Room::new("!r".to_owned(), version.to_owned(), vec!["@kim:x".to_owned()]);
            room.power = Some(json!({"users": {"@sam:x": 50}, "users_default": 5}));
            assert_eq!(room.level_of("@kim:x"), level, "{version}");
            assert_eq!((room.level_of("@sam:x"), room.level_of("@ada:x")), (50, 5));
        };
        check("12", ABOVE_ALL);
        check("11", 5);
    }

    #[test]
    fn what_is_not_said_about_power_has_a_default() {
        let mut room = Room::new("!r".to_owned(), "11".to_owned(), vec!["@kim:x".to_owned()]);
        assert_eq!((room.level_of("@kim:x"), room.level_to_send("m.room.name", true)), (100, 0));
        room.power = Some(json!({"events": {"m.room.name": 30}, "invite": 40}));
        assert_eq!((room.level_to_send("m.room.name", true), room.level_to_send("m.room.topic", true)), (30, 50));
        assert_eq!(
            (room.level_to_send("m.room.message", false), room.level_to("invite"), room.level_to("kick")),
            (0, 40, 50)
        );
    }
}
