//! Matrix: a real Synapse, customers with a client of somebody else's making, and a websocket proxy in both dialects.

mod peers_themselves;
mod proxy_itself;
