//! Who is in a room, and whether we are.

use super::{
    PLACE_MARK, Taking,
    rooms::{Replacement, Room, Standing, Why},
};
use crate::{
    client::{MediaRef, Profile},
    ids::{RoomId, UserId},
    wire::{Event, text},
};

impl Taking<'_> {
    /// A room that we made has no beginning to be read and nobody to be greeted in it. The answer to the call that made
    /// it may have been lost, or be slower than this.
    pub(super) fn created(&mut self, event: &Event) {
        if !self.machine.me.is_ours(&event.sender) || self.knows(&event.room) {
            return;
        }
        let base = text(&event.content, &[PLACE_MARK]).map(RoomId::from);
        let peer = base.as_ref().and_then(|base| self.known(base)?.peer.clone());
        let room = self.room(&event.room);
        (room.settled, room.read_back) = (true, true);
        room.peer = peer;
        if let Some(base) = base.filter(|base| self.knows(base)) {
            self.staged.places.insert(base, event.room.clone());
        }
    }

    pub(super) fn member(&mut self, event: &Event) {
        let Some(whom) = event.state_key.as_deref().map(UserId::from) else { return };
        let membership = text(&event.content, &["membership"]).unwrap_or_default().to_owned();
        if whom == self.machine.me.user {
            self.we(event, &membership);
        } else if !self.machine.me.is_ours(&whom) {
            if membership == "join" {
                self.learn(&whom, event);
            }
            self.they(event, &whom, &membership);
        }
    }

    fn we(&mut self, event: &Event, membership: &str) {
        let by_us = self.machine.me.is_ours(&event.sender);
        match membership {
            "invite" => self.invited(event),
            "join" => {
                let read_back = self.answers.entered.contains(&event.room);
                let room = self.room(&event.room);
                room.standing = Standing::Joined;
                room.read_back |= read_back;
            }
            "leave" if by_us && self.knows(&event.room) => {
                let room = self.room(&event.room);
                room.standing = match room.standing {
                    Standing::Leaving(why) | Standing::Out(why) => Standing::Out(why),
                    Standing::Joined | Standing::Invited { .. } => Standing::Out(Why::Left),
                };
            }
            "leave" if by_us => {}
            "leave" | "ban" => {
                let why = if membership == "ban" { Why::Banned } else { Why::Kicked };
                let was_in = self.knows(&event.room) && self.room(&event.room).is_joined();
                self.room(&event.room).standing = Standing::Out(why);
                if was_in {
                    let (who, reason) = (self.name(&event.sender), reason_of(event));
                    let deed = if why == Why::Banned { "banned us from" } else { "removed us from" };
                    self.note(event, format!("{who} {deed} the Matrix room{reason}. Replies open a new room."));
                }
            }
            _ => {}
        }
    }

    /// An invite may come twice, and after we joined: then it is no news.
    fn invited(&mut self, event: &Event) {
        if self.machine.me.is_ours(&event.sender) {
            return;
        }
        if self.knows(&event.room) && self.room(&event.room).is_joined() {
            return;
        }
        for state in stripped(event) {
            if text(state, &["type"]) == Some("m.room.member")
                && let Some(user) = text(state, &["state_key"]).map(UserId::from)
                && let Some(content) = state.get("content")
                && text(content, &["membership"]) == Some("join")
            {
                self.staged.people.insert(user, profile_of(content));
            }
        }
        let encrypted = stripped(event).any(|state| text(state, &["type"]) == Some("m.room.encryption"));
        if !self.machine.invites.allow(&event.sender) {
            tracing::info!(
                room = event.room.as_str(),
                "an invite is declined, since `invites` does not allow its sender"
            );
            self.room(&event.room).standing = Standing::Leaving(Why::Declined);
            return;
        }
        self.replaces(event);
        let via = event.sender.server().map(str::to_owned);
        let sender = event.sender.clone();
        let room = self.room(&event.room);
        room.standing = Standing::Invited { via };
        room.read_back = false;
        room.peer.get_or_insert(sender);
        room.encrypted |= encrypted;
        room.peer_left = false;
    }

    /// The invite that we waited for: into the room that replaces one of ours, and that says itself that it does.
    fn replaces(&mut self, event: &Event) {
        let create = stripped(event).find(|state| text(state, &["type"]) == Some("m.room.create"));
        let Some(old) = create.and_then(|state| text(state, &["content", "predecessor", "room_id"])) else { return };
        let old = RoomId::from(old);
        let named = |known: &&Room| known.replaced_by.as_ref().is_some_and(|next| next.room == event.room);
        let Some(peer) = self.known(&old).filter(named).map(|room| room.peer.clone()) else { return };
        let base = self.base(&old);
        let room = self.room(&old);
        room.replaced_by = None;
        room.standing = Standing::Leaving(Why::Moved);
        let room = self.room(&event.room);
        room.peer = peer;
        room.settled = true;
        self.staged.places.insert(base, event.room.clone());
    }

    fn they(&mut self, event: &Event, whom: &UserId, membership: &str) {
        if !self.knows(&event.room) {
            return;
        }
        let was = text(&event.unsigned, &["prev_content", "membership"]).unwrap_or_default();
        let (who, by, reason) = (self.name(whom), self.name(&event.sender), reason_of(event));
        let is_peer = self.room(&event.room).peer.as_ref() == Some(whom);
        match membership {
            // A change of name or picture.
            "join" if was == "join" => {}
            "join" => {
                let returns = is_peer && self.room(&event.room).peer_left;
                if is_peer {
                    let room = self.room(&event.room);
                    (room.peer_left, room.reinvited) = (false, false);
                }
                if returns || !is_peer {
                    self.note(event, format!("{who} joined the Matrix room."));
                }
            }
            "leave" | "ban" => {
                let text = match (membership, event.sender == *whom, was) {
                    ("ban", ..) => format!("{who} was banned from the Matrix room by {by}{reason}."),
                    (_, true, "invite") => format!("{who} declined the invitation to the Matrix room."),
                    (_, true, _) => format!("{who} left the Matrix room{reason}."),
                    (_, false, _) => format!("{who} was removed from the Matrix room by {by}{reason}."),
                };
                if is_peer {
                    self.room(&event.room).peer_left = true;
                }
                self.note(event, text);
            }
            _ => {}
        }
    }

    pub(super) fn tombstone(&mut self, event: &Event) {
        let next = text(&event.content, &["replacement_room"]).map(RoomId::from);
        let Some(next) = next.filter(|room| *room != event.room && room.thread().is_some()) else { return };
        let via = event.sender.server().map(str::to_owned);
        if self.knows(&event.room) {
            self.room(&event.room).replaced_by = Some(Replacement { room: next, via });
        }
    }

    fn learn(&mut self, user: &UserId, event: &Event) {
        self.staged.people.insert(user.clone(), profile_of(&event.content));
    }
}

fn stripped(event: &Event) -> impl Iterator<Item = &serde_json::Value> {
    event.unsigned.get("invite_room_state").and_then(serde_json::Value::as_array).into_iter().flatten()
}

fn profile_of(content: &serde_json::Value) -> Profile {
    Profile {
        name: text(content, &["displayname"]).map(str::to_owned),
        picture: text(content, &["avatar_url"]).and_then(MediaRef::parse),
    }
}

fn reason_of(event: &Event) -> String {
    let reason = text(&event.content, &["reason"]).unwrap_or_default();
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
    if reason.trim().is_empty() { String::new() } else { format!(" ({})", reason.trim()) }
}
