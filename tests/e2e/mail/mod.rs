//! Mail: a real Postfix before the gateway and behind it, and programs that send as people and as machines do.

pub(crate) mod world;

mod crashes;
mod disk;
mod loops;
mod peers_themselves;
mod relays;
mod talk;
