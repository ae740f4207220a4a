//! What users do to rooms that exist: say, set, redact, and come and go. Each deed asks the rules first.

use serde_json::{Map, Value, json};

use super::checks;
use super::errors::MatrixError;
use super::house::House;
use super::room::{ABOVE_ALL, Room};

impl House {
    /// Writes a message event. `ts` is the appservice's to set.
    pub(super) fn send(
        &mut self,
        actor: &str,
        room: &str,
        kind: &str,
        content: &Value,
        ts: Option<i64>,
    ) -> Result<String, MatrixError> {
        let content = checks::content(kind, content)?;
        self.may_send(actor, room, kind, false)?;
        if kind == "m.reaction" && self.has_reacted(actor, room, &content["m.relates_to"]) {
            let text = "Can't send same reaction twice";
            return Err(MatrixError::bad("M_DUPLICATE_ANNOTATION", text));
        }
        let event = ts.map(|ts| ("origin_server_ts".to_owned(), json!(ts)));
        self.write(event.into_iter().collect(), room, actor, kind, content)
    }

    pub(super) fn set_state(
        &mut self,
        actor: &str,
        room: &str,
        (kind, key): (&str, &str),
        content: &Value,
    ) -> Result<String, MatrixError> {
        let content = checks::content(kind, content)?;
        if kind == "m.room.member" {
            return self.set_member(actor, room, key, &content);
        }
        self.may_send(actor, room, kind, true)?;
        if key.starts_with('@') && key != actor {
            return Err(MatrixError::forbidden("You are not allowed to set others state"));
        }
        if kind == "m.room.power_levels" {
            self.power_is_allowed(actor, room, &content)?;
        }
        self.write_state(room, actor, (kind, key), content)
    }

    /// A member event through `/state` is the deed that it describes.
    fn set_member(
        &mut self,
        actor: &str,
        room: &str,
        target: &str,
        content: &Map<String, Value>,
    ) -> Result<String, MatrixError> {
        let reason = content.get("reason").and_then(Value::as_str);
        match content.get("membership").and_then(Value::as_str) {
            Some("invite") => self.invite(actor, room, target, reason)?,
            Some("join") if actor == target => drop(self.join(actor, room, reason)?),
            Some("leave") if actor == target => self.leave(actor, room, reason)?,
            Some("leave") => self.kick(actor, room, target, reason)?,
            Some("ban") => self.ban(actor, room, target, reason)?,
            Some(_) | None => return Err(MatrixError::forbidden("Cannot set this membership")),
        }
        let event = self.state_event(self.room(room)?, "m.room.member", target);
        Ok(event.map(|event| event.id().to_owned()).unwrap_or_default())
    }

    fn power_is_allowed(&self, actor: &str, room: &str, content: &Map<String, Value>) -> Result<(), MatrixError> {
        let room = self.room(room)?;
        let named = |user: &String| content.get("users").is_some_and(|users| !users[user].is_null());
        if room.has_creators_above_all() && room.creators.iter().any(named) {
            return Err(MatrixError::bad_json("Creators must not be listed in power_levels.users"));
        }
        let own = room.level_of(actor);
        let higher = |level: &Value| level.as_i64().is_some_and(|level| level > own);
        let users = content.get("users").and_then(Value::as_object);
        if own != ABOVE_ALL && users.is_some_and(|users| users.values().any(higher)) {
            return Err(MatrixError::forbidden("You don't have permission to add ops level greater than your own"));
        }
        Ok(())
    }

    pub(super) fn redact(
        &mut self,
        actor: &str,
        room: &str,
        target: &str,
        reason: Option<&str>,
    ) -> Result<String, MatrixError> {
        self.may_send(actor, room, "m.room.redaction", false)?;
        let found = self.event(target).filter(|event| event.room == room);
        let sender = found.ok_or_else(|| MatrixError::missing("Could not find event"))?.sender().to_owned();
        let place = self.room(room)?;
        if sender != actor && place.level_of(actor) < place.level_to("redact") {
            return Err(MatrixError::forbidden("You don't have permission to redact events"));
        }
        // Both places: rooms of version 11 and later have it in the content, Synapse copies it to the top.
        let mut content = Map::new();
        content.insert("redacts".to_owned(), json!(target));
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), json!(reason));
        }
        let mut event = Map::new();
        event.insert("redacts".to_owned(), json!(target));
        let id = self.write(event, room, actor, "m.room.redaction", content)?;
        self.empty(target, &id);
        Ok(id)
    }

    /// Takes the content out of an event, also of one that still waits to be pushed.
    fn empty(&mut self, target: &str, redaction: &str) {
        let because = self.event(redaction).map(|event| event.shown(self.now_ms, None));
        let Some(event) = self.by_id.get(target).and_then(|pos| self.log.get_mut(pos)) else { return };
        let membership = event.content().get("membership").cloned();
        let kept = membership.map_or_else(|| json!({}), |membership| json!({"membership": membership}));
        event.json.insert("content".to_owned(), kept);
        let unsigned = json!({"redacted_because": because, "redacted_by": redaction});
        event.json.insert("unsigned".to_owned(), unsigned);
    }

    /// Writes state without asking whether the sender may.
    pub(super) fn write_state(
        &mut self,
        room: &str,
        sender: &str,
        (kind, key): (&str, &str),
        content: Map<String, Value>,
    ) -> Result<String, MatrixError> {
        let mut event = Map::new();
        event.insert("state_key".to_owned(), json!(key));
        self.write(event, room, sender, kind, content)
    }

    /// Writes without asking whether the sender may. `event` is what it has beside the rest.
    fn write(
        &mut self,
        mut event: Map<String, Value>,
        room: &str,
        sender: &str,
        kind: &str,
        content: Map<String, Value>,
    ) -> Result<String, MatrixError> {
        event.insert("type".to_owned(), json!(kind));
        event.insert("sender".to_owned(), json!(sender));
        event.insert("content".to_owned(), Value::Object(content));
        checks::size(&event)?;
        self.append(room, event)
    }

    fn may_send(&self, actor: &str, room: &str, kind: &str, is_state: bool) -> Result<(), MatrixError> {
        let room = self.room_of(room, actor)?;
        let (level, needed) = (room.level_of(actor), room.level_to_send(kind, is_state));
        if level < needed {
            return Err(MatrixError::forbidden(format!(
                "You don't have permission to post that to the room. user_level ({level}) < send_level ({needed})"
            )));
        }
        Ok(())
    }

    fn has_reacted(&self, actor: &str, room: &str, relation: &Value) -> bool {
        let Some(room) = self.rooms.get(room) else { return false };
        let same = |pos: &u64| {
            let Some(event) = self.log.get(pos) else { return false };
            let other = &event.content()["m.relates_to"];
            event.kind() == "m.reaction"
                && event.sender() == actor
                && other["event_id"] == relation["event_id"]
                && other["key"] == relation["key"]
        };
        room.timeline.iter().any(same)
    }

    /// Writes a member event with the name and picture that the user has now.
    pub(super) fn member(
        &mut self,
        room: &str,
        sender: &str,
        target: &str,
        membership: &str,
        more: &Value,
    ) -> Result<String, MatrixError> {
        let mut content = more.as_object().cloned().unwrap_or_default();
        content.retain(|_, value| !value.is_null());
        content.insert("membership".to_owned(), json!(membership));
        if matches!(membership, "join" | "invite") {
            let user = self.users.get(target).cloned().unwrap_or_default();
            let shown = [("displayname", user.displayname), ("avatar_url", user.avatar_url)];
            for (key, value) in shown.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                content.insert(key.to_owned(), json!(value));
            }
        }
        self.write_state(room, sender, ("m.room.member", target), content)
    }

    pub(super) fn invite(
        &mut self,
        actor: &str,
        room: &str,
        target: &str,
        reason: Option<&str>,
    ) -> Result<(), MatrixError> {
        let place = self.room_of(room, actor)?;
        if place.level_of(actor) < place.level_to("invite") {
            return Err(MatrixError::forbidden("You don't have permission to invite users"));
        }
        match place.membership(target) {
            "join" => return Err(MatrixError::forbidden(format!("{target} is already in the room."))),
            "ban" => return Err(MatrixError::forbidden(format!("{target} is banned from the room"))),
            _ => {}
        }
        self.member(room, actor, target, "invite", &json!({"reason": reason})).map(drop)
    }

    /// Joining twice is harmless.
    pub(super) fn join(&mut self, actor: &str, room: &str, reason: Option<&str>) -> Result<String, MatrixError> {
        let nowhere = "Can't join remote room because no servers that are in the room have been provided.";
        let place = self.rooms.get(room).ok_or_else(|| MatrixError::missing(nowhere))?;
        let rule = self.state_event(place, "m.room.join_rules", "");
        let public = rule.is_some_and(|rule| rule.content()["join_rule"] == "public");
        match place.membership(actor) {
            "join" => return Ok(room.to_owned()),
            "ban" => return Err(MatrixError::forbidden(format!("{actor} is banned from the room"))),
            "invite" => {}
            _ if public => {}
            _ => return Err(MatrixError::forbidden("You are not invited to this room.")),
        }
        self.member(room, actor, actor, "join", &json!({"reason": reason}))?;
        Ok(room.to_owned())
    }

    /// Also how an invitation is declined.
    pub(super) fn leave(&mut self, actor: &str, room: &str, reason: Option<&str>) -> Result<(), MatrixError> {
        match self.room(room)?.membership(actor) {
            "join" | "invite" => self.member(room, actor, actor, "leave", &json!({"reason": reason})).map(drop),
            "leave" => Ok(()),
            _ => Err(MatrixError::forbidden(format!("User {actor} not in room {room}"))),
        }
    }

    pub(super) fn kick(
        &mut self,
        actor: &str,
        room: &str,
        target: &str,
        reason: Option<&str>,
    ) -> Result<(), MatrixError> {
        let place = self.may_remove(actor, room, target, "kick")?;
        if !matches!(place.membership(target), "join" | "invite") {
            return Err(MatrixError::forbidden("The target user is not in the room"));
        }
        self.member(room, actor, target, "leave", &json!({"reason": reason})).map(drop)
    }

    pub(super) fn ban(
        &mut self,
        actor: &str,
        room: &str,
        target: &str,
        reason: Option<&str>,
    ) -> Result<(), MatrixError> {
        self.may_remove(actor, room, target, "ban")?;
        self.member(room, actor, target, "ban", &json!({"reason": reason})).map(drop)
    }

    pub(super) fn unban(&mut self, actor: &str, room: &str, target: &str) -> Result<(), MatrixError> {
        let place = self.may_remove(actor, room, target, "ban")?;
        if place.membership(target) != "ban" {
            return Err(MatrixError::forbidden("The target user is not banned"));
        }
        self.member(room, actor, target, "leave", &json!({})).map(drop)
    }

    fn may_remove(&self, actor: &str, room: &str, target: &str, deed: &str) -> Result<&Room, MatrixError> {
        let room = self.room_of(room, actor)?;
        let level = room.level_of(actor);
        if level < room.level_to(deed) || level <= room.level_of(target) {
            return Err(MatrixError::forbidden(format!("You don't have permission to {deed} {target}")));
        }
        Ok(room)
    }

    pub(super) fn forget(&mut self, actor: &str, room: &str) -> Result<(), MatrixError> {
        match self.room(room)?.membership(actor) {
            "join" | "invite" => {
                let text = format!("User {actor} is in room {room}");
                return Err(MatrixError::bad("M_UNKNOWN", text));
            }
            _ => {}
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.forgotten.insert(actor.to_owned());
        }
        Ok(())
    }
}
