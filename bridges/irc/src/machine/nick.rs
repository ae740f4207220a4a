//! Our own nick: the wanted one, what to use meanwhile, and taking it back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Ending, GHOST_MAX, Machine, Phase};
use crate::message::{Command, Line, Source};

/// When to ask for the wanted nick again.
#[derive(Debug, Default)]
pub(super) struct Regain {
    next: Option<Instant>,
    tries: u32,
    planned: Option<Instant>,
    /// Somebody left the nick just now.
    free: bool,
    /// When services were asked for it.
    asked: VecDeque<Instant>,
}

/// The first tries come quickly: most often our own ghost holds the nick.
const TRY_FIRST: Duration = Duration::from_secs(2);
const QUICK_TRIES: u32 = 3;
const TRY_LATER: Duration = Duration::from_mins(1);
const TRY_MOST: Duration = Duration::from_mins(10);
/// Services are asked at most this often in that time.
const SERVICES_MOST: usize = 3;
const SERVICES_TIME: Duration = Duration::from_mins(10);
const REGISTRATION_TRIES: u32 = 6;

impl Machine {
    pub(super) fn has_wanted_nick(&self) -> bool {
        self.link.is_us(&self.settings.nick) || self.is_shortened()
    }

    /// The server cuts nicks to its length without a word (hybrid does).
    fn is_shortened(&self) -> bool {
        let own = &self.link.mask.nick;
        self.link.isupport.has("NICKLEN")
            && own.len() >= self.link.isupport.nick_bytes_max()
            && self.settings.nick.get(..own.len()).is_some_and(|cut| self.link.is_us(cut))
    }

    /// Replies leave only under a nick that the operator chose: under another one the person would
    /// not know who writes.
    pub(super) fn speaks(&self) -> bool {
        let fallback = self.settings.nick_fallback.as_deref();
        self.has_wanted_nick() || fallback.is_some_and(|nick| self.link.is_us(nick))
    }

    pub(super) fn nick_complaint(&self) -> Option<String> {
        (!self.has_wanted_nick()).then(|| {
            format!("the nick `{}` is not ours now, on the network as `{}`", self.settings.nick, self.link.mask.nick)
        })
    }

    /// 432, 433, 436, 437, and after registration 435, 438, 447.
    pub(super) fn on_nick_refused(&mut self, number: u16, line: &Line<'_>) {
        if self.link.phase == Phase::Ready {
            // The next try was planned with this one.
            if self.link.regain.next.is_none() {
                self.plan_regain();
            }
            return;
        }
        if self.link.phase != Phase::Registering || self.link.registration.welcomed {
            return;
        }
        self.link.registration.nick_tries += 1;
        let tries = self.link.registration.nick_tries;
        if number == 432 && tries > 1 || tries > REGISTRATION_TRIES {
            let reason = format!("the server refuses the nick `{}` ({number}): {}", self.settings.nick, line.last());
            self.hang_up(Ending::Settings, reason);
            return;
        }
        let next = self.other_nick(tries, line.param_or_empty(1));
        self.link.mask.nick.clone_from(&next);
        self.write_now(&Command::new("NICK").param(next));
    }

    /// The fallback, then `nick_`, `nick__`, then digits, within what the server allows.
    fn other_nick(&mut self, tries: u32, refused: &str) -> String {
        let most = self.link.isupport.token("NICKLEN").map_or(usize::MAX, |_| self.link.isupport.nick_bytes_max());
        // Before 005 the server's length is not known; what it sent back is what it read.
        let most = most.min(if refused.is_empty() || refused.len() > self.settings.nick.len() {
            usize::MAX
        } else {
            refused.len().max(9)
        });
        let suffix = match tries {
            1 => match &self.settings.nick_fallback {
                Some(fallback) => return fallback.clone(),
                None => "_".to_owned(),
            },
            2 | 3 => "_".repeat(tries as usize),
            _ => self.rng.u16(100..1000).to_string(),
        };
        let room = most.saturating_sub(suffix.len());
        let nick = &self.settings.nick;
        format!("{}{suffix}", &nick[..nick.floor_char_boundary(room.min(nick.len()))])
    }

    pub(super) fn after_nick_known(&mut self) {
        if self.has_wanted_nick() {
            // The ghost of an earlier connection would still hold it.
            self.ghost_until = self.now.at;
        } else {
            self.plan_regain();
            self.watch_wanted_nick();
        }
    }

    fn plan_regain(&mut self) {
        let (now, regain) = (self.now.at, &mut self.link.regain);
        if regain.planned.is_some_and(|planned| now.saturating_duration_since(planned) > TRY_MOST * 2) {
            regain.tries = 0;
        }
        let wait = match regain.tries.checked_sub(QUICK_TRIES) {
            None => TRY_FIRST * 2u32.pow(regain.tries),
            Some(later) => TRY_LATER.saturating_mul(2u32.saturating_pow(later.min(10))).min(TRY_MOST),
        };
        regain.tries += 1;
        regain.planned = Some(now);
        regain.next = Some(now + wait);
        self.say_how_it_is();
    }

    /// Somebody left the nick that we want.
    pub(super) fn wanted_nick_is_free(&mut self) {
        if self.is_ready() && !self.has_wanted_nick() {
            self.link.regain.next = Some(self.now.at);
            self.link.regain.free = true;
        }
    }

    pub(super) fn check_nick(&mut self) {
        if !self.is_ready() || self.has_wanted_nick() || self.link.regain.next.is_none_or(|next| next > self.now.at) {
            return;
        }
        self.plan_regain();
        if !std::mem::take(&mut self.link.regain.free) {
            self.ask_services();
        }
        self.write_later(Command::new("NICK").param(self.settings.nick.clone()));
    }

    /// Services take the nick from whoever holds it, for the account that it belongs to.
    fn ask_services(&mut self) {
        let (now, asked) = (self.now.at, &mut self.link.regain.asked);
        asked.retain(|at| now.saturating_duration_since(*at) < SERVICES_TIME);
        if self.settings.regain.is_empty() || self.link.account.is_none() || asked.len() >= SERVICES_MOST {
            return;
        }
        asked.push_back(now);
        let settings = self.settings.clone();
        for command in &settings.regain {
            let text = command.replace("{nick}", &settings.nick);
            self.write_later(Command::new("PRIVMSG").param("NickServ").last(text));
        }
    }

    pub(super) fn nick_wake(&self) -> Option<(Instant, &'static str)> {
        let waits = self.is_ready() && !self.has_wanted_nick();
        self.link.regain.next.filter(|_| waits).map(|next| (next, "the wanted nick"))
    }

    /// Our own NICK, also one that services forced on us.
    pub(super) fn on_own_nick(&mut self, line: &Line<'_>) {
        if let Some(nick) = line.param(0).filter(|nick| !nick.is_empty()) {
            nick.clone_into(&mut self.link.mask.nick);
        }
        if let Some(Source::Peer { user, host, .. }) = line.source
            && !user.is_empty()
            && !host.is_empty()
        {
            self.link.mask.user = Some(user.to_owned());
            self.link.mask.host = Some(host.to_owned());
        }
        if self.is_ready() {
            self.after_nick_known();
            self.say_how_it_is();
        }
    }

    /// While an old connection may still deliver what it had queued, nobody can say whether it did.
    pub(super) fn ghost_may_speak(&self) -> Option<Duration> {
        let left = self.ghost_until.saturating_duration_since(self.now.at);
        (!left.is_zero() && left <= GHOST_MAX).then_some(left)
    }
}
