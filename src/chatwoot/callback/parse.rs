//! A callback's top-level fields, borrowed from its raw bytes.
//!
//! Never read: `conversation.messages`, which shows the conversation's last public message, often not the event's own.
//! Texts that no one needs here (names, e-mail addresses, the contact's live token) are passed over as well.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::lenient::{Field, Millis, Object, Objects, Present};
use crate::chatwoot::{
    ids::{AccountId, ConversationId, InboxId, MessageId},
    text,
    wire::{Conversation, ConversationStatus, MessageRow, MessageType},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    MessageCreated,
    MessageUpdated,
    ConversationCreated,
    ConversationUpdated,
    ConversationStatusChanged,
    TypingOn,
    TypingOff,
    /// No callback: a row that the sweep found.
    MessageListed,
    /// Missing, or unknown to this version.
    Other,
}

impl Event {
    fn of_name(name: &str) -> Self {
        match name {
            "message_created" => Self::MessageCreated,
            "message_updated" => Self::MessageUpdated,
            "conversation_created" => Self::ConversationCreated,
            "conversation_updated" => Self::ConversationUpdated,
            "conversation_status_changed" => Self::ConversationStatusChanged,
            "conversation_typing_on" => Self::TypingOn,
            "conversation_typing_off" => Self::TypingOff,
            _ => Self::Other,
        }
    }

    fn is_of_message(self) -> bool {
        matches!(self, Self::MessageCreated | Self::MessageUpdated | Self::MessageListed)
    }

    fn is_of_typing(self) -> bool {
        matches!(self, Self::TypingOn | Self::TypingOff)
    }
}

/// One callback as it was said, not yet judged: hand it to the gate before using any text of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Callback<'a> {
    pub event: Event,
    pub account_id: Option<AccountId>,
    pub inbox_id: Option<InboxId>,
    /// Only in message events.
    pub message_id: Option<MessageId>,
    pub conversation: CallbackConversation<'a>,
    pub message_type: MessageType,
    /// A note, or the typing of one. True unless the wire says exactly `false`.
    pub private: bool,
    pub content: Option<Cow<'a, str>>,
    pub content_type: Option<Cow<'a, str>>,
    /// The key that the message's maker gave it; ours carries our prefix.
    pub source_id: Option<Cow<'a, str>>,
    /// Unix milliseconds; 0 when not told.
    pub created_millis: i64,
    pub attributes: Attributes<'a>,
    /// Who wrote, or types. `None` for the system's own messages.
    pub sender: Option<Sender<'a>>,
    pub attachments: Vec<CallbackFile<'a>>,
}

/// The conversation that an event belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallbackConversation<'a> {
    pub id: Option<ConversationId>,
    pub status: Option<ConversationStatus>,
    /// The source id of its link: which thread of which network it is.
    pub source_id: Option<Cow<'a, str>>,
    /// Unix milliseconds; 0 when not told.
    pub updated_millis: i64,
}

/// What `content_attributes` says that concerns us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes<'a> {
    pub deleted: bool,
    /// The message is marked failed; the text is in `external_error` where it is a text.
    pub failed: bool,
    pub external_error: Option<Cow<'a, str>>,
    pub in_reply_to: Option<MessageId>,
    pub in_reply_to_external_id: Option<Cow<'a, str>>,
    pub automation_rule_id: Option<i64>,
}

/// Who wrote the message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sender<'a> {
    pub id: Option<i64>,
    pub name: Option<Cow<'a, str>>,
    /// `user`, `agent_bot`, `captain_assistant`; none for a contact.
    pub kind: Option<Cow<'a, str>>,
}

/// A file on a message.
#[derive(Clone, Debug, PartialEq)]
pub struct CallbackFile<'a> {
    /// As Chatwoot sees itself from outside; [`Client::download`](crate::chatwoot::Client::download) knows the way.
    pub url: Cow<'a, str>,
    pub content_type: Option<Cow<'a, str>>,
    /// `image`, `audio`, `video`, `file` …
    pub file_type: Option<Cow<'a, str>>,
    pub size_bytes: Option<u64>,
}

impl CallbackFile<'_> {
    /// The file's name: the last part of its address, made harmless. `file` when nothing is left.
    pub fn name(&self) -> String {
        text::file_name(&self.url)
    }
}

/// The body is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the callback is not a json object")]
pub struct NotACallback;

/// Reads a callback's raw body. Fields of unexpected types count as missing.
pub fn parse(raw: &[u8]) -> Result<Callback<'_>, NotACallback> {
    let Field(wire) = serde_json::from_slice::<Field<Object<Wire<'_>>>>(raw).map_err(|_| NotACallback)?;
    wire.map(|Object(wire)| wire.into_callback()).ok_or(NotACallback)
}

/// Message events and conversation events share their top level: `id` is the message's in the one, the conversation's
/// in the other.
#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    event: Field<Cow<'a, str>>,
    account: Field<Object<Numbered>>,
    inbox: Field<Object<Numbered>>,
    inbox_id: Field<i64>,
    id: Field<i64>,
    conversation: Field<Object<WireConversation<'a>>>,
    message_type: Field<Cow<'a, str>>,
    private: Field<bool>,
    content: Field<Cow<'a, str>>,
    content_type: Field<Cow<'a, str>>,
    source_id: Field<Cow<'a, str>>,
    created_at: Field<Millis>,
    content_attributes: Field<Object<WireAttributes<'a>>>,
    sender: Field<Object<WireSender<'a>>>,
    attachments: Field<Objects<WireFile<'a>>>,
    user: Field<Object<WireSender<'a>>>,
    is_private: Field<bool>,
    status: Field<Cow<'a, str>>,
    contact_inbox: Field<Object<WireLink<'a>>>,
    updated_at: Field<Millis>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Numbered {
    id: Field<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct WireConversation<'a> {
    account: Field<Object<Numbered>>,
    inbox_id: Field<i64>,
    id: Field<i64>,
    status: Field<Cow<'a, str>>,
    contact_inbox: Field<Object<WireLink<'a>>>,
    updated_at: Field<Millis>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct WireLink<'a> {
    source_id: Field<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct WireAttributes<'a> {
    deleted: Field<Present<'a>>,
    external_error: Field<Present<'a>>,
    in_reply_to: Field<i64>,
    in_reply_to_external_id: Field<Cow<'a, str>>,
    automation_rule_id: Field<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct WireSender<'a> {
    id: Field<i64>,
    name: Field<Cow<'a, str>>,
    #[serde(rename = "type")]
    kind: Field<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct WireFile<'a> {
    data_url: Field<Cow<'a, str>>,
    content_type: Field<Cow<'a, str>>,
    file_type: Field<Cow<'a, str>>,
    file_size: Field<i64>,
}

impl<'a> Wire<'a> {
    fn into_callback(self) -> Callback<'a> {
        let event = self.event.0.as_deref().map_or(Event::Other, Event::of_name);
        if event.is_of_typing() {
            return self.into_typing(event);
        }
        let (message_id, conversation) = if event.is_of_message() {
            (self.id.0, self.conversation.0.map(|Object(conversation)| conversation).unwrap_or_default())
        } else {
            let Self { id, status, contact_inbox, updated_at, .. } = self;
            (None, WireConversation { id, status, contact_inbox, updated_at, ..WireConversation::default() })
        };
        Callback {
            event,
            account_id: number(self.account).map(AccountId),
            inbox_id: number(self.inbox).or(self.inbox_id.0).map(InboxId),
            message_id: message_id.map(MessageId),
            conversation: conversation.into(),
            message_type: self.message_type.0.as_deref().map_or(MessageType::Other, MessageType::of_name),
            private: self.private.0 != Some(false),
            content: self.content.0,
            content_type: self.content_type.0,
            source_id: self.source_id.0,
            created_millis: self.created_at.0.map_or(0, |Millis(millis)| millis),
            attributes: self.content_attributes.0.map(|Object(attributes)| attributes.into()).unwrap_or_default(),
            sender: self.sender.0.map(|Object(sender)| sender.into()),
            attachments: self
                .attachments
                .0
                .map(|Objects(files)| files)
                .into_iter()
                .flatten()
                .filter_map(file)
                .collect(),
        }
    }

    /// Typing names its inbox within the conversation only, and bears none of a message's fields.
    fn into_typing(self, event: Event) -> Callback<'a> {
        let mut conversation = self.conversation.0.map(|Object(conversation)| conversation).unwrap_or_default();
        Callback {
            event,
            account_id: number(std::mem::take(&mut conversation.account)).map(AccountId),
            inbox_id: conversation.inbox_id.0.map(InboxId),
            message_id: None,
            conversation: conversation.into(),
            message_type: MessageType::Other,
            private: self.is_private.0 != Some(false),
            content: None,
            content_type: None,
            source_id: None,
            created_millis: 0,
            attributes: Attributes::default(),
            sender: self.user.0.map(|Object(user)| user.into()),
            attachments: Vec::new(),
        }
    }
}

fn number(object: Field<Object<Numbered>>) -> Option<i64> {
    object.0.and_then(|Object(object)| object.id.0)
}

impl<'a> From<WireConversation<'a>> for CallbackConversation<'a> {
    fn from(wire: WireConversation<'a>) -> Self {
        Self {
            id: wire.id.0.map(ConversationId),
            status: wire.status.0.map(|name| ConversationStatus::of_name(&name)),
            source_id: wire.contact_inbox.0.and_then(|Object(link)| link.source_id.0),
            updated_millis: wire.updated_at.0.map_or(0, |Millis(millis)| millis),
        }
    }
}

impl<'a> From<WireAttributes<'a>> for Attributes<'a> {
    fn from(wire: WireAttributes<'a>) -> Self {
        Self {
            deleted: wire.deleted.0.is_some(),
            failed: wire.external_error.0.is_some(),
            external_error: wire.external_error.0.and_then(|Present(text)| text),
            in_reply_to: wire.in_reply_to.0.map(MessageId),
            in_reply_to_external_id: wire.in_reply_to_external_id.0,
            automation_rule_id: wire.automation_rule_id.0,
        }
    }
}

impl<'a> From<WireSender<'a>> for Sender<'a> {
    fn from(wire: WireSender<'a>) -> Self {
        Self { id: wire.id.0, name: wire.name.0, kind: wire.kind.0 }
    }
}

fn file(wire: WireFile<'_>) -> Option<CallbackFile<'_>> {
    Some(CallbackFile {
        url: wire.data_url.0.filter(|url| !url.is_empty())?,
        content_type: wire.content_type.0,
        file_type: wire.file_type.0,
        size_bytes: wire.file_size.0.and_then(|size| u64::try_from(size).ok()),
    })
}

/// The same words for a row of a message list, so that the sweep goes through the same gate.
pub fn listed<'r>(account: AccountId, conversation: &'r Conversation, row: &'r MessageRow) -> Callback<'r> {
    Callback {
        event: Event::MessageListed,
        account_id: Some(account),
        inbox_id: Some(row.inbox_id.unwrap_or(conversation.inbox_id)),
        message_id: Some(row.id),
        conversation: CallbackConversation {
            id: Some(row.conversation_id),
            status: Some(conversation.status),
            source_id: conversation.source_id().map(Cow::Borrowed),
            updated_millis: conversation.updated_millis,
        },
        message_type: row.message_type,
        private: row.private,
        content: row.content.as_deref().map(Cow::Borrowed),
        content_type: row.content_type.as_deref().map(Cow::Borrowed),
        source_id: row.source_id.as_deref().map(Cow::Borrowed),
        created_millis: row.created_millis,
        attributes: attributes(&row.content_attributes),
        sender: row.sender.as_ref().map(|sender| Sender {
            id: sender.id,
            name: sender.name.as_deref().map(Cow::Borrowed),
            kind: sender.kind.as_deref().map(Cow::Borrowed),
        }),
        attachments: row
            .attachments
            .iter()
            .filter_map(|file| {
                Some(CallbackFile {
                    url: file.data_url.as_deref().filter(|url| !url.is_empty()).map(Cow::Borrowed)?,
                    content_type: file.content_type.as_deref().map(Cow::Borrowed),
                    file_type: file.file_type.as_deref().map(Cow::Borrowed),
                    size_bytes: file.file_size,
                })
            })
            .collect(),
    }
}

/// Where a listed conversation stands, in the words of the callback that tells it.
pub fn standing(account: AccountId, conversation: &Conversation) -> Callback<'_> {
    Callback {
        event: Event::ConversationUpdated,
        account_id: Some(account),
        inbox_id: Some(conversation.inbox_id),
        message_id: None,
        conversation: CallbackConversation {
            id: Some(conversation.id),
            status: Some(conversation.status),
            source_id: conversation.source_id().map(Cow::Borrowed),
            updated_millis: conversation.updated_millis,
        },
        message_type: MessageType::Other,
        private: true,
        content: None,
        content_type: None,
        source_id: None,
        created_millis: 0,
        attributes: Attributes::default(),
        sender: None,
        attachments: Vec::new(),
    }
}

fn attributes(map: &Map<String, Value>) -> Attributes<'_> {
    let present =
        |key: &str| map.get(key).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)) && value != "");
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(Cow::Borrowed);
    Attributes {
        deleted: present("deleted"),
        failed: present("external_error"),
        external_error: text("external_error"),
        in_reply_to: map.get("in_reply_to").and_then(Value::as_i64).map(MessageId),
        in_reply_to_external_id: text("in_reply_to_external_id"),
        automation_rule_id: map.get("automation_rule_id").and_then(Value::as_i64),
    }
}
