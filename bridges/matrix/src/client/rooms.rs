//! Rooms and who is in them.

use serde_json::{Value, json};

use super::{CallFault, Client};
use crate::{
    ids::{EventRef, RoomId, UserId},
    machine::PLACE_MARK,
    wire::text,
};

/// A room for one person and us.
#[derive(Clone, Debug)]
pub(crate) struct NewRoom<'a> {
    pub(crate) invite: &'a UserId,
    pub(crate) name: Option<&'a str>,
    /// Where the conversation began that goes on in the new room.
    pub(crate) base: &'a RoomId,
}

impl Client {
    fn room_call(&self, room: &RoomId, rest: &[&str]) -> url::Url {
        self.url(&[&["_matrix", "client", "v3", "rooms", room.as_str()], rest].concat())
    }

    /// Joining twice is harmless. `via` names a server that knows the room.
    pub(crate) async fn join(&self, room: &RoomId, via: Option<&str>) -> Result<(), CallFault> {
        let mut url = self.url(&["_matrix", "client", "v3", "join", room.as_str()]);
        if let Some(via) = via {
            url.query_pairs_mut().append_pair("via", via).append_pair("server_name", via);
        }
        self.post(url, &json!({})).await.map(drop)
    }

    /// Leaving a room that we are not in is done already.
    pub(crate) async fn leave(&self, room: &RoomId, reason: &str) -> Result<(), CallFault> {
        match self.post(self.room_call(room, &["leave"]), &json!({ "reason": reason })).await {
            Ok(_) | Err(CallFault::Refused { status: 403 | 404, .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    pub(crate) async fn invite(&self, room: &RoomId, user: &UserId) -> Result<(), CallFault> {
        self.post(self.room_call(room, &["invite"]), &json!({ "user_id": user.as_str() })).await.map(drop)
    }

    /// Not `trusted_private_chat`: from room version 12 on its guests could be neither thrown out nor silenced.
    /// Never encrypted, since nobody here could read it.
    pub(crate) async fn create_room(&self, new: &NewRoom<'_>) -> Result<RoomId, CallFault> {
        let mut body = json!({
            "preset": "private_chat",
            "is_direct": true,
            "invite": [new.invite.as_str()],
            "power_level_content_override": { "users_default": 0, "invite": 50 },
            "creation_content": { PLACE_MARK: new.base.as_str() },
        });
        if let Some(name) = new.name {
            body["name"] = Value::from(name);
        }
        let answer = self.post(self.url(&["_matrix", "client", "v3", "createRoom"]), &body).await?;
        let room = text(&answer, &["room_id"]).map(RoomId::from);
        room.ok_or_else(|| CallFault::Doubtful("the homeserver made a room without a name".to_owned()))
    }

    pub(crate) async fn joined_rooms(&self) -> Result<Vec<RoomId>, CallFault> {
        let answer = self.get(self.url(&["_matrix", "client", "v3", "joined_rooms"])).await?;
        let rooms = answer.get("joined_rooms").and_then(Value::as_array).into_iter().flatten();
        Ok(rooms.filter_map(Value::as_str).map(RoomId::from).collect())
    }

    pub(crate) async fn joined_members(&self, room: &RoomId) -> Result<Vec<UserId>, CallFault> {
        let answer = self.get(self.room_call(room, &["joined_members"])).await?;
        let members = answer.get("joined").and_then(Value::as_object).into_iter().flatten();
        Ok(members.map(|(user, _)| UserId::from(user.as_str())).collect())
    }

    /// `None` where the room has no such state.
    pub(crate) async fn state(&self, room: &RoomId, kind: &str) -> Result<Option<Value>, CallFault> {
        match self.get(self.room_call(room, &["state", kind, ""])).await {
            Ok(content) => Ok(Some(content)),
            Err(CallFault::Refused { status: 404, .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(crate) async fn type_in(&self, room: &RoomId, user: &UserId, typing: bool) -> Result<(), CallFault> {
        let body = if typing { json!({ "typing": true, "timeout": 30_000 }) } else { json!({ "typing": false }) };
        self.put(self.room_call(room, &["typing", user.as_str()]), &body).await.map(drop)
    }

    pub(crate) async fn mark_read(&self, room: &RoomId, event: &EventRef) -> Result<(), CallFault> {
        self.post(self.room_call(room, &["receipt", "m.read", event.as_str()]), &json!({})).await.map(drop)
    }
}
