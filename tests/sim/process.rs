//! One life of a gateway's process: it can end at every touch of the world outside. What happens between two touches
//! is seen by nobody, so an end there is the same as one at the touch.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::weather::{Strike, Weather, lock};

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u32,
    weather: Arc<Weather>,
    dead: AtomicBool,
    died: Notify,
    /// Touches that are left, as far as they are counted.
    left: AtomicI64,
    /// Until when it gets no further, and until when it does not reach the store and the inbox.
    hangs_until: Mutex<Option<Instant>>,
    no_store_until: Mutex<Option<(Instant, Cut)>>,
    no_inbox_until: Mutex<Option<Instant>>,
}

/// How something does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Refused,
    Silent,
}

/// So many touches that none is the last.
const MANY: i64 = i64::MAX / 2;

impl Process {
    pub(crate) fn new(number: u32, weather: Arc<Weather>) -> Arc<Self> {
        Arc::new(Self {
            number,
            weather,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            left: AtomicI64::new(MANY),
            hangs_until: Mutex::default(),
            no_store_until: Mutex::default(),
            no_inbox_until: Mutex::default(),
        })
    }

    /// Touches something outside. Who is dead never gets past this, whatever was under way.
    pub(crate) async fn touch(&self, place: Strike) {
        if !self.is_dead() && self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.weather.met(place);
            self.weather.say(&format!("process {} dies: {place:?}", self.number));
            self.kill();
        }
        while let Some(until) = later(&self.hangs_until) {
            tokio::time::sleep_until(until).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// From now on it gets nowhere for a while, and then goes on where it was.
    pub(crate) fn hang(&self, pause: Duration) {
        *lock(&self.hangs_until) = Some(Instant::now() + pause);
    }
    pub(crate) fn cut_from_store(&self, pause: Duration, cut: Cut) {
        *lock(&self.no_store_until) = Some((Instant::now() + pause, cut));
    }
    pub(crate) fn cut_from_inbox(&self, pause: Duration) {
        *lock(&self.no_inbox_until) = Some(Instant::now() + pause);
    }
    /// Whether the store can be reached, now or in the end.
    pub(crate) async fn reaches_store(&self) -> bool {
        loop {
            let cut = *lock(&self.no_store_until);
            match cut.filter(|(until, _)| *until > Instant::now()) {
                None => return true,
                Some((_, Cut::Refused)) => return false,
                Some((until, Cut::Silent)) => tokio::time::sleep_until(until).await,
            }
        }
    }
    pub(crate) fn reaches_inbox(&self) -> bool {
        later(&self.no_inbox_until).is_none()
    }

    pub(crate) fn crash_after(&self, touches: usize) {
        self.left.store(touches as i64, Ordering::Relaxed);
    }
    pub(crate) fn spare(&self) {
        self.left.store(MANY, Ordering::Relaxed);
        *lock(&self.hangs_until) = None;
        *lock(&self.no_store_until) = None;
        *lock(&self.no_inbox_until) = None;
    }

    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_waiters();
    }
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
    /// Returns when it is dead.
    pub(crate) async fn death(&self) {
        let died = self.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }
}

fn later(until: &Mutex<Option<Instant>>) -> Option<Instant> {
    lock(until).filter(|until| *until > Instant::now())
}
