//! The client against the stand-in inbox over loopback: two readings of one contract, which must agree.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use bridge_api::Secret;
use deskbridge::{
    chatwoot::{
        AccountId, Call, CallFault, Client, ClientSettings, ContactChange, Conversation, ConversationId,
        ConversationStatus, InboxId, MessageId, MessageStatus, MessageType, NewContact, NewConversation, NewMessage,
        Upload,
        callback::{self, GateSettings, Occasion, Verdict},
    },
    sandbox::{Faults, Role, RouteClass, RouteFault, RouteRule, Sandbox, SandboxSettings},
};
use reqwest::{Method, Url};
use serde_json::{Map, json};
use tokio::task::JoinSet;

const SECRET: &str = "demo-callback-secret";
const ADA: &str = "libera/ada";

fn client(sandbox: &Sandbox) -> Client {
    let url = Url::parse(&sandbox.url()).unwrap();
    let (account, inbox) = (AccountId(sandbox.account_id() as i64), InboxId(sandbox.inbox_id() as i64));
    let settings = ClientSettings::new(url, account, inbox, Secret::new(sandbox.api_access_token()));
    Client::new(ClientSettings { request_limit: Duration::from_secs(2), ..settings }).unwrap()
}

fn ada() -> NewContact {
    let (identifier, name, source_id) = (ADA.to_owned(), "ada".to_owned(), ADA.to_owned());
    let additional_attributes = Map::from_iter([("network".to_owned(), json!("libera"))]);
    NewContact { identifier, name, source_id, additional_attributes, email: None, blocked: false }
}

fn incoming(source_id: &str) -> NewMessage {
    NewMessage {
        content: "hello".to_owned(),
        message_type: MessageType::Incoming,
        private: false,
        source_id: source_id.to_owned(),
        content_attributes: Map::new(),
    }
}

async fn opened(client: &Client) -> Conversation {
    let contact = client.create_contact(&ada()).await.unwrap();
    let new = NewConversation { contact_id: contact.id, source_id: ADA.to_owned(), additional_attributes: Map::new() };
    client.create_conversation(&new).await.unwrap()
}

#[tokio::test]
async fn a_contact_is_made_found_and_never_made_twice() {
    for flat_contacts in [false, true] {
        let sandbox = Sandbox::start(SandboxSettings { flat_contacts, ..SandboxSettings::default() }).await.unwrap();
        let client = client(&sandbox);
        assert!(client.contact_by_source_id(ADA).await.unwrap().is_none());
        let made = client.create_contact(&ada()).await.unwrap();
        let source_ids = |contact: &deskbridge::chatwoot::Contact| {
            contact.links_in(client.inbox_id()).map(|link| link.source_id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(source_ids(&made), [ADA], "flat: {flat_contacts}");
        let found = client.contact_by_source_id(ADA).await.unwrap().unwrap();
        assert_eq!((found.id, source_ids(&found)), (made.id, vec![ADA.to_owned()]));
        let again = client.create_contact(&ada()).await.unwrap_err();
        assert!(matches!(&again, CallFault::Taken { attributes, .. } if attributes == &["identifier"]), "{again:?}");
        let by_search = client.contacts_by_search(ADA).await.unwrap();
        assert_eq!(by_search.iter().map(|contact| contact.id).collect::<Vec<_>>(), [made.id]);
        client.contacts_by_identifier(ADA).await.unwrap();
        let change = ContactChange { name: Some("Ada".to_owned()), ..ContactChange::default() };
        client.update_contact(made.id, &change).await.unwrap();
        client.add_link(made.id, "libera/ada2").await.unwrap();
        let read = client.contact(made.id).await.unwrap();
        assert_eq!((read.name.as_deref(), read.links.len()), (Some("Ada"), 2));
        let other = NewContact { identifier: "libera/bob".to_owned(), ..ada() };
        let stolen = client.create_contact(&other).await.unwrap_err();
        assert!(matches!(stolen, CallFault::Doubtful { .. }), "a source id in use is a 500: {stolen:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_conversation_is_opened_posted_to_listed_and_resolved() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let client = client(&sandbox);
    let conversation = opened(&client).await;
    let posted = client.post_message(conversation.id, &incoming("libera/01/0")).await.unwrap();
    let file = Upload::whole("cat.png".to_owned(), "image/png".to_owned(), "PNG".into());
    let beside = NewMessage { content: String::new(), ..incoming("libera/01/1") };
    let place = client.upload_place().await;
    client.post_with_files(conversation.id, &beside, vec![file], place).await.unwrap();
    let rows = client.messages_after(conversation.id, MessageId(posted.id.0 - 1)).await.unwrap();
    let marks: Vec<_> = rows.iter().filter_map(|row| row.source_id.as_deref()).collect();
    assert_eq!(marks, ["libera/01/0", "libera/01/1"]);
    let file = rows[1].attachments[0].data_url.as_deref().unwrap();
    let mut file = client.download(file, 1 << 20).await.unwrap();
    assert_eq!(file.chunk().await.unwrap().as_deref(), Some(&b"PNG"[..]));
    assert_eq!(client.messages_after(conversation.id, rows[1].id).await.unwrap().len(), 0);

    client.set_message_status(conversation.id, posted.id, MessageStatus::Failed, Some("no such nick")).await.unwrap();
    assert_eq!(client.messages_before(conversation.id, None).await.unwrap()[0].status, MessageStatus::Failed);
    client.delete_message(conversation.id, posted.id).await.unwrap();
    client.typing(conversation.id, true).await.unwrap();
    client.toggle_status(conversation.id, ConversationStatus::Resolved).await.unwrap();
    let found = client.conversations_by_source_id(ADA).await.unwrap();
    assert_eq!(
        found.iter().map(|found| (found.id, found.status)).collect::<Vec<_>>(),
        [(conversation.id, ConversationStatus::Resolved)]
    );
    assert_eq!(found[0].source_id(), Some(ADA));
    assert_eq!(client.conversations_updated_within(60).await.unwrap().len(), 1);
    assert_eq!(client.conversation(conversation.id).await.unwrap().contact_id(), conversation.contact_id());
    let gone = client.conversation(ConversationId(4_711)).await.unwrap_err();
    assert_eq!(gone, CallFault::NotFound { call: Call::ReadConversation });
    sandbox.stop().await;
}

#[tokio::test]
async fn the_wiring_is_read_as_either_role() {
    for (role, shown) in [(Role::Administrator, true), (Role::Agent, false)] {
        let sandbox = Sandbox::start(SandboxSettings { role, ..SandboxSettings::default() }).await.unwrap();
        let client = client(&sandbox);
        let inbox = client.inbox().await.unwrap();
        assert_eq!((inbox.is_api(), inbox.secret.is_some()), (true, shown));
        assert!(client.profile().await.unwrap().accounts.iter().any(|account| account.id == client.account_id()));
        assert_eq!(client.account().await.unwrap().id, client.account_id());
        assert_eq!(client.version().await.unwrap().version, "4.15.1");
        client.health().await.unwrap();
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn every_fault_after_a_commit_leaves_a_doubt_that_listing_settles() {
    let faults = [
        RouteFault::CommitThenDrop,
        RouteFault::CommitThenCut,
        RouteFault::CommitThenServerError,
        RouteFault::CommitThenUnprocessable,
        RouteFault::CommitThenBadGateway,
        RouteFault::CommitThenHang,
    ];
    for fault in faults {
        let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
        let client = client(&sandbox);
        let conversation = opened(&client).await;
        strike(sandbox.faults(), fault.clone());
        let doubt = client.post_message(conversation.id, &incoming("libera/02/0")).await.unwrap_err();
        assert!(matches!(doubt, CallFault::Doubtful { call: Call::PostMessage, .. }), "{fault:?}: {doubt:?}");
        let rows = client.messages_after(conversation.id, MessageId(0)).await.unwrap();
        let ours = rows.iter().filter(|row| row.source_id.as_deref() == Some("libera/02/0")).count();
        assert_eq!(ours, 1, "{fault:?}");
        sandbox.stop().await;
    }
}

fn strike(faults: &Faults, fault: RouteFault) {
    faults.add(RouteRule::next(1, RouteClass::Messages, &Method::POST, fault));
}

#[tokio::test]
async fn a_flood_and_a_wrong_token_are_told_apart() {
    let settings = SandboxSettings { messages_per_minute_max: 2, ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.unwrap();
    let client = client(&sandbox);
    let conversation = opened(&client).await;
    for n in 0..2 {
        client.post_message(conversation.id, &incoming(&format!("libera/03/{n}"))).await.unwrap();
    }
    let flooded = client.post_message(conversation.id, &incoming("libera/03/2")).await.unwrap_err();
    assert_eq!(flooded, CallFault::Flooded);
    strike(sandbox.faults(), RouteFault::Unauthorized);
    let refused = client.post_message(conversation.id, &incoming("libera/03/2")).await.unwrap_err();
    assert!(matches!(refused, CallFault::Unauthorised { .. }), "{refused:?}");
    sandbox.stop().await;
}

type Heard = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn listen(heard: Heard, tasks: &mut JoinSet<()>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callbacks/support", listener.local_addr().unwrap());
    let hear = move |headers: HeaderMap, body: Bytes| {
        let heard = Arc::clone(&heard);
        async move { heard.lock().unwrap().push((headers, body)) }
    };
    let door = Router::new().route("/callbacks/support", post(hear));
    tasks.spawn(async move { axum::serve(listener, door).await.unwrap() });
    url
}

#[tokio::test]
async fn of_all_that_is_called_back_only_the_reply_passes_the_gate() {
    let (heard, mut tasks) = (Heard::default(), JoinSet::new());
    let url = listen(Arc::clone(&heard), &mut tasks).await;
    let (callback_url, callback_secret) = (Some(url), Some(SECRET.to_owned()));
    let sandbox =
        Sandbox::start(SandboxSettings { callback_url, callback_secret, ..SandboxSettings::default() }).await.unwrap();
    let client = client(&sandbox);
    let conversation = opened(&client).await;
    client.post_message(conversation.id, &incoming("libera/04/0")).await.unwrap();
    let number = conversation.id.0 as u64;
    sandbox.note(number, "canary in a note").unwrap();
    let reply = MessageId(sandbox.reply(number, "Hi **Ada**").unwrap() as i64);
    sandbox.until_callbacks_are_done().await;

    let is_ours = |source_id: &str| source_id.starts_with("libera/");
    let (account_id, inbox_id) = (client.account_id(), client.inbox_id());
    let gate = GateSettings { account_id, inbox_id, send_templates: true, is_ours: &is_ours };
    let heard = heard.lock().unwrap().clone();
    let mut delivered = Vec::new();
    for (headers, body) in &heard {
        let now = headers[&callback::TIMESTAMP_HEADER].to_str().unwrap().parse().unwrap();
        callback::verify(headers, body, &[Secret::new(SECRET)], now).unwrap();
        callback::verify(headers, body, &[Secret::new("another")], now).unwrap_err();
        let callback = callback::parse(body).unwrap();
        if let Verdict::Deliver(out) = callback::gate(&callback, &gate) {
            assert_eq!((out.conversation, out.link), (conversation.id, Some(ADA)));
            delivered.push((out.message, out.occasion, out.content.to_owned()));
        }
    }
    assert_eq!(delivered, [(reply, Occasion::Created, "Hi **Ada**".to_owned())]);
    assert!(heard.iter().any(|(_, body)| String::from_utf8_lossy(body).contains("canary in a note")), "the note came");

    let row =
        client.messages_before(conversation.id, None).await.unwrap().into_iter().find(|row| row.id == reply).unwrap();
    let swept = callback::listed(account_id, &conversation, &row);
    let verdict = callback::gate(&swept, &gate);
    assert!(matches!(&verdict, Verdict::Deliver(out) if out.occasion == Occasion::Listed), "{verdict:?}");
    sandbox.stop().await;
}
