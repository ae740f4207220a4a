//! A gateway from its start to its end: signals stop it softly, a second one at once.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Gateway, Plan, StartError};
use crate::{
    gateway::place_of,
    settings::Settings,
    store::{SqliteStore, Store, StoreError},
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

/// Runs what the settings say until a signal comes.
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let place = place_of(settings);
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await;
    let store: Arc<dyn Store> = Arc::new(opened.map_err(|error| ServeError::Failed(error.to_string()))??);
    let gateway = Gateway::start(Plan::of(settings), store).await?;
    tracing::info!(address = gateway.address().to_string(), bridges = settings.bridges.len(), "deskbridge is ready");
    until_told(gateway).await
}

/// Waits for a signal, or for the gateway to fail, and stops it.
pub async fn until_told(mut gateway: Gateway) -> Result<(), ServeError> {
    let (mut term, mut int) = signals().map_err(ServeError::Signals)?;
    let failed = tokio::select! {
        _ = term.recv() => None,
        _ = int.recv() => None,
        reason = gateway.failed() => Some(reason),
    };
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = gateway.stop() => {}
        _ = term.recv() => std::process::exit(INTERRUPTED),
        _ = int.recv() => std::process::exit(INTERRUPTED),
    }
    match failed {
        Some(reason) => Err(ServeError::Failed(reason)),
        None => Ok(()),
    }
}

fn signals() -> std::io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}
