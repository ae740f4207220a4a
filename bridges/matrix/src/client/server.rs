//! Calls about ourselves and the server.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{CallFault, Client};
use crate::{ids::UserId, wire::text};

/// Beyond the time that the server is asked to wait.
const SYNC_SLACK: Duration = Duration::from_secs(30);

impl Client {
    pub(crate) async fn whoami(&self) -> Result<UserId, CallFault> {
        let answer = self.get(self.url(&["_matrix", "client", "v3", "account", "whoami"])).await?;
        text(&answer, &["user_id"])
            .map(UserId::from)
            .ok_or_else(|| CallFault::Doubtful("the homeserver does not say who we are".to_owned()))
    }

    /// Makes a user of our namespace. One that is there already is fine.
    pub(crate) async fn register(&self, localpart: &str) -> Result<(), CallFault> {
        let mut url = self.url(&["_matrix", "client", "v3", "register"]);
        // The call speaks as the appservice: nobody else can make users.
        url.set_query(None);
        let body = json!({ "type": "m.login.application_service", "username": localpart, "inhibit_login": true });
        match self.post(url, &body).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.is("M_USER_IN_USE") => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Asks the homeserver to knock at our appservice, which also wakes what it keeps for us.
    pub(crate) async fn ping_appservice(&self, id: &str) -> Result<(), CallFault> {
        let mut url = self.url(&["_matrix", "client", "v1", "appservice", id, "ping"]);
        url.set_query(None);
        self.post(url, &json!({ "transaction_id": "deskbridge" })).await.map(drop)
    }

    /// One round of `/sync`. Without `since` it tells where things stand now.
    pub(crate) async fn sync(&self, since: Option<&str>, wait: Duration) -> Result<Value, CallFault> {
        let limit = if since.is_some() { 100 } else { 1 };
        let filter = json!({
            "presence": { "types": [] },
            "account_data": { "types": [] },
            "room": {
                "account_data": { "types": [] },
                "state": { "types": [], "lazy_load_members": true },
                "timeline": { "limit": limit },
                "ephemeral": { "types": ["m.typing", "m.receipt"] },
            },
        });
        let mut url = self.url(&["_matrix", "client", "v3", "sync"]);
        url.query_pairs_mut()
            .append_pair("filter", &filter.to_string())
            .append_pair("set_presence", "offline")
            .append_pair("timeout", &wait.as_millis().to_string());
        if let Some(since) = since {
            url.query_pairs_mut().append_pair("since", since);
        }
        self.json(self.request(Method::GET, url), wait + SYNC_SLACK).await
    }
}
