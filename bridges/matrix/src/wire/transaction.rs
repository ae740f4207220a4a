//! A transaction: what a homeserver hands over at once, however it comes.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, value::RawValue};

use super::{Event, read_event};
use crate::ids::{EventRef, RoomId, UserId};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transaction {
    pub(crate) events: Vec<Event>,
    pub(crate) ephemeral: Vec<Ephemeral>,
}

/// What is worth nothing a moment later. Has no id and may come twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ephemeral {
    /// Everybody who types in the room now.
    Typing {
        room: RoomId,
        users: Vec<UserId>,
    },
    Receipts {
        room: RoomId,
        seen: Vec<Seen>,
    },
}

/// Somebody has read up to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) event: EventRef,
    pub(crate) user: UserId,
    /// Unix milliseconds.
    pub(crate) at_millis: i64,
}

/// The fields of a transaction, in an HTTP body or beside a frame's `command`. The stable name of a field
/// counts before the one it had while it was a proposal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    events: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ephemeral: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "de.sorunome.msc2409.ephemeral")]
    ephemeral_unstable: Option<&'a RawValue>,
}

/// Only a JSON object: a derived reader would take an array for one.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keyed<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keyed<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Keyed(PhantomData)).map(Self)
    }
}

/// The body is no transaction at all.
pub(crate) fn read_body(body: &[u8]) -> Result<Transaction, serde_json::Error> {
    let Object(fields) = serde_json::from_slice::<Object<Fields<'_>>>(body)?;
    Ok(fields.read())
}

impl Fields<'_> {
    pub(super) fn read(&self) -> Transaction {
        let mut transaction = Transaction::default();
        for raw in list(self.events) {
            match serde_json::from_str(raw.get()).map_err(|_| "it cannot be read").and_then(|v| read_event(v, None)) {
                Ok(event) => transaction.events.push(event),
                Err(reason) => tracing::warn!(reason, "an odd event is skipped"),
            }
        }
        for raw in list(self.ephemeral.or(self.ephemeral_unstable)) {
            if let Ok(value) = serde_json::from_str::<Value>(raw.get()) {
                transaction.ephemeral.extend(read_ephemeral(&value, None));
            }
        }
        transaction
    }
}

fn list(raw: Option<&RawValue>) -> Vec<&RawValue> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// `None` for kinds that nobody needs and for what is odd.
pub(super) fn read_ephemeral(value: &Value, room: Option<&RoomId>) -> Option<Ephemeral> {
    let room = room.cloned().or_else(|| super::text(value, &["room_id"]).map(RoomId::from))?;
    let content = value.get("content")?;
    match super::text(value, &["type"])? {
        "m.typing" => {
            let users = content.get("user_ids")?.as_array()?.iter().filter_map(Value::as_str).map(UserId::from);
            Some(Ephemeral::Typing { room, users: users.collect() })
        }
        "m.receipt" => {
            let seen = content.as_object()?.iter().flat_map(|(event, kinds)| seen_by(event, kinds)).collect();
            Some(Ephemeral::Receipts { room, seen })
        }
        _ => None,
    }
}

fn seen_by(event: &str, kinds: &Value) -> Vec<Seen> {
    let readers = kinds.get("m.read").and_then(Value::as_object);
    let seen = |(user, facts): (&String, &Value)| Seen {
        event: EventRef::from(event),
        user: UserId::from(user.as_str()),
        at_millis: facts.get("ts").and_then(Value::as_i64).unwrap_or_default(),
    };
    readers.into_iter().flatten().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_event_does_not_take_the_others_with_it() {
        let body = br#"{"events":[
            {"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","origin_server_ts":1,"content":{}},
            7, {"type":"m.room.message"}, {"type":1.5},
            {"type":"x","event_id":"$2","room_id":"!r","sender":"@a:b","origin_server_ts":1e300,"content":{"n":1.5}}],
            "ephemeral":[{"type":"m.typing"},{"type":"m.typing","room_id":"!r","content":{"user_ids":["@a:b",3]}}],
            "de.sorunome.msc2409.ephemeral":[{"type":"m.typing","room_id":"!twice","content":{"user_ids":[]}}]}"#;
        let read = read_body(body).unwrap();
        assert_eq!(read.events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["$1", "$2"]);
        let typing = Ephemeral::Typing { room: "!r".into(), users: vec!["@a:b".into()] };
        assert_eq!(read.ephemeral, [typing], "the stable name alone counts");
        assert_eq!(read_body(br#"{"events":{}}"#).unwrap(), Transaction::default());
        assert!(read_body(b"[]").is_err());
        assert!(read_body(b"{\"events\":[").is_err());
    }

    #[test]
    fn receipts_are_read_by_event_and_user() {
        let value = serde_json::json!({"type": "m.receipt", "content":
            {"$e": {"m.read": {"@kim:s": {"ts": 5}}, "m.read.private": {"@me:s": {"ts": 6}}}}});
        let seen = Seen { event: "$e".into(), user: "@kim:s".into(), at_millis: 5 };
        let expected = Ephemeral::Receipts { room: "!r".into(), seen: vec![seen] };
        assert_eq!(read_ephemeral(&value, Some(&"!r".into())), Some(expected));
    }
}
