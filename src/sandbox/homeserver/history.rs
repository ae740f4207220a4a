//! Looking back: pages of a room's timeline, one event with its surroundings, and who may see what.

use serde_json::{Value, json};

use super::errors::MatrixError;
use super::house::House;
use super::room::{Event, Room};

const PAGE_DEFAULT: usize = 10;
const PAGE_MAX: usize = 1_000;

impl House {
    /// Up to where in the log this user sees the room. Who left sees what was said before.
    fn visible_to(&self, room: &str, user: &str) -> Result<(&Room, u64), MatrixError> {
        let outside =
            || MatrixError::forbidden(format!("User {user} not in room {room}, and room previews are disabled"));
        let place = self.rooms.get(room).ok_or_else(outside)?;
        let last = self.state_event(place, "m.room.member", user).map(|event| event.pos);
        match place.membership(user) {
            "join" => Ok((place, u64::MAX)),
            "leave" | "ban" if !place.forgotten.contains(user) => last.map(|last| (place, last)).ok_or_else(outside),
            _ => Err(outside()),
        }
    }

    /// `GET /messages`.
    pub(super) fn messages(
        &self,
        user: &str,
        room: &str,
        (from, to): (Option<&str>, Option<&str>),
        backwards: bool,
        limit: Option<usize>,
    ) -> Result<Value, MatrixError> {
        let (place, last) = self.visible_to(room, user)?;
        let limit = limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        let ends = if backwards { u64::MAX } else { 0 };
        let from = from.map_or(Ok(ends), token)?;
        let to = to.map(token).transpose()?;
        let seen = place.timeline.iter().copied().filter(|pos| *pos <= last);
        // A token stands between two events: behind the one it names.
        let mut chunk: Vec<u64> = if backwards {
            seen.filter(|pos| *pos <= from && to.is_none_or(|to| *pos > to)).rev().take(limit + 1).collect()
        } else {
            seen.filter(|pos| *pos > from && to.is_none_or(|to| *pos <= to)).take(limit + 1).collect()
        };
        let more = chunk.len() > limit;
        chunk.truncate(limit);
        let events: Vec<Value> =
            chunk.iter().filter_map(|pos| self.log.get(pos)).map(|event| event.shown(self.now_ms, None)).collect();
        let start = if from == u64::MAX { self.pos } else { from };
        let mut answer = json!({"start": format!("t{start}"), "chunk": events});
        if let Some(edge) = chunk.last().filter(|_| more) {
            answer["end"] = json!(format!("t{}", if backwards { edge - 1 } else { *edge }));
        }
        Ok(answer)
    }

    pub(super) fn visible_event(&self, user: &str, room: &str, id: &str) -> Result<&Event, MatrixError> {
        let (_, last) = self.visible_to(room, user)?;
        let event = self.event(id).filter(|event| event.room == room && event.pos <= last);
        event.ok_or_else(|| MatrixError::missing("Event not found."))
    }

    /// `GET /context`: the event with its neighbours.
    pub(super) fn context(&self, user: &str, room: &str, id: &str, limit: usize) -> Result<Value, MatrixError> {
        let (pos, event) = {
            let event = self.visible_event(user, room, id)?;
            (event.pos, event.shown(self.now_ms, None))
        };
        let each = limit.min(PAGE_MAX) / 2;
        let (place, last) = self.visible_to(room, user)?;
        let shown = |pos: &u64| self.log.get(pos).map(|event| event.shown(self.now_ms, None));
        let before: Vec<u64> = place.timeline.iter().copied().filter(|other| *other < pos).rev().take(each).collect();
        let after: Vec<u64> =
            place.timeline.iter().copied().filter(|other| *other > pos && *other <= last).take(each).collect();
        let start = before.last().map_or(pos - 1, |first| first - 1);
        Ok(json!({
            "event": event,
            "events_before": before.iter().filter_map(shown).collect::<Vec<_>>(),
            "events_after": after.iter().filter_map(shown).collect::<Vec<_>>(),
            "start": format!("t{start}"), "end": format!("t{}", after.last().unwrap_or(&pos)),
            "state": place.state.values().filter_map(shown).collect::<Vec<_>>(),
        }))
    }

    /// The whole state now, or as it was when this user left.
    pub(super) fn full_state(&self, user: &str, room: &str) -> Result<Vec<Value>, MatrixError> {
        let (place, last) = self.visible_to(room, user)?;
        let events = self.state_at(place, last).into_iter().filter_map(|pos| self.log.get(&pos));
        Ok(events.map(|event| event.shown(self.now_ms, None)).collect())
    }

    /// Positions of the state events that held after this place in the log.
    pub(super) fn state_at(&self, room: &Room, pos: u64) -> Vec<u64> {
        let mut state = std::collections::BTreeMap::new();
        for event in room.timeline.iter().take_while(|other| **other <= pos).filter_map(|other| self.log.get(other)) {
            if let Some(key) = event.state_key() {
                state.insert((event.kind(), key), event.pos);
            }
        }
        state.into_values().collect()
    }

    pub(super) fn joined_members(&self, user: &str, room: &str) -> Result<Value, MatrixError> {
        let place = self.room_of(room, user)?;
        let mut joined = json!({});
        for member in place.joined() {
            let content =
                self.state_event(place, "m.room.member", member).map_or(Value::Null, |event| event.content().clone());
            joined[member] = json!({"display_name": content["displayname"], "avatar_url": content["avatar_url"]});
        }
        Ok(json!({"joined": joined}))
    }

    pub(super) fn members(&self, user: &str, room: &str) -> Result<Value, MatrixError> {
        let state = self.full_state(user, room)?;
        let members: Vec<Value> = state.into_iter().filter(|event| event["type"] == "m.room.member").collect();
        Ok(json!({"chunk": members}))
    }
}

/// `t5` of `/messages` and `s5` of `/sync` name the same place.
pub(super) fn token(text: &str) -> Result<u64, MatrixError> {
    let number = text.strip_prefix(['t', 's']).and_then(|number| number.parse().ok());
    number.ok_or_else(|| MatrixError::bad("M_INVALID_PARAM", "Invalid stream token"))
}
