//! `/sync`: what one user has not been told since a token.

use serde_json::{Map, Value, json};

use super::house::House;
use super::room::{Event, Room};

/// Synapse's default for a room's timeline.
const TIMELINE_DEFAULT: usize = 10;
const TIMELINE_MAX: usize = 100;

/// Who asks, from where on, and how much of a timeline they want.
pub(super) struct Asked<'a> {
    pub(super) user: &'a str,
    /// Tells the device's own transaction ids apart.
    pub(super) access: &'a str,
    pub(super) since: Option<u64>,
    pub(super) timeline: usize,
}

impl Asked<'_> {
    /// The limit that a filter sets.
    pub(super) fn limit(filter: &Value) -> usize {
        let limit = filter["room"]["timeline"]["limit"].as_u64().map_or(TIMELINE_DEFAULT, |limit| limit as usize);
        limit.clamp(1, TIMELINE_MAX)
    }
}

impl House {
    /// The answer, and whether it tells anything.
    pub(super) fn sync(&self, asked: &Asked<'_>) -> (Value, bool) {
        let (mut joined, mut invited, mut left) = (Map::new(), Map::new(), Map::new());
        for room in self.rooms.values().filter(|room| !room.forgotten.contains(asked.user)) {
            let Some(member) = self.state_event(room, "m.room.member", asked.user) else { continue };
            let news = asked.since.is_none_or(|since| member.pos > since);
            match room.membership(asked.user) {
                "join" => {
                    if let Some(told) = self.joined_room(room, asked) {
                        joined.insert(room.id.clone(), told);
                    }
                }
                "invite" if news => {
                    let mut events =
                        member.json["unsigned"]["invite_room_state"].as_array().cloned().unwrap_or_default();
                    events.push(member.stripped());
                    invited.insert(room.id.clone(), json!({"invite_state": {"events": events}}));
                }
                "leave" | "ban" if news && asked.since.is_some() => {
                    left.insert(room.id.clone(), self.left_room(room, member, asked));
                }
                _ => {}
            }
        }
        let some = !(joined.is_empty() && invited.is_empty() && left.is_empty());
        let answer = json!({
            "next_batch": format!("s{}", self.pos),
            "rooms": {"join": joined, "invite": invited, "leave": left, "knock": {}},
            "presence": {"events": []}, "account_data": {"events": []}, "to_device": {"events": []},
            "device_lists": {"changed": [], "left": []}, "device_one_time_keys_count": {},
        });
        (answer, some)
    }

    fn joined_room(&self, room: &Room, asked: &Asked<'_>) -> Option<Value> {
        let since = asked.since.unwrap_or(0);
        // Who has just come in is told the whole state, as on a first sync.
        let unmoved = self.state_event(room, "m.room.member", asked.user).is_some_and(|member| member.pos <= since);
        let was_in = since > 0 && (unmoved || self.was_joined(room, asked.user, since));
        let from = if was_in { since } else { 0 };
        let (timeline, start, limited) = self.timeline(room, asked, from, u64::MAX);
        let state: Vec<Value> = if was_in && !limited {
            Vec::new()
        } else {
            let before = self.state_at(room, start);
            before
                .into_iter()
                .filter(|pos| *pos > from)
                .filter_map(|pos| self.log.get(&pos))
                .map(|event| event.shown(self.now_ms, Some(asked.access)))
                .collect()
        };
        let mut ephemeral: Vec<Value> = self.receipts_since(&room.id, asked.user, from).into_iter().collect();
        if room.typing_pos > from {
            ephemeral.push(json!({"type": "m.typing", "content": {"user_ids": room.typing_now(self.now_ms)}}));
        }
        if timeline.is_empty() && state.is_empty() && ephemeral.is_empty() {
            return None;
        }
        Some(json!({
            "timeline": {"events": timeline, "limited": limited, "prev_batch": format!("t{start}")},
            "state": {"events": state}, "ephemeral": {"events": ephemeral}, "account_data": {"events": []},
            "unread_notifications": {"notification_count": 0, "highlight_count": 0},
            "summary": {"m.joined_member_count": room.joined().count()},
        }))
    }

    fn left_room(&self, room: &Room, member: &Event, asked: &Asked<'_>) -> Value {
        let (timeline, start, limited) = self.timeline(room, asked, asked.since.unwrap_or(0), member.pos);
        json!({
            "timeline": {"events": timeline, "limited": limited, "prev_batch": format!("t{start}")},
            "state": {"events": []}, "account_data": {"events": []},
        })
    }

    /// The newest events of a stretch of the log, the place before them, and whether older ones were left out.
    fn timeline(&self, room: &Room, asked: &Asked<'_>, from: u64, to: u64) -> (Vec<Value>, u64, bool) {
        let place = |limit: u64| room.timeline.partition_point(|pos| *pos <= limit);
        let stretch = &room.timeline[place(from)..place(to)];
        let left_out = stretch.len().saturating_sub(asked.timeline);
        let start = stretch.get(left_out).map_or(self.pos.min(to), |first| first - 1);
        let shown = stretch[left_out..].iter().filter_map(|pos| self.log.get(pos));
        (shown.map(|event| event.shown(self.now_ms, Some(asked.access))).collect(), start, left_out > 0)
    }

    fn was_joined(&self, room: &Room, user: &str, at: u64) -> bool {
        let mut joined = false;
        for event in room.timeline.iter().take_while(|pos| **pos <= at).filter_map(|pos| self.log.get(pos)) {
            if event.kind() == "m.room.member" && event.state_key() == Some(user) {
                joined = event.content()["membership"] == "join";
            }
        }
        joined
    }
}
