//! One SMTP dialogue, from the greeting to the goodbye. It takes every mail for anybody, unless the fault switch says
//! otherwise, and sends nothing on.

mod proof;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::command::{self, Command, Path, Wrong};
use super::core::Core;
use super::faults::{MailFault, Step};
use super::mailbox::{Envelope, Recipient};
use super::wire::{Data, End, Stream, Wire};

/// How long a client may be silent, and how long it may take to read an answer.
const PATIENCE: Duration = Duration::from_mins(5);
/// Recipients of one mail; RFC 5321 wants at least 100.
pub(super) const RECIPIENTS_MAX: usize = 1_000;
/// Commands in a row that are none, before the connection is closed.
pub(super) const WRONG_MAX: usize = 20;

/// Whether the dialogue goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

/// What is left to do when a fault has had its turn.
enum Gate {
    /// Everything, as usual.
    Pass,
    /// The fault has answered.
    Answered,
    Leave,
}

struct Session {
    core: Arc<Core>,
    wire: Wire<Stream>,
    client: SocketAddr,
    /// Name and whether by `EHLO`.
    hello: Option<(String, bool)>,
    tls: bool,
    user: Option<String>,
    sender: Option<Path>,
    recipients: Vec<Recipient>,
    wrong: usize,
}

/// Speaks with one client until one of the two has enough.
pub(super) async fn converse(core: Arc<Core>, stream: TcpStream, client: SocketAddr) {
    let _open = Open::of(core.clone());
    let wire = Wire::new(Stream::Plain(stream), PATIENCE);
    if let Err(end) = dialogue(core.clone(), wire, client).await {
        tracing::debug!(error = end.to_string(), "a mail client's connection ended");
    }
}

/// A connection that is counted for as long as this lives, however its conversation ends.
struct Open(Arc<Core>);

impl Open {
    fn of(core: Arc<Core>) -> Self {
        core.count(|counts| {
            counts.connections += 1;
            counts.open += 1;
        });
        Self(core)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|counts| counts.open -= 1);
    }
}

async fn dialogue(core: Arc<Core>, wire: Wire<Stream>, client: SocketAddr) -> Result<(), End> {
    let tls_first = core.settings.tls.clone().filter(|_| core.settings.tls_from_start);
    let (wire, tls) = match tls_first {
        Some(config) => (wire.under_tls(config).await?, true),
        None => (wire, false),
    };
    if tls {
        core.count(|counts| counts.tls += 1);
    }
    let (hello, user, sender) = (None, None, None);
    let mut session = Session { core, wire, client, hello, tls, user, sender, recipients: Vec::new(), wrong: 0 };
    let line = client.to_string();
    let mut flow = match session.gate(Step::Connect, &line).await? {
        Gate::Pass => {
            let name = session.core.settings.hostname.clone();
            session.say(220, &format!("{name} ESMTP takes every mail")).await?;
            Flow::On
        }
        Gate::Answered | Gate::Leave => Flow::Over,
    };
    while flow == Flow::On {
        let line = match session.wire.line().await {
            Ok(line) => line,
            Err(End::LongLine) => {
                session.say(500, "5.5.2 the line is too long").await?;
                break;
            }
            Err(end @ (End::Closed | End::Late | End::Broken(_))) => return Err(end),
        };
        if starts_tls(&line) && !session.wire.has_more() {
            (session, flow) = session.starttls().await?;
        } else {
            flow = session.command(&line).await?;
        }
    }
    session.wire.close().await;
    Ok(())
}

fn starts_tls(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| command::parse(line) == Ok(Command::Starttls))
}

impl Session {
    async fn command(&mut self, line: &[u8]) -> Result<Flow, End> {
        let parsed = match std::str::from_utf8(line) {
            Ok(line) => command::parse(line).map(|command| (line, command)),
            Err(_) => Err(Wrong(500, "5.5.2 a command is UTF-8")),
        };
        let (line, command) = match parsed {
            Ok(found) => found,
            Err(Wrong(code, text)) => return self.wrong(line, code, text).await,
        };
        self.core.hear(heard(line, &command));
        match command {
            Command::Hello { extended, name } => self.hello(line, extended, name).await,
            // Reached only when bytes follow that would be read as if they had come under TLS.
            Command::Starttls => {
                self.say(554, "5.5.1 nothing may follow STARTTLS before its answer").await?;
                Ok(Flow::Over)
            }
            Command::Auth { mechanism, initial } => self.auth(line, &mechanism, initial).await,
            Command::Sender(path) => self.sender(line, path).await,
            Command::Recipient(path) => self.recipient(line, path).await,
            Command::Data => self.data(line).await,
            Command::Reset => {
                self.simple(Step::Reset, line, |session| {
                    session.forget_mail();
                    (250, "2.0.0 forgotten")
                })
                .await
            }
            Command::Noop => self.simple(Step::Any, line, |_| (250, "2.0.0 nothing done")).await,
            Command::Verify => self.simple(Step::Any, line, |_| (252, "2.5.2 try it")).await,
            Command::Quit => {
                self.simple(Step::Quit, line, |_| (221, "2.0.0 goodbye")).await?;
                Ok(Flow::Over)
            }
        }
    }

    async fn wrong(&mut self, line: &[u8], code: u16, text: &str) -> Result<Flow, End> {
        self.core.hear(String::from_utf8_lossy(line).into_owned());
        self.wrong += 1;
        if self.wrong > WRONG_MAX {
            self.say(421, "4.7.0 too many commands that are none").await?;
            return Ok(Flow::Over);
        }
        self.say(code, text).await?;
        Ok(Flow::On)
    }

    async fn simple(
        &mut self,
        step: Step,
        line: &str,
        work: impl FnOnce(&mut Self) -> (u16, &'static str),
    ) -> Result<Flow, End> {
        match self.gate(step, line).await? {
            Gate::Pass => {
                let (code, text) = work(self);
                self.say(code, text).await?;
                Ok(Flow::On)
            }
            Gate::Answered => Ok(Flow::On),
            Gate::Leave => Ok(Flow::Over),
        }
    }

    async fn hello(&mut self, line: &str, extended: bool, name: String) -> Result<Flow, End> {
        let without_tls = match self.core.faults.pick(Step::Hello, line) {
            Some(MailFault::NoStarttls) => true,
            Some(fault) => match self.instead(Step::Hello, &fault).await? {
                Gate::Pass => false,
                Gate::Answered => return Ok(Flow::On),
                Gate::Leave => return Ok(Flow::Over),
            },
            None => false,
        };
        self.forget_mail();
        self.hello = Some((name, extended));
        let own_name = self.core.settings.hostname.clone();
        if !extended {
            self.say(250, &own_name).await?;
            return Ok(Flow::On);
        }
        let size = format!("SIZE {}", self.core.settings.mail_bytes_max);
        let mut lines = vec![own_name.as_str(), "PIPELINING", &size, "8BITMIME", "SMTPUTF8", "DSN"];
        lines.push("ENHANCEDSTATUSCODES");
        if self.core.settings.tls.is_some() && !self.tls && !without_tls {
            lines.push("STARTTLS");
        }
        lines.push("AUTH PLAIN LOGIN");
        self.say_lines(250, &lines).await?;
        Ok(Flow::On)
    }

    async fn sender(&mut self, line: &str, path: Path) -> Result<Flow, End> {
        let account = self.core.settings.account.is_some();
        self.simple(Step::Sender, line, |session| {
            if session.hello.is_none() || session.sender.is_some() {
                return (503, "5.5.1 not now");
            }
            if account && session.user.is_none() {
                return (530, "5.7.0 prove who you are first");
            }
            if let Some(refusal) = session.refuse_sender(&path) {
                return refusal;
            }
            session.sender = Some(path);
            (250, "2.1.0 from there")
        })
        .await
    }

    fn refuse_sender(&self, path: &Path) -> Option<(u16, &'static str)> {
        if let Some(size) = path.parameter("SIZE") {
            match size.parse::<usize>() {
                Ok(size) if size <= self.core.settings.mail_bytes_max => {}
                Ok(_) => return Some((552, "5.3.4 the mail is too large")),
                Err(_) => return Some((501, "5.5.4 SIZE is a number")),
            }
        }
        let body = path.parameter("BODY");
        if body.is_some_and(|body| !["7BIT", "8BITMIME"].iter().any(|known| known.eq_ignore_ascii_case(body))) {
            return Some((501, "5.5.4 BODY is 7BIT or 8BITMIME"));
        }
        (!path.address.is_ascii() && path.parameter("SMTPUTF8").is_none()).then_some(NEEDS_UTF8)
    }

    async fn recipient(&mut self, line: &str, path: Path) -> Result<Flow, End> {
        self.simple(Step::Recipient, line, |session| {
            let Some(sender) = &session.sender else { return (503, "5.5.1 not now") };
            if !path.address.is_ascii() && sender.parameter("SMTPUTF8").is_none() {
                return NEEDS_UTF8;
            }
            if session.recipients.len() == RECIPIENTS_MAX {
                return (452, "4.5.3 too many recipients");
            }
            session.recipients.push(Recipient { address: path.address, parameters: path.parameters });
            (250, "2.1.5 to there")
        })
        .await
    }

    async fn data(&mut self, line: &str) -> Result<Flow, End> {
        match self.gate(Step::Data, line).await? {
            Gate::Pass => {}
            Gate::Answered => return Ok(Flow::On),
            Gate::Leave => return Ok(Flow::Over),
        }
        if self.sender.is_none() {
            self.say(503, "5.5.1 not now").await?;
            return Ok(Flow::On);
        }
        if self.recipients.is_empty() {
            self.say(554, "5.5.1 no valid recipients").await?;
            return Ok(Flow::On);
        }
        self.say(354, "go on, and end with a dot on a line of its own").await?;
        let fault = self.core.faults.pick(Step::Content, &self.subject());
        let leave_after = match &fault {
            Some(MailFault::CloseMidData { bytes }) => Some(*bytes),
            Some(_) | None => None,
        };
        let raw = match self.wire.data(self.core.settings.mail_bytes_max, leave_after).await? {
            Data::Whole(raw) => raw,
            Data::TooLarge => {
                self.forget_mail();
                self.say(552, "5.3.4 the mail is too large").await?;
                return Ok(Flow::On);
            }
            Data::Left => return Ok(Flow::Over),
        };
        if let Some(fault) = &fault {
            match self.instead(Step::Content, fault).await? {
                Gate::Pass => {}
                Gate::Answered => {
                    self.forget_mail();
                    return Ok(Flow::On);
                }
                Gate::Leave => return Ok(Flow::Over),
            }
        }
        self.take(raw, fault).await
    }

    /// Keeps the mail, and says so if it may.
    async fn take(&mut self, raw: Vec<u8>, fault: Option<MailFault>) -> Result<Flow, End> {
        let sender = self.sender.take().map(|path| (path.address, path.parameters));
        let (sender, sender_parameters) = sender.unwrap_or_default();
        let (hello, extended) = self.hello.clone().unwrap_or_default();
        let number = self.core.keep(
            Envelope {
                client: self.client,
                hello,
                extended,
                tls: self.tls,
                user: self.user.clone(),
                sender,
                sender_parameters,
                recipients: std::mem::take(&mut self.recipients),
            },
            raw,
        );
        match fault {
            Some(MailFault::CommitThenClose) => return Ok(Flow::Over),
            Some(MailFault::CommitThenHang) => {
                self.wire.outlast().await;
                return Ok(Flow::Over);
            }
            Some(MailFault::CommitThenSlow { milliseconds }) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            Some(_) | None => {}
        }
        self.say(250, &format!("2.0.0 kept as {number}")).await?;
        Ok(Flow::On)
    }

    /// What a rule for the content may be about: the sender and the recipients.
    fn subject(&self) -> String {
        let sender = self.sender.iter().map(|path| path.address.as_str());
        let everybody = sender.chain(self.recipients.iter().map(|recipient| recipient.address.as_str()));
        everybody.map(|address| format!("<{address}>")).collect::<Vec<_>>().join(" ")
    }

    fn forget_mail(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    async fn gate(&mut self, step: Step, line: &str) -> Result<Gate, End> {
        match self.core.faults.pick(step, line) {
            Some(fault) => self.instead(step, &fault).await,
            None => Ok(Gate::Pass),
        }
    }

    /// What a fault does before anything is done.
    async fn instead(&mut self, step: Step, fault: &MailFault) -> Result<Gate, End> {
        let (code, text) = match fault {
            MailFault::Refuse => refusal(step),
            MailFault::PutOff if step == Step::Auth => (454, "4.7.0 cannot look at that now"),
            MailFault::PutOff => (451, "4.3.0 come again later"),
            MailFault::Answer { code, text } => (*code, text.as_str()),
            MailFault::ShutDown => {
                self.say(421, "4.3.2 this server is shutting down").await?;
                return Ok(Gate::Leave);
            }
            MailFault::Close => return Ok(Gate::Leave),
            MailFault::Hang => {
                self.wire.outlast().await;
                return Ok(Gate::Leave);
            }
            MailFault::Slow { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                return Ok(Gate::Pass);
            }
            MailFault::CloseMidData { .. }
            | MailFault::CommitThenClose
            | MailFault::CommitThenHang
            | MailFault::CommitThenSlow { .. }
            | MailFault::NoStarttls => return Ok(Gate::Pass),
        };
        self.say(code, text).await?;
        Ok(Gate::Answered)
    }

    async fn say(&mut self, code: u16, text: &str) -> Result<(), End> {
        self.say_lines(code, &[text]).await
    }

    async fn say_lines(&mut self, code: u16, lines: &[&str]) -> Result<(), End> {
        let last = lines.len().saturating_sub(1);
        let code = code.to_string();
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            text.extend([code.as_str(), if index == last { " " } else { "-" }, line, "\r\n"]);
        }
        self.wire.write(text.as_bytes()).await
    }
}

const NEEDS_UTF8: (u16, &str) = (553, "5.6.7 this address needs SMTPUTF8");

fn refusal(step: Step) -> (u16, &'static str) {
    match step {
        Step::Connect => (554, "5.7.1 not from there"),
        Step::Auth => (535, "5.7.8 wrong name or password"),
        Step::Sender => (550, "5.7.1 not from there"),
        Step::Recipient => (550, "5.1.1 nobody of this name"),
        Step::Data | Step::Content => (554, "5.7.1 this mail is not wanted"),
        Step::Starttls => (454, "4.7.0 no TLS now"),
        Step::Any | Step::Hello | Step::Reset | Step::Quit => (550, "5.7.1 not wanted"),
    }
}

/// The line as it is remembered: without what could be a password.
fn heard(line: &str, command: &Command) -> String {
    match command {
        Command::Auth { mechanism, .. } => format!("AUTH {mechanism}"),
        Command::Hello { .. }
        | Command::Starttls
        | Command::Sender(_)
        | Command::Recipient(_)
        | Command::Data
        | Command::Reset
        | Command::Noop
        | Command::Quit
        | Command::Verify => line.to_owned(),
    }
}
