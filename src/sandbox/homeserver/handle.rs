//! The homeserver in the hands of a test: people, rooms, whatever odd event, and what the appservice did.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::HomeserverSettings;
use super::errors::MatrixError;
use super::faults::{HomeserverFaults, SocketFault};
use super::link::{Closed, Order};
use super::state::{Call, Core};
use crate::sandbox::waiting;

/// The version whose ids still name a server.
const OLD_VERSION: &str = "11";

type Done<T> = Result<T, MatrixError>;

/// A handle on a running stand-in homeserver; cheap to clone.
#[derive(Clone)]
pub struct Homeserver {
    core: Arc<Core>,
}

/// People and rooms.
impl Homeserver {
    pub(in crate::sandbox) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub fn settings(&self) -> &HomeserverSettings {
        &self.core.settings
    }

    /// A person of this name, who is returned as a user id.
    pub fn customer(&self, localpart: &str) -> String {
        self.core.change(|house| house.create_user(localpart, None, None))
    }

    /// An account that can log in. Sets the password of one that exists.
    pub fn account(&self, localpart: &str, password: &str) -> String {
        self.core.change(|house| house.create_user(localpart, None, Some(password)))
    }

    /// An access token of its own device.
    pub fn token(&self, user: &str) -> String {
        self.core.change(|house| house.new_token(user, None)).0
    }

    /// Forgets every token of the user: the next call with one is 401.
    pub fn revoke_tokens(&self, user: &str) {
        self.core.change(|house| house.tokens.retain(|_, access| access.user != user));
    }

    /// `POST /createRoom` as this user.
    pub fn create_room(&self, creator: &str, body: &Value) -> Done<String> {
        self.core.change(|house| house.create_room(creator, body))
    }

    /// A direct chat with the support user, as Element makes one.
    pub fn direct_chat(&self, customer: &str) -> String {
        let support = self.core.settings.support();
        let body = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [support]});
        self.create_room(customer, &body).expect("a direct chat can always be made")
    }

    /// A direct chat whose id names this server, as before room version 12.
    pub fn old_direct_chat(&self, customer: &str) -> String {
        let support = self.core.settings.support();
        let body = json!({
            "preset": "trusted_private_chat", "is_direct": true, "invite": [support], "room_version": OLD_VERSION,
        });
        self.create_room(customer, &body).expect("a direct chat can always be made")
    }

    pub fn invite(&self, actor: &str, room: &str, target: &str) -> Done<()> {
        self.core.change(|house| house.invite(actor, room, target, None))
    }

    pub fn join(&self, actor: &str, room: &str) -> Done<()> {
        self.core.change(|house| house.join(actor, room, None)).map(drop)
    }

    pub fn leave(&self, actor: &str, room: &str) -> Done<()> {
        self.core.change(|house| house.leave(actor, room, None))
    }

    /// As one that was restored from before the appservice came: its users are unknown from now on.
    pub fn forget_service(&self) {
        let settings = self.settings().clone();
        self.core.change(|house| house.users.retain(|user, _| !settings.owns(user)));
    }

    pub fn kick(&self, actor: &str, room: &str, target: &str, reason: &str) -> Done<()> {
        self.core.change(|house| house.kick(actor, room, target, Some(reason)))
    }

    pub fn ban(&self, actor: &str, room: &str, target: &str, reason: &str) -> Done<()> {
        self.core.change(|house| house.ban(actor, room, target, Some(reason)))
    }

    pub fn unban(&self, actor: &str, room: &str, target: &str) -> Done<()> {
        self.core.change(|house| house.unban(actor, room, target))
    }

    pub fn set_displayname(&self, user: &str, name: Option<&str>) -> Done<()> {
        self.core.change(|house| house.set_profile(user, "displayname", name.map(ToOwned::to_owned)))
    }

    pub fn set_avatar(&self, user: &str, address: Option<&str>) -> Done<()> {
        self.core.change(|house| house.set_profile(user, "avatar_url", address.map(ToOwned::to_owned)))
    }

    /// `displayname` and `avatar_url`; None for a user that does not exist.
    pub fn profile(&self, user: &str) -> Option<(Option<String>, Option<String>)> {
        self.core.look(|house| house.users.get(user).map(|user| (user.displayname.clone(), user.avatar_url.clone())))
    }

    /// State as this user may set it.
    pub fn set_state(&self, actor: &str, room: &str, kind: &str, key: &str, content: &Value) -> Done<String> {
        self.core.change(|house| house.set_state(actor, room, (kind, key), content))
    }

    /// Changes keys of the power levels, leaving the others. Asks nobody.
    pub fn set_power(&self, actor: &str, room: &str, changes: &Value) -> Done<()> {
        let mut power = self.state(room, "m.room.power_levels", "").unwrap_or_else(|| json!({}));
        for (key, value) in changes.as_object().into_iter().flatten() {
            power[key] = value.clone();
        }
        self.core.change(|house| house.state(room, actor, "m.room.power_levels", "", &power)).map(drop)
    }

    /// Closes the room in favour of another one.
    pub fn tombstone(&self, actor: &str, room: &str, replacement: &str) -> Done<String> {
        let content = json!({"body": "This room has been replaced", "replacement_room": replacement});
        self.core.change(|house| house.state(room, actor, "m.room.tombstone", "", &content))
    }

    /// Turns encryption on, which nobody can turn off again.
    pub fn encrypt(&self, actor: &str, room: &str) -> Done<String> {
        self.set_state(actor, room, "m.room.encryption", "", &json!({"algorithm": "m.megolm.v1.aes-sha2"}))
    }
}

/// What people say.
impl Homeserver {
    pub fn say(&self, user: &str, room: &str, text: &str) -> Done<String> {
        self.send(user, room, "m.room.message", &json!({"msgtype": "m.text", "body": text}))
    }

    /// Any event that a server takes.
    pub fn send(&self, user: &str, room: &str, kind: &str, content: &Value) -> Done<String> {
        self.core.change(|house| house.send(user, room, kind, content, None))
    }

    pub fn reply(&self, user: &str, room: &str, to: &str, text: &str) -> Done<String> {
        let relation = json!({"m.in_reply_to": {"event_id": to}});
        let content = json!({"msgtype": "m.text", "body": text, "m.relates_to": relation});
        self.send(user, room, "m.room.message", &content)
    }

    /// Nobody checks whose message it is: a server does not either.
    pub fn edit(&self, user: &str, room: &str, event: &str, text: &str) -> Done<String> {
        let content = json!({
            "msgtype": "m.text", "body": format!("* {text}"), "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        });
        self.send(user, room, "m.room.message", &content)
    }

    pub fn react(&self, user: &str, room: &str, event: &str, key: &str) -> Done<String> {
        let relation = json!({"rel_type": "m.annotation", "event_id": event, "key": key});
        self.send(user, room, "m.reaction", &json!({"m.relates_to": relation}))
    }

    pub fn redact(&self, user: &str, room: &str, event: &str, reason: Option<&str>) -> Done<String> {
        self.core.change(|house| house.redact(user, room, event, reason))
    }

    pub fn typing(&self, user: &str, room: &str, on: bool) -> Done<()> {
        self.core.change(|house| house.typing(user, room, on, 30_000))
    }

    /// `m.read` up to this event.
    pub fn read(&self, user: &str, room: &str, event: &str) -> Done<()> {
        self.core.change(|house| house.read(user, room, "m.read", event, None))
    }

    /// An event with an id, a room and a time, whose content nobody looks at.
    pub fn unchecked(&self, user: &str, room: &str, kind: &str, content: &Value) -> Done<String> {
        let event = json!({"type": kind, "sender": user, "content": content});
        let event = event.as_object().cloned().unwrap_or_default();
        self.core.change(|house| house.append(room, event))
    }

    /// Exactly this as the next event of the room: nothing is added, nothing is looked at.
    pub fn raw(&self, room: &str, event: &Value) {
        let event: Map<String, Value> = event.as_object().cloned().unwrap_or_default();
        self.core.change(|house| house.put(room, event));
    }

    /// Keeps a file and returns its `mxc` address.
    pub fn upload(&self, content_type: &str, name: Option<&str>, bytes: impl Into<Bytes>) -> String {
        self.core.change(|house| house.upload(content_type, name, bytes.into()))
    }

    /// Type, name and bytes of a file.
    pub fn download(&self, address: &str) -> Option<(String, Option<String>, Bytes)> {
        let (server, id) = address.strip_prefix("mxc://")?.split_once('/')?;
        let found = self.core.look(|house| house.medium(server, id).cloned())?;
        Some((found.content_type, found.name, found.bytes))
    }
}

/// What can be seen.
impl Homeserver {
    /// Every room that there is.
    pub fn rooms(&self) -> Vec<String> {
        self.core.look(|house| house.rooms.keys().cloned().collect())
    }

    /// Rooms in which the user has this membership.
    pub fn rooms_of(&self, user: &str, membership: &str) -> Vec<String> {
        self.core.look(|house| {
            let rooms = house.rooms.values().filter(|room| room.membership(user) == membership);
            rooms.map(|room| room.id.clone()).collect()
        })
    }

    /// Every event of a room, oldest first.
    pub fn timeline(&self, room: &str) -> Vec<Value> {
        self.core.look(|house| {
            let events = house.rooms.get(room).into_iter().flat_map(|room| &room.timeline);
            events.filter_map(|pos| house.log.get(pos)).map(|event| event.shown(house.now_ms, None)).collect()
        })
    }

    /// Sender and body of each message that has one, oldest first.
    pub fn texts(&self, room: &str) -> Vec<(String, String)> {
        let said = |event: &Value| {
            let is_message = event["type"] == "m.room.message";
            let (sender, body) = (event["sender"].as_str()?, event["content"]["body"].as_str()?);
            is_message.then(|| (sender.to_owned(), body.to_owned()))
        };
        self.timeline(room).iter().filter_map(said).collect()
    }

    pub fn event(&self, id: &str) -> Option<Value> {
        self.core.look(|house| house.event(id).map(|event| event.shown(house.now_ms, None)))
    }

    /// The content of a state event.
    pub fn state(&self, room: &str, kind: &str, key: &str) -> Option<Value> {
        self.core.look(|house| {
            let room = house.rooms.get(room)?;
            house.state_event(room, kind, key).map(|event| event.content().clone())
        })
    }

    pub fn joined(&self, room: &str) -> Vec<String> {
        self.core.look(|house| house.rooms.get(room).map(|room| room.joined().cloned().collect()).unwrap_or_default())
    }

    /// `join`, `invite`, `leave`, `ban`, or nothing.
    pub fn membership(&self, room: &str, user: &str) -> String {
        self.core.look(|house| house.rooms.get(room).map_or("", |room| room.membership(user)).to_owned())
    }

    /// Who is typing.
    pub fn typing_in(&self, room: &str) -> Vec<String> {
        self.core.look(|house| {
            let room = house.rooms.get(room);
            room.map(|room| room.typing_now(house.now_ms).into_iter().cloned().collect()).unwrap_or_default()
        })
    }

    /// The event up to which the user has read.
    pub fn read_by(&self, room: &str, user: &str) -> Option<String> {
        let key = (user.to_owned(), "m.read".to_owned());
        self.core.look(|house| house.rooms.get(room)?.receipts.get(&key).map(|receipt| receipt.event.clone()))
    }

    /// Calls below `/_matrix`, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.core.calls()
    }

    /// How many calls with this method had this in their raw path and query.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.calls().iter().filter(|call| call.method == method && call.path.contains(part)).count()
    }

    /// As after a restart: a transaction id that was used is new again.
    pub fn forget_transactions(&self) {
        self.core.change(|house| house.sent.clear());
    }

    /// Looks until `found` answers, after every change and at least every 20 ms. None when `deadline` passes first.
    pub async fn until<T>(&self, deadline: Duration, mut found: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        waiting::until(self.core.changed.subscribe(), deadline, || found(self)).await
    }
}

/// The websocket, or pushing, and what goes wrong.
impl Homeserver {
    /// Pushes over HTTP to this address from now on, or not any more. What waits goes there too.
    pub fn set_push_url(&self, url: Option<String>) {
        self.core.change(|house| {
            house.outbox.pushes = url.is_some();
            house.outbox.connected = url.is_some();
        });
        self.core.pusher.set_url(url);
        self.core.nudge();
    }

    pub fn faults(&self) -> &HomeserverFaults {
        &self.core.faults
    }

    /// Does it to the current websocket now. False when nobody is connected.
    pub fn strike(&self, fault: SocketFault) -> bool {
        self.core.board.order(Order::Strike(fault))
    }

    pub fn is_connected(&self) -> bool {
        self.core.look(|house| house.outbox.connected)
    }

    /// How many websockets there have been.
    pub fn connections(&self) -> u64 {
        self.core.board.connections()
    }

    /// How each websocket ended that did.
    pub fn closed(&self) -> Vec<Closed> {
        self.core.board.closed()
    }

    /// Every frame from clients, oldest first.
    pub fn heard(&self) -> Vec<Value> {
        self.core.board.heard()
    }

    /// The data of every frame with this command, e.g. `bridge_status`.
    pub fn heard_of(&self, command: &str) -> Vec<Value> {
        let heard = self.heard().into_iter().filter(|frame| frame["command"] == command);
        heard.map(|frame| frame["data"].clone()).collect()
    }

    /// Transactions that were not delivered, as far as this side knows.
    pub fn undelivered(&self) -> usize {
        self.core.look(|house| house.outbox.waiting.len())
    }

    /// Sends a request to the client and returns its whole answer.
    pub async fn ask(&self, command: &str, data: Value, deadline: Duration) -> Option<Value> {
        let (answer, told) = oneshot::channel();
        let order = Order::Ask { command: command.to_owned(), data, answer };
        if !self.core.board.order(order) {
            return None;
        }
        tokio::time::timeout(deadline, told).await.ok()?.ok()
    }

    /// Writes a text frame as it is. False when nobody is connected.
    pub fn write_text(&self, text: impl Into<String>) -> bool {
        self.core.board.order(Order::Text(text.into()))
    }
}
