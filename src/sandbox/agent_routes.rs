//! The agent's page, its event stream, and the hooks under `/sandbox/` that tests and demonstrations use.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::desk::{Desk, Event, Sender, Status};
use super::faults::{FaultSheet, ROUTE_RULES_MAX};
use super::members::{AGENT, AGENTS, at_the_page};
use super::pages;
use super::params::Params;
use super::refusal::{Refusal, body};
use super::routes::{Answer, At, Desks, Search, ok, ok_empty};

/// Longest time that the sandbox can be sent down for over HTTP.
const DOWN_SECONDS_MAX: u64 = 3_600;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let conversation = "/sandbox/conversations/{id}";
    Router::new()
        .route("/", get(page))
        .route("/sandbox/state", get(state))
        .route("/sandbox/events", get(events))
        .route("/sandbox/conversations", get(summaries))
        .route(conversation, get(thread).delete(delete_conversation))
        .route(&format!("{conversation}/reply"), post(reply))
        .route(&format!("{conversation}/resolve"), post(resolve))
        .route(&format!("{conversation}/reopen"), post(reopen))
        .route(&format!("{conversation}/seen"), post(seen))
        .route(&format!("{conversation}/typing"), post(typing))
        .route(&format!("{conversation}/messages/{{message}}/retry"), post(retry))
        .route(&format!("{conversation}/messages/{{message}}"), delete(delete_message))
        .route("/sandbox/contacts/{id}", delete(delete_contact))
        .route("/sandbox/contacts/merge", post(merge))
        .route("/sandbox/faults", get(faults).post(set_faults).delete(clear_faults))
        .route("/sandbox/callback", post(set_callback))
        .route("/sandbox/clock", post(advance))
        .route("/sandbox/down", post(down))
        .layer(from_fn(guard))
}

/// Refuses requests that another web page could make a browser send: from a foreign origin, or under a name that
/// somebody's DNS points here.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    if is_from_here(request.headers()) {
        return next.run(request).await;
    }
    body(StatusCode::FORBIDDEN, &json!({"error": "not from this page"}))
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    origin.is_none_or(|origin| origin == Some(host)) && is_local_name(host)
}

/// An address, or a name without a dot (localhost, a compose service): what no foreign DNS can claim.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.parse::<std::net::IpAddr>().is_ok() || (!name.is_empty() && !name.contains('.'))
}

async fn page() -> Response {
    pages::shown(pages::AGENTS)
}

async fn state(State(shared): Desks) -> Answer {
    let callbacks = &shared.callbacks;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let mut state = shared.change(|desk| desk.state_json());
    state["callbacks"] =
        json!({"posted": count(&callbacks.posted), "failed": count(&callbacks.failed), "lost": count(&callbacks.lost)});
    ok(&state)
}

async fn summaries(State(shared): Desks) -> Answer {
    let inbox = shared.settings.inbox_id;
    ok(&shared.change(|desk| {
        let name = desk.inboxes.get(&inbox).map(|inbox| inbox.name.clone());
        let agents: Vec<Value> = AGENTS.iter().map(|agent| json!({"id": agent.id, "name": agent.name})).collect();
        json!({
            "inbox": name, "agent": AGENT.name, "agent_id": AGENT.id, "agents": agents,
            "conversations": desk.summaries_json(),
        })
    }))
}

async fn thread(State(shared): Desks, At(id): At<u64>, Query(query): Search) -> Answer {
    let before = query.get("before").and_then(|text| text.parse().ok());
    ok(&shared.change(|desk| desk.thread_json(id, before))?)
}

async fn reply(State(shared): Desks, At(id): At<u64>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let message = desk.agent_form(id, params)?;
        desk.message(message).map(|message| desk.message_json(message)).ok_or(Refusal::Internal)
    })?)
}

async fn resolve(State(shared): Desks, At(id): At<u64>) -> Answer {
    shared.change(|desk| desk.agent_status(id, Status::Resolved))?;
    ok_empty()
}

async fn reopen(State(shared): Desks, At(id): At<u64>) -> Answer {
    shared.change(|desk| desk.agent_status(id, Status::Open))?;
    ok_empty()
}

async fn seen(State(shared): Desks, At(id): At<u64>) -> Answer {
    shared.change(|desk| desk.seen(id))?;
    ok_empty()
}

async fn typing(State(shared): Desks, At(id): At<u64>, params: Params) -> Answer {
    let (on, private) = (params.flag("on").unwrap_or(true), params.flag("private").unwrap_or(false));
    let by = at_the_page(params.id("agent_id"));
    shared.change(|desk| desk.agent_types(by, id, on, private))?;
    ok_empty()
}

async fn retry(State(shared): Desks, At((id, message)): At<(u64, u64)>) -> Answer {
    shared.change(|desk| desk.retry_message(id, message))?;
    ok_empty()
}

async fn delete_message(State(shared): Desks, At((id, message)): At<(u64, u64)>) -> Answer {
    shared.change(|desk| desk.delete_message(id, message))?;
    ok_empty()
}

async fn delete_conversation(State(shared): Desks, At(id): At<u64>) -> Answer {
    shared.change(|desk| {
        desk.conversation(id)?;
        desk.remove_conversation(id);
        Ok::<_, Refusal>(())
    })?;
    ok_empty()
}

async fn delete_contact(State(shared): Desks, At(id): At<u64>) -> Answer {
    shared.change(|desk| desk.delete_contact(id))?;
    ok_empty()
}

async fn merge(State(shared): Desks, params: Params) -> Answer {
    let (base, mergee) = (params.id("base").ok_or(Refusal::Missing)?, params.id("mergee").ok_or(Refusal::Missing)?);
    shared.change(|desk| desk.merge_contacts(base, mergee))?;
    ok_empty()
}

async fn faults(State(shared): Desks) -> Json<FaultSheet> {
    Json(shared.faults.sheet())
}

/// Replaces the whole sheet.
async fn set_faults(State(shared): Desks, params: Params) -> Answer {
    let sheet = FaultSheet::deserialize(Value::Object(params.values));
    let sheet = sheet.map_err(|error| Refusal::Unprocessable(error.to_string()))?;
    if sheet.routes.len() > ROUTE_RULES_MAX {
        return Err(Refusal::Unprocessable(format!("at most {ROUTE_RULES_MAX} routes")));
    }
    shared.faults.replace(sheet);
    shared.callbacks.nudge();
    ok(&json!(shared.faults.sheet()))
}

async fn clear_faults(State(shared): Desks) -> Answer {
    shared.faults.clear();
    shared.callbacks.nudge();
    ok_empty()
}

async fn set_callback(State(shared): Desks, params: Params) -> Answer {
    let inbox = params.id("inbox_id").unwrap_or(shared.settings.inbox_id);
    shared.change(|desk| {
        let inbox = desk.inboxes.get_mut(&inbox).ok_or(Refusal::Missing)?;
        inbox.webhook_url = params.text("url").map(ToOwned::to_owned);
        Ok::<_, Refusal>(())
    })?;
    ok_empty()
}

async fn advance(State(shared): Desks, params: Params) -> Answer {
    shared.advance(Duration::from_secs(params.id("advance_seconds").unwrap_or(0)));
    ok(&json!({"now_ms": shared.now_ms()}))
}

/// Refuses connections for a while, soon after this answer.
async fn down(State(shared): Desks, params: Params) -> Answer {
    let seconds = params.id("seconds").unwrap_or(10).min(DOWN_SECONDS_MAX);
    let (tasks, stop) = (shared.tasks.clone(), shared.stop.clone());
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        // Lets the answer out first.
        tokio::time::sleep(Duration::from_millis(20)).await;
        shared.set_listening(false).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        shared.set_listening(true).await;
    }));
    ok(&json!({"down_seconds": seconds}))
}

/// Every change as it happens. A page that falls behind is told to load everything again.
async fn events(State(shared): Desks) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let feed = shared.feed.subscribe();
    let stream = futures_util::stream::unfold((shared, feed), |(shared, mut feed)| async move {
        loop {
            let told = match feed.recv().await {
                Ok(event) => shared.look(|desk| told(desk, &event)),
                Err(RecvError::Lagged(_)) => Some(("resync", json!({}))),
                Err(RecvError::Closed) => return None,
            };
            if let Some((name, data)) = told {
                let event = sse::Event::default().event(name).data(data.to_string());
                return Some((Ok(event), (shared, feed)));
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

fn told(desk: &Desk, event: &Event) -> Option<(&'static str, Value)> {
    match event {
        Event::MessageCreated { conversation, message } | Event::MessageUpdated { conversation, message } => {
            let message = desk.message(*message)?;
            let summary = desk.summary_json(desk.conversations.get(conversation)?);
            Some(("message", json!({"conversation": summary, "message": desk.message_json(message)})))
        }
        Event::ConversationCreated { conversation }
        | Event::ConversationUpdated { conversation, .. }
        | Event::StatusChanged { conversation }
        | Event::ConversationTouched { conversation } => {
            Some(("conversation", desk.summary_json(desk.conversations.get(conversation)?)))
        }
        Event::ConversationGone { conversation } => Some(("gone", json!({"id": conversation}))),
        Event::Typing { conversation, on, by: Sender::Contact(_), .. } => {
            Some(("typing", json!({"id": conversation, "on": on})))
        }
        Event::Typing { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_foreign_dns_can_claim_are_local() {
        let check = |host: &str, local| assert_eq!(is_local_name(host), local, "{host}");
        check("127.0.0.1:8700", true);
        check("[::1]:8700", true);
        check("localhost:8700", true);
        check("sandbox", true);
        check("evil.example:8700", false);
        check("127.0.0.1.evil.example", false);
        check("", false);
    }
}
