//! Callbacks: shapes, signature, one attempt, what a failure leaves behind.

use deskbridge::sandbox::{CallbackFaults, Duplicate, Sandbox, SandboxSettings, Signing};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{self, assert_shape};
use super::receiver::Receiver;
use super::{DEADLINE, Desk, SOURCE_ID};

async fn wired(settings: SandboxSettings) -> (Desk, Receiver) {
    let receiver = Receiver::start().await;
    let desk = Desk::start(SandboxSettings { callback_url: Some(receiver.url.clone()), ..settings }).await;
    (desk, receiver)
}

async fn settled(sandbox: &Sandbox) {
    tokio::time::timeout(DEADLINE, sandbox.until_callbacks_are_done()).await.expect("the callbacks come to an end");
}

async fn over(desk: Desk, receiver: Receiver) {
    desk.stop().await;
    receiver.stop().await;
}

fn message_status(sandbox: &Sandbox, message: u64) -> Value {
    let state = sandbox.state();
    let mut messages =
        state["conversations"].as_array().unwrap().iter().flat_map(|found| found["messages"].as_array().unwrap());
    let found = messages.find(|found| found["id"] == message).unwrap();
    json!([found["status"], found["content_attributes"]])
}

#[tokio::test]
async fn every_callback_has_the_shape_of_its_fixture_and_a_good_signature() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let id = desk.conversation(SOURCE_ID).await;
    desk.incoming(id, "hello <b>", "libera/1/0").await;
    let reply = desk.sandbox.reply(id, "Hi **Ada**").unwrap();
    desk.sandbox.note(id, "she is on the old plan").unwrap();
    let hook = |path: String, body: Value| desk.client.post(format!("{}{path}", desk.sandbox.url())).json(&body).send();
    hook(format!("/sandbox/conversations/{id}/reply"), json!({"content": "Rate us", "kind": "csat"})).await.unwrap();
    hook(format!("/sandbox/conversations/{id}/reply"), json!({"content": "Soon", "kind": "automation"})).await.unwrap();
    hook(format!("/sandbox/conversations/{id}/typing"), json!({"on": true})).await.unwrap();
    settled(&desk.sandbox).await;
    desk.post(&format!("/conversations/{id}/assignments"), json!({"assignee_id": 3})).await;
    desk.sandbox.delete_message(id, reply).unwrap();
    desk.sandbox.resolve(id).unwrap();
    settled(&desk.sandbox).await;

    let check = |name: &str, fits: &dyn Fn(&Value) -> bool| {
        let found = receiver.first(fits).unwrap_or_else(|| panic!("no callback for {name}: {:?}", receiver.events()));
        assert_shape(name, &found.json);
        assert!(found.is_signed_with(&desk.sandbox.callback_secret()), "{name}");
        assert_eq!(found.header("X-Chatwoot-Delivery").unwrap().len(), 36);
        found
    };
    let of = |event: &'static str, kind: &'static str, private: bool| {
        move |body: &Value| body["event"] == event && body["message_type"] == kind && body["private"] == private
    };
    let incoming = check("callback_message_created_incoming", &of("message_created", "incoming", false));
    assert!(String::from_utf8_lossy(&incoming.body).contains(r"hello \u003cb\u003e"), "as Rails escapes it");
    check("callback_message_created_outgoing", &of("message_created", "outgoing", false));
    check("callback_message_created_private", &of("message_created", "outgoing", true));
    check("callback_message_created_template", &of("message_created", "template", false));
    check("callback_message_created_automation", &|body: &Value| {
        body["event"] == "message_created" && body["content_attributes"]["automation_rule_id"] == 12
    });
    check("callback_message_updated_deleted", &of("message_updated", "outgoing", false));
    for event in ["created", "updated", "status_changed", "typing_on"] {
        let wanted = format!("conversation_{event}");
        check(&format!("callback_{wanted}"), &|body: &Value| body["event"] == wanted.as_str());
    }
    let assigned = &fixture::json("callback_conversation_updated")["changed_attributes"][0];
    assert!(receiver.first(|body| body["changed_attributes"][0] == *assigned).is_some());
    let status = receiver.first(|body| body["event"] == "conversation_status_changed").unwrap();
    assert_eq!((&status.json["status"], &status.json["changed_attributes"]), (&json!("resolved"), &Value::Null));
    assert!(receiver.first(|body| body["message_type"] == "activity").is_none(), "activities are not told");
    over(desk, receiver).await;
}

#[tokio::test]
async fn a_refused_callback_is_written_on_the_message_and_never_repeated() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let id = desk.conversation(SOURCE_ID).await;
    settled(&desk.sandbox).await;
    receiver.clear();
    receiver.answer_with(Some(StatusCode::BAD_GATEWAY));
    let message = desk.sandbox.reply(id, "Hi").unwrap();
    settled(&desk.sandbox).await;
    let failed = json!(["failed", {"external_error": "502 Bad Gateway"}]);
    assert_eq!(message_status(&desk.sandbox, message), failed);
    let about = |event: &str| receiver.events().iter().filter(|found| *found == event).count();
    assert_eq!((about("message_created"), about("message_updated")), (1, 1), "the mark itself is told, once");

    receiver.answer_with(None);
    receiver.clear();
    desk.sandbox.retry(id, message).unwrap();
    settled(&desk.sandbox).await;
    assert_eq!(message_status(&desk.sandbox, message), json!(["sent", {}]));
    assert_eq!(receiver.events(), ["message_updated"], "Retry creates nothing anew");
    over(desk, receiver).await;
}

#[tokio::test]
async fn a_callback_that_finds_nobody_fails_even_an_incoming_message() {
    let callback_url = Some("http://127.0.0.1:9/callbacks".to_owned());
    let desk = Desk::start(SandboxSettings { callback_url, ..SandboxSettings::default() }).await;
    let id = desk.conversation(SOURCE_ID).await;
    let message = desk.incoming(id, "hello", "libera/1/0").await["id"].as_u64().unwrap();
    settled(&desk.sandbox).await;
    let status = message_status(&desk.sandbox, message);
    assert_eq!(status[0], "failed");
    assert!(status[1]["external_error"].as_str().unwrap().contains("Connection refused"), "{status}");
    desk.stop().await;
}

#[tokio::test]
async fn a_private_callback_address_is_refused_when_it_is_filtered() {
    let (desk, receiver) =
        wired(SandboxSettings { refuse_private_callbacks: true, ..SandboxSettings::default() }).await;
    let id = desk.conversation(SOURCE_ID).await;
    let message = desk.sandbox.reply(id, "Hi").unwrap();
    settled(&desk.sandbox).await;
    let error = "Hostname '127.0.0.1' has no public ip addresses";
    assert_eq!(message_status(&desk.sandbox, message), json!(["failed", {"external_error": error}]));
    assert!(receiver.events().is_empty());
    over(desk, receiver).await;
}

#[tokio::test]
async fn status_patches_are_applied_by_chatwoots_rules_and_told() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let id = desk.conversation(SOURCE_ID).await;
    let message = desk.sandbox.reply(id, "Hi").unwrap();
    settled(&desk.sandbox).await;
    receiver.clear();
    let path = format!("/conversations/{id}/messages/{message}");
    let check = async |body: Value, wanted: Value| {
        let (status, _) = desk.call(Method::PATCH, &path, body.clone()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(message_status(&desk.sandbox, message), wanted, "{body}");
    };
    check(json!({"status": "failed", "external_error": "gone"}), json!(["failed", {"external_error": "gone"}])).await;
    check(json!({"status": "delivered", "external_error": "ignored"}), json!(["delivered", {}])).await;
    check(json!({"status": "read"}), json!(["read", {}])).await;
    check(json!({"status": "delivered"}), json!(["read", {}])).await;
    check(json!({"status": "nonsense"}), json!(["read", {}])).await;
    settled(&desk.sandbox).await;
    assert_eq!(receiver.events(), ["message_updated"; 3], "one for each that changed something");
    over(desk, receiver).await;
}

#[tokio::test]
async fn callbacks_can_be_doubled_held_reordered_and_lost() {
    let settings = SandboxSettings { callback_workers: 1, ..SandboxSettings::default() };
    let (desk, receiver) = wired(settings).await;
    let id = desk.conversation(SOURCE_ID).await;
    let faults = desk.sandbox.faults();
    let contents = || {
        let created = receiver.deliveries().into_iter().filter(|found| found.event() == "message_created");
        created.map(|found| found.json["content"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let only = Some("message_created".to_owned());
    for (duplicate, same) in [(Duplicate::SameDelivery, true), (Duplicate::NewDelivery, false)] {
        settled(&desk.sandbox).await;
        receiver.clear();
        faults.callbacks(CallbackFaults {
            duplicate: Some(duplicate),
            only: only.clone(),
            ..CallbackFaults::default()
        });
        desk.sandbox.note(id, "twice").unwrap();
        settled(&desk.sandbox).await;
        let [first, second] = &receiver.deliveries()[..] else { panic!("{:?}", receiver.events()) };
        let delivery = "X-Chatwoot-Delivery";
        assert_eq!(first.header(delivery) == second.header(delivery), same);
    }

    receiver.clear();
    faults.callbacks(CallbackFaults { hold: true, ..CallbackFaults::default() });
    for text in ["one", "two", "three"] {
        desk.sandbox.note(id, text).unwrap();
    }
    desk.sandbox.set_callback_url(receiver.url.clone());
    assert!(receiver.events().is_empty(), "held");
    desk.sandbox.release_callbacks();
    settled(&desk.sandbox).await;
    assert_eq!(contents(), ["one", "two", "three"]);

    receiver.clear();
    faults.callbacks(CallbackFaults { reorder: 3, ..CallbackFaults::default() });
    for text in ["one", "two", "three"] {
        desk.sandbox.note(id, text).unwrap();
    }
    settled(&desk.sandbox).await;
    assert_eq!(contents(), ["three", "two", "one"]);

    receiver.clear();
    faults.callbacks(CallbackFaults { drop: 1, drop_of: 2, only, ..CallbackFaults::default() });
    for text in ["one", "two", "three", "four"] {
        desk.sandbox.note(id, text).unwrap();
    }
    settled(&desk.sandbox).await;
    assert_eq!(contents(), ["two", "four"]);
    over(desk, receiver).await;
}

#[tokio::test]
async fn callbacks_can_come_unsigned_or_signed_with_another_key() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let id = desk.conversation(SOURCE_ID).await;
    for signing in [Signing::Wrong, Signing::Absent] {
        settled(&desk.sandbox).await;
        receiver.clear();
        desk.sandbox.faults().callbacks(CallbackFaults { signing, ..CallbackFaults::default() });
        desk.sandbox.note(id, "x").unwrap();
        settled(&desk.sandbox).await;
        let [delivery] = &receiver.deliveries()[..] else { panic!("{:?}", receiver.events()) };
        assert!(!delivery.is_signed_with(&desk.sandbox.callback_secret()));
        assert_eq!(delivery.header("X-Chatwoot-Signature").is_some(), signing == Signing::Wrong);
    }
    over(desk, receiver).await;
}

#[tokio::test]
async fn a_callback_can_come_before_the_answer_that_caused_it() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let id = desk.conversation(SOURCE_ID).await;
    desk.sandbox.faults().callbacks(CallbackFaults { before_response: true, ..CallbackFaults::default() });
    let message = desk.incoming(id, "hello", "libera/1/0").await;
    // No waiting: when the answer is here, so is the callback.
    assert!(receiver.first(|body| body["id"] == message["id"]).is_some());
    over(desk, receiver).await;
}

#[tokio::test]
async fn a_new_secret_signs_what_comes_after_it() {
    let (desk, receiver) = wired(SandboxSettings::default()).await;
    let old = desk.sandbox.callback_secret();
    desk.post("/inboxes/7/reset_secret", json!({})).await;
    assert_ne!(desk.sandbox.callback_secret(), old);
    desk.conversation(SOURCE_ID).await;
    settled(&desk.sandbox).await;
    assert!(receiver.deliveries()[0].is_signed_with(&desk.sandbox.callback_secret()));
    over(desk, receiver).await;
}
