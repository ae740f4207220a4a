//! Our channels: joining, being thrown out, coming back.

use std::time::{Duration, Instant};

use super::Machine;
use crate::{
    isupport::Folded,
    message::{Command, Line},
    settings::Listen,
};

#[derive(Debug)]
pub(super) struct Channel {
    /// As configured, or as the server writes it.
    pub(super) name: String,
    key: Option<String>,
    pub(super) listen: Listen,
    pub(super) joined: bool,
    /// All members were listed (366).
    pub(super) listed: bool,
    next_try: Option<Instant>,
    tries: u32,
    kicks: Vec<Instant>,
    /// Why we are not in it.
    complaint: Option<String>,
}

const JOIN_BYTES_MAX: usize = 400;
const RETRY_FIRST: Duration = Duration::from_mins(1);
const RETRY_MOST: Duration = Duration::from_hours(1);
const REJOIN_FIRST: Duration = Duration::from_secs(30);
const REJOIN_NEXT: Duration = Duration::from_mins(5);
const KICKS_AN_HOUR: usize = 3;
/// A JOIN without an answer.
const JOIN_TIME: Duration = Duration::from_mins(2);

impl Machine {
    /// All configured channels, those with a key first, in as few lines as fit.
    pub(super) fn join_all(&mut self) {
        let settings = self.settings.clone();
        for wanted in &settings.channels {
            let channel = Channel {
                name: wanted.name.clone(),
                key: wanted.key.as_ref().map(|key| key.0.expose().to_owned()),
                listen: wanted.listen,
                joined: false,
                listed: false,
                next_try: Some(self.now.at + JOIN_TIME),
                tries: 0,
                kicks: Vec::new(),
                complaint: None,
            };
            let folded = self.link.fold(&wanted.name);
            self.link.channels.insert(folded, channel);
        }
        let mut with_key: Vec<(&str, Option<&str>)> =
            settings.channels.iter().map(|c| (c.name.as_str(), c.key.as_ref().map(|key| key.0.expose()))).collect();
        with_key.sort_by_key(|(_, key)| key.is_none());
        let (mut names, mut keys) = (String::new(), String::new());
        for (name, key) in with_key {
            let key = key.unwrap_or("");
            if !names.is_empty() && names.len() + keys.len() + name.len() + key.len() > JOIN_BYTES_MAX {
                self.join(std::mem::take(&mut names), std::mem::take(&mut keys));
            }
            for (list, item) in [(&mut names, name), (&mut keys, key)] {
                if !list.is_empty() && !item.is_empty() {
                    list.push(',');
                }
                list.push_str(item);
            }
        }
        if !names.is_empty() {
            self.join(names, keys);
        }
    }

    fn join(&mut self, names: String, keys: String) {
        let command = Command::new("JOIN").param(names);
        self.write_later(if keys.is_empty() { command } else { command.param(keys) });
    }

    pub(super) fn on_own_join(&mut self, name: &str, user: &str, host: &str) {
        if !user.is_empty() && !host.is_empty() {
            self.link.mask.user = Some(user.to_owned());
            self.link.mask.host = Some(host.to_owned());
        }
        let folded = self.link.fold(name);
        if let Some(channel) = self.link.channels.get_mut(&folded) {
            name.clone_into(&mut channel.name);
            channel.joined = true;
            channel.listed = false;
            channel.next_try = None;
            channel.tries = 0;
            channel.complaint = None;
            self.say_how_it_is();
            self.begin_channel_history(name);
        } else {
            // Forwarded, or forced by an operator: nobody asked us to listen there.
            self.write_later(Command::new("PART").param(name));
        }
    }

    pub(super) fn on_own_part(&mut self, name: &str) {
        let folded = self.link.fold(name);
        self.out_of(&folded);
        if let Some(channel) = self.link.channels.get_mut(&folded) {
            channel.joined = false;
            channel.next_try = Some(self.now.at + RETRY_FIRST);
        }
    }

    pub(super) fn on_kick(&mut self, line: &Line<'_>) {
        let (Some(name), Some(nick)) = (line.param(0), line.param(1)) else { return };
        if !self.link.is_us(nick) {
            self.left(nick, name, "was thrown out of");
            return;
        }
        let folded = self.link.fold(name);
        self.out_of(&folded);
        let jitter = self.rng.f64();
        let now = self.now.at;
        let Some(channel) = self.link.channels.get_mut(&folded) else { return };
        channel.joined = false;
        channel.kicks.retain(|at| now.saturating_duration_since(*at) < Duration::from_hours(1));
        channel.kicks.push(now);
        let wait = if channel.kicks.len() == 1 { REJOIN_FIRST } else { REJOIN_NEXT }.mul_f64(0.8 + 0.4 * jitter);
        channel.next_try = (channel.kicks.len() <= KICKS_AN_HOUR).then_some(now + wait);
        channel.complaint = Some(format!("kicked from {name}: {}", line.last()));
        tracing::warn!(channel = name, reason = line.last(), count = channel.kicks.len(), "kicked");
        self.say_how_it_is();
    }

    /// The numerics that refuse a JOIN. False when this one was about something else.
    pub(super) fn on_join_refused(&mut self, number: u16, line: &Line<'_>) -> bool {
        let Some(name) = line.param(1) else { return false };
        let folded = self.link.fold(name);
        let now = self.now.at;
        let Some(channel) = self.link.channels.get_mut(&folded).filter(|channel| !channel.joined) else { return false };
        let wait = RETRY_FIRST.saturating_mul(2u32.saturating_pow(channel.tries.min(8))).min(RETRY_MOST);
        channel.tries += 1;
        channel.next_try = Some(now + wait);
        let text = line.last();
        if channel.complaint.is_none() {
            tracing::warn!(channel = name, code = number, reason = text, "cannot join");
        }
        channel.complaint = Some(format!("cannot join {name}: {text}"));
        self.say_how_it_is();
        true
    }

    pub(super) fn channel_complaint(&self) -> Option<String> {
        self.link.channels.values().find_map(|channel| channel.complaint.clone())
    }

    pub(super) fn check_channels(&mut self) {
        if !self.is_ready() {
            return;
        }
        let now = self.now.at;
        let mut due = Vec::new();
        for channel in self.link.channels.values_mut() {
            if !channel.joined && channel.next_try.is_some_and(|at| at <= now) {
                channel.next_try = Some(now + JOIN_TIME);
                due.push((channel.name.clone(), channel.key.clone().unwrap_or_default()));
            }
        }
        for (name, key) in due {
            self.join(name, key);
        }
    }

    pub(super) fn channels_wake(&self) -> Option<(Instant, &'static str)> {
        if !self.is_ready() {
            return None;
        }
        let next = self.link.channels.values().filter(|channel| !channel.joined).filter_map(|channel| channel.next_try);
        next.min().map(|at| (at, "a channel to join"))
    }

    pub(super) fn channel_named(&self, folded: &Folded) -> Option<&Channel> {
        self.link.channels.get(folded)
    }

    /// 366: `<us> <channel> :End of /NAMES list`
    pub(super) fn on_names_end(&mut self, line: &Line<'_>) {
        let folded = self.link.fold(line.param_or_empty(1));
        if let Some(channel) = self.link.channels.get_mut(&folded) {
            channel.listed = true;
        }
    }

    /// 302: `<us> :nick[*]=[+-]user@host`
    pub(super) fn on_userhost(&mut self, line: &Line<'_>) {
        for item in line.last().split_ascii_whitespace() {
            let Some((nick, mask)) = item.split_once('=') else { continue };
            let Some((user, host)) = mask.get(1..).and_then(|mask| mask.split_once('@')) else { continue };
            if self.link.is_us(nick.trim_end_matches('*')) {
                self.link.mask.user = Some(user.to_owned());
                self.link.mask.host = Some(host.to_owned());
            }
        }
    }

    /// 396: `<us> [user@]host :is now your displayed host`
    pub(super) fn on_own_host(&mut self, line: &Line<'_>) {
        let Some(mask) = line.param(1) else { return };
        let (user, host) = mask.split_once('@').map_or((None, mask), |(user, host)| (Some(user), host));
        if let Some(user) = user {
            self.link.mask.user = Some(user.to_owned());
        }
        self.link.mask.host = Some(host.to_owned());
    }
}
