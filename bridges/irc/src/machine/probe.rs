//! Did an earlier attempt take effect? The network's history may show it. Plain IRC cannot say; then
//! this says at least when the old connection can no longer deliver what it had queued.

use std::time::Duration;

use bridge_api::{Fault, Outbound};

use super::{Machine, Output, Ticket, history::Question, recent::Outcome};

/// How soon to ask again about a reply that is still under way.
pub(super) const SOON: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn probe(&mut self, ticket: Ticket, out: &Outbound) {
        if let Some(Outcome::Unknown(Some(flown))) = self.recent.of(&out.key)
            && self.is_ready()
            && self.has_history()
        {
            let question = Question { ticket, key: out.key.clone(), flown: flown.clone() };
            self.ask_history(question);
            return;
        }
        let under_way = self.orders.list.iter().any(|order| order.out.key == out.key);
        let result = match self.recent.of(&out.key) {
            _ if under_way => Err(Fault::retry_after(SOON, "an earlier attempt is still under way")),
            Some(Outcome::Sent(sent)) => Ok(Some(sent.clone())),
            Some(Outcome::NotDone) => Ok(None),
            Some(Outcome::Unknown(_)) | None if !self.is_ready() => Err(Fault::down(self.down_reason.clone())),
            Some(Outcome::Unknown(_)) | None => Err(match self.ghost_may_speak() {
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
