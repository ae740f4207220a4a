//! The scripted inbox: a Chatwoot by its contract, in memory, with every fault that the contract knows. It shares no
//! type with the client. What it holds outlives every gateway.

mod agents;
mod answers;
mod callbacks;
mod fate;
mod shapes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use bridge_api::Key;

pub(crate) use callbacks::CallbackDoor;
pub(crate) use fate::Line;

use crate::{
    canary,
    weather::{Weather, lock},
    witness::Witness,
    world::Broken,
};

pub(crate) const ACCOUNT: i64 = 1;
pub(crate) const INBOX: i64 = 7;
pub(crate) const SECRET: &str = "demo-callback-secret";
/// Chatwoot's list of messages.
const PAGE: usize = 100;

#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) weather: Arc<Weather>,
    me: Weak<Self>,
    witness: Arc<Witness>,
    doors: Mutex<Vec<CallbackDoor>>,
    pub(crate) state: Mutex<State>,
    broken: Broken,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    contacts: BTreeMap<i64, Contact>,
    /// By source id.
    links: BTreeMap<String, i64>,
    pub(crate) conversations: BTreeMap<i64, Conversation>,
    pub(crate) messages: BTreeMap<i64, Message>,
    newest: i64,
    keeps_to_one: bool,
}

#[derive(Clone, Debug)]
struct Contact {
    name: String,
    identifier: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) id: i64,
    contact: i64,
    pub(crate) source_id: String,
    pub(crate) status: &'static str,
    updated_millis: i64,
    pub(crate) deleted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Incoming,
    Outgoing,
    Activity,
    Template,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) conversation: i64,
    pub(crate) kind: Kind,
    pub(crate) private: bool,
    pub(crate) content: String,
    pub(crate) source_id: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) deleted: bool,
    created_millis: i64,
    attributes: serde_json::Map<String, serde_json::Value>,
    /// When somebody pressed Retry last, by the number of times.
    pub(crate) retries: u32,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Incoming => 0,
            Self::Outgoing => 1,
            Self::Activity => 2,
            Self::Template => 3,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Activity => "activity",
            Self::Template => "template",
        }
    }
    fn of_name(name: &str) -> Self {
        match name {
            "incoming" => Self::Incoming,
            "activity" => Self::Activity,
            "template" => Self::Template,
            _ => Self::Outgoing,
        }
    }
}

impl Inbox {
    pub(crate) fn new(weather: Arc<Weather>, witness: Arc<Witness>, broken: Broken) -> Arc<Self> {
        let keeps_to_one = weather.one_in(2);
        // Numbers of contacts, conversations and messages never look alike.
        let state = State { newest: 9000, keeps_to_one, ..State::default() };
        let (doors, state) = (Mutex::default(), Mutex::new(state));
        Arc::new_cyclic(|me| Self { weather, me: me.clone(), witness, doors, state, broken })
    }

    fn now(&self) -> i64 {
        self.weather.clock.now()
    }

    /// What the gateway posted becomes a message. Here its effect happens.
    fn posted(&self, conversation: i64, body: &serde_json::Value) -> Message {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let key = Key::new(text("source_id"));
        self.witness.effect(&key);
        let private = body["private"] == true;
        let message = {
            let mut state = lock(&self.state);
            let link = state.conversations[&conversation].source_id.clone();
            if let Some(thread) = canary::written_in(&text("content")).filter(|thread| *thread != link) {
                self.weather.violation(format!("{key} of {thread} was posted in the conversation of {link}"));
            }
            let kind = Kind::of_name(&text("message_type"));
            let (source_id, attributes) = (Some(key.to_string()), body["content_attributes"].as_object().cloned());
            let (content, attributes) = (text("content"), attributes.unwrap_or_default());
            state.add(self.now(), conversation, (kind, private), content, source_id, attributes)
        };
        self.weather.say(&format!("inbox: {key} is message {} of {conversation}", message.id));
        self.announce(&message, "message_created");
        if message.kind == Kind::Incoming {
            self.reopen(conversation);
        }
        message
    }
}

impl State {
    fn add(
        &mut self,
        now_millis: i64,
        conversation: i64,
        (kind, private): (Kind, bool),
        content: String,
        source_id: Option<String>,
        attributes: serde_json::Map<String, serde_json::Value>,
    ) -> Message {
        self.newest += 1;
        let message = Message {
            id: self.newest,
            conversation,
            kind,
            private,
            content,
            source_id,
            status: "sent",
            error: None,
            deleted: false,
            created_millis: now_millis,
            attributes,
            retries: 0,
        };
        self.messages.insert(message.id, message.clone());
        self.touch(conversation, now_millis);
        message
    }

    fn touch(&mut self, conversation: i64, now_millis: i64) {
        if let Some(conversation) = self.conversations.get_mut(&conversation) {
            conversation.updated_millis = now_millis;
        }
    }

    fn living(&self, conversation: i64) -> Option<&Conversation> {
        self.conversations.get(&conversation).filter(|found| !found.deleted)
    }

    pub(crate) fn last_of(&self, conversation: i64) -> Option<&Message> {
        self.messages.values().rev().find(|message| message.conversation == conversation)
    }
}
