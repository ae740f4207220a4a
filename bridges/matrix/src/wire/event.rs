//! One event of a room, and how it relates to another.

use serde_json::{Map, Value};

use super::text;
use crate::ids::{EventRef, RoomId, UserId};

/// The specification's limit for every id.
const ID_BYTES_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: EventRef,
    pub(crate) room: RoomId,
    pub(crate) sender: UserId,
    /// `origin_server_ts`, by the sender's server: may be anything. Unix milliseconds.
    pub(crate) at_millis: i64,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
    pub(crate) redacts: Option<EventRef>,
    pub(crate) unsigned: Value,
}

/// What `m.relates_to` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    None,
    Edit(EventRef),
    Reply(EventRef),
    /// A message in a thread, perhaps itself a reply.
    Thread {
        root: EventRef,
        reply: Option<EventRef>,
    },
    Reaction {
        to: EventRef,
        sign: String,
    },
}

/// Reads an event; `room` where the place it came from says it. The error names what is wrong.
pub(crate) fn read_event(value: Value, room: Option<&RoomId>) -> Result<Event, &'static str> {
    let Value::Object(mut map) = value else { return Err("it is no object") };
    let id = id_of(&map, "event_id", '$').ok_or("its event_id is missing or odd")?;
    let room = match room {
        Some(room) => room.clone(),
        None => RoomId::new(id_of(&map, "room_id", '!').ok_or("its room_id is missing or odd")?),
    };
    let sender = id_of(&map, "sender", '@').filter(|id| id.contains(':')).ok_or("its sender is missing or odd")?;
    let (id, sender) = (EventRef::new(id), UserId::new(sender));
    let kind = map.get("type").and_then(Value::as_str).ok_or("its type is missing")?.to_owned();
    let at_millis = map.get("origin_server_ts").and_then(millis).ok_or("its origin_server_ts is missing or odd")?;
    let content = map.remove("content").filter(Value::is_object).ok_or("its content is missing or no object")?;
    let state_key = map.get("state_key").and_then(Value::as_str).map(str::to_owned);
    let redacts = text(&content, &["redacts"]).or_else(|| map.get("redacts").and_then(Value::as_str));
    let redacts = redacts.map(EventRef::from);
    let unsigned = map.remove("unsigned").unwrap_or_default();
    Ok(Event { kind, id, room, sender, at_millis, state_key, content, redacts, unsigned })
}

fn id_of(map: &Map<String, Value>, key: &str, sigil: char) -> Option<String> {
    let id = map.get(key)?.as_str()?;
    let fit = id.starts_with(sigil) && id.len() <= ID_BYTES_MAX && !id.chars().any(|c| c.is_control() || c == ' ');
    fit.then(|| id.to_owned())
}

/// Whole numbers only: canonical JSON has no others, but a lenient server may pass them on.
fn millis(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().filter(|n| n.is_finite()).map(|n| n as i64))
}

impl Event {
    pub(crate) fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    /// Of a member's event: somebody who was not in the room is invited, or comes in.
    pub(crate) fn brings_in(&self) -> bool {
        match text(&self.content, &["membership"]) {
            Some("invite") => true,
            Some("join") => text(&self.unsigned, &["prev_content", "membership"]) != Some("join"),
            _ => false,
        }
    }

    /// Taken back before it reached us.
    pub(crate) fn was_redacted(&self) -> bool {
        self.unsigned.get("redacted_because").is_some()
    }

    pub(crate) fn relation(&self) -> Relation {
        relation(&self.content)
    }
}

fn relation(content: &Value) -> Relation {
    let Some(relates) = content.get("m.relates_to") else { return Relation::None };
    let event = || text(relates, &["event_id"]).map(EventRef::from);
    let reply = || text(relates, &["m.in_reply_to", "event_id"]).map(EventRef::from);
    match (text(relates, &["rel_type"]), event()) {
        (Some("m.replace"), Some(first)) => Relation::Edit(first),
        (Some("m.annotation"), Some(to)) => {
            text(relates, &["key"]).map_or(Relation::None, |sign| Relation::Reaction { to, sign: sign.to_owned() })
        }
        (Some("m.thread"), Some(root)) => {
            let falls_back = relates.get("is_falling_back") == Some(&Value::Bool(true));
            Relation::Thread { root, reply: reply().filter(|_| !falls_back) }
        }
        _ => reply().map_or(Relation::None, Relation::Reply),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "type": "m.room.message", "event_id": "$1", "room_id": "!r", "sender": "@kim:shop.example",
            "origin_server_ts": 1_795_000_000_000_i64, "content": {"msgtype": "m.text", "body": "hi"}, "age": 5
        })
    }

    #[test]
    fn each_field_that_is_missing_or_odd_is_named() {
        assert!(read_event(whole(), None).is_ok());
        let cases = [
            ("type", json!(7)),
            ("event_id", json!("1")),
            ("event_id", json!("$with space")),
            ("room_id", json!(null)),
            ("sender", json!("@kim")),
            ("sender", json!("$kim:x")),
            ("origin_server_ts", json!("soon")),
            ("content", json!([])),
        ];
        for (key, odd) in cases {
            let mut event = whole();
            event[key] = odd.clone();
            assert!(read_event(event, None).unwrap_err().contains(key), "{key} {odd}");
            let mut event = whole();
            event.as_object_mut().unwrap().remove(key);
            assert!(read_event(event, None).unwrap_err().contains(key), "{key}");
        }
        assert!(read_event(json!("text"), None).is_err());
        let mut floating = whole();
        floating["origin_server_ts"] = json!(1.5e12);
        assert_eq!(read_event(floating, None).unwrap().at_millis, 1_500_000_000_000);
    }

    #[test]
    fn relations_are_told_apart() {
        let id = EventRef::from;
        let cases = [
            (json!({}), Relation::None),
            (json!({"m.relates_to": {"m.in_reply_to": {"event_id": "$o"}}}), Relation::Reply(id("$o"))),
            (json!({"m.relates_to": {"rel_type": "m.replace", "event_id": "$o"}}), Relation::Edit(id("$o"))),
            (
                json!({"m.relates_to": {"rel_type": "m.thread", "event_id": "$r", "is_falling_back": true,
                    "m.in_reply_to": {"event_id": "$l"}}}),
                Relation::Thread { root: id("$r"), reply: None },
            ),
            (
                json!({"m.relates_to": {"rel_type": "m.thread", "event_id": "$r", "m.in_reply_to": {"event_id": "$l"}}}),
                Relation::Thread { root: id("$r"), reply: Some(id("$l")) },
            ),
            (
                json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$o", "key": "👍"}}),
                Relation::Reaction { to: id("$o"), sign: "👍".into() },
            ),
            (json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$o"}}), Relation::None),
            (json!({"m.relates_to": "odd"}), Relation::None),
        ];
        for (content, expected) in cases {
            assert_eq!(relation(&content), expected, "{content}");
        }
    }
}
