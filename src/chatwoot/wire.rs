//! The shapes of Chatwoot's answers, as far as the gateway reads them (Chatwoot 4.15).
//!
//! Unknown fields are passed over, missing ones tolerated wherever a version or a feature may leave them out. Times are
//! unix milliseconds here, whatever the surface used.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

mod inbox;

use super::ids::{AccountId, ContactId, ConversationId, InboxId, MessageId};
pub(super) use inbox::Health;
pub use inbox::{API_CHANNEL, Account, AgentRow, Inbox, Profile, ProfileAccount, Version};

/// A person in Chatwoot with the links that tie them to inboxes.
#[derive(Clone, Debug, Deserialize)]
pub struct Contact {
    pub id: ContactId,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub identifier: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    /// A blocked contact's messages are stored, but its conversations stay resolved.
    #[serde(default, deserialize_with = "lenient")]
    pub blocked: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub additional_attributes: Map<String, Value>,
    /// Only the contact calls give these; a conversation's contact has none.
    #[serde(default, rename = "contact_inboxes", deserialize_with = "lenient")]
    pub links: Vec<Link>,
}

impl Contact {
    /// The contact's links in `inbox`.
    pub fn links_in(&self, inbox: InboxId) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.inbox.id == inbox)
    }
}

/// A contact's tie to one inbox.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// Unique in the inbox.
    pub source_id: String,
    pub inbox: LinkInbox,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LinkInbox {
    pub id: InboxId,
}

/// `POST /contacts`: wrapped since 2020, flat in older answers and in pages copied from them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum CreatedContact {
    Wrapped { payload: CreatedPayload },
    Flat(Contact),
}

#[derive(Deserialize)]
pub(super) struct CreatedPayload {
    contact: Contact,
    #[serde(default, deserialize_with = "lenient")]
    contact_inbox: Option<Link>,
}

impl CreatedContact {
    /// The contact with the new link among its links, wherever the answer had put it.
    pub(super) fn into_contact(self) -> Contact {
        match self {
            Self::Flat(contact) => contact,
            Self::Wrapped { payload: CreatedPayload { mut contact, contact_inbox } } => {
                contact.links.extend(contact_inbox.filter(|link| !contact.links.contains(link)));
                contact
            }
        }
    }
}

/// `{"payload": …}`, as most calls wrap.
#[derive(Deserialize)]
pub(super) struct Payload<T> {
    pub(super) payload: T,
}

/// `{"data": {"payload": […]}}`, as the conversation list wraps.
#[derive(Deserialize)]
pub(super) struct Listed<T> {
    pub(super) data: Payload<Vec<T>>,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    Open,
    Resolved,
    Pending,
    Snoozed,
    /// A status that this version does not know.
    #[serde(other)]
    Other,
}

impl ConversationStatus {
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "open" => Self::Open,
            "resolved" => Self::Resolved,
            "pending" => Self::Pending,
            "snoozed" => Self::Snoozed,
            _ => Self::Other,
        }
    }

    /// The wire name; what we do not know is asked for as `open`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open | Self::Other => "open",
            Self::Resolved => "resolved",
            Self::Pending => "pending",
            Self::Snoozed => "snoozed",
        }
    }
}

/// A thread of one link.
#[derive(Clone, Debug, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub inbox_id: InboxId,
    #[serde(default)]
    pub account_id: Option<AccountId>,
    pub status: ConversationStatus,
    #[serde(default, deserialize_with = "lenient")]
    meta: ConversationMeta,
    #[serde(default, rename = "created_at", deserialize_with = "millis")]
    pub created_millis: i64,
    /// Moves with every new message. Listed to the millisecond at best.
    #[serde(default, rename = "updated_at", deserialize_with = "millis")]
    pub updated_millis: i64,
    #[serde(default, rename = "last_activity_at", deserialize_with = "millis")]
    pub last_activity_millis: i64,
    #[serde(default, deserialize_with = "lenient")]
    messages: Vec<LastMessage>,
    #[serde(default, deserialize_with = "lenient")]
    last_non_activity_message: Option<LastMessage>,
}

impl Conversation {
    /// Whose conversation it is. `None` while a deleted contact's rows are being cleared.
    pub fn contact_id(&self) -> Option<ContactId> {
        self.meta.sender.as_ref().map(|sender| sender.id)
    }

    /// The link's source id: not a field of its own, but told with the last message when there is one.
    pub fn source_id(&self) -> Option<&str> {
        let mut last = self.messages.iter().chain(&self.last_non_activity_message);
        last.find_map(|message| message.conversation.as_ref()?.contact_inbox.as_ref()?.source_id.as_deref())
    }

    /// The newest message of any type, when the answer shows one. Its *content* is never read from here.
    pub fn last_message_id(&self) -> Option<MessageId> {
        self.messages.iter().chain(&self.last_non_activity_message).map(|message| message.id).max()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ConversationMeta {
    #[serde(default, deserialize_with = "lenient")]
    sender: Option<Contact>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastMessage {
    id: MessageId,
    #[serde(default, deserialize_with = "lenient")]
    conversation: Option<LastMessageConversation>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastMessageConversation {
    #[serde(default)]
    contact_inbox: Option<LastMessageLink>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastMessageLink {
    #[serde(default)]
    source_id: Option<String>,
}

/// What a message is: a number in the API, a name in callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    Incoming,
    Outgoing,
    Activity,
    Template,
    /// Missing, of another JSON type, or unknown to this version: never relayed.
    Other,
}

impl MessageType {
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "incoming" => Self::Incoming,
            "outgoing" => Self::Outgoing,
            "activity" => Self::Activity,
            "template" => Self::Template,
            _ => Self::Other,
        }
    }

    /// The wire name, as a create call wants it. `Other` cannot be asked for, and is refused by Chatwoot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Activity => "activity",
            Self::Template => "template",
            Self::Other => "other",
        }
    }
}

impl<'de> Deserialize<'de> for MessageType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Number(number) => match number.as_u64() {
                Some(0) => Self::Incoming,
                Some(1) => Self::Outgoing,
                Some(2) => Self::Activity,
                Some(3) => Self::Template,
                _ => Self::Other,
            },
            Value::String(name) => Self::of_name(&name),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Other,
        })
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Sent,
    Delivered,
    Read,
    Failed,
    /// Missing or unknown to this version.
    #[default]
    #[serde(other)]
    Other,
}

/// One row of a message list: what it is and what became of it.
#[derive(Clone, Debug, Deserialize)]
pub struct MessageRow {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    #[serde(default)]
    pub inbox_id: Option<InboxId>,
    #[serde(default, deserialize_with = "lenient")]
    pub content: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub content_type: Option<String>,
    pub message_type: MessageType,
    #[serde(default, deserialize_with = "lenient")]
    pub status: MessageStatus,
    /// True unless the wire says exactly `false`.
    #[serde(default = "yes", deserialize_with = "private_unless_false")]
    pub private: bool,
    /// The key that its maker gave it; ours carries our prefix. Not unique.
    #[serde(default, deserialize_with = "lenient")]
    pub source_id: Option<String>,
    #[serde(default, rename = "created_at", deserialize_with = "millis")]
    pub created_millis: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub content_attributes: Map<String, Value>,
    #[serde(default, deserialize_with = "lenient")]
    pub sender: Option<SenderRow>,
    #[serde(default, deserialize_with = "lenient")]
    pub attachments: Vec<AttachmentRow>,
}

/// Who wrote a message, in a list.
#[derive(Clone, Debug, Deserialize)]
pub struct SenderRow {
    #[serde(default)]
    pub id: Option<i64>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// A file on a message, in a list.
#[derive(Clone, Debug, Deserialize)]
pub struct AttachmentRow {
    #[serde(default)]
    pub data_url: Option<String>,
    #[serde(default)]
    pub file_type: Option<String>,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub file_size: Option<u64>,
}

/// A field whose odd value counts as a missing one, so that one surprise does not cost the whole answer.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

fn private_unless_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(deserializer)? != Value::Bool(false))
}

fn yes() -> bool {
    true
}

/// Unix seconds, whole or with a fraction, to milliseconds. Anything else is 0: a time is never a reason to fail.
fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(seconds) => seconds
            .as_i64()
            .map(|seconds| seconds.saturating_mul(1000))
            .or_else(|| seconds.as_f64().map(|seconds| (seconds * 1000.0).round() as i64))
            .unwrap_or_default(),
        Value::String(text) => text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 0,
    })
}
