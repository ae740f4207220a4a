//! The stand-in inbox over loopback, held against the payloads in `tests/fixtures/chatwoot`.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking")]

mod agent;
mod callbacks;
mod calls;
mod faults;
mod fixture;
mod receiver;

use std::time::Duration;

use deskbridge::sandbox::{Sandbox, SandboxSettings};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// No condition here takes a fraction of this.
const DEADLINE: Duration = Duration::from_secs(20);
const SOURCE_ID: &str = "libera/ada";

/// A sandbox with a client that knows its token.
struct Desk {
    sandbox: Sandbox,
    client: Client,
}

impl Desk {
    async fn start(settings: SandboxSettings) -> Self {
        let sandbox = Sandbox::start(settings).await.unwrap();
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { sandbox, client }
    }

    async fn fresh() -> Self {
        Self::start(SandboxSettings::default()).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1/accounts/1{path}", self.sandbox.url());
        self.client.request(method, url).header("Api-Access-Token", self.sandbox.api_access_token())
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.request(method, path).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn see(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn contact(&self, source_id: &str) -> u64 {
        let body = json!({
            "inbox_id": 7, "source_id": source_id, "identifier": source_id, "name": "ada",
            "additional_attributes": {"network": "libera"},
        });
        self.post("/contacts", body).await["payload"]["contact"]["id"].as_u64().unwrap()
    }

    /// A contact with a conversation, whose display id is returned.
    async fn conversation(&self, source_id: &str) -> u64 {
        let contact = self.contact(source_id).await;
        let body = json!({"inbox_id": 7, "contact_id": contact, "source_id": source_id});
        self.post("/conversations", body).await["id"].as_u64().unwrap()
    }

    async fn incoming(&self, conversation: u64, content: &str, source_id: &str) -> Value {
        let body = json!({"content": content, "message_type": "incoming", "source_id": source_id});
        self.post(&format!("/conversations/{conversation}/messages"), body).await
    }

    async fn messages(&self, conversation: u64, query: &str) -> Vec<Value> {
        let list = self.see(&format!("/conversations/{conversation}/messages{query}")).await;
        list["payload"].as_array().unwrap().clone()
    }

    async fn stop(self) {
        drop(self.client);
        tokio::time::timeout(DEADLINE, self.sandbox.stop()).await.expect("the sandbox stops");
    }
}

fn ids(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["id"].as_u64().unwrap()).collect()
}
