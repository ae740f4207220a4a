//! One envelope of the model, in whatever state.

use crate::{
    model::{About, EnvelopeId, NewEnvelope, OpenAttempt, Partition, Waiting},
    store::{Attempt, DeadLetter, EnvelopeState, History, Listed, Wanted},
};

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: EnvelopeId,
    pub(super) partition: Partition,
    pub(super) new: NewEnvelope,
    pub(super) accepted_millis: i64,
    /// Those that count.
    pub(super) attempts: u32,
    /// All of them.
    pub(super) tried: Vec<Attempt>,
    pub(super) state: EnvelopeState,
}

impl Row {
    pub(super) fn lives(&self) -> bool {
        matches!(self.state, EnvelopeState::Waiting { .. })
    }
    pub(super) fn death(&self) -> Option<(i64, &str)> {
        match &self.state {
            EnvelopeState::Dead { at_millis, reason } => Some((*at_millis, reason)),
            EnvelopeState::Waiting { .. } | EnvelopeState::Done { .. } | EnvelopeState::Discarded { .. } => None,
        }
    }
    pub(super) fn finished(&self) -> Option<i64> {
        match self.state {
            EnvelopeState::Done { at_millis, .. } | EnvelopeState::Discarded { at_millis } => Some(at_millis),
            EnvelopeState::Waiting { .. } | EnvelopeState::Dead { .. } => None,
        }
    }
    pub(super) fn due_millis(&self) -> Option<i64> {
        match self.state {
            EnvelopeState::Waiting { due_millis } => Some(due_millis),
            EnvelopeState::Done { .. } | EnvelopeState::Dead { .. } | EnvelopeState::Discarded { .. } => None,
        }
    }

    pub(super) fn open(&self) -> Option<OpenAttempt> {
        let last = self.tried.last().filter(|last| self.lives() && last.ended_millis.is_none())?;
        let reason = last.reason.clone();
        Some(OpenAttempt { number: last.number, started_millis: last.started_millis, mark: last.mark, reason })
    }
    pub(super) fn repeats(&self) -> u32 {
        let of_this_life = self.tried.iter().rev().take_while(|one| one.outcome.as_deref() != Some("dead"));
        let repeated = |one: &&Attempt| one.outcome.as_deref() == Some("doubt") && one.ended_millis.is_some();
        of_this_life.filter(repeated).count() as u32
    }
    /// Ends the open attempt, if there is one.
    pub(super) fn end(&mut self, outcome: &str, reason: Option<String>, now_millis: i64) {
        if let Some(last) = self.tried.last_mut().filter(|last| last.ended_millis.is_none()) {
            last.ended_millis = Some(now_millis);
            last.outcome = Some(outcome.to_owned());
            last.reason = reason;
        }
    }
    pub(super) fn doubt(&mut self, reason: String) {
        if let Some(last) = self.tried.last_mut() {
            last.outcome = Some("doubt".to_owned());
            last.reason = Some(reason);
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            id: self.id,
            lane: self.new.lane.clone(),
            rank: self.new.rank,
            due_millis: self.due_millis().unwrap_or_default(),
        }
    }
    pub(super) fn is_for(&self, sink: Option<&str>) -> bool {
        sink.is_none_or(|sink| self.new.lane.sink.as_str() == sink)
    }
    pub(super) fn fits(&self, wanted: &Wanted) -> bool {
        let result = match &self.state {
            EnvelopeState::Done { result, .. } => result.as_deref(),
            EnvelopeState::Waiting { .. } | EnvelopeState::Dead { .. } | EnvelopeState::Discarded { .. } => None,
        };
        wanted.fits(self.new.key.as_str(), self.new.lane.id, result)
    }
    pub(super) fn dead_letter(&self) -> Option<DeadLetter> {
        let (died_millis, reason) = self.death()?;
        Some(DeadLetter {
            id: self.id,
            key: self.new.key.clone(),
            sink: self.new.lane.sink.to_string(),
            died_millis,
            attempts: self.attempts,
            reason: reason.to_owned(),
            about: Some(About::of(&self.new.order)),
        })
    }
    pub(super) fn listed(&self) -> Option<Listed> {
        Some(Listed {
            id: self.id,
            key: self.new.key.clone(),
            sink: self.new.lane.sink.to_string(),
            accepted_millis: self.accepted_millis,
            due_millis: self.due_millis()?,
            attempts: self.attempts,
            open: self.open().is_some(),
            reason: self.tried.iter().rev().find_map(|attempt| attempt.reason.clone()),
            about: Some(About::of(&self.new.order)),
        })
    }
    pub(super) fn history(&self) -> History {
        History {
            id: self.id,
            key: self.new.key.clone(),
            sink: self.new.lane.sink.to_string(),
            accepted_millis: self.accepted_millis,
            state: self.state.clone(),
            about: self.finished().is_none().then(|| About::of(&self.new.order)),
            attempts: self.tried.clone(),
        }
    }
}
