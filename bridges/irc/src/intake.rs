//! Hands events and cursors to the host, batch by batch, and keeps them until it has taken them.

use std::{future::Future, pin::Pin, time::Duration};

use bridge_api::{AcceptError, Cursor, Host, Inbound};

/// Events and cursors of one or more drains of the machine, all or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Inbound>,
    pub(crate) cursors: Vec<Cursor>,
}

impl Batch {
    fn len(&self) -> usize {
        self.events.len() + self.cursors.len()
    }
}

type Accepting = Pin<Box<dyn Future<Output = Result<(), AcceptError>> + Send>>;

enum Work {
    Idle,
    Accepting(Accepting, Batch),
    /// The host refused; again after the pause.
    Pausing(Pin<Box<tokio::time::Sleep>>, Batch),
}

pub(crate) struct Intake {
    host: Host,
    work: Work,
    next: Batch,
    refusals: u32,
}

/// With this many events waiting, nothing more is read from the network.
const WAITING_MAX: usize = 8192;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);

impl Intake {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, work: Work::Idle, next: Batch::default(), refusals: 0 }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn next(&mut self) -> &mut Batch {
        &mut self.next
    }

    /// True: stop reading, so that the network waits instead of our memory.
    pub(crate) fn is_full(&self) -> bool {
        self.next.len() >= WAITING_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.work, Work::Idle) && self.next.len() == 0
    }

    /// These cursors are not to be written, as far as they wait here.
    pub(crate) fn forget(&mut self, names: &[String]) {
        let waiting = match &mut self.work {
            Work::Idle => None,
            Work::Accepting(_, batch) | Work::Pausing(_, batch) => Some(batch),
        };
        for batch in waiting.into_iter().chain([&mut self.next]) {
            batch.cursors.retain(|cursor| !names.contains(&cursor.name));
        }
    }

    /// What the host is given now can no longer be changed.
    pub(crate) fn is_accepting(&self) -> bool {
        matches!(self.work, Work::Accepting(..))
    }

    /// Makes one step; never returns while there is nothing to do. Cancel-safe: what is under way
    /// stays in `self`.
    pub(crate) async fn step(&mut self) {
        if matches!(self.work, Work::Idle) {
            if self.next.len() == 0 {
                std::future::pending::<()>().await;
            }
            let batch = std::mem::take(&mut self.next);
            self.work = self.accept(batch);
        }
        match &mut self.work {
            Work::Idle => {}
            Work::Accepting(accepting, batch) => {
                let result = accepting.await;
                let batch = std::mem::take(batch);
                self.work = match result {
                    Ok(()) => {
                        self.refusals = 0;
                        Work::Idle
                    }
                    Err(error) => self.pause(batch, &error),
                };
            }
            Work::Pausing(sleep, batch) => {
                sleep.await;
                let batch = std::mem::take(batch);
                self.work = self.accept(batch);
            }
        }
    }

    fn accept(&self, batch: Batch) -> Work {
        let (host, Batch { events, cursors }) = (self.host.clone(), batch.clone());
        Work::Accepting(Box::pin(async move { host.accept(events, cursors).await }), batch)
    }

    fn pause(&mut self, batch: Batch, error: &AcceptError) -> Work {
        let pause = PAUSE_FIRST.saturating_mul(2u32.saturating_pow(self.refusals.min(10))).min(PAUSE_MOST);
        self.refusals = self.refusals.saturating_add(1);
        tracing::warn!(error = error.to_string(), events = batch.events.len(), "what was read cannot be kept yet");
        Work::Pausing(Box::pin(tokio::time::sleep(pause)), batch)
    }
}
