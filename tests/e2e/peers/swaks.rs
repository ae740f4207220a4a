//! swaks: one mail at a time, by a client that is not the gateway's own, in every way in which a mail can be sent.

use std::process::Command;

use tempfile::TempDir;

use super::write;
use crate::process::run;

/// What a mail holds. Everything beyond the envelope is optional.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    from: String,
    to: Vec<String>,
    headers: Vec<(String, String)>,
    text: Option<String>,
    html: Option<String>,
    /// Name, media type, content.
    files: Vec<(String, String, Vec<u8>)>,
}

impl Mail {
    pub(crate) fn new(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: vec![to.to_owned()], ..Self::default() }
    }

    /// Replaces what swaks would write by itself.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn subject(self, subject: &str) -> Self {
        self.header("Subject", subject)
    }

    /// With its brackets.
    pub(crate) fn id(self, id: &str) -> Self {
        self.header("Message-Id", id)
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// Beside the text, for who can read it.
    pub(crate) fn html(mut self, html: &str) -> Self {
        self.html = Some(html.to_owned());
        self
    }

    /// `name` stands in the mail as it is given, so it can be one in somebody's encoding.
    pub(crate) fn file(mut self, name: &str, media_type: &str, bytes: &[u8]) -> Self {
        self.files.push((name.to_owned(), media_type.to_owned(), bytes.to_owned()));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    None,
    StartTls,
}

/// Where and how mails are sent.
#[derive(Clone, Debug)]
pub(crate) struct Swaks {
    port: u16,
    protocol: &'static str,
    security: Security,
    pipeline: bool,
}

/// What came of it: the conversation as swaks shows it, ` -> ` before what it said and `<-  ` before answers.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    code: Option<i32>,
    pub(crate) transcript: String,
}

impl Sent {
    /// Whether a recipient was accepted and the mail was.
    pub(crate) fn is_taken(&self) -> bool {
        self.code == Some(0)
    }

    /// The last thing that the server said before it was told good-bye.
    pub(crate) fn last_answer(&self) -> &str {
        let said = self.transcript.split("-> QUIT").next().unwrap_or_default();
        let mut answers = said.lines().filter_map(|line| line.strip_prefix('<'));
        answers.next_back().map_or("", |line| line.trim_start_matches(['-', '~', '*', ' ']))
    }
}

impl Swaks {
    pub(crate) fn to(port: u16) -> Self {
        Self { port, protocol: "ESMTP", security: Security::None, pipeline: false }
    }

    pub(crate) fn lmtp(mut self) -> Self {
        self.protocol = "LMTP";
        self
    }

    /// STARTTLS, or nothing is sent.
    pub(crate) fn tls(mut self) -> Self {
        self.security = Security::StartTls;
        self
    }

    pub(crate) fn pipeline(mut self) -> Self {
        self.pipeline = true;
        self
    }

    /// Sends it, and asserts that it was taken.
    pub(crate) fn send(&self, mail: &Mail) -> Sent {
        let sent = self.try_send(mail);
        assert!(sent.is_taken(), "{}", sent.transcript);
        sent
    }

    pub(crate) fn try_send(&self, mail: &Mail) -> Sent {
        let folder = super::folder();
        let ran = run(self.command(mail, &folder));
        Sent { code: ran.code, transcript: format!("{}{}", ran.out, ran.err) }
    }

    fn command(&self, mail: &Mail, folder: &TempDir) -> Command {
        let mut command = Command::new("swaks");
        // Its home may hold settings of somebody's.
        command.env_remove("SWAKS_HOME").env("HOME", folder.path());
        command.args(["--server", "127.0.0.1", "--port", &self.port.to_string(), "--protocol", self.protocol]);
        command.args(["--helo", "client.cust.test", "--timeout", "30"]);
        command.args(["--from", &mail.from, "--to", &mail.to.join(",")]);
        if self.security == Security::StartTls {
            command.arg("--tls");
        }
        if self.pipeline {
            command.arg("--pipeline");
        }
        for (name, value) in &mail.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        // From files, since swaks reads escapes in what stands on its command line.
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file is written");
            format!("@{}", path.display())
        };
        let (text, html) = (mail.text.as_deref(), mail.html.as_deref());
        if html.is_none() && mail.files.is_empty() {
            if text.is_some_and(|text| !text.is_ascii()) {
                command.args(["--header", "MIME-Version: 1.0", "--header", "Content-Type: text/plain; charset=utf-8"]);
                command.args(["--header", "Content-Transfer-Encoding: 8bit"]);
            }
            command.args(["--body", &at("text", text.unwrap_or_default().as_bytes())]);
            return command;
        }
        for (name, body) in [("plain", text), ("html", html)] {
            if let Some(body) = body {
                let kind = format!("text/{name}; charset=utf-8");
                command.args(["--attach-type", &kind, "--attach-name", "--attach-body", &at(name, body.as_bytes())]);
            }
        }
        for (number, (name, kind, bytes)) in mail.files.iter().enumerate() {
            let content = at(&format!("file{number}"), bytes);
            command.args(["--attach-type", kind, "--attach-name", name, "--attach", &content]);
        }
        command
    }
}

/// A file that holds exactly these bytes, dots and line ends included, from the first header on.
pub(crate) fn raw(port: u16, from: &str, to: &str, mail: &str) -> Sent {
    let folder = super::folder();
    let path = write(folder.path(), "mail", mail);
    let mut command = Command::new("swaks");
    command.env_remove("SWAKS_HOME").env("HOME", folder.path());
    command.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--helo", "client.cust.test"]);
    command.args(["--timeout", "30", "--from", from, "--to", to, "--no-data-fixup"]);
    command.arg("--data").arg(format!("@{}", path.display()));
    let ran = run(command);
    Sent { code: ran.code, transcript: format!("{}{}", ran.out, ran.err) }
}
