//! What the homeserver may ask of an appservice, over our own listener or through the websocket.

use serde_json::{Value, json};

use crate::{hub::Hub, ids::UserId, wire::read_body};

/// A status and a JSON body: anything else than an object counts as a failure with the homeserver.
pub(crate) type Answer = (u16, Value);

/// `path` without the query, still percent-encoded. The older paths have no prefix.
pub(crate) async fn answer(hub: &Hub, method: &str, path: &str, body: &[u8]) -> Answer {
    let path = path.strip_prefix("/_matrix/app/v1").unwrap_or(path);
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, which) = (parts.next().unwrap_or_default(), parts.next());
    match (what, which) {
        ("transactions", Some(_)) if method == "PUT" => transaction(hub, body).await,
        ("users", Some(user)) if method == "GET" => user_is_there(hub, &decoded(user)).await,
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
async fn transaction(hub: &Hub, body: &[u8]) -> Answer {
    let transaction = match read_body(body) {
        Ok(transaction) => transaction,
        Err(error) => return refusal(400, "M_NOT_JSON", &error.to_string()),
    };
    match hub.take(transaction).await {
        Ok(()) => (200, json!({})),
        Err(reason) => {
            tracing::warn!(reason, "a transaction could not be kept; the homeserver brings it again");
            refusal(503, "M_UNKNOWN", "it could not be kept")
        }
    }
}

/// Only the user that people write to is made on demand; agents are made when they answer.
async fn user_is_there(hub: &Hub, user: &str) -> Answer {
    if UserId::from(user) != hub.me.user {
        return refusal(404, "M_NOT_FOUND", "no such user");
    }
    match hub.client.register(hub.me.user.localpart()).await {
        Ok(()) => (200, json!({})),
        Err(fault) => refusal(503, "M_UNKNOWN", &fault.to_string()),
    }
}

fn decoded(segment: &str) -> String {
    let pairs = format!("a={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
