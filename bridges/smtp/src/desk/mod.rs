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

use std::{sync::Arc, time::Duration};

use bridge_api::{CancellationToken, Host, KeptId, Spooled};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
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

/// Between two looks into the spool: what comes within it is found together.
const LOOK_REST: Duration = Duration::from_millis(5);
/// The same as so many times what the last look took, since each reads the whole spool.
const LOOK_RESTS: u32 = 4;

/// Works until `stop`. What is not entered by then stays in the spool.
pub(crate) async fn run(host: &Host, parts: DeskParts, stop: &CancellationToken) {
    let (results, entering) = mpsc::channel(EXAMINED_MAX);
    let (entered, done) = mpsc::channel(BATCH_MAX);
    let DeskParts { examiner, clerk, key } = parts;
    tokio::select! {
        () = stop.cancelled() => {}
        () = take_in(host, done, clerk.separator(), &examiner, &results) => {}
        () = write_down(host, clerk, (entering, entered)) => {}
        () = upkeep::run(host, &key) => {}
    }
}

/// What a desk stands on.
pub(crate) struct DeskParts {
    examiner: Arc<Examiner>,
    clerk: Clerk,
    key: TokenKey,
}

impl DeskParts {
    pub(crate) fn new(host: &Host, settings: Arc<Settings>, judge: Arc<Judge>, key: TokenKey) -> Self {
        let examiner = Arc::new(Examiner::new(host.clone(), judge));
        Self { examiner, clerk: Clerk::new(settings, key.clone()), key }
    }
}

/// Brings mails from the spool to the examiners, each sender's and each thread's one after another.
async fn take_in(
    host: &Host,
    mut entered: mpsc::Receiver<Vec<KeptId>>,
    separator: char,
    examiner: &Arc<Examiner>,
    results: &mpsc::Sender<Examined>,
) {
    let mut queue = Queue::new(separator);
    let mut working = JoinSet::new();
    let (mut there_is_more, mut rested) = (true, Instant::now());
    loop {
        // What is entered meanwhile is forgotten only behind this, and so not taken for news.
        if there_is_more && queue.runs_low() && Instant::now() >= rested {
            let begun = Instant::now();
            there_is_more = look_through(host, &mut queue).await;
            rested = Instant::now() + (begun.elapsed() * LOOK_RESTS).max(LOOK_REST);
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
            Some(done) = working.join_next() => match done {
                Ok(portion) => queue.done(&portion),
                // The examiner catches what a mail can do; this is a fault of ours, and the spool still has the mail.
                Err(error) => tracing::error!(error = error.to_string(), "an examiner ended before its time"),
            },
            Some(ids) = entered.recv() => queue.forget(&ids),
            () = host.rung(), if !there_is_more => there_is_more = true,
            () = sleep_until(rested), if there_is_more && queue.runs_low() => {}
        }
    }
}

/// Finds what waits in the spool. Returns whether it has to be done again.
async fn look_through(host: &Host, queue: &mut Queue) -> bool {
    let found = match Spooled::all(host, SPOOL).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = error.to_string(), "the spool cannot be read; it is tried again");
            sleep(PAUSE_FIRST).await;
            return true;
        }
    };
    for Spooled { id, about } in found {
        if queue.knows(&id) {
            continue;
        }
        match serde_json::from_str::<Envelope>(&about) {
            Ok(envelope) if queue.has_room() => queue.push(id, envelope),
            Ok(_) => return true,
            Err(error) => {
                tracing::error!(
                    mail = id.as_str(),
                    error = error.to_string(),
                    "the envelope of a mail in the spool cannot be read"
                );
                queue.set_aside(id);
            }
        }
    }
    false
}

/// Enters what was examined, many at once, and repeats until the store has it.
async fn write_down(
    host: &Host,
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
        let ids = batch.drain(..).map(|examined| examined.id).collect();
        if entered.send(ids).await.is_err() {
            return;
        }
    }
}
