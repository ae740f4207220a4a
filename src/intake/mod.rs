//! The one door in, for both directions: what came is turned into orders and accepted by the store. Calls
//! nobody and waits for nothing but the disk.

mod counted;
mod gate;
mod missed;
mod people;
mod reply;
mod to_its_end;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bridge_api::{Admission, Bridge, BridgeName, Caller, Cursor, Inbound, Key, ThreadId};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::to_its_end::ToItsEnd;
pub use self::{gate::Gates, missed::Missed, reply::user_of};
use crate::{
    chatwoot::{
        AccountId, ConversationId, ConversationStatus, InboxId, MessageId,
        callback::{Callback, Event, GateSettings, Ignored, Verdict, gate},
    },
    clock::Clock,
    model::{
        Feed, Group, InboxName, LateFailure, MessageRef, MessageStatus, OWN_SCOPE, Roster, SinkName, Waiting, orders,
    },
    store::{Accepted, Batch, Blob, BlobId, Fill, Held, Store, StoreError, own_cursor},
    telemetry::BridgeFigures,
};

pub struct Intake {
    store: Arc<dyn Store>,
    feed: mpsc::Sender<Feed>,
    clock: Clock,
    tasks: TaskTracker,
    routes: Arc<Routes>,
    horizon: Horizon,
    gates: Arc<Gates>,
    /// Inboxes for which nothing is done, and why.
    shut: Mutex<HashMap<InboxName, String>>,
}

/// Which messages are too old to be orders.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// When this store was made: what agents wrote before is not for us.
    pub born_millis: i64,
    /// For how long the store knows what it had: beyond that, a repeat could not be told from news.
    pub memory_millis: i64,
}

/// The routes by their bridges' names.
pub type Routes = Roster<BridgeName, Route>;

/// Where a bridge's messages go, and who cuts replies for it.
pub struct Route {
    pub inbox: InboxName,
    pub bridge: Arc<dyn Bridge>,
    /// Where it is said that an agent types in a thread, or no longer does.
    pub typing: mpsc::Sender<(ThreadId, bool)>,
    pub figures: Arc<BridgeFigures>,
}

/// One inbox as its callbacks come in: whose they must be, and how they are treated.
#[derive(Clone, Debug)]
pub struct Door {
    pub inbox: InboxName,
    pub account_id: AccountId,
    pub inbox_id: InboxId,
    /// Whether the inbox's own texts are carried too.
    pub send_templates: bool,
    /// How long a fresh reply waits, so that an elder one whose callback is slower can still take its place.
    pub grace_millis: i64,
    pub late: Late,
}

/// What becomes of a reply that was written long before it could be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub after_millis: i64,
    pub then: WhenLate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLate {
    /// Kept as a dead letter that an operator can send; the agent is told.
    Hold,
    /// The agent is told.
    Fail,
}

/// What became of a callback, for the log and the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Stored,
    Duplicate,
    Ignored(&'static str),
    /// What it means can only be seen by asking: a message is marked as failed, which is also done when a callback did not
    /// reach us; or something moved at one that failed after it was sent, which may be the agent's Retry.
    LookAgain,
    /// Nothing is done for this inbox now.
    Refused(String),
}

/// What a callback or a row orders.
enum Judged {
    Work(Group),
    Held(Held),
}

impl Intake {
    pub fn new(
        store: Arc<dyn Store>,
        feed: mpsc::Sender<Feed>,
        clock: Clock,
        tasks: TaskTracker,
        (routes, gates): (Arc<Routes>, Arc<Gates>),
        horizon: Horizon,
    ) -> Self {
        Self { store, feed, clock, tasks, routes, horizon, gates, shut: Mutex::default() }
    }

    /// Who is let in.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Whether somebody may be acknowledged who is not known by a thread yet.
    pub fn admit(&self, bridge: &BridgeName, caller: &Caller, begins: bool) -> Admission {
        let Some(route) = self.routes.find(bridge) else { return Admission::Welcome };
        self.gates.admit((bridge, &route), caller, begins, self.clock.now())
    }

    /// Keeps what a bridge reports, with its cursors.
    pub async fn inbound(
        &self,
        bridge: &BridgeName,
        events: Vec<Inbound>,
        cursors: Vec<Cursor>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(route) = self.routes.find(bridge) else { return Ok(()) };
        let events = self.gates.let_in(&*self.store, (bridge, &route), events, now).await?;
        let groups: Vec<_> =
            events.into_iter().filter_map(|event| orders::inbound(&route.inbox, bridge, event, now)).collect();
        let mut cursors: Vec<_> = cursors.into_iter().map(|cursor| (bridge.to_string(), cursor)).collect();
        for late in groups.iter().filter_map(|group| orders::late_failure(group, now)) {
            // Told again it is no news, and may have been made good meanwhile.
            if self.store.history(&late.told).await?.is_none() {
                cursors.push((OWN_SCOPE.to_owned(), late.into_cursor(&route.inbox)));
            }
        }
        self.accept(Batch { groups, cursors, ..Batch::default() }, now).await.map(drop)
    }

    /// Keeps bytes for a bridge, with its cursors, the first of which holds them.
    pub async fn keep(
        &self,
        bridge: &BridgeName,
        bytes: Bytes,
        cursors: impl FnOnce(&BlobId) -> Vec<Cursor>,
    ) -> Result<BlobId, StoreError> {
        let now = self.clock.now();
        let id = self.store.name_blob(now);
        let cursors: Vec<_> = cursors(&id).into_iter().map(|cursor| (bridge.to_string(), cursor)).collect();
        let held_by = cursors.first().map(|(scope, cursor)| (scope.clone(), cursor.name.clone()));
        let blobs = vec![Blob { id: id.clone(), bytes, held_by }];
        self.accept(Batch { cursors, blobs, ..Batch::default() }, now).await?;
        Ok(id)
    }

    /// Begins to keep something too large for memory.
    pub async fn fill(&self) -> Result<(BlobId, Box<dyn Fill>), StoreError> {
        let id = self.store.name_blob(self.clock.now());
        let fill = self.store.fill(&id).await?;
        Ok((id, fill))
    }

    /// A number greater than all before, also than those that other processes have.
    pub async fn ordinal(&self) -> Result<i64, StoreError> {
        self.store.ordinal(self.clock.now()).await
    }

    pub async fn kept(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        self.store.blob(id).await
    }

    /// Judges a callback and keeps what it orders.
    pub async fn callback(&self, door: &Door, callback: &Callback<'_>) -> Result<Taken, StoreError> {
        if let Some(reason) = lock(&self.shut).get(&door.inbox) {
            return Ok(Taken::Refused(reason.clone()));
        }
        let now = self.clock.now();
        let batch = match self.judge(door, callback, now, now + door.grace_millis) {
            Ok(Judged::Work(group)) => Batch { groups: vec![group], ..Batch::default() },
            Ok(Judged::Held(held)) => Batch { held: vec![held], ..Batch::default() },
            Err(taken) => return Ok(taken),
        };
        let accepted = self.accept(batch, now).await?;
        if accepted != [Accepted::Duplicate] {
            return Ok(Taken::Stored);
        }
        let updated = callback.message_id.filter(|_| callback.event == Event::MessageUpdated);
        if let Some(message) = updated
            && own_cursor(&*self.store, &LateFailure::name(&door.inbox, message.0)).await?.is_some()
        {
            return Ok(Taken::LookAgain);
        }
        Ok(Taken::Duplicate)
    }

    /// Judges rows that a sweep listed, all of one conversation and in the order of their ids, and keeps what they order,
    /// together. Says of each whether it was news.
    pub async fn listed(&self, door: &Door, rows: &[Callback<'_>]) -> Result<Vec<bool>, StoreError> {
        let now = self.clock.now();
        let mut batch = Batch::default();
        let (mut worked, mut held) = (Vec::new(), Vec::new());
        for (place, row) in rows.iter().enumerate() {
            match self.judge(door, row, now, now) {
                Ok(Judged::Work(group)) => {
                    batch.groups.push(group);
                    worked.push(place);
                }
                Ok(Judged::Held(kept)) => {
                    batch.held.push(kept);
                    held.push(place);
                }
                Err(_) => {}
            }
        }
        let mut news = vec![false; rows.len()];
        if worked.is_empty() && held.is_empty() {
            return Ok(news);
        }
        let accepted = self.accept(batch, now).await?;
        for (place, accepted) in worked.into_iter().chain(held).zip(accepted) {
            news[place] = accepted != Accepted::Duplicate;
        }
        Ok(news)
    }

    /// Tells the agent once more what became of a message, since something else is shown.
    pub async fn tell_status(
        &self,
        message: &MessageRef,
        status: MessageStatus,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let groups = vec![orders::status(message, status, reason, now)];
        self.accept(Batch { groups, ..Batch::default() }, now).await.map(drop)
    }

    /// An agent asks again for a message that failed after it had been sent. `retry` is its row, as an update.
    pub async fn send_again(&self, door: &Door, retry: &Callback<'_>, late: &LateFailure) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Ok(Judged::Work(mut group)) = self.judge(door, retry, now, now) else { return Ok(()) };
        // Sent once more is another effect, with a key of its own; the same failure is made good once.
        for envelope in &mut group.envelopes {
            envelope.key = Key::new(format!("{}~{}", envelope.key, late.at_millis));
        }
        let gone = Cursor::remove(LateFailure::name(&door.inbox, late.message));
        let cursors = vec![(OWN_SCOPE.to_owned(), gone)];
        self.accept(Batch { groups: vec![group], cursors, ..Batch::default() }, now).await.map(drop)
    }

    fn judge(&self, door: &Door, callback: &Callback<'_>, now: i64, due: i64) -> Result<Judged, Taken> {
        let is_ours = |id: &str| id.split_once('/').is_some_and(|(bridge, _)| self.routes.has(&bridge.into()));
        let settings = GateSettings {
            account_id: door.account_id,
            inbox_id: door.inbox_id,
            send_templates: door.send_templates,
            is_ours: &is_ours,
        };
        match gate(callback, &settings) {
            Verdict::Deliver(message) => self.reply(door, &message, now, due).map_err(Taken::Ignored),
            Verdict::Withdrawn { conversation, message, link } => {
                let message = message_ref(&door.inbox, conversation, message);
                let (bridge, _, thread) = self.place_of(&door.inbox, link)?;
                let place = (bridge, thread);
                Ok(Judged::Work(orders::withdraw(message, callback.created_millis, place, due)))
            }
            Verdict::ConversationStatus {
                conversation,
                status: ConversationStatus::Resolved,
                updated_millis,
                link,
            } => {
                let (bridge, _, thread) = self.place_of(&door.inbox, link)?;
                let place = (bridge, thread);
                Ok(Judged::Work(orders::resolved(&door.inbox, place, conversation.0, (updated_millis, now))))
            }
            // Whoever writes next finds an open conversation by looking, so only the end of one is news.
            Verdict::ConversationStatus { .. } => Err(Taken::Ignored("the conversation lives")),
            Verdict::Typing { link, on } => {
                if let Some((_, route, thread)) = self.place(&door.inbox, link) {
                    // Worthless later: with a full queue it is dropped.
                    drop(route.typing.try_send((thread, on)));
                }
                Err(Taken::Ignored("nothing to keep"))
            }
            Verdict::Ignored(Ignored::Failed) => Err(Taken::LookAgain),
            Verdict::Ignored(_) => Err(Taken::Ignored("not for a peer")),
        }
    }

    /// Nothing more is asked of the inbox itself before that moment, or before [`trust`](Self::trust): it may not be the
    /// one that was posted to.
    pub async fn distrust(&self, inbox: &InboxName, until_millis: i64) {
        let sinks = vec![SinkName::inbox(inbox)];
        drop(self.feed.send(Feed::Pause { sinks, until_millis }).await);
    }

    pub async fn trust(&self, inbox: &InboxName) {
        drop(self.feed.send(Feed::Resume(vec![SinkName::inbox(inbox)])).await);
    }

    /// Nothing more is sent to the networks of this inbox before that moment, or before [`resume`](Self::resume): an elder
    /// reply may have been missed.
    pub async fn pause(&self, inbox: &InboxName, until_millis: i64) {
        drop(self.feed.send(Feed::Pause { sinks: self.networks_of(inbox), until_millis }).await);
    }

    /// Nothing more is done for this inbox, and its callbacks are refused with this reason.
    /// Says whether that is news.
    pub async fn shut(&self, inbox: &InboxName, reason: &str) -> bool {
        let is_new = lock(&self.shut).insert(inbox.clone(), reason.to_owned()).is_none();
        let mut sinks = self.networks_of(inbox);
        sinks.push(SinkName::inbox(inbox));
        drop(self.feed.send(Feed::Pause { sinks, until_millis: i64::MAX }).await);
        is_new
    }

    /// It goes on, as far as it is [trusted](Self::trust); its networks with [`resume`](Self::resume). Says whether it
    /// was shut.
    pub fn reopen(&self, inbox: &InboxName) -> bool {
        lock(&self.shut).remove(inbox).is_some()
    }

    /// The same, where nobody can wait. With a full feed the pump is busy, and nothing is paused.
    pub fn pause_for(&self, inbox: &InboxName, limit: std::time::Duration) {
        let until_millis = self.clock.now() + limit.as_millis() as i64;
        drop(self.feed.try_send(Feed::Pause { sinks: self.networks_of(inbox), until_millis }));
    }

    pub async fn resume(&self, inbox: &InboxName) {
        drop(self.feed.send(Feed::Resume(self.networks_of(inbox))).await);
    }

    fn networks_of(&self, inbox: &InboxName) -> Vec<SinkName> {
        let fed = self.routes.names_of(|route| route.inbox == *inbox);
        let mut sinks: Vec<_> = fed.iter().map(SinkName::bridge).collect();
        // Always in one order, so that a simulation can be played again.
        sinks.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        sinks
    }

    /// What agents wrote before this moment is not for us.
    pub fn born_millis(&self) -> i64 {
        self.horizon.born_millis
    }

    /// Cursors of a bridge.
    pub async fn cursors(&self, bridge: &BridgeName, prefix: &str) -> Result<Vec<Cursor>, StoreError> {
        self.store.cursors(bridge.as_str(), prefix).await
    }

    /// The far side of a bridge is back: its messages need not wait for the next try.
    pub fn back(&self, bridge: &BridgeName) {
        // A full feed means a busy pump, which tries held sinks by itself.
        drop(self.feed.try_send(Feed::Back(SinkName::bridge(bridge))));
    }

    /// Something else is to be found under this bridge's name now, and what waits for it may go on.
    pub async fn sink_changed(&self, bridge: &BridgeName) {
        drop(self.feed.send(Feed::Back(SinkName::bridge(bridge))).await);
    }

    /// Puts dead letters back, due now. Returns how many there were.
    pub async fn revive(&self, keys: Vec<Key>) -> Result<usize, StoreError> {
        let (store, feed, now) = (self.store.clone(), self.feed.clone(), self.clock.now());
        self.to_its_end(async move {
            let waiting = store.revive(&keys, now).await?;
            let count = waiting.len();
            tell(&feed, waiting).await;
            Ok(count)
        })
        .await
    }

    async fn accept(&self, mut batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        let (store, feed, counted) = (self.store.clone(), self.feed.clone(), self.counted(&batch));
        let (gates, begun) = (self.gates.clone(), self.gates.unsaved(now_millis));
        batch.cursors.extend(begun.iter().cloned());
        self.to_its_end(async move {
            let accepted = store.accept(batch, now_millis).await.inspect_err(|_| gates.not_saved(begun))?;
            counted.are(&accepted, now_millis);
            tell(&feed, accepted.iter().flat_map(|a| a.clone().into_waiting()).collect()).await;
            Ok(accepted)
        })
        .await
    }

    fn to_its_end<F>(&self, work: F) -> ToItsEnd<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        ToItsEnd::new(work, self.tasks.clone())
    }

    /// The place that a link's source id names, when a bridge of this inbox made it.
    fn place(&self, inbox: &InboxName, source_id: &str) -> Option<(BridgeName, Arc<Route>, ThreadId)> {
        let (bridge, thread) = source_id.split_once('/')?;
        let name = BridgeName::from(bridge);
        let route = self.routes.find(&name)?;
        (route.inbox == *inbox).then(|| (name, route, ThreadId::from(thread)))
    }

    fn place_of(&self, inbox: &InboxName, link: Option<&str>) -> Result<(BridgeName, Arc<Route>, ThreadId), Taken> {
        link.and_then(|link| self.place(inbox, link)).ok_or(Taken::Ignored("no thread of ours"))
    }
}

/// A thread that panicked left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pump that has gone away finds them in the store when it comes back.
async fn tell(feed: &mpsc::Sender<Feed>, waiting: Vec<Waiting>) {
    if !waiting.is_empty() {
        drop(feed.send(Feed::Waiting(waiting)).await);
    }
}

fn message_ref(inbox: &InboxName, conversation: ConversationId, message: MessageId) -> MessageRef {
    MessageRef { inbox: inbox.clone(), conversation: conversation.0, message: message.0 }
}

#[cfg(test)]
mod tests;
