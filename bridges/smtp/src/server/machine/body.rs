//! A mail on its way in: DATA and chunks, what is wrong with the mail, and what the client hears at its end.

use std::time::Instant;

use bridge_api::KeptId;

use crate::{envelope::Envelope, settings::BareNewline};

use super::{
    super::{command::Hello, data::Scanner, header::HeaderGate},
    Machine, Output, Phase,
};

#[derive(Debug)]
pub(super) struct Body {
    scanner: Scanner,
    gate: HeaderGate,
    /// Of the mail, as it is stored.
    bytes: u64,
    /// Octets that came, for its pace.
    came: u64,
    since: Instant,
    /// It is refused already, and nobody keeps its octets.
    discarded: bool,
}

/// A mail that is this many times larger than it may be is not read to its end.
const FLOOD: u64 = 2;

const TOO_LARGE: &str = "552 5.3.4 the mail is larger than this server takes";

impl Body {
    pub(super) fn came(&self) -> u64 {
        self.came
    }
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// What is wrong with it. The same whatever came first, so that the answer does not depend on how the octets were cut.
    fn fault(&self, bytes_max: u64, rejects_bare: bool) -> Option<&'static str> {
        if self.gate.is_a_loop() {
            Some("554 5.4.6 the mail goes round in a circle")
        } else if self.bytes > bytes_max {
            Some(TOO_LARGE)
        } else if self.gate.is_too_large() {
            Some("552 5.3.4 the header is larger than this server takes")
        } else if rejects_bare && self.scanner.saw_bare_newline() {
            Some("550 5.5.2 the mail has a bare CR or LF in it")
        } else {
            None
        }
    }
}

impl Machine {
    /// Programs on this machine write the line ends of this machine; nobody can smuggle anything past a server by them.
    fn normalizes(&self) -> bool {
        self.site.lmtp || self.site.bare_newline == BareNewline::Normalize || self.client.to_canonical().is_loopback()
    }

    pub(super) fn new_body(&self, chunked: bool) -> Body {
        let normalize = self.normalizes();
        Body {
            scanner: if chunked { Scanner::chunks(normalize) } else { Scanner::data(normalize) },
            gate: HeaderGate::default(),
            bytes: 0,
            came: 0,
            since: self.now.at,
            discarded: false,
        }
    }

    /// `None`: more octets are needed.
    pub(super) fn data(&mut self, rest: &[u8]) -> Option<usize> {
        let body = self.transaction.as_mut()?.body.as_mut()?;
        if rest.is_empty() {
            return None;
        }
        let mut mail = Vec::with_capacity(rest.len());
        let scanned = body.scanner.scan(rest, &mut mail);
        body.came += scanned.used as u64;
        if self.take(mail) && scanned.ended {
            self.end_of_mail();
        }
        Some(scanned.used)
    }

    /// The same for what a BDAT command announced.
    pub(super) fn chunk(&mut self, rest: &[u8], left: u64, last: bool, taken: bool) -> Option<usize> {
        if rest.is_empty() && left > 0 {
            return None;
        }
        let used = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - used as u64;
        self.phase = Phase::Chunk { left, last, taken };
        if taken {
            let mut mail = Vec::with_capacity(used + 2);
            let body = self.transaction.as_mut()?.body.as_mut()?;
            body.scanner.scan(&rest[..used], &mut mail);
            body.came += used as u64;
            if left == 0 && last {
                body.scanner.finish(&mut mail);
            }
            if !self.take(mail) {
                return Some(used);
            }
        }
        if left == 0 {
            match (taken, last) {
                (true, true) => self.end_of_mail(),
                (true, false) => {
                    self.say("250 2.0.0 the chunk is here");
                    self.wait_for_command();
                }
                (false, _) => self.wait_for_command(),
            }
        }
        Some(used)
    }

    /// Octets of the mail. `false`: there were far too many, and the connection is closed.
    fn take(&mut self, mail: Vec<u8>) -> bool {
        let (bytes_max, rejects_bare) = (self.site.mail_bytes_max, !self.normalizes());
        let Some(body) = self.transaction.as_mut().and_then(|transaction| transaction.body.as_mut()) else {
            return false;
        };
        body.bytes += mail.len() as u64;
        body.gate.pass(&mail);
        if body.bytes > bytes_max.saturating_mul(FLOOD) {
            self.close_with(TOO_LARGE, "the mail is far too large");
            return false;
        }
        if body.fault(bytes_max, rejects_bare).is_some() {
            if !std::mem::replace(&mut body.discarded, true) {
                self.outputs.push_back(Output::Discard);
            }
        } else if !mail.is_empty() {
            self.outputs.push_back(Output::Body(mail));
        }
        true
    }

    /// May this many octets come as a chunk? More would not even be read.
    pub(super) fn is_flood(&self, octets: u64) -> bool {
        let body = self.transaction.as_ref().and_then(|transaction| transaction.body.as_ref());
        let bytes = body.map_or(0, |body| body.bytes).saturating_add(octets);
        bytes > self.site.mail_bytes_max.saturating_mul(FLOOD)
    }

    fn end_of_mail(&mut self) {
        let Some(transaction) = &self.transaction else { return };
        let Some(body) = &transaction.body else { return };
        if let Some(fault) = body.fault(self.site.mail_bytes_max, !self.normalizes()) {
            return self.answer_mail(fault);
        }
        let envelope = Envelope {
            client: self.client,
            helo: self.hello.as_ref().map_or_else(String::new, |(_, name)| name.to_string()),
            protocol: self.protocol(),
            sender: transaction.sender.clone(),
            recipients: transaction.recipients.clone(),
            received_millis: self.now.millis,
            bytes: body.bytes,
        };
        self.phase = Phase::Storing;
        self.outputs.push_back(Output::Store(envelope));
    }

    pub(super) fn stored(&mut self, kept: Option<KeptId>) {
        if !matches!(self.phase, Phase::Storing) {
            return;
        }
        match kept {
            Some(id) => {
                (self.errors, self.noise) = (0, 0);
                self.answer_mail(&format!("250 2.0.0 kept as {id}"));
            }
            // Whatever it was, it is ours: never a reason for the client to give the mail up.
            None => self.answer_mail("452 4.3.1 no room for the mail now, try again later"),
        }
    }

    pub(super) fn turned_away(&mut self, line: &'static str) {
        if matches!(self.phase, Phase::Storing) {
            self.answer_mail(line);
        }
    }

    /// One reply, and with LMTP one for each recipient (RFC 2033, 4.2).
    fn answer_mail(&mut self, line: &str) {
        let accepted = self.transaction.take().map_or(1, |transaction| transaction.accepted);
        for _ in 0..if self.site.lmtp { accepted } else { 1 } {
            self.say(line);
        }
        self.wait_for_command();
    }

    /// RFC 3848.
    fn protocol(&self) -> String {
        let name = match &self.hello {
            Some((Hello::Lhlo, _)) => "LMTP",
            Some((Hello::Ehlo, _)) => "ESMTP",
            Some((Hello::Helo, _)) | None => "SMTP",
        };
        format!("{name}{}", if self.tls { "S" } else { "" })
    }
}
