//! What people look at, of the model.

use std::collections::BTreeMap;

use super::{Model, row::Row};
use crate::{
    model::{EnvelopeId, Session},
    store::{DeadLetter, Depth, Found, Listed, RowMark, Rows, Wanted},
};

impl Model {
    pub(super) fn dead_rows(&self, rows: &Rows) -> Vec<DeadLetter> {
        let dead = self.unfinished().filter(|row| row.is_for(rows.sink.as_deref()));
        let mut dead: Vec<_> = dead.filter_map(Row::dead_letter).collect();
        let mark = |letter: &DeadLetter| RowMark { at_millis: letter.died_millis, id: letter.id };
        dead.retain(|letter| rows.after.is_none_or(|after| mark(letter) < after));
        dead.sort_by_key(|letter| std::cmp::Reverse(mark(letter)));
        dead.truncate(rows.count_max);
        dead
    }

    pub(super) fn list_rows(&self, rows: &Rows) -> Vec<Listed> {
        let behind = |row: &&Row| rows.after.is_none_or(|after| row.id > after.id);
        let list = self.unfinished().filter(behind).filter(|row| row.is_for(rows.sink.as_deref()));
        list.filter_map(Row::listed).take(rows.count_max).collect()
    }

    pub(super) fn depth(&self) -> Depth {
        let count = |is: fn(&Row) -> bool| {
            let mut sinks = BTreeMap::<String, u64>::new();
            for row in self.unfinished().filter(|row| is(row)) {
                *sinks.entry(row.new.lane.sink.to_string()).or_default() += 1;
            }
            (sinks.values().sum(), sinks.into_iter().collect())
        };
        let ((waiting, sinks), (dead, dead_sinks)) = (count(Row::lives), count(|row| row.death().is_some()));
        Depth { waiting, dead, sinks, dead_sinks }
    }

    pub(super) fn sessions_like(&self, text: &str, count_max: usize) -> Vec<Session> {
        let holds = |session: &&Session| session.thread.as_str().contains(text) || session.source_id.contains(text);
        let mut found: Vec<_> = self.sessions.values().filter(holds).cloned().collect();
        let is_it = |session: &Session| session.thread.as_str() == text || session.source_id == text;
        found.sort_by_key(|found| (!is_it(found), found.bridge.to_string(), found.thread.to_string()));
        found.truncate(count_max);
        found
    }

    pub(super) fn find(&self, wanted: &Wanted, before: Option<EnvelopeId>) -> Found {
        let before = before.unwrap_or(EnvelopeId(i64::MAX));
        let newest_below = |id: EnvelopeId| self.rows.range(..id).next_back().map(|(id, _)| *id);
        let Some(newest) = newest_below(before) else { return Found::default() };
        let first = EnvelopeId(newest.0.saturating_sub(wanted.stretch.max(1) - 1));
        let stretch = self.rows.range(first..=newest).rev().map(|(_, row)| row);
        let mut hits: Vec<_> = stretch.filter(|row| row.fits(wanted)).map(Row::history).collect();
        let cut = hits.len() > wanted.count_max;
        hits.truncate(wanted.count_max);
        for hit in &mut hits {
            hit.attempts.clear();
        }
        let next = if cut { hits.last().map_or(before, |last| last.id) } else { first };
        Found { hits, before: newest_below(next).map(|newest| EnvelopeId(newest.0 + 1)) }
    }
}
