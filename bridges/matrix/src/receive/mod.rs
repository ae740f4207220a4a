//! Three ways for transactions to come in. Each hands them to the desk, and acknowledges what the host has kept.

#[cfg(test)]
mod frames;
pub(crate) mod pacing;
pub(crate) mod protocol;
pub(crate) mod push;
pub(crate) mod pushes;
pub(crate) mod routes;
pub(crate) mod sync;
mod underway;
pub(crate) mod websocket;
