//! How the inbox writes its records: in answers and in callbacks.

use serde_json::{Map, Value, json};

use super::{ACCOUNT, Conversation, INBOX, Message, State};
use crate::canary::SECRET;

impl State {
    pub(super) fn contact(&self, id: i64) -> Value {
        let contact = &self.contacts[&id];
        let links: Vec<_> = self
            .links
            .iter()
            .filter(|(_, owner)| **owner == id)
            .map(|(source_id, _)| json!({ "source_id": source_id, "inbox": { "id": INBOX } }))
            .collect();
        json!({
            "id": id, "name": contact.name, "identifier": contact.identifier, "email": null, "blocked": false,
            "additional_attributes": {}, "custom_attributes": {}, "contact_inboxes": links,
        })
    }

    pub(super) fn conversation(&self, conversation: &Conversation) -> Value {
        let last = self.last_of(conversation.id).map(|last| {
            let link = json!({ "contact_inbox": { "source_id": conversation.source_id } });
            json!({ "id": last.id, "content": last.content, "conversation": link })
        });
        json!({
            "meta": { "sender": { "id": conversation.contact } }, "id": conversation.id, "account_id": ACCOUNT,
            "inbox_id": INBOX, "status": conversation.status, "additional_attributes": {},
            "messages": last.iter().collect::<Vec<_>>(), "last_non_activity_message": last,
            "created_at": 0, "updated_at": conversation.updated_millis as f64 / 1000.0,
            "last_activity_at": conversation.updated_millis / 1000,
        })
    }
}

impl Message {
    pub(super) fn row(&self) -> Value {
        let message = self;
        json!({
            "id": message.id, "content": message.content, "inbox_id": INBOX, "conversation_id": message.conversation,
            "message_type": message.kind.number(), "content_type": "text", "status": message.status,
            "content_attributes": attributes(message), "created_at": message.created_millis / 1000,
            "private": message.private, "source_id": message.source_id,
        })
    }
}

fn attributes(message: &Message) -> Map<String, Value> {
    let mut attributes = message.attributes.clone();
    if message.deleted {
        attributes.insert("deleted".into(), json!(true));
    }
    if let Some(error) = &message.error {
        attributes.insert("external_error".into(), json!(error));
    }
    attributes
}

/// A callback about a message, as things stand now.
pub(super) fn of_message(event: &str, message: &Message, conversation: &Conversation) -> Value {
    json!({
        "account": { "id": ACCOUNT, "name": "Harbor Support" }, "additional_attributes": {},
        "content_attributes": attributes(message), "content_type": "text", "content": message.content,
        "conversation": of_conversation(conversation), "created_at": iso(message.created_millis), "id": message.id,
        "inbox": { "id": INBOX, "name": "support" }, "message_type": message.kind.name(), "private": message.private,
        "sender": { "id": 3, "name": "Grace", "type": "user" }, "source_id": message.source_id, "event": event,
    })
}

/// The conversation as callbacks show it. Its `messages` hold the last public message, often not the event's own:
/// whoever reads that is found out.
pub(super) fn of_conversation(conversation: &Conversation) -> Value {
    json!({
        "additional_attributes": {}, "channel": "Channel::Api", "id": conversation.id, "inbox_id": INBOX,
        "contact_inbox": { "id": 61, "contact_id": conversation.contact, "source_id": conversation.source_id },
        "messages": [{ "id": 1, "content": format!("{SECRET} of another moment"), "private": false, "message_type": 1 }],
        "status": conversation.status, "updated_at": conversation.updated_millis as f64 / 1000.0,
        "account": { "id": ACCOUNT },
    })
}

pub(super) fn iso(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
