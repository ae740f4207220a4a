//! A relay that says anything at all.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bridge_api::{
    FaultKind, Secret,
    kit::fuzz::{Target, pieces},
};

use super::{
    envelope::Addressed,
    machine::{Input, Machine, Manners, Output},
};
use crate::{address::Address, settings::Security};

/// Whatever a relay says, in whatever pieces: each line to it is one command of ours, nothing of worth goes out in clear,
/// a mail counts as taken, or in doubt, only when its end was written, and what people read of it is one line.
pub(crate) const RELAY: Target = Target { name: "smtp_relay", check: relay, runs: 6_000 };

const PASSWORD: &str = "canary-word";

fn relay(data: &[u8]) {
    for security in [Security::None, Security::Starttls, Security::Tls] {
        let whole = played(security, data, |reply| vec![reply]);
        assert_eq!(played(security, data, pieces), whole);
    }
}

/// All that it did. Each reply comes by itself: what comes before its command is no reply, however it is cut.
fn played(security: Security, data: &[u8], cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Vec<String> {
    let login = Some(("ada".to_owned(), Secret::new(PASSWORD)));
    let manners = Manners { hostname: "desk.test".to_owned(), security, login };
    let mut play = Play {
        machine: Machine::new(Arc::new(manners)),
        secure: security == Security::Tls,
        security,
        finishing: false,
        said: Vec::new(),
    };
    play.input(Input::Connected { loopback: security == Security::None });
    for reply in replies(data) {
        for piece in cut(reply) {
            play.input(Input::Bytes(piece));
        }
    }
    play.said
}

/// The stream up to the end of each reply: a line in which no `-` follows the code.
fn replies(data: &[u8]) -> Vec<&[u8]> {
    let mut replies = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line.get(3) != Some(&b'-') {
            replies.push(&data[start..at]);
            start = at;
        }
    }
    replies.push(&data[start..]);
    replies
}

struct Play {
    machine: Machine,
    security: Security,
    secure: bool,
    /// The data of a mail was written, and its last dot.
    finishing: bool,
    said: Vec<String>,
}

impl Play {
    fn input(&mut self, input: Input<'_>) {
        self.machine.handle(input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Write(bytes) => self.wrote(&bytes),
                Output::Secure => {
                    self.secure = true;
                    self.machine.handle(Input::Secured);
                }
                Output::Ready => self.machine.handle(Input::Mail(mail())),
                Output::Body => {
                    self.finishing = true;
                    self.machine.handle(Input::Finishing);
                }
                Output::Accepted(accepted) => {
                    assert!(std::mem::take(&mut self.finishing), "taken before its end");
                    assert_one_line(&accepted.words);
                    self.said.push(format!("{accepted:?}"));
                    self.machine.handle(Input::Reset);
                }
                Output::Failed(fault) => {
                    let doubt = fault.kind == FaultKind::Unknown;
                    assert!(!doubt || std::mem::take(&mut self.finishing), "in doubt before its end");
                    self.finishing = false;
                    assert_one_line(&fault.reason);
                    self.said.push(format!("{fault:?}"));
                }
            }
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let line = std::str::from_utf8(bytes).expect("text").strip_suffix("\r\n").expect("a whole line");
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?} is more than a command");
        let secrets = [PASSWORD.to_owned(), STANDARD.encode(PASSWORD), STANDARD.encode(format!("\0ada\0{PASSWORD}"))];
        let guarded = ["MAIL", "RCPT", "DATA", "AUTH"].iter().any(|verb| line.starts_with(verb));
        let secret = secrets.iter().any(|secret| line.contains(secret));
        assert!(self.secure || self.security == Security::None || !(guarded || secret), "{line:?} in clear");
        self.said.push(line.to_owned());
    }
}

fn mail() -> Addressed {
    let address = |text: &str| Address::parse(text).expect("an address");
    Addressed {
        sender: Some(address("desk@acme.test")),
        recipients: vec![address("ada@cust.test")],
        copies: vec![address("bob@cust.test")],
        envelope_id: Some("id+1".to_owned()),
        bytes: Some(1_000),
    }
}

fn assert_one_line(words: &str) {
    let turns = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    assert!(!words.contains(turns) && words.chars().count() <= 1_000, "{words:?}");
}
