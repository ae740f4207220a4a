//! Calls on conversations.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    client::{Client, LIST_BYTES_MAX},
    fault::{Call, CallFault},
    ids::{ContactId, ConversationId},
    text::{self, cut},
    wire::{Conversation, ConversationStatus, Listed},
};

/// A conversation to be opened on a link.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConversation {
    pub contact_id: ContactId,
    /// The link's. Sent together with contact and inbox: alone it would be looked up in the whole installation.
    pub source_id: String,
    /// Network facts: texts are cut to [`FACT_CHARS_MAX`] characters, numbers must be below ten thousand millions.
    pub additional_attributes: Map<String, Value>,
}

/// Chatwoot refuses longer ones (4.15).
const FACT_CHARS_MAX: usize = 1_500;

impl Client {
    /// The conversations of a link in our inbox, of any status, latest activity first; at most 25.
    pub async fn conversations_by_source_id(&self, source_id: &str) -> Result<Vec<Conversation>, CallFault> {
        let inbox = self.inbox_id.to_string();
        let request = self.ask(Call::FindConversations, Method::GET, "conversations");
        let request = request.query("inbox_id", &inbox).query("status", "all").query("source_id", source_id);
        let request = request.query("sort_by", "last_activity_at_desc").query("page", "1");
        let mut found = self.ours(request.up_to(LIST_BYTES_MAX).read().await?);
        // A server before 2.17 does not know the filter and answers with everything.
        found.retain(|conversation| conversation.source_id().is_none_or(|theirs| theirs == source_id));
        Ok(found)
    }

    /// Every conversation of our inbox in which something moved within the last `seconds` (Chatwoot 3.6). Not paged.
    pub async fn conversations_updated_within(&self, seconds: u64) -> Result<Vec<Conversation>, CallFault> {
        let inbox = self.inbox_id.to_string();
        let request = self.ask(Call::FindConversations, Method::GET, "conversations");
        let request = request.query("inbox_id", &inbox).query("status", "all");
        let request = request.query("updated_within", &seconds.to_string());
        Ok(self.ours(request.up_to(LIST_BYTES_MAX).read().await?))
    }

    /// A page of 25 of our inbox's conversations, of any status, latest activity first; `page` from 1.
    pub async fn conversations_by_activity(&self, page: usize) -> Result<Vec<Conversation>, CallFault> {
        let inbox = self.inbox_id.to_string();
        let request = self.ask(Call::FindConversations, Method::GET, "conversations");
        let request = request.query("inbox_id", &inbox).query("status", "all");
        let request = request.query("sort_by", "last_activity_at_desc").query("page", &page.to_string());
        Ok(self.ours(request.up_to(LIST_BYTES_MAX).read().await?))
    }

    /// One conversation.
    pub async fn conversation(&self, conversation: ConversationId) -> Result<Conversation, CallFault> {
        self.ask(Call::ReadConversation, Method::GET, &format!("conversations/{conversation}")).read().await
    }

    /// Opens a conversation, or returns the link's last one, whatever its status, where the inbox keeps to a single one.
    ///
    /// Nothing guards against two: ask [`Client::conversations_by_source_id`] first, one caller at a time.
    pub async fn create_conversation(&self, new: &NewConversation) -> Result<Conversation, CallFault> {
        let facts = new.additional_attributes.iter();
        let facts: Map<_, _> = facts.map(|(name, fact)| (name.clone(), shortened(fact))).collect();
        let body = json!({
            "inbox_id": self.inbox_id,
            "contact_id": new.contact_id,
            "source_id": new.source_id,
            "status": "open",
            "additional_attributes": facts,
        });
        self.ask(Call::CreateConversation, Method::POST, "conversations").json(body).read().await
    }

    /// Sets a conversation's status, outright: without one the call would flip it.
    pub async fn toggle_status(
        &self,
        conversation: ConversationId,
        status: ConversationStatus,
    ) -> Result<(), CallFault> {
        let request =
            self.ask(Call::ToggleStatus, Method::POST, &format!("conversations/{conversation}/toggle_status"));
        request.json(json!({ "status": status.as_str() })).recorded().await
    }

    /// Shows the token's owner typing, or not any more. (The contact's: [`contact_typing`](Self::contact_typing).)
    pub async fn typing(&self, conversation: ConversationId, on: bool) -> Result<(), CallFault> {
        let request =
            self.ask(Call::Typing, Method::POST, &format!("conversations/{conversation}/toggle_typing_status"));
        let status = if on { "on" } else { "off" };
        request.json(json!({ "typing_status": status, "is_private": false })).done().await
    }

    /// Shows the contact typing, or not any more, by the client API (Chatwoot 3.0). It takes no token: the inbox's
    /// identifier and the link's source id are its secrets.
    pub async fn contact_typing(
        &self,
        inbox_identifier: &str,
        source_id: &str,
        conversation: ConversationId,
        on: bool,
    ) -> Result<(), CallFault> {
        let (inbox, contact) = (text::segment(inbox_identifier), text::segment(source_id));
        let path =
            format!("public/api/v1/inboxes/{inbox}/contacts/{contact}/conversations/{conversation}/toggle_typing");
        let status = if on { "on" } else { "off" };
        let request = self.ask_at(Call::Typing, Method::POST, &path).without_token();
        request.json(json!({ "typing_status": status })).done().await
    }

    fn ours(&self, listed: Listed<Conversation>) -> Vec<Conversation> {
        let mut found = listed.data.payload;
        found.retain(|conversation| conversation.inbox_id == self.inbox_id);
        found
    }
}

fn shortened(fact: &Value) -> Value {
    fact.as_str().map_or_else(|| fact.clone(), |text| cut(text, FACT_CHARS_MAX).into())
}
