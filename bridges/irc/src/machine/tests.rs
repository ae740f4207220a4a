//! Transcripts: given these lines at these times, exactly these outputs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::{BridgeState, Cursor, Fault, FaultKind, Inbound, Outbound, Part, Report, Sent, ThreadId};
use serde_json::{Value, json};

use super::*;

mod channels;
mod connection;
mod delivery;
mod history;
mod identity;
mod login;
mod notes;
mod properties;

/// A machine with a virtual clock, and everything that it said.
struct Play {
    machine: Machine,
    start: Instant,
    now: Now,
    written: Vec<String>,
    written_at: Vec<Duration>,
    events: Vec<Inbound>,
    cursors: BTreeMap<String, String>,
    settled: Vec<(Ticket, Result<Option<Sent>, Fault>)>,
    states: Vec<BridgeState>,
    closes: bool,
    redial: Option<Duration>,
    tickets: Ticket,
    epochs: u32,
}

const START_MILLIS: i64 = 1_800_000_000_000;

fn settings(more: &Value) -> Settings {
    let mut table = json!({ "server": "irc.example", "nick": "help", "tls": false });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(table).unwrap();
    settings.check().unwrap();
    settings
}

impl Play {
    fn new(more: &Value) -> Self {
        Self::after(more, BTreeMap::new())
    }

    /// A new process that finds what an earlier one saved.
    fn after(more: &Value, cursors: BTreeMap<String, String>) -> Self {
        let start = Instant::now();
        let now = Now { at: start, millis: START_MILLIS };
        let machine = Machine::new(Arc::new(settings(more)), 7, now);
        let mut play = Self {
            machine,
            start,
            now,
            written: Vec::new(),
            written_at: Vec::new(),
            events: Vec::new(),
            cursors: BTreeMap::new(),
            settled: Vec::new(),
            states: Vec::new(),
            closes: false,
            redial: None,
            tickets: 0,
            epochs: 0,
        };
        let saved = cursors.iter().map(|(name, value)| Cursor::set(name, value)).collect();
        play.cursors = cursors;
        play.input(Input::Remember(saved));
        play
    }

    fn input(&mut self, input: Input<'_>) {
        self.machine.handle(input, self.now);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Write(line) => {
                    let line = String::from_utf8(line).unwrap();
                    self.written.push(line.strip_suffix("\r\n").expect("a whole line").to_owned());
                    self.written_at.push(self.now.at - self.start);
                }
                Output::Event(event) => self.events.push(event),
                Output::Cursor(Cursor { name, value: Some(value) }) => {
                    self.cursors.insert(name, value);
                }
                Output::Cursor(Cursor { name, value: None }) => {
                    self.cursors.remove(&name);
                }
                Output::Settled(ticket, result) => self.settled.push((ticket, result)),
                Output::State(state) => self.states.push(state),
                Output::Close => self.closes = true,
                Output::Redial(wait) => self.redial = Some(wait),
            }
        }
    }

    fn connect(&mut self) {
        self.connect_with(false);
    }

    fn connect_with(&mut self, secure: bool) {
        self.epochs += 1;
        let epoch = format!("e{}", self.epochs);
        self.closes = false;
        self.redial = None;
        self.input(Input::Connected { secure, epoch, nonce: "rOprNGfwEbeRWgbNEkqO".to_owned() });
    }

    fn closed(&mut self) {
        self.input(Input::Closed { reason: "reset".to_owned() });
    }

    /// One or more lines from the server.
    fn read(&mut self, lines: &str) {
        for line in lines.lines() {
            self.input(Input::Bytes(format!("{}\r\n", line.trim_start()).as_bytes()));
        }
    }

    /// Lets time pass, waking the machine whenever it asks to be.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.at + duration;
        for _ in 0..100_000 {
            let wake = self.machine.wake().map(|(at, _)| at.max(self.now.at)).filter(|at| *at <= end);
            let next = wake.unwrap_or(end);
            self.now.millis += (next - self.now.at).as_millis() as i64;
            self.now.at = next;
            self.input(Input::Tick);
            if wake.is_none() {
                return;
            }
        }
        panic!("the machine never sleeps: {:?}", self.machine.wake().map(|(_, why)| why));
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// What was written since the last look.
    fn wrote(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written)
    }

    fn expect(&mut self, lines: &[&str]) {
        assert_eq!(self.wrote(), lines);
    }

    fn send(&mut self, thread: &str, text: &str) -> Ticket {
        self.tickets += 1;
        let key = format!("support/{}/0", self.tickets);
        self.send_as(&key, thread, text)
    }

    fn send_as(&mut self, key: &str, thread: &str, text: &str) -> Ticket {
        let ticket = self.tickets;
        self.input(Input::Send { ticket, out: outbound(key, thread, text) });
        ticket
    }

    fn probe(&mut self, key: &str) -> Result<Option<Sent>, Fault> {
        let settled = self.settled.len();
        self.input(Input::Probe { ticket: 0, out: outbound(key, "s:0", "x") });
        assert_eq!(self.settled.len(), settled + 1, "a probe is answered at once");
        self.settled.pop().unwrap().1
    }

    /// The outcome of the last settled reply.
    fn outcome(&mut self) -> Result<Option<Sent>, Fault> {
        self.settled.pop().expect("something was settled").1
    }

    fn kind(&mut self) -> FaultKind {
        self.outcome().expect_err("it failed").kind
    }

    fn texts(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| message_of(event)).map(|message| message.text.as_str()).collect()
    }

    /// Notes for the agent, with their threads.
    fn notes(&self) -> Vec<(String, &str)> {
        self.events.iter().filter_map(|event| Some((event.thread.to_string(), note_of(event)?))).collect()
    }

    fn thread(&self, index: usize) -> String {
        self.events[index].thread.to_string()
    }

    /// A server like ngIRCd: hardly a capability, no services, no MONITOR.
    fn ngircd(more: &Value) -> Self {
        let mut play = Self::new(more);
        play.connect();
        play.welcome_ngircd();
        play
    }

    fn welcome_ngircd(&mut self) {
        self.read(":irc.test CAP * LS :multi-prefix \n:irc.test CAP help ACK :multi-prefix ");
        self.read(
            ":irc.test 001 help :Welcome to the Internet Relay Network help!~help@host.example
             :irc.test 002 help :Your host is irc.test, running version ngircd-26.1 (x86_64)
             :irc.test 004 help irc.test ngircd-26.1 abBcCFiIoqrRswx abehiIklmMnoOPqQrRstvVz
             :irc.test 005 help RFC2812 IRCD=ngIRCd CHARSET=UTF-8 CASEMAPPING=ascii PREFIX=(qaohv)~&@%+ CHANTYPES=#&+ :are supported
             :irc.test 005 help CHANNELLEN=50 NICKLEN=16 TOPICLEN=490 PENALTY FNC :are supported on this server
             :irc.test 422 help :MOTD file is missing",
        );
        self.settle_down();
    }

    /// Answers the look at ourselves, and lets the pace recover.
    fn settle_down(&mut self) {
        self.pass_seconds(5);
        if self.wrote().contains(&"WHOIS help help".to_owned()) {
            self.read(&whois("help", "~help@host.example", START_MILLIS / 1000));
        }
        self.pass_seconds(10);
        self.wrote();
        self.now.millis = START_MILLIS;
    }

    /// A server like `InspIRCd` with services: tags, echo, labels, MONITOR.
    fn inspircd(more: &Value) -> Self {
        Self::modern(
            more,
            "account-notify account-tag batch chghost echo-message extended-join labeled-response message-tags server-time",
        )
    }

    fn modern(more: &Value, caps: &str) -> Self {
        let mut play = Self::new(more);
        play.connect();
        play.welcome_modern(caps);
        play
    }

    fn welcome_modern(&mut self, caps: &str) {
        self.read(&format!(":irc.test CAP * LS :{caps}\n:irc.test CAP help ACK :{caps}"));
        self.read(
            ":irc.test 001 help :Welcome to the Network help!help@host.example
             :irc.test 004 help irc.test InspIRCd-3 BIRgiorswx :BRbeg
             :irc.test 005 help CASEMAPPING=ascii LINELEN=512 MONITOR=30 NICKLEN=30 USERLEN=10 HOSTLEN=64 :are supported
             :irc.test 422 help :Message of the day file is missing.",
        );
        self.settle_down();
    }

    fn is_up(&self) -> bool {
        matches!(self.states.last(), Some(BridgeState::Up))
    }
}

fn outbound(key: &str, thread: &str, text: &str) -> Outbound {
    let part = Part::Text { text: text.to_owned(), reply_to: None };
    Outbound {
        key: key.into(),
        thread: ThreadId::from(thread),
        part,
        agent: None,
        earlier_attempts: 0,
        attempted_millis: None,
    }
}

fn note_of(event: &Inbound) -> Option<&str> {
    if let Report::Note { text, .. } = &event.report { Some(text) } else { None }
}

fn message_of(event: &Inbound) -> Option<&bridge_api::Message> {
    match &event.report {
        Report::Message(message) => Some(message),
        Report::Receipt { .. } | Report::Withdrawn { .. } | Report::Note { .. } | _ => None,
    }
}

/// The lines of a WHOIS answer.
fn whois(nick: &str, mask: &str, signon: i64) -> String {
    let (user, host) = mask.split_once('@').unwrap();
    format!(
        ":irc.test 311 help {nick} {user} {host} * :real name\n:irc.test 317 help {nick} 5 {signon} :seconds idle, signon\n\
         :irc.test 318 help {nick} :End of WHOIS list"
    )
}
