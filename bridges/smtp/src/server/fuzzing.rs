//! Sessions of any octets, held against what a reader who knows nothing of the machine finds in the stream.

use std::{sync::Arc, time::Instant};

use bridge_api::{
    KeptId,
    kit::fuzz::{Random, Target},
};

use super::{
    machine::{Admission, Input, Machine, Now, Output, Site},
    timing::TIMING,
};
use crate::{
    address::Address,
    envelope::Envelope,
    settings::{BareNewline, Settings},
};

/// The same is heard and kept wherever the octets are cut; a mail ends at CR LF . CR LF and nowhere else, goes to
/// addresses of ours only, and holds what was sent; replies are short lines of their form.
///
/// Where `<wait>` stands in the input, the client waits for the answers to all it said.
pub(crate) const SESSION: Target = Target { name: "smtp_session", check: session, runs: 3_000 };

const WAIT: &str = "<wait>";

fn session(data: &[u8]) {
    for (lmtp, bare_newline) in
        [(false, BareNewline::Reject), (false, BareNewline::Normalize), (true, BareNewline::Reject)]
    {
        let whole = played(site(lmtp, bare_newline), data, |_, flight| vec![flight.to_vec()]);
        let pieces = played(site(lmtp, bare_newline), data, cuts);
        let seen = |played: &Played| (played.heard.escape_ascii().to_string(), played.kept.clone(), played.closed);
        assert_eq!(seen(&pieces), seen(&whole));
        assert_replies(&whole.heard);
        for (envelope, _) in &whole.kept {
            assert!(!envelope.recipients.is_empty());
            assert!(
                envelope.recipients.iter().all(|to| ["acme.test", "any.test"].contains(&to.domain())),
                "{envelope:?}"
            );
        }
        assert_ends(&whole, !lmtp && bare_newline == BareNewline::Reject);
    }
}

fn site(lmtp: bool, bare_newline: BareNewline) -> Site {
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "listen": "127.0.0.1:0", "hostname": "mx.acme.test", "addresses": ["support@acme.test", "sales@acme.test", "@any.test"],
        "from": "Acme <support@acme.test>", "relay": { "host": "relay.test" }
    }))
    .expect("settings");
    Site {
        hostname: "mx.acme.test".to_owned(),
        ours: settings.ours(),
        postmaster: Address::parse("postmaster@acme.test").expect("an address"),
        mail_bytes_max: 400,
        bare_newline,
        lmtp,
        starttls: !lmtp,
        timing: TIMING,
    }
}

/// Nothing is cut off behind DATA or STARTTLS: whether something followed them at once is what they are judged by.
fn cuts(sent: &[u8], flight: &[u8]) -> Vec<Vec<u8>> {
    let mut random = Random::of(flight);
    let size_max = *random.of_these(&[1, 4, 30]);
    let mut pieces = vec![Vec::new()];
    let mut left = 0;
    let mut line = sent.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default().to_vec();
    for byte in flight {
        if left == 0 {
            left = random.below(size_max) + 1;
            let judged = |line: &[u8]| {
                line.ends_with(b"\n") && [&b"DATA"[..], b"STARTTLS"].iter().any(|word| starts_with(line, word))
            };
            if !judged(&line) {
                pieces.push(Vec::new());
            }
        }
        left -= 1;
        if line.ends_with(b"\n") {
            line.clear();
        }
        line.push(*byte);
        pieces.last_mut().expect("one at least").push(*byte);
    }
    pieces
}

fn starts_with(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// What is seen of a session from outside, and all octets that the client sent.
struct Played {
    sent: Vec<u8>,
    heard: Vec<u8>,
    kept: Vec<(Envelope, Vec<u8>)>,
    body: Vec<u8>,
    closed: Option<&'static str>,
}

fn played(site: Site, data: &[u8], cut: impl Fn(&[u8], &[u8]) -> Vec<Vec<u8>>) -> Played {
    let now = Now { at: Instant::now(), millis: 1_000, crowded: false };
    let mut machine = Machine::new(Arc::new(site), [192, 0, 2, 7].into(), false, now);
    let mut played = Played { sent: Vec::new(), heard: Vec::new(), kept: Vec::new(), body: Vec::new(), closed: None };
    machine.handle(Input::Greet, now);
    played.drain(&mut machine, now);
    for flight in flights(data) {
        for piece in cut(&played.sent.clone(), flight) {
            if played.closed.is_some() {
                return played;
            }
            played.sent.extend_from_slice(&piece);
            machine.handle(Input::Bytes(&piece), now);
            played.drain(&mut machine, now);
        }
    }
    played
}

fn flights(data: &[u8]) -> Vec<&[u8]> {
    let mut flights = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(WAIT.len()).position(|window| window == WAIT.as_bytes()) {
        flights.push(&rest[..at]);
        rest = &rest[at + WAIT.len()..];
    }
    flights.push(rest);
    flights
}

impl Played {
    /// A driver that does what it is told to.
    fn drain(&mut self, machine: &mut Machine, now: Now) {
        while let Some(output) = machine.poll() {
            assert!(self.closed.is_none(), "an output behind the last one: {output:?}");
            match output {
                Output::Write(bytes) => self.heard.extend(bytes),
                Output::Ask { .. } => machine.handle(Input::Admit(Admission::Welcome), now),
                Output::Body(piece) => self.body.extend(piece),
                Output::Discard => self.body.clear(),
                Output::Store(envelope) => {
                    let body = std::mem::take(&mut self.body);
                    assert_eq!(envelope.bytes, body.len() as u64);
                    self.kept.push((envelope, body));
                    let id = KeptId::from(format!("{:032x}", self.kept.len()));
                    machine.handle(Input::Stored(Some(id)), now);
                }
                Output::StartTls => machine.handle(Input::Secured, now),
                Output::Close(why) => self.closed = Some(why),
            }
        }
    }
}

fn assert_replies(heard: &[u8]) {
    let heard = std::str::from_utf8(heard).expect("text");
    let lines = heard.strip_suffix("\r\n").unwrap_or(heard).split("\r\n");
    for line in lines {
        let begin = line.as_bytes();
        let form = begin.len() > 3 && begin[..3].iter().all(u8::is_ascii_digit) && matches!(begin[3], b' ' | b'-');
        assert!(form && line.len() + 2 <= 512 && !line.contains(char::is_control), "the reply {line:?}");
    }
}

/// Each mail that came by DATA stands in the stream, dots stuffed, between two line ends and its dot.
fn assert_ends(played: &Played, is_verbatim: bool) {
    let chunked = played.sent.windows(4).any(|four| four.eq_ignore_ascii_case(b"BDAT"));
    if chunked {
        return;
    }
    let mut rest = &played.sent[..];
    for (_, body) in &played.kept {
        let end = if is_verbatim {
            assert!(!has_bare_newline(body), "{:?}", body.escape_ascii().to_string());
            (0..rest.len()).find_map(|at| {
                rest[..at].ends_with(b"\r\n").then(|| dotted(&rest[at..], body)).flatten().map(|length| at + length)
            })
        } else {
            rest.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 3)
        };
        let end: usize = end.unwrap_or_else(|| panic!("nobody sent the mail {:?}", body.escape_ascii().to_string()));
        rest = &rest[end..];
    }
}

/// How many octets of the stream are this mail, when it begins here.
fn dotted(stream: &[u8], body: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        at += usize::from(stream.get(at) == Some(&b'.'));
        at += stream[at..].starts_with(line).then_some(line.len())?;
    }
    let ended = body.is_empty() || body.ends_with(b"\r\n");
    // Of the dot's own line end only the CR LF before the next command is left to others.
    (ended && stream[at..].starts_with(b".\r\n")).then_some(at + 1)
}

fn has_bare_newline(body: &[u8]) -> bool {
    let bare = |at: usize| match body[at] {
        b'\n' => at == 0 || body[at - 1] != b'\r',
        b'\r' => body.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    (0..body.len()).any(bare)
}
