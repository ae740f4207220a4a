//! Takes mails out of the spool and reports them to the gateway: examined side by side, one sender's in their order, and
//! entered by one hand. A mail leaves the spool in the transaction that accepts what it says.

mod enter;
mod examine;
mod letter;
mod queue;
mod report;
mod returned;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge_api::{CancellationToken, Host, KeptId};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::sleep,
};

use self::{
    enter::Clerk,
    examine::{Examined, Examiner},
    queue::Queue,
};
pub(crate) use self::{
    letter::{Desk, letter},
    report::file_of,
};
use crate::{
    envelope::{Envelope, SPOOL},
    server::Intake,
    settings::Settings,
    token::TokenKey,
    verdict::Judge,
};

/// Senders whose mails are examined at once.
const SENDERS_MAX: usize = 256;
/// Examined mails that wait to be entered.
const EXAMINED_MAX: usize = 128;
/// Mails entered in one transaction.
const BATCH_MAX: usize = 64;
/// When the store refuses.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Works until `stop`. What is not entered by then stays in the spool.
pub(crate) async fn run(host: &Host, parts: DeskParts, stop: &CancellationToken) {
    let (results, entering) = mpsc::channel(EXAMINED_MAX);
    let (entered, done) = mpsc::channel(BATCH_MAX);
    let DeskParts { arrivals, missed, waiting, examiner, clerk, key } = parts;
    tokio::select! {
        () = stop.cancelled() => {}
        () = take_in(host, (arrivals, done), &missed, clerk.separator(), &examiner, &results) => {}
        () = write_down(host, &waiting, clerk, (entering, entered)) => {}
        () = upkeep::run(host, &key) => {}
    }
}

/// What a desk stands on.
pub(crate) struct DeskParts {
    pub(crate) arrivals: mpsc::Receiver<(KeptId, Envelope)>,
    /// Notified when a mail had no place in `arrivals`.
    pub(crate) missed: Arc<Notify>,
    /// Mails in the spool.
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) examiner: Arc<Examiner>,
    pub(crate) clerk: Clerk,
    pub(crate) key: TokenKey,
}

impl DeskParts {
    pub(crate) fn new(
        arrivals: mpsc::Receiver<(KeptId, Envelope)>,
        intake: &Intake,
        settings: Arc<Settings>,
        judge: Arc<Judge>,
        key: TokenKey,
    ) -> Self {
        let examiner = Arc::new(Examiner::new(intake.host.clone(), judge));
        let (missed, waiting) = (intake.missed.clone(), intake.waiting.clone());
        Self { arrivals, missed, waiting, examiner, clerk: Clerk::new(settings, key.clone()), key }
    }
}

/// Brings mails from the spool to the examiners, each sender's and each thread's one after another.
async fn take_in(
    host: &Host,
    (mut arrivals, mut entered): (mpsc::Receiver<(KeptId, Envelope)>, mpsc::Receiver<Vec<KeptId>>),
    missed: &Notify,
    separator: char,
    examiner: &Arc<Examiner>,
    results: &mpsc::Sender<Examined>,
) {
    let mut queue = Queue::new(separator);
    let mut working = JoinSet::new();
    let mut fresh = true;
    loop {
        // At the start, and when more came than fitted into the channel.
        if fresh && queue.runs_low() {
            fresh = refill(host, &mut arrivals, &mut queue).await;
        }
        while working.len() < SENDERS_MAX
            && let Some((portion, mails)) = queue.next()
        {
            let (examiner, results) = (examiner.clone(), results.clone());
            working.spawn(async move {
                examiner.examine(mails, &results).await;
                portion
            });
        }
        tokio::select! {
            // What was missed came before what is in the channel.
            arrived = arrivals.recv(), if queue.has_room() && !fresh => match arrived {
                Some((id, envelope)) => queue.push(id, envelope),
                None => return,
            },
            Some(done) = working.join_next() => match done {
                Ok(portion) => queue.done(&portion),
                // The examiner catches what a mail can do; this is a fault of ours, and the spool still has the mail.
                Err(error) => tracing::error!(error = error.to_string(), "an examiner ended before its time"),
            },
            Some(ids) = entered.recv() => queue.forget(&ids),
            () = missed.notified() => fresh = true,
        }
    }
}

/// Takes up what waits in the spool. What is in the channel is there, too, and is taken from there alone: found now and
/// received later, it might be entered in between, and would be entered again. Returns whether it has to be done again.
async fn refill(host: &Host, arrivals: &mut mpsc::Receiver<(KeptId, Envelope)>, queue: &mut Queue) -> bool {
    while arrivals.try_recv().is_ok() {}
    queue.begin_look();
    look_through(host, queue).await
}

/// Finds what waits in the spool. Returns whether it has to be done again.
async fn look_through(host: &Host, queue: &mut Queue) -> bool {
    match host.cursors(SPOOL).await {
        Ok(found) => {
            for cursor in found {
                let Some(id) = cursor.name.strip_prefix(SPOOL) else { continue };
                match cursor.value.as_deref().map(serde_json::from_str::<Envelope>) {
                    Some(Ok(envelope)) if queue.has_room() => queue.find(KeptId::from(id), envelope),
                    Some(Ok(_)) => return true,
                    Some(Err(error)) => {
                        tracing::error!(
                            mail = id,
                            error = error.to_string(),
                            "the envelope of a mail in the spool cannot be read"
                        );
                    }
                    None => {}
                }
            }
            false
        }
        Err(error) => {
            tracing::warn!(error = error.to_string(), "the spool cannot be read; it is tried again");
            sleep(PAUSE_FIRST).await;
            true
        }
    }
}

/// Enters what was examined, many at once, and repeats until the store has it.
async fn write_down(
    host: &Host,
    waiting: &AtomicUsize,
    mut clerk: Clerk,
    (mut entering, entered): (mpsc::Receiver<Examined>, mpsc::Sender<Vec<KeptId>>),
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while entering.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut pause = PAUSE_FIRST;
        while let Err(error) = clerk.enter(host, &batch).await {
            tracing::warn!(error = error.to_string(), "mails wait in the spool, since the store cannot be written");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let less = |waiting: usize| Some(waiting.saturating_sub(batch.len()));
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok();
        let ids = batch.drain(..).map(|examined| examined.id).collect();
        if entered.send(ids).await.is_err() {
            return;
        }
    }
}
