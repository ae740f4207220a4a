//! What people write to us: which lines count, and how they are reported.

use std::{borrow::Cow, collections::BTreeMap};

use bridge_api::{EventId, Inbound, Message, Peer, PeerId, Report, Speaker, ThreadId};

use super::{Machine, Output, history::DIRECT, identity::Spoken, people, presence::Account};
use crate::{
    ctcp::{Answers, Body, Ctcp},
    message::{Command, Line, Source, Target},
    render::{action_to_markdown, to_markdown},
    settings::Listen,
    text::{display_name, without_mention},
};

/// How long after an address to us a person's other lines in a channel belong to the conversation.
pub(super) const OPEN_MILLIS: i64 = 15 * 60 * 1000;

impl Machine {
    pub(super) fn on_privmsg(&mut self, line: &Line<'_>, decoded_as: Option<&'static str>) {
        let (Some(source), Some(target)) = (line.source, line.param(0)) else { return };
        if !matches!(source, Source::Peer { .. }) || line.params().len() < 2 {
            return;
        }
        if self.link.is_us(source.name()) {
            self.on_echo(line);
            return;
        }
        if let Some(batch) = line.tag("batch")
            && let Some(batch) = self.link.batches.multiline(&batch)
        {
            batch.keep(line.text(), None);
            return;
        }
        self.learn_clock(line);
        let channel = self.link.isupport.channel_of(target);
        self.heard(channel, line);
        if self.link.isupport.is_channel(channel) {
            let channel = channel.to_owned();
            self.on_channel_line(line, &channel, line.last(), decoded_as);
        } else if self.link.is_us(target) {
            self.on_direct_line(line, line.last(), decoded_as);
        }
        // Anything else is a mass message (`$*`, `$#mask`).
    }

    /// Moves the position in the network's history on.
    pub(super) fn heard(&mut self, target: &str, line: &Line<'_>) {
        if self.link.isupport.is_channel(target) {
            let name = self.link.fold(target);
            self.heard_at(name.as_str(), line);
        } else if self.link.is_us(target) {
            self.heard_at(DIRECT, line);
        }
    }

    pub(super) fn on_direct_line(&mut self, line: &Line<'_>, text: &str, decoded_as: Option<&'static str>) {
        if Self::is_official(line) {
            tracing::debug!("a line from services is not a conversation");
            return;
        }
        let text = match Body::parse(text) {
            Body::Text(text) => to_markdown(text),
            Body::Action(text) => action_to_markdown(line.nick().unwrap_or(""), text),
            Body::Ctcp(ctcp) => {
                self.answer_ctcp(line, ctcp);
                return;
            }
        };
        if let Some(spoken) = self.spoken(line, None, text, decoded_as) {
            self.attribute(spoken);
        }
    }

    pub(super) fn on_channel_line(
        &mut self,
        line: &Line<'_>,
        channel: &str,
        text: &str,
        decoded_as: Option<&'static str>,
    ) {
        let folded = self.link.fold(channel);
        let Some(known) = self.link.channels.get(&folded) else { return };
        let (listen, channel) = (known.listen, known.name.clone());
        if Self::is_official(line) {
            return;
        }
        let mapping = self.link.isupport.case_mapping();
        let own = self.link.mask.nick.clone();
        let (addressed, text) = match Body::parse(text) {
            Body::Text(text) => match without_mention(text, &own, mapping) {
                Some(rest) => (true, to_markdown(rest)),
                None => (false, to_markdown(text)),
            },
            Body::Action(text) => (false, action_to_markdown(line.nick().unwrap_or(""), text)),
            Body::Ctcp(_) => return,
        };
        let nick = self.link.fold(line.nick().unwrap_or(""));
        let now_millis = self.now.millis;
        let open = self.link.live.get_mut(&nick).is_some_and(|live| {
            let open = live.open_until_millis.iter().any(|(name, until)| *name == folded && *until > now_millis);
            if addressed || open || listen == Listen::All {
                live.open_until_millis.retain(|(name, _)| *name != folded);
                live.open_until_millis.push((folded.clone(), now_millis + OPEN_MILLIS));
            }
            open
        });
        if (listen == Listen::All || addressed || open)
            && let Some(spoken) = self.spoken(line, Some(&channel), text, decoded_as)
        {
            self.attribute(spoken);
        }
    }

    fn spoken(
        &mut self,
        line: &Line<'_>,
        channel: Option<&str>,
        text: String,
        decoded_as: Option<&'static str>,
    ) -> Option<Spoken> {
        let Some(Source::Peer { nick, user, host }) = line.source else { return None };
        if text.trim().is_empty() {
            return None;
        }
        let msgid = line.tag("msgid").filter(|id| is_msgid(id));
        let event = msgid.map_or_else(|| format!("{}-{}", self.link.epoch, self.link.lines), Cow::into_owned);
        let at_millis = line.tag("time").and_then(|time| crate::time::parse(&time)).unwrap_or(self.now.millis);
        Some(Spoken {
            event,
            at_millis,
            nick: nick.to_owned(),
            user: user.to_owned(),
            host: host.to_owned(),
            account: self.account_of(line),
            account_id: line.tag("inspircd.org/account-id").map(Cow::into_owned),
            channel: channel.map(str::to_owned),
            text,
            reply_to: line.tag("+reply").or_else(|| line.tag("+draft/reply")).map(Cow::into_owned),
            decoded_as: decoded_as.map(str::to_owned),
            bot: line.tag("bot").is_some(),
            old: false,
        })
    }

    /// The account behind this very line. With `account-tag` the tag alone counts.
    fn account_of(&mut self, line: &Line<'_>) -> Option<String> {
        let nick = self.link.fold(line.nick()?);
        if self.link.caps.has("account-tag") {
            let account = line.tag("account").filter(|name| !name.is_empty() && *name != "*").map(Cow::into_owned);
            if let Some(live) = self.link.live.get_mut(&nick) {
                let now = account.clone().map_or(Account::LoggedOut, Account::In);
                if live.account != now {
                    live.account = now;
                }
            }
            return account;
        }
        let visible = self.link.caps.has("account-notify") && self.link.caps.has("extended-join");
        let seen = self.link.live.get(&nick).filter(|seen| visible && !seen.channels.is_empty())?;
        match &seen.account {
            Account::In(account) => Some(account.clone()),
            Account::LoggedOut | Account::Unknown => None,
        }
    }

    /// Hands one line over as this contact's.
    pub(super) fn report(&mut self, spoken: Spoken, id: &PeerId, remark: Option<&str>) {
        self.note_seen(&spoken, id);
        let thread = match &spoken.channel {
            Some(channel) => ThreadId::from(format!("{}:{id}", self.link.fold(channel).as_str())),
            None => ThreadId::from(id.as_str()),
        };
        let mut facts = BTreeMap::new();
        let mut fact = |name: &str, value: &str| {
            if !value.is_empty() {
                facts.insert(name.to_owned(), value.to_owned());
            }
        };
        fact("nick", &display_name(&spoken.nick));
        fact("host", &display_name(&format!("{}@{}", spoken.user, spoken.host)));
        fact("account", &spoken.account.as_deref().map(display_name).unwrap_or_default());
        fact("identity", if spoken.account.is_some() { "account" } else { "session" });
        fact("decoded_as", spoken.decoded_as.as_deref().unwrap_or(""));
        fact("bot", if spoken.bot { "yes" } else { "" });
        fact("remark", remark.unwrap_or(""));
        let name = Some(display_name(&spoken.nick)).filter(|name| !name.is_empty());
        let thread_facts = spoken.channel.iter().map(|name| ("channel".to_owned(), name.clone())).collect();
        let message = Message {
            peer: Peer {
                id: id.clone(),
                name: name.unwrap_or_else(|| "(no name)".to_owned()),
                facts,
                email: None,
                picture: None,
            },
            speaker: Speaker::Peer,
            text: spoken.text,
            attachments: Vec::new(),
            reply_to: spoken.reply_to.map(|id| bridge_api::Target::Event(EventId::from(id))),
            quiet: false,
            facts: std::collections::BTreeMap::new(),
            thread_facts,
        };
        self.outputs.push_back(Output::Event(Inbound {
            event: EventId::from(spoken.event),
            at_millis: spoken.at_millis,
            thread,
            report: Report::Message(message),
        }));
    }

    fn note_seen(&mut self, spoken: &Spoken, id: &PeerId) {
        let millis = self.now.millis;
        if self.people.of(id).is_some() {
            if spoken.old {
                // Where they were then says nothing of where they are now.
                return;
            }
            let cursor = self.people.seen(id, &spoken.nick, &spoken.user, &spoken.host, millis);
            self.save(cursor);
            if let Some(account_id) = &spoken.account_id
                && self.people.of(id).is_some_and(|record| record.account_id.as_ref() != Some(account_id))
            {
                let cursor = self.people.update(id, |record| record.account_id = Some(account_id.clone()));
                self.save(cursor);
            }
        } else if !people::is_session(id) {
            let mut record = people::Record::new(&spoken.nick, &spoken.user, &spoken.host, millis);
            record.account.clone_from(&spoken.account);
            record.account_id.clone_from(&spoken.account_id);
            let cursor = self.people.open(id, record);
            self.outputs.push_back(Output::Cursor(cursor));
            if spoken.channel.is_none() && self.is_ready() {
                self.watch(&spoken.nick);
            }
        }
    }

    /// A NOTICE is never answered and never a conversation.
    pub(super) fn on_notice(&mut self, line: &Line<'_>) {
        if let Some(label) = self.label_of(line)
            && Self::is_official(line)
        {
            self.on_labelled_notice(&label, line.last());
            return;
        }
        if line.nick().is_some_and(|nick| self.link.is_us(nick)) {
            return;
        }
        if Self::is_official(line) {
            self.on_throttle_notice(line.last());
            self.on_server_notice(line);
        }
    }

    fn answer_ctcp(&mut self, line: &Line<'_>, ctcp: Ctcp<'_>) {
        let Some(nick) = line.nick() else { return };
        if ctcp.is_dcc() {
            tracing::debug!("a file offer by DCC is not taken");
        }
        if !self.settings.ctcp_replies || !self.is_ready() || line.tag("bot").is_some() {
            return;
        }
        let time = crate::time::format(self.now.millis);
        let answers = Answers { version: VERSION, source: env!("CARGO_PKG_NAME"), time: &time };
        let (Some(answer), Ok(target)) = (ctcp.answer(&answers), Target::nick(nick, &self.link.isupport)) else {
            return;
        };
        if self.link.ctcp.admit(self.now.at) {
            self.link.polite.push_back(Command::notice(&target, &answer));
        }
    }

    /// How far the server's clock is from ours. The least lagged line tells best.
    pub(super) fn learn_clock(&mut self, line: &Line<'_>) {
        if let Some(millis) = line.tag("time").and_then(|time| crate::time::parse(&time)) {
            let offset = self.now.millis - millis;
            self.link.clock_offset = Some(self.link.clock_offset.map_or(offset, |known| known.min(offset)));
        }
    }
}

const VERSION: &str = concat!("deskbridge ", env!("CARGO_PKG_VERSION"));
pub(super) fn is_msgid(id: &str) -> bool {
    !id.is_empty() && id.len() <= MSGID_BYTES_MAX
}

/// Longer ones would not fit the gateway's keys.
const MSGID_BYTES_MAX: usize = 150;
