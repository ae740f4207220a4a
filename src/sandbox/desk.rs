//! The help desk in memory: its records, their indices, and the events that changes leave behind.
//!
//! Knows no HTTP and never waits: one mutex around it is enough, and nothing here holds that for long.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::SandboxSettings;
use super::members::{AGENTS, Member, TOKEN_OWNER};
use super::refusal::Refusal;

/// Conversations have two numbers in Chatwoot. They start far apart, so that mixing them up is noticed.
const CONVERSATION_ROW_FIRST: u64 = 100_001;
const CONTACT_FIRST: u64 = 501;
const LINK_FIRST: u64 = 61;
const MESSAGE_FIRST: u64 = 9_001;
const ATTACHMENT_FIRST: u64 = 88;
/// How much slower than those of messages all other numbers grow.
const MESSAGES_A_ROW: u64 = 1_000;

pub(super) type Attributes = Map<String, Value>;

pub(super) struct Inbox {
    pub(super) id: u64,
    pub(super) name: String,
    /// `Channel::Api`, unless it plays another kind.
    pub(super) channel_type: String,
    /// Who sees it in their list.
    pub(super) members: Vec<u64>,
    pub(super) lock_to_single_conversation: bool,
    pub(super) webhook_url: Option<String>,
    pub(super) secret: String,
    pub(super) hmac_token: String,
    pub(super) hmac_mandatory: bool,
    pub(super) identifier: String,
    pub(super) additional_attributes: Attributes,
    /// Keys that Chatwoot keeps and shows but that change nothing here.
    pub(super) other: Attributes,
}

pub(super) struct Contact {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) identifier: Option<String>,
    pub(super) email: Option<String>,
    pub(super) phone_number: Option<String>,
    pub(super) blocked: bool,
    pub(super) additional_attributes: Attributes,
    pub(super) custom_attributes: Attributes,
    pub(super) created_ms: i64,
    pub(super) last_activity_ms: Option<i64>,
    /// The signed id of its picture's blob.
    pub(super) avatar: Option<String>,
    pub(super) links: Vec<u64>,
}

/// Chatwoot's "contact inbox".
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) contact: u64,
    pub(super) inbox: u64,
    pub(super) source_id: String,
    pub(super) pubsub_token: String,
    pub(super) created_ms: i64,
    /// Display ids, oldest first.
    pub(super) conversations: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    Resolved,
    Pending,
    Snoozed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Pending => "pending",
            Self::Snoozed => "snoozed",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Open, Self::Resolved, Self::Pending, Self::Snoozed].into_iter().find(|status| status.name() == name)
    }
}

pub(super) struct Conversation {
    /// The display id: the only number that is ever shown.
    pub(super) id: u64,
    /// The primary key. No answer may contain it.
    pub(super) row: u64,
    pub(super) uuid: String,
    pub(super) inbox: u64,
    pub(super) contact: u64,
    pub(super) link: u64,
    pub(super) status: Status,
    pub(super) snoozed_until: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) priority: Option<String>,
    pub(super) assignee: Option<u64>,
    pub(super) additional_attributes: Attributes,
    pub(super) custom_attributes: Attributes,
    /// Ascending.
    pub(super) messages: Vec<u64>,
    pub(super) unread: u64,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    pub(super) last_activity_ms: i64,
    pub(super) agent_last_seen_ms: Option<i64>,
    pub(super) waiting_since_ms: Option<i64>,
    pub(super) first_reply_ms: Option<i64>,
}

/// What the API does not name is outgoing.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MessageType {
    Incoming,
    #[default]
    Outgoing,
    Activity,
    Template,
}

impl MessageType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Activity => "activity",
            Self::Template => "template",
        }
    }

    pub(super) fn number(self) -> u64 {
        match self {
            Self::Incoming => 0,
            Self::Outgoing => 1,
            Self::Activity => 2,
            Self::Template => 3,
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Incoming, Self::Outgoing, Self::Activity, Self::Template].into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Sent,
    Delivered,
    Read,
    Failed,
}

impl Delivery {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Sent, Self::Delivered, Self::Read, Self::Failed].into_iter().find(|status| status.name() == name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Contact(u64),
    /// A member of the account: the token's owner, or the agent at the page.
    Member(u64),
    /// Automation and templates have none.
    Nobody,
}

#[expect(clippy::struct_field_names, reason = "`message_type` is the word on the wire")]
pub(super) struct Message {
    pub(super) id: u64,
    /// A display id.
    pub(super) conversation: u64,
    pub(super) inbox: u64,
    pub(super) content: Option<String>,
    pub(super) message_type: MessageType,
    pub(super) content_type: String,
    pub(super) private: bool,
    pub(super) status: Delivery,
    pub(super) content_attributes: Attributes,
    pub(super) source_id: Option<String>,
    pub(super) sender: Sender,
    pub(super) attachments: Vec<Attachment>,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
}

pub(super) struct Attachment {
    pub(super) id: u64,
    /// The signed id of its blob.
    pub(super) blob: String,
}

pub(super) struct Blob {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) bytes: Bytes,
}

/// Something that Chatwoot's listeners are told after a commit.
#[derive(Clone)]
pub(super) enum Event {
    MessageCreated {
        conversation: u64,
        message: u64,
    },
    MessageUpdated {
        conversation: u64,
        message: u64,
    },
    ConversationCreated {
        conversation: u64,
    },
    ConversationUpdated {
        conversation: u64,
        changes: Vec<Change>,
    },
    StatusChanged {
        conversation: u64,
    },
    Typing {
        conversation: u64,
        on: bool,
        private: bool,
        by: Sender,
    },
    /// Never leaves the sandbox: Chatwoot tells no API inbox about a deletion. The page wants to know.
    ConversationGone {
        conversation: u64,
    },
    /// Likewise only for the page: read marks and contact changes.
    ConversationTouched {
        conversation: u64,
    },
}

#[derive(Clone)]
pub(super) struct Change {
    pub(super) attribute: &'static str,
    pub(super) previous: Value,
    pub(super) current: Value,
}

pub(super) struct Desk {
    pub(super) settings: SandboxSettings,
    /// Where `data_url` points.
    pub(super) frontend_url: String,
    /// Set whenever the lock is taken, so that one change has one time.
    pub(super) now_ms: i64,
    pub(super) random: fastrand::Rng,
    pub(super) inboxes: BTreeMap<u64, Inbox>,
    pub(super) contacts: HashMap<u64, Contact>,
    pub(super) contact_by_identifier: HashMap<String, u64>,
    pub(super) contact_by_email: HashMap<String, u64>,
    pub(super) contact_by_phone: HashMap<String, u64>,
    pub(super) links: HashMap<u64, Link>,
    /// Every link with this source id in the whole installation, first row first.
    pub(super) links_by_source: HashMap<String, Vec<u64>>,
    pub(super) conversations: BTreeMap<u64, Conversation>,
    /// Indexed by id, since ids only grow; deleted rows leave a hole.
    messages: Vec<Option<Message>>,
    message_first: u64,
    pub(super) blobs: HashMap<String, Blob>,
    /// Contacts whose row is gone while links and conversations still wait for the background job, with its time.
    pub(super) purges: Vec<(i64, u64)>,
    pub(super) events: Vec<Event>,
    contact_next: u64,
    link_next: u64,
    conversation_next: u64,
    attachment_next: u64,
}

impl Desk {
    pub(super) fn new(settings: SandboxSettings, frontend_url: String, secret: String) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let rows_before = settings.messages_before / MESSAGES_A_ROW;
        let inbox = Inbox {
            id: settings.inbox_id,
            name: settings.inbox_name.clone(),
            channel_type: settings.channel_type.clone(),
            members: vec![TOKEN_OWNER.id],
            lock_to_single_conversation: settings.lock_to_single_conversation,
            webhook_url: settings.callback_url.clone(),
            secret,
            hmac_token: token(&mut random),
            hmac_mandatory: false,
            identifier: token(&mut random),
            additional_attributes: Map::new(),
            other: Map::new(),
        };
        Self {
            frontend_url,
            now_ms: 0,
            random,
            inboxes: BTreeMap::from([(inbox.id, inbox)]),
            contacts: HashMap::new(),
            contact_by_identifier: HashMap::new(),
            contact_by_email: HashMap::new(),
            contact_by_phone: HashMap::new(),
            links: HashMap::new(),
            links_by_source: HashMap::new(),
            conversations: BTreeMap::new(),
            messages: Vec::new(),
            message_first: MESSAGE_FIRST + settings.messages_before,
            blobs: AGENTS.iter().map(Member::picture).collect(),
            purges: Vec::new(),
            events: Vec::new(),
            contact_next: CONTACT_FIRST + rows_before,
            link_next: LINK_FIRST + rows_before,
            conversation_next: 1 + rows_before,
            attachment_next: ATTACHMENT_FIRST + rows_before,
            settings,
        }
    }

    pub(super) fn conversation(&self, id: u64) -> Result<&Conversation, Refusal> {
        self.conversations.get(&id).ok_or(Refusal::Missing)
    }

    pub(super) fn conversation_mut(&mut self, id: u64) -> Result<&mut Conversation, Refusal> {
        self.conversations.get_mut(&id).ok_or(Refusal::Missing)
    }

    pub(super) fn contact(&self, id: u64) -> Result<&Contact, Refusal> {
        self.contacts.get(&id).ok_or(Refusal::Missing)
    }

    pub(super) fn inbox(&self, id: u64) -> Result<&Inbox, Refusal> {
        self.inboxes.get(&id).ok_or(Refusal::Missing)
    }

    pub(super) fn message(&self, id: u64) -> Option<&Message> {
        self.messages.get(self.slot(id)?)?.as_ref()
    }

    pub(super) fn message_mut(&mut self, id: u64) -> Option<&mut Message> {
        let slot = self.slot(id)?;
        self.messages.get_mut(slot)?.as_mut()
    }

    /// Stores `message` under the next id, which it returns.
    pub(super) fn push_message(&mut self, mut message: Message) -> u64 {
        let id = self.message_first + self.messages.len() as u64;
        message.id = id;
        self.messages.push(Some(message));
        id
    }

    pub(super) fn take_message(&mut self, id: u64) -> Option<Message> {
        let slot = self.slot(id)?;
        self.messages.get_mut(slot)?.take()
    }

    fn slot(&self, id: u64) -> Option<usize> {
        id.checked_sub(self.message_first).and_then(|slot| usize::try_from(slot).ok())
    }

    pub(super) fn next_contact(&mut self) -> u64 {
        next(&mut self.contact_next)
    }

    pub(super) fn next_link(&mut self) -> u64 {
        next(&mut self.link_next)
    }

    /// The next display id and the row id that goes with it.
    pub(super) fn next_conversation(&mut self) -> (u64, u64) {
        let display = next(&mut self.conversation_next);
        (display, CONVERSATION_ROW_FIRST + display - 1)
    }

    pub(super) fn next_attachment(&mut self) -> u64 {
        next(&mut self.attachment_next)
    }

    pub(super) fn uuid(&mut self) -> String {
        uuid(&mut self.random)
    }
}

fn next(counter: &mut u64) -> u64 {
    let id = *counter;
    *counter += 1;
    id
}

/// 24 letters and digits, as Rails' `has_secure_token` makes them.
pub(super) fn token(random: &mut fastrand::Rng) -> String {
    std::iter::repeat_with(|| random.alphanumeric()).take(24).collect()
}

/// A version 4 UUID.
pub(super) fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = (random.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
