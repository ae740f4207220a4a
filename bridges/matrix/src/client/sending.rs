//! Events: sent, taken back, read again.

use serde_json::{Value, json};

use super::{CallFault, Client};
use crate::{
    ids::{EventRef, RoomId},
    wire::{Event, read_event, text},
};

/// A stretch of a room's history, newest first.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    /// Where the next older one begins; `None` at the room's beginning.
    pub(crate) older: Option<String>,
}

impl Client {
    /// The same `txn` is the same event, for as long as the server remembers.
    pub(crate) async fn send(
        &self,
        room: &RoomId,
        kind: &str,
        txn: &str,
        content: &Value,
    ) -> Result<EventRef, CallFault> {
        let url = self.url(&["_matrix", "client", "v3", "rooms", room.as_str(), "send", kind, txn]);
        event_id(&self.put(url, content).await?)
    }

    pub(crate) async fn redact(&self, room: &RoomId, event: &EventRef, txn: &str) -> Result<EventRef, CallFault> {
        let url = self.url(&["_matrix", "client", "v3", "rooms", room.as_str(), "redact", event.as_str(), txn]);
        event_id(&self.put(url, &json!({})).await?)
    }

    /// `None` where the room has no such event, or none that we may see.
    pub(crate) async fn event(&self, room: &RoomId, event: &EventRef) -> Result<Option<Event>, CallFault> {
        match self.get(self.url(&["_matrix", "client", "v3", "rooms", room.as_str(), "event", event.as_str()])).await {
            Ok(value) => Ok(read_event(value, Some(room)).ok()),
            Err(CallFault::Refused { status: 403 | 404, .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// From `from`, or from the end, towards the past and not beyond `to`.
    pub(crate) async fn history(
        &self,
        room: &RoomId,
        (from, to): (Option<&str>, Option<&str>),
        count: usize,
    ) -> Result<Page, CallFault> {
        let mut url = self.url(&["_matrix", "client", "v3", "rooms", room.as_str(), "messages"]);
        url.query_pairs_mut().append_pair("dir", "b").append_pair("limit", &count.to_string());
        for (name, token) in [("from", from), ("to", to)] {
            if let Some(token) = token {
                url.query_pairs_mut().append_pair(name, token);
            }
        }
        let answer = self.get(url).await?;
        let chunk = answer.get("chunk").and_then(Value::as_array).cloned().unwrap_or_default();
        let older = text(&answer, &["end"]).filter(|_| !chunk.is_empty()).map(str::to_owned);
        Ok(Page { events: chunk.into_iter().filter_map(|value| read_event(value, Some(room)).ok()).collect(), older })
    }
}

fn event_id(answer: &Value) -> Result<EventRef, CallFault> {
    let id = text(answer, &["event_id"]).map(EventRef::from);
    id.ok_or_else(|| CallFault::Doubtful("the homeserver's answer names no event".to_owned()))
}
