//! Mail as a bridge: an SMTP and LMTP server that stores before it says 250, and a client that hands agents'
//! answers to one relay.
//!
//! `server` takes mails in and puts them into the spool, in every replica; `desk` takes them out one after another, in one: `mail` reads
//! them, `verdict` says how far the sender is proved, `automatic` and `bounce` what a robot wrote, `threads`
//! whose conversation each one is. `compose` writes an agent's answer and `client` carries it to the relay.

mod address;
mod automatic;
mod bounce;
mod bridge;
mod characters;
mod client;
mod clock;
mod compose;
mod desk;
mod envelope;
mod examine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod keyring;
mod mail;
mod server;
mod settings;
mod subject;
mod threads;
mod tls;
mod token;
mod verdict;

pub use bridge::Smtp;
pub use settings::Settings;
