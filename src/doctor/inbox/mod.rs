//! Looks at one inbox, from the outside inwards: its address, its version, its clock, the token, the inbox itself, and at
//! last a message that must come back.

mod clock;
mod reach;
mod round_trip;
mod token;
mod version;
mod wiring;

use std::{sync::Arc, time::Duration};

use bridge_api::Findings;

use self::{token::Role, version::Release};
use super::{address::Leads, advice::Words, ear::Ear};
use crate::{
    chatwoot::{CallFault, Client, ClientSettings},
    gateway::client_of,
    settings::{self, Settings},
};

/// One request: a check should not take longer than a person waits.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// After so long Chatwoot gives up a request, unless it is told otherwise (`RACK_TIMEOUT_SERVICE_TIMEOUT`).
const CHATWOOT_GIVES_UP_SECONDS: u64 = 15;

/// One look at one inbox.
struct Look<'a> {
    name: &'a str,
    inbox: &'a settings::Inbox,
    settings: &'a Settings,
    client: Client,
    ear: &'a Ear,
    findings: &'a Findings,
}

/// What was learnt on the way.
struct Known {
    release: Option<Release>,
    /// Where the callback address leads.
    leads: Leads,
    role: Role,
}

pub(super) async fn examine(settings: &Settings, name: &str, ear: &Ear, findings: Arc<Findings>) {
    let inbox = &settings.inboxes[name];
    let client = Client::new(ClientSettings { request_limit: REQUEST_LIMIT, ..client_of(inbox) });
    match client {
        Ok(client) => Look { name, inbox, settings, client, ear, findings: &findings }.all().await,
        Err(fault) => findings.failed("read the settings", fault.to_string(), format!("correct `inboxes.{name}`")),
    }
}

impl Look<'_> {
    async fn all(&self) {
        if !self.reach().await {
            return self.not_tried("everything behind the address", "the inbox's address does not answer");
        }
        let (release, leads) = self.version().await;
        self.compare_clocks().await;
        self.settling();
        let Some(role) = self.token().await else {
            return self.not_tried("everything that needs the token", "the token is refused");
        };
        let known = Known { release, leads, role };
        let Some(inbox) = self.inbox(role).await else {
            return self.not_tried("callback address, secret and round trip", "there is no inbox to look at");
        };
        self.callback_address(&inbox);
        self.secret(&inbox, &known);
        self.features().await;
        if inbox.webhook_url.is_none_or(|url| url.is_empty()) {
            return self.not_tried("send a message round", "the inbox calls nobody back");
        }
        self.round_trip(&known).await;
    }

    fn not_tried(&self, tried: &str, why: &str) {
        self.findings.skipped(tried, format!("not tried: {why}"));
    }

    fn fault(&self, tried: &str, fault: &CallFault) {
        let Words { found, change } = super::advice::of_fault(fault);
        self.findings.failed(tried, found, change);
    }

    /// A message that is repeated while its first try may still be finished is there twice.
    fn settling(&self) {
        let (tried, seconds) = ("compare `settle_seconds` with Chatwoot's own limit", self.inbox.settle_seconds);
        let found = format!("{seconds} s, Chatwoot gives up a request after {CHATWOOT_GIVES_UP_SECONDS} s");
        if seconds > CHATWOOT_GIVES_UP_SECONDS {
            return self.findings.fine(tried, found);
        }
        let change = format!(
            "set `settle_seconds` above {CHATWOOT_GIVES_UP_SECONDS}, and above RACK_TIMEOUT_SERVICE_TIMEOUT where Chatwoot has one"
        );
        self.findings.warning(tried, found, change);
    }
}
