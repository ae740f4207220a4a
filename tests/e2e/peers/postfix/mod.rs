//! Postfix in the two places where a mail server stands: before the gateway, which gets its mail, and behind it, as
//! the relay that delivers answers into mailboxes, refuses strangers, and writes real bounces.

mod layout;
mod letter;
mod maildir;

pub(crate) use layout::{NOBODY, daemon};
pub(crate) use letter::Letter;
pub(crate) use maildir::Maildir;

use std::{fmt, fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{have, is_root, write};
use crate::{
    process::{Process, free_port, run},
    wait::{PATIENCE, until, until_within},
};

/// The domain of the desk.
pub(crate) const OURS: &str = "support.test";
/// The domain of customers, whose mailboxes are here.
pub(crate) const THEIRS: &str = "cust.test";
/// Who has a mailbox, beside `p0`, `p1` and so on.
const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];
const NUMBERED: usize = 32;

fn people() -> impl Iterator<Item = String> {
    PEOPLE.map(ToOwned::to_owned).into_iter().chain((0..NUMBERED).map(|number| format!("p{number}")))
}

/// How mail for [`OURS`] is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandIn {
    Smtp,
    Lmtp,
}

impl fmt::Display for HandIn {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
        })
    }
}

#[derive(Debug)]
pub(crate) struct Postfix {
    process: Option<Process>,
    folder: TempDir,
    /// Takes mail for [`OURS`] and [`THEIRS`] from anybody.
    pub(crate) front: u16,
    /// Takes what the desk sends. Offers STARTTLS.
    pub(crate) smarthost: u16,
}

impl Postfix {
    /// Whether it can be had. Its daemons take the rights of others, which only root may.
    pub(crate) fn present() -> bool {
        if !have(&["postfix", "postqueue", "smtp-source", "smtp-sink", "swaks"]) {
            return false;
        }
        if !is_root() {
            let text = "Postfix runs as root only";
            assert!(std::env::var_os("CI").is_none(), "{text}");
            eprintln!("\n*** SKIPPED: {text} ***\n");
            return false;
        }
        true
    }

    /// What is for [`OURS`] goes to this port.
    pub(crate) fn start(hand_in: HandIn, desk: u16) -> Self {
        let folder = super::folder();
        let (front, smarthost) = (free_port(), free_port());
        let place = folder.path().display();
        certify(folder.path());
        let boxes: Vec<_> = people().map(|name| format!("{name}@{THEIRS} {name}/")).collect();
        write(folder.path(), "people", &(boxes.join("\n") + "\n"));
        // Everything is tried again soon, and nobody is counted.
        let main = format!(
            "relay_domains = {OURS}
relay_transport = {hand_in}:[127.0.0.1]:{desk}
virtual_mailbox_domains = {THEIRS}
virtual_mailbox_maps = texthash:{place}/people
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
transport_retry_time = 2s
in_flow_delay = 0
message_size_limit = 0
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_tls_cert_file = {place}/certificate.pem
smtpd_tls_key_file = {place}/key.pem
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
"
        );
        // A stranger is refused by the queue rather than at the door, so that somebody has to write a bounce.
        let relay = " -o smtpd_reject_unlisted_recipient=no -o smtpd_tls_security_level=may";
        let anybody = " -o smtpd_relay_restrictions=reject_unauth_destination";
        layout::lay_out(folder.path(), &main, &[(front, anybody), (smarthost, relay)]).expect("root writes files");
        let mut server = Self { process: None, folder, front, smarthost };
        server.come_up();
        server
    }

    /// As a power cut. What it has taken stays in its queue.
    pub(crate) fn go_down(&mut self) {
        layout::end(self.folder.path());
        self.process = None;
    }

    pub(crate) fn come_up(&mut self) {
        let mut process = Process::spawn(layout::start(self.folder.path()), "postfix", self.folder.path());
        for port in [self.front, self.smarthost] {
            until("Postfix to greet", || {
                if let Some(status) = process.ended() {
                    panic!("Postfix ended at its start: {status}\n{}\n{}", process.err(), self.log());
                }
                greets(port).map_err(|error| error.to_string())
            });
        }
        self.process = Some(process);
    }

    pub(crate) fn log(&self) -> String {
        fs::read(self.folder.path().join("log/mail"))
            .map_or_else(|error| format!("no log: {error}"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The authority to trust for its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Of one of the people who have one.
    pub(crate) fn mailbox(&self, name: &str) -> Maildir {
        assert!(people().any(|own| own == name), "{name} has no mailbox");
        Maildir::at(self.folder.path().join("boxes").join(name))
    }

    /// Whom the mails in its queue are for.
    pub(crate) fn queued(&self) -> Vec<String> {
        let mut command = std::process::Command::new(daemon("postqueue"));
        command.arg("-c").arg(self.folder.path()).arg("-j");
        let ran = run(command);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let mails = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        mails.map(|mail| mail["recipients"][0]["address"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns once everything has gone where it should, or back.
    pub(crate) fn until_empty(&self) {
        until_within(PATIENCE * 3, "the queue of Postfix to be empty", || {
            let queued = self.queued();
            if queued.is_empty() { Ok(()) } else { Err(format!("{} mails, {:?}", queued.len(), queued.first())) }
        });
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.go_down();
        if std::thread::panicking() {
            eprintln!("--- the log of Postfix\n{}", self.log());
        }
    }
}

fn greets(port: u16) -> std::io::Result<()> {
    use std::io::{BufRead, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
    let mut reader = std::io::BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("220 ") {
        return Err(std::io::Error::other(line));
    }
    stream.write_all(b"QUIT\r\n")?;
    reader.read_line(&mut line).map(drop)
}

/// A certificate of its own, for the address and the name by which it is called.
fn certify(folder: &std::path::Path) {
    let names = ["127.0.0.1", "localhost"].map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names).expect("a key is made");
    write(folder, "certificate.pem", &made.cert.pem());
    write(folder, "key.pem", &made.signing_key.serialize_pem());
}
