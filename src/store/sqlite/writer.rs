//! The one thread that writes. All verbs that wait when it looks share one transaction, and so one sync
//! of the disk; it never lingers for more.

use std::{mem, thread::JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::Checkpointer,
    fault::{Failure, Soundness, is_of_one_verb},
    owner::Owner,
    work::Work,
};
use crate::{store::StoreError, telemetry::Histogram};

/// Verbs that may wait for the thread; more wait to be let in.
const QUEUE_MAX: usize = 1024;
/// Verbs in one transaction.
const BATCH_MAX: usize = 512;

pub(super) enum Command {
    Run(Box<dyn Job>),
    /// Outside of any transaction.
    Alone(Box<dyn FnOnce(&mut Work) + Send>),
    /// The first phase of a checkpoint is over.
    Checkpointed,
    Stop(oneshot::Sender<()>),
}

/// One verb that waits for its transaction.
pub(super) trait Job: Send {
    /// Does it, keeping the answer. Called again when the transaction had to be rolled back.
    fn run(&mut self, work: &mut Work) -> rusqlite::Result<()>;
    /// Tells the caller what became of the transaction.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<T, F> {
    verb: F,
    answer: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Work) -> Result<T, Failure> + Send,
{
    fn run(&mut self, work: &mut Work) -> rusqlite::Result<()> {
        self.answer = Some(match (self.verb)(work) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { answer, caller, .. } = *self;
        // A caller that is gone does not mind.
        caller.send(committed.and_then(|()| answer.unwrap_or(Err(StoreError::Closed)))).ok();
    }
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
    soundness: Soundness,
}

impl Writer {
    /// The thread holds `owners` until everything is closed.
    pub(super) fn start(
        (work, commits): (Work, Histogram),
        owners: Vec<Owner>,
        soundness: Soundness,
    ) -> Result<Self, StoreError> {
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        let checkpointer = Checkpointer::start(work.path(), queue.downgrade(), soundness.clone())?;
        let state = Loop { work, checkpointer, owners, soundness: soundness.clone(), commits };
        let alarm = Alarm(soundness.clone());
        thread("store writer", move || {
            state.run(commands);
            drop(alarm);
        })?;
        Ok(Self { queue, soundness })
    }

    /// Runs a verb in a transaction and returns once that is durable. The verb may run several times,
    /// but only its last run counts.
    pub(super) async fn call<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Work) -> Result<T, Failure> + Send + 'static,
    {
        self.soundness.check()?;
        let (caller, answer) = oneshot::channel();
        let job = Box::new(Call { verb, answer: None, caller });
        let sent = self.queue.send(Command::Run(job)).await;
        let answered = if sent.is_ok() { answer.await.ok() } else { None };
        answered.unwrap_or_else(|| Err(self.soundness.check().err().unwrap_or(StoreError::Closed)))
    }

    /// Runs something that cannot be in a transaction. Everybody waits for it.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Work) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.soundness.check()?;
        let (caller, answer) = oneshot::channel();
        let soundness = self.soundness.clone();
        let run = move |work: &mut Work| {
            // A caller that is gone does not mind.
            caller.send(run(work).map_err(|error| soundness.judge(&error))).ok();
        };
        let sent = self.queue.send(Command::Alone(Box::new(run))).await;
        let answered = if sent.is_ok() { answer.await.ok() } else { None };
        answered.unwrap_or_else(|| Err(self.soundness.check().err().unwrap_or(StoreError::Closed)))
    }

    /// Returns once what was asked for before is done and the file is closed.
    pub(super) async fn stop(&self) {
        let (caller, answer) = oneshot::channel();
        if self.queue.send(Command::Stop(caller)).await.is_ok() {
            // Unanswered only by a thread that has ended as well.
            answer.await.ok();
        }
    }
}

/// Says so when the thread ends by a panic.
struct Alarm(Soundness);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broke("the writing thread panicked");
        }
    }
}

struct Loop {
    work: Work,
    checkpointer: Checkpointer,
    owners: Vec<Owner>,
    soundness: Soundness,
    commits: Histogram,
}

impl Loop {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        let (mut alone, mut stopped) = (Vec::new(), Vec::new());
        while commands.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            let mut checkpointed = false;
            for command in batch.drain(..) {
                match command {
                    Command::Run(job) => jobs.push(job),
                    Command::Alone(run) => alone.push(run),
                    Command::Checkpointed => checkpointed = true,
                    Command::Stop(caller) => {
                        stopped.push(caller);
                        commands.close();
                    }
                }
            }
            if !jobs.is_empty() {
                self.commit(&mut jobs);
                self.checkpointer.committed();
            }
            for run in alone.drain(..) {
                run(&mut self.work);
            }
            if checkpointed {
                self.checkpointer.finish(self.work.connection(), &self.soundness);
            }
        }
        drop(commands);
        self.checkpointer.stop();
        self.work.close();
        drop(self.owners);
        for caller in stopped {
            // Whoever asked for the end and left has it all the same.
            caller.send(()).ok();
        }
    }

    fn commit(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let mut jobs = mem::take(jobs);
        match self.transaction(&mut jobs) {
            Err(error) if jobs.len() > 1 && is_of_one_verb(&error) => {
                for job in jobs {
                    let mut alone = vec![job];
                    let outcome = self.transaction(&mut alone);
                    self.answer(alone, outcome);
                }
            }
            outcome => self.answer(jobs, outcome),
        }
    }

    fn transaction(&mut self, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        if self.soundness.check().is_err() {
            return Ok(());
        }
        let timer = self.commits.start_timer();
        let outcome = self.work.transaction(|work| jobs.iter_mut().try_for_each(|job| job.run(work)));
        timer.observe_duration();
        outcome
    }

    fn answer(&self, jobs: Vec<Box<dyn Job>>, outcome: rusqlite::Result<()>) {
        let outcome = outcome.map_err(|error| self.soundness.judge(&error)).and_then(|()| self.soundness.check());
        for job in jobs {
            job.answer(outcome.clone());
        }
    }
}

pub(super) fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| StoreError::Unwritable(format!("no thread for the store: {error}")))
}
