//! What has to be done about a room, each by a few calls that may be repeated.

use serde_json::json;

use crate::{
    catch_up::beginning,
    client::{CallFault, NewRoom},
    hub::{Change, Hub},
    ids::{RoomId, UserId},
    machine::{Duty, NOTICE_MARK, Why},
    wire::{Transaction, text},
};

const ENCRYPTED: &str = "This room is encrypted, and nobody at this end can read what is written here. Please write in the \
                         room without encryption that you are being invited to now.";

pub(crate) enum Performed {
    Done(Change),
    /// To be tried again, with the reason.
    Later(String),
}

pub(crate) async fn perform(hub: &Hub, room: &RoomId, duty: &Duty) -> Performed {
    let done = match duty {
        Duty::Join { via } => join(hub, room, via.as_deref()).await,
        Duty::Leave(why) => hub.client.leave(room, reason_of(*why)).await.map(|()| Change::Out(room.clone(), *why)),
        Duty::ReadBack => read_back(hub, room).await,
        Duty::Settle => settle(hub, room).await,
        Duty::TellEncrypted => tell_encrypted(hub, room).await,
        Duty::Move { to, via } => follow(hub, room, to, via.as_deref()).await,
    };
    match done {
        Ok(change) => Performed::Done(change),
        Err(fault) => Performed::Later(fault.to_string()),
    }
}

fn reason_of(why: Why) -> &'static str {
    match why {
        Why::Declined => "this support address does not take invitations from here",
        Why::TooLarge => "this support address does not sit in rooms of this size",
        Why::Moved => "the conversation goes on in the room that replaces this one",
        Why::Left | Why::Kicked | Why::Banned => "",
    }
}

async fn join(hub: &Hub, room: &RoomId, via: Option<&str>) -> Result<Change, CallFault> {
    match hub.client.join(room, via).await {
        Ok(()) => Ok(Change::Joined(room.clone())),
        // The invite was taken back, or the room is gone.
        Err(fault) if !fault.may_pass() => {
            tracing::info!(room = room.as_str(), fault = fault.to_string(), "an invite could not be followed");
            Ok(Change::Out(room.clone(), Why::Left))
        }
        Err(fault) => Err(fault),
    }
}

/// When it was not read as we came in.
async fn read_back(hub: &Hub, room: &RoomId) -> Result<Change, CallFault> {
    let events = match beginning(hub, room).await {
        Ok(events) => events,
        Err(fault) if !fault.may_pass() => return Ok(Change::ReadBack(room.clone())),
        Err(fault) => return Err(fault),
    };
    hub.take(Transaction { events, ephemeral: Vec::new() }).await.map_err(CallFault::Unreachable)?;
    Ok(Change::ReadBack(room.clone()))
}

async fn settle(hub: &Hub, room: &RoomId) -> Result<Change, CallFault> {
    let members = match hub.client.joined_members(room).await {
        Ok(members) => members,
        Err(fault) if !fault.may_pass() => return Ok(Change::Out(room.clone(), Why::Left)),
        Err(fault) => return Err(fault),
    };
    let people: Vec<&UserId> = members.iter().filter(|user| !hub.me.is_ours(user)).collect();
    let too_large = people.len() > hub.settings.invites.members_max;
    // Servers say at the invite that a room is encrypted, but need not.
    let encrypted = hub.client.state(room, "m.room.encryption").await?.is_some();
    if let Some(greeting) = hub.settings.greeting.as_deref().filter(|_| !too_large && !encrypted) {
        notice(hub, room, "greeting", greeting).await?;
    }
    Ok(Change::Settled { room: room.clone(), encrypted, too_large, peer: people.first().map(|&user| user.clone()) })
}

/// Says it, once, and opens a room in which we can read.
async fn tell_encrypted(hub: &Hub, room: &RoomId) -> Result<Change, CallFault> {
    notice(hub, room, "encrypted", ENCRYPTED).await?;
    let (base, peer, opened) = {
        let machine = hub.machine();
        let base = machine.rooms.base_of(room).clone();
        let peer = machine.rooms.get(room).and_then(|room| room.peer.clone());
        // By an earlier try whose answer was lost.
        let opened = Some(machine.rooms.place_of(&base).clone()).filter(|place| {
            *place != base && place != room && machine.rooms.get(place).is_some_and(|p| p.is_joined() && !p.encrypted)
        });
        (base, peer, opened)
    };
    let Some(peer) = peer else { return Ok(Change::Told(room.clone())) };
    let to = match opened {
        Some(room) => room,
        None => open_room(hub, &base, &peer).await?,
    };
    Ok(Change::Placed { base, to, peer, told: Some(room.clone()) })
}

/// A room for this person and us, for the conversation that began in `base`.
pub(crate) async fn open_room(hub: &Hub, base: &RoomId, peer: &UserId) -> Result<RoomId, CallFault> {
    let name = hub.settings.display_name.as_deref();
    hub.client.create_room(&NewRoom { invite: peer, name, base }).await
}

/// Follows a room's replacement, if it truly says that it is one: anybody could name any room.
async fn follow(hub: &Hub, from: &RoomId, to: &RoomId, via: Option<&str>) -> Result<Change, CallFault> {
    let was_known = hub.machine().rooms.get(to).is_some();
    match hub.client.join(to, via).await {
        Ok(()) => {}
        Err(CallFault::Refused { status: 403 | 404, .. }) => {
            return Err(CallFault::Unreachable("the room that replaces this one has not let us in yet".to_owned()));
        }
        Err(fault) => return Err(fault),
    }
    let create = hub.client.state(to, "m.room.create").await?.unwrap_or_default();
    if text(&create, &["predecessor", "room_id"]) == Some(from.as_str()) {
        return Ok(Change::Moved { from: from.clone(), to: to.clone() });
    }
    // It may be somebody else's conversation with us, named here to have us leave it.
    if !was_known {
        hub.client.leave(to, "this room does not replace the one it was named in").await?;
    }
    tracing::warn!(room = from.as_str(), "a room names a replacement that does not know of it");
    Ok(Change::Out(from.clone(), Why::Moved))
}

/// A text of the bridge's own. The same each time within the homeserver's memory.
async fn notice(hub: &Hub, room: &RoomId, about: &str, words: &str) -> Result<(), CallFault> {
    let content = json!({ "msgtype": "m.notice", "body": words, NOTICE_MARK: about, "m.mentions": {} });
    let txn = format!("deskbridge-{about}-{}", room.as_str());
    match hub.client.send(room, "m.room.message", &txn, &content).await {
        Ok(_) => Ok(()),
        // Where we may not write, nobody can be told.
        Err(fault) if !fault.may_pass() => Ok(()),
        Err(fault) => Err(fault),
    }
}
