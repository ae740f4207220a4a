//! Whether the server is still there.

use std::time::{Duration, Instant};

use super::{Ending, Machine, Phase};
use crate::message::Command;

const SILENCE: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn check_keepalive(&mut self) {
        if self.link.phase != Phase::Ready {
            return;
        }
        match self.link.ping_sent {
            Some(sent) if self.now.at.saturating_duration_since(sent) >= ANSWER => {
                self.hang_up(Ending::Network, "the server does not answer");
            }
            None if self.now.at.saturating_duration_since(self.link.heard_at) >= SILENCE => {
                self.link.ping_sent = Some(self.now.at);
                let token = format!("alive-{}", self.link.next_counter());
                self.write_now(&Command::new("PING").last(token));
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn keepalive_wake(&self) -> Option<(Instant, &'static str)> {
        if self.link.phase != Phase::Ready {
            return None;
        }
        Some(match self.link.ping_sent {
            Some(sent) => (sent + ANSWER, "the server owes an answer"),
            None => (self.link.heard_at + SILENCE, "the server is silent"),
        })
    }
}
