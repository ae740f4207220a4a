//! How a far side is, as figures: one for each state, of which one is 1.

use bridge_api::BridgeState;
use prometheus::{IntGauge, IntGaugeVec};

pub(super) struct States {
    connecting: IntGauge,
    up: IntGauge,
    degraded: IntGauge,
    down: IntGauge,
    elsewhere: IntGauge,
}

impl States {
    /// `family` has the labels `bridge` or `inbox`, and `state`.
    pub(super) fn new(family: &IntGaugeVec, name: &str) -> Self {
        let of = |state| family.with_label_values(&[name, state]);
        Self {
            connecting: of("connecting"),
            up: of("up"),
            degraded: of("degraded"),
            down: of("down"),
            elsewhere: of("elsewhere"),
        }
    }

    pub(super) fn set(&self, state: &BridgeState) {
        let now = match state {
            BridgeState::Connecting => &self.connecting,
            BridgeState::Up => &self.up,
            BridgeState::Degraded { .. } => &self.degraded,
            BridgeState::Down { .. } => &self.down,
            BridgeState::Elsewhere => &self.elsewhere,
        };
        // The new one first: a reader between the two sees both rather than none.
        now.set(1);
        for other in [&self.connecting, &self.up, &self.degraded, &self.down, &self.elsewhere] {
            if !std::ptr::eq(other, now) {
                other.set(0);
            }
        }
    }
}
