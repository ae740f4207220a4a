//! Calls on messages.

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Body, Method,
    multipart::{Form, Part},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    client::{Client, LIST_BYTES_MAX, UploadPlace},
    fault::{Call, CallFault},
    ids::{ConversationId, MessageId},
    wire::{MessageRow, MessageStatus, MessageType, Payload},
};

/// A message to be posted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// At most [`CONTENT_CHARS_MAX`] characters. May be empty only beside files.
    pub content: String,
    /// In what is not incoming, Chatwoot evaluates Liquid (`{{ … }}`): never put a peer's words there.
    pub message_type: MessageType,
    /// A note for agents.
    pub private: bool,
    /// Our key: the mark by which an earlier try is found again. Nothing in Chatwoot keeps it unique.
    pub source_id: String,
    /// For example `in_reply_to` (a message id) or `in_reply_to_external_id` (a source id of the same conversation).
    pub content_attributes: Map<String, Value>,
}

/// A file on its way to Chatwoot.
#[derive(Debug)]
pub struct Upload {
    name: String,
    content_type: String,
    length: u64,
    body: Body,
}

impl Upload {
    /// A file that is whole already. Chatwoot tells images, video and audio apart by the content type.
    pub fn whole(name: String, content_type: String, bytes: Bytes) -> Self {
        Self { name, content_type, length: bytes.len() as u64, body: bytes.into() }
    }

    /// A file that is read while it is sent. The pieces must come to just `length` bytes, or end with an error: the
    /// request then breaks off before its end, so Chatwoot never sees half a file.
    pub fn streamed<S, E>(name: String, content_type: String, length: u64, pieces: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        Self { name, content_type, length, body: Body::wrap_stream(pieces) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn into_part(self) -> Result<Part, CallFault> {
        let part = Part::stream_with_length(self.body, self.length).file_name(self.name);
        part.mime_str(&self.content_type)
            .map_err(|_| CallFault::Invalid { reason: "the attachment's content type is malformed".to_owned() })
    }
}

/// Rows in a full answer of [`Client::messages_after`] (Chatwoot 4.15, `message_finder.rb`).
pub const MESSAGES_PAGE: usize = 100;
/// Chatwoot 4.15, `message.rb`.
pub const CONTENT_CHARS_MAX: usize = 150_000;
/// Chatwoot 4.15, `message.rb`.
pub const ATTACHMENTS_MAX: usize = 15;

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Posted {
    pub id: MessageId,
}

impl Client {
    /// Up to [`MESSAGES_PAGE`] messages with an id above `after`, private notes and activities included, in the order of their ids.
    ///
    /// Chatwoot orders them by time; a full page ends at its own limit, so ask again from the highest id seen.
    pub async fn messages_after(
        &self,
        conversation: ConversationId,
        after: MessageId,
    ) -> Result<Vec<MessageRow>, CallFault> {
        self.list(conversation, &[("after", after)]).await
    }

    /// The latest 20 messages, or the latest 20 with an id below `before`, in the order of their ids.
    pub async fn messages_before(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
    ) -> Result<Vec<MessageRow>, CallFault> {
        let bounds: Vec<_> = before.map(|before| ("before", before)).into_iter().collect();
        self.list(conversation, &bounds).await
    }

    /// One message. (With both bounds Chatwoot answers with ids from `after` on and below `before`.)
    pub async fn message(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<MessageRow>, CallFault> {
        let bounds = [("after", message), ("before", MessageId(message.0 + 1))];
        Ok(self.list(conversation, &bounds).await?.into_iter().find(|row| row.id == message))
    }

    async fn list(
        &self,
        conversation: ConversationId,
        bounds: &[(&str, MessageId)],
    ) -> Result<Vec<MessageRow>, CallFault> {
        let mut request = self.ask(Call::ListMessages, Method::GET, &format!("conversations/{conversation}/messages"));
        for (side, id) in bounds {
            request = request.query(side, &id.to_string());
        }
        let mut rows = request.up_to(LIST_BYTES_MAX).read::<Payload<Vec<MessageRow>>>().await?.payload;
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    /// Posts one message. Chatwoot does not recognise a second copy: after `Doubtful`, list before trying again.
    pub async fn post_message(&self, conversation: ConversationId, new: &NewMessage) -> Result<Posted, CallFault> {
        check(new, 0)?;
        let request = self.ask(Call::PostMessage, Method::POST, &format!("conversations/{conversation}/messages"));
        request.json(json_body(new)).read().await
    }

    /// The same with files, at most [`ATTACHMENTS_MAX`], all in one message.
    pub async fn post_with_files(
        &self,
        conversation: ConversationId,
        new: &NewMessage,
        files: Vec<Upload>,
        place: UploadPlace,
    ) -> Result<Posted, CallFault> {
        check(new, files.len())?;
        let request = self.ask(Call::PostMessage, Method::POST, &format!("conversations/{conversation}/messages"));
        request.form(form(new, files)?, place).read().await
    }

    /// Sets what became of a message (Chatwoot 4.2, API inboxes only). Chatwoot keeps `external_error` only with
    /// `failed`, and answers 200 also when it changed nothing.
    pub async fn set_message_status(
        &self,
        conversation: ConversationId,
        message: MessageId,
        status: MessageStatus,
        external_error: Option<&str>,
    ) -> Result<(), CallFault> {
        let path = format!("conversations/{conversation}/messages/{message}");
        let request = self.ask(Call::SetMessageStatus, Method::PATCH, &path);
        let mut body = json!({ "status": status });
        if let Some(error) = external_error {
            body["external_error"] = json!(error);
        }
        request.json(body).recorded().await
    }

    /// Replaces a message by Chatwoot's "deleted" mark; the row stays.
    pub async fn delete_message(&self, conversation: ConversationId, message: MessageId) -> Result<(), CallFault> {
        let path = format!("conversations/{conversation}/messages/{message}");
        self.ask(Call::DeleteMessage, Method::DELETE, &path).recorded().await
    }
}

/// What Chatwoot would refuse in the account's language, or take although nobody wants it.
fn check(new: &NewMessage, files: usize) -> Result<(), CallFault> {
    let reason = if new.content.chars().count() > CONTENT_CHARS_MAX {
        format!("the message is longer than the {CONTENT_CHARS_MAX} characters chatwoot takes")
    } else if files > ATTACHMENTS_MAX {
        format!("the message has more than the {ATTACHMENTS_MAX} attachments chatwoot takes")
    } else if new.content.is_empty() && files == 0 {
        "the message has neither text nor attachment".to_owned()
    } else {
        return Ok(());
    };
    Err(CallFault::Invalid { reason })
}

fn json_body(new: &NewMessage) -> Value {
    let mut body = json!({
        "content": new.content,
        "message_type": new.message_type.as_str(),
        "private": new.private,
        "source_id": new.source_id,
    });
    if !new.content_attributes.is_empty() {
        body["content_attributes"] = json!(new.content_attributes);
    }
    body
}

fn form(new: &NewMessage, files: Vec<Upload>) -> Result<Form, CallFault> {
    let mut form = Form::new()
        .text("content", new.content.replace('\0', ""))
        .text("message_type", new.message_type.as_str())
        .text("private", new.private.to_string())
        .text("source_id", new.source_id.clone());
    if !new.content_attributes.is_empty() {
        // In a form Chatwoot takes the object as a JSON text.
        form = form.text("content_attributes", Value::from(new.content_attributes.clone()).to_string());
    }
    for file in files {
        form = form.part("attachments[]", file.into_part()?);
    }
    Ok(form)
}
