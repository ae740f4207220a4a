//! Inboxes, and what a doctor asks: health, version, profile, account.

use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get, post};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::Shared;
use super::desk::{Desk, Inbox, token};
use super::members::{AGENTS, TOKEN_OWNER, member};
use super::messages::iso;
use super::params::Params;
use super::refusal::Refusal;
use super::routes::{Answer, At, Desks, administrators_only, ok};

const WEBHOOK_URL_CHARS_MAX: usize = 2_048;
/// Keys that an inbox keeps and shows as they were given.
const PLAIN_KEYS: [&str; 12] = [
    "greeting_enabled",
    "greeting_message",
    "enable_email_collect",
    "csat_survey_enabled",
    "csat_config",
    "enable_auto_assignment",
    "working_hours_enabled",
    "out_of_office_message",
    "timezone",
    "allow_messages_after_resolved",
    "sender_name_type",
    "business_name",
];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/health", get(health))
        .route("/api", get(version))
        .route("/api/v1/profile", get(profile))
        .route("/api/v1/accounts/{account}", get(account))
        .route("/api/v1/accounts/{account}/agents", get(agents))
        .route("/api/v1/accounts/{account}/inboxes", get(list).post(create))
        .route("/api/v1/accounts/{account}/inboxes/{id}", get(show).patch(update).put(update))
        .route("/api/v1/accounts/{account}/inboxes/{id}", delete(remove))
        .route("/api/v1/accounts/{account}/inboxes/{id}/reset_secret", post(reset_secret))
        .route("/api/v1/accounts/{account}/inbox_members", post(add_members).patch(replace_members))
        .route("/api/v1/accounts/{account}/inbox_members/{id}", get(members))
}

async fn health(State(shared): Desks) -> Answer {
    if !shared.settings.is_at_least(4, 11) {
        return Err(Refusal::NoRoute { json: true });
    }
    ok(&json!({"status": "woot"}))
}

async fn version(State(shared): Desks) -> Answer {
    let timestamp = iso(shared.now_ms()).replace('T', " ");
    let timestamp = timestamp.split('.').next().unwrap_or_default();
    let queue = if shared.faults.queue_is_down() { "failing" } else { "ok" };
    let version = &shared.settings.chatwoot_version;
    ok(&json!({"version": version, "timestamp": timestamp, "queue_services": queue, "data_services": "ok"}))
}

async fn profile(State(shared): Desks) -> Answer {
    let settings = &shared.settings;
    let role = settings.role.name();
    ok(&json!({
        "id": TOKEN_OWNER.id, "name": TOKEN_OWNER.name, "email": TOKEN_OWNER.email, "uid": TOKEN_OWNER.email,
        "role": role, "account_id": settings.account_id, "pubsub_token": "sandbox-pubsub-token",
        "access_token": settings.api_access_token, "type": null,
        "accounts": [{
            "id": settings.account_id, "name": settings.account_name, "status": "active", "role": role,
            "permissions": [role], "availability": "online", "availability_status": "online", "auto_offline": true,
            "active_at": iso(shared.now_ms()),
        }],
    }))
}

async fn account(State(shared): Desks) -> Answer {
    let settings = &shared.settings;
    let locale = match settings.locale {
        super::Locale::English => "en",
        super::Locale::German => "de",
    };
    ok(&json!({
        "id": settings.account_id, "name": settings.account_name, "locale": locale, "domain": null,
        "support_email": "support@harbor.example", "features": {}, "settings": {}, "status": "active",
        "latest_chatwoot_version": settings.chatwoot_version,
    }))
}

/// Everybody who signs in, with either role's token.
async fn agents(State(shared): Desks) -> Answer {
    let everybody: Vec<u64> = std::iter::once(TOKEN_OWNER.id).chain(AGENTS.iter().map(|agent| agent.id)).collect();
    ok(&Value::Array(agent_rows(&shared, &everybody)))
}

fn agent_rows(shared: &Shared, ids: &[u64]) -> Vec<Value> {
    let (frontend, account) = (shared.look(|desk| desk.frontend_url.clone()), shared.settings.account_id);
    let row = |id: &u64| {
        let member = member(*id);
        let owner = member.id == TOKEN_OWNER.id;
        let role = if owner { shared.settings.role.name() } else { "agent" };
        let thumbnail = if owner { String::new() } else { member.picture_url(&frontend) };
        json!({
            "id": member.id, "account_id": account, "availability_status": "online", "auto_offline": true,
            "confirmed": true, "email": member.email, "provider": "email", "available_name": member.name,
            "name": member.name, "role": role, "thumbnail": thumbnail, "custom_role_id": null,
        })
    };
    ids.iter().map(row).collect()
}

async fn list(State(shared): Desks) -> Answer {
    let rows: Vec<Value> = shared.look(|desk| desk.inboxes.values().map(|inbox| desk.inbox_json(inbox)).collect());
    ok(&json!({"payload": rows}))
}

async fn show(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.look(|desk| desk.inbox(id).map(|inbox| desk.inbox_json(inbox)))?)
}

async fn create(State(shared): Desks, params: Params) -> Answer {
    administrators_only(&shared)?;
    let channel = params.nested("channel").unwrap_or_default();
    if channel.text("type") != Some("api") {
        return Err(Refusal::Unprocessable("undefined method 'create!' for nil".to_owned()));
    }
    ok(&shared.change(|desk| {
        let id = desk.inboxes.keys().next_back().copied().unwrap_or_default() + 1;
        let inbox = Inbox {
            id,
            name: String::new(),
            channel_type: "Channel::Api".to_owned(),
            members: Vec::new(),
            lock_to_single_conversation: false,
            webhook_url: None,
            secret: token(&mut desk.random),
            hmac_token: token(&mut desk.random),
            hmac_mandatory: false,
            identifier: token(&mut desk.random),
            additional_attributes: Map::new(),
            other: Map::new(),
        };
        desk.inboxes.insert(id, inbox);
        let changed = change(desk, id, &params);
        if changed.is_err() {
            desk.inboxes.remove(&id);
        }
        changed
    })?)
}

async fn update(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    administrators_only(&shared)?;
    ok(&shared.change(|desk| change(desk, id, &params))?)
}

/// Changes only the keys that are given; unknown ones are dropped in silence.
fn change(desk: &mut Desk, id: u64, params: &Params) -> Result<Value, Refusal> {
    let channel = params.nested("channel").unwrap_or_default();
    let inbox = desk.inboxes.get_mut(&id).ok_or(Refusal::Missing)?;
    if channel.text("webhook_url").is_some_and(|url| url.chars().count() > WEBHOOK_URL_CHARS_MAX) {
        let message = format!("Webhook url is too long (maximum is {WEBHOOK_URL_CHARS_MAX} characters)");
        return Err(Refusal::Invalid { message, attributes: vec!["webhook_url"] });
    }
    if channel.values.contains_key("webhook_url") {
        inbox.webhook_url = channel.text("webhook_url").filter(|url| *url != "null").map(ToOwned::to_owned);
    }
    inbox.hmac_mandatory = channel.flag("hmac_mandatory").unwrap_or(inbox.hmac_mandatory);
    if let Some(attributes) = channel.object("additional_attributes") {
        inbox.additional_attributes = attributes;
    }
    if let Some(name) = params.text("name") {
        name.clone_into(&mut inbox.name);
    }
    inbox.lock_to_single_conversation =
        params.flag("lock_to_single_conversation").unwrap_or(inbox.lock_to_single_conversation);
    for key in PLAIN_KEYS {
        if let Some(value) = params.values.get(key) {
            inbox.other.insert(key.to_owned(), value.clone());
        }
    }
    let inbox = desk.inbox(id)?;
    Ok(desk.inbox_json(inbox))
}

async fn remove(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    administrators_only(&shared)?;
    shared.change(|desk| {
        desk.inboxes.remove(&id).ok_or(Refusal::Missing)?;
        let orphans = desk.conversations.values().filter(|found| found.inbox == id).map(|found| found.id);
        for orphan in orphans.collect::<Vec<_>>() {
            desk.remove_conversation(orphan);
        }
        let links: Vec<u64> = desk.links.values().filter(|link| link.inbox == id).map(|link| link.id).collect();
        for link in links {
            desk.remove_link(link);
        }
        Ok::<_, Refusal>(())
    })?;
    ok(&json!({"message": "Your inbox deletion request will be processed in some time."}))
}

/// Deliveries that wait already keep the old key.
async fn reset_secret(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    administrators_only(&shared)?;
    ok(&shared.change(|desk| {
        let secret = token(&mut desk.random);
        desk.inboxes.get_mut(&id).ok_or(Refusal::Missing)?.secret = secret;
        let inbox = desk.inbox(id)?;
        Ok::<_, Refusal>(desk.inbox_json(inbox))
    })?)
}

async fn members(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    let members = shared.look(|desk| desk.inbox(id).map(|inbox| inbox.members.clone()))?;
    ok(&json!({"payload": agent_rows(&shared, &members)}))
}

async fn add_members(State(shared): Desks, params: Params) -> Answer {
    set_members(&shared, &params, false)
}

async fn replace_members(State(shared): Desks, params: Params) -> Answer {
    set_members(&shared, &params, true)
}

fn set_members(shared: &Shared, params: &Params, replace: bool) -> Answer {
    administrators_only(shared)?;
    let named = params.values.get("user_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    let named: Vec<u64> = named.iter().filter_map(Value::as_u64).collect();
    let known = |id: &u64| *id == TOKEN_OWNER.id || AGENTS.iter().any(|agent| agent.id == *id);
    if !named.iter().all(known) {
        return Err(Refusal::Unprocessable("Could not add agents to inbox".to_owned()));
    }
    let members = shared.change(|desk| {
        let inbox = desk.inboxes.get_mut(&params.id("inbox_id").unwrap_or_default()).ok_or(Refusal::Missing)?;
        if replace {
            inbox.members.clear();
        }
        for id in named {
            if !inbox.members.contains(&id) {
                inbox.members.push(id);
            }
        }
        Ok::<_, Refusal>(inbox.members.clone())
    })?;
    ok(&json!({"payload": agent_rows(shared, &members)}))
}
