//! Old lines become events: by the account on the line, else by somebody who cannot be proved.

use std::{borrow::Cow, collections::HashMap};

use bridge_api::PeerId;
use sha2::{Digest, Sha256};

use super::{Kept, Machine};
use crate::{
    ctcp::Body,
    isupport::Folded,
    machine::identity::Spoken,
    message::{Line, Source},
    render::{action_to_markdown, to_markdown},
    settings::Listen,
    text::without_mention,
    time,
};

/// Shown to agents with what nobody can be held to.
const UNPROVED: &str = "read from the network's history, which does not prove who wrote it";

/// What one import has learnt of people.
#[derive(Default)]
struct Reading {
    /// People without an account, by all that history says of them.
    strangers: HashMap<String, PeerId>,
    /// Until when a person's lines in the channel belong to a conversation.
    open_until_millis: HashMap<Folded, i64>,
}

impl Machine {
    /// Reports the lines, oldest first, that are not known yet.
    pub(super) fn import(&mut self, target: &str, from_millis: i64, lines: &[Kept]) {
        let mut reading = Reading::default();
        for kept in lines {
            let Some(line) = Line::parse(&kept.line) else { continue };
            let Some(millis) = line.tag("time").and_then(|time| time::parse(&time)) else { continue };
            let text = kept.text.as_deref().unwrap_or(line.last());
            if millis < from_millis || !self.is_of_a_peer(&line, target, kept.text.is_some()) {
                continue;
            }
            let event = event_of(&line);
            let known = self.positions.is_known(&event);
            if let Some(spoken) = self.old_words(&line, target, text, millis, event, &mut reading)
                && !known
            {
                self.positions.note(&spoken.event);
                self.attribute_old(spoken, &mut reading);
            }
        }
    }

    /// A message from somebody else; in a direct conversation from that person alone.
    fn is_of_a_peer(&self, line: &Line<'_>, target: &str, multiline: bool) -> bool {
        let verb = if multiline { "BATCH" } else { "PRIVMSG" };
        let (Some(Source::Peer { nick, .. }), true) = (line.source, line.is(verb)) else { return false };
        let ours = self.link.is_us(nick)
            || self.link.account.is_some() && line.tag("account").as_deref() == self.link.account.as_deref();
        let in_channel = self.link.isupport.is_channel(target);
        !ours && !Self::is_official(line) && (in_channel || self.link.isupport.same(nick, target))
    }

    fn old_words(
        &self,
        line: &Line<'_>,
        target: &str,
        text: &str,
        millis: i64,
        event: String,
        reading: &mut Reading,
    ) -> Option<Spoken> {
        let Some(Source::Peer { nick, user, host }) = line.source else { return None };
        let in_channel = self.link.isupport.is_channel(target);
        let own = &self.link.mask.nick;
        let mention = match Body::parse(text) {
            Body::Text(text) if in_channel => without_mention(text, own, self.link.isupport.case_mapping()),
            Body::Text(_) | Body::Action(_) | Body::Ctcp(_) => None,
        };
        let words = match Body::parse(text) {
            Body::Text(text) => to_markdown(mention.unwrap_or(text)),
            Body::Action(text) => action_to_markdown(nick, text),
            Body::Ctcp(_) => return None,
        };
        if in_channel && !self.is_open(target, nick, millis, mention.is_some(), reading) || words.trim().is_empty() {
            return None;
        }
        let account = line.tag("account").filter(|name| !name.is_empty() && *name != "*").map(Cow::into_owned);
        Some(Spoken {
            event,
            at_millis: millis,
            nick: nick.to_owned(),
            user: user.to_owned(),
            host: host.to_owned(),
            account: account.filter(|_| self.link.caps.has("account-tag")),
            account_id: line.tag("inspircd.org/account-id").map(Cow::into_owned),
            channel: in_channel.then(|| target.to_owned()),
            text: words,
            reply_to: line.tag("+reply").or_else(|| line.tag("+draft/reply")).map(Cow::into_owned),
            decoded_as: None,
            bot: line.tag("bot").is_some(),
            old: true,
        })
    }

    /// Whether a line in a channel belongs to a conversation with us.
    fn is_open(&self, channel: &str, nick: &str, millis: i64, addressed: bool, reading: &mut Reading) -> bool {
        let Some(known) = self.channel_named(&self.link.fold(channel)) else { return false };
        let nick = self.link.fold(nick);
        let open = reading.open_until_millis.get(&nick).is_some_and(|until| *until > millis);
        if addressed || open {
            reading.open_until_millis.insert(nick, millis + crate::machine::inbound::OPEN_MILLIS);
        }
        addressed || open || known.listen == Listen::All
    }

    fn attribute_old(&mut self, spoken: Spoken, reading: &mut Reading) {
        if let Some(account) = spoken.account.clone()
            && let Some(id) = self.people.account(&self.link.fold(&account))
        {
            let id = self.same_account_or_other(id, &account, &spoken);
            self.report(spoken, &id, None);
            return;
        }
        let mask = format!("{}!{}@{}", self.link.fold(&spoken.nick).as_str(), spoken.user, spoken.host);
        // Not kept among the people: no reply may ever go to whoever has this nick now.
        let id = reading
            .strangers
            .entry(mask)
            .or_insert_with_key(|mask| PeerId::from(format!("s:{}", digest(&format!("{mask} {}", spoken.event)))));
        let id = id.clone();
        self.report(spoken, &id, Some(UNPROVED));
    }
}

/// The msgid, or what tells the line from others where the network has none.
pub(super) fn event_of(line: &Line<'_>) -> String {
    line.tag("msgid").filter(|id| crate::machine::inbound::is_msgid(id)).map_or_else(
        || {
            let time = line.tag("time").unwrap_or_default();
            format!("h-{}", digest(&format!("{time} {} {}", line.nick().unwrap_or(""), line.last())))
        },
        Cow::into_owned,
    )
}

/// 16 hex digits.
fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:016x}")
}
