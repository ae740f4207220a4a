//! The one door in, for both directions: what came is turned into orders and accepted by the store. Calls
//! nobody and waits for nothing but the disk.

mod to_its_end;

use std::{collections::HashMap, sync::Arc};

use bridge_api::{Agent, AgentId, Attachment, Bridge, BridgeName, Cursor, Holder, Inbound, Key, Reply, ThreadId};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::to_its_end::ToItsEnd;
use crate::{
    chatwoot::{
        AccountId, ConversationId, ConversationStatus, InboxId, MessageId,
        callback::{Callback, CallbackFile, GateSettings, Occasion, PublicOutgoing, Verdict, gate},
    },
    clock::Clock,
    model::{Feed, Group, InboxName, MessageRef, MessageStatus, OnDuplicate, SinkName, Waiting, orders},
    store::{Accepted, Batch, Blob, BlobId, Fill, Store, StoreError},
};

const NO_ADDRESS: &str =
    "this conversation was not started from a network that the gateway carries, so there is no address to send to";
/// The inbox's clock may be behind ours by this much.
const CLOCK_SKEW_MILLIS: i64 = 5 * 60 * 1000;
/// A message older than this is not sent because of an update alone: the update may be about anything.
const UPDATE_AGE_MAX_MILLIS: i64 = 24 * 3600 * 1000;

pub struct Intake {
    store: Arc<dyn Store>,
    feed: mpsc::Sender<Feed>,
    clock: Clock,
    tasks: TaskTracker,
    routes: HashMap<BridgeName, Route>,
    horizon: Horizon,
}

/// Which messages are too old to be orders.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// When this store was made: what agents wrote before is not for us.
    pub born_millis: i64,
    /// For how long the store knows what it had: beyond that, a repeat could not be told from news.
    pub memory_millis: i64,
}

/// Where a bridge's messages go, and who cuts replies for it.
pub struct Route {
    pub inbox: InboxName,
    pub bridge: Arc<dyn Bridge>,
    /// Where it is said that an agent types in a thread, or no longer does.
    pub typing: mpsc::Sender<(ThreadId, bool)>,
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
}

/// What became of a callback, for the log and the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Stored,
    Duplicate,
    Ignored(&'static str),
}

impl Intake {
    pub fn new(
        store: Arc<dyn Store>,
        feed: mpsc::Sender<Feed>,
        clock: Clock,
        tasks: TaskTracker,
        routes: HashMap<BridgeName, Route>,
        horizon: Horizon,
    ) -> Self {
        Self { store, feed, clock, tasks, routes, horizon }
    }

    /// Keeps what a bridge reports, with its cursors.
    pub async fn inbound(
        &self,
        bridge: &BridgeName,
        events: Vec<Inbound>,
        cursors: Vec<Cursor>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(route) = self.routes.get(bridge) else { return Ok(()) };
        let groups = events.into_iter().filter_map(|event| orders::inbound(&route.inbox, bridge, event, now)).collect();
        let cursors = cursors.into_iter().map(|cursor| (bridge.to_string(), cursor)).collect();
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

    pub async fn kept(&self, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
        self.store.blob(id).await
    }

    /// Judges a callback and keeps what it orders.
    pub async fn callback(&self, door: &Door, callback: &Callback<'_>) -> Result<Taken, StoreError> {
        let now = self.clock.now();
        let is_ours = |id: &str| id.split_once('/').is_some_and(|(bridge, _)| self.routes.contains_key(&bridge.into()));
        let settings = GateSettings {
            account_id: door.account_id,
            inbox_id: door.inbox_id,
            send_templates: door.send_templates,
            is_ours: &is_ours,
        };
        let due = now + door.grace_millis;
        let group = match gate(callback, &settings) {
            Verdict::Deliver(message) => self.reply(&door.inbox, &message, now, due),
            Verdict::Withdrawn { conversation, message, link } => {
                let message = message_ref(&door.inbox, conversation, message);
                let place = link.and_then(|link| self.place(&door.inbox, link)).ok_or("no thread of ours");
                place.map(|(bridge, _, thread)| {
                    orders::withdraw(message, callback.created_millis, (bridge.clone(), thread), due)
                })
            }
            Verdict::ConversationStatus {
                conversation,
                status: ConversationStatus::Resolved,
                updated_millis,
                link,
            } => {
                let place = link.and_then(|link| self.place(&door.inbox, link)).ok_or("no thread of ours");
                place.map(|(bridge, _, thread)| {
                    let place = (bridge.clone(), thread);
                    orders::resolved(&door.inbox, place, conversation.0, (updated_millis, now))
                })
            }
            // Whoever writes next finds an open conversation by looking, so only the end of one is news.
            Verdict::ConversationStatus { .. } => Err("the conversation lives"),
            Verdict::Typing { link, on } => {
                if let Some((_, route, thread)) = self.place(&door.inbox, link) {
                    // Worthless later: with a full queue it is dropped.
                    drop(route.typing.try_send((thread, on)));
                }
                Err("nothing to keep")
            }
            Verdict::Ignored(_) => Err("not for a peer"),
        };
        match group {
            Ok(group) => {
                let accepted = self.accept(Batch { groups: vec![group], ..Batch::default() }, now).await?;
                Ok(if accepted == [Accepted::Duplicate] { Taken::Duplicate } else { Taken::Stored })
            }
            Err(reason) => Ok(Taken::Ignored(reason)),
        }
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

    async fn accept(&self, batch: Batch, now_millis: i64) -> Result<Vec<Accepted>, StoreError> {
        let (store, feed) = (self.store.clone(), self.feed.clone());
        self.to_its_end(async move {
            let accepted = store.accept(batch, now_millis).await?;
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
    fn place(&self, inbox: &InboxName, source_id: &str) -> Option<(&BridgeName, &Route, ThreadId)> {
        let (bridge, thread) = source_id.split_once('/')?;
        let (name, route) = self.routes.get_key_value(&BridgeName::from(bridge))?;
        (route.inbox == *inbox).then(|| (name, route, ThreadId::from(thread)))
    }

    fn reply(
        &self,
        inbox: &InboxName,
        outgoing: &PublicOutgoing<'_>,
        now_millis: i64,
        due_millis: i64,
    ) -> Result<Group, &'static str> {
        let created_millis = outgoing.created_millis;
        let age_millis = if created_millis > 0 { now_millis - created_millis } else { 0 };
        let (new, on_duplicate) = match outgoing.occasion {
            Occasion::Created => (true, OnDuplicate::Ignore),
            Occasion::Updated => (false, OnDuplicate::Revive),
            Occasion::Listed => (false, OnDuplicate::Ignore),
        };
        if now_millis - age_millis < self.horizon.born_millis - CLOCK_SKEW_MILLIS {
            return Err("written before this gateway began");
        }
        if age_millis > self.horizon.memory_millis {
            return Err("older than what the store remembers");
        }
        if !new && age_millis > UPDATE_AGE_MAX_MILLIS {
            return Err("an update of an old message");
        }
        let message = message_ref(inbox, outgoing.conversation, outgoing.message);
        let Some((bridge, route, thread)) = outgoing.link.and_then(|link| self.place(inbox, link)) else {
            return Ok(orders::status(&message, MessageStatus::Failed, Some(NO_ADDRESS), now_millis));
        };
        let reply = reply_of(outgoing, bridge);
        let agent = reply.agent.clone();
        let parts = route.bridge.parts(&thread, reply);
        let reply = orders::Reply { message, created_millis, bridge: bridge.clone(), thread, agent, parts };
        orders::reply(reply, due_millis, on_duplicate).ok_or("nothing to show")
    }
}

/// A pump that has gone away finds them in the store when it comes back.
async fn tell(feed: &mpsc::Sender<Feed>, waiting: Vec<Waiting>) {
    if !waiting.is_empty() {
        drop(feed.send(Feed::Waiting(waiting)).await);
    }
}

fn reply_of(outgoing: &PublicOutgoing<'_>, bridge: &BridgeName) -> Reply {
    let attachment = |file: &CallbackFile<'_>| Attachment {
        name: file.name(),
        media_type: file.content_type.as_deref().map(str::to_owned),
        size_bytes: file.size_bytes,
        url: file.url.to_string(),
        holder: Holder::Inbox,
    };
    Reply {
        text: outgoing.content.to_owned(),
        agent: agent_of(outgoing),
        attachments: outgoing.attachments.iter().map(attachment).collect(),
        reply_to: outgoing.attributes.in_reply_to_external_id.as_deref().and_then(|id| orders::event_of(bridge, id)),
    }
}

/// `None` for the inbox's own texts.
fn agent_of(outgoing: &PublicOutgoing<'_>) -> Option<Agent> {
    let sender = outgoing.sender?;
    let name = sender.name.as_deref()?.to_owned();
    let is_robot = sender.kind.as_deref() != Some(USER);
    Some(Agent { id: agent_id(sender.kind.as_deref(), sender.id?), name, is_robot })
}

/// People and robots are numbered apart in the inbox. Of letters, digits and hyphens only, so that a network can make a
/// name of it.
fn agent_id(kind: Option<&str>, id: i64) -> AgentId {
    let kind = match kind {
        Some("user") => USER,
        Some("agent_bot") => "bot",
        Some("captain_assistant") => "assistant",
        Some(_) | None => "other",
    };
    AgentId::from(format!("{kind}-{id}"))
}

const USER: &str = "user";

/// The number of the person behind an agent's id; robots have none.
pub fn user_of(agent: &AgentId) -> Option<i64> {
    agent.as_str().strip_prefix(USER)?.strip_prefix('-')?.parse().ok()
}

fn message_ref(inbox: &InboxName, conversation: ConversationId, message: MessageId) -> MessageRef {
    MessageRef { inbox: inbox.clone(), conversation: conversation.0, message: message.0 }
}

#[cfg(test)]
mod tests;
