//! Until when a client is waited for, and what happens then. Asks no clock.

use std::time::{Duration, Instant};

use super::{super::timing::BYTES_PER_SECOND_MIN, Machine, Phase};

impl Machine {
    /// When to come back with a tick if nothing else happens, and why. It may come nearer while many clients are here, so a
    /// driver comes now and then anyway.
    pub(crate) fn wake(&self) -> Option<(Instant, &'static str)> {
        let timing = &self.site.timing;
        let body = self.transaction.as_ref().and_then(|transaction| transaction.body.as_ref());
        let mut ends = Vec::with_capacity(4);
        match self.phase {
            Phase::Fresh | Phase::Command | Phase::Swallow => {
                let limit = if self.now.crowded { timing.command_when_crowded } else { timing.command };
                ends.push((self.since + limit, "no command came in time"));
                ends.push((self.started + timing.session, "the session took too long"));
            }
            Phase::Data | Phase::Chunk { .. } => {
                ends.push((self.since + timing.pause, "the mail stopped coming"));
            }
            Phase::Asking(_) | Phase::Storing | Phase::Securing | Phase::Closed => return None,
        }
        if let Some(body) = body {
            let earned = Duration::from_secs(body.came() / BYTES_PER_SECOND_MIN);
            ends.push((body.since() + timing.mail, "the mail took too long"));
            ends.push((body.since() + earned.max(timing.slow_after), "the mail came too slowly"));
        }
        ends.into_iter().min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_late(&self) -> bool {
        self.wake().is_some_and(|(at, _)| at <= self.now.at)
    }

    pub(super) fn check_time(&mut self) {
        if let Some((_, why)) = self.wake().filter(|(at, _)| *at <= self.now.at) {
            self.close_with("421 4.4.2 that took too long", why);
        }
    }

    /// The client said something. A command counts when it is whole, a mail with each of its pieces.
    pub(super) fn note_bytes(&mut self) {
        if self.is_receiving() {
            self.since = self.now.at;
        }
    }
}
