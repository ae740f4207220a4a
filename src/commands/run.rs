//! `deskbridge run`: the gateway.

use super::Failure;
use crate::{
    gateway,
    settings::{Faults, Settings},
};

/// Runs until a signal. `read` reads the settings again.
pub async fn run(settings: Settings, read: &(dyn Fn() -> Result<Settings, Faults> + Sync)) -> Result<(), Failure> {
    gateway::serve(settings, read).await.map_err(|error| Failure::new(error.to_string()))
}
