//! The answer of `/sync`, brought into the form of a transaction.

use serde_json::{Value, json};

use super::{Transaction, read_event, text, transaction::read_ephemeral};
use crate::ids::{RoomId, UserId};

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Synced {
    /// Where the next one begins.
    pub(crate) next: String,
    pub(crate) transaction: Transaction,
    /// Rooms of which not all events since the last one are here, with the place from which to read back.
    pub(crate) gaps: Vec<(RoomId, String)>,
}

/// `me` is who asked: an invite's event names nobody else.
pub(crate) fn read_sync(value: &Value, me: &UserId) -> Option<Synced> {
    let mut synced = Synced { next: text(value, &["next_batch"])?.to_owned(), ..Synced::default() };
    let rooms = |kind: &str| value.get("rooms").and_then(|rooms| rooms.get(kind)).and_then(Value::as_object);
    for (room, facts) in rooms("invite").into_iter().flatten() {
        let state = facts.get("invite_state").and_then(|state| state.get("events")).cloned().unwrap_or_default();
        synced.transaction.events.extend(invite(&RoomId::from(room.as_str()), &state, me));
    }
    for (room, facts) in rooms("join").into_iter().flatten() {
        let room = RoomId::from(room.as_str());
        if facts["timeline"]["limited"] == Value::Bool(true)
            && let Some(before) = text(facts, &["timeline", "prev_batch"])
        {
            synced.gaps.push((room.clone(), before.to_owned()));
        }
        take_events(&mut synced.transaction, &room, facts, &["state", "timeline"]);
        for value in events(facts, "ephemeral") {
            synced.transaction.ephemeral.extend(read_ephemeral(value, Some(&room)));
        }
    }
    for (room, facts) in rooms("leave").into_iter().flatten() {
        take_events(&mut synced.transaction, &RoomId::from(room.as_str()), facts, &["state", "timeline"]);
    }
    Some(synced)
}

fn events<'v>(facts: &'v Value, part: &str) -> impl Iterator<Item = &'v Value> {
    facts.get(part).and_then(|part| part.get("events")).and_then(Value::as_array).into_iter().flatten()
}

fn take_events(transaction: &mut Transaction, room: &RoomId, facts: &Value, parts: &[&str]) {
    for value in parts.iter().flat_map(|part| events(facts, part)) {
        match read_event(value.clone(), Some(room)) {
            Ok(event) => transaction.events.push(event),
            Err(reason) => tracing::warn!(room = room.as_str(), reason, "an odd event is skipped"),
        }
    }
}

/// The invite's own event is among the stripped state, without an id and a moment: whoever handles it needs
/// neither, so both are made up of what is the same at each report.
fn invite(room: &RoomId, state: &Value, me: &UserId) -> Option<super::Event> {
    let of_me = |event: &&Value| {
        text(event, &["type"]) == Some("m.room.member") && text(event, &["state_key"]) == Some(me.as_str())
    };
    let invite = state.as_array()?.iter().find(of_me)?;
    let mut event = json!({
        "event_id": format!("$invite-to-{}", room.as_str()),
        "origin_server_ts": 0,
        "unsigned": { "invite_room_state": state },
    });
    for key in ["type", "sender", "state_key", "content"] {
        event[key] = invite.get(key).cloned().unwrap_or_default();
    }
    read_event(event, Some(room)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_becomes_a_transaction() {
        let message = json!({"type": "m.room.message", "event_id": "$1", "sender": "@kim:s", "origin_server_ts": 5,
            "content": {"msgtype": "m.text", "body": "hi"}});
        let answer = json!({
            "next_batch": "s2",
            "rooms": {
                "invite": {"!i": {"invite_state": {"events": [
                    {"type": "m.room.member", "state_key": "@kim:s", "sender": "@kim:s", "content": {"membership": "join"}},
                    {"type": "m.room.member", "state_key": "@me:s", "sender": "@kim:s", "content": {"membership": "invite"}},
                ]}}},
                "join": {"!j": {
                    "timeline": {"limited": true, "prev_batch": "p1", "events": [message]},
                    "ephemeral": {"events": [{"type": "m.typing", "content": {"user_ids": ["@kim:s"]}}]}}},
                "leave": {"!l": {"timeline": {"events": [
                    {"type": "m.room.member", "event_id": "$k", "sender": "@kim:s", "state_key": "@me:s", "origin_server_ts": 6,
                     "content": {"membership": "leave"}}]}}},
            }
        });
        let synced = read_sync(&answer, &"@me:s".into()).unwrap();
        assert_eq!((synced.next.as_str(), synced.gaps.as_slice()), ("s2", [("!j".into(), "p1".to_owned())].as_slice()));
        let seen: Vec<_> = synced.transaction.events.iter().map(|e| (e.room.as_str(), e.kind.as_str())).collect();
        assert_eq!(seen, [("!i", "m.room.member"), ("!j", "m.room.message"), ("!l", "m.room.member")]);
        assert!(synced.transaction.events[0].unsigned["invite_room_state"].is_array());
        assert_eq!(synced.transaction.ephemeral.len(), 1);
        assert_eq!(read_sync(&json!({}), &"@me:s".into()), None);
    }
}
