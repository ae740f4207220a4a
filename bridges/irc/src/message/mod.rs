//! The IRC wire: bytes to lines to fields, and fields back to exactly one line.
//! Never does I/O, and never knows what a line means.

mod buffer;
mod decode;
mod format;
mod line;

pub(crate) use buffer::{LINE_BYTES_MAX, LineBuffer};
pub(crate) use decode::{Decoded, Fallback};
pub(crate) use format::{Command, Target, Text};
pub(crate) use line::{Line, Source, Verb};
