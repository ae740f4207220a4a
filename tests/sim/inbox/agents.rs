//! What agents do, and what the inbox does by itself.

use serde_json::{Map, json};

use super::{Inbox, Kind, Message, State, shapes};
use crate::{
    canary,
    weather::{Strike, lock},
};

impl Inbox {
    /// An agent, or the inbox itself, writes.
    pub(crate) fn write(&self, conversation: i64, kind: Kind, private: bool, content: String) -> i64 {
        let message = {
            let mut state = lock(&self.state);
            state.add(self.now(), conversation, (kind, private), content, None, Map::new())
        };
        self.weather.say(&format!("agent: message {} in {conversation}, {kind:?}, private {private}", message.id));
        self.announce(&message, "message_created");
        message.id
    }

    /// Something that is none of ours comes to the same address: of another inbox, another account, or nobody's.
    pub(crate) fn write_elsewhere(&self, conversation: i64) {
        self.weather.met(Strike::Foreign);
        let state = lock(&self.state);
        let Some(conversation) = state.conversations.get(&conversation) else { return };
        let message = Message {
            id: 700_000 + self.weather.below(100_000) as i64,
            conversation: conversation.id,
            kind: Kind::Outgoing,
            private: false,
            content: format!("{} elsewhere", canary::SECRET),
            source_id: None,
            status: "sent",
            error: None,
            deleted: false,
            created_millis: self.now(),
            attributes: Map::new(),
            retries: 0,
        };
        let mut body = shapes::of_message("message_created", &message, conversation);
        match self.weather.below(4) {
            0 => body["inbox"]["id"] = json!(8),
            1 => body["account"]["id"] = json!(2),
            2 => body["inbox"] = json!(null),
            _ => body["private"] = json!("false"),
        }
        drop(state);
        self.send_callback("message_created", None, &body);
    }

    /// The agent takes a message back.
    pub(crate) fn take_back(&self, id: i64) {
        self.weather.met(Strike::TakenBack);
        self.weather.say(&format!("agent: takes message {id} back"));
        self.erase(id);
    }

    pub(super) fn erase(&self, id: i64) {
        self.change(id, |message| {
            message.deleted = true;
            message.content = "This message was deleted".into();
        });
    }

    /// Something about a message changes that concerns nobody here.
    pub(crate) fn translate(&self, id: i64) {
        self.weather.met(Strike::Translated);
        self.change(id, |message| {
            message.attributes.insert("translations".into(), json!({ "de": "…" }));
        });
    }

    /// The agent presses Retry on a message that is marked failed.
    pub(crate) fn press_retry(&self, id: i64) {
        self.weather.met(Strike::RetryPressed);
        self.weather.say(&format!("agent: presses Retry on message {id}"));
        self.change(id, |message| {
            (message.status, message.error) = ("sent", None);
            message.attributes.clear();
            message.retries += 1;
        });
    }

    pub(super) fn mark(&self, id: i64, status: &'static str, error: Option<String>) {
        // A read message is not merely delivered again; the rest is allowed.
        let is_old = |message: &Message| {
            (message.status == status && message.error == error) || (message.status == "read" && status == "delivered")
        };
        if lock(&self.state).messages.get(&id).is_none_or(is_old) {
            return;
        }
        self.weather.say(&format!("inbox: message {id} is {status} {error:?}"));
        self.change(id, |message| (message.status, message.error) = (status, error));
    }

    fn change(&self, id: i64, change: impl FnOnce(&mut Message)) {
        let message = {
            let mut state = lock(&self.state);
            let now = self.now();
            let Some(message) = state.messages.get_mut(&id) else { return };
            change(message);
            let message = message.clone();
            state.touch(message.conversation, now);
            message
        };
        self.announce(&message, "message_updated");
    }

    pub(crate) fn resolve(&self, conversation: i64) {
        self.weather.met(Strike::Resolved);
        self.set_conversation(conversation, "resolved");
    }

    /// Whoever writes wakes it.
    pub(super) fn reopen(&self, conversation: i64) {
        let resolved = lock(&self.state).conversations.get(&conversation).is_some_and(|c| c.status == "resolved");
        if resolved {
            self.set_conversation(conversation, "open");
        }
    }

    fn set_conversation(&self, id: i64, status: &'static str) {
        let body = {
            let mut state = lock(&self.state);
            let now = self.now();
            let Some(conversation) = state.conversations.get_mut(&id).filter(|c| !c.deleted) else { return };
            (conversation.status, conversation.updated_millis) = (status, now);
            shapes::of_conversation(conversation)
        };
        self.weather.say(&format!("inbox: conversation {id} is {status}"));
        for event in ["conversation_status_changed", "conversation_updated"] {
            let mut body = body.clone();
            body["event"] = json!(event);
            self.send_callback(event, None, &body);
        }
    }

    /// Nobody is told.
    pub(crate) fn delete_conversation(&self, id: i64) {
        self.weather.say(&format!("agent: deletes conversation {id}"));
        if let Some(conversation) = lock(&self.state).conversations.get_mut(&id) {
            conversation.deleted = true;
        }
    }

    /// Two contacts become one: links and conversations move over unchanged. Nobody is told.
    pub(crate) fn merge_two(&self) {
        let mut state = lock(&self.state);
        let ids: Vec<i64> = state.contacts.keys().copied().collect();
        if ids.len() < 2 {
            return;
        }
        let (base, other) = (ids[self.weather.below(ids.len())], ids[self.weather.below(ids.len())]);
        if base != other {
            self.weather.met(Strike::Merged);
            self.weather.say(&format!("agent: merges contact {other} into {base}"));
            state.merge(base, other);
        }
    }
}

impl State {
    fn merge(&mut self, base: i64, other: i64) {
        self.contacts.remove(&other);
        self.links.values_mut().filter(|owner| **owner == other).for_each(|owner| *owner = base);
        let theirs = self.conversations.values_mut().filter(|conversation| conversation.contact == other);
        theirs.for_each(|conversation| conversation.contact = base);
    }
}
