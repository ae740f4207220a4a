//! What an ended attempt means for its envelope, its lane and its sink.

use bridge_api::Fault;
use tokio::task::JoinError;

use super::{Pump, attempt::Finished};
use crate::{
    lanes::Taken,
    model::{Envelope, Group, Order, PARTS_MAX},
    policy::{self, Grave, Next, Tried},
    sinks::Done,
    store::{Settle, Settled},
};

/// The first and the longest pause of a sink whose far side is down, before jitter.
const HOLD_FIRST_MILLIS: i64 = 500;
const HOLD_MAX_MILLIS: i64 = 30_000;

/// Of an attempt whose end was not definite, after asking.
const NO_EFFECT: &str = "it took no effect";

/// Where a fault comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Attempt,
    Question,
    /// It is what an absence means. Some absences are known without asking, so it is no sign of a far side at work.
    Nobody,
}

impl Pump {
    pub(super) fn conclude(&mut self, finished: Result<Finished, JoinError>) {
        // An attempt catches its own panics; a cancelled one belongs to a pump that is dropped.
        let Ok(finished) = finished else { return };
        self.counts_an_end(&finished);
        let Finished { taken, right, envelope, outcome, panicked: _ } = finished;
        let id = envelope.id;
        if let Some(right) = right {
            self.share.under_way[usize::from(right.partition)] -= 1;
        }
        if !self.share.is_good(right) {
            // Whoever has it now asks what became of it: somebody else, or we, who were given it again meanwhile.
            self.doubted.remove(&id);
            if self.share.works_on(self.lanes.partition(taken.sink, taken.lane)) {
                self.lanes.ask(taken, self.clock.now());
            } else {
                self.lanes.finish(taken);
            }
            return;
        }
        let outcome = match outcome {
            Ok(Some(done)) => self.done(taken, &envelope, done),
            Ok(None) => self.absent(taken, &envelope),
            Err(fault) => {
                let said = if envelope.doubt.is_some() { Said::Question } else { Said::Attempt };
                self.failed(taken, &envelope, &fault, said)
            }
        };
        if matches!(outcome, Settled::Doubt { .. }) {
            self.doubted.insert(id, self.lanes.partition(taken.sink, taken.lane));
        } else if envelope.doubt.is_some() {
            self.doubted.remove(&id);
        }
        if right.is_some_and(|right| !self.share.works_on(right.partition)) {
            self.lanes.leave_lane(taken.sink, taken.lane);
        }
        self.settle.push((right, Settle { id, outcome }));
    }

    fn done(&mut self, taken: Taken, envelope: &Envelope, done: Done) -> Settled {
        tracing::debug!(key = envelope.key.as_str(), attempt = envelope.attempts, "done");
        self.counts_a_delivery(envelope);
        self.back_after(taken.sink);
        let mut follow = done.follow;
        follow.extend(self.spend(taken, envelope));
        self.lanes.finish(taken);
        Settled::Done { result: done.result, follow }
    }

    /// The far side was asked and does not have it: now it is an attempt that surely failed, like any other. At once
    /// the first time, and not for ever: some orders never get a definite answer.
    fn absent(&mut self, taken: Taken, envelope: &Envelope) -> Settled {
        let why = envelope.doubt.as_ref().and_then(|open| open.reason.as_deref());
        let reason = why.map_or_else(|| NO_EFFECT.to_owned(), |why| format!("{NO_EFFECT}: {why}"));
        self.failed(taken, envelope, &Fault::retry(reason), Said::Nobody)
    }

    fn failed(&mut self, taken: Taken, envelope: &Envelope, fault: &Fault, said: Said) -> Settled {
        let was_probe = said == Said::Question;
        let tried = Tried {
            attempts: envelope.attempts,
            accepted_millis: envelope.accepted_millis,
            repeats: envelope.repeats,
            was_probe,
        };
        let now = self.clock.now();
        let reason = fault.reason.clone();
        tracing::info!(
            key = envelope.key.as_str(),
            attempt = envelope.attempts,
            was_probe,
            fault = reason.as_str(),
            "not done"
        );
        match policy::next(tried, fault.kind, self.slot(taken.sink).sink.rules(), now, self.rng.f64()) {
            Next::RetryAt { due_millis, spent } => {
                if said != Said::Nobody {
                    self.back_after(taken.sink);
                }
                self.lanes.again(taken, due_millis);
                Settled::Again { due_millis, spent, reason }
            }
            Next::RepeatAt { due_millis } => {
                self.lanes.again(taken, due_millis);
                Settled::Repeat { due_millis, reason }
            }
            Next::ProbeAt { due_millis } => {
                self.lanes.ask(taken, due_millis);
                Settled::Doubt { due_millis, reason }
            }
            Next::Hold { after_millis } => {
                self.hold(taken.sink, after_millis, &reason, now);
                if was_probe {
                    self.lanes.ask(taken, now);
                    Settled::Doubt { due_millis: now, reason }
                } else {
                    self.lanes.again(taken, now);
                    Settled::Again { due_millis: now, spent: false, reason }
                }
            }
            Next::Bury(grave) => {
                if said != Said::Nobody {
                    self.back_after(taken.sink);
                }
                self.bury(taken, envelope, words(grave, envelope.attempts, fault), now)
            }
        }
    }

    /// A dead letter, told to whoever sent it. The later parts of the same message go with it, since a
    /// message without its beginning would mislead.
    fn bury(&mut self, taken: Taken, envelope: &Envelope, reason: String, now_millis: i64) -> Settled {
        tracing::warn!(
            key = envelope.key.as_str(),
            attempts = envelope.attempts,
            reason = reason.as_str(),
            "given up; it is kept and can be retried"
        );
        self.counts_a_burial(envelope);
        let ranks = later_ranks(&envelope.order, envelope.rank);
        let also = ranks.map_or_else(Vec::new, |ranks| self.lanes.siblings(taken, ranks));
        self.lanes.remove(taken, &also);
        let mut follow = self.slot(taken.sink).sink.buried(envelope, &reason, now_millis);
        follow.extend(self.spend(taken, envelope));
        self.lanes.finish(taken);
        Settled::Dead { at_millis: now_millis, reason, also, follow }
    }

    /// Counts the envelope against the pace of its lane. What is to be said when that slows it down.
    fn spend(&mut self, taken: Taken, envelope: &Envelope) -> Option<Group> {
        let now = self.clock.now();
        let sink = self.slot(taken.sink).sink.clone();
        let pace = sink.pace(&envelope.order)?;
        let waiting = self.lanes.spend(taken, pace, now)?;
        sink.slowed(envelope, pace, waiting, now)
    }

    /// Attempts that were under way together fail together: they are one strike, not many.
    fn hold(&mut self, sink: usize, after_millis: Option<i64>, reason: &str, now_millis: i64) {
        let jitter = self.rng.f64();
        let Some(slot) = self.by_index.get_mut(sink).and_then(Option::as_mut) else { return };
        if slot.strikes == 0 {
            let sink = self.lanes.sink_name(sink).as_str();
            tracing::warn!(sink, reason, "the far side is down; its messages wait");
        }
        if slot.strikes == 0 || now_millis >= slot.held_until_millis {
            let whole = (HOLD_FIRST_MILLIS << slot.strikes.min(10)).min(HOLD_MAX_MILLIS);
            slot.held_until_millis = now_millis + whole / 2 + (whole as f64 / 2.0 * jitter) as i64;
            slot.strikes += 1;
        }
        if let Some(after) = after_millis {
            slot.asked_until_millis = slot.asked_until_millis.max(now_millis + after);
        }
        slot.held_until_millis = slot.held_until_millis.max(slot.asked_until_millis);
        slot.sink.held(Some(reason));
        self.lanes.hold(sink, slot.held_until_millis);
    }

    /// The far side answered, so whatever held its sink is over.
    fn back_after(&mut self, sink: usize) {
        if self.by_index[sink].as_ref().is_some_and(|slot| slot.strikes > 0) {
            tracing::info!(sink = self.lanes.sink_name(sink).as_str(), "the far side answers again");
            self.back(sink);
        }
    }
}

/// The ranks of the parts that follow this one in its message.
fn later_ranks(order: &Order, rank: i64) -> Option<std::ops::RangeInclusive<i64>> {
    let parts = PARTS_MAX as i64;
    // The last place of a message is its withdrawal's, which is needed all the more.
    matches!(order, Order::Send { .. }).then(|| rank + 1..=rank - rank.rem_euclid(parts) + parts - 2)
}

fn words(grave: Grave, attempts: u32, fault: &Fault) -> String {
    match grave {
        Grave::Refused => fault.reason.clone(),
        Grave::TooOld => format!("given up after {attempts} tries and more than three days: {}", fault.reason),
        Grave::InDoubt => format!("it may have been delivered, but nobody can say: {}", fault.reason),
    }
}
