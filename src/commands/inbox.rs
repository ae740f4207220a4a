//! `deskbridge inbox adopt`: the way out when an inbox was restored from a backup or replaced.

use clap::Subcommand;

use super::Failure;
use crate::{clock, gateway::location_of, model::InboxName, settings::Settings, sweep};

#[derive(Debug, Subcommand)]
pub(super) enum InboxCommand {
    /// Take an inbox as it is now, after it was restored or replaced. The gateway must be stopped
    Adopt {
        /// Its name in the settings
        name: String,
    },
}

/// What to print.
pub(super) async fn run(command: &InboxCommand, settings: &Settings) -> Result<String, Failure> {
    let InboxCommand::Adopt { name } = command;
    if !settings.inboxes.contains_key(name) {
        let known: Vec<&str> = settings.inboxes.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!("no inbox `{name}` in the settings (known: {})", known.join(", "))));
    }
    let location = location_of(settings);
    if let Some(missing) = location.is_missing() {
        return Err(Failure::new(format!("there is no outbox yet: {missing}")));
    }
    let failed = |error: crate::store::StoreError| Failure::new(error.to_string());
    let store = location.open_alone().await.map_err(failed)?;
    let adopted = sweep::adopt(&*store, &InboxName::new(name.as_str()), clock::now_millis()).await;
    store.close().await;
    let sweep::Adopted { kept, dropped } = adopted.map_err(failed)?;
    Ok(format!(
        "the inbox `{name}` is taken as it is: {kept} messages wait to be posted there, {dropped} orders about messages \
         that it no longer has were dropped\n"
    ))
}
