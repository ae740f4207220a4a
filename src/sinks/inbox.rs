//! Effects on the inbox: post a message, a note, a status; take a message back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{
    Attachment, BridgeName, BridgeState, EventId, Fault, FaultKind, Holder, Landing, Message, Resend, Speaker, ThreadId,
};
use tokio::time::timeout;

use super::{
    Bridges, Done, Paces, Sink,
    files::{Carried, Crowd, Opener, not_shown},
    picture,
    words::{content_of, without_liquid},
};
use crate::{
    chatwoot::{
        self, CallFault, Client, ContactId, ConversationId, MessageId, MessageType, NewMessage, Posted, UploadPlace,
    },
    clock::Clock,
    model::{
        Envelope, Group, InboxName, MessageRef, MessageStatus, OpenAttempt, Order, Pace, Session, Witness, Witnesses,
        orders, pace,
    },
    policy::{Rules, WhenInDoubt},
    sessions::{Ensured, Sessions},
    store::{EnvelopeState, Store},
    telemetry::{Limit, StateBoard},
};

/// Attempts under way for each request at once, which the client bounds: while some are written down as begun
/// or ended, others keep the inbox busy.
const BEGUN_AHEAD: usize = 4;
/// A whole attempt may need five calls, each with its own limit within the client, and with files wait for its turn and
/// for them.
const ATTEMPT_LIMIT: Duration = Duration::from_mins(8);

/// The next message of the thread waits no longer than this for a picture.
const PICTURE_LIMIT: Duration = Duration::from_secs(20);

/// What an [`InboxSink`] stands on.
pub struct InboxSinkParts {
    pub name: InboxName,
    pub client: Arc<Client>,
    pub sessions: Arc<Sessions>,
    pub store: Arc<dyn Store>,
    pub board: Arc<StateBoard>,
    pub bridges: Arc<Bridges>,
    pub paces: Arc<Paces>,
    pub clock: Clock,
    /// Requests to the inbox at once.
    pub concurrency: usize,
    /// How long the inbox may still work on a request that nobody waits for.
    pub settle: Duration,
    /// For each file of a message, and for all of them together.
    pub attachment_bytes_max: u64,
}

/// One inbox.
pub struct InboxSink {
    parts: InboxSinkParts,
    /// The highest message id that we have seen: whatever an attempt makes is above it.
    newest: AtomicI64,
    crowd: Crowd,
    witnesses: Mutex<Witnesses>,
    /// Whose numbers those are.
    era: AtomicI64,
}

impl std::ops::Deref for InboxSink {
    type Target = InboxSinkParts;

    fn deref(&self) -> &InboxSinkParts {
        &self.parts
    }
}

impl InboxSink {
    pub fn new(parts: InboxSinkParts) -> Self {
        let (newest, era) = (AtomicI64::new(0), AtomicI64::new(parts.sessions.era()));
        Self { parts, newest, crowd: Crowd::default(), witnesses: Mutex::default(), era }
    }

    /// A message with this id exists.
    pub fn saw(&self, message: i64) {
        self.forget_strangers();
        self.newest.fetch_max(message, Ordering::Relaxed);
    }

    pub(super) fn fault(&self, fault: CallFault) -> Fault {
        match &fault {
            CallFault::Limited { .. } => self.board.figures().limited(Limit::InboxRequests),
            CallFault::Flooded => self.board.figures().limited(Limit::ConversationMessages),
            CallFault::NotFound { .. }
            | CallFault::Taken { .. }
            | CallFault::Invalid { .. }
            | CallFault::Unauthorised { .. }
            | CallFault::NotSent { .. }
            | CallFault::Doubtful { .. }
            | CallFault::Odd { .. } => {}
        }
        fault.into_fault(self.clock.of_day())
    }

    pub(super) fn newest(&self) -> i64 {
        self.forget_strangers();
        self.newest.load(Ordering::Relaxed)
    }

    /// What was posted there last, as of an earlier process.
    pub fn knew(&self, witnesses: Witnesses) {
        *self.witnesses.lock().unwrap_or_else(PoisonError::into_inner) = witnesses;
    }

    /// Numbers of an inbox that turned out to be another one mean nothing.
    fn forget_strangers(&self) {
        let era = self.sessions.era();
        if self.era.swap(era, Ordering::Relaxed) != era {
            self.newest.store(0, Ordering::Relaxed);
            self.knew(Witnesses::default());
        }
    }

    /// What was posted there last.
    pub fn witnesses(&self) -> Witnesses {
        self.forget_strangers();
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn post(
        &self,
        envelope: &Envelope,
        bridge: &BridgeName,
        thread: &ThreadId,
        message: &Message,
    ) -> Result<Done, Fault> {
        let Ensured { session, shows_anew } = self.sessions.ensure(bridge, thread, message).await?;
        let done = self.post_in(&session, envelope, message).await?;
        if let (true, Some(picture)) = (shows_anew, &message.peer.picture) {
            self.show_picture(session, picture).await;
        }
        Ok(done)
    }

    async fn post_in(&self, session: &Session, envelope: &Envelope, message: &Message) -> Result<Done, Fault> {
        let Session { bridge, thread, .. } = session;
        let conversation = ConversationId(session.conversation);
        let new = |lines: &[String]| NewMessage {
            content: match message.speaker {
                Speaker::Peer => content_of(&message.text, lines),
                Speaker::Ourselves => without_liquid(&content_of(&message.text, lines)),
            },
            message_type: match message.speaker {
                Speaker::Peer => MessageType::Incoming,
                Speaker::Ourselves => MessageType::Outgoing,
            },
            private: false,
            source_id: envelope.key.to_string(),
            content_attributes: {
                let mut attributes = self.reply_attributes(bridge, session.conversation, message.reply_to.as_ref());
                attributes.extend(message.facts.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
                attributes
            },
        };
        // Before anything is opened, so that no file waits half read.
        let has_files = message.attachments.iter().any(|attachment| attachment.holder == Holder::Network);
        let place = if has_files { Some(self.place_for_files().await?) } else { None };
        let network = self.bridges.find(bridge);
        let opener =
            Opener { bridge: network.as_ref(), bytes_max: self.attachment_bytes_max, attempts: envelope.attempts };
        let Carried { uploads, mut lines, broke } = opener.open_all(message).await?;
        if let (Some(place), false) = (place, uploads.is_empty()) {
            let names: Vec<String> = uploads.iter().map(|upload| upload.name().to_owned()).collect();
            match self.client.post_with_files(conversation, &new(&lines), uploads, place).await {
                // Something in front of the inbox may take no files of this size; the words can go all the same.
                Err(CallFault::Invalid { reason }) => {
                    tracing::info!(key = envelope.key.as_str(), reason, "posted without its files");
                    lines.extend(names.iter().map(|name| not_shown(name, &reason)));
                }
                Err(CallFault::Doubtful { call, reason }) => {
                    let reason = broke.get().map_or(reason, |why| format!("a file broke off on its way: {why}"));
                    let doubtful = Err(CallFault::Doubtful { call, reason });
                    return self.posted((bridge, thread), conversation.0, envelope.key.as_str(), doubtful).await;
                }
                posted => {
                    return self.posted((bridge, thread), conversation.0, envelope.key.as_str(), posted).await;
                }
            }
        }
        self.create(bridge, thread, session.conversation, &new(&lines)).await
    }

    async fn place_for_files(&self) -> Result<UploadPlace, Fault> {
        self.crowd.leave();
        let place = self.client.upload_place_soon().await;
        place.ok_or_else(|| Fault::retry_after(self.crowd.join(), "other messages with files are on their way"))
    }

    /// After the message, which waits for no picture and does not fail for one.
    async fn show_picture(&self, session: Session, picture: &Attachment) {
        let Some(bridge) = self.bridges.find(&session.bridge) else { return };
        let contact = ContactId(session.contact);
        let shown = timeout(PICTURE_LIMIT, picture::show(&self.client, &bridge, contact, picture, self.clock)).await;
        let (reason, again) = match shown {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => (fault.reason, matches!(fault.kind, FaultKind::Retry { .. } | FaultKind::Down { .. })),
            Err(_) => ("it took too long".to_owned(), false),
        };
        tracing::info!(contact = contact.0, reason, again, "the contact's picture is not shown");
        if again && let Err(fault) = self.sessions.show_again(session).await {
            tracing::debug!(fault = fault.reason, "the contact's picture is not tried again");
        }
    }

    pub(super) async fn create(
        &self,
        bridge: &BridgeName,
        thread: &ThreadId,
        conversation: i64,
        new: &NewMessage,
    ) -> Result<Done, Fault> {
        let posted = self.client.post_message(ConversationId(conversation), new).await;
        self.posted((bridge, thread), conversation, &new.source_id, posted).await
    }

    async fn posted(
        &self,
        (bridge, thread): (&BridgeName, &ThreadId),
        conversation: i64,
        source_id: &str,
        posted: Result<Posted, CallFault>,
    ) -> Result<Done, Fault> {
        match posted {
            Ok(posted) => Ok(self.stands(conversation, posted.id, source_id)),
            Err(fault @ CallFault::NotFound { .. }) => {
                self.sessions.forget(bridge, thread).await?;
                Err(self.fault(fault))
            }
            Err(fault) => Err(self.fault(fault)),
        }
    }

    /// A message of ours stands in the inbox.
    pub(super) fn stands(&self, conversation: i64, id: MessageId, source_id: &str) -> Done {
        self.saw(id.0);
        let witness = Witness { conversation, message: id.0, source_id: source_id.to_owned() };
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).add(witness);
        Done { result: Some(format!("{conversation}/{id}")), follow: Vec::new() }
    }

    async fn status(&self, message: &MessageRef, status: MessageStatus, reason: Option<&str>) -> Result<Done, Fault> {
        let status = match status {
            MessageStatus::Delivered => chatwoot::MessageStatus::Delivered,
            MessageStatus::Read => chatwoot::MessageStatus::Read,
            MessageStatus::Failed => chatwoot::MessageStatus::Failed,
        };
        let (conversation, id) = (ConversationId(message.conversation), MessageId(message.message));
        match self.client.set_message_status(conversation, id, status, reason).await {
            // A message that is gone needs no status.
            Ok(()) | Err(CallFault::NotFound { .. }) => Ok(Done::default()),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    /// The inbox knows the message by the ids that its post answered with, as long as it is that inbox: so what would be
    /// deleted is looked at first.
    async fn withdraw(&self, bridge: &BridgeName, thread: &ThreadId, event: &EventId) -> Result<Done, Fault> {
        let key = orders::event_key(bridge, event);
        let history = self.store.history(&key).await.map_err(|e| Fault::retry(e.to_string()))?;
        let Some(EnvelopeState::Done { result: Some(result), .. }) = history.map(|h| h.state) else {
            return Ok(Done::default());
        };
        let Some((conversation, id)) = self.standing_at(bridge, thread, &result).await? else {
            return Ok(Done::default());
        };
        let rows = match self.client.messages_after(conversation, MessageId(id.0 - 1)).await {
            Err(CallFault::NotFound { .. }) => return Ok(Done::default()),
            rows => rows.map_err(|fault| self.fault(fault))?,
        };
        if !rows.iter().any(|row| row.id == id && row.source_id.as_deref() == Some(key.as_str())) {
            return Ok(Done::default());
        }
        match self.client.delete_message(conversation, id).await {
            Ok(()) | Err(CallFault::NotFound { .. }) => Ok(Done::default()),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    /// Tells the bridge where its message ended: at the end of the attempt, before that is written down. Should the
    /// process die in between, the message is found by asking, and the bridge is told once more.
    fn landed(&self, envelope: &Envelope, landing: impl FnOnce() -> Landing) {
        let Order::Post { bridge, .. } = &envelope.order else { return };
        let Some(event) = orders::event_of(bridge, envelope.key.as_str()) else { return };
        let Some(bridge) = self.bridges.find(bridge) else { return };
        // What happened has happened: a bridge that stumbles over the news cannot take it back.
        if catch_unwind(AssertUnwindSafe(|| bridge.landed(&event, landing()))).is_err() {
            tracing::error!(key = envelope.key.as_str(), "a bridge panicked over where its message landed");
        }
    }
}

#[async_trait]
impl Sink for InboxSink {
    fn limit(&self) -> usize {
        self.concurrency * BEGUN_AHEAD
    }

    fn rules(&self) -> Rules {
        Rules {
            resend: Resend::Askable,
            settle_millis: self.settle.as_millis() as i64,
            when_in_doubt: WhenInDoubt::Repeat,
        }
    }

    fn attempt_limit(&self) -> Duration {
        ATTEMPT_LIMIT
    }

    fn mark(&self) -> i64 {
        self.newest()
    }

    async fn deliver(&self, envelope: &Envelope) -> Result<Done, Fault> {
        let done = match &envelope.order {
            Order::Post { bridge, thread, message } if message.quiet && self.is_known(bridge, thread).await? => {
                self.note(&envelope.key, (bridge, thread), &message.text, message.reply_to.as_ref()).await
            }
            Order::Post { bridge, thread, message } => self.post(envelope, bridge, thread, message).await,
            Order::Note { bridge, thread, text, reply_to, see } => {
                let text = self.with_link(bridge, text, see.as_ref()).await?;
                self.note(&envelope.key, (bridge, thread), &text, reply_to.as_ref()).await
            }
            Order::Withdrawn { bridge, thread, event } => self.withdraw(bridge, thread, event).await,
            Order::Status { message, status, reason } => self.status(message, *status, reason.as_deref()).await,
            Order::Resolved { bridge, thread, conversation } => {
                self.sessions.resolved(bridge, thread, *conversation).await?;
                Ok(Done::default())
            }
            Order::Send { .. } => Err(Fault::refused("an inbox takes no orders for a network")),
        }?;
        self.landed(envelope, || Landing::Done);
        Ok(done)
    }

    async fn probe(&self, envelope: &Envelope, attempt: OpenAttempt) -> Result<Option<Done>, Fault> {
        let (bridge, thread) = match &envelope.order {
            Order::Post { bridge, thread, .. } | Order::Note { bridge, thread, .. } => (bridge, thread),
            // Doing these twice is the same as doing them once.
            Order::Withdrawn { .. } | Order::Status { .. } | Order::Resolved { .. } | Order::Send { .. } => {
                return Ok(None);
            }
        };
        let found = self.search(bridge, thread, &envelope.key, attempt.mark).await?;
        if found.is_some() {
            self.landed(envelope, || Landing::Done);
        }
        Ok(found)
    }

    fn buried(&self, envelope: &Envelope, reason: &str, now_millis: i64) -> Vec<Group> {
        // The network has its acknowledgement. An operator finds the message in the dead letters; an agent is told there
        // is one.
        tracing::warn!(key = envelope.key.as_str(), "the inbox will not take this");
        self.landed(envelope, || Landing::Dead(reason.to_owned()));
        orders::unshown(&self.name, &envelope.key, &envelope.order, reason, now_millis).into_iter().collect()
    }

    fn pace(&self, order: &Order) -> Option<Pace> {
        let (Order::Post { bridge, .. } | Order::Note { bridge, .. }) = order else { return None };
        if pace::is_of_peer(order) { self.paces.find(bridge).and_then(|pace| *pace) } else { None }
    }

    fn slowed(&self, envelope: &Envelope, pace: Pace, waiting: usize, now_millis: i64) -> Option<Group> {
        tracing::info!(inbox = self.name.as_str(), key = envelope.key.as_str(), waiting, "a thread is slowed");
        self.board.figures().limited(Limit::Peer);
        pace::slowed(&self.name, (&envelope.key, &envelope.order), (pace, waiting), now_millis)
    }

    fn held(&self, reason: Option<&str>) {
        let state = reason.map_or(BridgeState::Up, |reason| BridgeState::Down { reason: reason.to_owned() });
        self.board.inbox(self.name.as_str(), state);
    }
}
