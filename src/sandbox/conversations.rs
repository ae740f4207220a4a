//! Conversations: creation by contact or by source id, status, and the small attributes.

use serde_json::{Value, json};

use super::desk::{Attributes, Change, Conversation, Desk, Event, MessageType, Sender, Status};
use super::members::AGENT;
use super::messages::NewMessage;
use super::params::Params;
use super::refusal::Refusal;

/// Chatwoot's bounds on the values of attribute hashes.
const ATTRIBUTE_CHARS_MAX: usize = 1_500;
const ATTRIBUTE_NUMBER_MAX: u64 = 9_999_999_999;

/// What `GET /conversations` asks for.
pub(super) struct Filter<'a> {
    pub(super) inbox: Option<u64>,
    pub(super) status: Option<Status>,
    pub(super) source_id: Option<&'a str>,
    pub(super) updated_after_ms: Option<i64>,
}

impl Desk {
    /// Creates a conversation, or returns the link's last one where the inbox is locked to a single one.
    pub(super) fn create_conversation(&mut self, params: &Params) -> Result<u64, Refusal> {
        let link = self.resolve_link(params)?;
        let inbox = self.inbox(self.links[&link].inbox)?;
        if inbox.lock_to_single_conversation
            && let Some(last) = self.links[&link].conversations.last()
        {
            return Ok(*last);
        }
        let additional_attributes = checked(params, "additional_attributes")?;
        let custom_attributes = checked(params, "custom_attributes")?;
        let status = match params.text("status").map(Status::named) {
            None => Status::Open,
            Some(Some(status)) => status,
            Some(None) => return Err(Refusal::Internal),
        };
        let events = self.events.len();
        let id = self.insert_conversation(link, status, additional_attributes, custom_attributes);
        if let Some(message) = params.nested("message") {
            let new = NewMessage::read(&message, MessageType::Outgoing);
            if let Err(refusal) = new.and_then(|new| self.create_message(id, new)) {
                self.remove_conversation(id);
                self.events.truncate(events);
                return Err(refusal);
            }
        }
        Ok(id)
    }

    fn resolve_link(&mut self, params: &Params) -> Result<u64, Refusal> {
        let source_id = params.text("source_id").filter(|source| !source.is_empty());
        if let (Some(inbox), Some(contact)) = (params.id("inbox_id"), params.id("contact_id")) {
            self.inbox(inbox)?;
            self.contact(contact)?;
            return self
                .link(contact, inbox, source_id)
                .map_err(|_| Refusal::Unprocessable("source_id should be unique".to_owned()));
        }
        // By source id alone the look-up is global: whichever inbox has the first row.
        let links = source_id.and_then(|source| self.links_by_source.get(source)).ok_or(Refusal::Missing)?;
        links.first().copied().ok_or(Refusal::Missing)
    }

    fn insert_conversation(
        &mut self,
        link: u64,
        status: Status,
        additional_attributes: Attributes,
        custom_attributes: Attributes,
    ) -> u64 {
        let (id, row) = self.next_conversation();
        let uuid = self.uuid();
        let (contact, inbox) = (self.links[&link].contact, self.links[&link].inbox);
        let blocked = self.contacts.get(&contact).is_some_and(|contact| contact.blocked);
        let conversation = Conversation {
            id,
            row,
            uuid,
            inbox,
            contact,
            link,
            status: if blocked { Status::Resolved } else { status },
            snoozed_until: None,
            labels: Vec::new(),
            priority: None,
            assignee: None,
            additional_attributes,
            custom_attributes,
            messages: Vec::new(),
            unread: 0,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            last_activity_ms: self.now_ms,
            agent_last_seen_ms: None,
            waiting_since_ms: Some(self.now_ms),
            first_reply_ms: None,
        };
        self.conversations.insert(id, conversation);
        if let Some(link) = self.links.get_mut(&link) {
            link.conversations.push(id);
        }
        self.events.push(Event::ConversationCreated { conversation: id });
        id
    }

    /// Conversations that match, latest activity first.
    pub(super) fn find_conversations(&self, filter: &Filter<'_>) -> Vec<&Conversation> {
        let matches = |conversation: &&Conversation| {
            filter.inbox.is_none_or(|inbox| conversation.inbox == inbox)
                && filter.status.is_none_or(|status| conversation.status == status)
                && filter.updated_after_ms.is_none_or(|after| conversation.updated_ms > after)
        };
        let mut found: Vec<&Conversation> = match filter.source_id {
            Some(source) => self
                .links_by_source
                .get(source)
                .into_iter()
                .flatten()
                .filter_map(|link| self.links.get(link))
                .flat_map(|link| &link.conversations)
                .filter_map(|id| self.conversations.get(id))
                .filter(matches)
                .collect(),
            None => self.conversations.values().filter(matches).collect(),
        };
        found.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_activity_ms, conversation.id)));
        found
    }

    /// Sets the status, or flips it when none is given.
    pub(super) fn toggle_status(&mut self, id: u64, params: &Params) -> Result<(), Refusal> {
        let now = self.conversation(id)?.status;
        let status = match params.text("status") {
            None if now == Status::Open => Status::Resolved,
            None => Status::Open,
            Some(name) => Status::named(name).ok_or(Refusal::Internal)?,
        };
        let until = params.text("snoozed_until").map(ToOwned::to_owned).filter(|_| status == Status::Snoozed);
        self.conversation_mut(id)?.snoozed_until = until;
        if status != now {
            self.set_status(id, status)?;
            self.push_activity(id, &activity_text(status))?;
        }
        Ok(())
    }

    pub(super) fn set_status(&mut self, id: u64, status: Status) -> Result<(), Refusal> {
        let now_ms = self.now_ms;
        let conversation = self.conversation_mut(id)?;
        let change =
            Change { attribute: "status", previous: conversation.status.name().into(), current: status.name().into() };
        conversation.status = status;
        conversation.updated_ms = now_ms;
        self.events.push(Event::StatusChanged { conversation: id });
        self.events.push(Event::ConversationUpdated { conversation: id, changes: vec![change] });
        Ok(())
    }

    /// Blocks or unblocks the contact; blocking also resolves the conversation.
    pub(super) fn mute(&mut self, id: u64, blocked: bool) -> Result<(), Refusal> {
        let contact = self.conversation(id)?.contact;
        self.contacts.get_mut(&contact).ok_or(Refusal::Internal)?.blocked = blocked;
        if blocked && self.conversation(id)?.status != Status::Resolved {
            self.set_status(id, Status::Resolved)?;
        }
        self.events.push(Event::ConversationTouched { conversation: id });
        Ok(())
    }

    pub(super) fn set_labels(&mut self, id: u64, labels: Vec<String>) -> Result<(), Refusal> {
        let conversation = self.conversation_mut(id)?;
        let previous = std::mem::replace(&mut conversation.labels, labels);
        let change = Change { attribute: "label_list", previous: json!(previous), current: json!(conversation.labels) };
        self.updated(id, change);
        Ok(())
    }

    /// Replaces the hash whole.
    pub(super) fn set_custom_attributes(&mut self, id: u64, params: &Params) -> Result<(), Refusal> {
        let attributes = checked(params, "custom_attributes")?;
        let conversation = self.conversation_mut(id)?;
        let previous = std::mem::replace(&mut conversation.custom_attributes, attributes.clone());
        let change = Change {
            attribute: "custom_attributes",
            previous: Value::Object(previous),
            current: Value::Object(attributes),
        };
        self.updated(id, change);
        Ok(())
    }

    pub(super) fn set_priority(&mut self, id: u64, priority: Option<&str>) -> Result<(), Refusal> {
        let conversation = self.conversation_mut(id)?;
        let previous = std::mem::replace(&mut conversation.priority, priority.map(ToOwned::to_owned));
        let change = Change { attribute: "priority", previous: json!(previous), current: json!(priority) };
        self.updated(id, change);
        Ok(())
    }

    pub(super) fn assign(&mut self, id: u64, assignee: Option<u64>) -> Result<(), Refusal> {
        let conversation = self.conversation_mut(id)?;
        let previous = std::mem::replace(&mut conversation.assignee, assignee);
        let change = Change { attribute: "assignee_id", previous: json!(previous), current: json!(assignee) };
        self.updated(id, change);
        Ok(())
    }

    /// The agent has read it.
    pub(super) fn seen(&mut self, id: u64) -> Result<(), Refusal> {
        let now_ms = self.now_ms;
        let conversation = self.conversation_mut(id)?;
        conversation.unread = 0;
        conversation.agent_last_seen_ms = Some(now_ms);
        self.events.push(Event::ConversationTouched { conversation: id });
        Ok(())
    }

    fn updated(&mut self, id: u64, change: Change) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.updated_ms = self.now_ms;
        }
        self.events.push(Event::ConversationUpdated { conversation: id, changes: vec![change] });
    }

    fn push_activity(&mut self, id: u64, text: &str) -> Result<(), Refusal> {
        let new = NewMessage {
            content: Some(text.to_owned()),
            message_type: MessageType::Activity,
            sender: Some(Sender::Nobody),
            ..NewMessage::default()
        };
        self.create_message(id, new).map(|_| ())
    }
}

fn activity_text(status: Status) -> String {
    match status {
        Status::Open => format!("Conversation was reopened by {}", AGENT.name),
        Status::Resolved => format!("Conversation was marked resolved by {}", AGENT.name),
        Status::Pending => format!("Conversation was marked pending by {}", AGENT.name),
        Status::Snoozed => format!("Conversation was snoozed by {}", AGENT.name),
    }
}

fn checked(params: &Params, key: &'static str) -> Result<Attributes, Refusal> {
    let attributes = params.object(key).unwrap_or_default();
    let too_big = |value: &Value| {
        value.as_str().is_some_and(|text| text.chars().count() > ATTRIBUTE_CHARS_MAX)
            || value.as_u64().is_some_and(|number| number > ATTRIBUTE_NUMBER_MAX)
    };
    match attributes.iter().find(|(_, value)| too_big(value)) {
        None => Ok(attributes),
        Some((name, _)) => {
            let label = if key == "custom_attributes" { "Custom attributes" } else { "Additional attributes" };
            Err(Refusal::Invalid { message: format!("{label} {name} length should be < 1500"), attributes: vec![key] })
        }
    }
}
