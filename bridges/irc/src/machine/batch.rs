//! Open batches (`IRCv3` `batch`): which label they answer, and lines that belong together.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub(super) struct Batches {
    open: HashMap<String, Batch>,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) kind: String,
    /// The label of the command that this answers.
    pub(super) label: Option<String>,
    /// The line that opened it: it has the tags of the whole.
    pub(super) opening: String,
    opened: Instant,
    /// Of a multiline message or a page of history: its lines as they came.
    pub(super) lines: Vec<Kept>,
    bytes: usize,
}

/// One line of a batch. A multiline message within a page of history has its text apart, and its
/// opening as the line.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) line: String,
    pub(super) text: Option<String>,
}

const OPEN_MAX: usize = 64;
const OPEN_TIME: Duration = Duration::from_secs(30);
const LINES_MAX: usize = 256;
const BYTES_MAX: usize = 64 * 1024;
/// A page of history has up to a hundred lines, each with its tags.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

impl Batches {
    pub(super) fn open(&mut self, id: &str, kind: &str, label: Option<String>, opening: &str, now: Instant) {
        self.open.retain(|_, batch| now.saturating_duration_since(batch.opened) < OPEN_TIME);
        if self.open.len() < OPEN_MAX {
            let (kind, opening) = (kind.to_owned(), opening.to_owned());
            let batch = Batch { kind, label, opening, opened: now, lines: Vec::new(), bytes: 0 };
            self.open.insert(id.to_owned(), batch);
        }
    }

    pub(super) fn close(&mut self, id: &str) -> Option<Batch> {
        self.open.remove(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn label_of(&self, id: &str) -> Option<&str> {
        self.open.get(id)?.label.as_deref()
    }

    pub(super) fn multiline(&mut self, id: &str) -> Option<&mut Batch> {
        self.open.get_mut(id).filter(|batch| batch.kind == "draft/multiline")
    }

    /// What is in it happened earlier.
    pub(super) fn history(&mut self, id: &str) -> Option<&mut Batch> {
        self.open.get_mut(id).filter(|batch| batch.is_history())
    }
}

impl Batch {
    fn is_history(&self) -> bool {
        matches!(self.kind.as_str(), "chathistory" | "draft/chathistory-targets")
    }

    /// Keeps one line; what is beyond the limits is cut off.
    pub(super) fn keep(&mut self, line: &str, text: Option<String>) {
        let bytes = line.len() + text.as_ref().map_or(0, String::len);
        let bytes_max = if self.is_history() { PAGE_BYTES_MAX } else { BYTES_MAX };
        if self.lines.len() < LINES_MAX && self.bytes + bytes <= bytes_max {
            self.bytes += bytes;
            self.lines.push(Kept { line: line.to_owned(), text });
        }
    }
}
