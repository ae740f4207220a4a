//! Messages: creation with the flood guard and its side effects, status, deletion, retry, listing.

use serde_json::{Map, Value, json};

use super::desk::{Attachment, Attributes, Blob, Change, Delivery, Desk, Event, Message, MessageType, Sender, Status};
use super::members::TOKEN_OWNER;
use super::params::{FilePart, Params};
use super::refusal::Refusal;

const CONTENT_CHARS_MAX: usize = 150_000;
const FLOOD_WINDOW_MS: i64 = 60_000;
const TOO_MANY: &str = "Too many messages";
/// Rows that `GET …/messages` answers without `after`, with `after`, and with both.
const LATEST_MAX: usize = 20;
const AFTER_MAX: usize = 100;
const BETWEEN_MAX: usize = 1_000;

/// A message as it is asked for.
#[derive(Default)]
pub(super) struct NewMessage {
    pub(super) content: Option<String>,
    pub(super) message_type: MessageType,
    pub(super) private: bool,
    pub(super) content_type: Option<String>,
    pub(super) content_attributes: Attributes,
    pub(super) source_id: Option<String>,
    pub(super) files: Vec<FilePart>,
    /// Signed ids of blobs that are already here.
    pub(super) blobs: Vec<String>,
    /// Whoever the type stands for, unless given.
    pub(super) sender: Option<Sender>,
}

impl NewMessage {
    pub(super) fn read(params: &Params, default: MessageType) -> Result<Self, Refusal> {
        let message_type = match params.text("message_type").filter(|name| !name.is_empty()) {
            None => default,
            Some(name) => MessageType::named(name)
                .ok_or_else(|| Refusal::Unprocessable(format!("'{name}' is not a valid message_type")))?,
        };
        let mut blobs = Vec::new();
        match params.values.get("attachments") {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => blobs.extend(list.iter().filter_map(Value::as_str).map(ToOwned::to_owned)),
            Some(_) => return Err(no_list()),
        }
        let content_attributes = match params.values.get("content_attributes") {
            Some(Value::Object(attributes)) => Some(attributes.clone()),
            // A form can only carry it as text.
            Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(text).ok(),
            _ => None,
        };
        // Chatwoot keeps `external_created_at` only when no `content_attributes` came along.
        let content_attributes = content_attributes.unwrap_or_else(|| match params.values.get("external_created_at") {
            Some(at) => Map::from_iter([("external_created_at".to_owned(), at.clone())]),
            None => Map::new(),
        });
        Ok(Self {
            content: params.text("content").map(ToOwned::to_owned),
            message_type,
            private: params.flag("private").unwrap_or(false),
            content_type: params.text("content_type").map(ToOwned::to_owned),
            content_attributes,
            source_id: params.text("source_id").map(ToOwned::to_owned),
            files: Vec::new(),
            blobs,
            sender: None,
        })
    }

    /// The same for a form with files, which must come as a list.
    pub(super) fn read_with_files(mut params: Params) -> Result<Self, Refusal> {
        let files = std::mem::take(&mut params.files);
        let mut new = Self::read(&params, MessageType::Outgoing)?;
        for (field, file) in files {
            match field.as_str() {
                "attachments[]" => new.files.push(file),
                "attachments" => return Err(no_list()),
                _ => {}
            }
        }
        Ok(new)
    }
}

fn no_list() -> Refusal {
    Refusal::Unprocessable("undefined method 'each' for an instance of ActionDispatch::Http::UploadedFile".to_owned())
}

impl Desk {
    /// Commits a message and what follows from it. Nothing recognises a repeated `source_id`.
    pub(super) fn create_message(&mut self, display: u64, new: NewMessage) -> Result<u64, Refusal> {
        let conversation = self.conversation(display)?;
        let (inbox, contact) = (conversation.inbox, conversation.contact);
        let length = new.content.as_ref().map_or(0, String::len);
        if length > CONTENT_CHARS_MAX && new.content.iter().flat_map(|text| text.chars()).count() > CONTENT_CHARS_MAX {
            let text = "Validation failed: Content is too long (maximum is 150000 characters)";
            return Err(Refusal::Unprocessable(text.to_owned()));
        }
        if self.flooded(display) {
            return Err(Refusal::Unprocessable(format!("Validation failed: {TOO_MANY}")));
        }
        let attachments = self.attach(new.files, new.blobs)?;
        let content_attributes = self.with_reply_target(display, new.content_attributes);
        let sender = new.sender.unwrap_or(match new.message_type {
            MessageType::Outgoing => Sender::Member(TOKEN_OWNER.id),
            MessageType::Incoming | MessageType::Activity | MessageType::Template => Sender::Contact(contact),
        });
        let id = self.push_message(Message {
            id: 0,
            conversation: display,
            inbox,
            content: new.content,
            message_type: new.message_type,
            content_type: new.content_type.unwrap_or_else(|| "text".to_owned()),
            private: new.private,
            status: Delivery::Sent,
            content_attributes,
            source_id: new.source_id,
            sender,
            attachments,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
        });
        self.events.push(Event::MessageCreated { conversation: display, message: id });
        self.follow_up(display, id, sender, new.private)?;
        // The row is committed; only the hooks behind it stumble over the contact that is gone.
        if !self.contacts.contains_key(&contact) {
            return Err(Refusal::Unprocessable("undefined method 'blocked?' for nil".to_owned()));
        }
        Ok(id)
    }

    fn follow_up(&mut self, display: u64, id: u64, sender: Sender, private: bool) -> Result<(), Refusal> {
        let now_ms = self.now_ms;
        let message_type = self.message(id).map_or(MessageType::Activity, |message| message.message_type);
        let conversation = self.conversation_mut(display)?;
        conversation.messages.push(id);
        conversation.updated_ms = now_ms;
        conversation.last_activity_ms = now_ms;
        match message_type {
            MessageType::Incoming => self.follow_incoming(display),
            MessageType::Outgoing if !private && matches!(sender, Sender::Member(_)) => {
                self.follow_reply(display);
                Ok(())
            }
            MessageType::Outgoing | MessageType::Activity | MessageType::Template => Ok(()),
        }
    }

    fn follow_incoming(&mut self, display: u64) -> Result<(), Refusal> {
        let now_ms = self.now_ms;
        let conversation = self.conversation_mut(display)?;
        conversation.unread += 1;
        let (status, contact) = (conversation.status, conversation.contact);
        if conversation.waiting_since_ms.is_none() {
            conversation.waiting_since_ms = Some(now_ms);
            let change = Change { attribute: "waiting_since", previous: Value::Null, current: json!(iso(now_ms)) };
            self.events.push(Event::ConversationUpdated { conversation: display, changes: vec![change] });
        }
        let Some(contact) = self.contacts.get_mut(&contact) else { return Ok(()) };
        contact.last_activity_ms = Some(now_ms);
        if contact.blocked {
            return Ok(());
        }
        match status {
            Status::Resolved | Status::Snoozed => self.set_status(display, Status::Open),
            Status::Open | Status::Pending => Ok(()),
        }
    }

    fn follow_reply(&mut self, display: u64) {
        let now_ms = self.now_ms;
        let Some(conversation) = self.conversations.get_mut(&display) else { return };
        let mut changes = Vec::new();
        if let Some(since) = conversation.waiting_since_ms.take() {
            changes.push(Change { attribute: "waiting_since", previous: json!(iso(since)), current: Value::Null });
        }
        if conversation.first_reply_ms.is_none() {
            conversation.first_reply_ms = Some(now_ms);
            let current = json!(iso(now_ms));
            changes.push(Change { attribute: "first_reply_created_at", previous: Value::Null, current });
        }
        if !changes.is_empty() {
            self.events.push(Event::ConversationUpdated { conversation: display, changes });
        }
    }

    /// Whether the flood guard would refuse one more message: the newest `limit` are all under a minute old.
    fn flooded(&self, display: u64) -> bool {
        let limit = self.settings.messages_per_minute_max;
        let Some(conversation) = self.conversations.get(&display) else { return false };
        let Some(index) = conversation.messages.len().checked_sub(limit) else { return false };
        let oldest = conversation.messages.get(index).and_then(|id| self.message(*id));
        limit == 0 || oldest.is_some_and(|message| message.created_ms > self.now_ms - FLOOD_WINDOW_MS)
    }

    fn attach(&mut self, files: Vec<FilePart>, signed: Vec<String>) -> Result<Vec<Attachment>, Refusal> {
        if signed.iter().any(|blob| !self.blobs.contains_key(blob)) {
            return Err(Refusal::Unprocessable("ActiveSupport::MessageVerifier::InvalidSignature".to_owned()));
        }
        let mut blobs = signed;
        for file in files {
            blobs.push(self.store_blob(file));
        }
        Ok(blobs.into_iter().map(|blob| Attachment { id: self.next_attachment(), blob }).collect())
    }

    pub(super) fn store_blob(&mut self, file: FilePart) -> String {
        let signed = super::desk::token(&mut self.random);
        // A name is a path segment of `data_url`: what could end or leave it is replaced, as ActiveStorage does.
        let name = file.name.replace(|letter: char| "/\\?%*:|\"<>#".contains(letter) || letter.is_control(), "-");
        self.blobs.insert(signed.clone(), Blob { name, content_type: file.content_type, bytes: file.bytes });
        signed
    }

    /// Fills in both ways of naming the message replied to, or nulls them where it is not in this conversation.
    fn with_reply_target(&self, display: u64, mut attributes: Attributes) -> Attributes {
        let by_id = attributes.get("in_reply_to").and_then(Value::as_u64);
        let external = attributes.get("in_reply_to_external_id").and_then(Value::as_str);
        if !attributes.contains_key("in_reply_to") && !attributes.contains_key("in_reply_to_external_id") {
            return attributes;
        }
        let here = self.conversations.get(&display).map(|found| found.messages.as_slice()).unwrap_or_default();
        let mut candidates = here.iter().rev().filter_map(|id| self.message(*id));
        let target = candidates.find(|message| {
            by_id == Some(message.id) || external.is_some_and(|source| message.source_id.as_deref() == Some(source))
        });
        let (id, source) = (target.map(|target| target.id), target.and_then(|target| target.source_id.clone()));
        attributes.insert("in_reply_to".to_owned(), json!(id));
        attributes.insert("in_reply_to_external_id".to_owned(), json!(source));
        attributes
    }

    /// PATCH: applies what makes sense and ignores the rest in silence.
    pub(super) fn update_message(&mut self, display: u64, id: u64, params: &Params) -> Result<(), Refusal> {
        self.message_in(display, id)?;
        if self.flooded(display) {
            return Err(Refusal::Invalid { message: TOO_MANY.to_owned(), attributes: vec!["base"] });
        }
        let Some(status) = params.text("status").and_then(Delivery::named) else { return Ok(()) };
        let error = params.text("external_error").filter(|_| status == Delivery::Failed);
        self.set_delivery(display, id, status, error);
        Ok(())
    }

    /// Sets status and error, and tells the listeners if that changed anything.
    pub(super) fn set_delivery(&mut self, display: u64, id: u64, status: Delivery, error: Option<&str>) {
        let now_ms = self.now_ms;
        let Some(message) = self.message_mut(id) else { return };
        if message.status == Delivery::Read && status == Delivery::Delivered {
            return;
        }
        let before = message.content_attributes.get("external_error").and_then(Value::as_str);
        if message.status == status && before == error {
            return;
        }
        message.status = status;
        message.updated_ms = now_ms;
        match error {
            Some(error) => message.content_attributes.insert("external_error".to_owned(), json!(error)),
            None => message.content_attributes.remove("external_error"),
        };
        self.message_changed(display, id);
    }

    /// Leaves a tombstone; the row stays.
    pub(super) fn delete_message(&mut self, display: u64, id: u64) -> Result<(), Refusal> {
        self.message_in(display, id)?;
        if self.flooded(display) {
            return Err(Refusal::Invalid { message: TOO_MANY.to_owned(), attributes: vec!["base"] });
        }
        let now_ms = self.now_ms;
        let message = self.message_mut(id).ok_or(Refusal::Missing)?;
        message.content = Some("This message was deleted".to_owned());
        "text".clone_into(&mut message.content_type);
        message.content_attributes = Map::from_iter([("deleted".to_owned(), Value::Bool(true))]);
        message.updated_ms = now_ms;
        for attachment in std::mem::take(&mut message.attachments) {
            self.blobs.remove(&attachment.blob);
        }
        self.message_changed(display, id);
        Ok(())
    }

    /// The agent's Retry: back to sent, attributes emptied, one update told. Nothing is sent again by itself.
    pub(super) fn retry_message(&mut self, display: u64, id: u64) -> Result<(), Refusal> {
        self.conversation(display)?;
        if self.message_in(display, id).is_err() {
            return Err(Refusal::Unprocessable(format!("Couldn't find Message with 'id'={id}")));
        }
        if self.flooded(display) {
            return Err(Refusal::Unprocessable(format!("Validation failed: {TOO_MANY}")));
        }
        let now_ms = self.now_ms;
        if let Some(message) = self.message_mut(id) {
            message.status = Delivery::Sent;
            message.content_attributes.clear();
            message.updated_ms = now_ms;
        }
        self.message_changed(display, id);
        Ok(())
    }

    /// An agent has a message translated, which changes nothing that anybody else may see.
    pub(super) fn translate_message(&mut self, display: u64, id: u64) -> Result<(), Refusal> {
        self.message_in(display, id)?;
        let message = self.message_mut(id).ok_or(Refusal::Missing)?;
        message.content_attributes.insert("translations".to_owned(), json!({ "de": "…" }));
        self.message_changed(display, id);
        Ok(())
    }

    /// Whatever changes in a message moves its conversation too (Chatwoot: `touch: true`).
    fn message_changed(&mut self, display: u64, id: u64) {
        let now_ms = self.now_ms;
        if let Ok(conversation) = self.conversation_mut(display) {
            conversation.updated_ms = now_ms;
        }
        self.events.push(Event::MessageUpdated { conversation: display, message: id });
    }

    pub(super) fn message_in(&self, display: u64, id: u64) -> Result<&Message, Refusal> {
        self.conversation(display)?;
        self.message(id).filter(|message| message.conversation == display).ok_or(Refusal::Missing)
    }

    /// One page of messages, ascending.
    pub(super) fn list_messages(
        &self,
        display: u64,
        after: Option<u64>,
        before: Option<u64>,
    ) -> Result<Vec<&Message>, Refusal> {
        let ids = &self.conversation(display)?.messages;
        let until = |before: u64| ids.partition_point(|id| *id < before);
        let page = match (after, before) {
            (None, None) => &ids[ids.len().saturating_sub(LATEST_MAX)..],
            (None, Some(before)) => &ids[until(before).saturating_sub(LATEST_MAX)..until(before)],
            (Some(after), None) => {
                let from = ids.partition_point(|id| *id <= after);
                &ids[from..ids.len().min(from + AFTER_MAX)]
            }
            (Some(after), Some(before)) => {
                let from = until(after);
                &ids[from..until(before).clamp(from, from + BETWEEN_MAX)]
            }
        };
        Ok(page.iter().filter_map(|id| self.message(*id)).collect())
    }
}

/// ISO-8601 in UTC with milliseconds, as Rails writes times.
pub(super) fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
