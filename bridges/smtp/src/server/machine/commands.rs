//! The commands of a session, their order, and what is answered to each.

use memchr::memchr;

use crate::{address::Address, settings::Recipient};

use super::{
    super::{
        command::{self, BadLine, Command, Hello},
        path::{self, BadParameter, Path},
    },
    Admission, LINE_BYTES_MAX, MAILS_MAX, Machine, NOISE_MAX, Output, Phase, RECIPIENTS_MAX, REFUSED_RECIPIENTS_MAX,
    Transaction,
};

const TOO_LONG: &str = "500 5.5.2 the line is too long";
const RELAY_DENIED: &str = "550 5.7.1 this server hands nothing on";
const INTERNATIONAL: &str = "553 5.6.7 an address beyond ASCII needs SMTPUTF8";
/// Of a greeting's name that is kept.
const NAME_BYTES_MAX: usize = 255;

impl Machine {
    /// One command line from the beginning of `rest`. `None`: more octets are needed.
    pub(super) fn command(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(end) = memchr(b'\n', rest) else {
            if rest.len() < LINE_BYTES_MAX {
                return None;
            }
            self.phase = Phase::Swallow;
            return Some(rest.len());
        };
        let used = end + 1;
        self.since = self.now.at;
        if used > LINE_BYTES_MAX {
            self.fail(TOO_LONG);
            return Some(used);
        }
        let is_more = rest.len() > used;
        match self.line(&rest[..end]) {
            Ok(line) => self.obey(line, is_more),
            Err(fault) => self.fail(fault),
        }
        Some(used)
    }

    /// The rest of a line that is too long.
    pub(super) fn swallow(&mut self, rest: &[u8]) -> Option<usize> {
        match memchr(b'\n', rest) {
            Some(end) => {
                self.wait_for_command();
                self.fail(TOO_LONG);
                Some(end + 1)
            }
            None if rest.is_empty() => None,
            None => Some(rest.len()),
        }
    }

    /// `line` is without its LF. A bare LF ends a command for LMTP only: elsewhere two servers might see different commands.
    fn line<'a>(&self, line: &'a [u8]) -> Result<&'a str, &'static str> {
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if self.site.lmtp => line,
            None => return Err("500 5.5.2 the line has no CR before its LF"),
        };
        let text = str::from_utf8(line).map_err(|_| "500 5.5.2 the line is no UTF-8")?;
        let plain = text.chars().all(|c| c == '\t' || !c.is_control());
        if plain { Ok(text) } else { Err("500 5.5.2 the line has control characters in it") }
    }

    fn obey(&mut self, line: &str, is_more: bool) {
        match command::parse(line) {
            Ok(Command::Hello(hello, name)) => self.hello(hello, name),
            Ok(Command::Mail(text)) => self.mail(text),
            Ok(Command::Rcpt(text)) => self.rcpt(text),
            Ok(Command::Data) => self.begin_data(is_more),
            Ok(Command::Bdat { octets, last }) => self.begin_chunk(octets, last),
            Ok(Command::Rset) => {
                self.reset();
                self.noise("250 2.0.0 forgotten");
            }
            Ok(Command::Noop) => self.noise("250 2.0.0 nothing done"),
            Ok(Command::Vrfy) => self.noise("252 2.1.5 send it a mail and see"),
            Ok(Command::StartTls) => self.start_tls(is_more),
            Ok(Command::Quit) => self.close_with("221 2.0.0 goodbye", super::QUIT),
            Ok(Command::NotOffered) => self.fail("502 5.5.1 the command is not offered here"),
            Ok(Command::Http) => self.close_with("421 4.7.0 this is a mail server", "the client speaks HTTP"),
            Err(BadLine::Unknown) => self.fail("500 5.5.2 the command is not known"),
            Err(BadLine::Arguments) => self.fail("501 5.5.4 the command's arguments are wrong"),
            // Its octets follow, but nobody knows how many: they must not be read as commands.
            Err(BadLine::Chunk) => self.close_with("501 5.5.4 the chunk's size is wrong", "a chunk without a size"),
        }
    }

    /// What does no harm but leads to nothing.
    fn noise(&mut self, line: &str) {
        self.noise += 1;
        if self.noise > NOISE_MAX { self.fail(line) } else { self.say(line) }
    }

    pub(super) fn reset(&mut self) {
        if self.transaction.take().is_some_and(|transaction| transaction.body.is_some()) {
            self.outputs.push_back(Output::Discard);
        }
    }

    fn hello(&mut self, hello: Hello, name: &str) {
        if (hello == Hello::Lhlo) != self.site.lmtp {
            let line =
                if self.site.lmtp { "500 5.5.1 this is LMTP: say LHLO" } else { "500 5.5.1 this is SMTP: say EHLO" };
            return self.fail(line);
        }
        self.reset();
        self.hello = Some((hello, name[..name.floor_char_boundary(NAME_BYTES_MAX)].into()));
        let host = self.site.hostname.clone();
        if hello == Hello::Helo {
            return self.noise(&format!("250 {host}"));
        }
        let mut lines = format!("250-{host}\r\n250-PIPELINING\r\n250-SIZE {}\r\n", self.site.mail_bytes_max);
        if self.site.starttls && !self.tls {
            lines.push_str("250-STARTTLS\r\n");
        }
        lines.push_str("250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING");
        self.noise(&lines);
    }

    fn mail(&mut self, text: &str) {
        if self.hello.is_none() {
            return self.fail("503 5.5.1 say who you are first");
        }
        if self.transaction.is_some() {
            return self.fail("503 5.5.1 there is a sender already");
        }
        let Some((path, rest)) = path::split(text) else {
            return self.fail("501 5.1.7 the sender's address is malformed");
        };
        let parameters = match path::parameters(rest) {
            Ok(parameters) => parameters,
            Err(BadParameter::Value) => return self.fail("501 5.5.4 a parameter's value is wrong"),
            Err(BadParameter::Unknown) => return self.fail("555 5.5.4 a parameter is not known"),
        };
        let sender = match Path::parse(path, parameters.international) {
            Path::Null => None,
            Path::Address(address) => Some(address),
            Path::International => return self.fail(INTERNATIONAL),
            Path::Postmaster | Path::Relay | Path::Odd => {
                return self.fail("501 5.1.7 the sender's address is malformed");
            }
        };
        if parameters.size.is_some_and(|bytes| bytes > self.site.mail_bytes_max) {
            return self.say("552 5.3.4 the mail is larger than this server takes");
        }
        if self.mails >= MAILS_MAX {
            return self
                .close_with("421 4.7.0 enough for one connection, come again", "enough mails for one connection");
        }
        self.outputs.push_back(Output::Ask { bytes: parameters.size.unwrap_or(0) });
        self.phase = Phase::Asking(Transaction {
            sender,
            international: parameters.international,
            recipients: Vec::new(),
            accepted: 0,
            refused: 0,
            body: None,
        });
    }

    pub(super) fn admitted(&mut self, admission: Admission) {
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        let Phase::Asking(transaction) = phase else {
            self.phase = phase;
            return;
        };
        self.wait_for_command();
        match admission {
            Admission::Welcome => {
                self.mails += 1;
                self.transaction = Some(transaction);
                self.say("250 2.1.0 a mail may come");
            }
            Admission::TooFast => self.say("450 4.7.1 too many mails in a minute, try again later"),
            Admission::NoRoom => self.say("452 4.3.1 no room for the mail now, try again later"),
        }
    }

    fn rcpt(&mut self, text: &str) {
        let Some(transaction) = &self.transaction else { return self.fail("503 5.5.1 there is no sender yet") };
        if transaction.body.is_some() {
            return self.fail("503 5.5.1 the mail is on its way already");
        }
        let international = transaction.international;
        let full = transaction.accepted >= RECIPIENTS_MAX;
        let Some((path, rest)) = path::split(text) else { return self.refuse("501 5.1.3 the address is malformed") };
        if !rest.is_empty() {
            return self.fail("555 5.5.4 a parameter is not known");
        }
        let address = match Path::recipient(path, international) {
            Path::Address(address) => address,
            Path::Postmaster => self.site.postmaster.clone(),
            Path::Relay => return self.refuse(RELAY_DENIED),
            Path::International => return self.refuse(INTERNATIONAL),
            Path::Null | Path::Odd => return self.refuse("501 5.1.3 the address is malformed"),
        };
        match self.site.ours.recognise(&address) {
            Recipient::Foreign => self.refuse(RELAY_DENIED),
            Recipient::NoSuchName => self.refuse("550 5.1.1 nobody has this address here"),
            Recipient::Ours if full => self.say("452 4.5.3 too many recipients, the others in another mail"),
            Recipient::Ours => self.accept(address),
        }
    }

    fn accept(&mut self, address: Address) {
        if let Some(transaction) = &mut self.transaction {
            transaction.accepted += 1;
            if !transaction.recipients.contains(&address) {
                transaction.recipients.push(address);
            }
        }
        self.say("250 2.1.5 the address is ours");
    }

    fn refuse(&mut self, line: &str) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
        self.say(line);
        self.refused += 1;
        if self.refused >= REFUSED_RECIPIENTS_MAX {
            self.close_with("421 4.7.0 too many addresses were refused", "the client guesses addresses");
        }
    }

    fn begin_data(&mut self, is_more: bool) {
        if is_more {
            // RFC 2920, 3.1: nothing follows DATA before its answer. What did would be the mail or commands, as one likes.
            return self.close_with("554 5.5.0 data came before it was asked for", "data before the 354");
        }
        if self.is_amid_chunks() {
            return self.fail("503 5.5.1 the mail comes in chunks");
        }
        if let Some(fault) = self.lacks_recipients() {
            return self.fail(fault);
        }
        let body = self.new_body(false);
        if let Some(transaction) = &mut self.transaction {
            transaction.body = Some(body);
        }
        self.phase = Phase::Data;
        self.say("354 end it with a dot alone on a line");
    }

    fn begin_chunk(&mut self, octets: u64, last: bool) {
        if self.is_flood(octets) {
            return self.close_with("552 5.3.4 the chunk is larger than this server takes", "a chunk far too large");
        }
        let fault = self.lacks_recipients();
        if let Some(fault) = fault {
            self.fail(fault);
        } else if !self.is_amid_chunks() {
            let body = self.new_body(true);
            if let Some(transaction) = &mut self.transaction {
                transaction.body = Some(body);
            }
        }
        self.phase = Phase::Chunk { left: octets, last, taken: fault.is_none() };
    }

    fn lacks_recipients(&self) -> Option<&'static str> {
        match &self.transaction {
            Some(transaction) if !transaction.recipients.is_empty() => None,
            // RFC 2033, 4.2 asks for 503 here.
            Some(transaction) if transaction.refused > 0 && !self.site.lmtp => {
                Some("554 5.5.1 no recipient was accepted")
            }
            Some(_) => Some("503 5.5.1 there is no recipient"),
            None => Some("503 5.5.1 there is no sender yet"),
        }
    }

    fn start_tls(&mut self, is_more: bool) {
        if self.tls {
            return self.fail("503 5.5.1 the connection is secured already");
        }
        if !self.site.starttls {
            return self.fail("502 5.5.1 the command is not offered here");
        }
        if is_more {
            // Whoever can write into the clear part of a connection would speak with the client's voice in the secured part.
            return self.close_with("554 5.5.0 nothing may follow STARTTLS", "commands behind STARTTLS");
        }
        self.reset();
        self.say("220 2.0.0 go ahead");
        self.outputs.push_back(Output::Write(std::mem::take(&mut self.replies)));
        self.outputs.push_back(Output::StartTls);
        self.phase = Phase::Securing;
    }
}
