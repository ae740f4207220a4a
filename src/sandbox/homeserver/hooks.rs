//! Hooks under `/sandbox/homeserver/` for tests that run the sandbox as a process, and for demonstrations.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::MatrixError;
use super::faults::{RULES_MAX, Sheet, SocketFault};
use super::link::Order;
use super::routes::{Answer, Cores, Parsed, empty, ok};
use super::state::Core;

pub(super) fn routes() -> Router<Arc<Core>> {
    let base = "/sandbox/homeserver";
    Router::new()
        .route(&format!("{base}/state"), get(state))
        .route(&format!("{base}/accounts"), post(account))
        .route(&format!("{base}/raw"), post(raw))
        .route(&format!("{base}/faults"), get(faults).post(set_faults).delete(clear_faults))
        .route(&format!("{base}/strike"), post(strike))
}

/// Rooms with their events, what the appservice said, and which calls came.
async fn state(State(core): Cores) -> Answer {
    let calls: Vec<Value> = core
        .calls()
        .into_iter()
        .map(|call| json!({"method": call.method, "path": call.path, "status": call.status}))
        .collect();
    let (rooms, waiting, connected) = core.look(|house| {
        let rooms = house.rooms.values().map(|room| {
            let events = room.timeline.iter().filter_map(|pos| house.log.get(pos));
            let events: Vec<Value> = events.map(|event| event.shown(house.now_ms, None)).collect();
            json!({"room_id": room.id, "members": room.members, "events": events, "typing": room.typing_now(house.now_ms)})
        });
        (rooms.collect::<Vec<_>>(), house.outbox.waiting.len(), house.outbox.connected)
    });
    ok(&json!({
        "rooms": rooms, "undelivered": waiting, "connected": connected, "connections": core.board.connections(),
        "heard": core.board.heard(), "calls": calls, "struck": core.faults.struck(),
        "impatient": core.faults.impatient(),
    }))
}

/// `{"user":"kim","password":"…"}`, which answers with a token too.
async fn account(State(core): Cores, Parsed(body): Parsed) -> Answer {
    let name = body["user"].as_str().ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing param: user"))?;
    let (user, token) = core.change(|house| {
        let user = house.create_user(name, None, body["password"].as_str());
        let (token, _) = house.new_token(&user, None);
        (user, token)
    });
    ok(&json!({"user_id": user, "access_token": token, "support": core.settings.support()}))
}

/// `{"room_id":"!…","event":{…}}`: exactly this event.
async fn raw(State(core): Cores, Parsed(body): Parsed) -> Answer {
    let room = body["room_id"].as_str().unwrap_or_default();
    let event = body["event"].as_object().cloned();
    let event = event.ok_or_else(|| MatrixError::bad("M_MISSING_PARAM", "Missing param: event"))?;
    core.change(|house| house.put(room, event));
    empty()
}

async fn faults(State(core): Cores) -> Answer {
    ok(&json!(core.faults.sheet()))
}

/// Replaces the whole sheet.
async fn set_faults(State(core): Cores, Parsed(body): Parsed) -> Answer {
    let sheet = Sheet::deserialize(body).map_err(|error| MatrixError::bad_json(error.to_string()))?;
    if sheet.calls.len() > RULES_MAX || sheet.socket.len() > RULES_MAX {
        return Err(MatrixError::bad_json(format!("at most {RULES_MAX} rules of each kind")));
    }
    core.faults.replace(sheet);
    core.nudge();
    ok(&json!(core.faults.sheet()))
}

async fn clear_faults(State(core): Cores) -> Answer {
    core.faults.clear();
    core.nudge();
    empty()
}

/// One fault of the websocket, now.
async fn strike(State(core): Cores, Parsed(body): Parsed) -> Answer {
    let fault = SocketFault::deserialize(body).map_err(|error| MatrixError::bad_json(error.to_string()))?;
    if core.board.order(Order::Strike(fault)) { empty() } else { Err(MatrixError::missing("Nobody is connected")) }
}
