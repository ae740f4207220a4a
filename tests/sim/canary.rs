//! Every text says where it belongs, so that one glance at where it ended tells whether it may be there.

/// What no peer may ever read.
pub(crate) const SECRET: &str = "SECRET";

/// A peer's words, written in this thread (as its source id).
pub(crate) fn from_peer(thread: &str, number: usize) -> String {
    format!("written {number} in <{thread}>")
}

/// One line of an agent's message to this thread.
pub(crate) fn to_peer(thread: &str, number: usize, line: usize) -> String {
    format!("answer {number}.{line} to <{thread}>")
}

/// The thread in which it was written, when it is a peer's.
pub(crate) fn written_in(text: &str) -> Option<&str> {
    text.contains("written ").then(|| marked(text)).flatten()
}

/// The thread that it may go to.
pub(crate) fn meant_for(text: &str) -> Option<&str> {
    text.contains("answer ").then(|| marked(text)).flatten()
}

fn marked(text: &str) -> Option<&str> {
    text.split_once('<')?.1.split_once('>').map(|(thread, _)| thread)
}
