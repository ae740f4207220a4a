//! A customer on Matrix, with a client that shares nothing with ours.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    python,
    synapse::{Account, Synapse},
};
use crate::{process::Process, wait::PATIENCE};

/// How often whoever waits looks up whether the client still lives.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Customer {
    process: Process,
    input: ChildStdin,
    lines: Arc<Lines>,
    pub(crate) account: Account,
    orders: u64,
    /// Goes last, as the log of the client is in it.
    _folder: tempfile::TempDir,
}

/// What the client printed.
#[derive(Debug, Default)]
struct Lines {
    read: Mutex<Vec<Value>>,
    more: Condvar,
}

/// Something that the homeserver told: an event of a room's timeline, an invite, or who types and reads.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `timeline`, `invite` or `ephemeral`.
    pub(crate) kind: String,
    pub(crate) room: String,
    pub(crate) event: Value,
}

impl Seen {
    pub(crate) fn id(&self) -> &str {
        self.event["event_id"].as_str().unwrap_or_default()
    }

    pub(crate) fn sender(&self) -> &str {
        self.event["sender"].as_str().unwrap_or_default()
    }

    pub(crate) fn kind_of_event(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn content(&self) -> &Value {
        &self.event["content"]
    }

    /// The text of a message, as it was sent; empty for everything else.
    pub(crate) fn body(&self) -> &str {
        let message = self.kind == "timeline" && self.kind_of_event() == "m.room.message";
        self.event["content"]["body"].as_str().filter(|_| message).unwrap_or_default()
    }

    fn read(line: &Value) -> Option<Self> {
        let kind = line["saw"].as_str().filter(|kind| *kind != "ready")?.to_owned();
        let room = line["room"].as_str().unwrap_or_default().to_owned();
        Some(Self { kind, room, event: line["event"].clone() })
    }
}

/// A file as it was downloaded.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mimetype: String,
}

impl Customer {
    /// A new account on this server, and its client, which has synced once.
    pub(crate) fn of(server: &Synapse, name: &str) -> Self {
        Self::with_account(server, server.register(name))
    }

    pub(crate) fn with_account(server: &Synapse, account: Account) -> Self {
        let folder = super::folder();
        let mut command = python::command();
        command.arg(python::script("customer.py")).args([&server.url(), &account.user, &account.token]);
        let (process, input, output) = Process::spawn_talking(command, "customer", folder.path());
        let lines = Arc::new(Lines::default());
        let keep = lines.clone();
        thread::spawn(move || keep.fill(output));
        let mut customer = Self { process, input, lines, account, orders: 0, _folder: folder };
        customer.look("the client to have synced", |lines| lines.iter().find(|line| line["saw"] == "ready").cloned());
        customer
    }

    pub(crate) fn user(&self) -> &str {
        &self.account.user
    }

    /// One order to the client. It has been carried out when this returns.
    pub(crate) fn order(&mut self, name: &str, mut order: Value) -> Result<Value, String> {
        self.orders += 1;
        let id = self.orders;
        order["id"] = json!(id);
        order["do"] = json!(name);
        writeln!(self.input, "{order}").expect("the client reads");
        let answer = self
            .look(&format!("an answer to {order}"), |lines| lines.iter().rfind(|line| line["answer"] == id).cloned());
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }

    fn done(&mut self, name: &str, order: Value) -> Value {
        self.order(name, order).unwrap_or_else(|error| panic!("{name} of {}: {error}", self.account.user))
    }

    fn text_of(&mut self, name: &str, order: Value, field: &str) -> String {
        let done = self.done(name, order);
        done[field].as_str().unwrap_or_else(|| panic!("no {field}: {done}")).to_owned()
    }

    /// A room of two. Returns its id.
    pub(crate) fn dm(&mut self, with: &str) -> String {
        self.text_of("create", json!({ "invite": [with] }), "room")
    }

    /// The same, encrypted from the start. Nothing is ever really encrypted in it, which no server can see.
    pub(crate) fn encrypted_dm(&mut self, with: &str) -> String {
        let state = json!([{ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
        self.text_of("create", json!({ "invite": [with], "initial_state": state }), "room")
    }

    pub(crate) fn join(&mut self, room: &str) {
        self.done("join", json!({ "room": room }));
    }

    pub(crate) fn leave(&mut self, room: &str) {
        self.done("leave", json!({ "room": room }));
    }

    pub(crate) fn invite(&mut self, room: &str, user: &str) {
        self.done("invite", json!({ "room": room, "user": user }));
    }

    /// An event of any type. Returns its id, as all that send do.
    pub(crate) fn send(&mut self, room: &str, kind: &str, content: &Value) -> String {
        self.text_of("send", json!({ "room": room, "type": kind, "content": content }), "event")
    }

    fn message(&mut self, room: &str, content: &Value) -> String {
        self.send(room, "m.room.message", content)
    }

    pub(crate) fn say(&mut self, room: &str, text: &str) -> String {
        self.message(room, &json!({ "msgtype": "m.text", "body": text }))
    }

    pub(crate) fn say_formatted(&mut self, room: &str, text: &str, html: &str) -> String {
        let format = "org.matrix.custom.html";
        self.message(room, &json!({ "msgtype": "m.text", "body": text, "format": format, "formatted_body": html }))
    }

    pub(crate) fn notice(&mut self, room: &str, text: &str) -> String {
        self.message(room, &json!({ "msgtype": "m.notice", "body": text }))
    }

    pub(crate) fn reply(&mut self, room: &str, to: &str, text: &str) -> String {
        let relation = json!({ "m.in_reply_to": { "event_id": to } });
        self.message(room, &json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation }))
    }

    /// In the thread of `first`, as clients without threads shall show it: as a reply to `latest`.
    pub(crate) fn say_in_thread(&mut self, room: &str, first: &str, latest: &str, text: &str) -> String {
        let fallback = json!({ "event_id": latest });
        let relation =
            json!({ "rel_type": "m.thread", "event_id": first, "is_falling_back": true, "m.in_reply_to": fallback });
        self.message(room, &json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation }))
    }

    pub(crate) fn edit(&mut self, room: &str, event: &str, text: &str) -> String {
        let (new, relation) =
            (json!({ "msgtype": "m.text", "body": text }), json!({ "rel_type": "m.replace", "event_id": event }));
        let body = format!("* {text}");
        self.message(
            room,
            &json!({ "msgtype": "m.text", "body": body, "m.new_content": new, "m.relates_to": relation }),
        )
    }

    pub(crate) fn react(&mut self, room: &str, event: &str, key: &str) -> String {
        let relation = json!({ "rel_type": "m.annotation", "event_id": event, "key": key });
        self.send(room, "m.reaction", &json!({ "m.relates_to": relation }))
    }

    pub(crate) fn redact(&mut self, room: &str, event: &str) -> String {
        self.text_of("redact", json!({ "room": room, "event": event }), "event")
    }

    pub(crate) fn state(&mut self, room: &str, kind: &str, content: &Value) -> String {
        self.text_of("state", json!({ "room": room, "type": kind, "content": content }), "event")
    }

    pub(crate) fn typing(&mut self, room: &str, on: bool) {
        self.done("typing", json!({ "room": room, "on": on }));
    }

    pub(crate) fn has_read(&mut self, room: &str, event: &str) {
        self.done("read", json!({ "room": room, "event": event }));
    }

    /// Returns the address of the content.
    pub(crate) fn upload(&mut self, bytes: &[u8], mimetype: &str, filename: &str) -> String {
        let base64 = BASE64_STANDARD.encode(bytes);
        self.text_of("upload", json!({ "base64": base64, "mimetype": mimetype, "filename": filename }), "mxc")
    }

    pub(crate) fn send_image(&mut self, room: &str, bytes: &[u8], filename: &str) -> String {
        let url = self.upload(bytes, "image/png", filename);
        let info = json!({ "mimetype": "image/png", "size": bytes.len() });
        self.message(room, &json!({ "msgtype": "m.image", "body": filename, "url": url, "info": info }))
    }

    pub(crate) fn download(&mut self, mxc: &str) -> Download {
        let got = self.done("download", json!({ "mxc": mxc }));
        let text = |name: &str| got[name].as_str().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(text("base64")).expect("what was encoded there");
        Download { bytes, mimetype: text("mimetype").to_owned() }
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        self.done("name", json!({ "name": name }));
    }

    pub(crate) fn set_avatar(&mut self, mxc: &str) {
        self.done("avatar", json!({ "mxc": mxc }));
    }

    /// What somebody is called.
    pub(crate) fn name_of(&mut self, user: &str) -> Option<String> {
        self.done("profile", json!({ "user": user }))["name"].as_str().map(ToOwned::to_owned)
    }

    /// Everything that was seen so far, in the order in which the server told it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lines.read().iter().filter_map(Seen::read).collect()
    }

    /// Returns the first that fits, also from before; a failure shows everything that was seen.
    pub(crate) fn wait_for(&mut self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        self.look(what, |lines| lines.iter().filter_map(Seen::read).find(|seen| fits(seen)))
    }

    /// Returns the message of somebody else with this text.
    pub(crate) fn hears(&mut self, room: &str, text: &str) -> Seen {
        let own = self.account.user.clone();
        self.wait_for(&format!("`{text}` in {room}"), |seen| {
            seen.room == room && seen.body() == text && seen.sender() != own
        })
    }

    /// Returns once somebody is in the room.
    pub(crate) fn until_joined(&mut self, room: &str, user: &str) -> Seen {
        self.wait_for(&format!("{user} to join {room}"), |seen| {
            let about = seen.kind == "timeline" && seen.room == room && seen.event["state_key"] == user;
            about && seen.kind_of_event() == "m.room.member" && seen.content()["membership"] == "join"
        })
    }

    fn look<T>(&mut self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut lines = self.lines.read();
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let ended = self.process.ended();
            if let Some(status) = ended {
                panic!("the client of {} ended: {status}\n{}", self.account.user, self.process.err());
            }
            if begun.elapsed() >= PATIENCE {
                let seen = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n  ");
                drop(lines);
                panic!("{} waited {PATIENCE:?} for {what}; it saw:\n  {seen}", self.account.user);
            }
            let woken = self.lines.more.wait_timeout(lines, LOOK_EVERY);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Lines {
    fn read(&self) -> MutexGuard<'_, Vec<Value>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, output: ChildStdout) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Ok(value) = serde_json::from_str(&line) {
                self.read().push(value);
                self.more.notify_all();
            }
        }
    }
}
