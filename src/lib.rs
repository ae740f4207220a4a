//! deskbridge carries conversations between chat networks and a help desk's API inbox.
//!
//! Write it down, then do it. One thing at a time in each conversation. Ask before doing it again.
//!
//! The modules in reading order; each may use only those above it (`tests/tidy.rs` holds the table).

pub mod clock;
pub mod settings;
pub mod telemetry;
pub mod model;
pub mod policy;
pub mod store;
pub mod tenure;
pub mod chatwoot;
pub mod intake;
pub mod sessions;
pub mod sinks;
pub mod lanes;
pub mod pump;
pub mod sweep;
pub mod http;
pub mod bridges;
pub mod gateway;
pub mod doctor;
pub mod sandbox;
pub mod commands;
