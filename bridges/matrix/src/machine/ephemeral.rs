//! Typing and reading: worth something for a moment only, and said again at every change.

use std::collections::BTreeSet;

use bridge_api::{EventId, Inbound, Key, Receipt, Report};

use super::{
    Found, Taking, key_of,
    recent::{Author, History, Ring},
};
use crate::{
    ids::{RoomId, UserId},
    wire::{Event, Seen},
};

impl Taking<'_> {
    /// The whole set of who types now: what changed is reported.
    pub(super) fn types(&mut self, room: &RoomId, users: Vec<UserId>) {
        let Some(thread) = self.machine.rooms.get(room).and_then(|_| self.thread(room)) else { return };
        let now: BTreeSet<UserId> = users.into_iter().filter(|user| !self.machine.me.is_ours(user)).collect();
        let before = self.staged.now_typing.get(room).or_else(|| self.machine.typing.get(room));
        let before = before.is_some_and(|users| !users.is_empty());
        if before == now.is_empty() {
            self.staged.typing.push((room.clone(), thread, !now.is_empty()));
        }
        self.staged.now_typing.insert(room.clone(), now);
    }

    /// Whoever wrote does not type any more, though the server may not say so.
    pub(super) fn wrote(&mut self, room: &RoomId, user: &UserId) {
        let now = self.staged.now_typing.get(room).or_else(|| self.machine.typing.get(room));
        let Some(mut left) = now.filter(|users| users.contains(user)).cloned() else { return };
        left.remove(user);
        self.types(room, left.into_iter().collect());
    }

    /// Somebody has read up to an event: all of ours up to it become read.
    pub(super) fn reads(&mut self, room: &RoomId, seen: &Seen) {
        if self.machine.me.is_ours(&seen.user) {
            return;
        }
        let mut keys = self.unread_up_to(room, seen);
        keys.dedup();
        for key in keys {
            let Some(thread) = self.thread(room) else { continue };
            let id = format!("read/{key}");
            let at_millis = self.moment(seen.at_millis, &id);
            let report = Report::Receipt { key: key.clone(), receipt: Receipt::Read };
            self.staged.inbound.push(Inbound { event: EventId::from(id), at_millis, thread, report });
            self.staged.read.push((room.clone(), key));
        }
    }

    fn unread_up_to(&self, room: &RoomId, seen: &Seen) -> Vec<Key> {
        let done = |key: &Key| self.staged.read.iter().any(|(_, read)| read == key);
        if let Some(keys) = self.ring(room).unread_up_to(&seen.event) {
            return keys.into_iter().filter(|key| !done(key)).collect();
        }
        // Older than what can be had, or its echo has not come yet: at least the message itself was read.
        let key = match self.author(&seen.event) {
            Some((_, Author::Ours(key))) => key.clone(),
            Some((_, Author::Peer(_))) => None,
            None => match self.answers.events.get(&seen.event) {
                Some(Found::Event(event)) if self.machine.me.is_ours(&event.sender) => key_of(&event.content),
                Some(_) | None => None,
            },
        };
        key.into_iter().filter(|key| !done(key)).collect()
    }

    /// The room's ring with what the homeserver tells of its history, and with what this transaction brings. What was
    /// read before this start is reported again, which changes nothing.
    fn ring(&self, room: &RoomId) -> Ring {
        let mut ring = self.machine.rings.get(room).cloned().unwrap_or_default();
        if let Some(history) = self.history(room) {
            ring.adopt(history);
        }
        for (_, event, key) in self.staged.ring.iter().filter(|(of, ..)| of == room) {
            ring.put(event.clone(), key.clone());
        }
        ring
    }

    fn history(&self, room: &RoomId) -> Option<History> {
        let history = self.answers.histories.get(room)?;
        let key = |event: &Event| key_of(&event.content).filter(|_| self.machine.me.is_ours(&event.sender));
        Some(history.iter().map(|event| (event.id.clone(), key(event))).collect())
    }

    /// What was asked for once need not be asked for again.
    pub(super) fn keep_histories(&mut self) {
        let rooms: Vec<RoomId> = self.answers.histories.keys().cloned().collect();
        self.staged.adopted =
            rooms.into_iter().filter_map(|room| self.history(&room).map(|history| (room, history))).collect();
    }
}
