//! The bridge to Matrix: an appservice websocket, an appservice's HTTP listener or a bot's `/sync` on the way
//! in, the client-server API on the way out. Knows the contract and nothing else of ours.

pub mod render;
