//! Which of what is accepted are messages, and where they are counted once it is known that they were news.

use std::sync::Arc;

use super::Intake;
use crate::{
    model::{Carries, Group},
    store::{Accepted, Batch},
    telemetry::Flow,
};

/// For each group of a batch, and behind them for each that is held, its flow; none for what is no message.
pub(super) struct Counted {
    flows: Vec<Option<Arc<Flow>>>,
    /// From there on they are held: given up as soon as they are kept.
    held_from: usize,
}

impl Intake {
    pub(super) fn counted(&self, batch: &Batch) -> Counted {
        let held = batch.held.iter().map(|held| &held.group);
        Counted {
            flows: batch.groups.iter().chain(held).map(|group| self.flow_of(group)).collect(),
            held_from: batch.groups.len(),
        }
    }

    /// All parts of a message are in one group.
    fn flow_of(&self, group: &Group) -> Option<Arc<Flow>> {
        match group.envelopes.first()?.order.carries() {
            Carries::Inbound(bridge) => Some(self.routes.find(bridge)?.figures.inbound.clone()),
            Carries::Outbound { bridge, .. } => Some(self.routes.find(bridge)?.figures.outbound.clone()),
            Carries::News => None,
        }
    }
}

impl Counted {
    /// What became of them. One that is put back was counted when it first came.
    pub(super) fn are(&self, accepted: &[Accepted], now_millis: i64) {
        for (place, (flow, accepted)) in self.flows.iter().zip(accepted).enumerate() {
            let Some(flow) = flow else { continue };
            match accepted {
                Accepted::New(_) => flow.accepted(now_millis),
                Accepted::Duplicate | Accepted::Revived(_) => continue,
            }
            if place >= self.held_from {
                flow.failed();
            }
        }
    }
}
