//! A small SMTP client: hands one raw mail over and tells every answer. It neither retries nor uses TLS.

use std::time::Duration;

use tokio::net::TcpStream;

use super::target::MailTarget;
use super::wire::{self, End, Wire};

/// No answer of a gateway takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of one answer; more are nonsense.
const ANSWER_LINES_MAX: usize = 100;

/// A mail to hand over, with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMail {
    /// What the client calls itself.
    pub hello: String,
    /// Empty for a bounce.
    pub sender: String,
    pub recipients: Vec<String>,
    /// Goes as it is: line ends are the caller's affair. Dots are doubled on the way.
    pub raw: Vec<u8>,
}

impl OutgoingMail {
    pub fn new(sender: &str, recipient: &str, raw: impl Into<Vec<u8>>) -> Self {
        Self {
            hello: "customer.test".to_owned(),
            sender: sender.to_owned(),
            recipients: vec![recipient.to_owned()],
            raw: raw.into(),
        }
    }
}

/// One answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Without their codes.
    pub lines: Vec<String>,
}

impl Reply {
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// `250 2.0.0 kept as 7`.
    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" ")).trim_end().to_owned()
    }
}

/// What was said and answered, in order, up to the answer that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The step, e.g. `RCPT TO:<kim@acme.test>`, and its answer.
    pub steps: Vec<(String, Reply)>,
}

impl Handover {
    pub fn codes(&self) -> Vec<u16> {
        self.steps.iter().map(|(_, reply)| reply.code).collect()
    }

    /// The step that decided, and its answer.
    pub fn last(&self) -> Option<(&str, &Reply)> {
        self.steps.last().map(|(step, reply)| (step.as_str(), reply))
    }

    /// Whether the server is responsible for the mail now, for all whom it did not refuse.
    pub fn is_taken(&self) -> bool {
        self.last().is_some_and(|(step, reply)| step == CONTENT && reply.is_positive())
    }

    /// Recipients that were refused, each with the answer.
    pub fn refused(&self) -> Vec<(&str, &Reply)> {
        let recipients = self.steps.iter().filter(|(step, reply)| step.starts_with(RCPT) && !reply.is_positive());
        recipients.map(|(step, reply)| (step.trim_start_matches(RCPT).trim_matches(['<', '>']), reply)).collect()
    }
}

/// Why there is no last answer.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("cannot connect to {0}: {1}")]
    Connect(MailTarget, std::io::Error),
    /// What was answered before is told too.
    #[error("no answer to {step}: {reason}")]
    Broken { step: String, reason: String, before: Handover },
}

/// The step that decides when everything before went well.
const CONTENT: &str = "the mail";
const RCPT: &str = "RCPT TO:";

/// Hands the mail to the server there.
pub(super) async fn hand_over(to: &MailTarget, mail: &OutgoingMail) -> Result<Handover, HandoverError> {
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(to.as_str())).await;
    let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(|error| HandoverError::Connect(to.clone(), error))?;
    let mut talk = Talk { wire: Wire::new(stream, PATIENCE), steps: Vec::new(), step: "the connection".to_owned() };
    match talk.whole(mail).await {
        Ok(()) => Ok(Handover { steps: talk.steps }),
        Err(end) => Err(HandoverError::Broken {
            step: talk.step,
            reason: end.to_string(),
            before: Handover { steps: talk.steps },
        }),
    }
}

struct Talk {
    wire: Wire<TcpStream>,
    steps: Vec<(String, Reply)>,
    /// What is waited for.
    step: String,
}

impl Talk {
    async fn whole(&mut self, mail: &OutgoingMail) -> Result<(), End> {
        let decided = self.envelope_and_mail(mail).await;
        // The mail's fate is known; what becomes of the goodbye is nobody's concern.
        if decided.is_ok() && self.wire.write(b"QUIT\r\n").await.is_ok() {
            drop(self.reply().await);
        }
        decided
    }

    /// Returns at the first answer that decides.
    async fn envelope_and_mail(&mut self, mail: &OutgoingMail) -> Result<(), End> {
        if !self.answer().await? || !self.command(format!("EHLO {}", mail.hello)).await? {
            return Ok(());
        }
        let offers = self.steps.last().map(|(_, reply)| reply.lines.clone()).unwrap_or_default();
        if !self.command(sender_line(mail, &offers)).await? {
            return Ok(());
        }
        let mut anybody = false;
        for recipient in &mail.recipients {
            anybody |= self.command(format!("{RCPT}<{recipient}>")).await?;
        }
        if !anybody || !self.command("DATA".to_owned()).await? {
            return Ok(());
        }
        CONTENT.clone_into(&mut self.step);
        self.wire.write(&wire::stuffed(&mail.raw)).await?;
        self.answer().await?;
        Ok(())
    }

    async fn command(&mut self, line: String) -> Result<bool, End> {
        let sent = format!("{line}\r\n");
        self.step = line;
        self.wire.write(sent.as_bytes()).await?;
        self.answer().await
    }

    /// Notes the answer to the current step; true when it is a good one.
    async fn answer(&mut self) -> Result<bool, End> {
        let reply = self.reply().await?;
        let positive = reply.is_positive();
        self.steps.push((self.step.clone(), reply));
        Ok(positive)
    }

    async fn reply(&mut self) -> Result<Reply, End> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line().await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let (code, more, text) = reply_line(&line).ok_or_else(|| nonsense(&line))?;
            lines.push(text.to_owned());
            if !more {
                return Ok(Reply { code, lines });
            }
            if lines.len() == ANSWER_LINES_MAX {
                return Err(nonsense("an answer without an end"));
            }
        }
    }
}

fn nonsense(line: &str) -> End {
    End::Broken(std::io::Error::other(format!("this is no answer of a mail server: {line:?}")))
}

/// Code, whether more lines follow, and text.
fn reply_line(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
    match line.as_bytes().get(3) {
        None => Some((code, false, "")),
        Some(b' ') => Some((code, false, &line[4..])),
        Some(b'-') => Some((code, true, &line[4..])),
        Some(_) => None,
    }
}

/// `MAIL FROM` with what the server offers and the mail needs.
fn sender_line(mail: &OutgoingMail, offers: &[String]) -> String {
    let offered = |name: &str| offers.iter().any(|line| line.split(' ').next() == Some(name));
    let mut line = format!("MAIL FROM:<{}>", mail.sender);
    if offered("SIZE") {
        line.extend([" SIZE=", &mail.raw.len().to_string()]);
    }
    if offered("8BITMIME") && !mail.raw.is_ascii() {
        line.push_str(" BODY=8BITMIME");
    }
    let addresses_are_ascii = mail.sender.is_ascii() && mail.recipients.iter().all(|address| address.is_ascii());
    if offered("SMTPUTF8") && !addresses_are_ascii {
        line.push_str(" SMTPUTF8");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        assert_eq!(reply_line("250 ok"), Some((250, false, "ok")));
        assert_eq!(reply_line("250-SIZE 5"), Some((250, true, "SIZE 5")));
        assert_eq!(reply_line("354"), Some((354, false, "")));
        for line in ["", "25", "250x", "abc ok", "600 ok", "199 ok", "2é"] {
            assert_eq!(reply_line(line), None, "{line}");
        }
    }

    #[test]
    fn only_what_is_offered_and_needed_is_asked_for() {
        let offers = ["x", "SIZE 9", "8BITMIME", "SMTPUTF8"].map(ToOwned::to_owned);
        let mut mail = OutgoingMail::new("a@b.test", "c@d.test", "x\r\n");
        assert_eq!(sender_line(&mail, &[]), "MAIL FROM:<a@b.test>");
        assert_eq!(sender_line(&mail, &offers), "MAIL FROM:<a@b.test> SIZE=3");
        mail.raw = "ä".into();
        mail.recipients = vec!["ü@d.test".to_owned()];
        assert_eq!(sender_line(&mail, &offers), "MAIL FROM:<a@b.test> SIZE=2 BODY=8BITMIME SMTPUTF8");
    }
}
