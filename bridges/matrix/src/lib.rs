//! The bridge to Matrix: an appservice websocket, an appservice's HTTP listener or a bot's `/sync` on the way
//! in, the client-server API on the way out. Knows the contract and nothing else of ours.

mod bridge;
mod catch_up;
mod client;
mod desk;
mod duties;
mod examine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod ghosts;
mod hub;
mod ids;
mod machine;
mod receive;
mod registration;
mod render;
mod sending;
mod settings;
mod wire;

pub use bridge::Matrix;
pub use settings::{Agents, Invites, Mode, Settings};
