//! Asks the inbox what no callback told us, and feeds intake.
//!
//! Chatwoot calls back once and never again. So at the start, after each callback that we refused or that it took for
//! lost, and at intervals, the conversations in which something moved are listed and their messages judged by the same
//! gate as callbacks. What is known already changes nothing.

mod adopt;
mod look;
mod pace;
mod position;
mod second_look;
mod witness;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bridge_api::BridgeState;
use tokio_util::sync::CancellationToken;

use self::{pace::Pace, position::Position, second_look::Failed, witness::Standing};
use crate::{
    chatwoot::{CallFault, Client, Conversation, ConversationId, MessageId},
    clock::Clock,
    intake::{Door, Intake, Missed},
    model::{CATCH_UP_LIMIT_MILLIS, SinkName},
    sessions::Sessions,
    store::{Store, StoreError},
    telemetry::{Stage, StateBoard},
    tenure::Tenure,
};

pub use adopt::{Adopted, adopt};
pub use position::{Place, era, newest, save_marks, witnesses};

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
    pub tenure: Tenure,
    /// The rest between two sweeps that nobody asked for.
    pub every: Duration,
    pub requests_per_minute: u32,
}

/// The sweep of one inbox.
pub struct Sweep {
    parts: SweepParts,
    missed: Arc<Missed>,
    pace: Pace,
    position: Option<Position>,
    /// The inbox is this process's to sweep, as of the last look.
    leads: bool,
    /// When the last sweep began, by the clock that nobody sets.
    swept_at_millis: Option<i64>,
    /// The conversations of the last window, as they were when they were looked through.
    looked: HashMap<ConversationId, Looked>,
    /// Conversations that could not be read, and from where on.
    unread: HashMap<ConversationId, MessageId>,
    /// Messages whose untrue marks were put right once by this process.
    put_right: HashSet<MessageId>,
}

/// A conversation that was looked through.
#[derive(Clone, Copy)]
struct Looked {
    updated_millis: i64,
    /// A second look at the same stamp finds what came in the same moment as the first.
    twice: bool,
}

/// How much may have been missed.
#[derive(Clone, Copy)]
struct Missing {
    callbacks: u64,
    orphans: u64,
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

impl Trouble {
    /// Its kind in one word, to be counted by.
    fn word(&self) -> &'static str {
        match self {
            Self::Inbox(fault) => fault.word(),
            Self::Store(error) => error.word(),
            Self::Foreign(_) => "inbox_foreign",
        }
    }
}

impl SweepParts {
    fn place(&self) -> Place<'_> {
        Place { inbox: &self.door.inbox, home: self.sessions.home() }
    }

    /// Where the last process was.
    async fn begin(&self) -> Result<Position, StoreError> {
        let today = self.clock.of_day();
        Position::load(&*self.store, &self.place(), (self.intake.born_millis(), today)).await
    }
}

impl std::ops::Deref for Sweep {
    type Target = SweepParts;

    fn deref(&self) -> &SweepParts {
        &self.parts
    }
}

impl Sweep {
    /// `missed` asks for a sweep soon.
    pub fn new(parts: SweepParts, missed: Arc<Missed>) -> Self {
        let pace = Pace::new(parts.requests_per_minute);
        let (looked, unread, put_right) = Default::default();
        let (position, leads, swept_at_millis) = (None, false, None);
        Self { parts, missed, pace, position, leads, swept_at_millis, looked, unread, put_right }
    }

    /// Holds back what is for the inbox until it is known to be the one that was posted to, and what is for its networks
    /// until the first sweep has ended. To be called before anything is begun.
    pub async fn hold_back(&self) {
        let until_millis = self.clock.now() + CATCH_UP_LIMIT_MILLIS;
        self.intake.distrust(&self.door.inbox, until_millis).await;
        self.intake.pause(&self.door.inbox, until_millis).await;
    }

    /// Sweeps until `stop`: again and again where the inbox is ours to look after, and elsewhere when something may have
    /// been missed by us, or by one whose part we took. In between each process looks whether the inbox is still the one
    /// that it posts to.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut again = AGAIN_FIRST;
        let mut whole = true;
        loop {
            let missed = Missing { callbacks: self.missed.count(), orphans: self.tenure.held().orphans };
            self.turn_to_lead();
            let Some(ended) = stop.run_until_cancelled(self.look(whole)).await else { return };
            let (rest, failed) = match ended {
                Ok(found) => {
                    again = AGAIN_FIRST;
                    self.well(found, missed).await;
                    (self.every, false)
                }
                Err(trouble) => {
                    let rest = self.troubled(&trouble, again).await;
                    again = (again * 2).min(AGAIN_MAX);
                    (rest, true)
                }
            };
            let mut tenure = self.tenure.clone();
            let asked = async {
                tokio::time::sleep(REST_MIN.min(rest)).await;
                self.missed.told().await;
            };
            let orphaned = async {
                while tenure.held().orphans == missed.orphans {
                    tenure.changed().await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = orphaned => whole = true,
                () = tokio::time::sleep(rest) => whole = (whole && failed) || self.is_ours(),
                () = asked => whole = true,
            }
        }
    }

    fn is_ours(&self) -> bool {
        self.tenure.term_of_work(SinkName::inbox(&self.door.inbox).home()) > 0
    }

    /// What others swept meanwhile is in the store, and not in our memory.
    fn turn_to_lead(&mut self) {
        let leads = self.is_ours();
        let led = std::mem::replace(&mut self.leads, leads);
        if !led || !self.leads {
            self.position = None;
            self.swept_at_millis = None;
            self.looked.clear();
            self.unread.clear();
        }
    }

    /// Returns how many messages were news, should they have been looked for.
    async fn look(&mut self, whole: bool) -> Result<Option<usize>, Trouble> {
        if whole {
            return self.once().await.map(Some);
        }
        witness::check(&self.parts, &mut self.pace).await?;
        self.intake.trust(&self.door.inbox).await;
        Ok(None)
    }

    /// `missed`: what was missed before the look began. What came since is not in it.
    async fn well(&mut self, found: Option<usize>, missed: Missing) {
        let inbox = self.parts.door.inbox.as_str();
        if self.parts.intake.reopen(&self.parts.door.inbox) {
            tracing::warn!(inbox, "the inbox holds what was posted there again; it goes on");
            self.parts.board.inbox_may_speak(inbox, BridgeState::Up);
        }
        let Some(found) = found else { return };
        if let Some(figures) = self.parts.board.figures().inbox(inbox) {
            figures.swept(found, self.parts.clock.of_day());
        }
        if found > 0 {
            tracing::info!(inbox, found, "the sweep found what no callback had told");
        }
        if self.missed.count() == missed.callbacks && self.tenure.held().orphans == missed.orphans {
            self.parts.intake.resume(&self.parts.door.inbox).await;
        }
    }

    /// Returns how long to rest.
    async fn troubled(&mut self, trouble: &Trouble, again: Duration) -> Duration {
        let inbox = self.parts.door.inbox.as_str();
        self.board.figures().error(Stage::Sweep, trouble.word());
        match trouble {
            Trouble::Foreign(reason) => {
                if self.intake.shut(&self.door.inbox, reason).await {
                    tracing::error!(inbox, reason = reason.as_str(), "the inbox is stopped");
                }
                self.board.inbox_silenced(inbox, BridgeState::Down { reason: reason.clone() });
                self.every.min(AGAIN_MAX)
            }
            Trouble::Inbox(CallFault::NotFound { .. } | CallFault::Invalid { .. } | CallFault::Taken { .. }) => {
                tracing::warn!(inbox, fault = trouble.to_string(), "this inbox cannot be asked what was missed");
                self.parts.intake.trust(&self.parts.door.inbox).await;
                self.parts.intake.resume(&self.parts.door.inbox).await;
                self.every
            }
            Trouble::Inbox(CallFault::NotSent { .. }) => {
                tracing::info!(inbox, fault = trouble.to_string(), "the inbox cannot be asked what was missed now");
                // It may come back as another one, and nothing is taken there before that was looked at.
                let until_millis = self.clock.now() + CATCH_UP_LIMIT_MILLIS;
                self.parts.intake.distrust(&self.parts.door.inbox, until_millis).await;
                again
            }
            Trouble::Inbox(_) | Trouble::Store(_) => {
                tracing::info!(inbox, fault = trouble.to_string(), "a sweep did not come to its end");
                again
            }
        }
    }

    /// Returns how many messages were news.
    async fn once(&mut self) -> Result<usize, Trouble> {
        let mut position = match self.position {
            Some(position) => position,
            None => self.parts.begin().await?,
        };
        if witness::check(&self.parts, &mut self.pace).await? == Standing::Another {
            // Its numbers mean nothing any more; how long nobody listened does.
            position.floor = MessageId(0);
            self.looked.clear();
            self.unread.clear();
        }
        self.intake.trust(&self.door.inbox).await;
        let (started_millis, today) = (self.clock.now(), self.clock.of_day());
        let window_millis = position.window_millis(today, self.swept_at_millis.map(|last| started_millis - last));
        let failed = second_look::failed(&*self.store, &self.parts.place(), today, started_millis).await?;
        let conversations = self.moved(window_millis, &failed).await?;
        let mut swept = look::Swept::default();
        let mut looked = HashMap::with_capacity(conversations.len());
        for conversation in &conversations {
            let before = self.looked.get(&conversation.id).copied();
            let before = before.filter(|looked| looked.updated_millis == conversation.updated_millis);
            let (updated_millis, twice) = (conversation.updated_millis, before.is_some());
            if before.is_none_or(|looked| !looked.twice) || self.unread.contains_key(&conversation.id) {
                self.look_at(conversation, position.floor, (&failed, today), &mut swept).await?;
            }
            looked.insert(conversation.id, Looked { updated_millis, twice });
        }
        self.looked = looked;
        self.swept_at_millis = Some(started_millis);
        let position = Position { through_millis: today, floor: position.floor.max(swept.settled) };
        self.position = Some(position);
        // The next process knows nothing of what could not be read: it begins where that was missed.
        if self.unread.is_empty() {
            position.save(&*self.store, &self.parts.place(), started_millis).await?;
        }
        Ok(swept.found)
    }

    /// One that cannot be read keeps the others waiting for nothing, and is read again from the same place.
    async fn look_at(
        &mut self,
        conversation: &Conversation,
        floor: MessageId,
        (failed, today): (&Failed, i64),
        swept: &mut look::Swept,
    ) -> Result<(), Trouble> {
        let floor = self.unread.get(&conversation.id).copied().unwrap_or(floor);
        let failed = failed.get(&conversation.id).map(Vec::as_slice).unwrap_or_default();
        match self.look_through(conversation, floor, failed, today).await {
            Ok(seen) => {
                match seen.more_after {
                    Some(after) => self.unread.insert(conversation.id, after),
                    None => self.unread.remove(&conversation.id),
                };
                swept.found += seen.found;
                swept.settled = swept.settled.max(seen.settled);
            }
            Err(Trouble::Inbox(
                fault @ (CallFault::Doubtful { .. } | CallFault::Odd { .. } | CallFault::Invalid { .. }),
            )) => {
                tracing::warn!(
                    inbox = self.door.inbox.as_str(),
                    conversation = conversation.id.0,
                    fault = fault.to_string(),
                    "a conversation cannot be looked through; it is tried again with the next sweep"
                );
                self.unread.insert(conversation.id, floor);
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// The conversations in which something moved within that time, the oldest first.
    async fn moved(&mut self, window_millis: i64, failed: &Failed) -> Result<Vec<Conversation>, Trouble> {
        let seconds = window_millis / 1000 + 1;
        let mut found = Vec::new();
        let mut within = seconds;
        if seconds > PAGED_AFTER_SECONDS {
            let begun = self.clock.now();
            found = self.moved_by_page(window_millis).await?;
            // What moved meanwhile may have moved from a page to come to one that was read.
            within = (self.clock.now() - begun) / 1000 + position::OVERLAP_MILLIS / 1000;
            found.extend(self.one_by_one(failed.keys().chain(self.unread.keys()).copied().collect()).await?);
        } else if !self.unread.is_empty() {
            found = self.one_by_one(self.unread.keys().copied().collect()).await?;
        }
        self.pace.turn().await;
        found.extend(self.client.conversations_updated_within(within as u64).await?);
        // Of two readings of one, the later.
        found.sort_by_key(|conversation| (conversation.id, -conversation.updated_millis));
        found.dedup_by_key(|conversation| conversation.id);
        Ok(found)
    }

    /// By their last messages.
    async fn moved_by_page(&mut self, window_millis: i64) -> Result<Vec<Conversation>, Trouble> {
        // By the inbox's clock, which may be behind ours.
        let since_millis = self.clock.of_day() - window_millis - position::SKEW_MILLIS;
        let mut found = Vec::new();
        for page in 1..=PAGES_MAX {
            self.pace.turn().await;
            let rows = self.client.conversations_by_activity(page).await?;
            let is_last = rows.is_empty() || rows.iter().any(|row| row.last_activity_millis < since_millis);
            found.extend(rows.into_iter().filter(|row| row.last_activity_millis >= since_millis));
            if is_last {
                break;
            }
            if page == PAGES_MAX {
                tracing::warn!(
                    inbox = self.door.inbox.as_str(),
                    conversations = found.len(),
                    "more conversations moved while nobody listened than are looked through; the oldest are not"
                );
            }
        }
        Ok(found)
    }

    /// Conversations that a list by their last messages may not show: a Retry moves nothing there.
    async fn one_by_one(&mut self, ids: HashSet<ConversationId>) -> Result<Vec<Conversation>, Trouble> {
        let mut ids: Vec<_> = ids.into_iter().collect();
        // In one order, so that a simulation plays the same twice.
        ids.sort();
        let mut found = Vec::new();
        for id in ids {
            self.pace.turn().await;
            match self.client.conversation(id).await {
                Ok(conversation) if conversation.inbox_id == self.door.inbox_id => found.push(conversation),
                // Gone, or one that cannot be shown.
                Ok(_) | Err(CallFault::NotFound { .. }) => drop(self.unread.remove(&id)),
                Err(CallFault::Doubtful { .. } | CallFault::Odd { .. } | CallFault::Invalid { .. }) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(found)
    }
}
