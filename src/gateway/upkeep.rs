//! What is done now and then: forgetting what is old, remembering where the inbox stands, reading its
//! callback secret.

use std::{sync::Arc, time::Duration};

use bridge_api::{BridgeState, Cursor, Secret};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::core::InboxParts;
use crate::{
    chatwoot::{CallFault, Client},
    clock::Clock,
    model::{InboxName, Partition},
    sessions::Sessions,
    sinks::{InboxSink, Sink},
    store::{Store, StoreError, own_cursor, set_own_cursor},
    sweep,
    telemetry::{Figures, Stage, StateBoard},
    tenure::Tenure,
};

const BORN: &str = "born";
const MARKS_EVERY: Duration = Duration::from_secs(10);
const PRUNE_EVERY: Duration = Duration::from_hours(1);
/// Who has this one forgets for all.
const PRUNER: Partition = 0;
/// Between two looks at the inbox's own settings while all is well, and while they cannot be read.
const LOOK_EVERY: Duration = Duration::from_mins(10);
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(250);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(5);

/// When this store was made, Unix milliseconds.
pub(super) async fn born_millis(store: &dyn Store, now_millis: i64) -> Result<i64, StoreError> {
    // One that lies ahead was taken from a clock that was wrong: it would make every reply one from before.
    let saved = own_cursor(store, BORN).await?.and_then(|value| value.parse().ok());
    if let Some(born) = saved.filter(|born| *born <= now_millis) {
        return Ok(born);
    }
    set_own_cursor(store, Cursor::set(BORN, now_millis.to_string()), now_millis).await?;
    Ok(now_millis)
}

/// An inbox of which is saved what is known.
pub(super) struct Marked {
    inbox: InboxName,
    sink: Arc<InboxSink>,
    sessions: Arc<Sessions>,
    /// The era and the mark.
    saved: (i64, i64),
}

impl Marked {
    pub(super) fn new(inbox: InboxName, parts: &InboxParts) -> Self {
        Self { inbox, sink: parts.sink.clone(), sessions: parts.sessions.clone(), saved: (0, 0) }
    }

    async fn save(&mut self, store: &dyn Store, clock: Clock) -> Result<(), StoreError> {
        let (era, mark) = (self.sessions.era(), self.sink.mark());
        if mark > 0 && (era, mark) != self.saved {
            let place = sweep::Place { inbox: &self.inbox, home: self.sessions.home() };
            sweep::save_marks(store, place, (mark, &self.sink.witnesses()), clock.now()).await?;
            self.saved = (era, mark);
        }
        Ok(())
    }
}

/// Saves the marks and prunes until `stop`, and saves the marks once more.
pub(super) async fn keep_up(
    store: Arc<dyn Store>,
    mut inboxes: Vec<Marked>,
    retention: Duration,
    (clock, figures, mut tenure): (Clock, Arc<Figures>, Tenure),
    stop: CancellationToken,
) {
    let failed = |error: &StoreError| figures.error(Stage::Upkeep, error.word());
    let mut marks = tokio::time::interval(MARKS_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    loop {
        figures.holds(tenure.held().lease.partitions().len());
        tokio::select! {
            // In this order, so that a simulation can be played again.
            biased;
            () = stop.cancelled() => break,
            () = tenure.changed() => {}
            _ = marks.tick() => save_marks(&*store, &mut inboxes, clock, failed).await,
            _ = prune.tick() => if tenure.term_of_work(PRUNER) > 0 {
                forget_old(&*store, retention, clock, failed).await;
            },
        }
    }
    save_marks(&*store, &mut inboxes, clock, failed).await;
}

async fn save_marks(store: &dyn Store, inboxes: &mut [Marked], clock: Clock, failed: impl Fn(&StoreError)) {
    for inbox in inboxes {
        if let Err(error) = inbox.save(store, clock).await.inspect_err(&failed) {
            tracing::warn!(error = error.to_string(), "a mark was not saved; a probe may look further back");
        }
    }
}

async fn forget_old(store: &dyn Store, retention: Duration, clock: Clock, failed: impl Fn(&StoreError)) {
    match store.prune(clock.now() - retention.as_millis() as i64).await.inspect_err(failed) {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "old history is forgotten"),
        Err(error) => tracing::warn!(error = error.to_string(), "old history could not be forgotten"),
    }
}

/// Looks at the inbox's own settings: at once, and now and then. Tells the callback door the secret where
/// the settings left it out.
pub(super) async fn watch_inbox(
    name: InboxName,
    client: Arc<Client>,
    secrets: Option<watch::Sender<Vec<Secret>>>,
    board: Arc<StateBoard>,
    stop: CancellationToken,
) {
    let mut again = LOOK_AGAIN_FIRST;
    loop {
        let state = match client.inbox().await {
            Ok(inbox) if !inbox.is_api() => {
                degraded("it is not an API inbox, so messages cannot be posted: check `inbox_id`")
            }
            Ok(inbox) => told(inbox.secret, secrets.as_ref()),
            Err(fault @ CallFault::NotFound { .. }) => degraded(&format!("{fault}: check `account_id` and `inbox_id`")),
            Err(fault) => {
                board.figures().error(Stage::Inbox, fault.word());
                BridgeState::Down { reason: fault.to_string() }
            }
        };
        let pause = if state == BridgeState::Up { LOOK_EVERY } else { again };
        again = if state == BridgeState::Up { LOOK_AGAIN_FIRST } else { (again * 2).min(LOOK_AGAIN_MAX) };
        board.inbox(name.as_str(), state);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn told(secret: Option<Secret>, secrets: Option<&watch::Sender<Vec<Secret>>>) -> BridgeState {
    match (secret, secrets) {
        (_, None) => BridgeState::Up,
        (Some(secret), Some(secrets)) => {
            secrets.send_modify(|known| {
                if !known.iter().any(|old| old.expose() == secret.expose()) {
                    // The one before stays good: callbacks that were queued before a change bear the old signature.
                    known.insert(0, secret);
                    known.truncate(2);
                }
            });
            BridgeState::Up
        }
        (None, Some(_)) => degraded(
            "callbacks are refused: the inbox does not show its secret to this token; set `callback_secret`, or use an administrator's token",
        ),
    }
}

fn degraded(reason: &str) -> BridgeState {
    BridgeState::Degraded { reason: reason.to_owned() }
}
