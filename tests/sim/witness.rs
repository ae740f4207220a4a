//! Watches every verb of the store and every effect. An effect may happen only under an attempt that is written down
//! and open, and an attempt may begin only at the head of its lane.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bridge_api::Key;
use deskbridge::{
    model::{EnvelopeId, Group, LaneId, Waiting},
    store::{Accepted, Settle, Settled, Turned},
};

use crate::weather::{Weather, lock};

#[derive(Debug)]
pub(crate) struct Witness {
    weather: Arc<Weather>,
    /// Several processes work on the store at once.
    shared: bool,
    seen: Mutex<Seen>,
}

/// Between the moment in which a process looks and the one in which it begins.
const HEARD_LIMIT_MILLIS: i64 = 20;

#[derive(Debug, Default)]
struct Seen {
    now_millis: i64,
    rows: BTreeMap<EnvelopeId, Row>,
    by_key: HashMap<Key, EnvelopeId>,
    by_lane: HashMap<LaneId, Vec<EnvelopeId>>,
}

#[derive(Debug)]
struct Row {
    key: Key,
    lane: LaneId,
    rank: i64,
    lives: bool,
    open: bool,
    /// The process that was told of it last, 0 for none.
    known_to: u32,
    /// When it began to wait.
    since_millis: i64,
    /// Times that its outcome was in doubt.
    doubts: u32,
    revivals: u32,
}

/// What one key went through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    pub(crate) doubts: u32,
    pub(crate) revivals: u32,
}

impl Witness {
    pub(crate) fn new(weather: Arc<Weather>, shared: bool) -> Arc<Self> {
        Arc::new(Self { weather, shared, seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        let mut seen = lock(&self.seen);
        seen.now_millis = self.weather.clock.now();
        seen
    }

    /// Envelopes that wait from now on.
    pub(crate) fn accepted(&self, groups: &[Group], accepted: &[Accepted]) -> Vec<EnvelopeId> {
        let mut seen = self.seen();
        let mut new = Vec::new();
        for (group, accepted) in groups.iter().zip(accepted) {
            match accepted {
                Accepted::New(waiting) => {
                    let keys = group.envelopes.iter().map(|envelope| envelope.key.clone());
                    new.extend(waiting.iter().zip(keys).map(|(waiting, key)| seen.insert(waiting, key)));
                }
                Accepted::Revived(waiting) => new.extend(waiting.iter().map(|waiting| seen.revive(waiting))),
                Accepted::Duplicate => {}
            }
        }
        // What is held is dead from the beginning; orders that it causes wait.
        for waiting in accepted.iter().skip(groups.len()).flat_map(|accepted| accepted.clone().into_waiting()) {
            new.push(seen.insert(&waiting, Key::new(format!("follows #{}", waiting.id.0))));
        }
        new
    }
    pub(crate) fn revived(&self, waiting: &[Waiting]) {
        let mut seen = self.seen();
        for waiting in waiting {
            seen.revive(waiting);
        }
    }

    /// From now on this process has no excuse for passing over them.
    pub(crate) fn known_to(&self, process: u32, ids: &[EnvelopeId]) {
        let mut seen = lock(&self.seen);
        for id in ids {
            if let Some(row) = seen.rows.get_mut(id) {
                row.known_to = process;
            }
        }
    }

    /// Attempts that a process is about to begin although others stand before them, and do not end with `settle`.
    pub(crate) fn unheard(&self, process: u32, settle: &[Settle], begin: &[EnvelopeId]) -> Vec<(EnvelopeId, String)> {
        let seen = self.seen();
        // Whoever was told by whomever: what is in the store is known before anything begins.
        let is_known = |row: &Row| {
            row.known_to == process || (self.shared && seen.now_millis - row.since_millis > HEARD_LIMIT_MILLIS)
        };
        let ends: HashSet<EnvelopeId> = settle.iter().flat_map(ends).collect();
        let mut faults = Vec::new();
        for id in begin {
            let Some(row) = seen.rows.get(id) else { continue };
            for elder in seen.by_lane.get(&row.lane).into_iter().flatten().filter(|elder| *elder != id) {
                let other = &seen.rows[elder];
                if ends.contains(elder) {
                    continue;
                }
                let stands_before = other.lives && is_known(other) && (other.rank, *elder) < (row.rank, *id);
                // One that comes late may pass a younger one in doubt: that stands where it stands.
                if stands_before {
                    faults.push((*id, format!("{} was begun although {} comes first", row.key, other.key)));
                }
            }
        }
        faults
    }

    /// Attempts that ended and attempts that began.
    pub(crate) fn turned(&self, settled: &[Settle], turned: &Turned) -> Vec<EnvelopeId> {
        let mut seen = self.seen();
        for settle in settled.iter().filter(|settle| !turned.lost.contains(&settle.id)) {
            seen.settle(settle);
        }
        for envelope in &turned.begun {
            seen.by_key.insert(envelope.key.clone(), envelope.id);
            if let Some(row) = seen.rows.get_mut(&envelope.id) {
                row.doubts += u32::from(envelope.doubt.is_some());
                row.open = true;
            }
        }
        for waiting in &turned.accepted {
            // Orders that follow have keys that nobody asks for.
            seen.insert(waiting, Key::new(format!("follows #{}", waiting.id.0)));
        }
        turned.accepted.iter().map(|waiting| waiting.id).collect()
    }

    /// Something took effect on a far side.
    pub(crate) fn effect(&self, key: &Key) {
        let seen = lock(&self.seen);
        let row = seen.by_key.get(key).and_then(|id| seen.rows.get(id));
        if !row.is_some_and(|row| row.lives && row.open) {
            self.weather.violation(format!("{key} took effect outside of any attempt: {row:?}"));
        }
    }

    pub(crate) fn past(&self, key: &Key) -> Past {
        let seen = lock(&self.seen);
        let row = seen.by_key.get(key).and_then(|id| seen.rows.get(id));
        row.map_or_else(Past::default, |row| Past { doubts: row.doubts, revivals: row.revivals })
    }
}

/// Whose lane may go on after this.
fn ends(settle: &Settle) -> Vec<EnvelopeId> {
    match &settle.outcome {
        Settled::Done { .. } => vec![settle.id],
        Settled::Dead { also, .. } => std::iter::once(settle.id).chain(also.iter().copied()).collect(),
        Settled::Again { .. } | Settled::Repeat { .. } | Settled::Doubt { .. } => Vec::new(),
    }
}

impl Seen {
    fn insert(&mut self, waiting: &Waiting, key: Key) -> EnvelopeId {
        let (id, lane, rank) = (waiting.id, waiting.lane.id, waiting.rank);
        self.by_key.insert(key.clone(), id);
        self.by_lane.entry(lane).or_default().push(id);
        let since_millis = self.now_millis;
        let row = Row { key, lane, rank, lives: true, open: false, known_to: 0, since_millis, doubts: 0, revivals: 0 };
        self.rows.insert(id, row);
        id
    }

    fn revive(&mut self, waiting: &Waiting) -> EnvelopeId {
        if !self.rows.contains_key(&waiting.id) {
            self.insert(waiting, Key::new(format!("held #{}", waiting.id.0)));
        }
        if let Some(row) = self.rows.get_mut(&waiting.id) {
            (row.lives, row.open, row.known_to) = (true, false, 0);
            row.since_millis = self.now_millis;
            row.revivals += 1;
        }
        waiting.id
    }

    fn settle(&mut self, settle: &Settle) {
        // Without an open attempt the store ignores it.
        if !self.rows.get(&settle.id).is_some_and(|row| row.open) {
            return;
        }
        let end = |row: Option<&mut Row>, lives: bool| {
            if let Some(row) = row {
                (row.lives, row.open) = (lives, false);
            }
        };
        match &settle.outcome {
            Settled::Done { .. } => end(self.rows.get_mut(&settle.id), false),
            Settled::Again { .. } | Settled::Repeat { .. } => end(self.rows.get_mut(&settle.id), true),
            Settled::Doubt { .. } => {
                if let Some(row) = self.rows.get_mut(&settle.id) {
                    row.doubts += 1;
                }
            }
            Settled::Dead { also, .. } => {
                for id in std::iter::once(&settle.id).chain(also) {
                    end(self.rows.get_mut(id), false);
                }
            }
        }
    }
}
