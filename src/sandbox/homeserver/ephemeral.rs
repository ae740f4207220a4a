//! Typing and receipts: told once, kept nowhere but as the latest of each.

use serde_json::{Value, json};

use super::errors::MatrixError;
use super::house::House;
use super::outbox::Pushed;
use super::room::Receipt;

/// Synapse's bound for one `timeout`.
const TYPING_MS_MAX: i64 = 120_000;

impl House {
    /// The end of `timeout` is never pushed: receivers need a clock of their own.
    pub(super) fn typing(&mut self, actor: &str, room: &str, on: bool, timeout_ms: i64) -> Result<(), MatrixError> {
        self.room_of(room, actor)?;
        let (now_ms, pos) = (self.now_ms, self.next_pos());
        let watched = self.is_watched(room);
        let Some(place) = self.rooms.get_mut(room) else { return Ok(()) };
        if on {
            place.typing.insert(actor.to_owned(), now_ms + timeout_ms.clamp(1, TYPING_MS_MAX));
        } else {
            place.typing.remove(actor);
        }
        place.typing_pos = pos;
        let users = place.typing_now(now_ms);
        let data = json!({"type": "m.typing", "room_id": room, "content": {"user_ids": users}});
        if watched {
            self.outbox.push(Pushed::Ephemeral(data));
        }
        Ok(())
    }

    /// `m.read` or `m.read.private` up to an event.
    pub(super) fn read(
        &mut self,
        actor: &str,
        room: &str,
        kind: &str,
        event: &str,
        thread: Option<&str>,
    ) -> Result<(), MatrixError> {
        if !matches!(kind, "m.read" | "m.read.private" | "m.fully_read") {
            return Err(MatrixError::bad(
                "M_INVALID_PARAM",
                "Receipt type must be 'm.read', 'm.read.private' or 'm.fully_read'",
            ));
        }
        self.room_of(room, actor)?;
        if kind == "m.fully_read" {
            return Ok(());
        }
        let (ts, pos) = (self.now_ms, self.next_pos());
        let (watched, own) = (self.is_watched(room), self.settings.owns(actor));
        let Some(place) = self.rooms.get_mut(room) else { return Ok(()) };
        let receipt = Receipt { event: event.to_owned(), ts, thread: thread.map(ToOwned::to_owned), pos };
        place.receipts.insert((actor.to_owned(), kind.to_owned()), receipt);
        // Synapse leaves the thread out here, and tells private receipts to their owner's appservice alone.
        let content = json!({event: {kind: {actor: {"ts": ts}}}});
        if watched && (kind == "m.read" || own) {
            self.outbox.push(Pushed::Ephemeral(json!({"type": "m.receipt", "room_id": room, "content": content})));
        }
        Ok(())
    }

    /// The receipts after `since` that `viewer` may see, in the shape of `/sync`.
    pub(super) fn receipts_since(&self, room: &str, viewer: &str, since: u64) -> Option<Value> {
        let mut content = json!({});
        let receipts = &self.rooms.get(room)?.receipts;
        let seen = receipts
            .iter()
            .filter(|((user, kind), receipt)| receipt.pos > since && (kind == "m.read" || user == viewer));
        for ((user, kind), receipt) in seen {
            let mut data = json!({"ts": receipt.ts});
            if let Some(thread) = &receipt.thread {
                data["thread_id"] = json!(thread);
            }
            content[&receipt.event][kind][user] = data;
        }
        let some = content.as_object().is_some_and(|content| !content.is_empty());
        some.then(|| json!({"type": "m.receipt", "content": content}))
    }
}
