//! Each call: what it asks, and that it reads the fixtures.

use serde_json::{Map, Value, json};

use super::{CONVERSATION, far_end, greeting};
use crate::chatwoot::{
    AccountId, Call, CallFault, ContactChange, ContactId, ConversationStatus, InboxChange, InboxId, MessageId,
    MessageStatus, MessageType, NewContact, NewConversation, NewMessage, scripted::Step,
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/chatwoot/", $name, ".json"))
    };
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
    client.messages_before(CONVERSATION, None).await.unwrap();
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
        Step::page(200, "<html>log in</html>"),
    ];
    let (client, far) = far_end(steps).await;
    let inbox = client.inbox().await.unwrap();
    assert!(inbox.is_api() && inbox.secret.is_some() && inbox.webhook_url.is_some(), "{inbox:?}");
    assert!(client.inbox().await.unwrap().secret.is_none(), "agents are not shown the secret");
    assert!(client.profile().await.unwrap().accounts.iter().any(|account| account.id == AccountId(1)));
    assert_eq!(client.version().await.unwrap().version, "4.15.1");
    client.health().await.unwrap();
    assert!(client.health().await.is_err(), "a log-in page is not chatwoot");
    let seen = far.seen();
    let paths: Vec<&str> = seen.iter().filter_map(|seen| seen.line.split(' ').nth(1)).collect();
    let inbox = "/api/v1/accounts/1/inboxes/7";
    assert_eq!(paths, [inbox, inbox, "/api/v1/profile", "/api", "/health", "/health"]);
    let with_token: Vec<bool> = seen.iter().map(|seen| seen.header("api-access-token").is_some()).collect();
    assert_eq!(with_token, [true, true, true, false, false, false]);
}

#[tokio::test]
async fn an_inbox_can_be_made_and_repaired() {
    let list = format!(r#"{{"payload":[{}]}}"#, fixture!("inbox"));
    let steps = [list.as_str(), fixture!("inbox"), fixture!("inbox"), fixture!("account")];
    let (client, far) = far_end(steps.map(|body| Step::json(200, body))).await;
    let inbox = InboxId(7);
    assert_eq!(client.inboxes().await.unwrap()[0].id, inbox);
    let new = InboxChange {
        name: Some("Libera".to_owned()),
        webhook_url: Some("http://deskbridge:8600/callbacks/support".to_owned()),
        lock_to_single_conversation: Some(true),
    };
    assert_eq!(client.create_inbox(&new).await.unwrap().id, inbox);
    client.update_inbox(inbox, &InboxChange { name: None, lock_to_single_conversation: None, ..new }).await.unwrap();
    let account = client.account().await.unwrap();
    assert!(account.id == AccountId(1) && !account.has("no_such_feature"));
    let seen = far.seen();
    let url = "http://deskbridge:8600/callbacks/support";
    let wanted = json!({
        "name": "Libera", "lock_to_single_conversation": true, "channel": {"type": "api", "webhook_url": url},
    });
    assert_eq!(seen[1].json(), wanted);
    assert_eq!(seen[2].line, "PATCH /api/v1/accounts/1/inboxes/7 HTTP/1.1");
    assert_eq!(seen[2].json(), json!({"channel": {"webhook_url": url}}));
    assert_eq!(seen[3].line, "GET /api/v1/accounts/1 HTTP/1.1");
}

#[tokio::test]
async fn texts_that_chatwoot_could_not_store_are_made_to_fit() {
    let steps = [fixture!("contact_create_wrapped"), fixture!("conversation_create"), fixture!("message_create")];
    let (client, far) = far_end(steps.map(|body| Step::json(200, body))).await;
    let facts = Map::from_iter([("topic".to_owned(), json!("ä".repeat(2_000))), ("nul".to_owned(), json!(["a\0b"]))]);
    let (identifier, source_id) = ("libera/ada".to_owned(), "libera/ada".to_owned());
    let name = "ä".repeat(300);
    client.create_contact(&NewContact { identifier, name, source_id, ..NewContact::default() }).await.unwrap();
    let (contact_id, source_id) = (ContactId(501), "libera/ada".to_owned());
    client.create_conversation(&NewConversation { contact_id, source_id, additional_attributes: facts }).await.unwrap();
    client.post_message(CONVERSATION, &NewMessage { content: "a\0b".to_owned(), ..greeting() }).await.unwrap();
    let [contact, conversation, message] = &far.seen()[..] else { panic!() };
    assert_eq!(contact.json()["name"], "ä".repeat(255));
    assert_eq!(conversation.json()["additional_attributes"], json!({"topic": "ä".repeat(1_500), "nul": ["ab"]}));
    assert_eq!(message.json()["content"], "ab");
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

#[test]
fn every_row_of_the_fixtures_is_read() {
    let list: Value = serde_json::from_str(fixture!("contact_conversations")).unwrap();
    for conversation in list["payload"].as_array().unwrap() {
        serde_json::from_value::<crate::chatwoot::Conversation>(conversation.clone()).unwrap();
    }
    let list: Value = serde_json::from_str(fixture!("contacts_filter")).unwrap();
    for contact in list["payload"].as_array().unwrap() {
        serde_json::from_value::<crate::chatwoot::Contact>(contact.clone()).unwrap();
    }
}
