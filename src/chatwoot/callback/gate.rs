//! The one door from the inbox to a peer: an allow-list, in one function.
//!
//! Whatever is not named here stays inside. Nothing else in the gateway can make a [`PublicOutgoing`], and nothing but
//! a [`PublicOutgoing`] is carried to a network.

use std::ops::Deref;

use super::parse::{Attributes, Callback, CallbackFile, Event, Sender};
use crate::chatwoot::{
    ids::{AccountId, ConversationId, InboxId, MessageId},
    wire::{ConversationStatus, MessageType},
};

/// Whose messages may pass.
#[derive(Clone, Copy)]
pub struct GateSettings<'s> {
    pub account_id: AccountId,
    pub inbox_id: InboxId,
    /// Whether the inbox's own texts (greeting, out of office, survey) are carried too.
    pub send_templates: bool,
    /// Whether a message's source id is one that this gateway gives: then the message is our own echo.
    pub is_ours: &'s (dyn Fn(&str) -> bool + Sync),
}

/// What a callback, or a listed row, asks of us.
#[derive(Debug)]
pub enum Verdict<'c> {
    /// Carry it to the peer.
    Deliver(PublicOutgoing<'c>),
    /// An agent deleted a message that may have been carried.
    Withdrawn { conversation: ConversationId, message: MessageId, link: Option<&'c str> },
    /// Where a conversation stands now. Old news may come after new: compare `updated_millis`.
    ConversationStatus {
        conversation: ConversationId,
        status: ConversationStatus,
        updated_millis: i64,
        link: Option<&'c str>,
    },
    /// An agent types what the peer will read, or no longer does.
    Typing { link: &'c str, on: bool },
    /// Nothing to do.
    Ignored(Ignored),
}

/// Why nothing is to be done. For counting and tests; none of these is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// No event that we act on.
    Event,
    /// Of another account, or of none.
    Account,
    /// Of another inbox, or of none.
    Inbox,
    /// Incoming, an activity, or of no known type.
    Type,
    /// A template, and templates are not sent.
    Template,
    /// A private note, or anything not marked as public.
    Private,
    /// We made it ourselves.
    Echo,
    /// Without a message or conversation id.
    Unnumbered,
    /// An update that marks the message failed: news, not an order.
    Failed,
    /// Neither text nor attachment.
    Empty,
}

/// How a message came to be seen, which says when it counts as an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It is new.
    Created,
    /// Something about it changed. An order only when we never had it, or gave it up: then it is the agent's Retry.
    Updated,
    /// The sweep saw it. An order only when we never had it, whatever its status: a callback that we missed has marked
    /// it failed.
    Listed,
}

/// A message that an agent (or the inbox) meant for the peer. Only [`gate`] makes one, and nothing changes it after.
#[derive(Clone, Debug)]
pub struct PublicOutgoing<'c>(Outgoing<'c>);

impl<'c> Deref for PublicOutgoing<'c> {
    type Target = Outgoing<'c>;

    fn deref(&self) -> &Outgoing<'c> {
        &self.0
    }
}

/// What a [`PublicOutgoing`] says.
#[derive(Clone, Debug)]
pub struct Outgoing<'c> {
    pub occasion: Occasion,
    pub message: MessageId,
    pub conversation: ConversationId,
    /// The source id of the conversation's link; a list may not tell it.
    pub link: Option<&'c str>,
    /// Markdown as stored. Empty only beside attachments.
    pub content: &'c str,
    pub content_type: Option<&'c str>,
    /// From the inbox itself rather than an agent.
    pub template: bool,
    /// Unix milliseconds; 0 when not told.
    pub created_millis: i64,
    pub attributes: &'c Attributes<'c>,
    /// `None` for the inbox's own texts and for automation.
    pub sender: Option<&'c Sender<'c>>,
    pub attachments: &'c [CallbackFile<'c>],
}

/// Judges one callback. Message events pass only when every line below lets them.
pub fn gate<'c>(callback: &'c Callback<'c>, settings: &GateSettings<'_>) -> Verdict<'c> {
    judge(callback, settings).unwrap_or_else(Verdict::Ignored)
}

fn judge<'c>(callback: &'c Callback<'c>, settings: &GateSettings<'_>) -> Result<Verdict<'c>, Ignored> {
    let occasion = match callback.event {
        Event::MessageCreated => Occasion::Created,
        Event::MessageUpdated => Occasion::Updated,
        Event::MessageListed => Occasion::Listed,
        // A status change may come as the one or the other only.
        Event::ConversationStatusChanged | Event::ConversationUpdated => return status(callback, settings),
        Event::TypingOn | Event::TypingOff => return typing(callback, settings),
        Event::ConversationCreated | Event::Other => return Err(Ignored::Event),
    };
    demand(callback.account_id == Some(settings.account_id), Ignored::Account)?;
    demand(callback.inbox_id == Some(settings.inbox_id), Ignored::Inbox)?;
    let template = match callback.message_type {
        MessageType::Outgoing => false,
        MessageType::Template => true,
        MessageType::Incoming | MessageType::Activity | MessageType::Other => return Err(Ignored::Type),
    };
    demand(!template || settings.send_templates, Ignored::Template)?;
    demand(!callback.private, Ignored::Private)?;
    demand(!callback.source_id.as_deref().is_some_and(settings.is_ours), Ignored::Echo)?;
    let message = callback.message_id.ok_or(Ignored::Unnumbered)?;
    let conversation = callback.conversation.id.ok_or(Ignored::Unnumbered)?;
    let link = callback.conversation.source_id.as_deref();
    if callback.attributes.deleted {
        return Ok(Verdict::Withdrawn { conversation, message, link });
    }
    demand(occasion != Occasion::Updated || !callback.attributes.failed, Ignored::Failed)?;
    let content = callback.content.as_deref().unwrap_or_default();
    demand(!content.trim().is_empty() || !callback.attachments.is_empty(), Ignored::Empty)?;
    Ok(Verdict::Deliver(PublicOutgoing(Outgoing {
        occasion,
        message,
        conversation,
        link,
        content,
        content_type: callback.content_type.as_deref(),
        template,
        created_millis: callback.created_millis,
        attributes: &callback.attributes,
        sender: callback.sender.as_ref(),
        attachments: &callback.attachments,
    })))
}

/// Conversation events name their account only from 4.14.2 on; the inbox's number is unique in the installation.
fn status<'c>(callback: &'c Callback<'c>, settings: &GateSettings<'_>) -> Result<Verdict<'c>, Ignored> {
    demand(callback.account_id.is_none_or(|account| account == settings.account_id), Ignored::Account)?;
    demand(callback.inbox_id == Some(settings.inbox_id), Ignored::Inbox)?;
    let conversation = callback.conversation.id.ok_or(Ignored::Unnumbered)?;
    let status = callback.conversation.status.ok_or(Ignored::Event)?;
    Ok(Verdict::ConversationStatus {
        conversation,
        status,
        updated_millis: callback.conversation.updated_millis,
        link: callback.conversation.source_id.as_deref(),
    })
}

/// Of people in the help desk only: the peer's own typing comes back as well, with a contact in place of a user.
fn typing<'c>(callback: &'c Callback<'c>, settings: &GateSettings<'_>) -> Result<Verdict<'c>, Ignored> {
    demand(callback.account_id.is_none_or(|account| account == settings.account_id), Ignored::Account)?;
    demand(callback.inbox_id == Some(settings.inbox_id), Ignored::Inbox)?;
    demand(!callback.private, Ignored::Private)?;
    let by = callback.sender.as_ref().and_then(|sender| sender.kind.as_deref());
    demand(by == Some("user"), Ignored::Echo)?;
    let link = callback.conversation.source_id.as_deref().ok_or(Ignored::Unnumbered)?;
    Ok(Verdict::Typing { link, on: callback.event == Event::TypingOn })
}

fn demand(holds: bool, otherwise: Ignored) -> Result<(), Ignored> {
    if holds { Ok(()) } else { Err(otherwise) }
}
