//! Effects: one part of an agent's message as one event in the room where the person is. Never retries.

use bridge_api::{Agent, Attachment, EventId, Fault, Holder, Key, Outbound, Part, Sent, ThreadId};
use serde_json::{Map, Value, json};

use crate::{
    client::{CallFault, Client},
    duties::open_room,
    hub::{Change, Courtesy, Hub},
    ids::{EventRef, RoomId, UserId},
    machine::{KEY_MARK, Room, Standing, literal, said_by},
    render,
    settings::Agents,
    wire::{Event, Relation},
};

/// History that a probe reads before it says that it cannot tell.
const PROBE_PAGES_MAX: usize = 200;
const PROBE_PAGE: usize = 100;
/// By how much the clocks of the homeserver and of the gateway may differ.
const CLOCKS_MARGIN_MILLIS: i64 = 5 * 60 * 1000;

/// Causes the effect.
pub(crate) async fn send(hub: &Hub, upload_bytes_max: u64, out: &Outbound) -> Result<Sent, Fault> {
    if let Part::Withdraw { events, .. } = &out.part {
        return withdraw(hub, out, events).await;
    }
    let place = place(hub, &out.thread).await?;
    let (room, event) = match speak(hub, upload_bytes_max, out, &place).await {
        Ok(event) => (place.room, event),
        Err(Unsent::Fault(fault)) => return Err(fault),
        // The news that we are out may still be on its way to us.
        Err(Unsent::Forbidden(fault)) => match (is_out_of(hub, &place.room).await?, place.known.peer) {
            (true, Some(peer)) => {
                let place = elsewhere(hub, RoomId::of_thread(&out.thread), peer).await?;
                let event = speak(hub, upload_bytes_max, out, &place).await.map_err(Unsent::into_fault)?;
                (place.room, event)
            }
            (true, None) | (false, _) => return Err(Unsent::Forbidden(fault).into_fault()),
        },
    };
    hub.machine_mut().sent(&room, &event, &out.key);
    hub.courtesy(Courtesy::Typing(room.clone(), false));
    if let (Agents::Ghosts, Some(agent)) = (hub.settings.agents, &out.agent) {
        hub.courtesy(Courtesy::Picture(agent.clone()));
    }
    let seen = hub.machine().newest_of_theirs(&room);
    if let Some(seen) = seen {
        hub.courtesy(Courtesy::Read(room, seen));
    }
    Ok(Sent { event: Some(EventId::from(event.as_str())), remark: None })
}

/// Why nothing was said.
enum Unsent {
    Fault(Fault),
    /// The room does not let us, whoever of us speaks.
    Forbidden(CallFault),
}

impl Unsent {
    fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Forbidden(fault) => Fault::refused(format!("the Matrix room does not let us write: {fault}")),
        }
    }
}

/// As the agent; if the room does not take it from them, they may have been put out, and are brought in again; at
/// last the user whom people write to speaks for them.
async fn speak(hub: &Hub, upload_bytes_max: u64, out: &Outbound, place: &Place) -> Result<EventRef, Unsent> {
    let mut last = None;
    for way in [Voice::Own, Voice::Own, Voice::Lent] {
        let speaker = speaker(hub, out.agent.as_ref(), &place.room, way).await.map_err(Unsent::Fault)?;
        let fault = match say(hub, upload_bytes_max, out, place, &speaker).await.map_err(Unsent::Fault)? {
            Ok(event) => return Ok(event),
            Err(fault) => fault,
        };
        if fault.status() != Some(403) || fault.is_of_credentials() {
            return Err(Unsent::Fault(fault.into_fault()));
        }
        let (Some(ghost), Some(ghosts)) = (&speaker.ghost, &hub.ghosts) else { return Err(Unsent::Forbidden(fault)) };
        ghosts.forget_place(&place.room, ghost);
        last = Some(fault);
    }
    Err(Unsent::Forbidden(last.expect("each round that goes on leaves a fault")))
}

async fn say(
    hub: &Hub,
    upload_bytes_max: u64,
    out: &Outbound,
    Place { room, known }: &Place,
    speaker: &Speaker,
) -> Result<Result<EventRef, CallFault>, Fault> {
    let mut content = content_of(hub, upload_bytes_max, out, speaker).await?;
    content.insert(KEY_MARK.to_owned(), Value::from(out.key.as_str()));
    relate(hub, room, known, out, &mut content).await;
    let content = Value::Object(content);
    Ok(speaker.client.send(room, "m.room.message", out.key.as_str(), &content).await)
}

/// Only a member is told who the members are.
async fn is_out_of(hub: &Hub, room: &RoomId) -> Result<bool, Fault> {
    match hub.client.joined_members(room).await {
        Ok(members) => Ok(!members.contains(&hub.me.user)),
        Err(CallFault::Refused { status: 403 | 404, .. }) => Ok(true),
        Err(fault) => Err(fault.into_fault_of_preparation()),
    }
}

/// Looks for the effect's mark in the room, newest first.
pub(crate) async fn probe(hub: &Hub, out: &Outbound) -> Result<Option<Sent>, Fault> {
    if matches!(out.part, Part::Withdraw { .. }) {
        // Taking the same thing back twice is harmless.
        return Ok(None);
    }
    let rooms = hub.machine().rooms.of_conversation(&RoomId::of_thread(&out.thread));
    for room in rooms {
        if let Some(event) = find(hub, &room, &out.key, out.attempted_millis).await? {
            return Ok(Some(Sent { event: Some(EventId::from(event.as_str())), remark: None }));
        }
    }
    Ok(None)
}

async fn find(hub: &Hub, room: &RoomId, key: &Key, attempted_millis: Option<i64>) -> Result<Option<EventRef>, Fault> {
    let mut from = None;
    for _ in 0..PROBE_PAGES_MAX {
        let page = match hub.client.history(room, (from.as_deref(), None), PROBE_PAGE).await {
            Ok(page) => page,
            // A room that we may not read is none that we wrote in lately.
            Err(CallFault::Refused { status: 403 | 404, .. }) => return Ok(None),
            Err(fault) => return Err(fault.into_fault_of_preparation()),
        };
        let ours = |event: &&Event| hub.me.is_ours(&event.sender);
        let bears = |event: &&Event| crate::wire::text(&event.content, &[KEY_MARK]) == Some(key.as_str());
        if let Some(found) = page.events.iter().filter(ours).find(bears) {
            return Ok(Some(found.id.clone()));
        }
        match page.older {
            Some(_) if attempted_millis.is_some_and(|attempted| is_before(&page.events, attempted)) => return Ok(None),
            Some(older) => from = Some(older),
            None => return Ok(None),
        }
    }
    Err(Fault::unknown("so much was written in the room since that an earlier try cannot be looked for"))
}

/// Whether all of this was written before an attempt began. One event does not say so: its stamp is its own server's.
fn is_before(events: &[Event], attempted_millis: i64) -> bool {
    let newest = events.iter().map(|event| event.at_millis).max();
    newest.is_some_and(|newest| newest < attempted_millis.saturating_sub(CLOCKS_MARGIN_MILLIS))
}

/// Where a conversation is.
struct Place {
    room: RoomId,
    known: Room,
}

/// The room that the conversation is in now, entered again or made anew when that is needed.
async fn place(hub: &Hub, thread: &ThreadId) -> Result<Place, Fault> {
    let base = RoomId::of_thread(thread);
    let (room, known) = {
        let machine = hub.machine();
        let room = machine.rooms.place_of(&base).clone();
        let known = machine.rooms.get(&room).cloned();
        (room, known)
    };
    let Some(known) = known else {
        return Err(Fault::refused("the bridge knows no Matrix room of this conversation"));
    };
    let peer = known.peer.clone();
    match (&known.standing, peer) {
        (Standing::Out(_) | Standing::Leaving(_), Some(peer)) => elsewhere(hub, base, peer).await,
        (Standing::Out(_) | Standing::Leaving(_), None) => {
            Err(Fault::refused("we are not in the Matrix room any more"))
        }
        (Standing::Invited { .. }, _) => Err(Fault::retry("the Matrix room was not entered yet")),
        (Standing::Joined, _) if known.encrypted && !known.told => {
            Err(Fault::retry("the Matrix room is encrypted; another one is being opened"))
        }
        (Standing::Joined, _) if known.encrypted => {
            Err(Fault::refused("the Matrix room is encrypted, and the person has no other room with us"))
        }
        (Standing::Joined, Some(peer)) if known.peer_left => back(hub, base, room, known, peer).await,
        (Standing::Joined, _) => Ok(Place { room, known }),
    }
}

/// The person has left: they are invited again, once; after that a new room is opened.
async fn back(hub: &Hub, base: RoomId, room: RoomId, known: Room, peer: UserId) -> Result<Place, Fault> {
    if known.reinvited {
        return elsewhere(hub, base, peer).await;
    }
    match hub.client.invite(&room, &peer).await {
        Ok(()) => {
            hub.change(Change::Reinvited(room.clone())).await.map_err(Fault::retry)?;
            Ok(Place { room, known })
        }
        Err(fault) if fault.may_pass() => Err(fault.into_fault_of_preparation()),
        Err(_) => elsewhere(hub, base, peer).await,
    }
}

async fn elsewhere(hub: &Hub, base: RoomId, peer: UserId) -> Result<Place, Fault> {
    let to = open_room(hub, &base, &peer).await.map_err(CallFault::into_fault_of_preparation)?;
    let change = Change::Placed { base, to: to.clone(), peer, told: None };
    hub.change(change).await.map_err(Fault::retry)?;
    let known = hub.machine().rooms.get(&to).cloned().unwrap_or_default();
    Ok(Place { room: to, known })
}

/// Who says it.
struct Speaker {
    client: Client,
    /// When it is a ghost.
    ghost: Option<UserId>,
    /// To be put before the text.
    name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// The agent's own, where they have one.
    Own,
    /// Ours, with the agent's name.
    Lent,
}

async fn speaker(hub: &Hub, agent: Option<&Agent>, room: &RoomId, voice: Voice) -> Result<Speaker, Fault> {
    let ourselves =
        |name: Option<&str>| Speaker { client: hub.client.clone(), ghost: None, name: name.map(str::to_owned) };
    let Some(agent) = agent else { return Ok(ourselves(None)) };
    match (hub.settings.agents, &hub.ghosts) {
        (Agents::Names, _) | (Agents::Ghosts, None) => Ok(ourselves(Some(&agent.name))),
        (Agents::Hidden, _) => Ok(ourselves(None)),
        (Agents::Ghosts, Some(_)) if voice == Voice::Lent => Ok(ourselves(Some(&agent.name))),
        (Agents::Ghosts, Some(ghosts)) => {
            let ghost = ghosts.bring(&hub.client, &hub.host, agent, room).await;
            match ghost.map_err(CallFault::into_fault_of_preparation)? {
                Some(ghost) => Ok(Speaker { client: hub.client.speaking_as(&ghost), ghost: Some(ghost), name: None }),
                None => Ok(ourselves(Some(&agent.name))),
            }
        }
    }
}

async fn content_of(
    hub: &Hub,
    upload_bytes_max: u64,
    out: &Outbound,
    speaker: &Speaker,
) -> Result<Map<String, Value>, Fault> {
    match &out.part {
        Part::Text { text, .. } => Ok(text_content(text, speaker.name.as_deref())),
        Part::Attachment(file) => file_content(hub, upload_bytes_max, file, speaker).await,
        Part::Withdraw { .. } | _ => Err(Fault::refused("matrix has nothing to show this as")),
    }
}

fn text_content(markdown: &str, name: Option<&str>) -> Map<String, Value> {
    let named = name.map(|name| said_by(name, "", markdown));
    let rendered = render::from_markdown(named.as_deref().unwrap_or(markdown));
    let mut content = Map::new();
    content.insert("msgtype".to_owned(), "m.text".into());
    content.insert("body".to_owned(), rendered.body.into());
    if let Some(html) = rendered.formatted {
        content.insert("format".to_owned(), "org.matrix.custom.html".into());
        content.insert("formatted_body".to_owned(), html.into());
    }
    content.insert("m.mentions".to_owned(), json!({}));
    content
}

/// Natively; as a link where the file is larger than the homeserver takes.
async fn file_content(
    hub: &Hub,
    upload_bytes_max: u64,
    attachment: &Attachment,
    speaker: &Speaker,
) -> Result<Map<String, Value>, Fault> {
    let link = || text_content(&format!("{}: {}", literal(&attachment.name), attachment.url), speaker.name.as_deref());
    if attachment.holder == Holder::Link {
        return Ok(link());
    }
    let file = hub.host.open(attachment).await?;
    let size = file.length.or(attachment.size_bytes);
    if size.is_some_and(|size| size > upload_bytes_max) {
        return Ok(link());
    }
    let media_type = file.media_type.clone().or_else(|| attachment.media_type.clone());
    let media = match speaker
        .client
        .upload(&attachment.name, bridge_api::File { media_type: media_type.clone(), ..file })
        .await
    {
        Ok(media) => media,
        Err(CallFault::Refused { status: 413, .. }) => return Ok(link()),
        Err(fault) => return Err(fault.into_fault_of_preparation()),
    };
    let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let msgtype = match media_type.split('/').next() {
        Some("image") => "m.image",
        Some("audio") => "m.audio",
        Some("video") => "m.video",
        _ => "m.file",
    };
    let mut info = json!({ "mimetype": media_type });
    if let Some(size) = size {
        info["size"] = size.into();
    }
    let content = json!({
        "msgtype": msgtype, "url": media.to_string(), "body": attachment.name, "filename": attachment.name, "info": info,
        "m.mentions": {},
    });
    Ok(content.as_object().cloned().unwrap_or_default())
}

/// A reply in the place where the person wrote: their thread, if they wrote in one.
async fn relate(hub: &Hub, room: &RoomId, known: &Room, out: &Outbound, content: &mut Map<String, Value>) {
    let reply = match &out.part {
        Part::Text { reply_to, .. } => reply_to.as_ref().map(|event| EventRef::from(event.as_str())),
        Part::Attachment(_) | Part::Withdraw { .. } | _ => None,
    };
    let thread = match &reply {
        // The thread of what is answered; unknown is as good as none.
        Some(event) => match hub.client.event(room, event).await {
            Ok(Some(found)) => match found.relation() {
                Relation::Thread { root, .. } => Some(root),
                Relation::None | Relation::Edit(_) | Relation::Reply(_) | Relation::Reaction { .. } => None,
            },
            Ok(None) | Err(_) => None,
        },
        None => known.root.clone(),
    };
    let relates = match (thread, reply) {
        (Some(first), Some(reply)) => json!({
            "rel_type": "m.thread", "event_id": first.as_str(), "is_falling_back": false,
            "m.in_reply_to": { "event_id": reply.as_str() },
        }),
        (Some(first), None) => {
            let newest = hub.machine().newest_of_theirs(room).unwrap_or_else(|| first.clone());
            json!({
                "rel_type": "m.thread", "event_id": first.as_str(), "is_falling_back": true,
                "m.in_reply_to": { "event_id": newest.as_str() },
            })
        }
        (None, Some(reply)) => json!({ "m.in_reply_to": { "event_id": reply.as_str() } }),
        (None, None) => return,
    };
    content.insert("m.relates_to".to_owned(), relates);
}

/// Each event by whoever sent it: in a room of somebody else's we have no power over others' events.
async fn withdraw(hub: &Hub, out: &Outbound, events: &[EventId]) -> Result<Sent, Fault> {
    let rooms = hub.machine().rooms.of_conversation(&RoomId::of_thread(&out.thread));
    let mut missing = false;
    for (number, event) in events.iter().enumerate() {
        let event = EventRef::from(event.as_str());
        match find_ours(hub, &rooms, &event).await? {
            None => missing = true,
            Some((room, sender)) => {
                let txn = format!("{}-{number}", out.key);
                match hub.client.speaking_as(&sender).redact(room, &event, &txn).await {
                    Ok(_) | Err(CallFault::Refused { status: 404, .. }) => {}
                    Err(fault) => return Err(fault.into_fault()),
                }
            }
        }
    }
    let remark = missing.then(|| "The message was not found in the Matrix room, so it may still be there.".to_owned());
    Ok(Sent { event: None, remark })
}

/// In which of the rooms an event of ours is, and who of us sent it.
async fn find_ours<'r>(
    hub: &Hub,
    rooms: &'r [RoomId],
    event: &EventRef,
) -> Result<Option<(&'r RoomId, UserId)>, Fault> {
    for room in rooms {
        let found = hub.client.event(room, event).await.map_err(CallFault::into_fault_of_preparation)?;
        if let Some(found) = found.filter(|found| hub.me.is_ours(&found.sender)) {
            return Ok(Some((room, found.sender)));
        }
    }
    Ok(None)
}
