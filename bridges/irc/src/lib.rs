//! The bridge to IRC networks: people write to its nick, or address it in a channel.
//!
//! `machine` is the protocol without I/O, `driver` brings socket, clock and TLS, everything else is
//! pure text work. Never knows the help desk, stores nothing, repeats nothing.

mod bridge;
mod ctcp;
mod driver;
mod examine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod intake;
mod isupport;
mod machine;
mod message;
mod render;
mod sasl;
mod settings;
mod text;
mod time;
mod tls;
mod view;

pub use bridge::Irc;
pub use settings::{
    ChannelKey, ChannelSettings, Formatting, Listen, Offline, PaceSettings, PaceTable, Profile, SaslMechanism,
    SaslSettings, Settings, TlsFiles, TlsSettings,
};
