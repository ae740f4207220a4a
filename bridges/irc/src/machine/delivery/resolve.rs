//! From a conversation to the one nick or channel that its reply may go to, if any.

use bridge_api::{Fault, PeerId, ThreadId};

use crate::{
    isupport::Folded,
    machine::{
        Machine,
        people::{self, Record},
        presence::{Account, Live},
        whois::Answer,
    },
    message::Target,
    settings::Offline,
    view::split_thread,
};

pub(super) enum Verdict {
    /// Proved now. With what to put before the first line.
    Go(Target, String),
    /// Ask who holds this nick first.
    Check(Folded),
    /// Cannot be said yet.
    Wait,
    Not(Fault),
}

impl Machine {
    /// `answer`: a WHOIS that was asked for this reply and came just now.
    pub(super) fn resolve(&self, thread: &ThreadId, answer: Option<&Answer>) -> Verdict {
        let (channel, peer) = split_thread(thread.as_str());
        let id = PeerId::from(peer);
        let Some(record) = self.people.of(&id) else {
            return Verdict::Not(Fault::refused(
                "the person is not known on irc (away for too long, or read from history only); wait until they write again",
            ));
        };
        let verdict = self.resolve_person(&id, record, answer);
        let Some(channel) = channel else {
            return match verdict {
                Person::Is(nick) => match Target::nick(&nick, &self.link.isupport) {
                    Ok(target) => Verdict::Go(target, String::new()),
                    Err(error) => Verdict::Not(Fault::refused(error.to_string())),
                },
                Person::Check(nick) => Verdict::Check(nick),
                Person::Not(fault) => Verdict::Not(fault),
            };
        };
        self.resolve_in_channel(channel, record, verdict)
    }

    fn resolve_in_channel(&self, name: &str, record: &Record, person: Person) -> Verdict {
        let folded = self.link.fold(name);
        let Some(channel) = self.channel_named(&folded) else {
            return Verdict::Not(Fault::refused(format!("the bridge is no longer set up for {name}")));
        };
        if !channel.joined {
            let wait = std::time::Duration::from_secs(30);
            return Verdict::Not(Fault::retry_after(wait, format!("the bridge is not in {} now", channel.name)));
        }
        if !channel.listed {
            return Verdict::Wait;
        }
        let is_there = |nick: &Folded| self.link.live.get(nick).is_some_and(|live| live.channels.contains(&folded));
        let absent = || {
            let reason = format!("{} is not in {} any more, and the reply was not sent", record.nick, channel.name);
            Verdict::Not(Fault::refused(reason))
        };
        match person {
            Person::Is(nick) if is_there(&self.link.fold(&nick)) => {
                match Target::channel(&channel.name, &self.link.isupport) {
                    Ok(target) => Verdict::Go(target, format!("{nick}: ")),
                    Err(error) => Verdict::Not(Fault::refused(error.to_string())),
                }
            }
            Person::Check(nick) if is_there(&nick) => Verdict::Check(nick),
            Person::Is(_) | Person::Check(_) => absent(),
            Person::Not(fault) => Verdict::Not(fault),
        }
    }

    fn resolve_person(&self, id: &PeerId, record: &Record, answer: Option<&Answer>) -> Person {
        if people::is_session(id) {
            self.resolve_session(id, record, answer)
        } else {
            self.resolve_account(record, answer)
        }
    }

    fn resolve_session(&self, id: &PeerId, record: &Record, answer: Option<&Answer>) -> Person {
        let nick = self.link.fold(&record.nick);
        if self.link.live.get(&nick).is_some_and(|live| live.is_watched() && live.session.as_ref() == Some(id)) {
            return Person::Is(record.nick.clone());
        }
        let Some(answer) = answer else { return Person::Check(nick) };
        if answer.nobody {
            return Person::Not(gone(&record.nick));
        }
        if !answer.found {
            return Person::Not(Fault::retry(format!("the server does not say who `{}` is now", record.nick)));
        }
        if self.is_same_connection(record, answer) {
            return Person::Is(answer.nick.clone());
        }
        Person::Not(Fault::refused(format!(
            "`{}` is no longer provably the same person, so the reply was not sent; wait until they write again",
            record.nick
        )))
    }

    fn resolve_account(&self, record: &Record, answer: Option<&Answer>) -> Person {
        let Some(account) = record.account.as_ref().map(|account| self.link.fold(account)) else {
            return Person::Not(Fault::refused("this account was registered anew by somebody else"));
        };
        let is_in = |live: &&Live| match &live.account {
            Account::In(name) => self.link.fold(name) == account,
            Account::Unknown | Account::LoggedOut => false,
        };
        let last = self.link.live.get(&self.link.fold(&record.nick));
        let seen = last.into_iter().chain(self.link.live.values()).find(|live| self.shows_account(live) && is_in(live));
        if let Some(live) = seen {
            return Person::Is(live.nick.clone());
        }
        let Some(answer) = answer else { return Person::Check(self.link.fold(&record.nick)) };
        if answer.found && answer.account.as_ref().is_some_and(|name| self.link.fold(name) == account) {
            return Person::Is(answer.nick.clone());
        }
        if !answer.found && !answer.nobody {
            return Person::Not(Fault::retry(format!("the server does not say who `{}` is now", record.nick)));
        }
        let name = record.account.as_deref().unwrap_or_default();
        Person::Not(match self.settings.offline {
            Offline::Hold => {
                let wait = std::time::Duration::from_mins(1);
                Fault::retry_after(wait, format!("waiting until the account `{name}` is back on irc"))
            }
            Offline::Fail if answer.nobody => gone(&record.nick),
            Offline::Fail => Fault::refused(format!(
                "`{}` is not logged in to the account `{name}` now, so the reply was not sent",
                record.nick
            )),
        })
    }

    /// Whether every change of this connection's account is seen.
    fn shows_account(&self, live: &Live) -> bool {
        let notify = self.link.caps.has("account-notify");
        notify && (!live.channels.is_empty() || live.monitored && self.link.caps.has("extended-monitor"))
    }
}

enum Person {
    Is(String),
    Check(Folded),
    Not(Fault),
}

fn gone(nick: &str) -> Fault {
    Fault::refused(format!("`{nick}` has left irc and cannot be reached; wait until they write again"))
}
