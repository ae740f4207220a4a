//! The sending side of SMTP as a machine: bytes and orders in, bytes and outcomes out. Holds no socket and no clock.
//!
//! It decides what a reply means for the mail and for the relay. It never says a mail was not sent once its final dot
//! may have left.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bridge_api::Fault;

use super::{
    envelope::{Addressed, Offers},
    reply::{BadReply, Reader, Reply},
};
use crate::{address::Address, compose::written_address, settings::Security};

mod order;
#[cfg(test)]
mod tests;

pub(crate) use order::{Accepted, Input, Manners, Output, Phase};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Plain,
    Login,
    LoginName,
    LoginPassword,
    Ready,
    Reset,
    Mail,
    Recipient(usize),
    Data,
    Body,
    Final,
    Closed,
}

/// Recipients of one mail. RFC 5321 lets every server take so many.
const RECIPIENTS_MAX: usize = 100;

pub(crate) struct Machine {
    manners: Arc<Manners>,
    state: State,
    reader: Reader,
    offers: Offers,
    secure: bool,
    loopback: bool,
    mail: Option<Addressed>,
    /// Of the current mail: copies that the relay refused.
    left_out: Vec<String>,
    /// Of the current mail: the relay said something to MAIL.
    answered: bool,
    outputs: VecDeque<Output>,
}

impl Machine {
    pub(crate) fn new(manners: Arc<Manners>) -> Self {
        let secure = manners.security == Security::Tls;
        Self {
            manners,
            state: State::Begin,
            reader: Reader::default(),
            offers: Offers::default(),
            secure,
            loopback: false,
            mail: None,
            left_out: Vec::new(),
            answered: false,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        match (input, self.state) {
            (Input::Connected { loopback }, State::Begin) => {
                self.loopback = loopback;
                self.state = State::Greeting;
            }
            (Input::Secured, State::Handshake) => {
                self.secure = true;
                // What was said before TLS may have been said by anybody.
                self.offers = Offers::default();
                self.say(State::Ehlo, format!("EHLO {}\r\n", self.manners.hostname));
            }
            (Input::Reset, State::Ready) => self.say(State::Reset, "RSET\r\n"),
            (Input::Mail(mail), State::Ready) => self.mail(mail),
            (Input::Finishing, State::Body) => self.state = State::Final,
            (Input::Quit, State::Ready) => self.say(State::Closed, "QUIT\r\n"),
            (Input::Bytes(bytes), _) => self.bytes(bytes),
            // An order that no longer fits, since the connection fell in between.
            (
                Input::Connected { .. }
                | Input::Secured
                | Input::Reset
                | Input::Mail(_)
                | Input::Finishing
                | Input::Quit,
                _,
            ) => {}
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The connection can carry another mail, after a reset.
    pub(crate) fn is_usable(&self) -> bool {
        self.state == State::Ready && self.reader.is_empty()
    }

    /// The relay has said something to MAIL, so that a failure is one of this mail and not of an old connection.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn phase(&self) -> Phase {
        if matches!(self.state, State::Begin | State::Greeting) {
            Phase::Greeting
        } else if self.state == State::Body {
            Phase::Body
        } else if self.state == State::Final {
            Phase::Final
        } else {
            Phase::Command
        }
    }

    /// The connection is of no more use, for this reason. What that means for the mail.
    pub(crate) fn lost(&mut self, why: &str) -> Fault {
        let before = std::mem::replace(&mut self.state, State::Closed);
        if before == State::Final {
            Fault::unknown(format!("the relay did not say whether it took the mail: {why}"))
        } else if matches!(before, State::Mail | State::Recipient(_) | State::Data | State::Body) {
            Fault::retry(format!("the relay was lost before it had the whole mail: {why}"))
        } else {
            Fault::down(format!("the relay cannot be used: {why}"))
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        let mut first = true;
        while self.state != State::Closed {
            match self.reader.next() {
                Err(bad) => return self.bad(bad),
                Ok(None) => return,
                // Nothing is known of what stands behind; at an idle moment it makes the connection useless.
                Ok(Some(_)) if self.state == State::Ready => self.state = State::Closed,
                // It was here before its command was: no answer to it, unless it is a farewell.
                Ok(Some(reply)) if !first && reply.code != 421 => return self.bad(BadReply::NoReply),
                Ok(Some(reply)) => self.reply(&reply),
            }
            first = false;
        }
    }

    fn bad(&mut self, bad: BadReply) {
        let fault = self.lost(&bad.to_string());
        self.outputs.push_back(Output::Failed(fault));
    }

    fn reply(&mut self, reply: &Reply) {
        match (self.state, reply.code) {
            (State::Final, _) => self.finished(reply),
            (State::Mail, code) if code != 421 => {
                self.answered = true;
                self.on_mail(reply);
            }
            (_, 421) => self.farewell(reply),
            (State::Greeting, 220) => self.say(State::Ehlo, format!("EHLO {}\r\n", self.manners.hostname)),
            (State::Ehlo, 200..=299) => {
                self.offers = Offers::read(&reply.lines);
                self.greeted();
            }
            (State::Ehlo, 500..=599) => self.say(State::Helo, format!("HELO {}\r\n", self.manners.hostname)),
            (State::Helo, 200..=299) => self.greeted(),
            (State::StartTls, 220) if !self.reader.is_empty() => {
                self.unusable("it said more in clear behind its answer to STARTTLS");
            }
            (State::StartTls, 220) => {
                self.state = State::Handshake;
                self.outputs.push_back(Output::Secure);
            }
            (State::Plain | State::LoginPassword, 235) | (State::Reset, 200..=299) => self.ready(),
            (State::Login, 334) => self.login(State::LoginName),
            (State::LoginName, 334) => self.login(State::LoginPassword),
            (State::Recipient(at), 200..=299) => self.recipient(at + 1),
            (State::Data, 354) => {
                self.state = State::Body;
                self.outputs.push_back(Output::Body);
            }
            (State::Recipient(at), _) if self.is_dispensable(at, reply) => self.leave_out(at, reply),
            (State::Recipient(_) | State::Data, _) => self.refused(reply),
            // It cannot take what it has not seen: the rest need not be written, and it waits for it no more.
            (State::Body, _) => {
                self.refused(reply);
                self.state = State::Closed;
            }
            // No answer that its command can have.
            (_, _) => self.turned_away(reply),
        }
    }

    fn on_mail(&mut self, reply: &Reply) {
        match reply.code {
            200..=299 => self.recipient(0),
            _ => self.refused(reply),
        }
    }

    /// After EHLO or HELO: what is still to be done before a mail may come.
    fn greeted(&mut self) {
        if self.manners.security == Security::Starttls && !self.secure {
            if self.offers.starttls {
                return self.say(State::StartTls, "STARTTLS\r\n");
            }
            return self.unusable("it does not offer STARTTLS, and nothing is sent in clear");
        }
        let Some((name, password)) = &self.manners.login else { return self.ready() };
        if !self.secure && !self.loopback {
            return self.unusable("no password is sent without TLS");
        }
        if self.offers.plain {
            let secret = STANDARD.encode(format!("\0{name}\0{}", password.expose()));
            self.say(State::Plain, format!("AUTH PLAIN {secret}\r\n"));
        } else if self.offers.login {
            self.say(State::Login, "AUTH LOGIN\r\n");
        } else {
            self.unusable("it offers neither AUTH PLAIN nor AUTH LOGIN");
        }
    }

    fn login(&mut self, next: State) {
        let Some((name, password)) = &self.manners.login else {
            return self.unusable("it asks for a password that is not there");
        };
        let word = if next == State::LoginName { name } else { password.expose() };
        let line = format!("{}\r\n", STANDARD.encode(word));
        self.say(next, line);
    }

    fn mail(&mut self, mail: Addressed) {
        self.answered = false;
        self.left_out.clear();
        let count = mail.recipients.len() + mail.copies.len();
        if mail.recipients.is_empty() || count > RECIPIENTS_MAX {
            let reason = format!("a mail goes to 1 to {RECIPIENTS_MAX} recipients, not to {count}");
            return self.outputs.push_back(Output::Failed(Fault::refused(reason)));
        }
        if let Some(address) = mail.international().filter(|_| !self.offers.international) {
            let reason = format!("the relay cannot carry mail to or from {address}: it does not offer SMTPUTF8");
            return self.outputs.push_back(Output::Failed(Fault::refused(reason)));
        }
        if let (Some(bytes), Some(most)) = (mail.bytes, self.offers.size_max)
            && bytes > most
        {
            let reason = format!("the mail has {bytes} bytes and the relay takes at most {most}: send smaller files");
            return self.outputs.push_back(Output::Failed(Fault::refused(reason)));
        }
        let command = mail.mail_command(&self.offers);
        self.mail = Some(mail);
        self.say(State::Mail, command);
    }

    fn recipient(&mut self, at: usize) {
        let mail = self.mail.as_ref().expect("RCPT is sent within a mail");
        match mail.recipient(at) {
            Some((copy, true)) if !self.offers.international && !written_address(copy).is_ascii() => {
                self.left_out.push(format!("no copy went to {copy}: the relay does not offer SMTPUTF8"));
                self.recipient(at + 1);
            }
            Some((recipient, _)) => {
                let command = mail.recipient_command(recipient, &self.offers);
                self.say(State::Recipient(at), command);
            }
            None => self.say(State::Data, "DATA\r\n"),
        }
    }

    /// A copy that is refused for good does not stop the mail.
    fn is_dispensable(&self, at: usize, reply: &Reply) -> bool {
        let copy = self.mail.as_ref().and_then(|mail| mail.recipient(at)).is_some_and(|(_, is_copy)| is_copy);
        copy && matches!(reply.code, 500..=599) && !matches!(reply.code, 530 | 534 | 535 | 538)
    }

    fn leave_out(&mut self, at: usize, reply: &Reply) {
        let copy = self.mail.as_ref().and_then(|mail| mail.recipient(at)).map(|(address, _)| address.to_string());
        let sentence = format!("no copy went to {}: {}", copy.unwrap_or_default(), self.words(reply));
        self.left_out.push(sentence);
        self.recipient(at + 1);
    }

    /// The answer to the final dot, which alone decides.
    fn finished(&mut self, reply: &Reply) {
        match reply.code {
            200..=299 => {
                self.state = State::Ready;
                let left_out = std::mem::take(&mut self.left_out);
                self.outputs.push_back(Output::Accepted(Accepted { words: self.words(reply), left_out }));
            }
            400..=599 => {
                self.state = if reply.code == 421 { State::Closed } else { State::Ready };
                self.fail(reply, "the relay did not take the mail");
            }
            _ => self.bad(BadReply::NoReply),
        }
    }

    /// MAIL, a RCPT, DATA or the data itself was not taken.
    fn refused(&mut self, reply: &Reply) {
        let what = match (self.state, &self.mail) {
            (State::Recipient(at), Some(mail)) => {
                let address = mail.recipient(at).map_or("of the mail", |(address, _)| address.as_str());
                format!("the relay did not take the recipient {address}")
            }
            (State::Mail, _) => "the relay did not take the sender".to_owned(),
            _ => "the relay did not take the mail".to_owned(),
        };
        if !(400..=599).contains(&reply.code) {
            return self.bad(BadReply::NoReply);
        }
        self.state = State::Ready;
        self.fail(reply, &what);
    }

    fn fail(&mut self, reply: &Reply, what: &str) {
        let reason = format!("{what}: {}", self.words(reply));
        let fault = match reply.code {
            // It wants TLS or a login: that is a matter of the settings, and no mail fails for it.
            530 | 534 | 535 | 538 => Fault::down(reason),
            500..=599 => Fault::refused(reason),
            _ => Fault::retry(reason),
        };
        self.outputs.push_back(Output::Failed(fault));
    }

    /// 421: it closes, and the next one may find it open again.
    fn farewell(&mut self, reply: &Reply) {
        self.state = State::Closed;
        let reason = format!("the relay closes the connection: {}", self.words(reply));
        self.outputs.push_back(Output::Failed(Fault::down(reason)));
    }

    /// The relay as a whole will not have us.
    fn turned_away(&mut self, reply: &Reply) {
        let what = if matches!(self.state, State::Plain | State::Login | State::LoginName | State::LoginPassword) {
            "the relay did not take our user name and password"
        } else if self.state == State::StartTls {
            "the relay refused STARTTLS"
        } else {
            "the relay turned us away"
        };
        self.state = State::Closed;
        let reason = format!("{what}: {}", self.words(reply));
        self.outputs.push_back(Output::Failed(Fault::down(reason)));
    }

    fn unusable(&mut self, why: &str) {
        let fault = self.lost(why);
        self.outputs.push_back(Output::Failed(fault));
    }

    fn ready(&mut self) {
        self.state = State::Ready;
        self.mail = None;
        self.outputs.push_back(Output::Ready);
    }

    fn say(&mut self, next: State, line: impl Into<Vec<u8>>) {
        self.state = next;
        self.outputs.push_back(Output::Write(line.into()));
    }

    fn words(&self, reply: &Reply) -> String {
        let known: Vec<&str> =
            self.mail.iter().flat_map(|mail| mail.recipients.iter().chain(&mail.copies)).map(Address::as_str).collect();
        reply.words(&known)
    }
}
