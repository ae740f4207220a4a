//! The application API: shapes, refusals, and the rules that a gateway stumbles over.

use std::time::Duration;

use deskbridge::sandbox::{Locale, Role, SandboxSettings};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{self, assert_shape};
use super::{Desk, SOURCE_ID, ids};

#[tokio::test]
async fn every_call_answers_in_the_shape_of_its_fixture() {
    let desk = Desk::fresh().await;
    let body = json!({"inbox_id": 7, "source_id": SOURCE_ID, "identifier": SOURCE_ID, "name": "ada"});
    let created = desk.post("/contacts", body).await;
    assert_shape("contact_create_wrapped", &created);
    assert_eq!(created["payload"]["contact_inbox"]["source_id"], SOURCE_ID);
    let contact = created["payload"]["contact"]["id"].as_u64().unwrap();
    let found = desk.post("/contact_inboxes/filter", json!({"inbox_id": 7, "source_id": SOURCE_ID})).await;
    assert_shape("contact_inboxes_filter", &found);
    let line = json!({"attribute_key": "identifier", "filter_operator": "equal_to", "values": [SOURCE_ID]});
    assert_shape("contacts_filter", &desk.post("/contacts/filter", json!({"payload": [line]})).await);
    assert_shape("contact_show", &desk.see(&format!("/contacts/{contact}")).await);
    let further = json!({"inbox_id": 7, "source_id": "libera/ada2"});
    assert_shape("contact_inbox_create", &desk.post(&format!("/contacts/{contact}/contact_inboxes"), further).await);

    let open = json!({"inbox_id": 7, "contact_id": contact, "source_id": SOURCE_ID});
    let conversation = desk.post("/conversations", open).await;
    assert_shape("conversation_create", &conversation);
    let id = conversation["id"].as_u64().unwrap();
    let message = json!({"content": "hello", "message_type": "incoming", "source_id": "libera/1/0", "echo_id": "e-1"});
    let message = desk.post(&format!("/conversations/{id}/messages"), message).await;
    assert_shape("message_create", &message);
    assert_eq!(message["echo_id"], "e-1");
    assert_shape("conversation", &desk.see(&format!("/conversations/{id}")).await);
    assert_shape("conversation_list", &desk.see("/conversations?status=all").await);
    assert_shape("contact_conversations", &desk.see(&format!("/contacts/{contact}/conversations")).await);
    assert_shape("message_list", &desk.see(&format!("/conversations/{id}/messages")).await);
    let failed = json!({"status": "failed", "external_error": "no such nick"});
    let path = format!("/conversations/{id}/messages/{}", message["id"]);
    let (status, failed) = desk.call(Method::PATCH, &path, failed).await;
    assert_eq!((status, &failed["status"]), (StatusCode::OK, &json!("failed")));
    let toggled = desk.post(&format!("/conversations/{id}/toggle_status"), json!({"status": "resolved"})).await;
    assert_shape("conversation_toggle_status", &toggled);
    let (_, deleted) = desk.call(Method::DELETE, &path, json!({})).await;
    assert_eq!(deleted["content_attributes"], fixture::json("message_deleted")["content_attributes"]);

    assert_shape("inbox", &desk.see("/inboxes/7").await);
    assert_shape("account", &desk.see("").await);
    for (path, fixture) in [("/api/v1/profile", "profile"), ("/api", "api_version"), ("/health", "health")] {
        let request = desk.client.get(format!("{}{path}", desk.sandbox.url()));
        let answer = request.header("api_access_token", desk.sandbox.api_access_token()).send().await.unwrap();
        assert_shape(fixture, &answer.json().await.unwrap());
    }
    desk.stop().await;
}

#[tokio::test]
async fn refusals_are_word_for_word_those_of_the_fixtures() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let check = async |method: Method, path: &str, body: Value, status: u16, name: &str| {
        let (found, answer) = desk.call(method, path, body).await;
        assert_eq!((found.as_u16(), answer), (status, fixture::json(name)), "{path}");
    };
    let taken = json!({"identifier": SOURCE_ID});
    check(Method::POST, "/contacts", taken, 422, "error_422_identifier_taken").await;
    let other = desk.post("/contacts", json!({"name": "eve"})).await["payload"]["contact"]["id"].clone();
    let stolen = json!({"inbox_id": 7, "contact_id": other, "source_id": SOURCE_ID});
    check(Method::POST, "/conversations", stolen, 422, "error_422_source_id").await;
    check(Method::GET, "/conversations/4711", json!({}), 404, "error_404").await;
    check(Method::GET, "/contacts/ada", json!({}), 404, "error_404").await;
    let long = json!({"content": "é".repeat(150_001)});
    let path = format!("/conversations/{id}/messages");
    check(Method::POST, &path, long, 422, "error_422_content_too_long").await;
    // A source id that is somebody else's ends a contact's creation with 500, and nothing is left of it.
    let body = json!({"inbox_id": 7, "source_id": SOURCE_ID, "identifier": "x"});
    check(Method::POST, "/contacts", body, 500, "error_500").await;
    assert_eq!(desk.post("/contacts", json!({"identifier": "x"})).await["payload"]["contact"]["identifier"], "x");

    let (status, empty) =
        desk.call(Method::POST, "/contact_inboxes/filter", json!({"inbox_id": 7, "source_id": "?"})).await;
    assert_eq!((status, empty), (StatusCode::NOT_FOUND, json!("")));
    let request = desk.request(Method::POST, "/contacts").header("Content-Type", "application/json").body("{");
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status(), answer.json::<Value>().await.unwrap()),
        (StatusCode::BAD_REQUEST, fixture::json("error_400"))
    );
    desk.stop().await;
}

#[tokio::test]
async fn the_token_is_wanted_in_either_spelling_and_nowhere_else() {
    let desk = Desk::fresh().await;
    let url = format!("{}/api/v1/accounts/1/inboxes/7", desk.sandbox.url());
    let check = async |header: &str, value: &str, status: u16, name: &str| {
        let answer = desk.client.get(&url).header(header, value).send().await.unwrap();
        let found = answer.status().as_u16();
        let body = answer.json::<Value>().await.unwrap();
        assert_eq!(found, status, "{header}: {body}");
        if status != 200 {
            assert_eq!(body, fixture::json(name));
        }
    };
    check("api_access_token", "sandbox-token", 200, "").await;
    check("Api-Access-Token", "sandbox-token", 200, "").await;
    check("Api-Access-Token", "wrong", 401, "error_401_unknown_token").await;
    check("Authorization", "Bearer sandbox-token", 401, "error_401_absent").await;
    desk.stop().await;
}

#[tokio::test]
async fn an_agents_token_sees_no_keys_and_changes_no_inbox() {
    let desk = Desk::start(SandboxSettings { role: Role::Agent, ..SandboxSettings::default() }).await;
    assert_shape("inbox_agent", &desk.see("/inboxes/7").await);
    let (status, body) = desk.call(Method::PATCH, "/inboxes/7", json!({"name": "mine"})).await;
    assert_eq!((status.as_u16(), body), (401, fixture::json("error_401_not_permitted")));
    desk.stop().await;
}

#[tokio::test]
async fn the_older_answer_to_a_contact_is_flat() {
    let desk = Desk::start(SandboxSettings { flat_contacts: true, ..SandboxSettings::default() }).await;
    let body = json!({"inbox_id": 7, "source_id": SOURCE_ID, "identifier": SOURCE_ID, "name": "ada"});
    assert_shape("contact_create_flat", &desk.post("/contacts", body).await);
    desk.stop().await;
}

#[tokio::test]
async fn validation_texts_follow_the_account_and_attributes_do_not() {
    let desk = Desk::start(SandboxSettings { locale: Locale::German, ..SandboxSettings::default() }).await;
    desk.contact(SOURCE_ID).await;
    let (_, body) = desk.call(Method::POST, "/contacts", json!({"identifier": SOURCE_ID})).await;
    assert_eq!(body, fixture::json("error_422_identifier_taken_localised"));
    desk.stop().await;
}

#[tokio::test]
async fn nothing_recognises_a_message_that_is_sent_twice() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    desk.incoming(id, "hello", "libera/1/0").await;
    desk.incoming(id, "hello", "libera/1/0").await;
    assert_eq!(desk.messages(id, "").await.len(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn messages_are_listed_by_the_four_rules() {
    let settings = SandboxSettings { messages_per_minute_max: 5_000, ..SandboxSettings::default() };
    let desk = Desk::start(settings).await;
    let id = desk.conversation(SOURCE_ID).await;
    for index in 0..150 {
        desk.incoming(id, "x", &format!("libera/{index}/0")).await;
    }
    let all = ids(&desk.messages(id, "?after=1&before=999999").await);
    assert_eq!(all.len(), 150);
    let (first, middle) = (all[0], all[100]);
    assert_eq!(ids(&desk.messages(id, "").await), all[130..], "the latest 20");
    assert_eq!(ids(&desk.messages(id, &format!("?before={middle}")).await), all[80..100], "20 below");
    assert_eq!(ids(&desk.messages(id, &format!("?after={first}")).await), all[1..101], "100 above, without itself");
    let between = desk.messages(id, &format!("?after={first}&before={middle}")).await;
    assert_eq!(ids(&between), all[..100], "from itself on, up to the other");
    desk.stop().await;
}

#[tokio::test]
async fn a_locked_inbox_gives_the_last_conversation_again_whatever_its_status() {
    let settings = SandboxSettings { lock_to_single_conversation: true, ..SandboxSettings::default() };
    let desk = Desk::start(settings).await;
    let first = desk.conversation(SOURCE_ID).await;
    desk.sandbox.resolve(first).unwrap();
    let again = desk.post("/conversations", json!({"source_id": SOURCE_ID})).await;
    assert_eq!((again["id"].as_u64(), again["status"].as_str()), (Some(first), Some("resolved")));
    desk.incoming(first, "back", "libera/2/0").await;
    assert_eq!(desk.see(&format!("/conversations/{first}")).await["status"], "open", "an incoming message reopens");
    desk.stop().await;

    let desk = Desk::fresh().await;
    let first = desk.conversation(SOURCE_ID).await;
    let second = desk.post("/conversations", json!({"source_id": SOURCE_ID})).await;
    assert_ne!(second["id"].as_u64(), Some(first), "an unlocked inbox makes a new one each time");
    desk.stop().await;
}

#[tokio::test]
async fn a_blocked_contact_is_heard_but_opens_nothing() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let (status, _) = desk.call(Method::POST, &format!("/conversations/{id}/mute"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    desk.incoming(id, "let me in", "libera/1/0").await;
    assert_eq!(desk.see(&format!("/conversations/{id}")).await["status"], "resolved");
    let fresh = desk.post("/conversations", json!({"source_id": SOURCE_ID})).await;
    assert_eq!(fresh["status"], "resolved");
    desk.stop().await;
}

#[tokio::test]
async fn a_deleted_contact_leaves_orphans_for_a_while() {
    let window = Duration::from_mins(10);
    let desk = Desk::start(SandboxSettings { deletion_window: window, ..SandboxSettings::default() }).await;
    let id = desk.conversation(SOURCE_ID).await;
    let contact = desk.see(&format!("/conversations/{id}")).await["meta"]["sender"]["id"].as_u64().unwrap();
    desk.sandbox.delete_contact(contact).unwrap();
    let status = async |method: Method, path: &str, body: Value| desk.call(method, path, body).await.0.as_u16();
    assert_eq!(status(Method::GET, &format!("/contacts/{contact}"), json!({})).await, 404);
    assert_eq!(status(Method::GET, &format!("/conversations/{id}"), json!({})).await, 500);
    let again = json!({"inbox_id": 7, "source_id": SOURCE_ID, "identifier": SOURCE_ID});
    assert_eq!(status(Method::POST, "/contacts", again.clone()).await, 500, "the source id is still taken");
    let late = json!({"content": "late", "message_type": "incoming"});
    assert_eq!(status(Method::POST, &format!("/conversations/{id}/messages"), late).await, 422, "after the commit");
    desk.sandbox.advance(window);
    assert_eq!(status(Method::GET, &format!("/conversations/{id}"), json!({})).await, 404);
    assert_eq!(status(Method::POST, "/contacts", again).await, 200);
    desk.stop().await;
}

#[tokio::test]
async fn a_merge_keeps_source_ids_and_conversations() {
    let desk = Desk::fresh().await;
    let id = desk.conversation("libera/old").await;
    let mergee = desk.see(&format!("/conversations/{id}")).await["meta"]["sender"]["id"].clone();
    let base = desk.contact("libera/new").await;
    let merge = json!({"base_contact_id": base, "mergee_contact_id": mergee});
    assert_eq!(desk.post("/actions/contact_merge", merge).await["id"], base);
    let found = desk.post("/contact_inboxes/filter", json!({"inbox_id": 7, "source_id": "libera/old"})).await;
    assert_eq!(found["id"], base);
    assert_eq!(desk.see(&format!("/conversations/{id}")).await["meta"]["sender"]["id"], base);
    desk.stop().await;
}

#[tokio::test]
async fn a_flooded_conversation_refuses_everything_for_a_minute() {
    let desk = Desk::start(SandboxSettings { messages_per_minute_max: 3, ..SandboxSettings::default() }).await;
    let id = desk.conversation(SOURCE_ID).await;
    let other = desk.conversation("libera/eve").await;
    let mut last = Value::Null;
    for index in 0..3 {
        last = desk.incoming(id, "x", &format!("libera/{index}/0")).await;
    }
    let path = format!("/conversations/{id}/messages");
    let (status, body) = desk.call(Method::POST, &path, json!({"content": "x"})).await;
    assert_eq!((status.as_u16(), body), (422, fixture::json("error_422_flood_create")));
    let path = format!("{path}/{}", last["id"]);
    let (status, body) = desk.call(Method::PATCH, &path, json!({"status": "read"})).await;
    assert_eq!((status.as_u16(), body), (422, fixture::json("error_422_flood_update")));
    desk.incoming(other, "not my flood", "libera/9/0").await;
    desk.sandbox.advance(Duration::from_secs(61));
    desk.incoming(id, "again", "libera/4/0").await;
    desk.stop().await;
}

#[tokio::test]
async fn too_many_requests_are_told_in_plain_text_until_the_minute_is_over() {
    let settings = SandboxSettings { requests_per_minute_max: Some(0), ..SandboxSettings::default() };
    let desk = Desk::start(settings).await;
    let answer = desk.request(Method::GET, "/inboxes/7").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert!(!answer.headers().contains_key("retry-after"));
    assert_eq!(answer.text().await.unwrap(), fixture::text("error_429.txt"));
    let health = desk.client.get(format!("{}/health", desk.sandbox.url())).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK, "health is exempt");
    desk.stop().await;
}

#[tokio::test]
async fn an_attachment_is_downloaded_in_two_steps_and_gone_with_its_message() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let png = Part::bytes(b"\x89PNG".to_vec()).file_name("a cat?.png").mime_str("image/png").unwrap();
    let form = Form::new().text("message_type", "incoming").text("source_id", "libera/1/0").part("attachments[]", png);
    let path = format!("/conversations/{id}/messages");
    let message: Value = desk.request(Method::POST, &path).multipart(form).send().await.unwrap().json().await.unwrap();
    assert_shape("message_create_attachment", &message);
    assert_eq!(message["source_id"], "libera/1/0");
    let data_url = message["attachments"][0]["data_url"].as_str().unwrap().to_owned();

    desk.sandbox.faults().files_not_ready(1);
    let get = async |url: &str| desk.client.get(url).send().await.unwrap();
    assert_eq!(get(&data_url).await.status(), StatusCode::NOT_FOUND, "the upload is still under way");
    let redirect = get(&data_url).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    let target = redirect.headers()["location"].to_str().unwrap().to_owned();
    let file = get(&target).await;
    assert_eq!(file.headers()["content-type"], "image/png");
    assert_eq!(&file.bytes().await.unwrap()[..], b"\x89PNG");
    desk.sandbox.advance(Duration::from_secs(301));
    assert_eq!(get(&target).await.status(), StatusCode::NOT_FOUND, "the target has expired");
    assert_eq!(get(&data_url).await.status(), StatusCode::FOUND, "the address has not");
    desk.call(Method::DELETE, &format!("{path}/{}", message["id"]), json!({})).await;
    assert_eq!(get(&data_url).await.status(), StatusCode::NOT_FOUND);

    let bare = Form::new().part("attachments", Part::bytes(b"x".to_vec()).file_name("x.txt"));
    let refused = desk.request(Method::POST, &path).multipart(bare).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "a bare file is no list");
    desk.stop().await;
}

#[tokio::test]
async fn conversations_are_found_by_status_source_and_time() {
    let desk = Desk::fresh().await;
    let ada = desk.conversation(SOURCE_ID).await;
    let eve = desk.conversation("libera/eve").await;
    desk.sandbox.resolve(ada).unwrap();
    let found = async |query: &str| {
        ids(desk.see(&format!("/conversations{query}")).await["data"]["payload"].as_array().unwrap())
    };
    assert_eq!(found("").await, [eve], "open unless told otherwise");
    assert_eq!(found("?status=resolved").await, [ada]);
    assert_eq!(found(&format!("?status=all&source_id={SOURCE_ID}")).await, [ada]);
    assert_eq!(found("?status=all&inbox_id=8").await, [0_u64; 0]);
    desk.sandbox.advance(Duration::from_secs(100));
    desk.incoming(eve, "x", "libera/1/0").await;
    assert_eq!(found("?status=all&updated_within=50").await, [eve]);
    desk.stop().await;
}
