//! Callbacks of any bytes, judged by a reader of JSON that knows nothing of ours.

use axum::http::{HeaderMap, HeaderValue};
use bridge_api::{
    Secret,
    kit::fuzz::{Random, Target},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{GateSettings, PublicOutgoing, SIGNATURE_HEADER, TIMESTAMP_HEADER, Verdict, gate, listed, parse, verify};
use crate::chatwoot::{AccountId, Conversation, InboxId, MessageRow};

/// Nothing reaches a peer, by callback or by sweep, but what its own top level says is public, outgoing, of our account
/// and inbox, and not our own; and then exactly its own words and files.
///
/// A body that is an object is also tried with some of its fields replaced, so that most of what is tried is JSON.
pub(in crate::chatwoot) const GATE: Target = Target { name: "callback_gate", check: check_gate, runs: 1_500 };

/// What is replaced, and by what.
const PATHS: &[&str] = &[
    "/private",
    "/event",
    "/message_type",
    "/account",
    "/account/id",
    "/inbox",
    "/inbox/id",
    "/inbox_id",
    "/id",
    "/source_id",
    "/content",
    "/content_type",
    "/content_attributes",
    "/content_attributes/deleted",
    "/content_attributes/external_error",
    "/conversation",
    "/conversation/id",
    "/conversation/inbox_id",
    "/conversation/account/id",
    "/conversation/status",
    "/conversation/contact_inbox/source_id",
    "/conversation/messages",
    "/attachments",
    "/sender",
    "/is_private",
    "/user",
    "/user/type",
    "/status",
];

fn values() -> Vec<Value> {
    let words = [
        "",
        " ",
        "canary",
        "false",
        "true",
        "outgoing",
        "template",
        "incoming",
        "Outgoing",
        "message_created",
        "message_updated",
        "conversation_typing_on",
        "conversation_status_changed",
        "libera/x",
        "other/x",
        "user",
        "contact",
        "1",
    ];
    let mut values: Vec<Value> = words.into_iter().map(Value::from).collect();
    values.extend([
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(7),
        json!(-1),
        json!(1.0),
        json!(1e300),
        json!([]),
        json!({}),
    ]);
    values.extend([
        json!({ "id": 1 }),
        json!({ "id": 7 }),
        json!({ "private": false }),
        json!([{ "data_url": "https://x.y/a" }, { "data_url": 7 }, "x"]),
    ]);
    values.push(json!([{ "private": false, "content": "canary", "message_type": "outgoing" }]));
    values
}

fn check_gate(data: &[u8]) {
    judge(data);
    let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(data) else { return };
    let (mut random, values) = (Random::of(data), values());
    for count in [1, 1, 2, 3, 5, 8] {
        let mut changed = value.clone();
        for _ in 0..count {
            let path: &&str = random.of_these(PATHS);
            let by = (random.below(5) > 0).then(|| random.of_these(&values).clone());
            replace(&mut changed, path, by);
        }
        judge(changed.to_string().as_bytes());
    }
}

fn replace(value: &mut Value, path: &str, by: Option<Value>) {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let Some(Value::Object(parent)) = value.pointer_mut(parent) else { return };
    match by {
        Some(by) => drop(parent.insert(key.to_owned(), by)),
        None => drop(parent.remove(key)),
    }
}

fn is_ours(source_id: &str) -> bool {
    source_id.starts_with("libera/")
}

fn judge(raw: &[u8]) {
    // Numbers beyond all bounds in fields that nobody reads are the one thing that this reader refuses and ours passes over.
    let Ok(value) = serde_json::from_slice::<Value>(raw) else { return };
    let settings = |send_templates| GateSettings {
        account_id: AccountId(1),
        inbox_id: InboxId(7),
        send_templates,
        is_ours: &is_ours,
    };
    for templates in [false, true] {
        if let Ok(callback) = parse(raw) {
            assert!(value.is_object());
            assert_verdict(&gate(&callback, &settings(templates)), &value, templates);
        }
        let (conversation, row) =
            (serde_json::from_value::<Conversation>(conversation()), serde_json::from_slice::<MessageRow>(raw));
        if let (Ok(conversation), Ok(row)) = (conversation, row) {
            let callback = listed(AccountId(1), &conversation, &row);
            if let Verdict::Deliver(out) = gate(&callback, &settings(templates)) {
                assert_eq!(value["private"], Value::Bool(false), "the sweep took {value}");
                assert_eq!(out.content, value["content"].as_str().unwrap_or_default());
            }
        }
    }
}

fn conversation() -> Value {
    json!({ "id": 42, "inbox_id": 7, "account_id": 1, "status": "open" })
}

fn assert_verdict(verdict: &Verdict<'_>, value: &Value, templates: bool) {
    let event = value["event"].as_str().unwrap_or_default();
    match verdict {
        Verdict::Deliver(out) => {
            assert_is_for_the_peer(value, templates);
            assert_says(out, value);
            assert!(
                matches!(&value["content_attributes"]["deleted"], Value::Null | Value::Bool(false))
                    || value["content_attributes"]["deleted"] == "",
                "{value}"
            );
        }
        Verdict::Withdrawn { .. } => assert_is_for_the_peer(value, templates),
        Verdict::Typing { .. } => {
            assert!(event.starts_with("conversation_typing_"), "{value}");
            assert_eq!((&value["is_private"], &value["user"]["type"]), (&json!(false), &json!("user")), "{value}");
            assert_eq!(value["conversation"]["inbox_id"], 7, "{value}");
        }
        Verdict::ConversationStatus { conversation, .. } => {
            assert!(["conversation_status_changed", "conversation_updated"].contains(&event), "{value}");
            assert_eq!((inbox(value), value["id"].as_i64()), (Some(7), Some(conversation.0)), "{value}");
        }
        Verdict::Ignored(_) => {}
    }
}

fn assert_is_for_the_peer(value: &Value, templates: bool) {
    assert_eq!(value["private"], Value::Bool(false), "a note leaves: {value}");
    assert!(["message_created", "message_updated"].iter().any(|event| value["event"] == *event), "{value}");
    assert!(value["message_type"] == "outgoing" || templates && value["message_type"] == "template", "{value}");
    assert_eq!((value["account"]["id"].as_i64(), inbox(value)), (Some(1), Some(7)), "of another inbox: {value}");
    assert!(!value["source_id"].as_str().is_some_and(is_ours), "our own echo: {value}");
}

fn inbox(value: &Value) -> Option<i64> {
    value["inbox"]["id"].as_i64().or_else(|| value["inbox_id"].as_i64())
}

fn assert_says(out: &PublicOutgoing<'_>, value: &Value) {
    assert_eq!(
        (Some(out.message.0), Some(out.conversation.0)),
        (value["id"].as_i64(), value["conversation"]["id"].as_i64()),
        "{value}"
    );
    assert_eq!(out.content, value["content"].as_str().unwrap_or_default());
    assert_eq!(out.template, value["message_type"] == "template");
    let files = value["attachments"].as_array().into_iter().flatten();
    let urls: Vec<&str> = files.filter_map(|file| file["data_url"].as_str()).filter(|url| !url.is_empty()).collect();
    assert_eq!(out.attachments.iter().map(|file| &*file.url).collect::<Vec<_>>(), urls);
    assert!(!out.content.trim().is_empty() || !urls.is_empty(), "{value}");
}

/// The signature of one of our secrets over this time and these very bytes passes, and nothing else does.
///
/// The first line of the input is tried as the signature, the second as the time, and the rest is the body.
pub(in crate::chatwoot) const SIGNATURE: Target = Target { name: "callback_signature", check: signature, runs: 4_000 };

const NOW: i64 = 1_781_946_902;

fn signature(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (said, time, body) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let secrets = ["first-secret", "second-secret"];
    let accepted = passes(&[said], &[time], body, &secrets);
    let right = secrets.iter().any(|secret| signed(secret, time, body).as_bytes() == said);
    let number = std::str::from_utf8(time).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let timely = number.and_then(|text| text.parse::<i64>().ok()).is_some_and(|sent| (sent - NOW).abs() <= 300);
    assert_eq!(accepted, right && timely);

    let time = NOW.to_string();
    let time = time.as_bytes();
    let good = signed(secrets[1], time, body);
    let good = good.as_bytes();
    assert!(passes(&[good], &[time], body, &secrets));
    assert!(!passes(&[good], &[time], body, &secrets[..1]) && !passes(&[good], &[time], body, &[""]));
    assert!(!passes(&[good, good], &[time], body, &secrets) && !passes(&[good], &[time, time], body, &secrets));
    assert!(!passes(&[], &[time], body, &secrets) && !passes(&[good], &[], body, &secrets));
    let mut random = Random::of(data);
    for _ in 0..4 {
        assert!(!passes(&[good], &[time], &damaged(body, &mut random), &secrets), "another body");
        assert!(!passes(&[&damaged(good, &mut random)], &[time], body, &secrets), "another signature");
        assert!(!passes(&[good], &[&damaged(time, &mut random)], body, &secrets), "another time");
    }
}

fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut other = bytes.to_vec();
    let at = random.below(bytes.len() + 1);
    match random.below(3) {
        0 if at < other.len() => other[at] ^= 1 << random.below(8),
        1 if at < other.len() => drop(other.remove(at)),
        _ => other.insert(at, random.below(256) as u8),
    }
    other
}

fn signed(secret: &str, time: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(&[time, b".", body].concat());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn passes(signatures: &[&[u8]], times: &[&[u8]], body: &[u8], secrets: &[&str]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, values) in [(&SIGNATURE_HEADER, signatures), (&TIMESTAMP_HEADER, times)] {
        for value in values {
            let Ok(value) = HeaderValue::from_bytes(value) else { return false };
            headers.append(name, value);
        }
    }
    let secrets: Vec<Secret> = secrets.iter().copied().map(Secret::new).collect();
    verify(&headers, body, &secrets, NOW).is_ok()
}
