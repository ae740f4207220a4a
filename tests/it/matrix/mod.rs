//! The whole gateway between the sandbox inbox and the stand-in homeserver, with the real bridge, in each of the ways
//! in which it can be told of events.

mod house;
mod talk;
