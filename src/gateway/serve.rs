//! A gateway from its start to its end: signals stop it softly, a second one at once, and one more has it read its
//! settings again.

use std::collections::BTreeSet;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Change, Gateway, Plan, StartError, name_of};
use crate::{
    gateway::location_of,
    settings::{Faults, Settings},
    store::StoreError,
    telemetry::Logging,
};

/// Exit status after a second signal, as shells report an interrupted program.
const INTERRUPTED: i32 = 130;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    /// It was at work and cannot go on; a restart begins where it ended.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Start(StartError::Store(error))
    }
}

/// The settings of a gateway at work, and how to read them again.
pub struct Book<'a> {
    pub settings: Settings,
    pub read: &'a (dyn Fn() -> Result<Settings, Faults> + Sync),
    pub logging: &'a Logging,
    /// Those that it was started with, whatever the settings say by now.
    pub inboxes: BTreeSet<String>,
}

/// Runs what the settings say until a signal comes. `read` reads them again, for SIGHUP.
pub async fn serve(
    settings: Settings,
    read: &(dyn Fn() -> Result<Settings, Faults> + Sync),
    logging: &Logging,
) -> Result<(), ServeError> {
    let store = location_of(&settings).open_to_work(|| name_of(&settings.gateway.data_dir)).await?;
    let gateway = Gateway::start(Plan::of(&settings), store).await?;
    tracing::info!(address = gateway.address().to_string(), bridges = settings.bridges.len(), "deskbridge is ready");
    let inboxes = settings.inboxes.keys().cloned().collect();
    until_told(gateway, Some(Book { settings, read, logging, inboxes })).await
}

/// Waits for a signal, or for the gateway to fail, and stops it.
pub async fn until_told(mut gateway: Gateway, mut book: Option<Book<'_>>) -> Result<(), ServeError> {
    let catch = |kind| signal(kind).map_err(ServeError::Signals);
    let (mut term, mut int) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let mut hup = catch(SignalKind::hangup())?;
    let failed = loop {
        tokio::select! {
            _ = term.recv() => break None,
            _ = int.recv() => break None,
            reason = gateway.failed() => break Some(reason),
            _ = hup.recv() => {}
        }
        // Nothing to read again: it is the terminal that hung up, and nobody looks any more.
        let Some(book) = &mut book else { break None };
        if interrupted(&mut term, &mut int, reread(&gateway, book)).await {
            break None;
        }
    };
    tracing::info!("stopping; a second signal stops at once");
    if interrupted(&mut term, &mut int, gateway.stop()).await {
        std::process::exit(INTERRUPTED);
    }
    match failed {
        Some(reason) => Err(ServeError::Failed(reason)),
        None => Ok(()),
    }
}

/// Whether a signal came before this had come to its end.
async fn interrupted(term: &mut Signal, int: &mut Signal, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = work => false,
        _ = term.recv() => true,
        _ = int.recv() => true,
    }
}

/// Settings that are wrong change nothing: the gateway goes on by those that it has.
async fn reread(gateway: &Gateway, book: &mut Book<'_>) {
    let new = match (book.read)() {
        Ok(new) => new,
        Err(faults) => {
            for fault in faults.iter() {
                tracing::error!(
                    place = fault.place.to_string(),
                    setting = fault.key,
                    reason = fault.message,
                    "wrong in the settings"
                );
            }
            tracing::error!("the settings were read again and are wrong; those before stay in force");
            gateway.board().figures().reloaded(false);
            return;
        }
    };
    let change = Change::between(&book.settings, &new, &book.inboxes);
    tell(&change);
    if change.log_level {
        book.logging.set_level(&new.log);
    }
    gateway.change(&change, (&book.settings, &new)).await;
    gateway.board().figures().reloaded(true);
    book.settings = new;
}

fn tell(change: &Change) {
    if change.is_empty() {
        tracing::info!("the settings were read again; nothing has changed");
        return;
    }
    for bridge in &change.started {
        tracing::info!(bridge = bridge.as_str(), "the settings changed: the bridge is started with the new ones");
    }
    for bridge in &change.removed {
        tracing::info!(bridge = bridge.as_str(), "the settings changed: the bridge is taken out");
    }
    for inbox in &change.tokens {
        tracing::info!(inbox = inbox.as_str(), "the settings changed: the inbox is asked with the new token");
    }
    for inbox in &change.secrets {
        tracing::info!(inbox = inbox.as_str(), "the settings changed: callbacks may be signed by the new secret too");
    }
    for bridge in &change.gates {
        tracing::info!(bridge = bridge.as_str(), "the settings changed: limits and blocked people are the new ones");
    }
    if change.admin_token {
        tracing::info!("the settings changed: the status page is for who bears the new token");
    }
    if change.log_level {
        tracing::info!("the settings changed: the log has its new level");
    }
    for key in &change.at_next_start {
        tracing::warn!(setting = key.as_str(), "the settings changed: this takes effect at the next start only");
    }
}
