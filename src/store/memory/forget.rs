//! The model of forgetting a person.

use std::collections::BTreeSet;

use super::Model;
use crate::{
    model::{EnvelopeId, OWN_SCOPE},
    store::{
        EnvelopeState, Whom,
        forget::{Forgotten, SessionRow, Trail, blobs_in},
    },
};

type Names = BTreeSet<(String, String)>;

impl Model {
    pub(super) fn forget(&mut self, whom: &Whom) -> Forgotten {
        let (sessions, cursors) = (self.session_rows(whom), self.cursors_of(whom.bridge.as_str()));
        let trail = Trail::follow(whom, &sessions, &cursors);
        let is_theirs = |id: &&EnvelopeId| self.rows.get(id).is_some_and(|row| trail.is_order(&row.new.order));
        let unfinished: Vec<_> = self.unfinished.iter().filter(is_theirs).copied().collect();
        let waiting = unfinished.iter().filter(|id| self.rows[id].lives()).count();
        if waiting > 0 && !whom.also_waiting {
            return Forgotten { refused: waiting, ..Forgotten::default() };
        }
        let named = self.drop_unfinished(&unfinished);
        let finished = self.drop_finished(&trail);
        let gone: BTreeSet<_> =
            sessions.iter().filter(|row| trail.is_session(row)).map(|row| row.thread.as_str()).collect();
        self.sessions.retain(|(bridge, thread), _| *bridge != whom.bridge || !gone.contains(thread.as_str()));
        let holders = self.drop_cursors(whom, &trail);
        let before = self.blobs.len();
        self.blobs.retain(|id, (bytes, held_by)| {
            let is_held = held_by.as_ref().is_some_and(|holder| holders.contains(holder));
            !is_held && !named.contains(id) && !trail.is_blob(bytes)
        });
        Forgotten {
            refused: 0,
            waiting,
            dead: unfinished.len() - waiting,
            finished,
            sessions: gone.len(),
            cursors: holders.len(),
            blobs: before - self.blobs.len(),
            contacts: trail.contacts(),
            conversations: trail.conversations(),
            not_overwritten: None,
        }
    }

    fn session_rows(&self, whom: &Whom) -> Vec<SessionRow> {
        let sessions = self.sessions.values().filter(|session| session.bridge == whom.bridge);
        let row = |session: &crate::model::Session| SessionRow {
            thread: session.thread.to_string(),
            source_id: session.source_id.clone(),
            contact: session.contact,
            conversation: session.conversation,
            home: session.home,
        };
        sessions.map(row).collect()
    }

    fn cursors_of(&self, scope: &str) -> Vec<(String, String)> {
        let cursors = self.cursors.iter().filter(|((of, _), _)| of == scope);
        cursors.map(|((_, name), value)| (name.clone(), value.clone())).collect()
    }

    /// The blobs that they named.
    fn drop_unfinished(&mut self, ids: &[EnvelopeId]) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for id in ids {
            self.unfinished.remove(id);
            if let Some(row) = self.rows.remove(id) {
                let json = serde_json::to_string(&row.new.order).unwrap_or_default();
                named.extend(blobs_in(&json).map(str::to_owned));
            }
        }
        named
    }

    fn drop_finished(&mut self, trail: &Trail<'_>) -> usize {
        let before = self.rows.len();
        self.rows.retain(|_, row| {
            let result = match &row.state {
                EnvelopeState::Done { result, .. } => result.as_deref(),
                EnvelopeState::Discarded { .. } => None,
                EnvelopeState::Waiting { .. } | EnvelopeState::Dead { .. } => return true,
            };
            !trail.is_finished(&row.new.key, row.new.lane.sink.as_str(), result)
        });
        before - self.rows.len()
    }

    fn drop_cursors(&mut self, whom: &Whom, trail: &Trail<'_>) -> Names {
        let is_theirs = |scope: &str, name: &str, value: &str| match scope {
            OWN_SCOPE => trail.is_own_cursor(name, value),
            scope => scope == whom.bridge.as_str() && trail.is_cursor(name, value),
        };
        let theirs = self.cursors.iter().filter(|((scope, name), value)| is_theirs(scope, name, value));
        let gone: Names = theirs.map(|(place, _)| place.clone()).collect();
        self.cursors.retain(|place, _| !gone.contains(place));
        gone
    }
}
