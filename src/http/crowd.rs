//! Who is connected and how far each has come: with a full house whoever has stood still for longest before saying all
//! of a request makes room, so that clients that say nothing keep nobody out.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// Said all of a request, and waits for its answer: never sent away.
const AT_WORK: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Counts steps, which stand for time.
    steps: AtomicU64,
    inside: Mutex<HashMap<u64, Guest>>,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    number: u64,
    /// The step at which it last came further.
    since: Arc<AtomicU64>,
    out: CancellationToken,
}

impl Crowd {
    pub(super) fn enter(self: &Arc<Self>) -> Guest {
        let number = self.step();
        let since = Arc::new(AtomicU64::new(number));
        let guest = Guest { crowd: self.clone(), number, since, out: CancellationToken::new() };
        self.inside().insert(number, guest.clone());
        guest
    }

    /// Asks the one that stood still for longest to leave. False when all are at work.
    pub(super) fn make_room(&self) -> bool {
        let mut inside = self.inside();
        let stillest = inside.values().map(|guest| (guest.since.load(Ordering::Relaxed), guest.number)).min();
        match stillest.filter(|(since, _)| *since != AT_WORK).and_then(|(_, number)| inside.remove(&number)) {
            Some(guest) => {
                guest.out.cancel();
                true
            }
            None => false,
        }
    }

    fn step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed)
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<u64, Guest>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// It came further.
    pub(super) fn moved(&self) {
        self.since.store(self.crowd.step(), Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.crowd.inside().remove(&self.number);
    }

    /// Returns when it has to go.
    pub(super) async fn sent_out(&self) {
        self.out.cancelled().await;
    }

    /// The body of its request, with whose end it is at work.
    pub(super) fn watch(&self, body: Incoming) -> Watched {
        let watched = Watched { body, guest: self.clone() };
        watched.look();
        watched
    }
}

pub(super) struct Watched {
    body: Incoming,
    guest: Guest,
}

impl Watched {
    fn look(&self) {
        if self.body.is_end_stream() {
            self.guest.since.store(AT_WORK, Ordering::Relaxed);
        } else {
            self.guest.moved();
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.guest.since.store(AT_WORK, Ordering::Relaxed),
            // Some pieces are no headway: a body that comes byte by byte stands still.
            Poll::Ready(Some(_)) if self.body.is_end_stream() => self.guest.since.store(AT_WORK, Ordering::Relaxed),
            Poll::Ready(Some(_)) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stood_still_for_longest_goes_first_and_nobody_who_is_at_work() {
        let crowd = Arc::new(Crowd::default());
        let guests: Vec<_> = (0..4).map(|_| crowd.enter()).collect();
        guests[0].moved();
        guests[1].since.store(AT_WORK, Ordering::Relaxed);
        guests[3].leave();
        let gone = || guests.iter().map(|guest| guest.out.is_cancelled()).collect::<Vec<_>>();
        assert!(crowd.make_room());
        assert_eq!(gone(), [false, false, true, false]);
        assert!(crowd.make_room());
        assert_eq!(gone(), [true, false, true, false]);
        assert!(!crowd.make_room(), "who is at work stays");
        guests[1].moved();
        assert!(crowd.make_room());
        assert!(crowd.inside().is_empty());
    }
}
