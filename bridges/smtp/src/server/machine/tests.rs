//! Transcripts: what a client sends, and exactly what it hears and what is kept.

use std::time::{Duration, Instant};

use super::{super::timing::TIMING, *};
use crate::settings::Settings;

mod mails;
mod order;
mod properties;
mod recipients;
mod times;

/// A session with a driver that does what it is told to.
struct Client {
    machine: Machine,
    now: Now,
    /// What the driver says.
    admission: Admission,
    stores: bool,
    asked: Vec<u64>,
    replies: Vec<u8>,
    writes: usize,
    body: Vec<u8>,
    kept: Vec<(Envelope, Vec<u8>)>,
    refused: usize,
    closed: Option<&'static str>,
}

fn ours(addresses: &[&str]) -> Ours {
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "listen": "127.0.0.1:0", "hostname": "mx.acme.test", "addresses": addresses,
        "from": "Acme <support@acme.test>", "relay": { "host": "relay.test" }
    }))
    .unwrap();
    settings.check().unwrap();
    settings.ours()
}

fn site() -> Site {
    Site {
        hostname: "mx.acme.test".to_owned(),
        ours: ours(&["support@acme.test", "sales@acme.test", "@any.test"]),
        postmaster: Address::parse("postmaster@acme.test").unwrap(),
        mail_bytes_max: 1024 * 1024,
        bare_newline: BareNewline::Reject,
        lmtp: false,
        starttls: true,
        timing: TIMING,
    }
}

fn lmtp() -> Site {
    Site { lmtp: true, starttls: false, ..site() }
}

impl Client {
    fn of(site: Site) -> Self {
        let now = Now { at: Instant::now(), millis: 1_000, crowded: false };
        Self {
            machine: Machine::new(Arc::new(site), [192, 0, 2, 7].into(), false, now),
            now,
            admission: Admission::Welcome,
            stores: true,
            asked: Vec::new(),
            replies: Vec::new(),
            writes: 0,
            body: Vec::new(),
            kept: Vec::new(),
            refused: 0,
            closed: None,
        }
    }
    /// Greeted, and known by name.
    fn known(site: Site) -> Self {
        let hello = if site.lmtp { "LHLO mx.cust.test\r\n" } else { "EHLO mx.cust.test\r\n" };
        let mut client = Self::of(site);
        client.input(Input::Greet);
        client.say(hello);
        client
    }
    /// With an open transaction for `support@acme.test`.
    fn begun(site: Site) -> Self {
        let mut client = Self::known(site);
        assert_eq!(codes(&client.say("MAIL FROM:<ada@cust.test>\r\nRCPT TO:<support@acme.test>\r\n")), "250 250");
        client
    }
    fn input(&mut self, input: Input<'_>) {
        assert!(self.closed.is_none(), "there is no client any more");
        self.machine.handle(input, self.now);
        while let Some(output) = self.machine.poll() {
            assert!(self.closed.is_none(), "an output behind the last one: {output:?}");
            match output {
                Output::Write(bytes) => {
                    self.writes += 1;
                    self.replies.extend(bytes);
                }
                Output::Ask { bytes } => {
                    self.asked.push(bytes);
                    self.machine.handle(Input::Admit(self.admission), self.now);
                }
                Output::Body(piece) => self.body.extend(piece),
                Output::Discard => self.body.clear(),
                Output::Store(envelope) => {
                    let body = std::mem::take(&mut self.body);
                    assert_eq!(envelope.bytes, body.len() as u64);
                    let id = KeptId::from(format!("{:032x}", self.kept.len()));
                    if self.stores {
                        self.kept.push((envelope, body));
                    } else {
                        self.refused += 1;
                    }
                    self.machine.handle(Input::Stored(self.stores.then_some(id)), self.now);
                }
                Output::StartTls => self.machine.handle(Input::Secured, self.now),
                Output::Close(why) => self.closed = Some(why),
            }
        }
    }
    /// What is answered to this, sent at once.
    fn say(&mut self, text: &str) -> String {
        self.send(text.as_bytes())
    }
    fn send(&mut self, bytes: &[u8]) -> String {
        self.input(Input::Bytes(bytes));
        self.heard()
    }
    fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.replies)).unwrap()
    }
    fn wait(&mut self, time: Duration) {
        self.now.at += time;
    }
}

/// The codes of all replies, a reply of many lines once.
fn codes(replies: &str) -> String {
    let ends = replies.split("\r\n").filter(|line| line.as_bytes().get(3) == Some(&b' '));
    ends.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}
