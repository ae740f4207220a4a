//! The envelope of the appservice websocket: one JSON object in each text frame.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::transaction::{Fields, Object, Transaction};

/// A frame from the server, understood as far as it can be without knowing what we asked.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// The greeting. Only one dialect gives it a command.
    Connected,
    /// `id` where an answer is wanted.
    Transaction { id: Option<u64>, transaction: Transaction, txn_id: Option<String> },
    /// An answer to the request of ours with this number.
    Answer { id: u64, outcome: Result<Value, String> },
    /// A request. `id` where an answer is wanted.
    Request { id: Option<u64>, command: String, data: Value },
    /// Nothing to do.
    Nothing,
}

/// The frame's own keys. A transaction's fields stand beside them.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    command: Option<Cow<'a, str>>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    txn_id: Option<Cow<'a, str>>,
}

impl Heard {
    /// Fails on what is no JSON object: the connection is then worth nothing.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        // A transaction is read in a second pass, since a flattened struct would copy every raw value.
        let Object(frame) = serde_json::from_str::<Object<Envelope<'_>>>(text)?;
        let id = frame.id.as_ref().and_then(Value::as_u64).filter(|id| *id > 0);
        let data = || frame.data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null);
        Ok(match (frame.command.as_deref(), id) {
            (Some("connect"), _) => Heard::Connected,
            (None, None) if frame.status.as_deref() == Some("connected") => Heard::Connected,
            (None | Some("" | "transaction"), id) => {
                let transaction = serde_json::from_str::<Fields<'_>>(text)?.read();
                Heard::Transaction { id, transaction, txn_id: frame.txn_id.map(Cow::into_owned) }
            }
            (Some("response"), Some(id)) => Heard::Answer { id, outcome: Ok(data()) },
            (Some("error"), Some(id)) => {
                let data = data();
                let said = super::text(&data, &["message"]).or_else(|| super::text(&data, &["code"]));
                Heard::Answer { id, outcome: Err(said.unwrap_or("no reason given").to_owned()) }
            }
            (Some("response" | "error"), None) => Heard::Nothing,
            (Some(command), id) => Heard::Request { id, command: command.to_owned(), data: data() },
        })
    }
}

/// A request of ours; without an `id` nobody answers it.
pub(crate) fn ask(id: Option<u64>, command: &str, data: &Value) -> String {
    match id {
        Some(id) => json!({ "command": command, "id": id, "data": data }),
        None => json!({ "command": command, "data": data }),
    }
    .to_string()
}

pub(crate) fn answer(id: u64, data: &Value) -> String {
    json!({ "command": "response", "id": id, "data": data }).to_string()
}

pub(crate) fn error_answer(id: u64, code: &str, message: &str) -> String {
    json!({ "command": "error", "id": id, "data": { "code": code, "message": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_are_understood() {
        let transaction = |id, txn_id: &str| Heard::Transaction {
            id,
            transaction: Transaction::default(),
            txn_id: Some(txn_id.to_owned()),
        };
        let request = |id, command: &str| Heard::Request { id, command: command.to_owned(), data: Value::Null };
        let cases = [
            (r#"{"status":"connected"}"#, Heard::Connected),
            (r#"{"command":"connect","status":"connected"}"#, Heard::Connected),
            (r#"{"status":"ok","txn_id":"806","events":[],"ephemeral":[]}"#, transaction(None, "806")),
            (
                r#"{"command":"transaction","id":12,"status":"ok","txn_id":"41,42","data":{},"events":[]}"#,
                transaction(Some(12), "41,42"),
            ),
            (
                r#"{"command":"response","id":4,"data":{"timestamp":1}}"#,
                Heard::Answer { id: 4, outcome: Ok(json!({"timestamp": 1})) },
            ),
            (
                r#"{"command":"error","id":4,"data":{"message":"unknown command"}}"#,
                Heard::Answer { id: 4, outcome: Err("unknown command".into()) },
            ),
            (r#"{"command":"error","id":4,"data":7}"#, Heard::Answer { id: 4, outcome: Err("no reason given".into()) }),
            (r#"{"command":"response"}"#, Heard::Nothing),
            (r#"{"command":"ping","id":7}"#, request(Some(7), "ping")),
            (r#"{"command":"start_dm","id":0}"#, request(None, "start_dm")),
            (r#"{"command":"start_dm","id":-1.5}"#, request(None, "start_dm")),
        ];
        for (text, expected) in cases {
            assert_eq!(Heard::read(text).unwrap(), expected, "{text}");
        }
        for text in ["", "[]", "7", "{", "{\"id\":", "null"] {
            assert!(Heard::read(text).is_err(), "{text}");
        }
    }
}
