//! Where an API inbox is, and who asks it: what settings may say, checked before anything is asked.

use std::{sync::Arc, time::Duration};

use bridge_api::{Secret, SettingsFault};
use reqwest::{Url, header::HeaderValue};

use super::{
    exchange::Exchange,
    ids::{AccountId, InboxId},
};

/// Where an API inbox is and how to ask it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http` or `https`, as Chatwoot is reached from here.
    pub base_url: Url,
    pub account_id: AccountId,
    pub inbox_id: InboxId,
    pub api_access_token: Secret,
    /// Requests at once: Puma has five threads by default, and people use them too.
    pub concurrency: usize,
    /// The whole of one request. Longer than the 15 s after which Chatwoot gives up, so that most ends are definite.
    pub request_limit: Duration,
    pub user_agent: String,
    /// Origins of Chatwoot's file storage that are not public https, for example `http://minio:9000` beside it.
    pub file_origins: Vec<Url>,
    /// In place of connections, for simulations.
    pub exchange: Option<Arc<dyn Exchange>>,
}

impl ClientSettings {
    pub fn new(base_url: Url, account_id: AccountId, inbox_id: InboxId, api_access_token: Secret) -> Self {
        Self {
            base_url,
            account_id,
            inbox_id,
            api_access_token,
            concurrency: 4,
            request_limit: Duration::from_secs(25),
            user_agent: concat!("deskbridge/", env!("CARGO_PKG_VERSION")).to_owned(),
            file_origins: Vec::new(),
            exchange: None,
        }
    }
}

pub(super) fn header_of(token: &Secret) -> Result<HeaderValue, SettingsFault> {
    let value = HeaderValue::from_str(token.expose()).ok().filter(|value| !value.is_empty());
    let mut value = value.ok_or_else(|| {
        SettingsFault::new("api_access_token", "must be the token's letters and digits, nothing else")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn checked(mut url: Url) -> Result<Url, SettingsFault> {
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SettingsFault::new("url", "must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SettingsFault::new("url", "must hold no user name or password, the token is enough"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}
