//! Did an earlier attempt take effect? Plain IRC cannot say; this says at least when the old
//! connection can no longer deliver what it had queued.

use std::time::Duration;

use bridge_api::{Fault, Outbound};

use super::{Machine, Output, Ticket, recent::Outcome};

/// How soon to ask again about a reply that is still under way.
const SOON: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn probe(&mut self, ticket: Ticket, out: &Outbound) {
        let under_way = self.orders.list.iter().any(|order| order.out.key == out.key);
        let result = match self.recent.of(&out.key) {
            _ if under_way => Err(Fault::retry_after(SOON, "an earlier attempt is still under way")),
            Some(Outcome::Sent(sent)) => Ok(Some(sent.clone())),
            Some(Outcome::NotDone) => Ok(None),
            Some(Outcome::Unknown) | None if !self.is_ready() => Err(Fault::down(self.down_reason.clone())),
            Some(Outcome::Unknown) | None => Err(match self.ghost_may_speak() {
                Some(left) => Fault::retry_after(
                    left.min(SOON),
                    "an earlier connection may still deliver this reply; waiting until it surely cannot",
                ),
                None => Fault::unknown("irc cannot say whether the line arrived before the connection broke"),
            }),
        };
        self.outputs.push_back(Output::Settled(ticket, result));
    }
}
