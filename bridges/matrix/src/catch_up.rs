//! What happened while nobody listened: asked for after each connect, before anything new is handled, so that
//! every room keeps its order.

use std::time::Duration;

use bridge_api::Cursor;
use futures_util::{FutureExt, StreamExt, stream};

use crate::{
    client::CallFault,
    hub::Hub,
    ids::RoomId,
    wire::{Event, Synced, Transaction, read_sync},
};

/// Position of `/sync`.
const SINCE: &str = "since";
/// What is read back of one room at most.
const GAP_PAGES_MAX: usize = 20;
const GAP_PAGE: usize = 100;
const ROOMS_AT_ONCE: usize = 8;

/// The saved position.
pub(crate) async fn position(hub: &Hub) -> Option<String> {
    let cursors = hub.host.cursors(SINCE).await.ok()?;
    cursors.into_iter().find(|cursor| cursor.name == SINCE)?.value
}

/// Saved after what it covers was kept, never before.
pub(crate) async fn save_position(hub: &Hub, next: &str) -> Result<(), String> {
    hub.host.save_cursors(vec![Cursor::set(SINCE, next)]).await.map_err(|error| error.to_string())
}

/// Everything that was missed. Where the server has no `/sync` for us, room by room.
pub(crate) async fn catch_up(hub: &Hub) -> Result<(), String> {
    let since = position(hub).await;
    match hub.client.sync(since.as_deref(), Duration::ZERO).await {
        Ok(answer) => match read_sync(&answer, &hub.me.user) {
            Some(synced) => take(hub, synced, since.is_none()).await,
            None => room_by_room(hub).await,
        },
        Err(fault) if fault.is_of_credentials() => Err(fault.to_string()),
        Err(fault @ (CallFault::Limited { .. } | CallFault::Unreachable(_))) => Err(fault.to_string()),
        Err(fault) => {
            tracing::info!(fault = fault.to_string(), "the homeserver has no /sync for us: rooms are read one by one");
            room_by_room(hub).await
        }
    }
}

/// Handles the answer of a `/sync`. The first one of an account tells where things stand: old messages of rooms
/// that we know nothing of are no news.
pub(crate) async fn take(hub: &Hub, synced: Synced, first: bool) -> Result<(), String> {
    let Synced { next, mut transaction, mut gaps } = synced;
    if first {
        leave_news(hub, &mut transaction);
        fill_all(hub, &mut transaction).await?;
    } else {
        leave_beginnings(hub, &mut transaction, &mut gaps);
        fill(hub, gaps.into_iter().map(|(room, before)| (room, Some(before))).collect(), &mut transaction).await?;
    }
    hub.take(transaction).await?;
    save_position(hub, &next).await
}

/// Of rooms that we know nothing of only what is said about ourselves: invites, for one.
fn leave_news(hub: &Hub, transaction: &mut Transaction) {
    let machine = hub.machine();
    let of_us = |event: &Event| event.state_key.as_deref() == Some(machine.me.user.as_str());
    transaction.events.retain(|event| machine.rooms.get(&event.room).is_none() && of_us(event));
}

/// Of rooms that we have just come into the timeline begins long before our invite. What concerns us of it is read
/// when our own coming is handled.
fn leave_beginnings(hub: &Hub, transaction: &mut Transaction, gaps: &mut Vec<(RoomId, String)>) {
    let machine = hub.machine();
    let known = |room: &RoomId| machine.rooms.get(room).is_some_and(|room| room.is_joined() && room.read_back);
    let of_us = |event: &Event| event.state_key.as_deref() == Some(machine.me.user.as_str());
    transaction.events.retain(|event| known(&event.room) || of_us(event));
    gaps.retain(|(room, _)| known(room));
}

async fn room_by_room(hub: &Hub) -> Result<(), String> {
    let joined = hub.client.joined_rooms().await.map_err(|fault| fault.to_string())?;
    tracing::debug!(rooms = joined.len(), "rooms are read back one by one");
    let mut transaction = Transaction::default();
    fill_all(hub, &mut transaction).await?;
    hub.take(transaction).await
}

/// Every room that we know, from its end.
async fn fill_all(hub: &Hub, transaction: &mut Transaction) -> Result<(), String> {
    let rooms = hub.machine().rooms.joined().map(|(room, _)| (room.clone(), None)).collect();
    fill(hub, rooms, transaction).await
}

/// Puts what was missed before what is there already.
async fn fill(hub: &Hub, rooms: Vec<(RoomId, Option<String>)>, transaction: &mut Transaction) -> Result<(), String> {
    let asked = rooms.into_iter().map(|(room, from)| missed(hub, room, from).boxed());
    let mut missed = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(ROOMS_AT_ONCE);
    let mut filled = Vec::new();
    while let Some(events) = missed.next().await {
        filled.extend(events.map_err(|fault| fault.to_string())?);
    }
    filled.append(&mut transaction.events);
    transaction.events = filled;
    Ok(())
}

/// Back to the last event that was handled, oldest first.
async fn missed(hub: &Hub, room: RoomId, from: Option<String>) -> Result<Vec<Event>, CallFault> {
    let last = hub.machine().rooms.get(&room).and_then(|room| room.last.clone());
    let Some(last) = last else { return Ok(Vec::new()) };
    let (mut events, mut from) = (Vec::new(), from);
    for _ in 0..GAP_PAGES_MAX {
        let page = match hub.client.history(&room, from.as_deref(), GAP_PAGE).await {
            Ok(page) => page,
            // Not in it any more.
            Err(CallFault::Refused { status: 403 | 404, .. }) => break,
            Err(fault) => return Err(fault),
        };
        for event in page.events {
            if event.id == last {
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
    tracing::warn!(room = room.as_str(), events = events.len(), "a gap in a room was too long to be read back whole");
    events.reverse();
    Ok(events)
}

/// What was written in a room from our invite on, oldest first: of that, nobody is told who was not in it yet.
/// Nothing for a room that we came into by ourselves.
pub(crate) async fn beginning(hub: &Hub, room: &RoomId) -> Result<Vec<Event>, CallFault> {
    let page = hub.client.history(room, None, GAP_PAGE).await?;
    let invites = |event: &Event| {
        event.state_key.as_deref() == Some(hub.me.user.as_str())
            && crate::wire::text(&event.content, &["membership"]) == Some("invite")
    };
    let Some(at) = page.events.iter().position(invites) else { return Ok(Vec::new()) };
    let mut events = page.events;
    events.truncate(at);
    events.reverse();
    Ok(events)
}
