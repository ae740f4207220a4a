//! The sandbox inbox as a process of its own, through its hooks: what an agent sees and does.

use std::{path::Path, process::Command};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    http::{self, Answer},
    process::{Process, free_port},
    wait::until,
};

pub(crate) const TOKEN: &str = "sandbox-token";
const ACCOUNT: u64 = 1;
const INBOX: u64 = 7;

/// Everything the inbox holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Desk {
    pub(crate) contacts: Vec<Contact>,
    pub(crate) conversations: Vec<Conversation>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Contact {
    pub(crate) name: String,
    pub(crate) identifier: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) messages: Vec<Message>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) content: Option<String>,
    /// 0 incoming, 1 outgoing, 2 activity, 3 template.
    #[serde(rename = "message_type")]
    kind: u8,
    pub(crate) status: String,
    pub(crate) source_id: Option<String>,
    content_attributes: Value,
    #[serde(default)]
    pub(crate) attachments: Vec<Attachment>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) data_url: String,
    pub(crate) content_type: String,
}

impl Message {
    pub(crate) fn is_incoming(&self) -> bool {
        self.kind == 0
    }

    pub(crate) fn text(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.content_attributes["deleted"] == true
    }

    /// The message that this one answers.
    pub(crate) fn answers(&self) -> Option<u64> {
        self.content_attributes["in_reply_to"].as_u64()
    }

    /// Why it failed.
    pub(crate) fn reason(&self) -> &str {
        self.content_attributes["external_error"].as_str().unwrap_or_default()
    }
}

impl Conversation {
    pub(crate) fn incoming(&self) -> Vec<&str> {
        self.messages.iter().filter(|message| message.is_incoming()).map(Message::text).collect()
    }
}

impl Desk {
    /// Conversations whose contact bears this name now.
    pub(crate) fn of(&self, name: &str) -> Vec<&Conversation> {
        self.conversations.iter().filter(|conversation| conversation.name == name).collect()
    }

    pub(crate) fn message(&self, id: u64) -> Option<&Message> {
        self.conversations.iter().flat_map(|conversation| &conversation.messages).find(|message| message.id == id)
    }

    pub(crate) fn incoming(&self) -> impl Iterator<Item = &Message> {
        self.conversations
            .iter()
            .flat_map(|conversation| &conversation.messages)
            .filter(|message| message.is_incoming())
    }
}

#[derive(Debug)]
pub(crate) struct Sandbox {
    _process: Option<Process>,
    pub(crate) url: String,
}

impl Sandbox {
    pub(crate) fn start(folder: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.args(["sandbox", "--listen", &address]);
        let mut process = Process::spawn(command, "sandbox", folder);
        let url = format!("http://{address}");
        until("the sandbox to answer", || {
            assert!(process.ended().is_none(), "the sandbox ended: {}", process.err());
            http::get(&format!("{url}/sandbox/state")).map(drop)
        });
        Self { _process: Some(process), url }
    }

    /// One that somebody else runs.
    pub(crate) fn at(url: &str) -> Self {
        Self { _process: None, url: url.trim_end_matches('/').to_owned() }
    }

    /// As lines of an inbox's table in the settings.
    pub(crate) fn settings(&self) -> String {
        let secret = self.secret();
        format!(
            "url = \"{}\"\naccount_id = {ACCOUNT}\ninbox_id = {INBOX}\napi_access_token = \"{TOKEN}\"\n\
             callback_secret = \"{secret}\"\n",
            self.url
        )
    }

    /// The key that callbacks are signed with.
    pub(crate) fn secret(&self) -> String {
        let url = format!("{}/api/v1/accounts/{ACCOUNT}/inboxes/{INBOX}", self.url);
        let inbox = http::request(reqwest::Method::GET, &url, &[("api-access-token", TOKEN)], None);
        let inbox = inbox.expect("the sandbox answers").json();
        inbox["secret"].as_str().expect("an administrator sees the secret").to_owned()
    }

    pub(crate) fn call_back(&self, url: &str) {
        self.post("/sandbox/callback", &json!({ "url": url }));
    }

    pub(crate) fn desk(&self) -> Desk {
        let answer = http::get(&format!("{}/sandbox/state", self.url)).expect("the sandbox answers");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Callbacks posted and failed so far.
    pub(crate) fn callbacks(&self) -> (u64, u64) {
        let state = http::get(&format!("{}/sandbox/state", self.url)).expect("the sandbox answers").json();
        let count = |name: &str| state["callbacks"][name].as_u64().expect("a count");
        (count("posted"), count("failed"))
    }

    /// The only conversation with somebody of this name, once its last message is `text`.
    pub(crate) fn conversation(&self, name: &str, text: &str) -> Conversation {
        until(&format!("`{text}` by {name} at the inbox"), || {
            let desk = self.desk();
            let found = desk.of(name);
            match found.as_slice() {
                [one] if one.incoming().last() == Some(&text) => Ok((*one).clone()),
                _ => Err(format!("{:?}", desk.conversations)),
            }
        })
    }

    /// The agent writes. Returns the message's id.
    pub(crate) fn reply(&self, conversation: u64, text: &str) -> u64 {
        self.write(conversation, &json!({ "content": text }))
    }

    pub(crate) fn note(&self, conversation: u64, text: &str) -> u64 {
        self.write(conversation, &json!({ "content": text, "private": true }))
    }

    /// The agent answers one message of several.
    pub(crate) fn answer_to(&self, conversation: u64, message: u64, text: &str) -> u64 {
        self.write(conversation, &json!({ "content": text, "content_attributes": { "in_reply_to": message } }))
    }

    /// The agent sends a file, with nothing but `text` beside it.
    pub(crate) fn reply_with_file(&self, conversation: u64, text: &str, name: &str, bytes: &[u8]) -> u64 {
        let edge = "------------------------e2e";
        let mut form = format!(
            "--{edge}\r\ncontent-disposition: form-data; name=\"content\"\r\n\r\n{text}\r\n--{edge}\r\n\
             content-disposition: form-data; name=\"attachments[]\"; filename=\"{name}\"\r\n\
             content-type: image/png\r\n\r\n"
        )
        .into_bytes();
        form.extend_from_slice(bytes);
        form.extend_from_slice(format!("\r\n--{edge}--\r\n").as_bytes());
        let url = format!("{}/sandbox/conversations/{conversation}/reply", self.url);
        let kind = format!("multipart/form-data; boundary={edge}");
        let answer = http::request(reqwest::Method::POST, &url, &[("content-type", &kind)], Some(form));
        let answer = answer.expect("the sandbox answers");
        answer.json()["id"].as_u64().unwrap_or_else(|| panic!("no message: {answer:?}"))
    }

    /// The agent takes a message back.
    pub(crate) fn delete(&self, conversation: u64, message: u64) {
        let url = format!("{}/sandbox/conversations/{conversation}/messages/{message}", self.url);
        let answer = http::request(reqwest::Method::DELETE, &url, &[], None).expect("the sandbox answers");
        assert!(answer.status < 300, "{answer:?}");
    }

    /// The agent types, or stops.
    pub(crate) fn types(&self, conversation: u64, on: bool) {
        self.post(&format!("/sandbox/conversations/{conversation}/typing"), &json!({ "on": on }));
    }

    fn write(&self, conversation: u64, body: &Value) -> u64 {
        let answer = self.post(&format!("/sandbox/conversations/{conversation}/reply"), body);
        answer.json()["id"].as_u64().unwrap_or_else(|| panic!("no message: {answer:?}"))
    }

    pub(crate) fn resolve(&self, conversation: u64) {
        self.post(&format!("/sandbox/conversations/{conversation}/resolve"), &json!({}));
    }

    /// Returns once the message has this status.
    pub(crate) fn until_status(&self, message: u64, status: &str) -> Message {
        until(&format!("message {message} to be {status}"), || {
            let desk = self.desk();
            let found = desk.message(message).ok_or("no such message")?;
            if found.status == status { Ok(found.clone()) } else { Err(format!("{found:?}")) }
        })
    }

    /// Replaces everything that goes wrong on purpose.
    pub(crate) fn faults(&self, sheet: &Value) {
        self.post("/sandbox/faults", sheet);
    }

    /// How many requests a rule has yet to strike.
    pub(crate) fn strikes_left(&self) -> u64 {
        let sheet = http::get(&format!("{}/sandbox/faults", self.url)).expect("the sandbox answers").json();
        let rules = sheet["routes"].as_array().expect("rules");
        rules.iter().filter_map(|rule| rule["count"].as_u64()).sum()
    }

    /// Refuses connections for a while.
    pub(crate) fn down(&self, seconds: u64) {
        self.post("/sandbox/down", &json!({ "seconds": seconds }));
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let answer = http::post_json(&format!("{}{path}", self.url), body).expect("the sandbox answers");
        assert!(answer.status < 300, "{path} {body}: {answer:?}");
        answer
    }
}
