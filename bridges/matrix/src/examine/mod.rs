//! A look at the homeserver for `deskbridge doctor`, step by step, each with a limit of its own.
//!
//! Makes no account, joins and reads no room, and acknowledges nothing.

use std::time::Duration;

use bridge_api::{Examination, Findings};

use crate::{
    client::Client,
    settings::{Account, Checked, Entrance},
};

mod account;
mod entrance;
mod homeserver;
#[cfg(test)]
mod tests;
mod websocket;

/// For one call. All steps together stay below the half minute that a look has, but on a server that is slow at all.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What all steps know.
pub(crate) struct Look<'a> {
    /// Of the bridge, in the settings.
    pub(crate) name: &'a str,
    pub(crate) settings: &'a Checked,
    pub(crate) client: &'a Client,
    pub(crate) how: Examination,
    pub(crate) findings: &'a Findings,
}

impl Look<'_> {
    pub(crate) async fn examine(&self) {
        if !homeserver::answers(self).await {
            return;
        }
        match &self.settings.account {
            Account::Bot { server_name, .. } => account::bot(self, server_name.as_deref()).await,
            Account::Appservice(appservice) => {
                if !account::appservice(self, appservice).await {
                    return;
                }
                match &appservice.entrance {
                    Entrance::Push { listen, hs_token } => {
                        entrance::look(self, &appservice.id, *listen, hs_token).await;
                    }
                    Entrance::Websocket(url) => websocket::look(self, url, &appservice.token).await,
                }
            }
        }
    }

    fn place(&self) -> &str {
        self.settings.homeserver.as_str().trim_end_matches('/')
    }

    /// What brings the registration back into step.
    fn install(&self) -> String {
        let name = self.name;
        format!("install what `deskbridge matrix registration --bridge {name}` prints, and restart the homeserver")
    }
}
