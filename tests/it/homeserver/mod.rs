//! The stand-in homeserver over loopback: plain HTTP, and a websocket client that reads and writes raw frames.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking")]

mod asmux;
mod calls;
mod customer;
mod faults;
mod media;
mod push;
mod refusals;
mod socket_faults;
mod sync;
mod wsproxy;

use std::time::Duration;

use deskbridge::sandbox::homeserver::{Dialect, Homeserver, HomeserverSettings};
use deskbridge::sandbox::{Sandbox, SandboxSettings};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// No condition here takes a fraction of this.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long nothing may happen before a test believes that nothing will.
const QUIET: Duration = Duration::from_millis(150);
const SUPPORT: &str = "@_desk_support:sandbox.test";
const SENDER: &str = "@_desk_bot:sandbox.test";

/// A sandbox with a homeserver, and a client that speaks as the appservice.
struct Place {
    sandbox: Sandbox,
    home: Homeserver,
    client: Client,
}

impl Place {
    async fn start(settings: HomeserverSettings) -> Self {
        let settings = SandboxSettings { homeserver: Some(settings), ..SandboxSettings::default() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let home = sandbox.homeserver().unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { sandbox, home, client }
    }

    async fn with(dialect: Dialect) -> Self {
        Self::start(HomeserverSettings { dialect, ..HomeserverSettings::default() }).await
    }

    async fn fresh() -> Self {
        Self::start(HomeserverSettings::default()).await
    }

    /// One call with this token. Paths begin behind `/_matrix/client`, or with `/`-`_matrix` where they say so.
    async fn call_with(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let path = if path.starts_with("/_matrix") { path.to_owned() } else { format!("/_matrix/client{path}") };
        let request = self.client.request(method, format!("{}{path}", self.sandbox.url()));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// One call as the appservice.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call_with(&self.home.settings().as_token, method, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::PUT, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn refused(&self, method: Method, path: &str, body: Option<Value>, status: u16, errcode: &str) {
        let (found, answer) = self.call(method, path, body).await;
        assert_eq!((found.as_u16(), answer["errcode"].as_str()), (status, Some(errcode)), "{path}: {answer}");
    }

    /// Registers a ghost of this number and returns its id.
    async fn ghost(&self, name: &str) -> String {
        let localpart = format!("_desk_{name}");
        let body = json!({"type": "m.login.application_service", "username": localpart, "inhibit_login": true});
        let (status, answer) = self.call(Method::POST, "/v3/register", Some(body)).await;
        assert!(status.is_success() || answer["errcode"] == "M_USER_IN_USE", "{answer}");
        format!("@{localpart}:sandbox.test")
    }

    /// A customer's chat that the support user has joined.
    async fn joined_chat(&self, name: &str) -> (String, String) {
        self.ghost("support").await;
        let customer = self.home.customer(name);
        let room = self.home.direct_chat(&customer);
        self.home.join(SUPPORT, &room).unwrap();
        (customer, room)
    }

    async fn socket(&self) -> Wire {
        self.socket_with("sandbox-as-token", Some("3")).await.unwrap()
    }

    async fn socket_with(&self, token: &str, version: Option<&str>) -> Result<Wire, Error> {
        let address = self.sandbox.address();
        let url = format!("ws://{address}/_matrix/client/unstable/fi.mau.as_sync");
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        if !token.is_empty() {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        if let Some(version) = version {
            headers.insert("x-mautrix-websocket-version", version.parse().unwrap());
        }
        tokio_tungstenite::connect_async(request).await.map(|(stream, _)| Wire { stream })
    }

    async fn until<T>(&self, what: &str, found: impl FnMut(&Homeserver) -> Option<T>) -> T {
        self.home.until(DEADLINE, found).await.unwrap_or_else(|| panic!("waited for {what}"))
    }

    async fn stop(self) {
        drop(self.client);
        tokio::time::timeout(DEADLINE, self.sandbox.stop()).await.expect("the sandbox stops");
    }
}

/// The client's end of the websocket.
struct Wire {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wire {
    async fn message(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a frame or an end")
    }

    /// The next frame, which has to be JSON in text.
    async fn frame(&mut self) -> Value {
        match self.message().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Code and reason of the close frame.
    async fn close(&mut self) -> (u16, String) {
        match self.message().await {
            Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("no close frame: {other:?}"),
        }
    }

    /// The connection ends without a close frame.
    async fn cut(&mut self) {
        match self.message().await {
            None | Some(Err(_)) => {}
            other => panic!("not cut: {other:?}"),
        }
    }

    async fn is_quiet(&mut self) {
        let next = tokio::time::timeout(QUIET, self.stream.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    async fn send(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Acknowledges a transaction.
    async fn ack(&mut self, frame: &Value) {
        self.send(json!({"command": "response", "id": frame["id"], "data": {"txn_id": frame["txn_id"]}})).await;
    }

    /// The next frame that says something other than typing and reading, acknowledged.
    async fn transaction(&mut self) -> Value {
        let frame = self.frame().await;
        self.ack(&frame).await;
        frame
    }
}

/// Type and sender of each event of a transaction.
fn told(frame: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = frame["events"].as_array().unwrap();
    events.iter().map(|event| (text(&event["type"]), text(&event["sender"]))).collect()
}

fn bodies(frame: &Value) -> Vec<&str> {
    frame["events"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// One segment of a path.
fn part(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
