//! The calls that the gateway makes, answered from the state.

use deskbridge::chatwoot::{Answered, Asked};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{Contact, Conversation, INBOX, Inbox, PAGE, SECRET, State};
use crate::weather::{Strike, lock};

/// A request, taken apart.
struct Wanted {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Value,
}

impl Wanted {
    fn of(asked: &Asked) -> Self {
        let url = Url::parse(&format!("http://inbox{}", asked.target)).expect("a path and a query");
        let path = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
        let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Self { method: asked.method.clone(), path, query, body: asked.body.clone().unwrap_or_default() }
    }
    fn asks(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(asked, _)| asked == name).map(|(_, value)| value.as_str())
    }
    fn number(&self, name: &str) -> Option<i64> {
        self.asks(name)?.parse().ok()
    }
    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_default().to_owned()
    }
}

pub(super) fn json_answer(status: u16, body: &Value) -> Answered {
    let content_type = "application/json; charset=utf-8".to_owned();
    Answered { status, content_type, retry_after: None, body: body.to_string().into_bytes() }
}

fn not_found() -> Answered {
    json_answer(404, &json!({ "error": "Resource could not be found" }))
}

pub(super) fn server_error() -> Answered {
    json_answer(500, &json!({ "status": 500, "error": "Internal Server Error" }))
}

impl Inbox {
    /// Does what is asked. The effect of a request happens here and nowhere else.
    pub(super) fn answer(&self, asked: &Asked) -> Answered {
        let wanted = Wanted::of(asked);
        let path: Vec<&str> = wanted.path.iter().map(String::as_str).collect();
        let [_, _, _, _, rest @ ..] = path.as_slice() else { return not_found() };
        match (wanted.method.as_str(), rest) {
            ("POST", ["contact_inboxes", "filter"]) => self.contact_by_link(&wanted),
            ("POST", ["contacts"]) => self.create_contact(&wanted),
            ("POST", ["contacts", "filter"]) => self.contacts(&wanted.body["payload"][0]["values"][0]),
            ("GET", ["contacts", "search"]) => self.contacts(&json!(wanted.asks("q"))),
            ("POST", ["contacts", id, "contact_inboxes"]) => self.add_link(id.parse().unwrap_or(0), &wanted),
            ("PATCH", ["contacts", id]) => self.update_contact(id.parse().unwrap_or(0), &wanted),
            ("GET", ["conversations"]) => self.conversations(&wanted),
            ("POST", ["conversations"]) => self.create_conversation(&wanted),
            (_, ["conversations", id, rest @ ..]) => self.of_conversation(id.parse().unwrap_or(0), rest, &wanted),
            ("GET", ["inboxes", _]) => json_answer(
                200,
                &json!({ "id": INBOX, "name": "support", "channel_type": "Channel::Api", "secret": SECRET }),
            ),
            ("GET", ["agents"]) => json_answer(200, &json!([])),
            _ => not_found(),
        }
    }

    fn of_conversation(&self, id: i64, rest: &[&str], wanted: &Wanted) -> Answered {
        let state = lock(&self.state);
        let Some(conversation) = state.living(id) else {
            if wanted.method == Method::POST {
                self.weather.met(Strike::ConversationGone);
            }
            return not_found();
        };
        match (wanted.method.as_str(), rest) {
            ("GET", []) => json_answer(200, &state.conversation(conversation)),
            ("GET", ["messages"]) => state.list(id, wanted),
            ("POST", ["messages"]) => {
                drop(state);
                let message = self.posted(id, &wanted.body);
                json_answer(200, &message.row())
            }
            ("PATCH", ["messages", message]) => {
                drop(state);
                self.set_status(message.parse().unwrap_or(0), wanted)
            }
            ("DELETE", ["messages", message]) => {
                drop(state);
                self.erase(message.parse().unwrap_or(0));
                json_answer(200, &json!({}))
            }
            _ => json_answer(200, &json!({})),
        }
    }

    fn contact_by_link(&self, wanted: &Wanted) -> Answered {
        let state = lock(&self.state);
        match state.links.get(&wanted.text("source_id")) {
            Some(contact) => json_answer(200, &state.contact(*contact)),
            None => Answered { status: 404, ..Answered::default() },
        }
    }

    fn create_contact(&self, wanted: &Wanted) -> Answered {
        let mut state = lock(&self.state);
        let (identifier, source_id) = (wanted.text("identifier"), wanted.text("source_id"));
        if state.contacts.values().any(|contact| contact.identifier.as_deref() == Some(&identifier)) {
            let message = "Identifier has already been taken";
            return json_answer(422, &json!({ "message": message, "attributes": ["identifier"] }));
        }
        if state.links.contains_key(&source_id) {
            return server_error();
        }
        let id = 501 + state.contacts.len() as i64;
        let contact = Contact { name: wanted.text("name"), identifier: Some(identifier) };
        state.contacts.insert(id, contact);
        state.links.insert(source_id.clone(), id);
        let link = json!({ "inbox": { "id": INBOX }, "source_id": source_id });
        json_answer(200, &json!({ "payload": { "contact": state.contact(id), "contact_inbox": link } }))
    }

    fn contacts(&self, identifier: &Value) -> Answered {
        let state = lock(&self.state);
        let found = state.contacts.iter().filter(|(_, contact)| json!(contact.identifier) == *identifier);
        let found: Vec<_> = found.map(|(id, _)| state.contact(*id)).collect();
        json_answer(200, &json!({ "meta": { "count": found.len() }, "payload": found }))
    }

    fn add_link(&self, contact: i64, wanted: &Wanted) -> Answered {
        let mut state = lock(&self.state);
        let source_id = wanted.text("source_id");
        if !state.contacts.contains_key(&contact) {
            return not_found();
        }
        match state.links.get(&source_id) {
            Some(owner) if *owner != contact => server_error(),
            Some(_) | None => {
                state.links.insert(source_id.clone(), contact);
                json_answer(200, &json!({ "source_id": source_id, "inbox": { "id": INBOX } }))
            }
        }
    }

    fn update_contact(&self, id: i64, wanted: &Wanted) -> Answered {
        let mut state = lock(&self.state);
        let Some(contact) = state.contacts.get_mut(&id) else { return not_found() };
        contact.name = wanted.text("name");
        json_answer(200, &json!({ "payload": state.contact(id) }))
    }

    /// By link, or all that moved lately: the one is for sessions, the other for a sweep.
    fn conversations(&self, wanted: &Wanted) -> Answered {
        let state = lock(&self.state);
        let since = wanted.number("updated_within").map(|seconds| self.now() - seconds * 1000);
        let source_id = wanted.asks("source_id");
        let matches = |conversation: &&Conversation| {
            !conversation.deleted
                && since.is_none_or(|since| conversation.updated_millis >= since)
                && source_id.is_none_or(|source_id| conversation.source_id == source_id)
        };
        let mut found: Vec<_> = state.conversations.values().filter(matches).collect();
        found.sort_by_key(|conversation| std::cmp::Reverse((conversation.updated_millis, conversation.id)));
        if since.is_none() {
            let before = 25 * (wanted.number("page").unwrap_or(1).max(1) as usize - 1);
            found.drain(..before.min(found.len()));
            found.truncate(25);
        }
        let found: Vec<_> = found.into_iter().map(|found| state.conversation(found)).collect();
        json_answer(200, &json!({ "data": { "meta": {}, "payload": found } }))
    }

    fn create_conversation(&self, wanted: &Wanted) -> Answered {
        let mut state = lock(&self.state);
        let (source_id, contact) = (wanted.text("source_id"), wanted.body["contact_id"].as_i64().unwrap_or(0));
        if !state.contacts.contains_key(&contact) {
            return not_found();
        }
        if state.links.get(&source_id).is_some_and(|owner| *owner != contact) {
            return json_answer(422, &json!({ "error": "source_id should be unique" }));
        }
        state.links.insert(source_id.clone(), contact);
        let of_link = |found: &&Conversation| !found.deleted && found.source_id == source_id;
        let last = state.conversations.values().rev().find(of_link);
        if let Some(last) = last.filter(|_| state.keeps_to_one) {
            return json_answer(200, &state.conversation(last));
        }
        if let Some(last) = last.filter(|last| last.status != "resolved") {
            let id = last.id;
            self.weather.violation(format!("a second conversation for {source_id} beside {id}, which lives"));
        }
        let id = state.open(source_id, contact, self.now());
        self.weather.say(&format!("inbox: conversation {id} of {}", state.conversations[&id].source_id));
        json_answer(200, &state.conversation(&state.conversations[&id]))
    }

    fn set_status(&self, id: i64, wanted: &Wanted) -> Answered {
        let status = match wanted.text("status").as_str() {
            "delivered" => "delivered",
            "read" => "read",
            "failed" => "failed",
            _ => "sent",
        };
        let error = wanted.body["external_error"].as_str().filter(|_| status == "failed").map(str::to_owned);
        if !lock(&self.state).messages.contains_key(&id) {
            return not_found();
        }
        self.mark(id, status, error);
        json_answer(200, &json!({ "id": id }))
    }
}

impl State {
    fn list(&self, conversation: i64, wanted: &Wanted) -> Answered {
        let (after, before) = (wanted.number("after"), wanted.number("before"));
        let of_it = |id: &i64| {
            let within = after.is_none_or(|after| *id > after) && before.is_none_or(|before| *id < before);
            within && self.messages[id].conversation == conversation
        };
        let mut ids: Vec<i64> = self.messages.keys().copied().filter(of_it).collect();
        if after.is_some() {
            ids.truncate(PAGE);
        } else {
            ids.drain(..ids.len().saturating_sub(20));
        }
        let rows: Vec<_> = ids.iter().map(|id| self.messages[id].row()).collect();
        json_answer(200, &json!({ "meta": {}, "payload": rows }))
    }

    pub(super) fn open(&mut self, source_id: String, contact: i64, now_millis: i64) -> i64 {
        let id = self.conversations.len() as i64 + 1;
        let conversation =
            Conversation { id, contact, source_id, status: "open", updated_millis: now_millis, deleted: false };
        self.conversations.insert(id, conversation);
        id
    }
}
