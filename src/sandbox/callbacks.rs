//! The two job queues between a commit and the inbox's `webhook_url`: dispatch (build and sign for) and delivery.
//!
//! As in Chatwoot each delivery is tried once, and a failure is written on the message instead of being repeated.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header;
use sha2::Sha256;
use tokio::sync::Notify;

use super::desk::{Delivery, Desk, Event};
use super::faults::{CallbackFaults, Duplicate, Signing};
use super::{Shared, poster};

/// Events and jobs that may wait; beyond it events are lost and counted, as when Redis is full.
const WAITING_MAX: usize = 1_000_000;
/// How long a reordered batch waits to become full.
const REORDER_WAIT: Duration = Duration::from_millis(200);

/// One delivery, frozen when it was enqueued: later changes of body or secret do not reach it.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) url: String,
    pub(super) body: Bytes,
    pub(super) secret: String,
    pub(super) delivery: String,
    message: Option<(u64, u64)>,
}

#[derive(Default)]
pub(super) struct Callbacks {
    events: Queue<Event>,
    jobs: Queue<Job>,
    /// Events and jobs not finished yet.
    unfinished: AtomicUsize,
    idle: Notify,
    pub(super) posted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Callbacks {
    pub(super) fn enqueue(&self, event: Event) {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        if !self.events.push(event) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.finish();
        }
    }

    /// Wakes the delivery workers after a hold.
    pub(super) fn nudge(&self) {
        self.jobs.wake.notify_waiters();
        self.jobs.wake.notify_one();
    }

    /// Returns when nothing waits and nothing is under way.
    pub(super) async fn until_idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.unfinished.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }

    fn finish(&self) {
        if self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }
}

struct Queue<T> {
    waiting: Mutex<VecDeque<T>>,
    wake: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new() }
    }
}

impl<T> Queue<T> {
    fn push(&self, item: T) -> bool {
        let mut waiting = self.lock();
        if waiting.len() == WAITING_MAX {
            return false;
        }
        waiting.push_back(item);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    async fn pop_unless(&self, held: impl Fn() -> bool) -> T {
        loop {
            let notified = self.wake.notified();
            if !held()
                && let Some(item) = self.take()
            {
                return item;
            }
            notified.await;
        }
    }

    /// The next item; wakes another waiter when more is there, since one permit may stand for several pushes.
    fn take(&self) -> Option<T> {
        let mut waiting = self.lock();
        let item = waiting.pop_front();
        let more = !waiting.is_empty();
        drop(waiting);
        if more {
            self.wake.notify_one();
        }
        item
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns events into jobs, for ever.
pub(super) async fn dispatch(shared: Arc<Shared>) {
    let callbacks = &shared.callbacks;
    let mut gathered: Vec<Job> = Vec::new();
    loop {
        let next = callbacks.events.pop_unless(|| false);
        let event =
            if gathered.is_empty() { Some(next.await) } else { tokio::time::timeout(REORDER_WAIT, next).await.ok() };
        let faults = shared.faults.callback_faults();
        let full = event.is_none();
        if let Some(event) = event {
            gathered.extend(jobs_for(&shared, &event, &faults));
            // The jobs have been counted by themselves.
            callbacks.finish();
        }
        if full || gathered.len() >= faults.reorder {
            for job in gathered.drain(..).rev() {
                if !callbacks.jobs.push(job) {
                    callbacks.lost.fetch_add(1, Ordering::Relaxed);
                    callbacks.finish();
                }
            }
        }
    }
}

fn jobs_for(shared: &Shared, event: &Event, faults: &CallbackFaults) -> Vec<Job> {
    let built = shared.look(|desk| {
        let payload = desk.payload(event)?;
        let inbox = desk.inboxes.get(&payload.inbox)?;
        let url = inbox.webhook_url.clone().filter(|url| !url.is_empty())?;
        Some((payload, url, inbox.secret.clone()))
    });
    let Some((payload, url, secret)) = built else { return Vec::new() };
    if shared.faults.loses_callback(payload.event) {
        shared.callbacks.lost.fetch_add(1, Ordering::Relaxed);
        return Vec::new();
    }
    let body = rails_json(&payload.body);
    let delivery = shared.change(Desk::uuid);
    let job = Job { url, body, secret, delivery, message: payload.message };
    let mut jobs = vec![job];
    if let Some(duplicate) =
        faults.duplicate.filter(|_| faults.only.as_deref().is_none_or(|only| only == payload.event))
    {
        let mut again = jobs[0].clone();
        if duplicate == Duplicate::NewDelivery {
            again.delivery = shared.change(Desk::uuid);
        }
        jobs.push(again);
    }
    shared.callbacks.unfinished.fetch_add(jobs.len(), Ordering::AcqRel);
    jobs
}

/// Delivers jobs, one at a time, for ever. Several of these run, so there is no order between callbacks.
pub(super) async fn deliver(shared: Arc<Shared>) {
    loop {
        let job = shared.callbacks.jobs.pop_unless(|| shared.faults.held()).await;
        let faults = shared.faults.callback_faults();
        if faults.delay_milliseconds > 0 {
            tokio::time::sleep(Duration::from_millis(faults.delay_milliseconds)).await;
        }
        let signing = if shared.settings.is_at_least(4, 13) { faults.signing } else { Signing::Absent };
        let outcome = poster::post(&shared, &job, signing).await;
        shared.callbacks.posted.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            shared.callbacks.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(error = error.as_str(), "a callback failed");
            if let Some((conversation, message)) = job.message {
                shared.change(|desk| desk.set_delivery(conversation, message, Delivery::Failed, Some(&error)));
            }
        }
        shared.callbacks.finish();
    }
}

/// JSON as Rails writes it: what HTML could trip over is escaped, so only the raw bytes can be verified.
fn rails_json(body: &serde_json::Value) -> Bytes {
    let text = body.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// The three headers of a delivery (contract 7.6).
pub(super) fn headers(job: &Job, now_ms: i64, signing: Signing) -> header::HeaderMap {
    let mut headers = header::HeaderMap::new();
    let timestamp = now_ms.div_euclid(1000).to_string();
    let signature = match signing {
        Signing::Right => Some(signature(&job.secret, &timestamp, &job.body)),
        Signing::Wrong => Some(signature("some other key", &timestamp, &job.body)),
        Signing::Absent => None,
    };
    let mut put = |name: &'static str, value: &str| {
        let value = header::HeaderValue::from_str(value).expect("digits, hex and dashes are a header value");
        headers.insert(name, value);
    };
    put("x-chatwoot-delivery", &job.delivery);
    if let Some(signature) = signature {
        put("x-chatwoot-timestamp", &timestamp);
        put("x-chatwoot-signature", &signature);
    }
    headers
}

fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_signed_as_the_fixture_says() {
        let vector = include_str!("../../tests/fixtures/chatwoot/signature.json");
        let vector: serde_json::Value = serde_json::from_str(vector).unwrap();
        let text = |key: &str| vector[key].as_str().unwrap();
        assert_eq!(signature(text("secret"), text("timestamp"), text("body").as_bytes()), text("signature"));
    }

    #[test]
    fn what_html_could_trip_over_is_escaped_and_still_means_the_same() {
        let body = serde_json::json!({"content": "<b>&\u{2028}é\\"});
        let bytes = rails_json(&body);
        assert_eq!(&bytes[..], r#"{"content":"\u003cb\u003e\u0026\u2028é\\"}"#.as_bytes());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), body);
    }
}
