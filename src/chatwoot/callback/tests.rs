//! Parsing and the gate together, from bytes to verdict: what may leave, and everything that may not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Callback, Event, GateSettings, Ignored, NotACallback, Occasion, Verdict, gate, listed, parse};
use crate::chatwoot::{
    AccountId, Conversation, ConversationId, ConversationStatus, InboxId, MessageId, MessageRow, MessageType,
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/chatwoot/", $name, ".json"))
    };
}

fn is_ours(source_id: &str) -> bool {
    source_id.starts_with("libera/")
}

fn settings(send_templates: bool) -> GateSettings<'static> {
    GateSettings { account_id: AccountId(1), inbox_id: InboxId(7), send_templates, is_ours: &is_ours }
}

/// A verdict in one word, for tables.
fn word(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Deliver(out) => format!("deliver {:?}", out.occasion),
        Verdict::Withdrawn { .. } => "withdrawn".to_owned(),
        Verdict::ConversationStatus { status, .. } => format!("status {status:?}"),
        Verdict::Typing { on, .. } => format!("typing {on}"),
        Verdict::Ignored(why) => format!("ignored {why:?}"),
    }
}

fn judged(raw: &[u8]) -> String {
    let callback = parse(raw).unwrap();
    word(&gate(&callback, &settings(false)))
}

#[test]
fn each_fixture_meets_its_verdict() {
    for (raw, wanted) in [
        (fixture!("callback_message_created_outgoing"), "deliver Created"),
        (fixture!("callback_message_created_outgoing_attachment"), "deliver Created"),
        (fixture!("callback_message_created_automation"), "deliver Created"),
        (fixture!("callback_message_updated_retry"), "deliver Updated"),
        (fixture!("callback_message_created_incoming"), "ignored Type"),
        (fixture!("callback_message_updated_incoming"), "ignored Type"),
        (fixture!("callback_message_created_own_echo"), "ignored Echo"),
        (fixture!("callback_message_created_private"), "ignored Private"),
        (fixture!("callback_message_created_template"), "ignored Template"),
        (fixture!("callback_message_updated_deleted"), "withdrawn"),
        (fixture!("callback_message_updated_failed"), "ignored Failed"),
        (fixture!("callback_conversation_created"), "ignored Event"),
        (fixture!("callback_conversation_status_changed"), "status Resolved"),
        (fixture!("callback_conversation_updated"), "status Open"),
        (fixture!("callback_conversation_typing_on"), "typing true"),
        (fixture!("callback_conversation_typing_on_private"), "ignored Private"),
    ] {
        assert_eq!(judged(raw.as_bytes()), wanted, "{raw}");
    }
}

#[test]
fn only_agents_of_this_inbox_who_write_to_the_peer_are_shown_typing() {
    for (path, value, wanted) in [
        ("/event", json!("conversation_typing_off"), "typing false"),
        ("/is_private", json!(true), "ignored Private"),
        ("/is_private", json!(null), "ignored Private"),
        ("/is_private", json!("false"), "ignored Private"),
        ("/user/type", json!("contact"), "ignored Echo"),
        ("/user/type", json!(null), "ignored Echo"),
        ("/user", json!(null), "ignored Echo"),
        ("/conversation/inbox_id", json!(8), "ignored Inbox"),
        ("/conversation/account/id", json!(2), "ignored Account"),
        ("/conversation/contact_inbox", json!(null), "ignored Unnumbered"),
    ] {
        let mut callback: Value = serde_json::from_str(fixture!("callback_conversation_typing_on")).unwrap();
        *callback.pointer_mut(path).unwrap() = value;
        assert_eq!(judged(callback.to_string().as_bytes()), wanted, "{path}");
    }
    let callback = parse(fixture!("callback_conversation_typing_on").as_bytes()).unwrap();
    assert!(matches!(gate(&callback, &settings(false)), Verdict::Typing { link: "libera/ada", on: true }));
}

#[test]
fn a_reply_is_read_from_its_own_fields() {
    let callback = parse(fixture!("callback_message_created_outgoing").as_bytes()).unwrap();
    assert_eq!(callback.event, Event::MessageCreated);
    let Verdict::Deliver(out) = gate(&callback, &settings(false)) else { panic!("{callback:?}") };
    assert_eq!((out.message, out.conversation), (MessageId(9002), ConversationId(42)));
    assert_eq!(out.content, "Hi **Ada**");
    assert_eq!((out.link, out.content_type), (Some("libera/ada"), Some("text")));
    assert_eq!(out.created_millis, 1_781_946_903_123);
    assert_eq!(out.sender.and_then(|sender| sender.name.as_deref()), Some("Grace"));
    assert!(!out.template && out.attachments.is_empty());
}

#[test]
fn an_attachment_is_named_by_its_address() {
    let callback = parse(fixture!("callback_message_created_outgoing_attachment").as_bytes()).unwrap();
    let Verdict::Deliver(out) = gate(&callback, &settings(false)) else { panic!("{callback:?}") };
    let [file] = out.attachments else { panic!("{:?}", out.attachments) };
    assert_eq!((file.name().as_str(), file.size_bytes), ("cat.png", Some(51234)));
    assert_eq!((file.content_type.as_deref(), file.file_type.as_deref()), (Some("image/png"), Some("image")));
    assert_eq!(out.content, "");
}

#[test]
fn a_status_event_tells_where_the_conversation_stands() {
    let callback = parse(fixture!("callback_conversation_status_changed").as_bytes()).unwrap();
    let Verdict::ConversationStatus { conversation, status, updated_millis, link } = gate(&callback, &settings(false))
    else {
        panic!("{callback:?}")
    };
    assert_eq!((conversation, status, link), (ConversationId(42), ConversationStatus::Resolved, Some("libera/ada")));
    assert_eq!(updated_millis, 1_781_946_902_400);
}

#[test]
fn another_inbox_or_account_tells_us_no_status() {
    for (path, value, wanted) in [
        ("account", json!({"id": 2}), "ignored Account"),
        ("account", Value::Null, "status Resolved"),
        ("inbox_id", json!(8), "ignored Inbox"),
        ("inbox_id", Value::Null, "ignored Inbox"),
        ("id", Value::Null, "ignored Unnumbered"),
        ("status", Value::Null, "ignored Event"),
        ("status", json!("archived"), "status Other"),
    ] {
        let mut body: Value = serde_json::from_str(fixture!("callback_conversation_status_changed")).unwrap();
        body[path] = value.clone();
        assert_eq!(judged(body.to_string().as_bytes()), wanted, "{path} = {value}");
    }
}

/// A message event that passes; the tables below change one thing each.
fn passing() -> Value {
    serde_json::from_str(fixture!("callback_message_created_outgoing")).unwrap()
}

fn with(changes: &[(&str, Option<Value>)]) -> Vec<u8> {
    let mut body = passing();
    for (path, value) in changes {
        let mut at = &mut body;
        let (parents, key) = path.rsplit_once('.').map_or((None, *path), |(parents, key)| (Some(parents), key));
        for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
            at = &mut at[parent];
        }
        match value {
            Some(value) => at[key] = value.clone(),
            None => drop(at.as_object_mut().unwrap().remove(key)),
        }
    }
    serde_json::to_vec(&body).unwrap()
}

#[test]
fn each_condition_of_the_gate_keeps_something_in() {
    let cases: [(&str, Option<Value>, &str); 32] = [
        ("event", Some(json!("message_deleted")), "ignored Event"),
        ("event", Some(json!("macro.executed")), "ignored Event"),
        ("event", Some(json!("webwidget_triggered")), "ignored Event"),
        ("event", Some(json!(["message_created"])), "ignored Event"),
        ("event", None, "ignored Event"),
        ("account.id", Some(json!(2)), "ignored Account"),
        ("account.id", Some(json!("1")), "ignored Account"),
        ("account.id", None, "ignored Account"),
        ("account", Some(json!(1)), "ignored Account"),
        ("account", None, "ignored Account"),
        ("inbox.id", Some(json!(8)), "ignored Inbox"),
        ("inbox.id", Some(json!(7.0)), "ignored Inbox"),
        ("inbox", None, "ignored Inbox"),
        ("message_type", Some(json!("incoming")), "ignored Type"),
        ("message_type", Some(json!("activity")), "ignored Type"),
        ("message_type", Some(json!("Outgoing")), "ignored Type"),
        ("message_type", Some(json!(1)), "ignored Type"),
        ("message_type", None, "ignored Type"),
        ("message_type", Some(json!("template")), "ignored Template"),
        ("source_id", Some(json!("libera/01J9/0")), "ignored Echo"),
        ("source_id", Some(json!("other/01J9/0")), "deliver Created"),
        ("id", None, "ignored Unnumbered"),
        ("id", Some(json!("9002")), "ignored Unnumbered"),
        ("conversation.id", None, "ignored Unnumbered"),
        ("conversation", None, "ignored Unnumbered"),
        ("content", Some(json!("")), "ignored Empty"),
        ("content", Some(json!(" \n")), "ignored Empty"),
        ("content", Some(Value::Null), "ignored Empty"),
        ("content", Some(json!({"text": "x"})), "ignored Empty"),
        ("content_attributes", Some(json!({"deleted": true})), "withdrawn"),
        ("content_attributes", Some(json!({"deleted": "yes"})), "withdrawn"),
        ("content_attributes", Some(json!({"deleted": false})), "deliver Created"),
    ];
    for (path, value, wanted) in cases {
        assert_eq!(judged(&with(&[(path, value.clone())])), wanted, "{path} = {value:?}");
    }
}

/// Every way to write `private`; only the literal false is public.
fn privacies() -> Vec<Option<Value>> {
    let odd =
        [json!(true), Value::Null, json!("false"), json!(""), json!(0), json!(1), json!(0.0), json!([]), json!({})];
    odd.into_iter().map(Some).chain([None]).collect()
}

const EVENTS: [&str; 2] = ["message_created", "message_updated"];
const TYPES: [&str; 4] = ["incoming", "outgoing", "activity", "template"];

#[test]
fn only_the_literal_false_is_public() {
    let attributes =
        [json!({}), json!({"deleted": true}), json!({"external_error": "502"}), json!({"in_reply_to": 9001})];
    for private in privacies() {
        for (event, kind) in EVENTS.into_iter().flat_map(|event| TYPES.map(|kind| (event, kind))) {
            for attributes in &attributes {
                let raw = with(&[
                    ("private", private.clone()),
                    ("event", Some(json!(event))),
                    ("message_type", Some(json!(kind))),
                    ("content_attributes", Some(attributes.clone())),
                ]);
                let callback = parse(&raw).unwrap();
                for templates in [false, true] {
                    let verdict = gate(&callback, &settings(templates));
                    assert!(
                        matches!(verdict, Verdict::Ignored(_)),
                        "{private:?} {event} {kind} {attributes}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_public_message_passes_by_type_event_and_setting() {
    for (event, kind, failed, templates, wanted) in [
        ("message_created", "outgoing", false, false, "deliver Created"),
        ("message_created", "outgoing", true, false, "deliver Created"),
        ("message_updated", "outgoing", false, false, "deliver Updated"),
        ("message_updated", "outgoing", true, false, "ignored Failed"),
        ("message_created", "template", false, true, "deliver Created"),
        ("message_updated", "template", false, true, "deliver Updated"),
        ("message_updated", "template", true, true, "ignored Failed"),
        ("message_created", "template", false, false, "ignored Template"),
        ("message_created", "incoming", false, true, "ignored Type"),
        ("message_updated", "incoming", false, true, "ignored Type"),
        ("message_created", "activity", false, true, "ignored Type"),
    ] {
        let attributes = if failed { json!({"external_error": "502 Bad Gateway"}) } else { json!({}) };
        let raw = with(&[
            ("event", Some(json!(event))),
            ("message_type", Some(json!(kind))),
            ("content_attributes", Some(attributes)),
        ]);
        let callback = parse(&raw).unwrap();
        assert_eq!(word(&gate(&callback, &settings(templates))), wanted, "{event} {kind} {failed} {templates}");
    }
}

#[test]
fn the_sweep_goes_through_the_same_gate() {
    let conversation: Conversation = serde_json::from_str(fixture!("conversation")).unwrap();
    let list: Value = serde_json::from_str(fixture!("message_list")).unwrap();
    let rows: Vec<MessageRow> = serde_json::from_value(list["payload"].clone()).unwrap();
    let verdicts: Vec<(i64, String)> = rows
        .iter()
        .map(|row| (row.id.0, word(&gate(&listed(AccountId(1), &conversation, row), &settings(false)))))
        .collect();
    let wanted = [
        (9001, "ignored Type"),
        (9002, "deliver Listed"),
        (9003, "ignored Private"),
        (9004, "deliver Listed"),
        (9005, "ignored Type"),
        (9006, "ignored Template"),
        (9007, "withdrawn"),
    ];
    assert_eq!(verdicts, wanted.map(|(id, verdict)| (id, verdict.to_owned())));
}

#[test]
fn a_listed_row_is_private_unless_it_says_false() {
    let conversation: Conversation = serde_json::from_str(fixture!("conversation")).unwrap();
    for private in privacies() {
        let mut row = json!({"id": 9002, "conversation_id": 42, "inbox_id": 7, "message_type": 1, "content": "note"});
        if let Some(private) = &private {
            row["private"] = private.clone();
        }
        let row: MessageRow = serde_json::from_value(row).unwrap();
        let callback = listed(AccountId(1), &conversation, &row);
        let verdict = gate(&callback, &settings(true));
        assert!(matches!(verdict, Verdict::Ignored(Ignored::Private)), "{private:?}: {verdict:?}");
    }
}

#[test]
fn a_field_of_another_type_counts_as_missing() {
    for odd in [json!(null), json!(true), json!(7), json!(1.5), json!("x"), json!([[{}]]), json!({"a": {"b": [1]}})] {
        for field in
            ["sender", "attachments", "content_attributes", "conversation", "created_at", "content_type", "source_id"]
        {
            let raw = with(&[(field, Some(odd.clone()))]);
            let callback = parse(&raw).unwrap();
            assert_eq!(callback.content.as_deref(), Some("Hi **Ada**"), "{field} = {odd}");
        }
    }
}

#[test]
fn what_is_no_object_is_no_callback() {
    for raw in [
        "",
        "null",
        "7",
        "[]",
        "\"x\"",
        "{",
        "{}x",
        "{\"event\":}",
        "\u{feff}{}",
        r#"{"private":false,"private":true}"#,
    ] {
        assert_eq!(parse(raw.as_bytes()), Err(NotACallback), "{raw}");
    }
    let deep = format!("{}{}", "{\"conversation\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(parse(deep.as_bytes()), Err(NotACallback));
    assert_eq!(parse(b"\xff{}"), Err(NotACallback));
    assert_eq!(parse(b"{}").map(|callback| callback.message_type), Ok(MessageType::Other));
}

const CANARY: &str = "canary in a note";

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(CANARY)),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("private|content|id", inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Anything but the literal false.
fn not_public() -> impl Strategy<Value = Option<Value>> {
    let value = any_json().prop_filter("false is public", |value| *value != json!(false));
    prop_oneof![prop::sample::select(privacies()), value.prop_map(Some)]
}

fn note() -> impl Strategy<Value = Vec<u8>> {
    let fields = (prop::sample::select(&EVENTS[..]), prop::sample::select(&TYPES[..]), any_json(), any_json());
    (not_public(), fields, any::<bool>()).prop_map(|(private, (event, kind, attributes, sender), nested)| {
        with(&[
            ("content", Some(json!(CANARY))),
            ("private", private),
            ("event", Some(json!(event))),
            ("message_type", Some(json!(kind))),
            ("content_attributes", Some(attributes)),
            ("sender", Some(sender)),
            // The public text that Chatwoot shows beside a note must not make the note public either.
            ("conversation.private", Some(json!(!nested))),
            ("conversation.messages", Some(json!([{"private": false, "content": "public"}]))),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_private_note_ever_leaves(raw in note(), templates: bool) {
        if let Ok(callback) = parse(&raw) {
            let verdict = gate(&callback, &settings(templates));
            prop_assert!(matches!(verdict, Verdict::Ignored(_)), "{verdict:?}");
        }
    }

    #[test]
    fn nothing_but_the_top_level_content_is_carried(messages in any_json(), additional in any_json()) {
        let raw = with(&[("conversation.messages", Some(messages)), ("additional_attributes", Some(additional))]);
        let callback: Callback<'_> = parse(&raw).unwrap();
        let verdict = gate(&callback, &settings(false));
        let shown = format!("{verdict:?}");
        prop_assert!(!shown.contains(CANARY));
        let delivered = matches!(verdict, Verdict::Deliver(out) if out.occasion == Occasion::Created);
        prop_assert!(delivered);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(callback) = parse(&raw) {
            prop_assert!(matches!(gate(&callback, &settings(true)), Verdict::Ignored(_)));
        }
    }
}
