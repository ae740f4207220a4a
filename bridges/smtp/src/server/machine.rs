//! The protocol of one SMTP or LMTP session: octets in, replies and mails out. No socket, no clock, no async.
//!
//! One input, then drain `poll` to its end, then wait. While an answer is owed to it (`Ask`, `Store`, `StartTls`) it takes
//! nothing from the client, so the driver does not read either.

use std::{collections::VecDeque, net::IpAddr, sync::Arc, time::Instant};

use bridge_api::KeptId;

use crate::{
    address::Address,
    envelope::Envelope,
    settings::{BareNewline, Ours},
};

use super::{command::Hello, timing::Timing};

mod body;
mod commands;
mod deadline;
#[cfg(test)]
mod tests;

use body::Body;

/// What all sessions of a listener share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) hostname: String,
    pub(crate) ours: Ours,
    /// Who is meant by `<postmaster>`.
    pub(crate) postmaster: Address,
    pub(crate) mail_bytes_max: u64,
    pub(crate) bare_newline: BareNewline,
    pub(crate) lmtp: bool,
    /// Offer STARTTLS.
    pub(crate) starttls: bool,
    pub(crate) timing: Timing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Unix milliseconds.
    pub(crate) millis: i64,
    /// Most of the connections that may be open are in use.
    pub(crate) crowded: bool,
}

#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The connection stands, and nothing has come from the client.
    Greet,
    Bytes(&'a [u8]),
    /// To `Ask`.
    Admit(Admission),
    /// To `Store`. `None`: it is not stored.
    Stored(Option<KeptId>),
    /// To `Store`, instead: it is not let in, and this is the answer.
    TurnedAway(&'static str),
    /// To `StartTls`, when the handshake is done.
    Secured,
    /// The time has come that `wake` named, or just some time.
    Tick,
    /// No further mail; one that is on its way may end.
    Stop,
}

/// May a mail come now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Welcome,
    /// The client sends more in a minute than it may.
    TooFast,
    /// No room on the disk, in memory or in the queue.
    NoRoom,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Write(Vec<u8>),
    /// Is there room for a mail of this declared size?
    Ask {
        bytes: u64,
    },
    /// The next octets of the mail.
    Body(Vec<u8>),
    /// The mail whose octets came is refused: forget them.
    Discard,
    /// All octets came: store them with this, and say how it went.
    Store(Envelope),
    StartTls,
    /// Always the last one.
    Close(&'static str),
}

/// Between MAIL and the end of its data.
#[derive(Debug)]
struct Transaction {
    sender: Option<Address>,
    international: bool,
    recipients: Vec<Address>,
    /// RCPT commands that were answered with 250, the repeated ones too: LMTP owes a reply to each.
    accepted: usize,
    /// RCPT commands that were refused.
    refused: usize,
    body: Option<Body>,
}

#[derive(Debug)]
enum Phase {
    /// Before the greeting.
    Fresh,
    Command,
    /// Within a line that is too long.
    Swallow,
    Data,
    /// `taken` is false for a chunk that nobody wants, which has to be read all the same.
    Chunk {
        left: u64,
        last: bool,
        taken: bool,
    },
    Asking(Transaction),
    Storing,
    Securing,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Machine {
    site: Arc<Site>,
    client: IpAddr,
    tls: bool,
    now: Now,
    hello: Option<(Hello, Box<str>)>,
    transaction: Option<Transaction>,
    phase: Phase,
    /// Octets that came and could not be used yet.
    pending: Vec<u8>,
    replies: Vec<u8>,
    outputs: VecDeque<Output>,
    closing: Option<&'static str>,
    stopping: bool,
    errors: u32,
    noise: u32,
    refused: u32,
    mails: u32,
    started: Instant,
    /// Since when the client is waited for.
    since: Instant,
}

/// Of a command line with its parameters and its end.
const LINE_BYTES_MAX: usize = 2048;
/// More than any driver reads at once, and more than any client sends ahead.
const PENDING_BYTES_MAX: usize = 256 * 1024;
const RECIPIENTS_MAX: usize = 100;
const MAILS_MAX: u32 = 1000;
const ERRORS_MAX: u32 = 10;
const REFUSED_RECIPIENTS_MAX: u32 = 20;
/// NOOP, RSET, VRFY and greetings between two mails; each further one counts as an error.
const NOISE_MAX: u32 = 100;

/// The one end that a client asks for.
pub(crate) const QUIT: &str = "the client is done";

impl Machine {
    /// `tls`: from the first octet.
    pub(crate) fn new(site: Arc<Site>, client: IpAddr, tls: bool, now: Now) -> Self {
        Self {
            site,
            client,
            tls,
            now,
            hello: None,
            transaction: None,
            phase: Phase::Fresh,
            pending: Vec::new(),
            replies: Vec::new(),
            outputs: VecDeque::new(),
            closing: None,
            stopping: false,
            errors: 0,
            noise: 0,
            refused: 0,
            mails: 0,
            started: now.at,
            since: now.at,
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now) {
        self.now = now;
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            Input::Greet => self.greet(),
            Input::Bytes(bytes) => self.bytes(bytes),
            Input::Admit(admission) => self.admitted(admission),
            Input::Stored(kept) => self.stored(kept),
            Input::TurnedAway(line) => self.turned_away(line),
            Input::Secured => self.secured(),
            Input::Tick => self.check_time(),
            Input::Stop => self.stopping = true,
        }
        self.advance();
        self.flush();
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs.shrink_to(0);
        }
        output
    }

    /// A mail is coming in: much at once is to be expected.
    pub(crate) fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Data | Phase::Chunk { .. })
    }

    fn greet(&mut self) {
        if !matches!(self.phase, Phase::Fresh) {
            return;
        }
        let protocol = if self.site.lmtp { "LMTP" } else { "ESMTP" };
        let line = format!("220 {} {protocol} ready", self.site.hostname);
        self.say(&line);
        self.wait_for_command();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.is_late() {
            return self.check_time();
        }
        if matches!(self.phase, Phase::Fresh) {
            return self.close_with("554 5.5.0 the server speaks first", "the client spoke before the greeting");
        }
        self.note_bytes();
        if self.pending.len() + bytes.len() > PENDING_BYTES_MAX {
            return self.close_with("421 4.7.0 too much was sent ahead", "the client sent too much ahead");
        }
        self.pending.extend_from_slice(bytes);
    }

    /// Uses what came, as far as no answer is owed to us.
    fn advance(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut used = 0;
        while self.closing.is_none() {
            let rest = &pending[used..];
            let step = match self.phase {
                Phase::Command if self.stopping && !self.is_amid_chunks() => {
                    self.close_with("421 4.3.2 the server is stopping, come back later", "the server is stopping");
                    break;
                }
                Phase::Fresh if self.stopping => {
                    self.close_with("421 4.3.2 the server is stopping, come back later", "the server is stopping");
                    break;
                }
                Phase::Command => self.command(rest),
                Phase::Swallow => self.swallow(rest),
                Phase::Data => self.data(rest),
                Phase::Chunk { left, last, taken } => self.chunk(rest, left, last, taken),
                Phase::Fresh | Phase::Asking(_) | Phase::Storing | Phase::Securing | Phase::Closed => break,
            };
            let Some(step) = step else { break };
            used += step;
        }
        if self.closing.is_none() && used < pending.len() {
            self.pending = if used == 0 { pending } else { pending[used..].to_vec() };
        }
    }

    /// Replies go out together when no further command is there to be answered (RFC 2920).
    fn flush(&mut self) {
        let waits = matches!(self.phase, Phase::Asking(_) | Phase::Storing);
        if !self.replies.is_empty() && (!waits || self.closing.is_some()) {
            self.outputs.push_back(Output::Write(std::mem::take(&mut self.replies)));
        }
        if let Some(why) = self.closing {
            self.phase = Phase::Closed;
            self.transaction = None;
            self.outputs.push_back(Output::Close(why));
        }
    }

    fn secured(&mut self) {
        if matches!(self.phase, Phase::Securing) {
            // RFC 3207, 4.2: what was said in the clear may have been said by anybody.
            self.tls = true;
            self.hello = None;
            self.transaction = None;
            self.wait_for_command();
        }
    }

    fn wait_for_command(&mut self) {
        self.phase = Phase::Command;
        self.since = self.now.at;
    }

    fn is_amid_chunks(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.body.is_some())
    }

    fn say(&mut self, line: &str) {
        self.replies.extend_from_slice(line.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    /// A fault of the client. Those who make many are shown out.
    fn fail(&mut self, line: &str) {
        self.say(line);
        self.errors += 1;
        if self.errors >= ERRORS_MAX {
            self.close_with("421 4.7.0 too many errors", "the client made too many errors");
        }
    }

    fn close_with(&mut self, line: &str, why: &'static str) {
        if self.closing.is_none() {
            self.say(line);
            self.closing = Some(why);
        }
    }
}
