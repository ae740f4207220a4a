//! What the agent's page shows and does: summaries, threads, and the agent's own acts.

use serde_json::{Map, Value, json};

use super::desk::{Conversation, Desk, Event, MessageType, Sender, Status};
use super::members::at_the_page;
use super::messages::NewMessage;
use super::params::Params;
use super::refusal::Refusal;

/// Messages of one thread that a page loads at a time.
const THREAD_MAX: usize = 200;
/// Letters of the last message that a summary shows.
const EXCERPT_CHARS_MAX: usize = 120;

impl Desk {
    /// Everything, for tests and the curious.
    pub(super) fn state_json(&self) -> Value {
        let mut contacts: Vec<_> = self.contacts.values().collect();
        contacts.sort_unstable_by_key(|contact| contact.id);
        let contacts: Vec<Value> = contacts.into_iter().map(|contact| self.contact_json(contact)).collect();
        let conversations: Vec<Value> = self.conversations.values().map(|found| self.whole_json(found)).collect();
        let inboxes: Vec<Value> = self.inboxes.values().map(|inbox| self.inbox_json(inbox)).collect();
        json!({
            "account_id": self.settings.account_id, "inboxes": inboxes, "contacts": contacts,
            "conversations": conversations,
        })
    }

    fn whole_json(&self, conversation: &Conversation) -> Value {
        let messages = conversation.messages.iter().filter_map(|id| self.message(*id));
        let messages: Vec<Value> = messages.map(|message| self.message_json(message)).collect();
        let mut body = self.summary_json(conversation);
        if let Some(body) = body.as_object_mut() {
            body.insert("internal_id".to_owned(), json!(conversation.row));
            body.insert("additional_attributes".to_owned(), json!(conversation.additional_attributes));
            body.insert("custom_attributes".to_owned(), json!(conversation.custom_attributes));
            body.insert("messages".to_owned(), Value::Array(messages));
        }
        body
    }

    /// One line of the page's list.
    pub(super) fn summary_json(&self, conversation: &Conversation) -> Value {
        let contact = self.contacts.get(&conversation.contact);
        let last = self.last_said(conversation, |_| true).map(|last| {
            let text = last.content.as_deref().unwrap_or_default();
            json!({
                "id": last.id, "text": text.chars().take(EXCERPT_CHARS_MAX).collect::<String>(),
                "message_type": last.message_type.number(), "private": last.private, "status": last.status.name(),
                "attachments": last.attachments.len(),
            })
        });
        json!({
            "id": conversation.id, "inbox_id": conversation.inbox, "contact_id": conversation.contact,
            "name": contact.map_or("deleted contact", |contact| contact.name.as_str()),
            "picture": contact.map(|contact| self.picture_path(contact)).filter(|path| !path.is_empty()),
            "identifier": contact.and_then(|contact| contact.identifier.as_deref()),
            "blocked": contact.is_some_and(|contact| contact.blocked),
            "source_id": self.links.get(&conversation.link).map(|link| link.source_id.as_str()),
            "status": conversation.status.name(), "unread_count": conversation.unread, "labels": conversation.labels,
            "last_activity_ms": conversation.last_activity_ms, "last": last,
        })
    }

    pub(super) fn summaries_json(&self) -> Value {
        let mut found: Vec<_> = self.conversations.values().collect();
        found.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_activity_ms, conversation.id)));
        found.into_iter().map(|conversation| self.summary_json(conversation)).collect()
    }

    /// A page of a thread: the newest messages before `before`.
    pub(super) fn thread_json(&self, id: u64, before: Option<u64>) -> Result<Value, Refusal> {
        let conversation = self.conversation(id)?;
        let ids = &conversation.messages;
        let end = before.map_or(ids.len(), |before| ids.partition_point(|id| *id < before));
        let start = end.saturating_sub(THREAD_MAX);
        let messages = ids[start..end].iter().filter_map(|id| self.message(*id));
        let messages: Vec<Value> = messages.map(|message| self.message_json(message)).collect();
        Ok(json!({"conversation": self.summary_json(conversation), "messages": messages, "more": start > 0}))
    }

    /// The agent writes a reply or a note.
    pub(super) fn agent_message(&mut self, by: u64, id: u64, content: &str, private: bool) -> Result<u64, Refusal> {
        self.seen(id)?;
        let new = NewMessage { content: Some(content.to_owned()), private, ..NewMessage::default() };
        self.create_message(id, NewMessage { sender: Some(Sender::Member(at_the_page(Some(by)))), ..new })
    }

    /// The same from a form or JSON, in any of the ways the help desk itself writes: `kind` is `agent` (default, of them
    /// `agent_id`), `automation`, `template` or `csat`.
    pub(super) fn agent_form(&mut self, id: u64, params: Params) -> Result<u64, Refusal> {
        self.conversation(id)?;
        let kind = params.text("kind").unwrap_or("agent").to_owned();
        let by = at_the_page(params.id("agent_id"));
        let mut new = NewMessage::read_with_files(params)?;
        new.message_type = MessageType::Outgoing;
        new.sender = Some(Sender::Nobody);
        match kind.as_str() {
            "agent" => {
                // Who writes in the dashboard has read what is above.
                self.seen(id)?;
                new.sender = Some(Sender::Member(by));
            }
            "automation" => {
                new.content_attributes = Map::from_iter([("automation_rule_id".to_owned(), json!(12))]);
            }
            "template" => new.message_type = MessageType::Template,
            "csat" => {
                new.message_type = MessageType::Template;
                new.content_type = Some("input_csat".to_owned());
            }
            other => return Err(Refusal::Unprocessable(format!("no such kind of message: {other}"))),
        }
        self.create_message(id, new)
    }

    /// The agent types, or stops.
    pub(super) fn agent_types(&mut self, by: u64, id: u64, on: bool, private: bool) -> Result<(), Refusal> {
        self.conversation(id)?;
        let by = Sender::Member(at_the_page(Some(by)));
        self.events.push(Event::Typing { conversation: id, on, private, by });
        Ok(())
    }

    /// The agent sets a status, unless it is that already.
    pub(super) fn agent_status(&mut self, id: u64, status: Status) -> Result<(), Refusal> {
        if self.conversation(id)?.status == status {
            return Ok(());
        }
        let values = Map::from_iter([("status".to_owned(), json!(status.name()))]);
        self.toggle_status(id, &Params { values, files: Vec::new() })
    }
}
