//! What each verb means to the rows that a transaction has in hand. Pure; says the same as the model in memory does.

use crate::{
    model::{EnvelopeId, OnDuplicate, Session, Waiting},
    store::{
        Accepted, BlobId, StoreError, message_ranks,
        written::{Written, WrittenEnvelope, WrittenHeld},
    },
};
use bridge_api::Cursor;

use super::work::{Known, Needs, Numbers, Record, Row, Table, Work};

/// One verb, which shares its transaction with others.
pub(super) trait Verb: Send {
    type Answer: Answer;
    fn needs(&self, needs: &mut Needs);
    /// A verb that refuses has changed nothing.
    fn run(&self, work: &mut Work) -> Result<Self::Answer, StoreError>;
    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        0
    }
}

/// What a verb answers once new envelopes have their numbers.
pub(super) trait Answer: Send {
    fn number(&mut self, _numbers: &Numbers) {}
}

impl Answer for () {}
impl Answer for usize {}
impl Answer for Vec<Waiting> {
    fn number(&mut self, numbers: &Numbers) {
        numbers.of_all(self);
    }
}
impl Answer for Vec<Accepted> {
    fn number(&mut self, numbers: &Numbers) {
        for accepted in self {
            match accepted {
                Accepted::New(waiting) | Accepted::Revived(waiting) => numbers.of_all(waiting),
                Accepted::Duplicate => {}
            }
        }
    }
}

/// Keeps what one caller wants kept together.
pub(super) struct Accept {
    pub(super) groups: Vec<Written>,
    pub(super) held: Vec<WrittenHeld>,
    pub(super) cursors: Vec<(String, Cursor)>,
    pub(super) blobs: Vec<crate::store::Blob>,
    pub(super) now_millis: i64,
}

impl Verb for Accept {
    type Answer = Vec<Accepted>;

    fn needs(&self, needs: &mut Needs) {
        needs_of_groups(&self.groups, needs);
        for held in &self.held {
            needs_of_groups(std::slice::from_ref(&held.group), needs);
            needs_of_groups(&held.follow, needs);
        }
    }
    fn run(&self, work: &mut Work) -> Result<Vec<Accepted>, StoreError> {
        work.set_cursors(&self.cursors);
        work.blobs.extend(self.blobs.iter().cloned());
        let mut accepted = groups(work, &self.groups, self.now_millis);
        accepted.extend(self.held.iter().map(|held| hold_back(work, held, self.now_millis)));
        Ok(accepted)
    }
    fn bytes(&self) -> usize {
        let orders = self.groups.iter().flat_map(|group| &group.envelopes).map(|new| new.order_json.len());
        orders.sum::<usize>() + self.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>()
    }
}

/// Puts dead letters back.
pub(super) struct Revive {
    pub(super) keys: Vec<String>,
    pub(super) now_millis: i64,
}

impl Verb for Revive {
    type Answer = Vec<Waiting>;
    fn needs(&self, needs: &mut Needs) {
        needs.dead_keys.extend(self.keys.iter().cloned());
    }
    fn run(&self, work: &mut Work) -> Result<Vec<Waiting>, StoreError> {
        let each = self.keys.iter().flat_map(|key| revive(work, |row| row.key == *key, self.now_millis));
        Ok(each.collect())
    }
}

/// Drops dead letters.
pub(super) struct Discard {
    pub(super) keys: Vec<String>,
    pub(super) now_millis: i64,
}

impl Verb for Discard {
    type Answer = usize;
    fn needs(&self, needs: &mut Needs) {
        needs.dead_keys.extend(self.keys.iter().cloned());
    }
    fn run(&self, work: &mut Work) -> Result<usize, StoreError> {
        let dead = work.rows.values_mut().filter(|row| row.now == Table::Dead && self.keys.contains(&row.key));
        let count = dead.map(|row| {
            row.now = Table::Done;
            row.end = (self.now_millis, None);
            row.discarded = true;
        });
        Ok(count.count())
    }
}

/// Gives up what no attempt can be made of.
pub(super) struct Bury {
    pub(super) id: EnvelopeId,
    pub(super) reason: String,
    pub(super) now_millis: i64,
}

impl Verb for Bury {
    type Answer = ();
    fn needs(&self, needs: &mut Needs) {
        needs.waiting.insert(self.id.0);
    }
    fn run(&self, work: &mut Work) -> Result<(), StoreError> {
        bury(work, self.id.0, &self.reason, self.now_millis);
        Ok(())
    }
}

pub(super) struct SaveSession(pub(super) Session);

impl Verb for SaveSession {
    type Answer = ();
    fn needs(&self, _: &mut Needs) {}
    fn run(&self, work: &mut Work) -> Result<(), StoreError> {
        let name = (self.0.bridge.to_string(), self.0.thread.to_string());
        work.sessions.insert(name, Some(self.0.clone()));
        Ok(())
    }
}

pub(super) struct ForgetSession(pub(super) String, pub(super) String);

impl Verb for ForgetSession {
    type Answer = ();
    fn needs(&self, _: &mut Needs) {}
    fn run(&self, work: &mut Work) -> Result<(), StoreError> {
        work.sessions.insert((self.0.clone(), self.1.clone()), None);
        Ok(())
    }
}

/// A large blob is whole.
pub(super) struct Filled {
    pub(super) id: BlobId,
    pub(super) bytes: i64,
    pub(super) cursors: Vec<(String, Cursor)>,
}

impl Verb for Filled {
    type Answer = ();
    fn needs(&self, _: &mut Needs) {}
    fn run(&self, work: &mut Work) -> Result<(), StoreError> {
        let holder = self.cursors.first().map(|(scope, cursor)| (scope.clone(), cursor.name.clone()));
        work.filled.push((self.id.clone(), self.bytes, holder));
        work.set_cursors(&self.cursors);
        Ok(())
    }
}

/// Each transaction writes something: that of its connection.
pub(super) struct Check;

impl Verb for Check {
    type Answer = ();
    fn needs(&self, _: &mut Needs) {}
    fn run(&self, _: &mut Work) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(super) fn needs_of_groups(groups: &[Written], needs: &mut Needs) {
    for group in groups {
        let Some(first) = group.envelopes.first() else { continue };
        needs.known.extend(group.unless.map(|hash| (first.at_millis, hash)));
        needs.known.extend(group.envelopes.iter().map(|new| (new.at_millis, new.hash)));
        needs.sinks.extend(group.envelopes.iter().map(|new| new.lane.sink.clone()));
        if group.on_duplicate == OnDuplicate::Revive {
            let ranks = message_ranks(first.rank);
            needs.dead_ranks.push((first.lane.id.0, *ranks.start(), *ranks.end()));
        }
    }
}

pub(super) fn groups(work: &mut Work, groups: &[Written], now_millis: i64) -> Vec<Accepted> {
    groups.iter().map(|group| one(work, group, now_millis)).collect()
}

fn one(work: &mut Work, group: &Written, now_millis: i64) -> Accepted {
    let Some(first) = group.envelopes.first() else { return Accepted::Duplicate };
    // What forbids is not forbidden itself, so where both come at the same moment to two replicas, each order of the
    // two is one that could have been.
    if group.unless.is_some_and(|hash| work.known.contains_key(&(first.at_millis, hash))) {
        return Accepted::Duplicate;
    }
    if work.known.contains_key(&(first.at_millis, first.hash)) {
        return match group.on_duplicate {
            OnDuplicate::Ignore => Accepted::Duplicate,
            OnDuplicate::Revive => {
                let (lane, ranks) = (first.lane.id, message_ranks(first.rank));
                match revive(work, |row| row.lane.id == lane && ranks.contains(&row.rank), now_millis) {
                    none if none.is_empty() => Accepted::Duplicate,
                    revived => Accepted::Revived(revived),
                }
            }
        };
    }
    let place = |(place, new)| insert(work, new, place == 0, now_millis);
    Accepted::New(group.envelopes.iter().enumerate().map(place).collect())
}

fn hold_back(work: &mut Work, held: &WrittenHeld, now_millis: i64) -> Accepted {
    let Accepted::New(letters) = one(work, &held.group, now_millis) else { return Accepted::Duplicate };
    for letter in letters {
        bury(work, letter.id.0, &held.reason, now_millis);
    }
    let follow = groups(work, &held.follow, now_millis);
    Accepted::New(follow.into_iter().flat_map(Accepted::into_waiting).collect())
}

fn insert(work: &mut Work, new: &WrittenEnvelope, first: bool, now_millis: i64) -> Waiting {
    let id = work.next_id();
    let known = work.known.entry((new.at_millis, new.hash)).or_insert(Known { id, changed: true, first });
    // Known from another group, it stands for the newer envelope from now on.
    (known.id, known.changed) = (id, true);
    let row = Row {
        from: Table::New,
        now: Table::Ev,
        changed: true,
        key: new.key.to_string(),
        lane: new.lane.clone(),
        rank: new.rank,
        accepted_millis: now_millis,
        due_millis: new.due_millis,
        attempts: 0,
        number: 0,
        open: None,
        order_json: Some(new.order_json.clone()),
        end: (0, None),
        discarded: false,
    };
    let waiting = row.waiting(id);
    work.rows.insert(id, row);
    waiting
}

/// Of the dead letters, those that match, by rank and then arrival: due now, with fresh attempts.
fn revive(work: &mut Work, matches: impl Fn(&Row) -> bool, now_millis: i64) -> Vec<Waiting> {
    let dead = work.rows.iter_mut().filter(|(_, row)| row.now == Table::Dead && matches(row));
    let mut revived: Vec<_> = dead
        .map(|(id, row)| {
            (row.now, row.changed, row.attempts, row.due_millis) = (Table::Ev, true, 0, now_millis);
            row.waiting(*id)
        })
        .collect();
    revived.sort_by_key(|waiting| (waiting.rank, waiting.id));
    work.revived.extend(revived.iter().map(|waiting| waiting.id.0));
    revived
}

/// Makes a dead letter of what waits.
pub(super) fn bury(work: &mut Work, id: i64, reason: &str, now_millis: i64) {
    let Some(row) = work.rows.get_mut(&id).filter(|row| row.now == Table::Ev) else { return };
    (row.now, row.changed, row.end) = (Table::Dead, true, (now_millis, Some(reason.to_owned())));
    record(work, id, "dead", Some(reason), Some(now_millis));
}

/// Writes down the open attempt, if there is one. It stays open where `ended_millis` is left out.
pub(super) fn record(work: &mut Work, id: i64, outcome: &str, reason: Option<&str>, ended_millis: Option<i64>) {
    let Some(row) = work.rows.get_mut(&id) else { return };
    let Some((started_millis, mark)) = row.open else { return };
    if ended_millis.is_some() {
        row.open = None;
    }
    let record = Record {
        started_millis,
        mark,
        ended_millis,
        outcome: outcome.to_owned(),
        reason: reason.map(str::to_owned),
        changed: true,
    };
    work.records.insert((id, row.number), record);
}
