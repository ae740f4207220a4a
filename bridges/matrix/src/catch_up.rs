//! What happened while nobody listened: asked for after each connect, before anything new is handled, so that
//! every room keeps its order.

use std::{collections::HashMap, time::Duration};

use bridge_api::Cursor;
use futures_util::{FutureExt, StreamExt, stream};

use crate::{
    client::CallFault,
    hub::Hub,
    ids::{EventRef, RoomId},
    wire::{Event, Synced, Transaction, read_sync},
};

/// Position of `/sync`.
const SINCE: &str = "since";
/// What is read back of one room at most.
const GAP_PAGES_MAX: usize = 20;
const GAP_PAGE: usize = 100;
const ROOMS_AT_ONCE: usize = 8;

/// The saved position; `None` before the first one. A store that cannot be read is not that.
pub(crate) async fn position(hub: &Hub) -> Result<Option<String>, String> {
    let cursors = hub.host.cursors(SINCE).await.map_err(|error| error.to_string())?;
    Ok(cursors.into_iter().find(|cursor| cursor.name == SINCE).and_then(|cursor| cursor.value))
}

/// Saved after what it covers was kept, never before.
pub(crate) async fn save_position(hub: &Hub, next: &str) -> Result<(), String> {
    hub.host.save_cursors(vec![Cursor::set(SINCE, next)]).await.map_err(|error| error.to_string())
}

/// Everything that was missed. Where the server has no `/sync` for us, room by room.
pub(crate) async fn catch_up(hub: &Hub) -> Result<(), String> {
    let since = position(hub).await?;
    let mut answered = hub.client.sync(since.as_deref(), Duration::ZERO).await;
    if answered.as_ref().is_err_and(|fault| fault.is("M_FORBIDDEN")) && hub.me.namespace.is_some() {
        come_back(hub).await.map_err(|fault| fault.to_string())?;
        answered = hub.client.sync(since.as_deref(), Duration::ZERO).await;
    }
    match answered {
        Ok(answer) => match read_sync(&answer, &hub.me.user) {
            Some(synced) => take(hub, synced, since.as_deref()).await,
            None => room_by_room(hub).await,
        },
        Err(fault) if fault.is_of_credentials() => Err(fault.to_string()),
        Err(fault @ (CallFault::Limited { .. } | CallFault::Unreachable(_))) => Err(fault.to_string()),
        Err(fault) => {
            tracing::info!(fault = fault.to_string(), "/sync gave no answer, so rooms are read one by one");
            room_by_room(hub).await
        }
    }
}

/// A homeserver that was replaced, or restored from before our time, knows none of our users: they are made anew.
async fn come_back(hub: &Hub) -> Result<(), CallFault> {
    tracing::warn!("the homeserver does not let us read; if it does not know us any more, we are made anew");
    hub.client.register(hub.me.user.localpart()).await?;
    if let Some(name) = &hub.settings.display_name {
        hub.client.set_name(&hub.me.user, name).await?;
    }
    if let Some(ghosts) = &hub.ghosts {
        ghosts.forget_all();
    }
    Ok(())
}

/// Handles the answer of a `/sync`. The first one of an account, without `since`, tells where things stand: old
/// messages of rooms that we know nothing of are no news.
pub(crate) async fn take(hub: &Hub, synced: Synced, since: Option<&str>) -> Result<(), String> {
    let Synced { next, mut transaction, gaps } = synced;
    match since {
        None => {
            leave_news(hub, &mut transaction);
            fill_all(hub, &mut transaction).await?;
        }
        Some(since) => {
            let gap = |(room, from)| Gap { room, from: Some(from), to: Some(since.to_owned()) };
            let known = gaps.into_iter().filter(|(room, _)| is_ours(hub, room)).map(gap);
            fill(hub, known.collect(), &mut transaction).await?;
            leave_beginnings(hub, &mut transaction);
        }
    }
    hub.take(transaction).await?;
    save_position(hub, &next).await
}

/// Of rooms that we know nothing of only what is said about ourselves: invites, for one.
fn leave_news(hub: &Hub, transaction: &mut Transaction) {
    transaction.events.retain(|event| hub.machine().rooms.get(&event.room).is_none() && is_of_us(hub, event));
}

/// Of rooms that we have come into lately the timeline begins long before our invite. Those who were there said that to
/// each other and not to us. Where our coming is not handled yet, what was written since is read when it is.
fn leave_beginnings(hub: &Hub, transaction: &mut Transaction) {
    let me = &hub.me.user;
    // What was made by us is ours from its beginning.
    let made = transaction.events.iter().filter(|event| is_made_by_us(hub, event));
    let mut came: HashMap<RoomId, Option<EventRef>> = made.map(|event| (event.room.clone(), None)).collect();
    transaction
        .events
        .retain(|event| came.contains_key(&event.room) || is_ours(hub, &event.room) || is_of_us(hub, event));
    for event in &transaction.events {
        if event.kind == "m.room.member" && event.state_key.as_deref() == Some(me.as_str()) {
            came.entry(event.room.clone()).or_insert_with(|| event.brings_in().then(|| event.id.clone()));
        }
    }
    transaction.events.retain(|event| match came.get_mut(&event.room) {
        Some(coming) if coming.is_some() => {
            if coming.as_ref() == Some(&event.id) {
                *coming = None;
            }
            coming.is_none()
        }
        Some(_) | None => true,
    });
}

/// A room that we are in, of which nothing is left to be read back.
fn is_ours(hub: &Hub, room: &RoomId) -> bool {
    hub.machine().rooms.get(room).is_some_and(|room| room.is_joined() && room.read_back)
}

/// About our coming and going, or the making of a room by us.
fn is_of_us(hub: &Hub, event: &Event) -> bool {
    event.state_key.as_deref() == Some(hub.me.user.as_str()) || is_made_by_us(hub, event)
}

fn is_made_by_us(hub: &Hub, event: &Event) -> bool {
    event.kind == "m.room.create" && hub.me.is_ours(&event.sender)
}

async fn room_by_room(hub: &Hub) -> Result<(), String> {
    let joined = hub.client.joined_rooms().await.map_err(|fault| fault.to_string())?;
    let known: Vec<RoomId> = joined.into_iter().filter(|room| hub.machine().rooms.get(room).is_some()).collect();
    let mut transaction = Transaction::default();
    fill(hub, known.into_iter().map(Gap::to_its_end).collect(), &mut transaction).await?;
    hub.take(transaction).await
}

/// Every room that we know to be in.
async fn fill_all(hub: &Hub, transaction: &mut Transaction) -> Result<(), String> {
    let known: Vec<RoomId> = hub.machine().rooms.joined().map(|(room, _)| room.clone()).collect();
    fill(hub, known.into_iter().map(Gap::to_its_end).collect(), transaction).await
}

/// A stretch of a room's history that was missed.
struct Gap {
    room: RoomId,
    from: Option<String>,
    /// Back to the last event that was handled, where no position is known.
    to: Option<String>,
}

impl Gap {
    fn to_its_end(room: RoomId) -> Self {
        Self { room, from: None, to: None }
    }
}

/// Puts what was missed before what is there already.
async fn fill(hub: &Hub, gaps: Vec<Gap>, transaction: &mut Transaction) -> Result<(), String> {
    let asked = gaps.into_iter().map(|gap| missed(hub, gap).boxed());
    let mut missed = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(ROOMS_AT_ONCE);
    let mut filled = Vec::new();
    while let Some(events) = missed.next().await {
        filled.extend(events.map_err(|fault| fault.to_string())?);
    }
    filled.append(&mut transaction.events);
    transaction.events = filled;
    Ok(())
}

/// Oldest first.
async fn missed(hub: &Hub, Gap { room, from, to }: Gap) -> Result<Vec<Event>, CallFault> {
    // What came last was not lost, but what came before it may have been.
    let last = match &to {
        Some(_) => None,
        None => hub.machine().rooms.get(&room).and_then(|room| room.last.clone()),
    };
    if to.is_none() && last.is_none() {
        return Ok(Vec::new());
    }
    let (mut events, mut from) = (Vec::new(), from);
    for _ in 0..GAP_PAGES_MAX {
        let page = match hub.client.history(&room, (from.as_deref(), to.as_deref()), GAP_PAGE).await {
            Ok(page) => page,
            // Not in it any more.
            Err(CallFault::Refused { status: 403 | 404, .. }) => break,
            Err(fault) => return Err(fault),
        };
        for event in page.events {
            if Some(&event.id) == last.as_ref() {
                events.reverse();
                return Ok(events);
            }
            events.push(event);
        }
        match page.older {
            Some(older) => from = Some(older),
            None if to.is_some() => {
                events.reverse();
                return Ok(events);
            }
            None => break,
        }
    }
    tracing::warn!(room = room.as_str(), events = events.len(), "a gap in a room was too long to be read back whole");
    events.reverse();
    Ok(events)
}

/// What was written in a room from our invite on, oldest first: of that, nobody is told who was not in it yet.
/// Nothing for a room that we came into by ourselves.
pub(crate) async fn beginning(hub: &Hub, room: &RoomId) -> Result<Vec<Event>, CallFault> {
    let invites = |event: &Event| {
        event.state_key.as_deref() == Some(hub.me.user.as_str())
            && crate::wire::text(&event.content, &["membership"]) == Some("invite")
    };
    let (mut events, mut from) = (Vec::new(), None);
    for _ in 0..GAP_PAGES_MAX {
        let page = hub.client.history(room, (from.as_deref(), None), GAP_PAGE).await?;
        for event in page.events {
            if invites(&event) {
                events.reverse();
                return Ok(events);
            }
            events.push(event);
        }
        match page.older {
            Some(older) => from = Some(older),
            None => break,
        }
    }
    Ok(Vec::new())
}
