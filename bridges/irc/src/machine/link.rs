//! What is known of one connection, and forgotten with it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use super::{
    Ending, batch::Batches, capabilities::Caps, channels::Channel, history::History, nick::Regain, pace::Pace,
    presence::Live, presence::Monitor, registration::Registration, whois::Whois,
};
use crate::{
    ctcp::Limiter,
    isupport::{Folded, Isupport},
    message::{Command, LineBuffer},
    render::Mask,
    settings::Settings,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Offline,
    Registering,
    Ready,
    /// The gateway stops: QUIT is written, but what the server still says counts.
    Leaving,
    /// We gave the connection up.
    Closing,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    /// Unique for this connection.
    pub(super) epoch: String,
    pub(super) secure: bool,
    /// Lines read, for event ids.
    pub(super) lines: u64,
    pub(super) bad_lines: u64,
    pub(super) buffer: LineBuffer,
    pub(super) nonce: String,
    pub(super) registration: Registration,
    /// NICK and USER went out: the server may know us from here on.
    pub(super) introduced: bool,
    pub(super) registered_at: Option<Instant>,
    pub(super) caps: Caps,
    pub(super) isupport: Isupport,
    pub(super) mask: Mask,
    /// The services account that we are logged in to.
    pub(super) account: Option<String>,
    pub(super) regain: Regain,
    pub(super) pace: Pace,
    pub(super) control: VecDeque<Command>,
    /// Answers nobody depends on: CTCP.
    pub(super) polite: VecDeque<Command>,
    pub(super) whois: Whois,
    pub(super) monitor: Monitor,
    pub(super) live: HashMap<Folded, Live>,
    pub(super) channels: BTreeMap<Folded, Channel>,
    pub(super) batches: Batches,
    pub(super) history: History,
    pub(super) ctcp: Limiter,
    pub(super) heard_at: Instant,
    pub(super) ping_sent: Option<Instant>,
    /// Makes labels and PING tokens.
    pub(super) counter: u64,
    /// Local time minus the server's, in milliseconds, where a server's stamp told it.
    pub(super) clock_offset: Option<i64>,
    pub(super) ending: Option<Ending>,
    pub(super) ending_text: Option<String>,
    /// Why we are degraded, while up.
    pub(super) complaint: Option<String>,
}

impl Link {
    pub(super) fn offline(settings: &Settings, now: Instant) -> Self {
        let mut link = Self::new(settings, false, String::new(), String::new(), 1.0, now);
        link.phase = Phase::Offline;
        link
    }

    pub(super) fn new(
        settings: &Settings,
        secure: bool,
        epoch: String,
        nonce: String,
        pace_share: f64,
        now: Instant,
    ) -> Self {
        Self {
            phase: Phase::Registering,
            epoch,
            secure,
            lines: 0,
            bad_lines: 0,
            buffer: LineBuffer::default(),
            nonce,
            registration: Registration::new(now),
            introduced: false,
            registered_at: None,
            caps: Caps::default(),
            isupport: Isupport::default(),
            mask: Mask { nick: settings.nick.clone(), user: None, host: None },
            account: None,
            regain: Regain::default(),
            pace: Pace::new(settings.pace, pace_share, now),
            control: VecDeque::new(),
            polite: VecDeque::new(),
            whois: Whois::default(),
            monitor: Monitor::default(),
            live: HashMap::new(),
            channels: BTreeMap::new(),
            batches: Batches::default(),
            history: History::default(),
            ctcp: Limiter::default(),
            heard_at: now,
            ping_sent: None,
            counter: 0,
            clock_offset: None,
            ending: None,
            ending_text: None,
            complaint: None,
        }
    }

    pub(super) fn next_counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether the name is ours, as the network compares names.
    pub(super) fn is_us(&self, nick: &str) -> bool {
        self.isupport.same(nick, &self.mask.nick)
    }

    pub(super) fn fold(&self, name: &str) -> Folded {
        self.isupport.fold(name)
    }
}
