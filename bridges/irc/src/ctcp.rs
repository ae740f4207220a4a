//! CTCP: what a PRIVMSG's text is, and the few answers given. Sends nothing itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::message::Text;

/// What the text of a PRIVMSG or NOTICE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Text(&'a str),
    Action(&'a str),
    /// Any other CTCP. Never opens a conversation; in a NOTICE it is dropped.
    Ctcp(Ctcp<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ctcp<'a> {
    pub(crate) command: &'a str,
    pub(crate) argument: &'a str,
}

/// What we tell about ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Answers<'a> {
    pub(crate) version: &'a str,
    pub(crate) source: &'a str,
    /// The time as text, made by the caller.
    pub(crate) time: &'a str,
}

impl<'a> Body<'a> {
    /// The closing mark may be missing, as servers cut long lines.
    pub(crate) fn parse(text: &'a str) -> Self {
        let Some(framed) = text.strip_prefix('\x01') else { return Self::Text(text) };
        let framed = framed.split('\x01').next().unwrap_or("");
        let (command, argument) = framed.split_once(' ').unwrap_or((framed, ""));
        if command.eq_ignore_ascii_case("ACTION") {
            Self::Action(argument)
        } else {
            Self::Ctcp(Ctcp { command, argument })
        }
    }
}

impl Ctcp<'_> {
    /// The text of the NOTICE to answer with; `None` for DCC, FINGER, USERINFO and anything unknown.
    pub(crate) fn answer(&self, answers: &Answers<'_>) -> Option<Text> {
        let command = self.command.to_ascii_uppercase();
        let ping;
        let argument = match &*command {
            "VERSION" => answers.version,
            "SOURCE" => answers.source,
            "TIME" => answers.time,
            "CLIENTINFO" => "ACTION CLIENTINFO PING SOURCE TIME VERSION",
            "PING" => {
                ping = printable(self.argument, PING_BYTES_MAX);
                &ping
            }
            _ => return None,
        };
        Text::ctcp(&command, argument).ok()
    }

    pub(crate) fn is_dcc(&self) -> bool {
        self.command.eq_ignore_ascii_case("DCC")
    }
}

const PING_BYTES_MAX: usize = 64;

fn printable(text: &str, bytes_max: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > bytes_max {
            break;
        }
        kept.push(c);
    }
    kept
}

/// At most 3 answers in any 10 s, over all peers; else silence.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    answered: VecDeque<Instant>,
}

impl Limiter {
    pub(crate) const ANSWERS_MAX: usize = 3;
    pub(crate) const WINDOW: Duration = Duration::from_secs(10);

    /// Whether one more answer may go out now; counts it when so.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        while self.answered.front().is_some_and(|&at| now.saturating_duration_since(at) >= Self::WINDOW) {
            self.answered.pop_front();
        }
        let admitted = self.answered.len() < Self::ANSWERS_MAX;
        if admitted {
            self.answered.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_told_apart() {
        let ctcp = |command, argument| Body::Ctcp(Ctcp { command, argument });
        for (text, body) in [
            ("hi", Body::Text("hi")),
            ("a\x01b", Body::Text("a\x01b")),
            ("\x01ACTION waves\x01", Body::Action("waves")),
            ("\x01action waves", Body::Action("waves")),
            ("\x01ACTION\x01", Body::Action("")),
            ("\x01VERSION\x01", ctcp("VERSION", "")),
            ("\x01PING 1 2\x01rest", ctcp("PING", "1 2")),
            ("\x01DCC SEND x 1 2 3\x01", ctcp("DCC", "SEND x 1 2 3")),
            ("\x01\x01", ctcp("", "")),
            ("\x01", ctcp("", "")),
            ("", Body::Text("")),
        ] {
            assert_eq!(Body::parse(text), body, "{text:?}");
        }
    }

    #[test]
    fn only_harmless_questions_are_answered() {
        let answers = Answers { version: "bridge 1", source: "https://x.y", time: "now" };
        let long = "é".repeat(40);
        for (command, argument, answer) in [
            ("VERSION", "", Some("\x01VERSION bridge 1\x01".to_owned())),
            ("version", "x", Some("\x01VERSION bridge 1\x01".to_owned())),
            ("SOURCE", "", Some("\x01SOURCE https://x.y\x01".to_owned())),
            ("TIME", "", Some("\x01TIME now\x01".to_owned())),
            ("CLIENTINFO", "", Some("\x01CLIENTINFO ACTION CLIENTINFO PING SOURCE TIME VERSION\x01".to_owned())),
            ("PING", "1\x02\n2", Some("\x01PING 12\x01".to_owned())),
            ("PING", "", Some("\x01PING\x01".to_owned())),
            ("PING", &long, Some(format!("\x01PING {}\x01", "é".repeat(32)))),
            ("DCC", "CHAT", None),
            ("FINGER", "", None),
            ("USERINFO", "", None),
            ("", "", None),
        ] {
            let text = Ctcp { command, argument }.answer(&answers);
            assert_eq!(text.map(|text| text.as_str().to_owned()), answer, "{command} {argument}");
        }
    }

    #[test]
    fn answers_stop_after_three_in_ten_seconds() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let admitted: Vec<u64> = (0..25).filter(|&second| limiter.admit(start + Duration::from_secs(second))).collect();
        assert_eq!(admitted, [0, 1, 2, 10, 11, 12, 20, 21, 22]);
    }
}
