//! The gateway against the sandbox over loopback, with a bridge that tests play by hand; and the settings as
//! a whole.

mod callbacks;
mod conversations;
mod doubt;
mod settings;
mod world;
