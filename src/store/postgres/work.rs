//! What one transaction has in hand: the rows that its verbs need, as they were read, and as the verbs leave them.
//! Pure: it is read by `load`, and what changed is written by `flush`, however many verbs there were.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bridge_api::Cursor;

use crate::{
    model::{EnvelopeId, Lane, LaneId, Partitions, Session, SinkName, Waiting},
    store::{Blob, BlobId, Lease},
};

/// New envelopes have these numbers and higher ones, until the sequence gave out the real ones: behind all others, in
/// order of arrival.
const PROVISIONAL: i64 = 1 << 62;

/// What the verbs of a transaction want to know.
#[derive(Default)]
pub(super) struct Needs {
    /// By the moment of the event and the key's hash.
    pub(super) known: BTreeSet<(i64, [u8; 16])>,
    /// Envelopes that wait.
    pub(super) waiting: BTreeSet<i64>,
    /// Those of them whose order and attempts are wanted too.
    pub(super) begun: BTreeSet<i64>,
    /// Dead letters, by lane and ranks.
    pub(super) dead_ranks: Vec<(i64, i64, i64)>,
    pub(super) dead_keys: BTreeSet<String>,
    pub(super) sinks: BTreeSet<SinkName>,
    /// Whose leases.
    pub(super) owners: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// In none yet.
    New,
    Ev,
    Dead,
    Done,
}

/// An envelope.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) from: Table,
    pub(super) now: Table,
    pub(super) changed: bool,
    pub(super) key: String,
    pub(super) lane: Lane,
    pub(super) rank: i64,
    pub(super) accepted_millis: i64,
    pub(super) due_millis: i64,
    pub(super) attempts: i32,
    pub(super) number: i32,
    /// When the open attempt started, and its mark.
    pub(super) open: Option<(i64, i64)>,
    /// Where it was read, or is new.
    pub(super) order_json: Option<String>,
    /// Of the end: when, and why or with which result.
    pub(super) end: (i64, Option<String>),
    pub(super) discarded: bool,
}

impl Row {
    pub(super) fn waiting(&self, id: i64) -> Waiting {
        Waiting { id: EnvelopeId(id), lane: self.lane.clone(), rank: self.rank, due_millis: self.due_millis }
    }
    pub(super) fn lane(id: i64, sink: String) -> Lane {
        Lane { id: LaneId(id), sink: SinkName::from_stored(sink) }
    }
}

/// An attempt that ended otherwise than well, or is in doubt.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) started_millis: i64,
    pub(super) mark: i64,
    pub(super) ended_millis: Option<i64>,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) changed: bool,
}

/// What stands behind a key that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) changed: bool,
    /// Nobody knew it when it was read, and everything rests on that.
    pub(super) first: bool,
}

/// Scope and name of a cursor that holds a blob.
pub(super) type Holder = (String, String);

#[derive(Default)]
pub(super) struct Work {
    pub(super) rows: BTreeMap<i64, Row>,
    /// By envelope and number.
    pub(super) records: BTreeMap<(i64, i32), Record>,
    pub(super) known: HashMap<(i64, [u8; 16]), Known>,
    /// Who has which partitions, by owner and epoch.
    pub(super) leases: HashMap<(String, i64), Partitions>,
    pub(super) sessions: BTreeMap<(String, String), Option<Session>>,
    pub(super) cursors: BTreeMap<(String, String), Option<String>>,
    pub(super) blobs: Vec<Blob>,
    /// Large ones that are whole: bytes, and the cursor that holds them.
    pub(super) filled: Vec<(BlobId, i64, Option<Holder>)>,
    /// Attempts that were begun here.
    pub(super) begun: BTreeSet<(i64, i32)>,
    /// Attempts that an earlier transaction may have begun, of which nobody was told.
    pub(super) untold: HashSet<(i64, i32)>,
    /// How many numbers the new envelopes need.
    pub(super) new_count: i64,
    /// What was put back.
    pub(super) revived: Vec<i64>,
    pub(super) numbers: Numbers,
}

impl Work {
    pub(super) fn next_id(&mut self) -> i64 {
        self.new_count += 1;
        PROVISIONAL + self.new_count - 1
    }

    /// Whether this envelope waits in none of these partitions.
    pub(super) fn is_lost(&self, held: &Partitions, id: i64) -> bool {
        let waiting = self.rows.get(&id).filter(|row| row.now == Table::Ev);
        waiting.is_some_and(|row| !held.has(row.lane.partition()))
    }

    pub(super) fn set_cursors(&mut self, cursors: &[(String, Cursor)]) {
        for (scope, cursor) in cursors {
            self.cursors.insert((scope.clone(), cursor.name.clone()), cursor.value.clone());
        }
    }

    /// Gives the new envelopes the numbers that the sequence gave out.
    pub(super) fn number(&mut self, numbers: Numbers) {
        if numbers.0.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        self.rows = rows.into_iter().map(|(id, row)| (numbers.of(id), row)).collect();
        let records = std::mem::take(&mut self.records);
        self.records = records.into_iter().map(|((id, number), record)| ((numbers.of(id), number), record)).collect();
        self.known.values_mut().for_each(|known| known.id = numbers.of(known.id));
        self.revived.iter_mut().for_each(|id| *id = numbers.of(*id));
        self.numbers = numbers;
    }
}

/// What this lease is still good for, going by what was read of its owner's.
pub(super) fn good(read: &HashMap<(String, i64), Partitions>, lease: &Lease) -> Partitions {
    let ours = read.iter().filter(|((owner, _), _)| owner == lease.owner());
    let good = |((_, epoch), held): (&(String, i64), &Partitions)| -> Partitions {
        held.iter().filter(|one| lease.epoch(*one) == Some(*epoch)).collect()
    };
    ours.map(good).fold(Partitions::NONE, |all, some| all.or(&some))
}

/// The real numbers of new envelopes, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(pub(super) Vec<i64>);

impl Numbers {
    pub(super) fn of(&self, id: i64) -> i64 {
        if id < PROVISIONAL { id } else { self.0[(id - PROVISIONAL) as usize] }
    }

    pub(super) fn of_all(&self, waiting: &mut [Waiting]) {
        for waiting in waiting {
            waiting.id.0 = self.of(waiting.id.0);
        }
    }
}
