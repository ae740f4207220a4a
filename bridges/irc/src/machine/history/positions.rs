//! How far each channel, and all direct conversations together, are read. Survives restarts as cursors
//! `seen/<channel>` and `seen/*`, in Unix milliseconds of the server's clock.

use std::collections::{HashMap, HashSet, VecDeque};

use bridge_api::Cursor;

/// The position of all direct conversations. No channel can have this name.
pub(in crate::machine) const DIRECT: &str = "*";

#[derive(Debug, Default)]
pub(in crate::machine) struct Positions {
    all: HashMap<String, Position>,
    /// Event ids of the last lines that were reported, so that history does not repeat them.
    known: HashSet<String>,
    order: VecDeque<String>,
}

/// All in Unix milliseconds; the last by our own clock.
#[derive(Debug)]
struct Position {
    /// Nothing before this is missing.
    read: i64,
    /// The last line heard; lines between may still have to be read back.
    heard: i64,
    saved: i64,
    saved_at: i64,
}

const SAVE_EVERY_MILLIS: i64 = 30_000;
const KNOWN_MAX: usize = 4096;

impl Positions {
    pub(in crate::machine) fn recall(&mut self, name: &str, value: &str) -> bool {
        let Ok(millis) = value.parse() else { return false };
        let position = Position { read: millis, heard: millis, saved: millis, saved_at: i64::MIN };
        self.all.insert(name.to_owned(), position);
        true
    }

    pub(super) fn of(&self, name: &str) -> Option<i64> {
        self.all.get(name).map(|position| position.read)
    }

    /// Everything up to the last line heard is reported. `now` is for a first position.
    pub(super) fn catch_up(&mut self, name: &str, server_now_millis: i64, now_millis: i64) -> Cursor {
        let position = self.all.entry(name.to_owned()).or_insert(Position {
            read: server_now_millis,
            heard: server_now_millis,
            saved: 0,
            saved_at: 0,
        });
        position.read = position.heard;
        position.save(name, now_millis)
    }

    /// A line with this stamp was heard. The cursor is there when it is worth a write.
    pub(super) fn advance(&mut self, name: &str, millis: i64, caught_up: bool, now_millis: i64) -> Option<Cursor> {
        let position = self.all.get_mut(name)?;
        position.heard = position.heard.max(millis);
        if !caught_up {
            return None;
        }
        position.read = position.heard;
        let due = now_millis.saturating_sub(position.saved_at) >= SAVE_EVERY_MILLIS;
        (due && position.saved != position.read).then(|| position.save(name, now_millis))
    }

    /// The connection is gone: what was heard behind a gap that was not read yet does not count.
    pub(in crate::machine) fn link_lost(&mut self, now_millis: i64) -> Vec<Cursor> {
        let mut cursors = Vec::new();
        for (name, position) in &mut self.all {
            position.heard = position.read;
            if position.saved != position.read {
                cursors.push(position.save(name, now_millis));
            }
        }
        cursors
    }

    pub(super) fn is_known(&self, event: &str) -> bool {
        self.known.contains(event)
    }

    pub(super) fn note(&mut self, event: &str) {
        if self.known.insert(event.to_owned()) {
            self.order.push_back(event.to_owned());
        }
        if self.order.len() > KNOWN_MAX {
            let oldest = self.order.pop_front();
            oldest.map(|event| self.known.remove(&event));
        }
    }
}

impl Position {
    fn save(&mut self, name: &str, now_millis: i64) -> Cursor {
        self.saved = self.read;
        self.saved_at = now_millis;
        Cursor::set(format!("seen/{name}"), self.read.to_string())
    }
}
