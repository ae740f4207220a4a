//! The other way in: transactions pushed over HTTP to the address that the registration names, with Synapse's habits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::errors::MatrixError;
use super::faults::{Picked, SocketFault};
use super::state::Core;

/// How long Synapse waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_mins(1);
const USER_AGENT: &str = "Synapse/1.163.2";

pub(super) struct Pusher {
    client: Client,
    url: Mutex<Option<String>>,
    /// Cuts the wait between two tries short.
    wake: Notify,
}

impl Pusher {
    pub(super) fn new(url: Option<String>) -> Result<Self, reqwest::Error> {
        // Whoever came first has chosen the provider; any of them will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let client = builder.timeout(ANSWER_WAIT).user_agent(USER_AGENT).build()?;
        Ok(Self { client, url: Mutex::new(url), wake: Notify::new() })
    }

    pub(super) fn url(&self) -> Option<String> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_url(&self, url: Option<String>) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
        self.wake.notify_one();
    }
}

/// Delivers one transaction after the other, for ever.
pub(in crate::sandbox) async fn run(core: Arc<Core>) {
    let mut changed = core.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let first = core.look(|house| {
            let first = house.outbox.waiting.front().cloned()?;
            Some((first.id, Value::Object(house.pushed_body(&first))))
        });
        match (core.pusher.url(), first) {
            (Some(url), Some((id, body))) => deliver(&core, &url, id, &body).await,
            _ => {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The same id and body until somebody takes it, or until there is another address.
async fn deliver(core: &Core, url: &str, id: u64, body: &Value) {
    let (mut wait, longest) = core.settings.push_retry;
    let fault = match core.faults.pick_socket(|_| true) {
        Picked::Fault(fault) => Some(fault),
        Picked::Nothing | Picked::Wait => None,
    };
    if let Some(SocketFault::Delay { milliseconds }) = fault {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let times = if fault == Some(SocketFault::Duplicate) { 2 } else { usize::from(fault != Some(SocketFault::Lose)) };
    for _ in 0..times {
        while let Err(error) = put(core, url, id, body).await {
            tracing::debug!(error = error.as_str(), "a transaction was not taken");
            core.change(|house| house.outbox.connected = false);
            // Woken or not: try again.
            drop(tokio::time::timeout(wait, core.pusher.wake.notified()).await);
            if core.pusher.url().as_deref() != Some(url) {
                return;
            }
            wait = (wait * 2).min(longest);
        }
    }
    core.change(|house| {
        house.outbox.connected = true;
        house.outbox.settle(&[id]);
    });
}

async fn put(core: &Core, url: &str, id: u64, body: &Value) -> Result<(), String> {
    let address = format!("{url}/_matrix/app/v1/transactions/{id}");
    let request = core.pusher.client.put(address).bearer_auth(&core.settings.hs_token).json(body);
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("status {status}"));
    }
    // An answer that is no JSON is a failure too.
    answer.json::<Value>().await.map(drop).map_err(|error| error.to_string())
}

/// The homeserver's ping, whose success also ends the wait of a transaction.
pub(super) async fn ping(core: &Core, url: &str, transaction: &Value) -> Result<Value, MatrixError> {
    let began = Instant::now();
    let request = core.pusher.client.post(format!("{url}/_matrix/app/v1/ping")).bearer_auth(&core.settings.hs_token);
    let failed = |error: reqwest::Error| {
        let (status, errcode) = if error.is_timeout() {
            (StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT")
        } else {
            (StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED")
        };
        MatrixError::new(status, errcode, error.to_string())
    };
    let answer = request.json(&json!({"transaction_id": transaction})).send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(failed)?;
    if !(200..300).contains(&status) {
        let error = MatrixError::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", format!("Ping returned status {status}"));
        return Err(error.with("status", json!(status)).with("body", json!(body)));
    }
    core.pusher.wake.notify_one();
    Ok(json!({"duration_ms": began.elapsed().as_millis() as u64}))
}
