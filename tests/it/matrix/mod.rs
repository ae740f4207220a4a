//! The whole gateway between the sandbox inbox and the stand-in homeserver, with the real bridge, in each of the ways
//! in which it can be told of events.

mod calls;
mod crashes;
mod crowd;
mod encryption;
mod files;
mod house;
mod membership;
mod people;
mod push;
mod signs;
mod sockets;
mod talk;
