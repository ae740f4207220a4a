//! What an agent should know and the person never reads: that they left, go by another name now, or may have
//! written while we were away. Private notes, only where somebody wrote lately, at most one a minute each.

use std::collections::HashMap;

use bridge_api::{EventId, Inbound, PeerId, Report, Sent, ThreadId};

use super::{Machine, Output, presence::Account, presence::Live};
use crate::{isupport::Folded, text::display_name};

/// A conversation counts as going on for this long after its last line.
const GOING_ON_MILLIS: i64 = 60 * 60 * 1000;
/// Between two notes of the same kind on the same person.
const PAUSE_MILLIS: i64 = 60 * 1000;
/// People remembered as noted; beyond that all are forgotten, which costs a note too many.
const NOTED_MAX: usize = 10_000;
/// A shorter absence is not worth a note: servers hold lines back for longer.
const GAP_MIN_MILLIS: i64 = 5 * 1000;
/// Conversations told of one gap, the latest first.
const GAP_NOTES_MAX: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Notes {
    noted: HashMap<(PeerId, About), i64>,
    /// The away text that an agent was told last in each conversation.
    away: HashMap<ThreadId, String>,
    counter: u64,
    /// Since when we are off the network, for those who wrote shortly before.
    away_since_millis: Option<i64>,
}

/// Apart, so that a change of nick does not swallow the note that somebody left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Gone,
    Renamed,
}

impl Machine {
    /// A watched connection ended.
    pub(super) fn note_gone(&mut self, nick: &Folded, how: &str) {
        let Some((id, channels, name)) = self.whom(nick) else { return };
        self.note(&id, About::Gone, threads_of(&id, &channels), &format!("`{name}` {how}"));
    }

    /// Somebody left one channel, and may still be on the network.
    pub(super) fn note_left(&mut self, nick: &Folded, channel: &Folded, how: &str) {
        let Some((id, channels, name)) = self.whom(nick) else { return };
        if channels.contains(channel) {
            self.note(&id, About::Gone, vec![in_channel(channel, &id)], &format!("`{name}` {how}"));
        }
    }

    pub(super) fn note_renamed(&mut self, nick: &Folded, new: &str) {
        let Some((id, channels, name)) = self.whom(nick) else { return };
        self.note(&id, About::Renamed, threads_of(&id, &channels), &format!("`{name}` is now `{}`", display_name(new)));
    }

    /// `whole`: an earlier gap was read back from the network's history.
    pub(super) fn note_link_lost(&mut self, whole: bool) {
        let earlier = self.notes.away_since_millis.filter(|_| !whole);
        self.notes.away_since_millis = Some(earlier.unwrap_or(self.now.millis));
    }

    /// Back on the network: what was written meanwhile reached nobody.
    pub(super) fn note_gap(&mut self) {
        let Some(since) = self.notes.away_since_millis.take() else { return };
        if !self.settings.gap_note || self.now.millis - since < GAP_MIN_MILLIS {
            return;
        }
        let (from, to) = (minute(since), minute(self.now.millis));
        let text =
            format!("the gateway was off the network from {from} to {to} UTC: what was written then may be missing");
        for id in self.people.active_since(since - GOING_ON_MILLIS, GAP_NOTES_MAX) {
            self.push_note(ThreadId::from(id.as_str()), &text);
        }
    }

    /// The contact behind a watched nick, the channels with an open conversation, and the nick for reading.
    fn whom(&self, nick: &Folded) -> Option<(PeerId, Vec<Folded>, String)> {
        let live = self.link.live.get(nick)?;
        let id = live.session.clone().or_else(|| self.account_contact(live))?;
        let open = live.open_until_millis.iter().filter(|(_, until)| *until > self.now.millis);
        Some((id, open.map(|(channel, _)| channel.clone()).collect(), display_name(&live.nick)))
    }

    fn account_contact(&self, live: &Live) -> Option<PeerId> {
        let Account::In(account) = &live.account else { return None };
        self.people.account(&self.link.fold(account))
    }

    fn note(&mut self, id: &PeerId, about: About, threads: Vec<ThreadId>, text: &str) {
        let now = self.now.millis;
        let goes_on = self.people.of(id).is_some_and(|record| now - record.seen_millis < GOING_ON_MILLIS);
        let name = (id.clone(), about);
        let noted = self.notes.noted.get(&name).is_some_and(|at| now - at < PAUSE_MILLIS);
        if !goes_on || noted {
            return;
        }
        if self.notes.noted.len() >= NOTED_MAX {
            self.notes.noted.clear();
        }
        self.notes.noted.insert(name, now);
        for thread in threads {
            self.push_note(thread, text);
        }
    }

    /// Adds the away text to what the agent is told, unless it was told last: it may stand for hours.
    pub(super) fn remark_away(&mut self, thread: &ThreadId, away: Option<&str>, sent: &mut Sent) {
        let Some(text) = away else {
            self.notes.away.remove(thread);
            return;
        };
        if self.notes.away.get(thread).is_some_and(|told| told == text) {
            return;
        }
        if self.notes.away.len() >= NOTED_MAX {
            self.notes.away.clear();
        }
        self.notes.away.insert(thread.clone(), text.to_owned());
        let away = format!("the person is away: {text}");
        sent.remark = Some(match sent.remark.take() {
            Some(remark) => format!("{remark}; {away}"),
            None => away,
        });
    }

    /// The gateway drops it where the thread has no conversation.
    fn push_note(&mut self, thread: ThreadId, text: &str) {
        self.notes.counter += 1;
        let event = EventId::from(format!("note-{}-{}", self.link.epoch, self.notes.counter));
        let report = Report::Note { text: text.to_owned(), see: None };
        self.outputs.push_back(Output::Event(Inbound { event, at_millis: self.now.millis, thread, report }));
    }
}

/// The direct conversation and those in channels.
fn threads_of(id: &PeerId, channels: &[Folded]) -> Vec<ThreadId> {
    let direct = ThreadId::from(id.as_str());
    std::iter::once(direct).chain(channels.iter().map(|channel| in_channel(channel, id))).collect()
}

fn in_channel(channel: &Folded, id: &PeerId) -> ThreadId {
    ThreadId::from(format!("{}:{id}", channel.as_str()))
}

fn minute(millis: i64) -> String {
    crate::time::format(millis).chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}
