//! `deskbridge run`: the gateway.

use super::Failure;
use crate::{gateway, settings::Settings};

/// Runs until a signal.
pub async fn run(settings: &Settings) -> Result<(), Failure> {
    gateway::serve(settings).await.map_err(|error| Failure::new(error.to_string()))
}
