//! The client against a scripted far end and the shared fixtures.

use std::{sync::Arc, time::Duration};

use bridge_api::Secret;
use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Url;
use serde_json::{Map, json};
use tokio::sync::Notify;

use super::{
    AccountId, Call, CallFault, Client, ClientSettings, ConversationId, InboxId, MessageId, MessageStatus, MessageType,
    NewMessage, Upload,
    scripted::{Scripted, Seen, Step},
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/chatwoot/", $name, ".json"))
    };
}

mod calls;

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
    let files = vec![Upload::whole(name, content_type, Bytes::from_static(b"PNG bytes"))];
    client.post_with_files(CONVERSATION, &new, files, client.upload_place().await).await.unwrap();
    let seen = only(&far);
    assert!(seen.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    for part in
        ["name=\"attachments[]\"", "Content-Type: image/png", "PNG bytes", "libera/01J9/0", "{\"in_reply_to\":9000}"]
    {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_is_never_sent_whole() {
    let (client, far) = far_end([Step::json(200, fixture!("message_create_attachment"))]).await;
    let broken = || std::io::Error::other("the network broke off");
    let pieces = futures_util::stream::iter([Ok(Bytes::from_static(b"PNG")), Err(broken())]);
    let file = Upload::streamed("cat.png".to_owned(), "image/png".to_owned(), 9, pieces);
    let posted = client.post_with_files(CONVERSATION, &greeting(), vec![file], client.upload_place().await).await;
    assert!(matches!(posted, Err(CallFault::Doubtful { call: Call::PostMessage, .. })), "{posted:?}");
    assert!(far.seen().is_empty(), "half a request was taken for one");
}

#[tokio::test]
async fn what_chatwoot_would_refuse_is_not_sent() {
    let (client, far) = far_end([]).await;
    let file = |content_type: &str| Upload::whole("a".to_owned(), content_type.to_owned(), Bytes::new());
    let too_long = NewMessage { content: "ä".repeat(150_001), ..greeting() };
    let empty = NewMessage { content: String::new(), ..greeting() };
    let too_many = (greeting(), (0..16).map(|_| file("a/b")).collect());
    let malformed = (greeting(), vec![file("\r\nX: y")]);
    for (new, files) in [(too_long, Vec::new()), (empty, Vec::new()), too_many, malformed] {
        let posted = if files.is_empty() {
            client.post_message(CONVERSATION, &new).await
        } else {
            client.post_with_files(CONVERSATION, &new, files, client.upload_place().await).await
        };
        let fault = posted.unwrap_err();
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
        Step::json(200, &" ".repeat((4 << 20) + 1)),
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
    let plain = Scripted::play([]).await;
    let no_tls = plain.origin.replace("http:", "https:");
    for origin in [closed.as_str(), "http://no-such-host.invalid", &no_tls] {
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

#[tokio::test]
async fn a_login_page_is_no_sign_that_a_message_was_changed() {
    let page = || Step::page(200, "<html>log in</html>");
    let (client, _far) = far_end([page(), page()]).await;
    let message = MessageId(9002);
    let told = client.set_message_status(CONVERSATION, message, MessageStatus::Failed, Some("no such nick")).await;
    assert!(matches!(told, Err(CallFault::Doubtful { call: Call::SetMessageStatus, .. })), "{told:?}");
    let deleted = client.delete_message(CONVERSATION, message).await;
    assert!(matches!(deleted, Err(CallFault::Doubtful { call: Call::DeleteMessage, .. })), "{deleted:?}");
}
