//! Calls on the inbox, the token and the installation: what a check of the wiring asks.

use reqwest::Method;

use super::{
    client::Client,
    fault::{Call, CallFault},
    wire::{Inbox, Profile, Version},
};

impl Client {
    /// Our inbox. Its secret is shown to administrators only (Chatwoot 4.13).
    pub async fn inbox(&self) -> Result<Inbox, CallFault> {
        let inbox = self.inbox_id;
        self.ask(Call::ReadInbox, Method::GET, &format!("inboxes/{inbox}")).read().await
    }

    /// Whose token it is, and what they may do.
    pub async fn profile(&self) -> Result<Profile, CallFault> {
        self.ask_at(Call::ReadProfile, Method::GET, "api/v1/profile").read().await
    }

    /// Which Chatwoot answers. Needs no token, so none is sent.
    pub async fn version(&self) -> Result<Version, CallFault> {
        self.ask_at(Call::ReadVersion, Method::GET, "api").without_token().read().await
    }

    /// Whether the web process is up (Chatwoot 4.11). Not throttled, touches no database.
    pub async fn health(&self) -> Result<(), CallFault> {
        self.ask_at(Call::ReadHealth, Method::GET, "health").without_token().done().await
    }
}
