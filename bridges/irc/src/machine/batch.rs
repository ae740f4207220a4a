//! Open batches (IRCv3 `batch`): which label they answer, and lines that belong together.

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
    /// A multiline message: its lines as they came.
    pub(super) lines: Vec<String>,
    bytes: usize,
}

const OPEN_MAX: usize = 64;
const OPEN_TIME: Duration = Duration::from_secs(30);
const LINES_MAX: usize = 256;
const BYTES_MAX: usize = 64 * 1024;

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

    pub(super) fn label_of(&self, id: &str) -> Option<&str> {
        self.open.get(id)?.label.as_deref()
    }

    pub(super) fn multiline(&mut self, id: &str) -> Option<&mut Batch> {
        self.open.get_mut(id).filter(|batch| batch.kind == "draft/multiline")
    }
}

impl Batch {
    /// Keeps one line of a multiline message; what is beyond the limits is cut off.
    pub(super) fn keep(&mut self, line: &str) {
        if self.lines.len() < LINES_MAX && self.bytes + line.len() <= BYTES_MAX {
            self.bytes += line.len();
            self.lines.push(line.to_owned());
        }
    }
}
