//! `deskbridge matrix registration`: what a homeserver has to read before it knows a bridge of ours.

use bridge_api::BridgeName;
use clap::Subcommand;

use super::Failure;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum MatrixCommand {
    /// Print the appservice registration of a bridge, as YAML for the homeserver
    Registration {
        /// Its name in the settings
        #[arg(long, value_name = "NAME")]
        bridge: String,
    },
}

pub(super) fn run(command: &MatrixCommand, settings: &Settings) -> Result<String, Failure> {
    let MatrixCommand::Registration { bridge } = command;
    let Some(entry) = settings.bridges.get(&BridgeName::from(bridge.as_str())) else {
        let known: Vec<&str> = settings.bridges.keys().map(BridgeName::as_str).collect();
        return Err(Failure::usage(format!("no bridge `{bridge}` in the settings (there: {})", known.join(", "))));
    };
    entry.bridge.registration().map_err(|fault| Failure::usage(format!("bridge `{bridge}`: {fault}")))
}
