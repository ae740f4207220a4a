//! What must hold for any bytes: of a server's lines, of what an agent writes, and of a session as a whole.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::{
    BridgeState, Cursor, Outbound, Part, Reply, Report, ThreadId,
    kit::fuzz::{Target, pieces},
};
use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::{
    isupport::Isupport,
    machine::{Input, Machine, Now, Output},
    message::{self, Command, Decoded, Fallback, LINE_BYTES_MAX, Line, LineBuffer, Verb},
    render::{Formatting, Mask, compose, text_bytes_max, to_markdown},
    settings::Settings,
};

/// All of this crate.
pub const TARGETS: &[Target] = &[LINE, EMIT, MACHINE, MARKDOWN];

/// A line is the same line wherever the stream is cut, and what was read of it can be written and read again.
const LINE: Target = Target { name: "irc_line", check: line, runs: 6_000 };

fn line(data: &[u8]) {
    let lines = |pieces: &[&[u8]]| {
        let mut buffer = LineBuffer::default();
        let each = |piece: &&[u8]| {
            let mut rest = *piece;
            std::iter::from_fn(|| buffer.next_line(&mut rest)).collect::<Vec<_>>()
        };
        pieces.iter().flat_map(each).collect::<Vec<_>>()
    };
    let whole = lines(&[data]);
    assert_eq!(lines(&pieces(data)), whole);
    for raw in whole {
        assert!(raw.len() <= LINE_BYTES_MAX && !raw.contains(&b'\n'));
        let decoded = Decoded::new(&raw, Fallback::default());
        assert!(!decoded.text.contains(['\0', '\r', '\n']));
        if let Some(line) = Line::parse(&decoded.text) {
            assert_reads_again(&line);
        }
    }
}

fn assert_reads_again(line: &Line<'_>) {
    assert_eq!(Line::parse(line.text()).as_ref(), Some(line), "what is kept as text");
    let Some((last, middle)) = line.params().split_last() else { return };
    let command = middle.iter().fold(Command::new("VERB"), |command, word| command.param(*word)).last(*last);
    let written = command.encode(2 * LINE_BYTES_MAX).expect("what was one line is one line");
    let written = String::from_utf8(written).expect("it was text");
    let again = Line::parse(written.strip_suffix("\r\n").expect("a line")).expect("it has a verb");
    assert_eq!((again.params(), again.source, &again.verb), (line.params(), None, &Verb::Word("VERB".into())));
}

/// Whatever a person is called and an agent writes, each line is one message to that person, and to nobody else.
///
/// The first line of the input is the name, the rest the agent's text.
const EMIT: Target = Target { name: "irc_emit", check: emit, runs: 1_500 };

fn emit(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let (name, text) = input.split_once('\n').unwrap_or((&input, ""));
    let isupport = Isupport::default();
    let targets = [message::Target::nick(name, &isupport), message::Target::channel(name, &isupport)];
    let mask = Mask { nick: "n".repeat(30), user: Some("~u".repeat(5)), host: Some("h".repeat(63)) };
    for target in targets.iter().flatten() {
        let fits = target.as_str().len() <= 200;
        let room = text_bytes_max(&mask, target, &isupport);
        for formatting in [Formatting::Codes, Formatting::Plain] {
            for part in compose(text, formatting, room) {
                match Command::privmsg(target, &part).encode(512) {
                    Ok(line) => {
                        assert_one_message(&line, name);
                        let prefix =
                            mask.nick.len() + mask.user.iter().chain(&mask.host).map(String::len).sum::<usize>() + 4;
                        assert!(!fits || line.len() + prefix <= 512, "others get it cut: {line:?}");
                    }
                    Err(error) => assert!(!fits, "{error}"),
                }
            }
        }
    }
    answer(name, text);
}

/// Read by hand, so that a mistake of our own reader hides nothing.
fn assert_one_message(line: &[u8], target: &str) {
    let whole = std::str::from_utf8(line).expect("text");
    let body = whole.strip_suffix("\r\n").expect("it ends as a line");
    assert!(!body.contains(['\r', '\n', '\0']), "{body:?} is more than a line");
    let untagged = if body.starts_with('@') { body.split_once(' ').expect("a command").1 } else { body };
    assert!(untagged.len() + 2 <= 512, "{body:?} is too long");
    let (verb, rest) = untagged.split_once(' ').expect("parameters");
    assert!(["PRIVMSG", "NOTICE"].contains(&verb), "{body:?} is another command");
    let (to, said) = rest.split_once(" :").expect("a text");
    assert_eq!(to, target, "{body:?} goes to another");
    assert!(!to.contains([' ', ',', '$']) && !to.starts_with(':'), "{body:?} goes to more than one");
    assert!(!said.contains('\x01'), "{body:?} is a CTCP command");
}

/// The same through a whole session, with a person of that name who wrote first.
fn answer(name: &str, text: &str) {
    let odd = |c: char| c.is_control() || matches!(c, ' ' | '!' | '@');
    let mut play = Play::connected();
    if name.is_empty() || name.len() > 300 || name.contains(odd) || name.starts_with(':') || name.contains("help") {
        return;
    }
    play.input(Input::Bytes(format!(":{name}!a@h PRIVMSG help :hi\r\n:irc.test 730 help :{name}!a@h\r\n").as_bytes()));
    play.pass(1);
    play.written.clear();
    let Some(thread) = play.thread.clone() else { return };
    let reply = Reply { text: text.to_owned(), agent: None, attachments: Vec::new(), reply_to: None };
    let mut parts = play.machine.view().parts(thread.as_str(), reply, Formatting::Codes, 4);
    // As if an earlier version had stored what no longer fits.
    parts.push(Part::Text { text: text.to_owned(), reply_to: None });
    for (ticket, part) in parts.into_iter().enumerate() {
        let key = format!("support/{ticket}/0").as_str().into();
        let out =
            Outbound { key, thread: thread.clone(), part, agent: None, earlier_attempts: 0, attempted_millis: None };
        play.input(Input::Send { ticket: ticket as u64, out });
        play.pass(1);
    }
    for line in &play.written {
        let own = ["WHOIS ", "MONITOR ", "PING ", "PONG "].iter().find_map(|verb| line.strip_prefix(verb));
        match own {
            Some(words) => assert!(!words.contains([':', ',']) || words.contains(name), "{line:?} asks for more"),
            None => assert_one_message(format!("{line}\r\n").as_bytes(), name),
        }
    }
}

/// The events of a session are the same wherever its stream is cut, and whatever it says, we write commands of ours.
const MACHINE: Target = Target { name: "irc_machine", check: machine, runs: 1_500 };

fn machine(data: &[u8]) {
    let played = |pieces: &[&[u8]]| {
        let mut play = Play::connected();
        // A server's answer stands behind all that it said before.
        play.answers = false;
        for piece in pieces {
            play.input(Input::Bytes(piece));
        }
        play.answers = true;
        let asked = play.written.len();
        play.pass(5);
        assert!(play.written.len() - asked < 100, "it does not come to rest");
        (play.events, play.cursors)
    };
    assert_eq!(played(&pieces(data)), played(&[data]));
}

/// A machine that has come onto a network with all its abilities, and a clock of its own.
struct Play {
    machine: Machine,
    now: Now,
    events: Vec<String>,
    cursors: BTreeMap<String, Option<String>>,
    written: Vec<String>,
    /// Whether those who ask for a person are told at once.
    answers: bool,
    is_up: bool,
    /// Of the last message.
    thread: Option<ThreadId>,
}

impl Play {
    fn connected() -> Self {
        let settings: Settings = serde_json::from_value(serde_json::json!({
            "server": "irc.example", "nick": "help", "tls": false, "pace": { "burst": 100, "per_second": 100.0 },
            "channels": [{ "name": "#help", "listen": "all" }],
        }))
        .expect("settings");
        let now = Now { at: Instant::now(), millis: 1_800_000_000_000 };
        let mut play = Self {
            machine: Machine::new(Arc::new(settings), 7, now),
            now,
            events: Vec::new(),
            cursors: BTreeMap::new(),
            written: Vec::new(),
            answers: true,
            is_up: false,
            thread: None,
        };
        play.input(Input::Remember(Vec::new()));
        play.input(Input::Connected {
            secure: false,
            epoch: "e1".to_owned(),
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        });
        let caps = "account-notify account-tag batch chghost echo-message extended-join labeled-response message-tags server-time";
        let welcome = format!(
            ":irc.test CAP * LS :{caps}\r\n:irc.test CAP help ACK :{caps}\r\n:irc.test 001 help :Welcome help!help@host.example\r\n\
             :irc.test 004 help irc.test InspIRCd-3 BIRgiorswx :BRbeg\r\n\
             :irc.test 005 help CASEMAPPING=ascii LINELEN=512 MONITOR=30 NICKLEN=30 USERLEN=10 HOSTLEN=64 :are supported\r\n\
             :irc.test 422 help :no message of the day\r\n"
        );
        play.input(Input::Bytes(welcome.as_bytes()));
        play.pass(15);
        assert!(play.is_up, "what follows has to meet a machine that is connected");
        play.written.clear();
        play
    }

    fn input(&mut self, input: Input<'_>) {
        self.machine.handle(input, self.now);
        let mut seen = self.written.len();
        self.drain();
        while let Some(line) = self.written.get(seen).filter(|_| self.answers) {
            seen += 1;
            let Some(nick) = line.strip_prefix("WHOIS ").and_then(|words| words.split(' ').next()) else { continue };
            let mask = if nick == "help" { "help host.example" } else { "a h" };
            let answer = format!(
                ":irc.test 311 help {nick} {mask} * :x\r\n:irc.test 317 help {nick} 5 1799999000 :seconds idle, signon\r\n\
                 :irc.test 318 help {nick} :End\r\n"
            );
            self.machine.handle(Input::Bytes(answer.as_bytes()), self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Write(line) => {
                    let line = String::from_utf8(line).expect("text");
                    let line = line.strip_suffix("\r\n").expect("a whole line");
                    assert!(!line.contains(['\r', '\n', '\0']) && Line::parse(line).is_some(), "{line:?}");
                    self.written.push(line.to_owned());
                }
                Output::Event(event) => {
                    if matches!(event.report, Report::Message(_)) {
                        self.thread = Some(event.thread.clone());
                    }
                    self.events.push(format!("{event:?}"));
                }
                Output::Cursor(Cursor { name, value }) => drop(self.cursors.insert(name, value)),
                Output::State(state) => self.is_up = state == BridgeState::Up,
                Output::Settled(..) | Output::Close | Output::Redial(_) => {}
            }
        }
    }

    /// Lets time pass, waking the machine whenever it asks to be.
    fn pass(&mut self, seconds: u64) {
        let end = self.now.at + Duration::from_secs(seconds);
        for _ in 0..1_000 {
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
}

/// What a person writes is words to an agent's reader of Markdown: nothing of it acts, and it grows by a bound.
const MARKDOWN: Target = Target { name: "irc_markdown", check: markdown, runs: 4_000 };

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; all the rest only shows words")]
fn markdown(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let markdown = to_markdown(&text);
    assert!(markdown.len() <= 12 * text.len() + 64, "{} bytes of {}", markdown.len(), text.len());
    assert!(!markdown.contains("{{") && !markdown.contains("{%"), "a template: {markdown:?}");
    for event in Parser::new_ext(&markdown, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES) {
        let acts = match &event {
            Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Image { .. } | Tag::HtmlBlock) => true,
            Event::Start(Tag::Link { dest_url, .. }) => {
                !["http://", "https://"].iter().any(|scheme| dest_url.to_ascii_lowercase().starts_with(scheme))
            }
            _ => false,
        };
        assert!(!acts, "{event:?} in {markdown:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_line_is_read_the_same_again() {
        LINE.play();
    }

    #[test]
    fn any_text_of_an_agent_is_messages_to_one_person() {
        EMIT.play();
    }

    #[test]
    fn any_stream_gives_the_same_events_however_it_is_cut() {
        MACHINE.play();
    }

    #[test]
    fn any_text_of_a_person_is_only_words() {
        MARKDOWN.play();
    }
}
