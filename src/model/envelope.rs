//! Envelopes: one durable order to cause one effect.

use bridge_api::{Agent, BridgeName, EventId, Key, Message, Part, Target, ThreadId};
use serde::{Deserialize, Serialize};

use crate::model::{EnvelopeId, InboxName, Lane};

/// The effect that an envelope orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Towards the inbox: somebody's message.
    Post { bridge: BridgeName, thread: ThreadId, message: Message },
    /// Towards the inbox: a private note for the agents.
    Note {
        bridge: BridgeName,
        thread: ThreadId,
        text: String,
        /// What it speaks of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Target>,
        /// Another thread of the same bridge that it speaks of: its conversation is named behind the text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        see: Option<ThreadId>,
    },
    /// Towards the inbox: the author took a message back.
    Withdrawn { bridge: BridgeName, thread: ThreadId, event: EventId },
    /// Towards the inbox: what became of an agent's message.
    Status { message: MessageRef, status: MessageStatus, reason: Option<String> },
    /// Towards our own session: the conversation was resolved, so the inbox decides where the next message goes.
    Resolved { bridge: BridgeName, thread: ThreadId, conversation: i64 },
    /// Towards the network: one part of an agent's message.
    Send {
        bridge: BridgeName,
        thread: ThreadId,
        part: Part,
        /// Who wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Agent>,
        message: MessageRef,
        last: bool,
    },
}

/// What an order has to do with the messages that people and agents write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries<'a> {
    /// A message, whole, from this bridge.
    Inbound(&'a BridgeName),
    /// A part of a message towards this bridge.
    Outbound { bridge: &'a BridgeName, last: bool },
    /// No message: what is said about one, or about its conversation.
    News,
}

impl Order {
    pub fn carries(&self) -> Carries<'_> {
        match self {
            Self::Post { bridge, .. } => Carries::Inbound(bridge),
            Self::Send { part: Part::Withdraw { .. }, .. }
            | Self::Note { .. }
            | Self::Withdrawn { .. }
            | Self::Status { .. }
            | Self::Resolved { .. } => Carries::News,
            Self::Send { bridge, last, .. } => Carries::Outbound { bridge, last: *last },
        }
    }
}

/// An agent's message in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef {
    pub inbox: InboxName,
    /// Display id.
    pub conversation: i64,
    pub message: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Delivered,
    Read,
    Failed,
}

/// An envelope before it is accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEnvelope {
    pub key: Key,
    /// When the event itself happened, Unix milliseconds, **the same at every report of it**: the
    /// record of known keys is ordered by it, so that it grows at one end and one look-up decides.
    /// A source that knows only seconds may put low digits of an ascending id below them.
    pub at_millis: i64,
    pub lane: Lane,
    /// Place in the lane. Equal ranks go by arrival.
    pub rank: i64,
    /// Not before this moment, Unix milliseconds.
    pub due_millis: i64,
    pub order: Order,
}

/// Envelopes that come and are refused together: the parts of one message. Never empty, one lane,
/// ascending ranks of one message.
///
/// The group is a duplicate when its **first** key is known, whatever became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub envelopes: Vec<NewEnvelope>,
    pub on_duplicate: OnDuplicate,
    /// Where this key of the same moment is known, the group comes too late and counts as a duplicate.
    pub unless: Option<Key>,
}

impl Group {
    pub fn one(envelope: NewEnvelope) -> Self {
        Self { envelopes: vec![envelope], on_duplicate: OnDuplicate::Ignore, unless: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    Ignore,
    /// Dead letters of the same message (same lane, rank between the first one's and the message's
    /// last possible part) are put back.
    Revive,
}

/// What the order of work needs to know of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub id: EnvelopeId,
    pub lane: Lane,
    pub rank: i64,
    pub due_millis: i64,
}

/// An envelope that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub id: EnvelopeId,
    pub key: Key,
    pub lane: Lane,
    pub rank: i64,
    pub accepted_millis: i64,
    /// Attempts so far that count, the one just begun included.
    pub attempts: u32,
    /// Attempts in doubt that were repeated all the same, since it was accepted or put back.
    pub repeats: u32,
    /// `Some` when an earlier attempt has no known outcome: nothing new was begun, it must be probed.
    pub doubt: Option<OpenAttempt>,
    pub order: Order,
}

/// An attempt that was written down and whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    pub number: u32,
    pub started_millis: i64,
    /// What the sink knew before the attempt: for an inbox, the newest message id.
    pub mark: i64,
    /// Why its outcome is not known, when that was written down.
    pub reason: Option<String>,
}
