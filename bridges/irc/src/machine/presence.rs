//! Who can be watched without a gap: members of our channels and monitored nicks.
//!
//! While somebody is watched, every change of the connection behind the nick is seen.

use std::collections::BTreeSet;

use bridge_api::PeerId;

use super::Machine;
use crate::{
    isupport::Folded,
    message::{Command, Line, Source},
};

/// One watched nick.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) nick: String,
    /// Empty when not seen yet.
    pub(super) user: String,
    pub(super) host: String,
    pub(super) account: Account,
    /// Channels shared with us.
    pub(super) channels: BTreeSet<Folded>,
    pub(super) monitored: bool,
    /// The session contact that this connection is proved to be.
    pub(super) session: Option<PeerId>,
    /// Until when lines in a channel belong to a conversation that an address opened.
    pub(super) open_until_millis: Vec<(Folded, i64)>,
}

/// What is known of the account behind a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Account {
    #[default]
    Unknown,
    LoggedOut,
    In(String),
}

/// Our side of MONITOR.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// Asked for, oldest first.
    listed: Vec<Folded>,
    adding: Vec<String>,
    /// The list is full at fewer than the server said.
    full_at: Option<usize>,
}

impl Live {
    pub(super) fn is_watched(&self) -> bool {
        self.monitored || !self.channels.is_empty()
    }

    fn see(&mut self, nick: &str, user: &str, host: &str) {
        nick.clone_into(&mut self.nick);
        if !user.is_empty() && !host.is_empty() {
            user.clone_into(&mut self.user);
            host.clone_into(&mut self.host);
        }
    }
}

impl Machine {
    pub(super) fn live_mut(&mut self, nick: &str) -> &mut Live {
        let folded = self.link.fold(nick);
        let watched = self.link.live.entry(folded).or_default();
        if watched.nick.is_empty() {
            nick.clone_into(&mut watched.nick);
        }
        watched
    }

    pub(super) fn on_join(&mut self, line: &Line<'_>) {
        let (Some(Source::Peer { nick, user, host }), Some(name)) = (line.source, line.param(0)) else { return };
        if self.link.is_us(nick) {
            self.on_own_join(name, user, host);
            return;
        }
        let channel = self.link.fold(name);
        // extended-join: the account, or `*`.
        let account = if self.link.caps.has("extended-join") { line.param(1) } else { None };
        let watched = self.live_mut(nick);
        watched.see(nick, user, host);
        watched.channels.insert(channel);
        match account {
            Some("*") => watched.account = Account::LoggedOut,
            Some(account) => watched.account = Account::In(account.to_owned()),
            None => {}
        }
    }

    /// 353: `<us> <type> <channel> :[@+]nick[!user@host] ...`
    pub(super) fn on_names(&mut self, line: &Line<'_>) {
        let Some(name) = line.param(2) else { return };
        let channel = self.link.fold(name);
        if !self.link.channels.contains_key(&channel) {
            return;
        }
        for member in line.last().split_ascii_whitespace() {
            let (_, rest) = self.link.isupport.split_marks(member);
            let Some(Source::Peer { nick, user, host }) = Source::parse(rest) else { continue };
            if !self.link.is_us(nick) {
                let watched = self.live_mut(nick);
                watched.see(nick, user, host);
                watched.channels.insert(channel.clone());
            }
        }
    }

    pub(super) fn on_part(&mut self, line: &Line<'_>) {
        let (Some(nick), Some(name)) = (line.nick(), line.param(0)) else { return };
        if self.link.is_us(nick) {
            self.on_own_part(name);
        } else {
            self.left(nick, name, "left");
        }
    }

    /// Somebody is no longer in a channel, but perhaps still on the network.
    pub(super) fn left(&mut self, nick: &str, channel: &str, how: &str) {
        let how = format!("{how} {}", crate::text::display_name(channel));
        let (nick, channel) = (self.link.fold(nick), self.link.fold(channel));
        self.note_left(&nick, &channel, &how);
        let Some(watched) = self.link.live.get_mut(&nick) else { return };
        watched.channels.remove(&channel);
        watched.open_until_millis.retain(|(name, _)| *name != channel);
        if !watched.is_watched() {
            self.link.live.remove(&nick);
        }
    }

    /// We are no longer in a channel, and see nobody there.
    pub(super) fn out_of(&mut self, channel: &Folded) {
        for watched in self.link.live.values_mut() {
            watched.channels.remove(channel);
        }
        self.link.live.retain(|_, watched| watched.is_watched());
    }

    pub(super) fn on_quit(&mut self, line: &Line<'_>) {
        let Some(nick) = line.nick() else { return };
        let how = if is_netsplit(line.last()) { "is cut off by a network split" } else { "left the network" };
        self.note_gone(&self.link.fold(nick), how);
        self.gone(nick, "quit");
    }

    /// The connection behind a nick ended.
    pub(super) fn gone(&mut self, nick: &str, why: &'static str) {
        let folded = self.link.fold(nick);
        self.link.live.remove(&folded);
        tracing::trace!(reason = why, "a watched person is gone");
        if self.link.isupport.same(nick, &self.settings.nick) {
            self.wanted_nick_is_free();
        }
    }

    pub(super) fn on_nick(&mut self, line: &Line<'_>) {
        let (Some(old), Some(new)) = (line.nick(), line.param(0)) else { return };
        if self.link.is_us(old) {
            self.on_own_nick(line);
            return;
        }
        let (from, to) = (self.link.fold(old), self.link.fold(new));
        self.note_renamed(&from, new);
        if let Some(mut watched) = self.link.live.remove(&from) {
            new.clone_into(&mut watched.nick);
            // MONITOR watches the old nick, not the person.
            watched.monitored = watched.monitored && from == to;
            if let Some(id) = watched.session.clone() {
                let cursor = self.people.update(&id, |record| new.clone_into(&mut record.nick));
                self.save(cursor);
            }
            if let Account::In(account) = &watched.account
                && let Some(id) = self.people.account(&self.link.fold(account))
            {
                let cursor = self.people.update(&id, |record| new.clone_into(&mut record.nick));
                self.save(cursor);
            }
            if watched.is_watched() {
                self.link.live.insert(to, watched);
            }
        }
        if !self.link.isupport.same(old, new) && self.link.isupport.same(old, &self.settings.nick) {
            self.wanted_nick_is_free();
        }
    }

    /// `ACCOUNT <name>` or `ACCOUNT *`
    pub(super) fn on_account(&mut self, line: &Line<'_>) {
        let (Some(nick), Some(account)) = (line.nick(), line.param(0)) else { return };
        let folded = self.link.fold(nick);
        if let Some(watched) = self.link.live.get_mut(&folded) {
            watched.account = if account == "*" { Account::LoggedOut } else { Account::In(account.to_owned()) };
        }
    }

    pub(super) fn on_chghost(&mut self, line: &Line<'_>) {
        let (Some(nick), Some(user), Some(host)) = (line.nick(), line.param(0), line.param(1)) else { return };
        if self.link.is_us(nick) {
            self.link.mask.user = Some(user.to_owned());
            self.link.mask.host = Some(host.to_owned());
            return;
        }
        let folded = self.link.fold(nick);
        let Some(watched) = self.link.live.get_mut(&folded) else { return };
        watched.see(nick, user, host);
        if let Some(id) = watched.session.clone() {
            let millis = self.now.millis;
            let cursor = self.people.seen(&id, nick, user, host, millis);
            self.save(cursor);
        }
    }

    /// Watches somebody by MONITOR, where the server has it.
    pub(super) fn watch(&mut self, nick: &str) {
        let Some(most) = self.link.isupport.monitor_max() else { return };
        let most = self.link.monitor.full_at.unwrap_or(most).min(MONITOR_MAX);
        let folded = self.link.fold(nick);
        let monitor = &mut self.link.monitor;
        if let Some(place) = monitor.listed.iter().position(|listed| *listed == folded) {
            let listed = monitor.listed.remove(place);
            monitor.listed.push(listed);
            return;
        }
        if most == 0 || nick.contains(',') {
            return;
        }
        if monitor.listed.len() >= most {
            let oldest = monitor.listed.remove(0);
            if let Some(watched) = self.link.live.get_mut(&oldest) {
                watched.monitored = false;
            }
            self.link.live.retain(|_, watched| watched.is_watched());
            self.flush_monitor();
            self.write_later(Command::new("MONITOR").param("-").param(oldest.as_str()));
        }
        self.link.monitor.listed.push(folded);
        self.link.monitor.adding.push(nick.to_owned());
    }

    pub(super) fn watch_wanted_nick(&mut self) {
        let nick = self.settings.nick.clone();
        self.watch(&nick);
    }

    /// After registration: those who wrote last are those who are answered next.
    pub(super) fn watch_the_known(&mut self) {
        self.people.fold_by(self.link.isupport.case_mapping());
        let Some(most) = self.link.isupport.monitor_max() else { return };
        for nick in self.people.recent(most.min(MONITOR_MAX)).into_iter().rev() {
            self.watch(&nick);
        }
    }

    /// Everybody who is to be watched, in as few lines as fit.
    pub(super) fn flush_monitor(&mut self) {
        let adding = std::mem::take(&mut self.link.monitor.adding);
        let mut list = String::new();
        for nick in adding {
            if list.len() + nick.len() >= MONITOR_BYTES_MAX {
                self.write_later(Command::new("MONITOR").param("+").param(std::mem::take(&mut list)));
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&nick);
        }
        if !list.is_empty() {
            self.write_later(Command::new("MONITOR").param("+").param(list));
        }
    }

    /// 730: `<us> :nick[!user@host],...`
    pub(super) fn on_monitor_online(&mut self, line: &Line<'_>) {
        for mask in line.last().split(',') {
            let Some(Source::Peer { nick, user, host }) = Source::parse(mask) else { continue };
            let folded = self.link.fold(nick);
            if self.link.is_us(nick) || !self.link.monitor.listed.contains(&folded) {
                continue;
            }
            let watched = self.live_mut(nick);
            watched.see(nick, user, host);
            watched.monitored = true;
        }
    }

    /// 731: `<us> :nick,...`
    pub(super) fn on_monitor_offline(&mut self, line: &Line<'_>) {
        for mask in line.last().split(',') {
            let Some(source) = Source::parse(mask) else { continue };
            let nick = source.name().to_owned();
            let folded = self.link.fold(&nick);
            match self.link.live.get_mut(&folded) {
                // In a shared channel it may be a rename; NICK or QUIT says which.
                Some(watched) if !watched.channels.is_empty() => watched.monitored = false,
                Some(_) | None => {
                    self.note_gone(&folded, "is not on the network under this nick any more");
                    self.gone(&nick, "offline");
                }
            }
        }
    }

    /// 734: `<us> <limit> <nicks> :text`
    pub(super) fn on_monitor_full(&mut self, line: &Line<'_>) {
        let refused: Vec<Folded> = line.param_or_empty(2).split(',').map(|nick| self.link.fold(nick)).collect();
        let monitor = &mut self.link.monitor;
        monitor.listed.retain(|listed| !refused.contains(listed));
        monitor.full_at = Some(monitor.listed.len());
    }

    /// The case mapping changed after names were stored.
    pub(super) fn fold_again(&mut self) {
        let mapping = self.link.isupport.case_mapping();
        self.people.fold_by(mapping);
        let watched = std::mem::take(&mut self.link.live);
        self.link.live = watched.into_values().map(|watched| (mapping.fold(&watched.nick), watched)).collect();
        let channels = std::mem::take(&mut self.link.channels);
        self.link.channels = channels.into_values().map(|channel| (mapping.fold(&channel.name), channel)).collect();
        for watched in self.link.live.values_mut() {
            watched.channels =
                std::mem::take(&mut watched.channels).iter().map(|name| mapping.fold(name.as_str())).collect();
        }
        self.held.fold_by(mapping);
    }
}

/// Never more, even where the server names no limit.
const MONITOR_MAX: usize = 500;
const MONITOR_BYTES_MAX: usize = 400;

/// `a.b c.d`, as servers write it. People can fake it; nothing but a note depends on it.
fn is_netsplit(reason: &str) -> bool {
    let names: Vec<&str> = reason.split(' ').collect();
    names.len() == 2 && names.iter().all(|name| name.contains('.') && !name.contains('/') && !name.ends_with('.'))
}
