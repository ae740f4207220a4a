//! What the frames of the two dialects look like. Pure.

use serde_json::{Map, Value, json};

/// What wsproxy knows of an event; it decodes every event and encodes it again.
const KNOWN: [&str; 9] =
    ["type", "event_id", "room_id", "sender", "state_key", "origin_server_ts", "content", "redacts", "unsigned"];
const EPHEMERAL_UNSTABLE: &str = "de.sorunome.msc2409.ephemeral";

/// Whose server it is that the gateway talks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A thin pipe: no acknowledgements, no queue.
    Wsproxy,
    /// A queue with acknowledgements. It stands for the homeserver's API as well.
    Asmux,
}

/// What the homeserver pushed.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) body: Value,
}

impl Transaction {
    fn events(&self) -> Vec<Value> {
        list(&self.body, "events")
    }

    fn ephemeral(&self) -> Vec<Value> {
        let stable = list(&self.body, "ephemeral");
        if stable.is_empty() { list(&self.body, EPHEMERAL_UNSTABLE) } else { stable }
    }

    /// For the log.
    pub(super) fn event_ids(&self) -> Vec<String> {
        let id = |event: &Value| event["event_id"].as_str().map(ToOwned::to_owned);
        self.events().iter().filter_map(id).collect()
    }
}

fn list(body: &Value, name: &str) -> Vec<Value> {
    body[name].as_array().cloned().unwrap_or_default()
}

pub(super) fn welcome(dialect: Dialect) -> Value {
    match dialect {
        Dialect::Wsproxy => json!({ "status": "connected" }),
        Dialect::Asmux => json!({ "command": "connect", "status": "connected" }),
    }
}

/// The only frame of a transaction that wsproxy ever writes.
pub(super) fn piped(transaction: &Transaction) -> Value {
    let events: Vec<_> = transaction.events().into_iter().map(encoded_again).collect();
    let ephemeral = transaction.ephemeral();
    let mut frame = json!({ "status": "ok", "txn_id": transaction.id, "events": events });
    if !ephemeral.is_empty() {
        frame["ephemeral"] = json!(ephemeral);
    }
    frame
}

fn encoded_again(event: Value) -> Value {
    let Value::Object(event) = event else { return event };
    let mut event: Map<_, _> = event.into_iter().filter(|(name, _)| KNOWN.contains(&name.as_str())).collect();
    let unsigned = event.entry("unsigned").or_insert_with(|| json!({}));
    unsigned["m.relations"] = json!({ "m.annotation": {}, "m.reference": {}, "m.replace": {} });
    if let Some(state) = unsigned["invite_room_state"].as_array_mut() {
        for event in state.iter_mut().filter_map(Value::as_object_mut) {
            event.remove("sender");
        }
    } else if let Some(unsigned) = unsigned.as_object_mut() {
        unsigned.remove("invite_room_state");
    }
    Value::Object(event)
}

/// Several transactions in one frame, as asmux takes them from its queue.
pub(super) fn queued(id: u64, transactions: &[Transaction]) -> Value {
    let ids: Vec<_> = transactions.iter().map(|transaction| transaction.id.as_str()).collect();
    let events: Vec<_> = transactions.iter().flat_map(Transaction::events).collect();
    let ephemeral: Vec<_> = transactions.iter().flat_map(Transaction::ephemeral).collect();
    json!({
        "command": "transaction", "id": id, "status": "ok", "txn_id": ids.join(","), "data": {},
        "events": events, "ephemeral": ephemeral,
    })
}

pub(super) fn answer(id: u64, data: &Value) -> Value {
    json!({ "command": "response", "id": id, "data": data })
}

pub(super) fn unknown_command(dialect: Dialect, id: u64) -> Value {
    let data = match dialect {
        Dialect::Wsproxy => json!({ "message": "unknown command" }),
        Dialect::Asmux => json!({ "code": "M_UNKNOWN", "message": "unknown command" }),
    };
    json!({ "command": "error", "id": id, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(id: &str, text: &str) -> Transaction {
        let invite = json!({ "invite_room_state": [{ "type": "m.room.create", "sender": "@kim:hs.test" }], "age": 1 });
        let event = json!({
            "type": "m.room.message", "event_id": format!("${id}"), "room_id": "!r", "sender": "@kim:hs.test", "age": 1,
            "origin_server_ts": 1, "content": { "body": text, "x": 1 }, "user_id": "@kim:hs.test", "unsigned": invite,
        });
        Transaction { id: id.to_owned(), body: json!({ "events": [event], "ephemeral": [{ "type": "m.typing" }] }) }
    }

    #[test]
    fn the_pipe_keeps_of_an_event_only_what_it_knows() {
        let frame = piped(&transaction("806", "hi"));
        let none = json!({ "m.annotation": {}, "m.reference": {}, "m.replace": {} });
        let unsigned = json!({ "age": 1, "invite_room_state": [{ "type": "m.room.create" }], "m.relations": none });
        let expected = json!({
            "status": "ok", "txn_id": "806", "ephemeral": [{ "type": "m.typing" }],
            "events": [{
                "type": "m.room.message", "event_id": "$806", "room_id": "!r", "sender": "@kim:hs.test",
                "origin_server_ts": 1, "content": { "body": "hi", "x": 1 }, "unsigned": unsigned,
            }],
        });
        assert_eq!(frame, expected);
    }

    #[test]
    fn the_queue_joins_the_ids_of_what_it_merges() {
        let frame = queued(3, &[transaction("41", "one"), transaction("42", "two")]);
        assert_eq!(
            (&frame["txn_id"], &frame["id"], &frame["command"]),
            (&json!("41,42"), &json!(3), &json!("transaction"))
        );
        assert_eq!(frame["events"].as_array().map(Vec::len), Some(2));
        assert_eq!(frame["events"][0]["user_id"], "@kim:hs.test", "passed on as it is");
    }
}
