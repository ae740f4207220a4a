//! Private notes, and what a message points to in the inbox's own names.

use bridge_api::{BridgeName, Fault, Key, Target, ThreadId};
use serde_json::{Map, Value};

use super::{Done, InboxSink, words::without_liquid};
use crate::{
    chatwoot::{ConversationId, MessageType, NewMessage},
    model::orders,
};

impl InboxSink {
    pub(super) async fn note(
        &self,
        key: &Key,
        (bridge, thread): (&BridgeName, &ThreadId),
        text: &str,
        reply_to: Option<&Target>,
    ) -> Result<Done, Fault> {
        let Some(session) = self.sessions.known(bridge, thread).await.map_err(|e| Fault::retry(e.to_string()))? else {
            return Ok(Done::default());
        };
        let new = NewMessage {
            content: without_liquid(text),
            message_type: MessageType::Outgoing,
            private: true,
            source_id: key.to_string(),
            content_attributes: self.reply_attributes(bridge, session.conversation, reply_to),
        };
        self.create(bridge, thread, session.conversation, &new).await
    }

    /// Whether a thread has a conversation, as far as we know.
    pub(super) async fn is_known(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<bool, Fault> {
        let known = self.sessions.known(bridge, thread).await.map_err(|e| Fault::retry(e.to_string()))?;
        Ok(known.is_some())
    }

    /// The text, and behind it where the conversation of another thread is, as far as there is one.
    pub(super) async fn with_link(
        &self,
        bridge: &BridgeName,
        text: &str,
        see: Option<&ThreadId>,
    ) -> Result<String, Fault> {
        let Some(thread) = see else { return Ok(text.to_owned()) };
        let session = self.sessions.known(bridge, thread).await.map_err(|e| Fault::retry(e.to_string()))?;
        Ok(session.map_or_else(
            || text.to_owned(),
            |session| {
                let conversation = ConversationId(session.conversation);
                format!("{text} [#{conversation}]({})", self.client.conversation_page(conversation))
            },
        ))
    }

    /// What it answers, by the inbox's own names for messages.
    pub(super) fn reply_attributes(
        &self,
        bridge: &BridgeName,
        conversation: i64,
        reply_to: Option<&Target>,
    ) -> Map<String, Value> {
        let attribute = match reply_to {
            Some(Target::Event(event)) => {
                Some(("in_reply_to_external_id", orders::event_key(bridge, event).as_str().into()))
            }
            // A message of another conversation cannot be pointed to.
            Some(Target::Effect(key)) => orders::message_of(&self.name, key)
                .filter(|message| message.conversation == conversation)
                .map(|message| ("in_reply_to", message.message.into())),
            None => None,
        };
        attribute.into_iter().map(|(name, id): (_, Value)| (name.to_owned(), id)).collect()
    }
}
