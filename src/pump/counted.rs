//! What of the pump's work is counted, for operators. Decides nothing.

use super::{Pump, attempt::Finished};
use crate::{
    model::{Carries, Envelope},
    telemetry::{Outcome, Reconciled, SinkNow},
};

impl Pump {
    /// Tells how it stands with each sink where something changed.
    pub(super) fn show(&mut self) {
        while let Some(index) = self.lanes.changed() {
            let count = self.lanes.count(index);
            self.counted[index].stands(SinkNow {
                waiting: count.waiting,
                under_way: count.under_way,
                in_doubt: count.in_doubt,
                lanes_blocked: count.lanes_blocked,
                oldest: count.oldest.map(|id| id.0),
                held_until_millis: count.held_until_millis,
            });
        }
    }

    pub(super) fn counts_an_end(&self, finished: &Finished) {
        let outcome = match &finished.outcome {
            Ok(_) => Outcome::Done,
            Err(fault) => fault.kind.into(),
        };
        if finished.panicked {
            self.figures.panicked();
        }
        if finished.envelope.doubt.is_some() {
            self.figures.reconciled(match &finished.outcome {
                Ok(Some(_)) => Reconciled::Found,
                Ok(None) => Reconciled::Absent,
                Err(_) => Reconciled::Unanswered,
            });
            return;
        }
        self.counted[finished.taken.sink].attempted(outcome);
        if outcome == Outcome::Unknown {
            self.figures.doubted();
        }
    }

    /// An attempt that an earlier process left behind is in doubt like any other. Nobody has written down yet why.
    pub(super) fn counts_what_was_left_open(&self, envelope: &Envelope) {
        if envelope.doubt.as_ref().is_some_and(|open| open.reason.is_none()) {
            self.figures.doubted();
        }
    }

    pub(super) fn counts_a_delivery(&self, envelope: &Envelope) {
        let now = self.clock.now();
        match envelope.order.carries() {
            Carries::Inbound(bridge) => {
                if let Some(figures) = self.figures.bridge(bridge.as_str()) {
                    figures.inbound.delivered(envelope.accepted_millis, now);
                }
            }
            Carries::Outbound { bridge, last: true } => {
                if let Some(figures) = self.figures.bridge(bridge.as_str()) {
                    figures.outbound.delivered(envelope.accepted_millis, now);
                }
            }
            Carries::Outbound { last: false, .. } | Carries::News => {}
        }
    }

    /// Once for a message, of however many parts: the later ones go with the first that is given up.
    pub(super) fn counts_a_burial(&self, envelope: &Envelope) {
        match envelope.order.carries() {
            Carries::Inbound(bridge) => {
                if let Some(figures) = self.figures.bridge(bridge.as_str()) {
                    figures.inbound.failed();
                }
            }
            Carries::Outbound { bridge, .. } => {
                if let Some(figures) = self.figures.bridge(bridge.as_str()) {
                    figures.outbound.failed();
                }
            }
            Carries::News => {}
        }
    }
}
