//! The bridges: what goes through each, how it is, how often it came back. They come and go with the settings.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};
use serde::Serialize;

use super::{
    families::Families,
    flow::{Flow, FlowShown, Flows},
    state::States,
};

/// One bridge.
pub struct BridgeFigures {
    inbox: String,
    /// From the network to the inbox.
    pub inbound: Arc<Flow>,
    /// From the inbox to the network.
    pub outbound: Arc<Flow>,
    pub(super) states: States,
    pub(super) reconnects: IntCounter,
    refused: BTreeMap<&'static str, IntCounter>,
}

/// Why somebody is not let in.
const REFUSALS: [&str; 3] = ["blocked", "peer_limit", "bridge_limit"];

impl BridgeFigures {
    /// A message or a new conversation was not let in.
    pub fn refused(&self, reason: &str) {
        if let Some(counter) = self.refused.get(reason) {
            counter.inc();
        }
    }
}

/// One bridge at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BridgeShown {
    pub name: String,
    pub inbox: String,
    pub inbound: FlowShown,
    pub outbound: FlowShown,
    pub reconnects: u64,
    /// Messages that were not let in.
    pub refused: u64,
}

/// All bridges, and the families that they are in.
pub(super) struct Bridges {
    flows: Flows,
    states: IntGaugeVec,
    reconnects: IntCounterVec,
    refused: IntCounterVec,
    /// Whoever finds one keeps it, so that nothing is locked while it counts.
    by_name: RwLock<BTreeMap<String, Arc<BridgeFigures>>>,
}

impl Bridges {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            flows: Flows::new(families),
            states: families.gauges(
                "bridge_state",
                "How the bridge is: the state that it is in has 1, the others 0.",
                &["bridge", "state"],
            ),
            reconnects: families.counters(
                "reconnects_total",
                "Times that a bridge was up again after it had been lost.",
                &["bridge"],
            ),
            refused: families.counters(
                "refused_total",
                "Messages that were not let in: of people who are blocked, or over a limit of new conversations.",
                &["bridge", "reason"],
            ),
            by_name: RwLock::default(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<BridgeFigures>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn enter(&self, name: &str, inbox: &str) -> Arc<BridgeFigures> {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let before = by_name.get(name);
        if let Some(before) = before.filter(|before| before.inbox == inbox) {
            return before.clone();
        }
        // Moved to another inbox, it is the same bridge to everybody else.
        let of = |direction| self.flows.flow(name, direction);
        let made = Arc::new(BridgeFigures {
            inbox: inbox.to_owned(),
            inbound: before.map_or_else(|| of("inbound"), |before| before.inbound.clone()),
            outbound: before.map_or_else(|| of("outbound"), |before| before.outbound.clone()),
            states: States::new(&self.states, name),
            reconnects: self.reconnects.with_label_values(&[name]),
            refused: REFUSALS.map(|reason| (reason, self.refused.with_label_values(&[name, reason]))).into(),
        });
        by_name.insert(name.to_owned(), made.clone());
        made
    }

    pub(super) fn shown(&self, now_millis: i64) -> Vec<BridgeShown> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let shown = |(name, bridge): (&String, &Arc<BridgeFigures>)| BridgeShown {
            name: name.clone(),
            inbox: bridge.inbox.clone(),
            inbound: bridge.inbound.shown(now_millis),
            outbound: bridge.outbound.shown(now_millis),
            reconnects: bridge.reconnects.get(),
            refused: bridge.refused.values().map(IntCounter::get).sum(),
        };
        by_name.iter().map(shown).collect()
    }
}
