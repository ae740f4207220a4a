//! Calls on the inbox, the token and the installation: what a check of the wiring asks.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    client::{Client, LIST_BYTES_MAX},
    fault::{Call, CallFault},
    ids::{AccountId, InboxId},
    wire::{Account, AgentRow, Health, Inbox, Payload, Profile, Version},
};

/// What provisioning sets on an inbox; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxChange {
    pub name: Option<String>,
    /// Where callbacks go, at most 2 048 characters.
    pub webhook_url: Option<String>,
    pub lock_to_single_conversation: Option<bool>,
}

impl Client {
    /// Our inbox. Its secret is shown to administrators only (Chatwoot 4.13).
    pub async fn inbox(&self) -> Result<Inbox, CallFault> {
        let inbox = self.inbox_id;
        self.ask(Call::ReadInbox, Method::GET, &format!("inboxes/{inbox}")).read().await
    }

    /// The account's inboxes that the token may see.
    pub async fn inboxes(&self) -> Result<Vec<Inbox>, CallFault> {
        Ok(self.ask(Call::ReadInbox, Method::GET, "inboxes").up_to(LIST_BYTES_MAX).read::<Payload<_>>().await?.payload)
    }

    /// Makes an API inbox in the account (administrators only). Not the one this client is for: its id is new.
    pub async fn create_inbox(&self, new: &InboxChange) -> Result<Inbox, CallFault> {
        let mut body = body(new);
        body["channel"]["type"] = json!("api");
        self.ask(Call::CreateInbox, Method::POST, "inboxes").json(body).read().await
    }

    /// Changes an inbox (administrators only).
    pub async fn update_inbox(&self, inbox: InboxId, change: &InboxChange) -> Result<Inbox, CallFault> {
        let request = self.ask(Call::UpdateInbox, Method::PATCH, &format!("inboxes/{inbox}"));
        request.json(body(change)).read().await
    }

    /// Everybody who signs in to the account, with their pictures. Agents may ask too.
    pub async fn agents(&self) -> Result<Vec<AgentRow>, CallFault> {
        self.ask(Call::ListAgents, Method::GET, "agents").up_to(LIST_BYTES_MAX).read().await
    }

    /// Who sees the inbox in their list.
    pub async fn inbox_members(&self, inbox: InboxId) -> Result<Vec<AgentRow>, CallFault> {
        let request = self.ask(Call::ListAgents, Method::GET, &format!("inbox_members/{inbox}"));
        Ok(request.up_to(LIST_BYTES_MAX).read::<Payload<_>>().await?.payload)
    }

    /// Lets these see the inbox (administrators only). Name those who do already, too: an old Chatwoot takes this for
    /// the whole list, and a new one adds.
    pub async fn set_inbox_members(&self, inbox: InboxId, members: &[i64]) -> Result<(), CallFault> {
        let request = self.ask(Call::UpdateInbox, Method::POST, "inbox_members");
        request.json(json!({ "inbox_id": inbox, "user_ids": members })).done().await
    }

    /// The account: its language, and features that matter to a bridge.
    pub async fn account(&self) -> Result<Account, CallFault> {
        let account: AccountId = self.account_id;
        self.ask_at(Call::ReadAccount, Method::GET, &format!("api/v1/accounts/{account}")).read().await
    }

    /// Whose token it is, and what they may do.
    pub async fn profile(&self) -> Result<Profile, CallFault> {
        self.ask_at(Call::ReadProfile, Method::GET, "api/v1/profile").read().await
    }

    /// Which Chatwoot answers. Needs no token, so none is sent.
    pub async fn version(&self) -> Result<Version, CallFault> {
        self.ask_at(Call::ReadVersion, Method::GET, "api").without_token().read().await
    }

    /// What time it is there, Unix milliseconds; exact to the second. Needs no token, so none is sent.
    pub async fn time_millis(&self) -> Result<Option<i64>, CallFault> {
        let call = Call::ReadVersion;
        let reply = self.ask_at(call, Method::GET, "api").without_token().send().await?.accept(call)?;
        // Chatwoot's own server sets no `Date`; what stands before it does.
        Ok(reply.date_millis().or_else(|| reply.parse::<Version>(call).ok()?.time_millis()))
    }

    /// Whether the web process is up (Chatwoot 4.11). Not throttled, touches no database.
    pub async fn health(&self) -> Result<(), CallFault> {
        self.ask_at(Call::ReadHealth, Method::GET, "health").without_token().read::<Health>().await.map(drop)
    }
}

fn body(change: &InboxChange) -> Value {
    let mut body = json!({ "channel": {} });
    if let Some(name) = &change.name {
        body["name"] = json!(name);
    }
    if let Some(lock) = change.lock_to_single_conversation {
        body["lock_to_single_conversation"] = json!(lock);
    }
    if let Some(url) = &change.webhook_url {
        body["channel"]["webhook_url"] = json!(url);
    }
    body
}
