//! What is carried: events towards the inbox, effects towards the network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AgentId, EventId, Key, PeerId, ThreadId};

/// One thing that a bridge reports. Accepting the same `event` twice has one effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbound {
    /// The same at every report of the same event, unique within the bridge.
    pub event: EventId,
    /// When it happened, Unix milliseconds. **The same at every report**: the network's own stamp
    /// where it has one, else the moment at which the bridge read it first.
    pub at_millis: i64,
    pub thread: ThreadId,
    pub report: Report,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Report {
    /// Somebody wrote.
    Message(Message),
    /// The author changed an earlier message: what it says now, and the event that said it first.
    Edited { event: EventId, message: Message },
    /// Somebody put a sign, such as an emoji, on a message.
    Reacted {
        to: Target,
        /// Who, as people read it.
        by: String,
        sign: String,
    },
    /// Late news about an effect of ours, for example a bounce after an acceptance.
    Receipt { key: Key, receipt: Receipt },
    /// A message was taken back by its author.
    Withdrawn { event: EventId },
    /// Something that an agent should know and the peer never sees: a private note in the thread's
    /// conversation. Dropped when the thread has no conversation yet.
    Note {
        text: String,
        /// Another thread that the text speaks of: its conversation is named behind it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        see: Option<ThreadId>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Whose thread it is: becomes the contact.
    pub peer: Peer,
    /// Who wrote it.
    pub speaker: Speaker,
    /// Markdown, with the network's own marks translated and the writer's own characters escaped.
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Written by a robot: shown as a private note where the thread has a conversation, so that nothing is reopened
    /// for it, and as a message where it has none.
    #[serde(default)]
    pub quiet: bool,
    /// What this one answers, where the network says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Target>,
    /// Facts about this message for the agent, such as how far its sender is proved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Facts about the conversation for the agent, such as the channel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thread_facts: BTreeMap<String, String>,
}

/// An earlier message that a new one speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Something that the bridge reported, or would have.
    Event(EventId),
    /// An effect of ours, by its key.
    Effect(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaker {
    /// The peer: an incoming message.
    Peer,
    /// Our own account, from somewhere else than this gateway: shown as an outgoing message, never
    /// sent again.
    Ourselves,
}

/// A person or robot as the network shows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    pub id: PeerId,
    /// For people to read; without control or bidirectional marks, at most 64 characters.
    pub name: String,
    /// What the network says of them (nick, account, host). Shown to agents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// A mail address that is proved to be theirs: a contact that has it already is taken for theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Their picture as it is now: another address is another picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Attachment>,
}

/// A file that travels with a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// As the sender named it. For display only, never a path.
    pub name: String,
    /// Media type as declared, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// As declared, where known. Not to be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Where the bytes are.
    pub url: String,
    #[serde(default, skip_serializing_if = "Holder::is_link")]
    pub holder: Holder,
}

/// Who can open an [`Attachment`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// Anybody who has the address.
    #[default]
    Link,
    /// Only the bridge that reported it: [`Bridge::open`](crate::Bridge::open).
    Network,
    /// Only the gateway, from the inbox: [`Host::open`](crate::Host::open).
    Inbox,
}

impl Holder {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
    fn is_link(&self) -> bool {
        *self == Self::Link
    }
}

/// Somebody who answers in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Stable, and unique within the inbox.
    pub id: AgentId,
    /// For people to read.
    pub name: String,
    /// A program, which answers by itself.
    #[serde(default)]
    pub is_robot: bool,
}

/// One order to cause one effect on the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outbound {
    /// The same at every attempt.
    pub key: Key,
    pub thread: ThreadId,
    pub part: Part,
    /// Who wrote it; `None` for the inbox's own texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Attempts that were started before this one. Above zero with an unknown outcome, the effect
    /// may have happened already.
    #[serde(default)]
    pub earlier_attempts: u32,
    /// For [`probe`](crate::Bridge::probe): when the attempt in question began, Unix milliseconds by the gateway's clock.
    /// Nothing older on the network can be its effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_millis: Option<i64>,
}

/// What one effect shows the peer. Made by [`Bridge::parts`](crate::Bridge::parts), opaque to the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Part {
    /// A text in the form that the bridge chose when it made the parts.
    Text {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<EventId>,
    },
    Attachment(Attachment),
    /// A whole message at once, for a network whose messages carry their files.
    Letter {
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<EventId>,
    },
    /// An earlier message is to be taken back, or said to be.
    Withdraw {
        /// Of its first part.
        key: Key,
        /// What the network called its parts, as far as it named them. Filled in when it is sent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        events: Vec<EventId>,
    },
}

/// An agent's whole message, before it is cut into parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Markdown as the agent's editor stores it.
    pub text: String,
    pub agent: Option<Agent>,
    pub attachments: Vec<Attachment>,
    pub reply_to: Option<EventId>,
}

/// What the network said of an effect that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The network's own name for it, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// A remark for the agent, such as "the person is away".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// News about an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receipt {
    Delivered,
    Read,
    /// With one sentence that an agent can act on.
    Failed(String),
}

/// Parts for a network without any markup of its own: text cut at line ends, spaces or characters,
/// then one part for each attachment.
pub(crate) fn plain_parts(reply: Reply, text_bytes_max: usize) -> Vec<Part> {
    let mut reply_to = reply.reply_to;
    let mut parts: Vec<Part> = cut(&reply.text, text_bytes_max.max(4))
        .into_iter()
        .map(|text| Part::Text { text: text.to_owned(), reply_to: reply_to.take() })
        .collect();
    parts.extend(reply.attachments.into_iter().map(Part::Attachment));
    parts
}

/// Cuts at the last line end that fits, else the last space, else the last character.
fn cut(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_matches('\n');
    while rest.len() > bytes_max {
        let window = &rest[..rest.floor_char_boundary(bytes_max)];
        let at = window.rfind('\n').or_else(|| window.rfind(' ')).filter(|at| *at > 0).unwrap_or(window.len());
        pieces.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(['\n', ' ']);
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_it_may_be_and_loses_nothing_but_the_space_at_the_cut() {
        let cases: [(&str, usize, &[&str]); 5] = [
            ("short", 10, &["short"]),
            ("one two three", 8, &["one two", "three"]),
            ("line one\nline two", 12, &["line one", "line two"]),
            ("ääääää", 5, &["ää", "ää", "ää"]),
            ("", 10, &[]),
        ];
        for (text, bytes_max, expected) in cases {
            assert_eq!(cut(text, bytes_max), expected, "{text:?}");
        }
    }
}
