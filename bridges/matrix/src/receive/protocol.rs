//! The appservice websocket without a socket: which frame means what, what we answer, and when we ask whether
//! anybody is there. Speaks both dialects of servers: those that want acknowledgements and those that do not.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    machine::Checkpoint,
    wire::{Heard, Transaction, answer, ask, error_answer, text},
};

/// Silence that a ping ends. A half-open link would lose messages in silence.
const PING_EVERY: Duration = Duration::from_secs(45);
const PONG_LIMIT: Duration = Duration::from_secs(10);
/// For how long a state that we told counts, seconds.
const STATE_TTL: u64 = 21_600;

/// What the driver has to do, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Act {
    Write(String),
    /// Hand it to the desk, then say how that went.
    Take {
        transaction: Transaction,
        ack: Option<Ack>,
    },
    /// Let our own HTTP routes answer, then say what they said.
    Proxy {
        id: Option<u64>,
        request: Value,
    },
    /// The connection is worth nothing any more.
    Close(String),
}

/// How a transaction is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    id: u64,
    txn_id: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Protocol {
    name: String,
    /// Our own requests; the server numbers its own.
    next_id: u64,
    pings: HashMap<u64, Instant>,
    heard: Instant,
}

impl Protocol {
    pub(crate) fn new(name: &str, now: Instant) -> Self {
        Self { name: name.to_owned(), next_id: 1, pings: HashMap::new(), heard: now }
    }

    /// One text frame.
    pub(crate) fn hear(&mut self, frame: &str, now: Instant, now_millis: i64) -> Vec<Act> {
        self.heard = now;
        let heard = match Heard::read(frame) {
            Ok(heard) => heard,
            Err(error) => return vec![Act::Close(format!("a frame is no JSON object: {error}"))],
        };
        match heard {
            Heard::Connected => vec![Act::Write(ask(None, "bridge_status", &self.state(now_millis)))],
            Heard::Transaction { id, transaction, txn_id } => {
                vec![Act::Take { transaction, ack: id.map(|id| Ack { id, txn_id }) }]
            }
            Heard::Answer { id, outcome } => {
                // An error says as well that somebody is there, but a server no longer ours says so by one.
                match (self.pings.remove(&id), outcome) {
                    (Some(_), Err(reason)) => vec![Act::Close(format!("the server refused a ping: {reason}"))],
                    _ => Vec::new(),
                }
            }
            Heard::Request { id, command, data } => self.asked(id, &command, data, now_millis),
            Heard::Nothing => Vec::new(),
        }
    }

    fn asked(&self, id: Option<u64>, command: &str, data: Value, now_millis: i64) -> Vec<Act> {
        match (command, id) {
            ("http_proxy", id) => vec![Act::Proxy { id, request: data }],
            ("ping", Some(id)) => {
                let mut all = self.state(now_millis);
                all["state_event"] = "RUNNING".into();
                let states = json!({ "bridgeState": all, "remoteState": { &self.name: self.state(now_millis) } });
                vec![Act::Write(answer(id, &states))]
            }
            ("syncproxy_error", Some(id)) => vec![Act::Write(answer(id, &json!({})))],
            (_, Some(id)) => vec![Act::Write(error_answer(id, "UNKNOWN_COMMAND", "unknown request type"))],
            (_, None) => Vec::new(),
        }
    }

    /// What the host said of a transaction. `None` where the server wants no answer, so that a failure cannot be
    /// told: only a new connection, and what is read back after it, brings the events again.
    pub(crate) fn taken(ack: Option<Ack>, taken: &Result<(), String>) -> Option<Act> {
        match (ack, taken) {
            (Some(Ack { id, txn_id }), Ok(())) => Some(Act::Write(answer(id, &json!({ "txn_id": txn_id })))),
            (Some(Ack { id, .. }), Err(reason)) => Some(Act::Write(error_answer(id, "STORE_FAILED", reason))),
            (None, Ok(())) => None,
            (None, Err(reason)) => Some(Act::Close(format!("a transaction could not be kept: {reason}"))),
        }
    }

    pub(crate) fn proxied(id: Option<u64>, status: u16, body: &Value) -> Option<Act> {
        let id = id?;
        Some(Act::Write(answer(
            id,
            &json!({ "status": status, "headers": { "Content-Type": ["application/json"] }, "body": body }),
        )))
    }

    /// What the clock asks for.
    pub(crate) fn tick(&mut self, now: Instant, now_millis: i64) -> Vec<Act> {
        if self.pings.values().any(|asked| now.saturating_duration_since(*asked) >= PONG_LIMIT) {
            return vec![Act::Close("the server did not answer a ping".to_owned())];
        }
        if self.pings.is_empty() && now.saturating_duration_since(self.heard) >= PING_EVERY {
            let id = self.next_id;
            self.next_id += 1;
            self.pings.insert(id, now);
            return vec![Act::Write(ask(Some(id), "ping", &json!({ "timestamp": now_millis })))];
        }
        Vec::new()
    }

    /// When to call [`tick`](Self::tick) next.
    pub(crate) fn wake(&self) -> Instant {
        let pong = self.pings.values().map(|asked| *asked + PONG_LIMIT).min();
        pong.unwrap_or(self.heard + PING_EVERY)
    }

    fn state(&self, now_millis: i64) -> Value {
        json!({
            "state_event": "CONNECTED", "timestamp": now_millis / 1000, "ttl": STATE_TTL, "source": "bridge",
            "remote_id": self.name, "remote_name": self.name,
        })
    }
}

/// What the person's client may be told: why is for operators, and may hold words of the inbox or of this machine.
const NOT_SHOWN: &str = "the message could not be shown to those who answer";

/// How far events of people came. There is one for each message, twice, so they are written without a detour.
pub(crate) fn checkpoints(step: &str, seen: &[(Checkpoint, Option<String>)], now_millis: i64) -> String {
    let checkpoints = seen.iter().map(|(one, reason)| told(step, one, reason.as_deref(), now_millis)).collect();
    let frame = Told { command: "message_checkpoint", data: AllTold { checkpoints } };
    serde_json::to_string(&frame).expect("plain data")
}

fn told<'a>(step: &'a str, checkpoint: &'a Checkpoint, reason: Option<&'a str>, now_millis: i64) -> OneTold<'a> {
    OneTold {
        event_id: checkpoint.event.as_str(),
        room_id: checkpoint.room.as_str(),
        event_type: &checkpoint.kind,
        message_type: checkpoint.msgtype.as_deref(),
        step,
        status: match (checkpoint.carried, reason) {
            (false, _) => "UNSUPPORTED",
            (true, None) => "SUCCESS",
            (true, Some(_)) => "PERM_FAILURE",
        },
        timestamp: now_millis,
        reported_by: "BRIDGE",
        retry_num: 0,
        info: reason.map(|_| NOT_SHOWN),
    }
}

#[derive(Serialize)]
struct Told<'a> {
    command: &'a str,
    data: AllTold<'a>,
}

#[derive(Serialize)]
struct AllTold<'a> {
    checkpoints: Vec<OneTold<'a>>,
}

#[derive(Serialize)]
struct OneTold<'a> {
    event_id: &'a str,
    room_id: &'a str,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_type: Option<&'a str>,
    step: &'a str,
    status: &'a str,
    timestamp: i64,
    reported_by: &'a str,
    retry_num: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a str>,
}

/// Why a server closed, by the code and the JSON in its reason. The reason counts first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Another process holds the connection now. Whoever came back would evict it, and so on for ever.
    Replaced,
    Other(String),
}

pub(crate) fn closed(code: u16, reason: &str) -> Closed {
    let value: Value = serde_json::from_str(reason).unwrap_or_default();
    let status = text(&value, &["status"]).unwrap_or_default();
    match (status, code) {
        ("conn_replaced", _) | ("", 4001) => Closed::Replaced,
        ("", code) => Closed::Other(format!("the server closed with code {code}")),
        (status, code) => {
            let status: String = status.chars().filter(|c| !c.is_control()).take(80).collect();
            Closed::Other(format!("the server closed with code {code}: {status}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_123;

    fn written(acts: Vec<Act>) -> Vec<Value> {
        let one = |act| {
            let Act::Write(text) = act else { panic!("{act:?}") };
            serde_json::from_str(&text).unwrap()
        };
        acts.into_iter().map(one).collect()
    }

    #[test]
    fn a_transaction_is_acknowledged_only_where_that_is_wanted() {
        let start = Instant::now();
        let mut protocol = Protocol::new("matrix", start);
        let mut take = |frame: &str| match protocol.hear(frame, start, NOW).pop() {
            Some(Act::Take { ack, .. }) => ack,
            other => panic!("{other:?}"),
        };
        let ack = take(r#"{"command":"transaction","id":12,"txn_id":"806","events":[]}"#);
        let bare = take(r#"{"status":"ok","txn_id":"807","events":[]}"#);
        let failed = Err("disk full".to_owned());
        let said = |ack, outcome: &Result<(), String>| written(Protocol::taken(ack, outcome).into_iter().collect());
        assert_eq!(said(ack.clone(), &Ok(())), [json!({"command": "response", "id": 12, "data": {"txn_id": "806"}})]);
        let refusal = json!({"command": "error", "id": 12, "data": {"code": "STORE_FAILED", "message": "disk full"}});
        assert_eq!(said(ack, &failed), [refusal]);
        assert_eq!(Protocol::taken(bare.clone(), &Ok(())), None);
        assert!(matches!(Protocol::taken(bare, &failed), Some(Act::Close(_))), "only a new start brings it again");
    }

    #[test]
    fn the_two_number_spaces_do_not_meet() {
        let start = Instant::now();
        let mut protocol = Protocol::new("matrix", start);
        let later = start + PING_EVERY;
        assert_eq!(protocol.wake(), later);
        let ping = written(protocol.tick(later, NOW));
        assert_eq!(ping, [json!({"command": "ping", "id": 1, "data": {"timestamp": NOW}})]);
        assert_eq!(protocol.wake(), later + PONG_LIMIT);
        // The server's own request 1 is not an answer to ours.
        let asked = written(protocol.hear(r#"{"command":"ping","id":1}"#, later, NOW));
        assert_eq!(asked[0]["data"]["remoteState"]["matrix"]["state_event"], "CONNECTED");
        assert_eq!(protocol.tick(later + PONG_LIMIT / 2, NOW), []);
        assert_eq!(protocol.hear(r#"{"command":"response","id":1,"data":{}}"#, later, NOW), []);
        assert_eq!(protocol.tick(later + PONG_LIMIT, NOW), []);
    }

    #[test]
    fn a_server_that_does_not_answer_or_says_no_is_left() {
        let start = Instant::now();
        let mut protocol = Protocol::new("matrix", start);
        protocol.tick(start + PING_EVERY, NOW);
        let acts = protocol.tick(start + PING_EVERY + PONG_LIMIT, NOW);
        assert!(matches!(acts.as_slice(), [Act::Close(_)]), "{acts:?}");
        let mut protocol = Protocol::new("matrix", start);
        protocol.tick(start + PING_EVERY, NOW);
        let acts =
            protocol.hear(r#"{"command":"error","id":1,"data":{"message":"not the current socket"}}"#, start, NOW);
        assert!(matches!(acts.as_slice(), [Act::Close(_)]), "{acts:?}");
        assert!(matches!(protocol.hear("{odd", start, NOW).as_slice(), [Act::Close(_)]));
    }

    #[test]
    fn unknown_requests_are_answered_only_when_an_answer_is_wanted() {
        let start = Instant::now();
        let mut protocol = Protocol::new("matrix", start);
        let refused = written(protocol.hear(r#"{"command":"start_dm","id":3,"data":{}}"#, start, NOW));
        assert_eq!((&refused[0]["command"], &refused[0]["data"]["code"]), (&json!("error"), &json!("UNKNOWN_COMMAND")));
        assert_eq!(protocol.hear(r#"{"command":"start_dm","data":{}}"#, start, NOW), []);
        assert_eq!(protocol.hear(r#"{"command":"error","id":77}"#, start, NOW), [], "an answer is never answered");
        assert_eq!(written(protocol.hear(r#"{"command":"syncproxy_error","id":4}"#, start, NOW)).len(), 1);
        let state = written(protocol.hear(r#"{"command":"connect","status":"connected"}"#, start, NOW));
        assert_eq!(state[0]["command"], "bridge_status");
        assert_eq!(state[0].get("id"), None);
    }

    #[test]
    fn a_checkpoint_tells_how_far_an_event_came() {
        let checkpoint = |carried: bool| Checkpoint {
            event: "$1".into(),
            room: "!r".into(),
            kind: "m.room.message".to_owned(),
            msgtype: carried.then(|| "m.text".to_owned()),
            carried,
        };
        let seen =
            [(checkpoint(true), None), (checkpoint(true), Some("too \"large\"".to_owned())), (checkpoint(false), None)];
        let frame: Value = serde_json::from_str(&checkpoints("REMOTE", &seen, NOW)).unwrap();
        let one = |status: &str| {
            json!({"event_id": "$1", "room_id": "!r", "event_type": "m.room.message", "step": "REMOTE", "status": status,
                "timestamp": NOW, "reported_by": "BRIDGE", "retry_num": 0})
        };
        let mut expected = [one("SUCCESS"), one("PERM_FAILURE"), one("UNSUPPORTED")];
        expected[0]["message_type"] = "m.text".into();
        expected[1]["message_type"] = "m.text".into();
        expected[1]["info"] = NOT_SHOWN.into();
        assert_eq!(frame, json!({"command": "message_checkpoint", "data": {"checkpoints": expected}}));
    }

    #[test]
    fn the_reason_counts_before_the_code() {
        let other = |text: &str| Closed::Other(text.to_owned());
        let cases = [
            (4001, r#"{"command":"disconnect","status":"conn_replaced"}"#, Closed::Replaced),
            (1000, r#"{"status":"conn_replaced"}"#, Closed::Replaced),
            (4001, "", Closed::Replaced),
            (
                4002,
                r#"{"status":"transactions_not_acknowledged"}"#,
                other("the server closed with code 4002: transactions_not_acknowledged"),
            ),
            (1001, "bye", other("the server closed with code 1001")),
        ];
        for (code, reason, expected) in cases {
            assert_eq!(closed(code, reason), expected, "{code} {reason}");
        }
    }
}
