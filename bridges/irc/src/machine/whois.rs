//! WHOIS: one question a nick at a time, and what was learnt.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::Machine;
use crate::{
    isupport::Folded,
    message::{Command, Line},
};

/// What WHOIS said of the connection that holds a nick now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) nick: String,
    /// Somebody holds the nick, and the server said who.
    pub(super) found: bool,
    /// The server said that nobody holds the nick; without it `found: false` is only "not known".
    pub(super) nobody: bool,
    pub(super) user: String,
    pub(super) host: String,
    pub(super) realname: Option<String>,
    /// Seconds, by the server's clock. Withheld by some servers.
    pub(super) signon: Option<i64>,
    pub(super) account: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Whois {
    /// Questions nobody's reply waits for, and those that do (first).
    waiting: VecDeque<Folded>,
    asked: HashMap<Folded, Asked>,
    tries: HashMap<Folded, u32>,
    /// The server answers one at a time, with this pause between (hybrid, solanum).
    slow: bool,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    answer: Answer,
}

const ANSWER_TIME: Duration = Duration::from_secs(20);
const SLOW_PAUSE: Duration = Duration::from_secs(10);
const ASKED_MAX: usize = 4;
const TRIES_MAX: u32 = 6;

impl Machine {
    /// Asks who holds a nick. `urgent`: a reply waits for it.
    pub(super) fn ask_whois(&mut self, nick: &Folded, urgent: bool) {
        let whois = &mut self.link.whois;
        if whois.asked.contains_key(nick) {
            return;
        }
        let place = whois.waiting.iter().position(|waiting| waiting == nick);
        match (place, urgent) {
            (None, true) => whois.waiting.push_front(nick.clone()),
            (None, false) => whois.waiting.push_back(nick.clone()),
            (Some(place), true) => {
                whois.waiting.remove(place);
                whois.waiting.push_front(nick.clone());
            }
            (Some(_), false) => {}
        }
    }

    /// A question may be asked again right now only for a reply whose check needs a new answer.
    pub(super) fn whois_may_leave(&self) -> bool {
        let whois = &self.link.whois;
        let most = if whois.slow { 1 } else { ASKED_MAX };
        whois.asked.len() < most && whois.not_before.is_none_or(|at| at <= self.now.at)
    }

    pub(super) fn is_asked(&self, nick: &Folded) -> bool {
        self.link.whois.asked.contains_key(nick)
    }

    /// Writes one WHOIS now; the caller has seen that it may leave.
    pub(super) fn write_whois(&mut self, nick: &Folded) -> bool {
        // Twice: the second makes the person's own server answer, which knows the signon.
        let name = self.spelling(nick);
        let command = Command::new("WHOIS").param(name.clone()).param(name.clone());
        let Some(line) = self.encode(&command) else { return false };
        if !self.link.pace.take(line.len(), self.now.at) {
            return false;
        }
        self.outputs.push_back(super::Output::Write(line));
        let whois = &mut self.link.whois;
        whois.waiting.retain(|waiting| waiting != nick);
        if whois.slow {
            whois.not_before = Some(self.now.at + SLOW_PAUSE);
        }
        let answer = Answer { nick: name, ..Answer::default() };
        whois.asked.insert(nick.clone(), Asked { at: self.now.at, answer });
        true
    }

    /// A nick as the network writes it.
    fn spelling(&self, nick: &Folded) -> String {
        let live = self.link.live.get(nick).map(|live| live.nick.as_str());
        let known = || self.people.session_of(nick).map(|(_, record)| record.nick.as_str());
        live.or_else(known).filter(|name| self.link.fold(name) == *nick).unwrap_or(nick.as_str()).to_owned()
    }

    /// The least urgent writing: questions that no reply waits for, then polite answers.
    pub(super) fn write_poll(&mut self) -> bool {
        let reserve = self.reserved_lines();
        if !self.link.pace.has(1.0 + reserve, self.now.at) {
            return false;
        }
        if self.whois_may_leave()
            && let Some(nick) = self.link.whois.waiting.front().cloned()
        {
            return self.write_whois(&nick);
        }
        let Some(command) = self.link.polite.pop_front() else { return false };
        let Some(line) = self.encode(&command) else { return true };
        if self.link.pace.take(line.len(), self.now.at) {
            self.outputs.push_back(super::Output::Write(line));
            return true;
        }
        false
    }

    pub(super) fn on_whois(&mut self, number: u16, line: &Line<'_>) {
        let Some(nick) = line.param(1) else { return };
        let folded = self.link.fold(nick);
        let Some(asked) = self.link.whois.asked.get_mut(&folded) else { return };
        let answer = &mut asked.answer;
        match number {
            311 => {
                answer.found = true;
                nick.clone_into(&mut answer.nick);
                line.param_or_empty(2).clone_into(&mut answer.user);
                line.param_or_empty(3).clone_into(&mut answer.host);
                answer.realname = line.param(5).map(str::to_owned);
            }
            317 => answer.signon = line.param(3).and_then(|signon| signon.parse().ok()).filter(|signon| *signon > 0),
            330 => answer.account = line.param(2).map(str::to_owned),
            // An end without a beginning belongs to a question that was answered by 401 already.
            318 if answer.found => self.whois_done(&folded),
            _ => {}
        }
    }

    /// 401 or 402 for a nick that was asked for. True when it was.
    pub(super) fn whois_found_nobody(&mut self, nick: &str) -> bool {
        let folded = self.link.fold(nick);
        let Some(asked) = self.link.whois.asked.get_mut(&folded) else { return false };
        asked.answer.found = false;
        asked.answer.nobody = true;
        self.whois_done(&folded);
        true
    }

    fn whois_done(&mut self, nick: &Folded) {
        let Some(Asked { answer, .. }) = self.link.whois.asked.remove(nick) else { return };
        self.link.whois.tries.remove(nick);
        if self.link.is_us(nick.as_str()) {
            self.on_own_whois(&answer);
        } else {
            self.on_answer(&answer);
        }
    }

    /// Our own mask, and how far the server's clock is from ours.
    fn on_own_whois(&mut self, answer: &Answer) {
        if answer.found {
            self.link.mask.user = Some(answer.user.clone());
            self.link.mask.host = Some(answer.host.clone());
        }
        if let (Some(signon), None) = (answer.signon, self.link.clock_offset) {
            // We connected no later than the server says: an offset that is too small accuses nobody.
            let ago = self.now.at.saturating_duration_since(self.link.registration.started).as_millis() as i64;
            self.link.clock_offset = Some(self.now.millis - ago - signon * 1000);
        }
    }

    /// 263: too many questions. "Not proved yet", never "proved".
    pub(super) fn on_busy(&mut self, line: &Line<'_>) {
        if line.param(1).is_some_and(|command| !command.eq_ignore_ascii_case("WHOIS")) {
            self.on_reply(263, line);
            return;
        }
        self.link.whois.slow = true;
        self.link.whois.not_before = Some(self.now.at + SLOW_PAUSE);
        let asked: Vec<Folded> = self.link.whois.asked.drain().map(|(nick, _)| nick).collect();
        for nick in asked {
            self.ask_again(nick);
        }
    }

    fn ask_again(&mut self, nick: Folded) {
        let tries = self.link.whois.tries.entry(nick.clone()).or_default();
        *tries += 1;
        if *tries < TRIES_MAX {
            self.link.whois.waiting.push_front(nick);
            return;
        }
        self.link.whois.tries.remove(&nick);
        let answer = Answer { nick: nick.as_str().to_owned(), ..Answer::default() };
        self.on_answer(&answer);
    }

    pub(super) fn check_whois(&mut self) {
        let late: Vec<Folded> = self
            .link
            .whois
            .asked
            .iter()
            .filter(|(_, asked)| self.now.at.saturating_duration_since(asked.at) >= ANSWER_TIME)
            .map(|(nick, _)| nick.clone())
            .collect();
        for nick in late {
            self.link.whois.asked.remove(&nick);
            self.ask_again(nick);
        }
    }

    pub(super) fn whois_wake(&self) -> Option<(Instant, &'static str)> {
        let whois = &self.link.whois;
        let late = whois.asked.values().map(|asked| asked.at + ANSWER_TIME).min();
        let next = (!whois.waiting.is_empty()).then_some(whois.not_before).flatten().filter(|at| *at > self.now.at);
        late.into_iter().chain(next).min().map(|at| (at, "a whois"))
    }
}

impl Machine {
    /// Whether a question could leave if the pace allowed.
    pub(super) fn has_questions(&self) -> bool {
        !self.link.whois.waiting.is_empty() && self.whois_may_leave()
    }
}
