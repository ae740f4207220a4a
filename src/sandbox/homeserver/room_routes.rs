//! Calls about rooms: making them, coming and going, members and state.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::errors::MatrixError;
use super::routes::{Answer, At, Cores, Parsed, Requester, empty, ok};
use super::state::Core;

pub(super) fn routes() -> Router<Arc<Core>> {
    let v3 = "/_matrix/client/v3";
    let room = "/_matrix/client/v3/rooms/{room}";
    Router::new()
        .route(&format!("{v3}/createRoom"), post(create))
        .route(&format!("{v3}/join/{{room}}"), post(join))
        .route(&format!("{v3}/joined_rooms"), get(joined_rooms))
        .route(&format!("{room}/invite"), post(invite))
        .route(&format!("{room}/join"), post(join))
        .route(&format!("{room}/leave"), post(leave))
        .route(&format!("{room}/kick"), post(kick))
        .route(&format!("{room}/ban"), post(ban))
        .route(&format!("{room}/unban"), post(unban))
        .route(&format!("{room}/forget"), post(forget))
        .route(&format!("{room}/joined_members"), get(joined_members))
        .route(&format!("{room}/members"), get(members))
        .route(&format!("{room}/state"), get(whole_state))
        .route(&format!("{room}/state/{{kind}}"), get(state_of_kind).put(set_state_of_kind))
        .route(&format!("{room}/state/{{kind}}/"), get(state_of_kind).put(set_state_of_kind))
        .route(&format!("{room}/state/{{kind}}/{{key}}"), get(state).put(set_state))
}

fn reason(body: &Value) -> Option<&str> {
    body["reason"].as_str()
}

fn target(body: &Value) -> Result<&str, MatrixError> {
    body["user_id"].as_str().ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing params: ['user_id']"))
}

async fn create(State(core): Cores, requester: Requester, Parsed(body): Parsed) -> Answer {
    let room = core.change(|house| house.create_room(&requester.user, &body))?;
    ok(&json!({"room_id": room}))
}

async fn join(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    let room = core.change(|house| house.join(&requester.user, &room, reason(&body)))?;
    ok(&json!({"room_id": room}))
}

async fn joined_rooms(State(core): Cores, requester: Requester) -> Answer {
    let rooms = core.look(|house| {
        let joined = house.rooms.values().filter(|room| room.is_joined(&requester.user));
        joined.map(|room| room.id.clone()).collect::<Vec<_>>()
    });
    ok(&json!({"joined_rooms": rooms}))
}

async fn invite(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.invite(&requester.user, &room, target(&body)?, reason(&body)))?;
    empty()
}

async fn leave(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.leave(&requester.user, &room, reason(&body)))?;
    empty()
}

async fn kick(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.kick(&requester.user, &room, target(&body)?, reason(&body)))?;
    empty()
}

async fn ban(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.ban(&requester.user, &room, target(&body)?, reason(&body)))?;
    empty()
}

async fn unban(State(core): Cores, requester: Requester, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.unban(&requester.user, &room, target(&body)?))?;
    empty()
}

async fn forget(State(core): Cores, requester: Requester, At(room): At<String>) -> Answer {
    core.change(|house| house.forget(&requester.user, &room))?;
    empty()
}

async fn joined_members(State(core): Cores, requester: Requester, At(room): At<String>) -> Answer {
    ok(&core.look(|house| house.joined_members(&requester.user, &room))?)
}

async fn members(State(core): Cores, requester: Requester, At(room): At<String>) -> Answer {
    ok(&core.look(|house| house.members(&requester.user, &room))?)
}

async fn whole_state(State(core): Cores, requester: Requester, At(room): At<String>) -> Answer {
    ok(&json!(core.look(|house| house.full_state(&requester.user, &room))?))
}

async fn state_of_kind(core: Cores, requester: Requester, At((room, kind)): At<(String, String)>) -> Answer {
    state(core, requester, At((room, kind, String::new()))).await
}

async fn state(
    State(core): Cores,
    requester: Requester,
    At((room, kind, key)): At<(String, String, String)>,
) -> Answer {
    let state = core.look(|house| house.full_state(&requester.user, &room))?;
    let found = state.into_iter().find(|event| event["type"] == kind && event["state_key"] == key);
    ok(&found.ok_or_else(|| MatrixError::missing("Event not found."))?["content"])
}

async fn set_state_of_kind(
    core: Cores,
    requester: Requester,
    At((room, kind)): At<(String, String)>,
    body: Parsed,
) -> Answer {
    set_state(core, requester, At((room, kind, String::new())), body).await
}

async fn set_state(
    State(core): Cores,
    requester: Requester,
    At((room, kind, key)): At<(String, String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    let event = core.change(|house| house.set_state(&requester.user, &room, (&kind, &key), &body))?;
    ok(&json!({"event_id": event}))
}
