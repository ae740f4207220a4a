//! The bodies of the application API (Chatwoot 4.15.1, `app/views/api/v1/models`).

use serde_json::{Map, Value, json};

use super::desk::{Attachment, Contact, Conversation, Desk, Inbox, Link, Message, MessageType, Sender};
use super::members::{AGENTS, member};
use super::messages::iso;
use super::refusal::Refusal;

const CHANNEL: &str = "Channel::Api";

impl Desk {
    pub(super) fn contact_json(&self, contact: &Contact) -> Value {
        let mut body = contact_core(contact);
        let path = self.picture_path(contact);
        if !path.is_empty() {
            body.insert("thumbnail".to_owned(), json!(format!("{}{path}", self.frontend_url)));
        }
        let links = contact.links.iter().filter_map(|link| self.links.get(link));
        body.insert("contact_inboxes".to_owned(), links.map(|link| self.link_json(link)).collect());
        Value::Object(body)
    }

    /// Where the contact's picture is; empty without one.
    pub(super) fn picture_path(&self, contact: &Contact) -> String {
        let blob = contact.avatar.as_ref().and_then(|avatar| Some((avatar, self.blobs.get(avatar)?)));
        blob.map_or_else(String::new, |(avatar, blob)| {
            format!("/rails/active_storage/representations/redirect/{avatar}/{}", escaped(&blob.name))
        })
    }

    pub(super) fn link_json(&self, link: &Link) -> Value {
        json!({"source_id": link.source_id, "inbox": self.inboxes.get(&link.inbox).map(slim_inbox)})
    }

    /// The answer to a contact create: wrapped, or flat as the older documentation has it.
    pub(super) fn created_contact_json(&self, id: u64, link: Option<u64>) -> Result<Value, Refusal> {
        let contact = self.contact_json(self.contact(id)?);
        if self.settings.flat_contacts {
            return Ok(contact);
        }
        let link = link.and_then(|link| self.links.get(&link));
        let inbox = link.and_then(|link| self.inboxes.get(&link.inbox)).map(|inbox| self.raw_inbox(inbox));
        let source_id = link.map(|link| &link.source_id);
        Ok(json!({"payload": {"contact": contact, "contact_inbox": {"inbox": inbox, "source_id": source_id}}}))
    }

    /// The raw row, as Chatwoot shows it in this one place.
    fn raw_inbox(&self, inbox: &Inbox) -> Value {
        json!({
            "id": inbox.id, "channel_id": channel_id(inbox), "account_id": self.settings.account_id,
            "name": inbox.name, "created_at": "2026-06-01T08:00:00.000Z", "updated_at": "2026-06-01T08:00:00.000Z",
            "channel_type": inbox.channel_type, "enable_auto_assignment": true, "greeting_enabled": false,
            "greeting_message": null, "email_address": null, "working_hours_enabled": false,
            "out_of_office_message": null, "timezone": "UTC", "enable_email_collect": true,
            "csat_survey_enabled": false, "allow_messages_after_resolved": true, "auto_assignment_config": {},
            "lock_to_single_conversation": inbox.lock_to_single_conversation, "portal_id": null,
            "sender_name_type": "friendly", "business_name": null, "csat_config": {},
        })
    }

    /// With an administrator's token the signing keys are shown, otherwise the keys are not there.
    pub(super) fn inbox_json(&self, inbox: &Inbox) -> Value {
        let mut body = json!({
            "id": inbox.id, "avatar_url": "", "channel_id": channel_id(inbox), "name": inbox.name,
            "channel_type": inbox.channel_type, "greeting_enabled": false, "greeting_message": null,
            "working_hours_enabled": false, "enable_email_collect": true, "csat_survey_enabled": false,
            "csat_config": {}, "enable_auto_assignment": true, "auto_assignment_config": {},
            "out_of_office_message": null, "working_hours": [{"day_of_week": 0, "closed_all_day": true}],
            "timezone": "UTC", "callback_webhook_url": null, "allow_messages_after_resolved": true,
            "lock_to_single_conversation": inbox.lock_to_single_conversation, "sender_name_type": "friendly",
            "business_name": null, "hmac_mandatory": inbox.hmac_mandatory, "webhook_url": inbox.webhook_url,
            "inbox_identifier": inbox.identifier, "additional_attributes": inbox.additional_attributes,
            "provider": null, "allowed_domains": null, "widget_color": null, "website_url": null,
            "welcome_title": null, "welcome_tagline": null, "web_widget_script": null, "website_token": null,
            "selected_feature_flags": null, "reply_time": null, "messaging_service_sid": null, "phone_number": null,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(inbox.other.clone());
            if self.settings.role.is_administrator() {
                body.insert("hmac_token".to_owned(), json!(inbox.hmac_token));
                if self.settings.is_at_least(4, 13) {
                    body.insert("secret".to_owned(), json!(inbox.secret));
                }
            }
        }
        body
    }

    pub(super) fn message_json(&self, message: &Message) -> Value {
        let mut body = json!({
            "id": message.id, "content": message.content, "inbox_id": message.inbox,
            "conversation_id": message.conversation, "message_type": message.message_type.number(),
            "content_type": message.content_type, "status": message.status.name(),
            "content_attributes": message.content_attributes, "created_at": seconds(message.created_ms),
            "private": message.private, "source_id": message.source_id,
        });
        if let Some(body) = body.as_object_mut() {
            if let Some(sender) = self.sender_json(message.sender) {
                body.insert("sender".to_owned(), sender);
            }
            if !message.attachments.is_empty() {
                body.insert("attachments".to_owned(), self.attachments_json(message));
            }
        }
        body
    }

    fn sender_json(&self, sender: Sender) -> Option<Value> {
        match sender {
            Sender::Nobody => None,
            Sender::Member(id) => Some(member_json(id)),
            Sender::Contact(id) => self.contacts.get(&id).map(|contact| {
                json!({
                    "additional_attributes": contact.additional_attributes,
                    "custom_attributes": contact.custom_attributes, "email": contact.email, "id": contact.id,
                    "identifier": contact.identifier, "name": contact.name, "phone_number": contact.phone_number,
                    "thumbnail": "", "blocked": contact.blocked, "type": "contact",
                })
            }),
        }
    }

    pub(super) fn attachments_json(&self, message: &Message) -> Value {
        let one = |attachment: &Attachment| {
            let blob = self.blobs.get(&attachment.blob)?;
            let file_type = file_type(&blob.content_type);
            let path = format!("{}/{}", attachment.blob, escaped(&blob.name));
            let base = &self.frontend_url;
            let inline = if file_type == "audio" { "?disposition=inline" } else { "" };
            let thumb_url = match file_type {
                "image" => format!("{base}/rails/active_storage/representations/redirect/{path}"),
                _ => String::new(),
            };
            Some(json!({
                "id": attachment.id, "message_id": message.id, "file_type": file_type,
                "account_id": self.settings.account_id,
                "extension": blob.name.rsplit_once('.').map(|(_, extension)| extension),
                "content_type": blob.content_type,
                "data_url": format!("{base}/rails/active_storage/blobs/redirect/{path}{inline}"),
                "thumb_url": thumb_url, "file_size": blob.bytes.len(), "width": null, "height": null,
            }))
        };
        message.attachments.iter().filter_map(one).collect()
    }

    /// Fails with 500 while the contact's row is gone and the conversation's is not: Chatwoot's view meets nil.
    pub(super) fn conversation_json(&self, conversation: &Conversation) -> Result<Value, Refusal> {
        let contact = self.contacts.get(&conversation.contact).ok_or(Refusal::Internal)?;
        let mut meta = json!({"sender": contact_core(contact), "channel": CHANNEL, "hmac_verified": false});
        if let (Some(meta), Some(assignee)) = (meta.as_object_mut(), conversation.assignee) {
            meta.insert("assignee".to_owned(), member_json(assignee));
            meta.insert("assignee_type".to_owned(), json!("User"));
        }
        let last = conversation.messages.last().and_then(|id| self.message(*id));
        let last_said = self.last_said(conversation, |_| true);
        Ok(json!({
            "meta": meta, "id": conversation.id,
            "messages": last.map(|last| self.embedded_json(conversation, last)).into_iter().collect::<Vec<_>>(),
            "account_id": self.settings.account_id, "uuid": conversation.uuid,
            "additional_attributes": conversation.additional_attributes,
            "agent_last_seen_at": conversation.agent_last_seen_ms.map_or(0, seconds),
            "assignee_last_seen_at": 0, "can_reply": true, "contact_last_seen_at": 0,
            "custom_attributes": conversation.custom_attributes, "inbox_id": conversation.inbox,
            "labels": conversation.labels, "muted": contact.blocked, "snoozed_until": conversation.snoozed_until,
            "status": conversation.status.name(), "created_at": seconds(conversation.created_ms),
            "updated_at": conversation.updated_ms as f64 / 1000.0,
            "timestamp": seconds(conversation.last_activity_ms),
            "first_reply_created_at": conversation.first_reply_ms.map_or(0, seconds),
            "unread_count": conversation.unread,
            "last_non_activity_message": last_said.map(|last| self.embedded_json(conversation, last)),
            "last_activity_at": seconds(conversation.last_activity_ms), "priority": conversation.priority,
            "waiting_since": conversation.waiting_since_ms.map_or(0, seconds), "sla_policy_id": null,
        }))
    }

    /// The newest message that is no activity and fits. Looks back a bounded way only.
    pub(super) fn last_said(&self, conversation: &Conversation, fits: impl Fn(&Message) -> bool) -> Option<&Message> {
        const LOOK_BACK_MAX: usize = 100;
        let recent = conversation.messages.iter().rev().take(LOOK_BACK_MAX);
        recent
            .filter_map(|id| self.message(*id))
            .find(|message| message.message_type != MessageType::Activity && fits(message))
    }

    /// A message inside a conversation's body, where the link's source id hides.
    fn embedded_json(&self, conversation: &Conversation, message: &Message) -> Value {
        let mut body = self.message_json(message);
        if let Some(body) = body.as_object_mut() {
            body.insert("conversation".to_owned(), self.conversation_hint(conversation));
        }
        body
    }

    pub(super) fn conversation_hint(&self, conversation: &Conversation) -> Value {
        json!({
            "assignee_id": conversation.assignee, "unread_count": conversation.unread,
            "last_activity_at": seconds(conversation.last_activity_ms),
            "contact_inbox": {"source_id": self.links.get(&conversation.link).map(|link| &link.source_id)},
        })
    }

    pub(super) fn message_list_json(&self, conversation: &Conversation, messages: &[&Message]) -> Value {
        let mut meta = json!({
            "labels": conversation.labels, "additional_attributes": conversation.additional_attributes,
            "contact": self.contacts.get(&conversation.contact).map(contact_core),
            "agent_last_seen_at": conversation.agent_last_seen_ms.map(iso), "assignee_last_seen_at": null,
        });
        if let (Some(meta), Some(assignee)) = (meta.as_object_mut(), conversation.assignee) {
            meta.insert("assignee".to_owned(), member_json(assignee));
        }
        let payload: Vec<Value> = messages.iter().map(|message| self.message_json(message)).collect();
        json!({"meta": meta, "payload": payload})
    }
}

fn contact_core(contact: &Contact) -> Map<String, Value> {
    let mut body = json!({
        "additional_attributes": contact.additional_attributes, "availability_status": "offline",
        "email": contact.email, "id": contact.id, "name": contact.name, "phone_number": contact.phone_number,
        "blocked": contact.blocked, "identifier": contact.identifier, "thumbnail": "",
        "custom_attributes": contact.custom_attributes, "created_at": seconds(contact.created_ms),
    });
    if let (Some(body), Some(at)) = (body.as_object_mut(), contact.last_activity_ms) {
        body.insert("last_activity_at".to_owned(), json!(seconds(at)));
    }
    object(body)
}

/// A body as the map that it is.
pub(super) fn object(body: Value) -> Map<String, Value> {
    if let Value::Object(body) = body { body } else { Map::new() }
}

pub(super) fn slim_inbox(inbox: &Inbox) -> Value {
    json!({
        "id": inbox.id, "avatar_url": "", "channel_id": channel_id(inbox), "name": inbox.name,
        "channel_type": inbox.channel_type, "provider": null,
    })
}

/// Channels are numbered apart from inboxes, so that nobody takes one for the other.
fn channel_id(inbox: &Inbox) -> u64 {
    inbox.id + 4_000
}

pub(super) fn member_json(id: u64) -> Value {
    let name = member(id).name;
    let availability = if AGENTS.iter().any(|agent| agent.id == id) { "online" } else { "offline" };
    json!({
        "id": id, "name": name, "available_name": name, "avatar_url": "", "type": "user",
        "availability_status": availability, "thumbnail": "",
    })
}

pub(super) fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

/// `app/helpers/file_type_helper.rb`.
fn file_type(content_type: &str) -> &'static str {
    match content_type {
        "image/jpeg" | "image/png" | "image/gif" | "image/bmp" | "image/webp" | "image" => "image",
        "video/ogg" | "video/mp4" | "video/webm" | "video/quicktime" | "video" => "video",
        other if other.starts_with("audio/") => "audio",
        _ => "file",
    }
}

/// Percent-encodes everything that is not unreserved in a path segment.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    path
}
