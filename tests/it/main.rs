//! The gateway against the sandbox over loopback, with a bridge that tests play by hand.

mod callbacks;
mod conversations;
mod doubt;
mod world;
