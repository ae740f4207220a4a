//! What the homeserver may ask of an appservice, over our own listener or through the websocket.

use bridge_api::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    client::Client,
    hub::Hub,
    ids::UserId,
    wire::{Transaction, read_body},
};

/// A status and a JSON body: anything else than an object counts as a failure with the homeserver.
pub(crate) type Answer = (u16, Value);

/// Whom a homeserver calls.
#[async_trait]
pub(crate) trait Callee: Send + Sync {
    /// Whom people write to.
    fn user(&self) -> &UserId;
    fn client(&self) -> &Client;
    /// `body` is the transaction as it came. Returns once it is kept.
    async fn take(&self, transaction: Transaction, body: Bytes) -> Result<(), String>;
}

#[async_trait]
impl Callee for Hub {
    fn user(&self) -> &UserId {
        &self.me.user
    }
    fn client(&self) -> &Client {
        &self.client
    }
    async fn take(&self, transaction: Transaction, _body: Bytes) -> Result<(), String> {
        Hub::take(self, transaction).await
    }
}

/// `path` without the query, still percent-encoded. The older paths have no prefix.
pub(crate) async fn answer(callee: &dyn Callee, method: &str, path: &str, body: Bytes) -> Answer {
    let path = path.strip_prefix("/_matrix/app/v1").unwrap_or(path);
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, which) = (parts.next().unwrap_or_default(), parts.next());
    match (what, which) {
        ("transactions", Some(_)) if method == "PUT" => transaction(callee, body).await,
        ("users", Some(user)) if method == "GET" => user_is_there(callee, &decoded(user)).await,
        ("rooms", Some(_)) if method == "GET" => refusal(404, "M_NOT_FOUND", "no such room"),
        ("ping", None) if method == "POST" => (200, json!({})),
        ("thirdparty", _) => refusal(404, "M_NOT_FOUND", "nothing of the kind"),
        ("transactions" | "users" | "rooms", Some(_)) | ("ping", None) => {
            refusal(405, "M_UNRECOGNIZED", "this path has no such method")
        }
        _ => refusal(404, "M_UNRECOGNIZED", "unknown path"),
    }
}

pub(crate) fn refusal(status: u16, code: &str, said: &str) -> Answer {
    (status, json!({ "errcode": code, "error": said }))
}

/// Answered with 200 only when the host has all of it.
async fn transaction(callee: &dyn Callee, body: Bytes) -> Answer {
    let transaction = match read_body(&body) {
        Ok(transaction) => transaction,
        Err(error) => return refusal(400, "M_NOT_JSON", &error.to_string()),
    };
    match callee.take(transaction, body).await {
        Ok(()) => (200, json!({})),
        Err(reason) => {
            tracing::warn!(reason, "a transaction could not be kept; the homeserver brings it again");
            refusal(503, "M_UNKNOWN", "it could not be kept")
        }
    }
}

/// Only the user that people write to is made on demand; agents are made when they answer.
async fn user_is_there(callee: &dyn Callee, user: &str) -> Answer {
    if UserId::from(user) != *callee.user() {
        return refusal(404, "M_NOT_FOUND", "no such user");
    }
    match callee.client().register(callee.user().localpart()).await {
        Ok(()) => (200, json!({})),
        Err(fault) => refusal(503, "M_UNKNOWN", &fault.to_string()),
    }
}

fn decoded(segment: &str) -> String {
    let pairs = format!("a={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
