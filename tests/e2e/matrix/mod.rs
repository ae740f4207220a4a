//! Matrix: a real Synapse, customers with a client of somebody else's making, and a websocket proxy in both dialects.

pub(crate) mod world;

mod crashes;
mod edges;
mod files;
mod outages;
mod peers_themselves;
mod proxy_itself;
mod signs;
mod talk;
mod websocket;
