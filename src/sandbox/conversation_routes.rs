//! `/conversations` and the messages in them.

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, patch, post};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::api::member_json;
use super::conversations::Filter;
use super::desk::{Desk, Event, Sender, Status};
use super::members::TOKEN_OWNER;
use super::messages::NewMessage;
use super::params::Params;
use super::refusal::Refusal;
use super::routes::{Answer, At, Desks, Search, administrators_only, ok, ok_empty, page, paged};

const CONVERSATIONS_PER_PAGE: usize = 25;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let one = "/api/v1/accounts/{account}/conversations/{id}";
    let message = format!("{one}/messages/{{message}}");
    Router::new()
        .route("/api/v1/accounts/{account}/conversations", post(create).get(list))
        .route(one, get(show).patch(update).delete(delete))
        .route(&format!("{one}/toggle_status"), post(toggle_status))
        .route(&format!("{one}/toggle_typing_status"), post(toggle_typing))
        .route(&format!("{one}/toggle_priority"), post(update))
        .route(&format!("{one}/update_last_seen"), post(seen))
        .route(&format!("{one}/mute"), post(mute))
        .route(&format!("{one}/unmute"), post(unmute))
        .route(&format!("{one}/labels"), get(labels).post(set_labels))
        .route(&format!("{one}/custom_attributes"), post(set_custom_attributes))
        .route(&format!("{one}/assignments"), post(assign))
        .route(&format!("{one}/messages"), post(create_message).get(list_messages))
        .route(&message, patch(update_message).put(update_message).delete(delete_message))
        .route(&format!("{message}/retry"), post(retry_message))
}

async fn create(State(shared): Desks, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let id = desk.create_conversation(&params)?;
        desk.conversation_json(desk.conversation(id)?)
    })?)
}

async fn show(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| desk.conversation_json(desk.conversation(id)?))?)
}

async fn list(State(shared): Desks, Query(query): Search) -> Answer {
    ok(&shared.change(|desk| list_json(desk, &query))?)
}

fn list_json(desk: &Desk, query: &HashMap<String, String>) -> Result<Value, Refusal> {
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<u64>().ok());
    let status = match query.get("status").map(String::as_str) {
        None => Some(Status::Open),
        Some("all") => None,
        Some(name) => Some(Status::named(name).ok_or(Refusal::Internal)?),
    };
    let within_ms = number("updated_within").map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX / 2_000) * 1_000);
    let found = desk.find_conversations(&Filter {
        inbox: number("inbox_id"),
        status,
        source_id: query.get("source_id").map(String::as_str),
        updated_after_ms: within_ms.map(|within| desk.now_ms.saturating_sub(within)),
    });
    let rows = if within_ms.is_some() { &found[..] } else { paged(&found, page(query), CONVERSATIONS_PER_PAGE) };
    let payload =
        rows.iter().map(|conversation| desk.conversation_json(conversation)).collect::<Result<Vec<_>, _>>()?;
    let count = |fits: &dyn Fn(Option<u64>) -> bool| found.iter().filter(|found| fits(found.assignee)).count();
    let assigned = count(&|assignee| assignee.is_some());
    Ok(json!({"data": {"meta": {
        "mine_count": count(&|assignee| assignee == Some(TOKEN_OWNER.id)), "assigned_count": assigned,
        "unassigned_count": found.len() - assigned, "all_count": found.len(),
    }, "payload": payload}}))
}

async fn update(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.set_priority(id, params.text("priority"))?;
        desk.conversation_json(desk.conversation(id)?)
    })?)
}

async fn delete(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    administrators_only(&shared)?;
    shared.change(|desk| {
        desk.conversation(id)?;
        desk.remove_conversation(id);
        Ok::<_, Refusal>(())
    })?;
    ok_empty()
}

async fn toggle_status(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.toggle_status(id, &params)?;
        let conversation = desk.conversation(id)?;
        Ok::<_, Refusal>(json!({"meta": {}, "payload": {
            "success": true, "conversation_id": id, "current_status": conversation.status.name(),
            "snoozed_until": conversation.snoozed_until,
        }}))
    })?)
}

async fn toggle_typing(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    let on = params.text("typing_status") == Some("on");
    let private = params.flag("is_private").unwrap_or(false);
    shared.change(|desk| {
        desk.conversation(id)?;
        desk.events.push(Event::Typing { conversation: id, on, private, by: Sender::Member(TOKEN_OWNER.id) });
        Ok::<_, Refusal>(())
    })?;
    ok_empty()
}

async fn seen(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| {
        desk.seen(id)?;
        desk.conversation_json(desk.conversation(id)?)
    })?)
}

async fn mute(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    shared.change(|desk| desk.mute(id, true))?;
    ok_empty()
}

async fn unmute(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    shared.change(|desk| desk.mute(id, false))?;
    ok_empty()
}

async fn labels(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| desk.conversation(id).map(|found| json!({"payload": found.labels})))?)
}

async fn set_labels(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    let labels = params.values.get("labels").and_then(Value::as_array).into_iter().flatten();
    let labels: Vec<String> = labels.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    shared.change(|desk| desk.set_labels(id, labels.clone()))?;
    ok(&json!({"payload": labels}))
}

async fn set_custom_attributes(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.set_custom_attributes(id, &params)?;
        desk.conversation(id).map(|found| json!({"custom_attributes": found.custom_attributes}))
    })?)
}

async fn assign(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    let assignee = params.id("assignee_id").filter(|id| *id != 0);
    shared.change(|desk| desk.assign(id, assignee))?;
    ok(&assignee.map_or(Value::Null, member_json))
}

async fn create_message(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    let echo_id = params.values.get("echo_id").cloned();
    ok(&shared.change(|desk| {
        // A missing conversation is found missing before the parameters are looked at.
        desk.conversation(id)?;
        let new = NewMessage::read_with_files(params)?;
        let message = desk.create_message(id, new)?;
        let mut body = desk.message(message).map(|message| desk.message_json(message)).ok_or(Refusal::Internal)?;
        if let (Some(echo_id), Some(body)) = (echo_id, body.as_object_mut()) {
            body.insert("echo_id".to_owned(), echo_id);
        }
        Ok::<_, Refusal>(body)
    })?)
}

async fn list_messages(State(shared): Desks, At((_, id)): At<(u64, u64)>, Query(query): Search) -> Answer {
    let number = |key: &str| query.get(key).and_then(|text| text.parse().ok());
    ok(&shared.change(|desk| {
        let conversation = desk.conversation(id)?;
        let messages = desk.list_messages(id, number("after"), number("before"))?;
        Ok::<_, Refusal>(desk.message_list_json(conversation, &messages))
    })?)
}

async fn update_message(State(shared): Desks, At((_, id, message)): At<(u64, u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.update_message(id, message, &params)?;
        shown(desk, id, message)
    })?)
}

async fn delete_message(State(shared): Desks, At((_, id, message)): At<(u64, u64, u64)>) -> Answer {
    ok(&shared.change(|desk| {
        desk.delete_message(id, message)?;
        shown(desk, id, message)
    })?)
}

async fn retry_message(State(shared): Desks, At((_, id, message)): At<(u64, u64, u64)>) -> Answer {
    ok(&shared.change(|desk| {
        desk.retry_message(id, message)?;
        shown(desk, id, message)
    })?)
}

fn shown(desk: &Desk, conversation: u64, message: u64) -> Result<Value, Refusal> {
    Ok(desk.message_json(desk.message_in(conversation, message)?))
}
