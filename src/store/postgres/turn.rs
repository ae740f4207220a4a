//! Attempts: how they end and how they begin. Pure, on the rows that a transaction has in hand.

use bridge_api::Key;

use super::{
    verbs::{Answer, Verb, bury, groups, needs_of_groups, record},
    work::{Needs, Numbers, Row, Table, Work, good},
};
use crate::{
    model::{Envelope, EnvelopeId, Lane, OpenAttempt, Waiting},
    store::{Accepted, Begin, Lease, Settled, StoreError, Turn, written::Written},
};

/// A turn in the form in which it is written.
pub(super) struct Take {
    lease: Lease,
    settle: Vec<(EnvelopeId, Settled, Vec<Written>)>,
    begin: Vec<Begin>,
    now_millis: i64,
}

impl Take {
    pub(super) fn new(lease: Lease, turn: Turn, now_millis: i64) -> Self {
        let settle = turn.settle.into_iter().map(|mut settle| {
            let follow = match &mut settle.outcome {
                Settled::Done { follow, .. } | Settled::Dead { follow, .. } => std::mem::take(follow),
                Settled::Again { .. } | Settled::Repeat { .. } | Settled::Doubt { .. } => Vec::new(),
            };
            (settle.id, settle.outcome, follow.into_iter().map(Written::from).collect())
        });
        Self { lease, settle: settle.collect(), begin: turn.begin, now_millis }
    }
}

/// The answer, with the orders still as text.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) begun: Vec<Begun>,
    pub(super) gone: Vec<EnvelopeId>,
    pub(super) accepted: Vec<Waiting>,
    pub(super) lost: Vec<EnvelopeId>,
}

impl Answer for Taken {
    fn number(&mut self, numbers: &Numbers) {
        numbers.of_all(&mut self.accepted);
    }
}

pub(super) struct Begun {
    id: EnvelopeId,
    key: Key,
    lane: Lane,
    rank: i64,
    accepted_millis: i64,
    attempts: u32,
    repeats: u32,
    doubt: Option<OpenAttempt>,
    order_json: String,
}

impl Begun {
    /// Fails with the id and the reason when no order can be read from it.
    pub(super) fn read(self) -> Result<Envelope, (EnvelopeId, String)> {
        let Self { id, key, lane, rank, accepted_millis, attempts, repeats, doubt, order_json } = self;
        let order = serde_json::from_str(&order_json).map_err(|error| (id, error.to_string()))?;
        Ok(Envelope { id, key, lane, rank, accepted_millis, attempts, repeats, doubt, order })
    }
}

impl Verb for Take {
    type Answer = Taken;

    fn needs(&self, needs: &mut Needs) {
        needs.owners.insert(self.lease.owner().to_owned());
        for (id, outcome, follow) in &self.settle {
            needs.waiting.insert(id.0);
            if let Settled::Dead { also, .. } = outcome {
                needs.waiting.extend(also.iter().map(|id| id.0));
            }
            needs_of_groups(follow, needs);
        }
        needs.waiting.extend(self.begin.iter().map(|begin| begin.id.0));
        needs.begun.extend(self.begin.iter().map(|begin| begin.id.0));
    }

    fn run(&self, work: &mut Work) -> Result<Taken, StoreError> {
        let (mut taken, held) = (Taken::default(), good(&work.leases, &self.lease));
        for (id, outcome, follow) in &self.settle {
            if work.is_lost(&held, id.0) {
                taken.lost.push(*id);
                continue;
            }
            if !end(work, id.0, outcome, self.now_millis) {
                taken.gone.push(*id);
                continue;
            }
            let accepted = groups(work, follow, self.now_millis);
            taken.accepted.extend(accepted.into_iter().flat_map(Accepted::into_waiting));
        }
        for wanted in &self.begin {
            if work.is_lost(&held, wanted.id.0) {
                taken.lost.push(wanted.id);
                continue;
            }
            match begin(work, *wanted, self.now_millis) {
                Some(begun) => taken.begun.push(begun),
                None => taken.gone.push(wanted.id),
            }
        }
        Ok(taken)
    }

    fn bytes(&self) -> usize {
        self.settle.iter().flat_map(|(_, _, follow)| follow).flat_map(|group| &group.envelopes).count() << 10
    }
}

/// Whether there was an open attempt to end.
fn end(work: &mut Work, id: i64, outcome: &Settled, now_millis: i64) -> bool {
    let is_open = |row: &&mut Row| row.now == Table::Ev && row.open.is_some();
    let Some(row) = work.rows.get_mut(&id).filter(is_open) else { return false };
    row.changed = true;
    match outcome {
        Settled::Done { result, .. } => {
            (row.now, row.end) = (Table::Done, (now_millis, result.clone()));
        }
        Settled::Again { due_millis, spent, reason } => {
            row.due_millis = *due_millis;
            row.attempts -= i32::from(!spent);
            record(work, id, "again", Some(reason), Some(now_millis));
        }
        Settled::Repeat { due_millis, reason } => {
            row.due_millis = *due_millis;
            record(work, id, "doubt", Some(reason), Some(now_millis));
        }
        Settled::Doubt { due_millis, reason } => {
            row.due_millis = *due_millis;
            record(work, id, "doubt", Some(reason), None);
        }
        Settled::Dead { at_millis, reason, also, .. } => {
            for id in std::iter::once(id).chain(also.iter().map(|id| id.0)) {
                bury(work, id, reason, *at_millis);
            }
        }
    }
    true
}

fn begin(work: &mut Work, wanted: Begin, now_millis: i64) -> Option<Begun> {
    let id = wanted.id.0;
    let repeats = repeats(work, id);
    let row = work.rows.get_mut(&id).filter(|row| row.now == Table::Ev)?;
    // Begun by a transaction of ours of whose end nobody was told: so nobody has started it.
    let untold = row.open.is_some() && work.untold.contains(&(id, row.number));
    let doubt = row.open.filter(|_| !untold).map(|(started_millis, mark)| {
        let recorded = work.records.get(&(id, row.number));
        let reason = recorded.and_then(|record| record.reason.clone());
        OpenAttempt { number: row.number as u32, started_millis, mark, reason }
    });
    if doubt.is_none() {
        if !untold {
            row.attempts += 1;
            row.number += 1;
        }
        row.open = Some((now_millis, wanted.mark));
        row.changed = true;
        work.begun.insert((id, row.number));
    }
    Some(Begun {
        id: wanted.id,
        key: Key::new(row.key.clone()),
        lane: row.lane.clone(),
        rank: row.rank,
        accepted_millis: row.accepted_millis,
        attempts: row.attempts as u32,
        repeats,
        doubt,
        order_json: row.order_json.clone().unwrap_or_default(),
    })
}

/// Attempts that ended in doubt, since it was accepted or put back.
fn repeats(work: &Work, id: i64) -> u32 {
    let tried = work.records.range((id, i32::MIN)..=(id, i32::MAX)).rev().map(|(_, record)| record);
    let of_this_life = tried.take_while(|record| record.outcome != "dead");
    of_this_life.filter(|record| record.outcome == "doubt" && record.ended_millis.is_some()).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::{NOW, new};

    /// An envelope whose first attempt is open.
    fn open() -> Work {
        let new = new("a", "one", 0);
        let row = Row {
            from: Table::Ev,
            now: Table::Ev,
            changed: false,
            key: new.key.to_string(),
            lane: new.lane,
            rank: new.rank,
            accepted_millis: NOW,
            due_millis: NOW,
            attempts: 1,
            number: 1,
            open: Some((NOW, 5)),
            order_json: Some(String::new()),
            end: (0, None),
            discarded: false,
        };
        Work { rows: [(7, row)].into(), ..Work::default() }
    }

    #[test]
    fn an_attempt_of_which_nobody_was_told_is_begun_as_if_it_were_new() {
        let wanted = Begin { id: EnvelopeId(7), mark: 6 };
        let mut told = open();
        assert!(begin(&mut told, wanted, NOW + 9).unwrap().doubt.is_some());
        assert_eq!((told.rows[&7].open, told.rows[&7].changed), (Some((NOW, 5)), false));
        let mut untold = open();
        untold.untold.insert((7, 1));
        let begun = begin(&mut untold, wanted, NOW + 9).unwrap();
        assert_eq!((begun.doubt, begun.attempts), (None, 1), "it counts once");
        assert_eq!((untold.rows[&7].open, untold.rows[&7].number), (Some((NOW + 9, 6)), 1));
        assert!(untold.begun.contains(&(7, 1)));
    }
}
