//! How a room comes to be, in the order in which Synapse writes its first events.

use serde_json::{Map, Value, json};

use super::errors::MatrixError;
use super::house::House;
use super::room::{Room, creators_above_all};

const VERSIONS: std::ops::RangeInclusive<u32> = 1..=12;

impl House {
    /// `POST /createRoom`.
    pub(super) fn create_room(&mut self, creator: &str, body: &Value) -> Result<String, MatrixError> {
        let version = body["room_version"].as_str().unwrap_or(&self.settings.room_version).to_owned();
        if !version.parse().is_ok_and(|version| VERSIONS.contains(&version)) {
            return Err(MatrixError::bad(
                "M_UNSUPPORTED_ROOM_VERSION",
                "Your homeserver does not support this room version",
            ));
        }
        let preset = body["preset"].as_str().unwrap_or(if body["visibility"] == "public" {
            "public_chat"
        } else {
            "private_chat"
        });
        let invited = strings(&body["invite"]);
        if invited.iter().any(|user| !(user.starts_with('@') && user.contains(':'))) {
            return Err(MatrixError::bad("M_INVALID_PARAM", "Invalid user_id in invite"));
        }
        let trusted = preset == "trusted_private_chat";
        let above_all = creators_above_all(&version);
        let mut creators = vec![creator.to_owned()];
        let mut creation = body["creation_content"].as_object().cloned().unwrap_or_default();
        if above_all && trusted {
            // From version 12 on a trusted guest can be neither kicked nor banned.
            creators.extend(invited.iter().cloned());
            creation.insert("additional_creators".to_owned(), json!(invited));
        }
        let power = first_power(&creators, above_all, preset, body)?;
        let id = self.room_id(above_all);
        creation.insert("room_version".to_owned(), json!(version));
        self.rooms.insert(id.clone(), Room::new(id.clone(), version, creators));
        self.first_events(&id, creator, creation, &power, preset, body)?;
        for user in invited {
            let direct = json!({"is_direct": body["is_direct"].as_bool().filter(|direct| *direct)});
            self.member(&id, creator, &user, "invite", &direct)?;
        }
        Ok(id)
    }

    /// Ids of version 12 have no server: nothing can be read off them.
    fn room_id(&mut self, above_all: bool) -> String {
        if above_all {
            format!("!{}", self.opaque(43))
        } else {
            format!("!{}:{}", self.letters(18), self.settings.server_name)
        }
    }

    fn first_events(
        &mut self,
        id: &str,
        creator: &str,
        creation: Map<String, Value>,
        power: &Value,
        preset: &str,
        body: &Value,
    ) -> Result<(), MatrixError> {
        self.state(id, creator, "m.room.create", "", &Value::Object(creation))?;
        self.member(id, creator, creator, "join", &json!({}))?;
        self.state(id, creator, "m.room.power_levels", "", power)?;
        let rule = if preset == "public_chat" { "public" } else { "invite" };
        self.state(id, creator, "m.room.join_rules", "", &json!({"join_rule": rule}))?;
        self.state(id, creator, "m.room.history_visibility", "", &json!({"history_visibility": "shared"}))?;
        if preset != "public_chat" {
            self.state(id, creator, "m.room.guest_access", "", &json!({"guest_access": "can_join"}))?;
        }
        for event in body["initial_state"].as_array().into_iter().flatten() {
            let kind = event["type"].as_str().ok_or_else(|| MatrixError::bad_json("'type' not in initial_state"))?;
            self.state(id, creator, kind, event["state_key"].as_str().unwrap_or_default(), &event["content"])?;
        }
        for (kind, key) in [("m.room.name", "name"), ("m.room.topic", "topic")] {
            if let Some(text) = body[key].as_str() {
                self.state(id, creator, kind, "", &json!({key: text}))?;
            }
        }
        Ok(())
    }

    /// Writes state without asking whether the sender may.
    pub(super) fn state(
        &mut self,
        room: &str,
        sender: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> Result<String, MatrixError> {
        self.write_state(room, sender, (kind, key), content.as_object().cloned().unwrap_or_default())
    }
}

fn first_power(creators: &[String], above_all: bool, preset: &str, body: &Value) -> Result<Value, MatrixError> {
    let mut users = Map::new();
    if !above_all {
        users.insert(creators[0].clone(), json!(100));
        if preset == "trusted_private_chat" {
            users.extend(strings(&body["invite"]).into_iter().map(|user| (user, json!(100))));
        }
    }
    let private = preset != "public_chat";
    let mut power = json!({
        "users": users, "users_default": 0, "events_default": 0, "state_default": 50,
        "ban": 50, "kick": 50, "redact": 50, "invite": if private { 0 } else { 50 }, "historical": 100,
        "events": {
            "m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.power_levels": 100,
            "m.room.history_visibility": 100, "m.room.encryption": 100, "m.room.server_acl": 100,
            "m.room.tombstone": if above_all { 150 } else { 100 },
        },
    });
    for (key, value) in body["power_level_content_override"].as_object().into_iter().flatten() {
        power[key] = value.clone();
    }
    if above_all && creators.iter().any(|creator| !power["users"][creator].is_null()) {
        return Err(MatrixError::bad_json("Creators must not be listed in power_levels.users"));
    }
    Ok(power)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}
