//! `deskbridge run`: the gateway.

use super::Failure;
use crate::{
    gateway,
    settings::{Faults, Settings},
    telemetry::Logging,
};

/// Runs until a signal. `read` reads the settings again.
pub async fn run(
    settings: Settings,
    read: &(dyn Fn() -> Result<Settings, Faults> + Sync),
    logging: &Logging,
) -> Result<(), Failure> {
    gateway::serve(settings, read, logging).await.map_err(|error| Failure::new(error.to_string()))
}
