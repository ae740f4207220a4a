//! One connection that writes, and those who wait for it. All verbs that wait when it looks share one transaction, and
//! so one sync of the server's disk; it never lingers for more. When the connection is lost it is opened again, after
//! pauses that grow, and meanwhile the verbs are told that nothing can be written.

use std::{
    collections::{HashMap, HashSet},
    mem,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use super::{
    fault::Failure,
    place::Dialer,
    session::{Name, Session},
    verbs::{Answer as _, Verb},
    work::{Needs, Numbers, Work},
};
use crate::{store::StoreError, telemetry::Histogram};

/// Verbs that may wait for the connection; more wait to be let in.
const QUEUE_MAX: usize = 1024;
/// Verbs in one transaction, and about how much they may write.
const BATCH_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How often a transaction is done again because others wanted the same, and because its connection was lost.
const RACES_MAX: u32 = 20;
const LOSSES_MAX: u32 = 2;
/// Pauses between attempts to connect.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What was asked for so long ago is not begun any more. Shorter than any lease: what a process that hung or was cut off
/// had in hand must not appear behind what others took in since. Whoever asked has it still, or asks again.
const STALE: Duration = Duration::from_secs(5);
/// How long the callers of a commit whose answer was lost wait for somebody who knows what became of it.
const RESOLVE_LIMIT: Duration = Duration::from_secs(30);

const LATE: &str = "it has waited too long for the database";

/// One verb that waits for its transaction.
pub(super) trait Job: Send {
    fn needs(&self, needs: &mut Needs);
    /// Does it, keeping the answer. Called again when the transaction has to be done again.
    fn run(&mut self, work: &mut Work);
    fn bytes(&self) -> usize;
    /// Tells the caller what became of the transaction.
    fn answer(self: Box<Self>, committed: Result<&Numbers, StoreError>);
}

struct Call<V: Verb> {
    verb: V,
    answer: Option<Result<V::Answer, StoreError>>,
    caller: oneshot::Sender<Result<V::Answer, StoreError>>,
}

impl<V: Verb> Job for Call<V> {
    fn needs(&self, needs: &mut Needs) {
        self.verb.needs(needs);
    }
    fn run(&mut self, work: &mut Work) {
        self.answer = Some(self.verb.run(work));
    }
    fn bytes(&self) -> usize {
        self.verb.bytes()
    }
    fn answer(self: Box<Self>, committed: Result<&Numbers, StoreError>) {
        let Self { answer, caller, .. } = *self;
        let answer = committed.and_then(|numbers| {
            let mut answer = answer.unwrap_or(Err(StoreError::Closed))?;
            answer.number(numbers);
            Ok(answer)
        });
        // A caller that is gone does not mind.
        caller.send(answer).ok();
    }
}

enum Command {
    /// With the moment at which it was asked for.
    Run(Box<dyn Job>, Instant),
    Stop(oneshot::Sender<()>),
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
}

impl Writer {
    /// Begins with a connection that is open already, and ends with the last caller.
    pub(super) fn start(
        (dialer, name, session): (Dialer, Name, Session),
        commits: Histogram,
        tasks: &TaskTracker,
    ) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        let state = Loop {
            dialer,
            name,
            session: Some(session),
            number: 0,
            committed: 0,
            sinks: HashMap::new(),
            untold: HashSet::new(),
            pause: Duration::ZERO,
            dial_at: Instant::now(),
            reason: String::new(),
            commits,
            commands,
            stopped: Vec::new(),
        };
        tasks.spawn(state.run());
        Self { queue }
    }

    /// Runs a verb in a transaction and returns once that is durable.
    pub(super) async fn call<V: Verb + 'static>(&self, verb: V) -> Result<V::Answer, StoreError> {
        let (caller, answer) = oneshot::channel();
        let job = Box::new(Call { verb, answer: None, caller });
        self.queue.send(Command::Run(job, Instant::now())).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns once what was asked for before is done and the connection is closed.
    pub(super) async fn stop(&self) {
        let (caller, answer) = oneshot::channel();
        if self.queue.send(Command::Stop(caller)).await.is_ok() {
            // Unanswered only by a task that has ended as well.
            answer.await.ok();
        }
    }
}

struct Loop {
    dialer: Dialer,
    name: Name,
    session: Option<Session>,
    /// Of the last transaction, and of the last one that was committed.
    number: i64,
    committed: i64,
    /// Numbers of sinks.
    sinks: HashMap<String, i32>,
    /// Attempts that may have been begun by a transaction of whose end nobody was told.
    untold: HashSet<(i64, i32)>,
    /// Before the next attempt to connect, and when that is.
    pause: Duration,
    dial_at: Instant,
    /// Why there is no connection.
    reason: String,
    commits: Histogram,
    commands: mpsc::Receiver<Command>,
    stopped: Vec<oneshot::Sender<()>>,
}

impl Loop {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.commands.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (mut jobs, mut bytes) = (Vec::with_capacity(batch.len()), 0);
            for command in batch.drain(..) {
                match command {
                    Command::Run(job, asked) if asked.elapsed() > STALE => {
                        job.answer(Err(StoreError::Unwritable(LATE.to_owned())));
                    }
                    Command::Run(job, _) => {
                        bytes += job.bytes();
                        jobs.push(job);
                        if bytes > BATCH_BYTES_MAX {
                            bytes = 0;
                            self.commit(mem::take(&mut jobs)).await;
                        }
                    }
                    Command::Stop(caller) => self.stop(caller),
                }
            }
            if !jobs.is_empty() {
                self.commit(jobs).await;
            }
        }
        drop(self.session);
        for caller in self.stopped {
            // Whoever asked for the end and left has it all the same.
            caller.send(()).ok();
        }
    }

    fn stop(&mut self, caller: oneshot::Sender<()>) {
        self.stopped.push(caller);
        self.commands.close();
    }

    async fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.transaction(&mut jobs).await {
            Err(Failure::OfOneVerb(_)) if jobs.len() > 1 => {
                for job in jobs {
                    let mut alone = vec![job];
                    let outcome = self.transaction(&mut alone).await;
                    answer(alone, outcome);
                }
            }
            outcome => answer(jobs, outcome),
        }
    }

    /// Until it is known what became of it.
    async fn transaction(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Numbers, Failure> {
        let (mut races, mut losses, begun) = (0, 0, Instant::now());
        loop {
            if begun.elapsed() > STALE {
                return Err(Failure::Lost(LATE.to_owned()));
            }
            self.connect().await?;
            let Some(session) = &mut self.session else { return Err(Failure::Lost(self.reason.clone())) };
            self.number += 1;
            let mut work = Work::default();
            work.untold.clone_from(&self.untold);
            let timer = self.commits.start_timer();
            let done = session.transact(jobs, (&self.name, self.number), &mut self.sinks, &mut work).await;
            timer.observe_duration();
            match done {
                Err(Failure::Raced(_)) if races < RACES_MAX => races += 1,
                Err(Failure::Lost(reason)) => {
                    self.lose(&reason);
                    losses += 1;
                    if losses > LOSSES_MAX {
                        return Err(Failure::Lost(reason));
                    }
                }
                Err(Failure::Unknown(reason)) => {
                    self.lose(&reason);
                    match self.resolve().await {
                        Some(true) => {
                            tracing::info!("the database had committed what it was lost over");
                            return Ok(self.conclude(work));
                        }
                        Some(false) => {}
                        None => {
                            self.untold.extend(&work.begun);
                            return Err(Failure::Unknown(reason));
                        }
                    }
                }
                Ok(()) => return Ok(self.conclude(work)),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Now it is told which attempts were begun.
    fn conclude(&mut self, work: Work) -> Numbers {
        self.committed = self.number;
        if !self.untold.is_empty() {
            self.untold.retain(|attempt| !work.begun.contains(attempt));
        }
        work.numbers
    }

    /// Fails at once while the pause before the next attempt to connect lasts.
    async fn connect(&mut self) -> Result<(), Failure> {
        if self.session.as_ref().is_some_and(Session::is_closed) {
            self.lose("the database closed the connection");
        }
        if self.session.is_some() {
            return Ok(());
        }
        if Instant::now() < self.dial_at {
            return Err(Failure::Lost(self.reason.clone()));
        }
        match Session::dial(&self.dialer, &self.name, self.committed).await {
            Ok(session) => {
                // What another server knows by these numbers may be something else.
                self.sinks.clear();
                self.session = Some(session);
                self.pause = Duration::ZERO;
                tracing::info!("the database is there again");
                Ok(())
            }
            Err(Failure::Refused(error)) => Err(Failure::Refused(error)),
            Err(failure) => {
                let reason = failure.words();
                self.pause = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
                self.dial_at = Instant::now() + self.pause;
                self.reason.clone_from(&reason);
                Err(Failure::Lost(reason))
            }
        }
    }

    fn lose(&mut self, reason: &str) {
        tracing::warn!(reason, "the connection to the database was lost");
        self.session = None;
        reason.clone_into(&mut self.reason);
    }

    /// Whether the last transaction was committed. `None` when nobody could say in time.
    async fn resolve(&mut self) -> Option<bool> {
        let until = Instant::now() + RESOLVE_LIMIT;
        while Instant::now() < until {
            let connected = self.connect().await;
            if matches!(connected, Err(Failure::Refused(_))) {
                return None;
            }
            if let Some(session) = &self.session {
                match session.last(&self.name).await {
                    Ok(last) => return Some(last == self.number),
                    Err(Failure::Lost(reason)) => self.lose(&reason),
                    // Its transaction is still on its way there.
                    Err(_) => {}
                }
            }
            self.refuse_others();
            tokio::time::sleep_until(self.dial_at.max(Instant::now() + PAUSE_FIRST)).await;
        }
        None
    }
}

impl Loop {
    /// Those who wait behind what nobody knows the end of need not wait for it.
    fn refuse_others(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Run(job, _) => job.answer(Err(StoreError::Unwritable(self.reason.clone()))),
                Command::Stop(caller) => self.stop(caller),
            }
        }
    }
}

fn answer(jobs: Vec<Box<dyn Job>>, outcome: Result<Numbers, Failure>) {
    let outcome = outcome.map_err(Failure::reason);
    for job in jobs {
        job.answer(outcome.as_ref().map_err(Clone::clone));
    }
}
