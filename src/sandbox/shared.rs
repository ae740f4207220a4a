//! What every task of one sandbox shares: the desk behind its mutex, the queues, the clock, the switches.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SandboxSettings;
use super::callbacks::Callbacks;
use super::desk::{Desk, Event, token};
use super::faults::Faults;
use super::homeserver::Core;
use super::mail;

/// Changes a page may be behind before it has to load everything again.
const FEED_BACKLOG_MAX: usize = 1_024;

pub(super) struct Shared {
    pub(super) settings: SandboxSettings,
    pub(super) address: SocketAddr,
    pub(super) callbacks: Callbacks,
    pub(super) faults: Faults,
    pub(super) client: reqwest::Client,
    /// The customers' side, if there is one.
    pub(super) homeserver: Option<Arc<Core>>,
    /// The relay and the customers' mailbox, if there is one.
    pub(super) post: Option<Arc<mail::Core>>,
    /// Every change, for pages that are open.
    pub(super) feed: broadcast::Sender<Event>,
    /// Signs download links.
    pub(super) file_key: String,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Whether the listener should be open, and whether it is.
    pub(super) wanted: watch::Sender<bool>,
    pub(super) listening: watch::Sender<bool>,
    desk: Mutex<Desk>,
    clock_offset_ms: AtomicI64,
    requests: Mutex<MinuteCount>,
}

#[derive(Default)]
struct MinuteCount {
    minute: i64,
    count: u64,
}

impl Shared {
    pub(super) fn new(
        settings: SandboxSettings,
        address: SocketAddr,
        client: reqwest::Client,
        (homeserver, post): (Option<Arc<Core>>, Option<Arc<mail::Core>>),
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed ^ 0x5ec1);
        let secret = settings.callback_secret.clone().unwrap_or_else(|| token(&mut random));
        let frontend_url = settings.frontend_url.clone().unwrap_or_else(|| format!("http://{address}"));
        Self {
            address,
            callbacks: Callbacks::default(),
            faults: Faults::new(settings.seed),
            client,
            homeserver,
            post,
            feed: broadcast::Sender::new(FEED_BACKLOG_MAX),
            file_key: token(&mut random),
            stop,
            tasks,
            wanted: watch::Sender::new(true),
            listening: watch::Sender::new(true),
            desk: Mutex::new(Desk::new(settings.clone(), frontend_url, secret)),
            clock_offset_ms: AtomicI64::new(0),
            requests: Mutex::default(),
            settings,
        }
    }

    /// Changes the desk and tells the queues what came of it.
    pub(super) fn change<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk();
        desk.now_ms = self.now_ms();
        if !desk.purges.is_empty() {
            desk.purge();
        }
        let outcome = work(&mut desk);
        if !desk.events.is_empty() {
            let told = desk.inboxes.values().any(|inbox| inbox.webhook_url.as_ref().is_some_and(|url| !url.is_empty()));
            for event in desk.events.drain(..) {
                if self.feed.receiver_count() > 0 {
                    // Fails only when the last page has just closed.
                    drop(self.feed.send(event.clone()));
                }
                if told {
                    self.callbacks.enqueue(event);
                }
            }
        }
        outcome
    }

    pub(super) fn look<T>(&self, work: impl FnOnce(&Desk) -> T) -> T {
        work(&self.desk())
    }

    /// Unix time in milliseconds by the sandbox's own clock.
    pub(super) fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond() + self.clock_offset_ms.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        self.clock_offset_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// Counts one request; true when it is over the limit of this clock minute.
    pub(super) fn over_request_limit(&self) -> bool {
        let Some(limit) = self.settings.requests_per_minute_max else { return false };
        let minute = self.now_ms().div_euclid(60_000);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.minute != minute {
            *requests = MinuteCount { minute, count: 0 };
        }
        requests.count += 1;
        requests.count > limit
    }

    pub(super) async fn set_listening(&self, on: bool) {
        let mut listening = self.listening.subscribe();
        self.wanted.send_replace(on);
        // Ends early only when the sandbox is gone, and then nothing listens.
        drop(self.stop.run_until_cancelled(listening.wait_for(|now| *now == on)).await);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
