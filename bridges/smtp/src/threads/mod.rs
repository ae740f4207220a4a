//! Whose conversation a mail belongs to: what is remembered of each, and who may speak in it. The rules are pure.

mod memory;
mod resolve;
mod state;

pub(crate) use memory::Memory;
pub(crate) use resolve::{Author, Place, claims, resolve};
pub(crate) use state::{Copy, Known, Last, SentMail, Thread};
