//! The bodies of callbacks (Chatwoot 4.15.1, `webhook_data` of each model), built when the event is dispatched.

use serde_json::{Map, Value, json};

use super::api::{object, seconds};
use super::desk::{Change, Contact, Conversation, Desk, Event, Message, MessageType, Sender};
use super::members::member;
use super::messages::iso;

/// A callback before it is addressed: which inbox's URL it goes to, and what it says.
pub(super) struct Payload {
    pub(super) inbox: u64,
    pub(super) event: &'static str,
    /// Set for message events: whose failure is marked.
    pub(super) message: Option<(u64, u64)>,
    pub(super) body: Value,
}

impl Desk {
    /// The callback for an event, from the state as it is now. None for events that no inbox is told, and for
    /// records that are gone by now: Chatwoot discards those jobs in silence.
    pub(super) fn payload(&self, event: &Event) -> Option<Payload> {
        match event {
            Event::MessageCreated { message, .. } => self.message_payload(*message, "message_created"),
            Event::MessageUpdated { message, .. } => self.message_payload(*message, "message_updated"),
            Event::ConversationCreated { conversation } => {
                self.conversation_payload(*conversation, "conversation_created", None)
            }
            Event::ConversationUpdated { conversation, changes } => {
                let changes = self.changes_json(*conversation, changes);
                self.conversation_payload(*conversation, "conversation_updated", Some(changes))
            }
            // Null in practice: the model hands over a dirty value that is already cleared.
            Event::StatusChanged { conversation } => {
                self.conversation_payload(*conversation, "conversation_status_changed", Some(Value::Null))
            }
            Event::Typing { conversation, on, private, by } => self.typing_payload(*conversation, *on, *private, *by),
            Event::ConversationGone { .. } | Event::ConversationTouched { .. } => None,
        }
    }

    fn message_payload(&self, id: u64, event: &'static str) -> Option<Payload> {
        let message = self.message(id)?;
        if message.message_type == MessageType::Activity {
            return None;
        }
        let conversation = self.conversations.get(&message.conversation)?;
        let mut body = json!({
            "account": self.account_json(), "additional_attributes": {},
            "content_attributes": message.content_attributes, "content_type": message.content_type,
            "content": self.callback_content(message, conversation),
            "conversation": self.callback_conversation(conversation)?, "created_at": iso(message.created_ms),
            "id": message.id, "inbox": {"id": message.inbox, "name": self.inboxes.get(&message.inbox)?.name},
            "message_type": message.message_type.name(), "private": message.private,
            "sender": self.callback_sender(message.sender), "source_id": message.source_id, "event": event,
        });
        if let (Some(body), false) = (body.as_object_mut(), message.attachments.is_empty()) {
            body.insert("attachments".to_owned(), self.attachments_json(message));
        }
        Some(Payload { inbox: message.inbox, event, message: Some((message.conversation, id)), body })
    }

    /// The stored text, with what 4.13.0 and 4.14.2 take off its line ends, and the survey's address put on.
    fn callback_content(&self, message: &Message, conversation: &Conversation) -> Option<String> {
        let content = message.content.as_ref()?.replace("\\\n", "\n");
        let content = content.trim_end_matches('\n');
        if message.content_type == "input_csat" {
            return Some(format!("{content} {}/survey/responses/{}", self.frontend_url, conversation.uuid));
        }
        Some(content.to_owned())
    }

    fn conversation_payload(&self, id: u64, event: &'static str, changes: Option<Value>) -> Option<Payload> {
        let conversation = self.conversations.get(&id)?;
        let mut body = self.callback_conversation(conversation)?;
        let map = body.as_object_mut()?;
        map.insert("event".to_owned(), json!(event));
        if let Some(changes) = changes {
            map.insert("changed_attributes".to_owned(), changes);
        }
        Some(Payload { inbox: conversation.inbox, event, message: None, body })
    }

    fn typing_payload(&self, id: u64, on: bool, private: bool, by: Sender) -> Option<Payload> {
        let conversation = self.conversations.get(&id)?;
        let event = if on { "conversation_typing_on" } else { "conversation_typing_off" };
        let body = json!({
            "event": event, "user": self.callback_sender(by), "conversation": self.callback_conversation(conversation)?,
            "is_private": private,
        });
        Some(Payload { inbox: conversation.inbox, event, message: None, body })
    }

    fn callback_conversation(&self, conversation: &Conversation) -> Option<Value> {
        let link = self.links.get(&conversation.link)?;
        let contact = self.contacts.get(&conversation.contact);
        let last = self.last_said(conversation, |message| !message.private);
        let at = iso(link.created_ms);
        let meta_sender = contact.map(|contact| {
            let mut sender = self.callback_contact(contact);
            sender.remove("account");
            sender.insert("type".to_owned(), json!("contact"));
            sender
        });
        let assignee = conversation.assignee.map(|id| json!({"id": id, "name": member(id).name, "type": "user"}));
        Some(json!({
            "additional_attributes": conversation.additional_attributes, "can_reply": true, "channel": "Channel::Api",
            "contact_inbox": {
                "id": link.id, "contact_id": link.contact, "inbox_id": link.inbox, "source_id": link.source_id,
                "created_at": at, "updated_at": at, "hmac_verified": false, "pubsub_token": link.pubsub_token,
            },
            "id": conversation.id, "inbox_id": conversation.inbox,
            "messages": last.map(|last| self.pushed_message(conversation, last)).into_iter().collect::<Vec<_>>(),
            "labels": conversation.labels,
            "meta": {
                "sender": meta_sender, "assignee_type": assignee.as_ref().map(|_| "User"), "assignee": assignee,
                "team": null, "hmac_verified": false,
            },
            "status": conversation.status.name(), "custom_attributes": conversation.custom_attributes,
            "snoozed_until": conversation.snoozed_until, "unread_count": conversation.unread,
            "first_reply_created_at": conversation.first_reply_ms.map(iso), "priority": conversation.priority,
            "waiting_since": conversation.waiting_since_ms.map_or(0, seconds),
            "agent_last_seen_at": conversation.agent_last_seen_ms.map_or(0, seconds), "contact_last_seen_at": 0,
            "last_activity_at": seconds(conversation.last_activity_ms),
            "timestamp": seconds(conversation.last_activity_ms), "created_at": seconds(conversation.created_ms),
            "updated_at": conversation.updated_ms as f64 / 1000.0, "account": self.account_json(),
        }))
    }

    /// The latest public message as push events carry it. Often not the message the event is about.
    fn pushed_message(&self, conversation: &Conversation, message: &Message) -> Value {
        let (sender_type, sender_id) = match message.sender {
            Sender::Contact(id) => (Some("Contact"), Some(id)),
            Sender::Member(id) => (Some("User"), Some(id)),
            Sender::Nobody => (None, None),
        };
        let mut body = json!({
            "id": message.id, "content": message.content, "account_id": self.settings.account_id,
            "inbox_id": message.inbox, "conversation_id": message.conversation,
            "message_type": message.message_type.number(), "created_at": seconds(message.created_ms),
            "updated_at": iso(message.updated_ms), "private": message.private, "status": message.status.name(),
            "source_id": message.source_id, "content_type": message.content_type,
            "content_attributes": message.content_attributes, "sender_type": sender_type, "sender_id": sender_id,
            "external_source_ids": {}, "additional_attributes": {}, "processed_message_content": message.content,
            "sentiment": {}, "conversation": self.conversation_hint(conversation),
        });
        if let (Some(body), Some(id)) = (body.as_object_mut(), sender_id) {
            let sender = match self.contacts.get(&id).filter(|_| sender_type == Some("Contact")) {
                Some(contact) => json!({"id": id, "name": contact.name, "type": "contact"}),
                None => json!({"id": id, "name": member(id).name, "type": "user"}),
            };
            body.insert("sender".to_owned(), sender);
        }
        body
    }

    fn callback_sender(&self, sender: Sender) -> Value {
        match sender {
            Sender::Nobody => Value::Null,
            Sender::Member(id) => callback_member(id),
            Sender::Contact(id) => {
                self.contacts.get(&id).map_or(Value::Null, |contact| Value::Object(self.callback_contact(contact)))
            }
        }
    }

    /// A contact as sender: it has no `type` key, unlike every other sender.
    fn callback_contact(&self, contact: &Contact) -> Map<String, Value> {
        let body = json!({
            "account": self.account_json(), "additional_attributes": contact.additional_attributes, "avatar": "",
            "custom_attributes": contact.custom_attributes, "email": contact.email, "id": contact.id,
            "identifier": contact.identifier, "name": contact.name, "phone_number": contact.phone_number,
            "thumbnail": "", "blocked": contact.blocked,
        });
        object(body)
    }

    fn changes_json(&self, conversation: u64, changes: &[Change]) -> Value {
        let mut list: Vec<Value> = changes
            .iter()
            .map(|change| json!({change.attribute: {"previous_value": change.previous, "current_value": change.current}}))
            .collect();
        if let Some(conversation) = self.conversations.get(&conversation) {
            let now = iso(conversation.updated_ms);
            list.push(json!({"updated_at": {"previous_value": iso(conversation.created_ms), "current_value": now}}));
        }
        Value::Array(list)
    }

    fn account_json(&self) -> Value {
        json!({"id": self.settings.account_id, "name": self.settings.account_name})
    }
}

fn callback_member(id: u64) -> Value {
    let member = member(id);
    json!({"id": member.id, "name": member.name, "email": member.email, "type": "user"})
}
