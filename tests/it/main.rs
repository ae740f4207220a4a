//! The gateway against the sandbox over loopback, with a bridge that tests play by hand; the sandbox by itself,
//! against the payloads on disk; and the settings as a whole.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod callbacks;
mod canary;
mod client;
mod conversations;
mod doctor;
mod exposition;
mod doubt;
mod floods;
mod gate;
mod inbound;
mod homeserver;
mod matrix;
mod metrics;
mod outbound;
mod post;
mod sandbox;
mod settings;
mod signs;
mod status_page;
mod sweep;
mod typing;
mod watching;
mod world;
