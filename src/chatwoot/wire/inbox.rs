//! The shapes around the messages: inbox, account, token, installation.

use bridge_api::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::lenient;
use crate::chatwoot::ids::{AccountId, InboxId};

/// The inbox that is ours.
#[derive(Clone, Debug, Deserialize)]
pub struct Inbox {
    pub id: InboxId,
    #[serde(default)]
    pub name: Option<String>,
    /// `Channel::Api` for an API inbox.
    #[serde(default)]
    pub channel_type: Option<String>,
    /// Where callbacks go. (`callback_webhook_url` is null for API inboxes.)
    #[serde(default)]
    pub webhook_url: Option<String>,
    /// The callbacks' signing key, shown to administrators since 4.13.
    #[serde(default)]
    pub secret: Option<Secret>,
    #[serde(default, deserialize_with = "lenient")]
    pub lock_to_single_conversation: bool,
    #[serde(default)]
    pub inbox_identifier: Option<String>,
}

/// `Channel::Api`: the only kind of inbox that takes our messages.
pub const API_CHANNEL: &str = "Channel::Api";

impl Inbox {
    pub fn is_api(&self) -> bool {
        self.channel_type.as_deref() == Some(API_CHANNEL)
    }
}

/// Somebody who signs in to the account.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentRow {
    pub id: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub email: String,
    /// Where their picture is, as [`Client::download`](crate::chatwoot::Client::download) takes it; empty without one.
    #[serde(default, deserialize_with = "lenient")]
    pub thumbnail: String,
}

/// The account that an inbox is in.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub id: AccountId,
    /// The language of its error texts.
    #[serde(default)]
    pub locale: Option<String>,
    /// By name, for example `email_continuity_on_api_channel`: then Chatwoot mails agents' replies by itself.
    #[serde(default, deserialize_with = "lenient")]
    features: Map<String, Value>,
}

impl Account {
    pub fn has(&self, feature: &str) -> bool {
        self.features.get(feature) == Some(&Value::Bool(true))
    }
}

/// `GET /health`.
#[derive(Deserialize)]
pub(in crate::chatwoot) struct Health {
    #[serde(rename = "status")]
    _status: String,
}

/// Who the token belongs to. The answer carries the token itself; it is not kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Profile {
    pub id: i64,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub accounts: Vec<ProfileAccount>,
}

/// A membership of the token's owner.
#[derive(Clone, Debug, Deserialize)]
pub struct ProfileAccount {
    pub id: AccountId,
    #[serde(default)]
    pub name: Option<String>,
    /// `administrator` or `agent`.
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
}

/// `GET /api`: which Chatwoot, and how its stores are.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    pub version: String,
    #[serde(default)]
    pub queue_services: Option<String>,
    #[serde(default)]
    pub data_services: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
}

impl Version {
    /// When it answered: its clock in UTC, without a zone.
    pub(in crate::chatwoot) fn time_millis(&self) -> Option<i64> {
        let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", self.timestamp.as_deref()?).ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp().as_millisecond())
    }
}
