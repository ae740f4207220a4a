//! One life of a gateway's process: it can end at every touch of the world outside. What happens between two touches
//! is seen by nobody, so an end there is the same as one at the touch.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::Notify;

use crate::weather::{Strike, Weather};

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u32,
    weather: Arc<Weather>,
    dead: AtomicBool,
    died: Notify,
    /// Touches that are left, as far as they are counted.
    left: AtomicI64,
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
        })
    }

    /// Touches something outside. Who is dead never gets past this, whatever was under way.
    pub(crate) async fn touch(&self, place: Strike) {
        if !self.is_dead() && self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.weather.met(place);
            self.weather.say(&format!("process {} dies: {place:?}", self.number));
            self.kill();
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn crash_after(&self, touches: usize) {
        self.left.store(touches as i64, Ordering::Relaxed);
    }
    pub(crate) fn spare(&self) {
        self.left.store(MANY, Ordering::Relaxed);
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
