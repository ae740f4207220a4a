//! What people write: messages, edits, signs, and what they take back.

use std::collections::BTreeMap;

use bridge_api::{Attachment, EventId, Holder, Message, Peer, PeerId, Report, Speaker, Target};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Checkpoint, Found, NOTICE_MARK, Taking, key_of, media, recent::Author, said_by};
use crate::{
    ids::{EventRef, RoomId, UserId},
    render,
    wire::{Event, Relation, text},
};

/// The contract allows a peer's name 200 bytes.
const PEER_BYTES_MAX: usize = 200;
const SIGN_CHARS_MAX: usize = 64;

/// What is known of the event that another one speaks of.
enum SpokenOf {
    Theirs(UserId),
    Ours(Option<bridge_api::Key>),
    /// Surely not in this room.
    Elsewhere,
    /// Nobody answered in time.
    Unknown,
}

impl Taking<'_> {
    pub(super) fn message(&mut self, event: &Event) {
        let Some(speaker) = self.speaker(event) else { return };
        if event.content.as_object().is_none_or(serde_json::Map::is_empty) {
            let redacted = event.was_redacted();
            tracing::info!(event = event.id.as_str(), redacted, "a message without content is skipped");
            return;
        }
        if text(&event.content, &["msgtype"]) == Some("m.key.verification.request") {
            return;
        }
        self.met(event);
        match event.relation() {
            Relation::Edit(first) => self.edit(event, &first, speaker),
            Relation::Reply(to) => self.say(event, speaker, Some(to), None),
            Relation::Thread { root, reply } => self.say(event, speaker, reply, Some(root)),
            Relation::Reaction { .. } | Relation::None => self.say(event, speaker, None, None),
        }
    }

    /// `None` for what is our own and known to be: everything that our users do comes back.
    fn speaker(&mut self, event: &Event) -> Option<Speaker> {
        let me = &self.machine.me;
        if !me.is_ours(&event.sender) {
            return Some(Speaker::Peer);
        }
        let key = key_of(&event.content);
        let is_notice = event.content.get(NOTICE_MARK).is_some();
        if key.is_some() || is_notice || event.was_redacted() || self.author(&event.id).is_some() {
            let is_effect = key.is_some() && !matches!(event.relation(), Relation::Edit(_));
            let author = Author::Ours(key.clone());
            self.staged.recent.push((event.id.clone(), event.room.clone(), author));
            if is_effect {
                self.staged.ring.push((event.room.clone(), event.id.clone(), key));
            }
            return None;
        }
        // The account is a bot's, and somebody uses it from elsewhere. Users of a namespace are ours alone.
        (me.namespace.is_none() && self.knows(&event.room)).then_some(Speaker::Ourselves)
    }

    /// Remembers who wrote this, and whose room it is.
    fn met(&mut self, event: &Event) {
        let author = Author::Peer(event.sender.clone());
        self.staged.recent.push((event.id.clone(), event.room.clone(), author));
        self.staged.ring.push((event.room.clone(), event.id.clone(), None));
        if !self.machine.me.is_ours(&event.sender) {
            self.wrote(&event.room, &event.sender);
            let peer_of_base = self.peer_of_base(&event.room);
            let sender = event.sender.clone();
            let met_here = !self.knows(&event.room);
            let room = self.room(&event.room);
            room.peer.get_or_insert(peer_of_base.unwrap_or(sender));
            // A room that we were in before we knew of it has no beginning that concerns us.
            room.read_back |= met_here;
            if self.room(&event.room).peer.as_ref() == Some(&event.sender) {
                self.moves_to(event);
            }
        }
    }

    /// Replies go to where the person wrote last.
    fn moves_to(&mut self, event: &Event) {
        let room = self.room(&event.room);
        room.wrote_at = room.wrote_at.max(event.at_millis);
        let is_fit = room.is_joined() && !room.encrypted && !room.peer_left && event.kind != "m.room.encrypted";
        let base = self.base(&event.room);
        let place = self.staged.places.get(&base).unwrap_or_else(|| self.machine.rooms.place_of(&base)).clone();
        let is_newer = self.known(&place).is_none_or(|place| place.wrote_at < event.at_millis);
        if is_fit && is_newer && place != event.room {
            self.staged.places.insert(base, event.room.clone());
        }
    }

    /// A room that was made in place of another is the same person's.
    fn peer_of_base(&self, room: &RoomId) -> Option<UserId> {
        let base = self.base(room);
        (base != *room).then(|| self.machine.rooms.get(&base)?.peer.clone()).flatten()
    }

    fn say(&mut self, event: &Event, speaker: Speaker, reply: Option<EventRef>, root: Option<EventRef>) {
        if speaker == Speaker::Peer {
            self.room(&event.room).root = root;
        }
        let is_reply = reply.is_some();
        let reply_to = reply.and_then(|to| self.target(&event.room, &to));
        let Some(mut message) = self.shown(event, &event.content, is_reply, speaker) else { return };
        message.reply_to = reply_to;
        self.checkpoint(event, true);
        self.report(event, Report::Message(message));
    }

    /// The server lets anybody send an edit of anybody's message: only the author's own counts.
    fn edit(&mut self, event: &Event, first: &EventRef, speaker: Speaker) {
        let Some(content) = event.content.get("m.new_content").filter(|content| content.is_object()) else {
            tracing::info!(event = event.id.as_str(), "an edit without a new text is skipped");
            return;
        };
        match self.spoken_of(&event.room, first) {
            SpokenOf::Theirs(author) if author == event.sender => {}
            // Who wrote this is certain; only which message it replaces is not.
            SpokenOf::Unknown => {}
            SpokenOf::Theirs(_) | SpokenOf::Ours(_) | SpokenOf::Elsewhere => {
                tracing::warn!(
                    event = event.id.as_str(),
                    "an edit of something that its sender did not write is skipped"
                );
                return;
            }
        }
        let Some(message) = self.shown(event, content, false, speaker) else { return };
        self.checkpoint(event, true);
        self.report(event, Report::Edited { event: EventId::from(first.as_str()), message });
    }

    pub(super) fn reaction(&mut self, event: &Event) {
        if self.machine.me.is_ours(&event.sender) || !self.knows(&event.room) {
            return;
        }
        let Relation::Reaction { to, sign } = event.relation() else { return };
        let Some(to) = self.target(&event.room, &to) else { return };
        let sign: String = sign.chars().filter(|c| !c.is_control()).take(SIGN_CHARS_MAX).collect();
        let by = self.name(&event.sender);
        self.checkpoint(event, true);
        self.report(event, Report::Reacted { to, by, sign });
    }

    pub(super) fn redaction(&mut self, event: &Event) {
        if self.machine.me.is_ours(&event.sender) || !self.knows(&event.room) {
            return;
        }
        let Some(target) = event.redacts.clone() else { return };
        self.checkpoint(event, true);
        self.report(event, Report::Withdrawn { event: EventId::from(target.as_str()) });
    }

    /// The first one is told to the agents, since somebody is waiting for an answer; each gets its checkpoint.
    pub(super) fn unreadable(&mut self, event: &Event) {
        if self.machine.me.is_ours(&event.sender) {
            return;
        }
        self.met(event);
        self.checkpoint(event, false);
        let told_before = self.room(&event.room).told_agents;
        let room = self.room(&event.room);
        room.encrypted = true;
        room.told_agents = true;
        if !told_before {
            let text = "*Wrote an encrypted message, which the gateway cannot read. The person was told so and was \
                        invited to a room without encryption; replies go there.*";
            let message = self.message_of(event, text.to_owned(), Vec::new(), Speaker::Peer);
            self.report(event, Report::Message(message));
        }
    }

    /// `None` when there is nothing to show.
    fn shown(&mut self, event: &Event, content: &Value, is_reply: bool, speaker: Speaker) -> Option<Message> {
        let msgtype = match event.kind.as_str() {
            "m.sticker" => "m.sticker",
            _ => text(content, &["msgtype"]).unwrap_or("m.text"),
        };
        let shown = media::read(msgtype, content);
        let (mut words, attachments) = match shown {
            media::Shown::Text => (self.words(event, content, msgtype, is_reply), Vec::new()),
            media::Shown::File { file, caption } => {
                let words = if caption { self.words(event, content, "m.text", is_reply) } else { String::new() };
                (words, vec![file])
            }
            media::Shown::Words(words) => (words, Vec::new()),
        };
        if msgtype == "m.notice" && !words.is_empty() {
            words = format!("*automatic:* {words}");
        }
        if words.trim().is_empty() && attachments.is_empty() {
            return None;
        }
        let peer = self.room(&event.room).peer.clone();
        // An emote names its author already.
        if speaker == Speaker::Peer && peer.as_ref() != Some(&event.sender) && msgtype != "m.emote" {
            words = said_by(&self.name(&event.sender), "**", &words);
        }
        Some(self.message_of(event, words, attachments, speaker))
    }

    fn words(&self, event: &Event, content: &Value, msgtype: &str, is_reply: bool) -> String {
        let name = self.name(&event.sender);
        let html = text(content, &["format"]).filter(|format| *format == "org.matrix.custom.html");
        render::to_markdown(&render::Content {
            body: text(content, &["body"]).unwrap_or_default(),
            formatted_body: html.and_then(|_| text(content, &["formatted_body"])),
            emote_of: (msgtype == "m.emote").then_some(name.as_str()),
            reply: is_reply,
        })
    }

    fn message_of(&mut self, event: &Event, text: String, attachments: Vec<Attachment>, speaker: Speaker) -> Message {
        let peer = self.room(&event.room).peer.clone().unwrap_or_else(|| event.sender.clone());
        let mut thread_facts = BTreeMap::from([("matrix_room".to_owned(), event.room.as_str().to_owned())]);
        if let Some(server) = peer.server() {
            thread_facts.insert("homeserver".to_owned(), server.to_owned());
        }
        Message {
            peer: self.peer(&peer),
            speaker,
            text,
            attachments,
            reply_to: None,
            quiet: false,
            facts: std::collections::BTreeMap::new(),
            thread_facts,
        }
    }

    fn peer(&self, user: &UserId) -> Peer {
        let picture = self.profile(user).picture.map(|media| Attachment {
            name: "picture".to_owned(),
            media_type: None,
            size_bytes: None,
            url: media.to_string(),
            holder: Holder::Network,
        });
        let facts = BTreeMap::from([("matrix_id".to_owned(), user.as_str().to_owned())]);
        Peer { id: peer_id(user), name: self.name(user), facts, picture, email: None }
    }

    fn target(&self, room: &RoomId, to: &EventRef) -> Option<Target> {
        match self.spoken_of(room, to) {
            SpokenOf::Ours(key) => key.map(Target::Effect),
            SpokenOf::Theirs(_) | SpokenOf::Unknown => Some(Target::Event(EventId::from(to.as_str()))),
            SpokenOf::Elsewhere => None,
        }
    }

    fn spoken_of(&self, room: &RoomId, event: &EventRef) -> SpokenOf {
        if let Some((place, author)) = self.author(event) {
            return match author {
                _ if place != room => SpokenOf::Elsewhere,
                Author::Peer(user) => SpokenOf::Theirs(user.clone()),
                Author::Ours(key) => SpokenOf::Ours(key.clone()),
            };
        }
        match self.answers.events.get(event) {
            Some(Found::Event(found)) if self.machine.me.is_ours(&found.sender) => {
                SpokenOf::Ours(key_of(&found.content))
            }
            Some(Found::Event(found)) => SpokenOf::Theirs(found.sender.clone()),
            Some(Found::Absent) => SpokenOf::Elsewhere,
            None => SpokenOf::Unknown,
        }
    }

    fn checkpoint(&mut self, event: &Event, carried: bool) {
        self.staged.checkpoints.push(Checkpoint {
            event: event.id.clone(),
            room: event.room.clone(),
            kind: event.kind.clone(),
            msgtype: text(&event.content, &["msgtype"]).map(str::to_owned),
            carried,
        });
    }
}

/// The user id, or a stable short form of one that is too long.
fn peer_id(user: &UserId) -> PeerId {
    let whole = user.as_str();
    if whole.len() <= PEER_BYTES_MAX {
        return PeerId::from(whole);
    }
    let digest = Sha256::digest(whole);
    let mut short = whole[..whole.floor_char_boundary(PEER_BYTES_MAX - 33)].to_owned();
    short.push('~');
    for byte in &digest[..16] {
        use std::fmt::Write;
        write!(short, "{byte:02x}").expect("a string takes all");
    }
    PeerId::from(short)
}
