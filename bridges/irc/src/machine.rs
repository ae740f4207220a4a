//! The protocol as a state machine: what came in, what goes out, when to wake up. No socket, clock,
//! randomness or async; the driver brings all of them.
//!
//! One input, then drain [`Machine::poll`] to the end, then wait.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::{BridgeState, Cursor, Fault, Inbound, Outbound, PeerId, Sent};

use crate::{
    message::{Command, Decoded, Fallback, Line},
    settings::Settings,
    view::View,
};

mod batch;
mod capabilities;
mod channels;
mod confirm;
mod delivery;
mod dispatch;
mod held;
mod history;
mod identity;
mod inbound;
mod keepalive;
mod link;
mod login;
mod nick;
mod notes;
mod pace;
mod people;
mod presence;
mod probe;
mod recent;
mod reconnect;
mod registration;
mod replies;
mod sts;
mod whois;

pub(crate) use capabilities::Caps;
pub(crate) use login::{choose, credentials};
pub(crate) use people::{PEOPLE, person};
pub(crate) use reconnect::Ending;
pub(crate) use sts::{Endpoint, upgrade_port};

use link::{Link, Phase};

/// A moment on both clocks: one for measuring, one for stamps that outlive the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Unix milliseconds.
    pub(crate) millis: i64,
}

/// Names a waiting caller of `send` or `probe`.
pub(crate) type Ticket = u64;

#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// What was saved by an earlier run, once, before anything else.
    Remember(Vec<Cursor>),
    /// `epoch` is unique for the connection, `nonce` random and printable.
    Connected {
        secure: bool,
        epoch: String,
        nonce: String,
    },
    Bytes(&'a [u8]),
    /// The connection ended or could not be made.
    Closed {
        reason: String,
    },
    Send {
        ticket: Ticket,
        out: Outbound,
    },
    Probe {
        ticket: Ticket,
        out: Outbound,
    },
    /// Say goodbye and close.
    Stop,
    /// Only time has passed.
    Tick,
}

#[expect(clippy::large_enum_variant, reason = "an output lives for a moment only, and most of them are events")]
#[derive(Debug)]
pub(crate) enum Output {
    Write(Vec<u8>),
    /// Events and cursors of one drain belong into one `accept`.
    Event(Inbound),
    Cursor(Cursor),
    Settled(Ticket, Result<Option<Sent>, Fault>),
    State(BridgeState),
    /// Close the socket, then report [`Input::Closed`].
    Close,
    /// After [`Input::Closed`]: connect to [`Machine::endpoint`] again after this time.
    Redial(Duration),
}

#[derive(Debug)]
pub(crate) struct Machine {
    settings: Arc<Settings>,
    fallback: Fallback,
    rng: fastrand::Rng,
    now: Now,
    outputs: VecDeque<Output>,
    link: Link,
    people: people::People,
    held: held::Held,
    orders: delivery::Orders,
    recent: recent::Recent,
    positions: history::Positions,
    notes: notes::Notes,
    backoff: reconnect::Backoff,
    sts: sts::Sts,
    /// Until when a line of an earlier connection may still be delivered by its ghost.
    ghost_until: Instant,
    /// Share of the pace that is left after flood kills.
    pace_share: f64,
    down_reason: String,
    stopping: bool,
    state: Option<BridgeState>,
}

/// How long a server may go on delivering what a broken connection had queued.
const GHOST_MAX: Duration = Duration::from_mins(2);

impl Machine {
    /// `seed` feeds session ids and jitter.
    pub(crate) fn new(settings: Arc<Settings>, seed: u64, now: Now) -> Self {
        let fallback = Fallback::from_label(&settings.fallback_encoding).unwrap_or_default();
        Self {
            link: Link::offline(&settings, now.at),
            sts: sts::Sts::new(&settings),
            settings,
            fallback,
            rng: fastrand::Rng::with_seed(seed),
            now,
            outputs: VecDeque::new(),
            people: people::People::default(),
            held: held::Held::default(),
            orders: delivery::Orders::default(),
            recent: recent::Recent::default(),
            positions: history::Positions::default(),
            notes: notes::Notes::default(),
            backoff: reconnect::Backoff::default(),
            ghost_until: now.at + GHOST_MAX,
            pace_share: 1.0,
            down_reason: "not connected yet".to_owned(),
            stopping: false,
            state: None,
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now) {
        self.now = now;
        match input {
            Input::Remember(cursors) => self.remember(cursors),
            Input::Connected { secure, epoch, nonce } => self.connected(secure, epoch, nonce),
            Input::Bytes(bytes) => self.read(bytes),
            Input::Closed { reason } => self.closed(&reason),
            Input::Send { ticket, out } => self.order(ticket, out),
            Input::Probe { ticket, out } => self.probe(ticket, &out),
            Input::Stop => self.stop(),
            Input::Tick => {}
        }
        self.pass_time();
        self.write_what_may_leave();
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again, and why, for the log.
    pub(crate) fn wake(&self) -> Option<(Instant, &'static str)> {
        let times = [
            self.registration_wake(),
            self.keepalive_wake(),
            self.delivery_wake(),
            self.whois_wake(),
            self.channels_wake(),
            self.nick_wake(),
            self.history_wake(),
            Some(self.people_wake()),
        ];
        times.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The people behind these cursors are strangers from now on. Nothing is saved of that.
    pub(crate) fn forget(&mut self, cursors: &[String]) {
        for id in cursors.iter().filter_map(|name| name.strip_prefix("peer/")).map(PeerId::from) {
            drop(self.people.forget(&id));
            for live in self.link.live.values_mut().filter(|live| live.session.as_ref() == Some(&id)) {
                live.session = None;
            }
        }
        self.held.forget(cursors);
    }

    /// A run begins: what ended the one before is over.
    pub(crate) fn begin_run(&mut self) {
        self.stopping = false;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.phase != Phase::Offline
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.sts.endpoint(&self.settings, self.now.millis)
    }

    /// What callers on other threads need to know, as known now.
    pub(crate) fn view(&self) -> View {
        View::new(&self.link.mask, &self.link.isupport)
    }

    fn remember(&mut self, cursors: Vec<Cursor>) {
        for cursor in cursors {
            let Some(value) = &cursor.value else { continue };
            let kept = match cursor.name.split_once('/') {
                Some(("peer", id)) => self.people.recall(id, value),
                Some(("held", _)) => self.held.recall(&cursor.name, value),
                Some(("seen", name)) => self.positions.recall(name, value),
                Some(("sts", host)) => self.sts.recall(host, value),
                _ => false,
            };
            if !kept {
                tracing::warn!(cursor = cursor.name, "a saved note cannot be read and is dropped");
                self.outputs.push_back(Output::Cursor(Cursor::remove(cursor.name)));
            }
        }
    }

    fn connected(&mut self, secure: bool, epoch: String, nonce: String) {
        self.link = Link::new(&self.settings, secure, epoch, nonce, self.pace_share, self.now.at);
        self.say(BridgeState::Connecting);
        self.begin_registration();
    }

    fn read(&mut self, mut bytes: &[u8]) {
        self.link.heard_at = self.now.at;
        self.link.ping_sent = None;
        let mut buffer = std::mem::take(&mut self.link.buffer);
        while let Some(raw) = buffer.next_line(&mut bytes) {
            if self.link.phase == Phase::Offline {
                break;
            }
            self.link.lines += 1;
            let decoded = Decoded::new(&raw, self.fallback);
            match Line::parse(&decoded.text) {
                Some(line) => self.dispatch(&line, decoded.fallback),
                None => self.link.bad_lines += 1,
            }
        }
        self.link.buffer = buffer;
    }

    fn closed(&mut self, reason: &str) {
        let whole = self.has_caught_up();
        let was = std::mem::replace(&mut self.link, Link::offline(&self.settings, self.now.at));
        let ending = was.ending.unwrap_or(Ending::Network);
        let reason = was.ending_text.unwrap_or_else(|| reason.to_owned());
        if was.introduced {
            self.ghost_until = self.now.at + GHOST_MAX;
        }
        if ending == Ending::Flood {
            self.pace_share = pace::Pace::halved(self.pace_share);
        }
        if was.registered_at.is_some() {
            self.note_link_lost(whole);
        }
        self.down_reason = format!("the connection to {} is down: {reason}", self.settings.server);
        self.fail_orders();
        self.fail_questions(was.history);
        self.outputs.extend(self.positions.link_lost(self.now.millis).into_iter().map(Output::Cursor));
        self.held.link_lost();
        self.people.link_lost();
        self.sts.link_lost(self.now.millis, &mut self.outputs);
        if self.stopping {
            return;
        }
        let wait = self.backoff.next(ending, was.registered_at, self.now.at, self.rng.f64());
        if ending >= Ending::Auth {
            tracing::error!(?ending, reason, pause_seconds = wait.as_secs(), "kept off the network");
        } else {
            tracing::warn!(?ending, reason, pause_seconds = wait.as_secs(), "connection ended");
        }
        if ending != Ending::Upgrade {
            self.say(BridgeState::Down { reason: self.down_reason.clone() });
        }
        self.outputs.push_back(Output::Redial(wait));
    }

    fn stop(&mut self) {
        self.stopping = true;
        if matches!(self.link.phase, Phase::Offline | Phase::Closing) {
            return;
        }
        self.write_now(&Command::new("QUIT").last("the gateway is stopping"));
        "the gateway is stopping".clone_into(&mut self.down_reason);
        self.link.phase = Phase::Leaving;
    }

    /// Ends the connection from our side.
    fn hang_up(&mut self, ending: Ending, reason: impl Into<String>) {
        if matches!(self.link.phase, Phase::Offline | Phase::Leaving | Phase::Closing) {
            return;
        }
        self.link.ending = Some(ending);
        self.link.ending_text = Some(reason.into());
        if ending != Ending::Upgrade {
            self.write_now(&Command::new("QUIT").last("bye"));
        }
        self.link.phase = Phase::Closing;
        self.outputs.push_back(Output::Close);
    }

    fn pass_time(&mut self) {
        self.check_registration();
        self.check_keepalive();
        self.check_orders();
        self.check_whois();
        self.check_channels();
        self.check_nick();
        self.check_history();
        self.forget_the_idle();
    }

    /// Says how the bridge is, once for each change.
    fn say(&mut self, state: BridgeState) {
        if self.state.as_ref() != Some(&state) {
            self.state = Some(state.clone());
            self.outputs.push_back(Output::State(state));
        }
    }

    fn is_ready(&self) -> bool {
        self.link.phase == Phase::Ready
    }

    /// Writes past the pace, and lets the rest pay for it.
    fn write_now(&mut self, command: &Command) {
        if let Some(line) = self.encode(command) {
            self.link.pace.force(line.len(), self.now.at);
            self.outputs.push_back(Output::Write(line));
        }
    }

    /// Writes when the pace has room.
    fn write_later(&mut self, command: Command) {
        if self.link.control.len() < CONTROL_MAX {
            self.link.control.push_back(command);
        } else {
            tracing::error!(command = command.verb(), "too many commands wait, one is dropped");
        }
    }

    fn encode(&self, command: &Command) -> Option<Vec<u8>> {
        match command.encode(self.link.isupport.line_bytes_max()) {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::error!(
                    command = command.verb(),
                    error = error.to_string(),
                    "a line of ours is no line and is dropped"
                );
                None
            }
        }
    }

    fn write_what_may_leave(&mut self) {
        if !matches!(self.link.phase, Phase::Ready) {
            return;
        }
        self.flush_monitor();
        while self.write_control() || self.start_order() || self.write_poll() {}
    }

    fn write_control(&mut self) -> bool {
        let Some(command) = self.link.control.pop_front() else { return false };
        let Some(line) = self.encode(&command) else { return true };
        if self.link.pace.take(line.len(), self.now.at) {
            self.outputs.push_back(Output::Write(line));
            return true;
        }
        self.link.control.push_front(command);
        false
    }
}

/// JOIN, MONITOR, NICK and barriers: far fewer than this wait at any time.
const CONTROL_MAX: usize = 1024;

#[cfg(test)]
mod tests;
