//! Asks the inbox what no callback told us, and feeds intake.
//!
//! Chatwoot calls back once and never again. So at the start, after each callback that we refused or that it took for
//! lost, and at intervals, the conversations in which something moved are listed and their messages judged by the same
//! gate as callbacks. What is known already changes nothing.

mod adopt;
mod pace;
mod position;
mod second_look;
mod witness;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bridge_api::BridgeState;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    pace::Pace,
    position::Position,
    second_look::{Failed, Failure, Finding},
    witness::Standing,
};
use crate::{
    chatwoot::{
        CallFault, Client, Conversation, ConversationId, MESSAGES_PAGE, MessageId, MessageRow,
        callback::{Callback, Event, listed, standing},
    },
    clock::Clock,
    intake::{Door, Intake},
    model::MessageRef,
    sessions::Sessions,
    store::{Store, StoreError},
    telemetry::StateBoard,
};

pub use adopt::{Adopted, adopt};
pub use position::{Place, era, newest, save_marks};

/// Nothing is sent to the inbox's networks before its first sweep has ended, for at most so long: an elder reply may
/// have been missed while nobody listened.
const CATCH_UP_LIMIT_MILLIS: i64 = 60_000;
/// Between two sweeps, however often one is asked for.
const REST_MIN: Duration = Duration::from_secs(2);
/// Before a sweep that failed is tried again: the first time, and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// A list of this much time is read page by page, since it may be longer than one answer.
const PAGED_AFTER_SECONDS: i64 = 3600;
/// Pages of one conversation, and of the list of conversations, that one sweep reads.
const PAGES_MAX: usize = 1000;

/// What a [`Sweep`] stands on.
pub struct SweepParts {
    pub client: Arc<Client>,
    pub intake: Arc<Intake>,
    pub store: Arc<dyn Store>,
    pub sessions: Arc<Sessions>,
    pub board: Arc<StateBoard>,
    pub door: Door,
    pub clock: Clock,
    /// The rest between two sweeps that nobody asked for.
    pub every: Duration,
    pub requests_per_minute: u32,
}

/// The sweep of one inbox.
pub struct Sweep {
    parts: SweepParts,
    owed: Arc<Notify>,
    pace: Pace,
    position: Option<Position>,
    /// The conversations of the last window, as they were when they were looked through.
    looked: HashMap<ConversationId, Looked>,
    /// What the inbox holds is not what was posted there: nothing is done for it.
    stopped: bool,
}

/// A conversation that was looked through.
#[derive(Clone, Copy)]
struct Looked {
    updated_millis: i64,
    /// A second look at the same stamp finds what came in the same moment as the first.
    twice: bool,
}

/// Why a sweep did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Inbox(#[from] CallFault),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The inbox was restored from a backup, or is another one.
    #[error("{0}")]
    Foreign(String),
}

impl SweepParts {
    fn place(&self) -> Place<'_> {
        Place { inbox: &self.door.inbox, home: self.sessions.home() }
    }
}

impl std::ops::Deref for Sweep {
    type Target = SweepParts;

    fn deref(&self) -> &SweepParts {
        &self.parts
    }
}

impl Sweep {
    /// `owed` asks for a sweep soon.
    pub fn new(parts: SweepParts, owed: Arc<Notify>) -> Self {
        let pace = Pace::new(parts.requests_per_minute);
        Self { parts, owed, pace, position: None, looked: HashMap::new(), stopped: false }
    }

    /// Holds the inbox's networks back until the first sweep has ended. To be called before anything is begun.
    pub async fn hold_back(&self) {
        self.intake.pause(&self.door.inbox, self.clock.now() + CATCH_UP_LIMIT_MILLIS).await;
    }

    /// Sweeps until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut again = AGAIN_FIRST;
        loop {
            let Some(ended) = stop.run_until_cancelled(self.once()).await else { return };
            let rest = match ended {
                Ok(found) => {
                    again = AGAIN_FIRST;
                    self.well(found).await;
                    self.every
                }
                Err(trouble) => {
                    let rest = self.troubled(&trouble, again).await;
                    again = (again * 2).min(AGAIN_MAX);
                    rest
                }
            };
            let asked = async {
                tokio::time::sleep(REST_MIN.min(rest)).await;
                self.owed.notified().await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
                () = asked => {}
            }
        }
    }

    async fn well(&mut self, found: usize) {
        let inbox = self.parts.door.inbox.as_str();
        if found > 0 {
            tracing::info!(inbox, found, "the sweep found what no callback had told");
        }
        if std::mem::take(&mut self.stopped) {
            tracing::warn!(inbox, "the inbox holds what was posted there again; it goes on");
            self.parts.intake.reopen(&self.parts.door.inbox).await;
            self.parts.board.inbox_may_speak(inbox, BridgeState::Up);
        }
        self.parts.intake.resume(&self.parts.door.inbox).await;
    }

    /// Returns how long to rest.
    async fn troubled(&mut self, trouble: &Trouble, again: Duration) -> Duration {
        let inbox = self.parts.door.inbox.as_str();
        match trouble {
            Trouble::Foreign(reason) => {
                if !std::mem::replace(&mut self.stopped, true) {
                    tracing::error!(inbox, reason = reason.as_str(), "the inbox is stopped");
                }
                self.intake.shut(&self.door.inbox, reason).await;
                self.board.inbox_silenced(inbox, BridgeState::Down { reason: reason.clone() });
                self.every.min(AGAIN_MAX)
            }
            Trouble::Inbox(CallFault::NotFound { .. } | CallFault::Invalid { .. } | CallFault::Taken { .. }) => {
                tracing::warn!(inbox, trouble = trouble.to_string(), "this inbox cannot be asked what was missed");
                self.intake.resume(&self.door.inbox).await;
                self.every
            }
            Trouble::Inbox(_) | Trouble::Store(_) => {
                tracing::info!(inbox, trouble = trouble.to_string(), "a sweep did not come to its end");
                again
            }
        }
    }

    /// Returns how many messages were news.
    async fn once(&mut self) -> Result<usize, Trouble> {
        let started_millis = self.clock.now();
        if witness::check(&self.parts, &mut self.pace).await? == Standing::Another {
            self.position = None;
            self.looked.clear();
        }
        let position = match self.position {
            Some(position) => position,
            None => Position::load(&*self.store, &self.place(), started_millis).await?,
        };
        let window_millis = position.window_millis(started_millis);
        let mut failed = second_look::failed(&*self.store, &self.door.inbox, started_millis).await?;
        let conversations = self.moved(window_millis, &failed).await?;
        let (mut found, mut settled) = (0, position.floor);
        let mut looked = HashMap::with_capacity(conversations.len());
        for conversation in &conversations {
            let before = self.looked.get(&conversation.id).copied();
            let before = before.filter(|looked| looked.updated_millis == conversation.updated_millis);
            let failed = failed.remove(&conversation.id).unwrap_or_default();
            if before.is_none_or(|looked| !looked.twice) {
                let seen = self.look_through(conversation, position.floor, &failed).await?;
                found += seen.found;
                settled = settled.max(seen.highest_before(started_millis));
            }
            let (updated_millis, twice) = (conversation.updated_millis, before.is_some());
            looked.insert(conversation.id, Looked { updated_millis, twice });
        }
        self.looked = looked;
        let position = Position { through_millis: started_millis, floor: settled };
        position.save(&*self.store, &self.place(), started_millis).await?;
        self.position = Some(position);
        Ok(found)
    }

    /// The conversations in which something moved within that time, the oldest first.
    async fn moved(&mut self, window_millis: i64, failed: &Failed) -> Result<Vec<Conversation>, Trouble> {
        let seconds = window_millis / 1000 + 1;
        let mut found = if seconds <= PAGED_AFTER_SECONDS {
            self.pace.turn().await;
            self.client.conversations_updated_within(seconds as u64).await?
        } else {
            self.moved_by_page(window_millis, failed).await?
        };
        found.sort_by_key(|conversation| conversation.id);
        found.dedup_by_key(|conversation| conversation.id);
        Ok(found)
    }

    /// By their last messages. A Retry moves nothing there, so conversations with one that may be are read one by one.
    async fn moved_by_page(&mut self, window_millis: i64, failed: &Failed) -> Result<Vec<Conversation>, Trouble> {
        let since_millis = self.clock.now() - window_millis;
        let mut found = Vec::new();
        for page in 1..=PAGES_MAX {
            self.pace.turn().await;
            let rows = self.client.conversations_by_activity(page).await?;
            let is_last = rows.is_empty() || rows.iter().any(|row| row.last_activity_millis < since_millis);
            found.extend(rows.into_iter().filter(|row| row.last_activity_millis >= since_millis));
            if is_last {
                break;
            }
        }
        for id in failed.keys() {
            if found.iter().all(|conversation| conversation.id != *id) {
                self.pace.turn().await;
                match self.client.conversation(*id).await {
                    Ok(conversation) if conversation.inbox_id == self.door.inbox_id => found.push(conversation),
                    Ok(_) | Err(CallFault::NotFound { .. }) => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
        }
        Ok(found)
    }

    async fn look_through(
        &mut self,
        conversation: &Conversation,
        floor: MessageId,
        failed: &[Failure],
    ) -> Result<Seen, Trouble> {
        let mut seen = Seen::default();
        let mut after = failed.iter().map(|failure| MessageId(failure.message.message - 1)).fold(floor, MessageId::min);
        if floor == MessageId(0) {
            // Before the first sweep has ended there is no floor to begin at.
            let rows = self.since_we_began(conversation).await?;
            self.judge(conversation, &rows, failed, &mut seen).await?;
        } else {
            for _ in 0..PAGES_MAX {
                self.pace.turn().await;
                let rows = match self.client.messages_after(conversation.id, after).await {
                    // Deleted since it was listed.
                    Err(CallFault::NotFound { .. }) => break,
                    rows => rows?,
                };
                self.judge(conversation, &rows, failed, &mut seen).await?;
                match rows.last() {
                    Some(last) if rows.len() >= MESSAGES_PAGE => after = last.id,
                    Some(_) | None => break,
                }
            }
        }
        let standing = standing(self.door.account_id, conversation);
        self.intake.listed(&self.door, &[standing]).await?;
        Ok(seen)
    }

    /// Backwards, to what was written before this gateway began.
    async fn since_we_began(&mut self, conversation: &Conversation) -> Result<Vec<MessageRow>, Trouble> {
        let mut rows = Vec::new();
        let mut before = None;
        for _ in 0..PAGES_MAX {
            self.pace.turn().await;
            let page = match self.client.messages_before(conversation.id, before).await {
                Err(CallFault::NotFound { .. }) => break,
                page => page?,
            };
            let Some(first) = page.first() else { break };
            before = Some(first.id);
            let reached = first.created_millis < self.intake.born_millis() - position::SKEW_MILLIS;
            rows.extend(page);
            if reached {
                break;
            }
        }
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    async fn judge(
        &self,
        conversation: &Conversation,
        rows: &[MessageRow],
        failed: &[Failure],
        seen: &mut Seen,
    ) -> Result<(), Trouble> {
        let callbacks: Vec<_> = rows.iter().map(|row| listed(self.door.account_id, conversation, row)).collect();
        let news = self.intake.listed(&self.door, &callbacks).await?;
        for ((row, callback), is_new) in rows.iter().zip(callbacks).zip(news) {
            seen.stamps.push((row.created_millis, row.id));
            seen.found += usize::from(is_new);
            if !is_new {
                self.look_again(row, callback, failed).await?;
            }
        }
        Ok(())
    }

    async fn look_again(&self, row: &MessageRow, listed: Callback<'_>, failed: &[Failure]) -> Result<(), Trouble> {
        let message =
            MessageRef { inbox: self.door.inbox.clone(), conversation: row.conversation_id.0, message: row.id.0 };
        match second_look::look(&*self.store, (&message, row), failed).await? {
            Finding::Nothing => {}
            Finding::Untrue { status, reason } => self.intake.tell_status(&message, status, reason).await?,
            Finding::Retried(failure) => {
                let retry = Callback { event: Event::MessageUpdated, ..listed };
                match &failure.late {
                    None => drop(self.intake.callback(&self.door, &retry).await?),
                    Some(late) => self.intake.send_again(&self.door, &retry, late).await?,
                }
            }
        }
        Ok(())
    }
}

/// What a look through a conversation has come to.
#[derive(Default)]
struct Seen {
    found: usize,
    stamps: Vec<(i64, MessageId)>,
}

impl Seen {
    /// The highest id of what was there for so long that nothing below it can still appear.
    fn highest_before(&self, now_millis: i64) -> MessageId {
        let old = self.stamps.iter().filter(|(created_millis, _)| *created_millis < now_millis - position::SKEW_MILLIS);
        old.map(|(_, id)| *id).max().unwrap_or(MessageId(0))
    }
}
