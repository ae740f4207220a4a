//! The client against a scripted far end and the shared fixtures.

use std::{sync::Arc, time::Duration};

use bridge_api::Secret;
use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Url;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::{
    AccountId, Call, CallFault, Client, ClientSettings, ContactChange, ContactId, ConversationId, ConversationStatus,
    InboxId, MessageId, MessageStatus, MessageType, NewContact, NewConversation, NewMessage, Upload,
    scripted::{Scripted, Seen, Step},
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/chatwoot/", $name, ".json"))
    };
}

const TOKEN: &str = "canary-token";

fn settings(origin: &str) -> ClientSettings {
    ClientSettings::new(Url::parse(origin).unwrap(), AccountId(1), InboxId(7), Secret::new(TOKEN))
}

async fn far_end(steps: impl IntoIterator<Item = Step>) -> (Client, Scripted) {
    let far = Scripted::play(steps).await;
    (Client::new(settings(&far.origin)).unwrap(), far)
}

fn only(far: &Scripted) -> Seen {
    let seen = far.seen();
    assert_eq!(seen.len(), 1, "one call is one request: {seen:?}");
    seen.into_iter().next().unwrap()
}

fn greeting() -> NewMessage {
    NewMessage {
        content: "hello".to_owned(),
        message_type: MessageType::Incoming,
        private: false,
        source_id: "libera/01J9/0".to_owned(),
        content_attributes: Map::new(),
        attachments: Vec::new(),
    }
}

const CONVERSATION: ConversationId = ConversationId(42);

#[tokio::test]
async fn a_message_is_posted_with_its_mark_and_the_token() {
    let (client, far) = far_end([Step::json(200, fixture!("message_create"))]).await;
    let mut new = greeting();
    new.content_attributes.insert("in_reply_to".to_owned(), json!(9000));
    assert_eq!(client.post_message(CONVERSATION, &new).await.unwrap().id, MessageId(9001));
    let seen = only(&far);
    assert_eq!(seen.line, "POST /api/v1/accounts/1/conversations/42/messages HTTP/1.1");
    assert_eq!(seen.header("api-access-token"), Some(TOKEN));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let wanted = json!({
        "content": "hello", "message_type": "incoming", "private": false, "source_id": "libera/01J9/0",
        "content_attributes": {"in_reply_to": 9000},
    });
    assert_eq!(seen.json(), wanted);
}

#[tokio::test]
async fn a_file_travels_in_a_form_beside_the_same_fields() {
    let (client, far) = far_end([Step::json(200, fixture!("message_create_attachment"))]).await;
    let mut new = greeting();
    new.content.clear();
    new.content_attributes.insert("in_reply_to".to_owned(), json!(9000));
    let (name, content_type) = ("cät \"1\".png".to_owned(), "image/png".to_owned());
    new.attachments = vec![Upload { name, content_type, bytes: Bytes::from_static(b"PNG bytes") }];
    client.post_message(CONVERSATION, &new).await.unwrap();
    let seen = only(&far);
    assert!(seen.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    for part in
        ["name=\"attachments[]\"", "Content-Type: image/png", "PNG bytes", "libera/01J9/0", "{\"in_reply_to\":9000}"]
    {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
}

#[tokio::test]
async fn what_chatwoot_would_refuse_is_not_sent() {
    let (client, far) = far_end([]).await;
    let file = Upload { name: "a".to_owned(), content_type: "a/b".to_owned(), bytes: Bytes::new() };
    let too_long = NewMessage { content: "ä".repeat(150_001), ..greeting() };
    let empty = NewMessage { content: String::new(), ..greeting() };
    let too_many = NewMessage { attachments: vec![file.clone(); 16], ..greeting() };
    let malformed =
        NewMessage { attachments: vec![Upload { content_type: "\r\nX: y".to_owned(), ..file }], ..greeting() };
    for new in [too_long, empty, too_many, malformed] {
        let fault = client.post_message(CONVERSATION, &new).await.unwrap_err();
        assert!(matches!(fault, CallFault::Invalid { .. }), "{fault:?}");
    }
    assert!(far.seen().is_empty());
}

#[tokio::test]
async fn the_longest_message_is_sent() {
    let (client, far) = far_end([Step::json(200, fixture!("message_create"))]).await;
    client.post_message(CONVERSATION, &NewMessage { content: "ä".repeat(150_000), ..greeting() }).await.unwrap();
    only(&far);
}

#[tokio::test]
async fn an_answer_that_never_came_whole_leaves_the_post_in_doubt() {
    let json = "200 OK\r\nContent-Type: application/json";
    let steps = [
        Step::HangUp,
        Step::Cut { head: json.to_owned(), body: br#"{"id":9001"#.to_vec() },
        Step::page(200, "<html>log in</html>"),
        Step::json(200, r#"{"no":"id"}"#),
        Step::json(500, fixture!("error_500")),
        Step::json(422, fixture!("error_422_after_commit")),
        Step::json(200, &" ".repeat((1 << 20) + 1)),
        Step::Answer { head: "garbage".to_owned(), body: Vec::new() },
    ];
    let count = steps.len();
    let (client, far) = far_end(steps).await;
    for n in 1..=count {
        let fault = client.post_message(CONVERSATION, &greeting()).await.unwrap_err();
        assert!(matches!(fault, CallFault::Doubtful { call: Call::PostMessage, .. }), "{n}: {fault:?}");
        assert_eq!(far.seen().len(), n, "nothing is tried twice");
    }
}

#[tokio::test]
async fn a_far_end_that_says_nothing_leaves_the_post_in_doubt() {
    let far = Scripted::play([Step::Silence]).await;
    let client =
        Client::new(ClientSettings { request_limit: Duration::from_millis(50), ..settings(&far.origin) }).unwrap();
    let fault = client.post_message(CONVERSATION, &greeting()).await.unwrap_err();
    assert!(matches!(fault, CallFault::Doubtful { .. }) && fault.to_string().contains("in time"), "{fault:?}");
    only(&far);
}

#[tokio::test]
async fn a_refused_connection_or_unknown_name_means_not_sent() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for origin in [closed.as_str(), "http://no-such-host.invalid", "https://127.0.0.1:1"] {
        let client = Client::new(settings(origin)).unwrap();
        let fault = client.post_message(CONVERSATION, &greeting()).await.unwrap_err();
        assert!(matches!(fault, CallFault::NotSent { .. }), "{origin}: {fault:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_token_leaves_the_origin() {
    let trap = Scripted::play([Step::json(200, fixture!("message_create"))]).await;
    let (client, _far) = far_end([Step::redirect(&format!("{}/login", trap.origin))]).await;
    let fault = client.post_message(CONVERSATION, &greeting()).await.unwrap_err();
    assert!(matches!(fault, CallFault::NotSent { .. }) && fault.to_string().contains(&trap.origin), "{fault:?}");
    assert!(trap.seen().is_empty());
}

#[tokio::test]
async fn a_contact_is_found_by_its_source_id_or_is_not_there() {
    let steps = [
        Step::json(200, fixture!("contact_inboxes_filter")),
        Step::Answer { head: "404 Not Found".to_owned(), body: Vec::new() },
        Step::json(404, fixture!("error_404")),
    ];
    let (client, far) = far_end(steps).await;
    let found = client.contact_by_source_id("libera/ada").await.unwrap().unwrap();
    assert_eq!((found.id, found.name.as_deref()), (ContactId(501), Some("ada")));
    assert_eq!(found.links_in(InboxId(7)).map(|link| link.source_id.as_str()).collect::<Vec<_>>(), ["libera/ada"]);
    assert!(client.contact_by_source_id("libera/bob").await.unwrap().is_none());
    let fault = client.contact_by_source_id("libera/bob").await.unwrap_err();
    assert_eq!(fault, CallFault::NotFound { call: Call::FindContact }, "the inbox itself is gone");
    let seen = &far.seen()[0];
    assert_eq!(seen.line, "POST /api/v1/accounts/1/contact_inboxes/filter HTTP/1.1");
    assert_eq!(seen.json(), json!({"inbox_id": 7, "source_id": "libera/ada"}));
}

#[tokio::test]
async fn a_created_contact_is_read_in_either_shape() {
    let shapes = [
        fixture!("contact_create_wrapped"),
        fixture!("contact_create_flat"),
        fixture!("contact_create_flat_two_inboxes"),
        // The link told only beside the contact.
        r#"{"payload":{"contact":{"id":501},"contact_inbox":{"inbox":{"id":7},"source_id":"libera/ada"}}}"#,
    ];
    let (client, far) = far_end(shapes.map(|body| Step::json(200, body))).await;
    let mut new = NewContact { identifier: "libera/ada".to_owned(), name: "ada".to_owned(), ..NewContact::default() };
    new.source_id.push_str("libera/ada");
    for shape in shapes {
        let contact = client.create_contact(&new).await.unwrap();
        assert_eq!(contact.id, ContactId(501));
        let links: Vec<&str> = contact.links_in(InboxId(7)).map(|link| link.source_id.as_str()).collect();
        assert_eq!(links, ["libera/ada"], "{shape}");
    }
    let wanted = json!({
        "inbox_id": 7, "source_id": "libera/ada", "identifier": "libera/ada", "name": "ada", "additional_attributes": {},
    });
    assert_eq!(far.seen()[0].json(), wanted, "no empty e-mail: Chatwoot would store it");
    let (client, _far) = far_end([Step::json(200, fixture!("contact_create_without_inbox"))]).await;
    assert!(client.create_contact(&new).await.unwrap().links.is_empty());
}

#[tokio::test]
async fn a_contact_of_a_like_identifier_is_not_taken_for_the_same() {
    let found = json!({"meta": {"count": 3}, "payload": [
        {"id": 1, "identifier": "libera/Ada"}, {"id": 2, "identifier": "libera/ada"}, {"id": 3, "identifier": null},
    ]})
    .to_string();
    let (client, far) = far_end([Step::json(200, &found), Step::json(200, &found)]).await;
    for contacts in [
        client.contacts_by_identifier("libera/ada").await.unwrap(),
        client.contacts_by_search("libera/ada").await.unwrap(),
    ] {
        assert_eq!(contacts.iter().map(|contact| contact.id).collect::<Vec<_>>(), [ContactId(2)]);
    }
    let [filter, search] = &far.seen()[..] else { panic!() };
    assert_eq!(filter.line, "POST /api/v1/accounts/1/contacts/filter?page=1 HTTP/1.1");
    assert_eq!(filter.json()["payload"][0]["values"], json!(["libera/ada"]));
    assert!(
        search.line.contains("/contacts/search?q=libera%2Fada&page=1&include_contact_inboxes=true "),
        "{}",
        search.line
    );
}

#[tokio::test]
async fn contacts_are_read_changed_and_linked() {
    let steps = [
        Step::json(200, fixture!("contact_show")),
        Step::json(200, fixture!("contact_show")),
        Step::json(200, fixture!("contact_inbox_create")),
    ];
    let (client, far) = far_end(steps).await;
    assert_eq!(client.contact(ContactId(501)).await.unwrap().id, ContactId(501));
    let change = ContactChange { name: Some("Ada".to_owned()), ..ContactChange::default() };
    client.update_contact(ContactId(501), &change).await.unwrap();
    assert_eq!(client.add_link(ContactId(501), "libera/ada2").await.unwrap().inbox.id, InboxId(7));
    let seen = far.seen();
    assert_eq!(seen[0].line, "GET /api/v1/accounts/1/contacts/501 HTTP/1.1");
    assert_eq!(seen[1].line, "PATCH /api/v1/accounts/1/contacts/501 HTTP/1.1");
    assert_eq!(seen[1].json(), json!({"name": "Ada"}), "only what changes is sent");
    assert_eq!(seen[2].line, "POST /api/v1/accounts/1/contacts/501/contact_inboxes HTTP/1.1");
    assert_eq!(seen[2].json(), json!({"inbox_id": 7, "source_id": "libera/ada2"}));
}

#[tokio::test]
async fn conversations_are_looked_up_opened_and_changed() {
    let steps = [
        Step::json(200, fixture!("conversation_list")),
        Step::json(200, fixture!("conversation_list")),
        Step::json(200, fixture!("conversation")),
        Step::json(200, fixture!("conversation_create")),
        Step::json(200, fixture!("conversation_toggle_status")),
        Step::Answer { head: "200 OK".to_owned(), body: Vec::new() },
    ];
    let (client, far) = far_end(steps).await;
    let found = client.conversations_by_source_id("libera/ada").await.unwrap();
    assert!(found.iter().all(|conversation| conversation.inbox_id == InboxId(7)) && !found.is_empty());
    assert!(!client.conversations_updated_within(3600).await.unwrap().is_empty());
    let conversation = client.conversation(CONVERSATION).await.unwrap();
    assert_eq!((conversation.id, conversation.contact_id()), (CONVERSATION, Some(ContactId(501))));
    assert_eq!(conversation.source_id(), Some("libera/ada"));
    assert_eq!(conversation.status, ConversationStatus::Open);
    let new = NewConversation {
        contact_id: ContactId(501),
        source_id: "libera/ada".to_owned(),
        additional_attributes: Map::from_iter([("channel".to_owned(), json!("#harbor"))]),
    };
    client.create_conversation(&new).await.unwrap();
    client.toggle_status(CONVERSATION, ConversationStatus::Resolved).await.unwrap();
    client.typing(CONVERSATION, true).await.unwrap();
    let seen = far.seen();
    let list = "GET /api/v1/accounts/1/conversations?inbox_id=7&status=all&";
    assert_eq!(seen[0].line, format!("{list}source_id=libera%2Fada&sort_by=last_activity_at_desc&page=1 HTTP/1.1"));
    assert_eq!(seen[1].line, format!("{list}updated_within=3600 HTTP/1.1"));
    let wanted = json!({
        "inbox_id": 7, "contact_id": 501, "source_id": "libera/ada", "status": "open",
        "additional_attributes": {"channel": "#harbor"},
    });
    assert_eq!(seen[3].json(), wanted);
    assert_eq!(seen[4].json(), json!({"status": "resolved"}));
    assert_eq!(seen[5].json(), json!({"typing_status": "on", "is_private": false}));
}

#[tokio::test]
async fn messages_are_listed_marked_and_deleted() {
    let steps = [
        Step::json(200, fixture!("message_list")),
        Step::json(200, fixture!("message_list")),
        Step::json(200, fixture!("message_status_failed")),
        Step::json(200, fixture!("message_status_failed")),
        Step::json(200, fixture!("message_deleted")),
    ];
    let (client, far) = far_end(steps).await;
    let rows = client.messages_after(CONVERSATION, MessageId(9000)).await.unwrap();
    assert!(rows.is_sorted_by_key(|row| row.id));
    let [first, second, note, failed, ..] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((first.message_type, first.source_id.as_deref()), (MessageType::Incoming, Some("libera/01J9QZ3V5X/0")));
    assert_eq!((second.status, second.created_millis), (MessageStatus::Delivered, 1_781_946_903_000));
    assert!(note.private && !second.private);
    assert_eq!((failed.status, failed.attachments.len()), (MessageStatus::Failed, 1));
    client.messages_latest(CONVERSATION).await.unwrap();
    let message = MessageId(9002);
    client.set_message_status(CONVERSATION, message, MessageStatus::Failed, Some("no such nick")).await.unwrap();
    client.set_message_status(CONVERSATION, message, MessageStatus::Delivered, None).await.unwrap();
    client.delete_message(CONVERSATION, message).await.unwrap();
    let seen = far.seen();
    assert_eq!(seen[0].line, "GET /api/v1/accounts/1/conversations/42/messages?after=9000 HTTP/1.1");
    assert_eq!(seen[1].line, "GET /api/v1/accounts/1/conversations/42/messages HTTP/1.1");
    assert_eq!(seen[2].line, "PATCH /api/v1/accounts/1/conversations/42/messages/9002 HTTP/1.1");
    assert_eq!(seen[2].json(), json!({"status": "failed", "external_error": "no such nick"}));
    assert_eq!(seen[3].json(), json!({"status": "delivered"}));
    assert_eq!(seen[4].line, "DELETE /api/v1/accounts/1/conversations/42/messages/9002 HTTP/1.1");
}

#[tokio::test]
async fn the_wiring_can_be_read_with_the_token_only_where_it_is_needed() {
    let steps = [
        Step::json(200, fixture!("inbox")),
        Step::json(200, fixture!("inbox_agent")),
        Step::json(200, fixture!("profile")),
        Step::json(200, fixture!("api_version")),
        Step::json(200, fixture!("health")),
    ];
    let (client, far) = far_end(steps).await;
    let inbox = client.inbox().await.unwrap();
    assert!(inbox.is_api() && inbox.secret.is_some() && inbox.webhook_url.is_some(), "{inbox:?}");
    assert!(client.inbox().await.unwrap().secret.is_none(), "agents are not shown the secret");
    assert!(client.profile().await.unwrap().accounts.iter().any(|account| account.id == AccountId(1)));
    assert_eq!(client.version().await.unwrap().version, "4.15.1");
    client.health().await.unwrap();
    let seen = far.seen();
    let paths: Vec<&str> = seen.iter().filter_map(|seen| seen.line.split(' ').nth(1)).collect();
    let inbox = "/api/v1/accounts/1/inboxes/7";
    assert_eq!(paths, [inbox, inbox, "/api/v1/profile", "/api", "/health"]);
    let with_token: Vec<bool> = seen.iter().map(|seen| seen.header("api-access-token").is_some()).collect();
    assert_eq!(with_token, [true, true, true, false, false]);
}

#[tokio::test]
async fn odd_fields_do_not_cost_the_whole_answer() {
    let odd = json!({
        "id": 42, "inbox_id": 7, "status": "archived", "meta": [], "messages": {}, "created_at": "soon", "updated_at": null,
        "last_non_activity_message": {"id": "x"}, "brand_new": {"deep": [1]},
    });
    let (client, _far) = far_end([Step::json(200, &odd.to_string())]).await;
    let conversation = client.conversation(CONVERSATION).await.unwrap();
    assert_eq!(conversation.status, ConversationStatus::Other);
    assert_eq!((conversation.contact_id(), conversation.source_id(), conversation.updated_millis), (None, None, 0));
}

#[tokio::test]
async fn only_so_many_requests_are_open_at_once() {
    let release = Arc::new(Notify::new());
    let far = Scripted::play((0..6).map(|_| Step::Hold(Arc::clone(&release)))).await;
    let client = Client::new(ClientSettings { concurrency: 2, ..settings(&far.origin) }).unwrap();
    let calls = join_all((0..6).map(|_| client.health()));
    let opener = async {
        for done in 1..=6 {
            while far.seen().len() < (done + 1).min(6) {
                tokio::task::yield_now().await;
            }
            release.notify_one();
        }
    };
    let both = async { tokio::join!(calls, opener).0 };
    let results = tokio::time::timeout(Duration::from_secs(20), both).await.expect("every call gets its turn");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(far.open(), (0, 2));
}

#[test]
fn settings_that_cannot_work_are_refused_and_nothing_shows_the_token() {
    for (origin, wanted) in [
        ("ftp://desk.example", "url: must begin with http"),
        ("data:text/plain,x", "url: must begin with http"),
        ("http://user:pw@desk.example", "url: must hold no user name"),
    ] {
        let fault = Client::new(settings(origin)).unwrap_err();
        assert!(fault.to_string().starts_with(wanted), "{fault}");
    }
    for token in ["", "a\nb", "a\u{0}b"] {
        let bad = ClientSettings { api_access_token: Secret::new(token), ..settings("http://desk.example") };
        assert_eq!(Client::new(bad).unwrap_err().key, "api_access_token");
    }
    let client = Client::new(settings("http://desk.example/base/?x=1#y")).unwrap();
    assert!(!format!("{client:?}{:?}", settings("http://desk.example")).contains(TOKEN));
}

#[tokio::test]
async fn a_base_path_is_kept() {
    let far = Scripted::play([Step::json(200, fixture!("health"))]).await;
    Client::new(settings(&format!("{}/desk/?x=1", far.origin))).unwrap().health().await.unwrap();
    assert_eq!(only(&far).line, "GET /desk/health HTTP/1.1");
}

#[test]
fn every_row_of_the_fixtures_is_read() {
    let list: Value = serde_json::from_str(fixture!("contact_conversations")).unwrap();
    for conversation in list["payload"].as_array().unwrap() {
        serde_json::from_value::<super::Conversation>(conversation.clone()).unwrap();
    }
    let list: Value = serde_json::from_str(fixture!("contacts_filter")).unwrap();
    for contact in list["payload"].as_array().unwrap() {
        serde_json::from_value::<super::Contact>(contact.clone()).unwrap();
    }
}
