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
