//! `/contacts`, `/contact_inboxes` and `/actions/contact_merge`.

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::sync::Arc;

use super::Shared;
use super::api::slim_inbox;
use super::contact_search::{Condition, matches, matches_text};
use super::contacts::CONTACTS_PER_PAGE;
use super::desk::{Contact, Desk};
use super::params::Params;
use super::refusal::Refusal;
use super::routes::{Answer, At, Desks, Search, administrators_only, ok, ok_empty, page, paged};

/// Conversations that one contact's list shows.
const CONVERSATIONS_MAX: usize = 20;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let contact = "/api/v1/accounts/{account}/contacts/{id}";
    Router::new()
        .route("/api/v1/accounts/{account}/contacts", post(create).get(list))
        .route("/api/v1/accounts/{account}/contacts/filter", post(filter))
        .route("/api/v1/accounts/{account}/contacts/search", get(search))
        .route(contact, get(show).put(update).patch(update).delete(delete))
        .route(&format!("{contact}/contactable_inboxes"), get(contactable))
        .route(&format!("{contact}/conversations"), get(conversations))
        .route(&format!("{contact}/contact_inboxes"), post(link))
        .route(&format!("{contact}/destroy_custom_attributes"), post(destroy_custom_attributes))
        .route("/api/v1/accounts/{account}/contact_inboxes/filter", post(by_source_id))
        .route("/api/v1/accounts/{account}/actions/contact_merge", post(merge))
}

async fn create(State(shared): Desks, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let (id, link) = desk.create_contact(&params)?;
        desk.created_contact_json(id, link)
    })?)
}

async fn show(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| shown(desk, id))?)
}

fn shown(desk: &Desk, id: u64) -> Result<Value, Refusal> {
    Ok(json!({"payload": desk.contact_json(desk.contact(id)?)}))
}

async fn update(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.update_contact(id, &params)?;
        shown(desk, id)
    })?)
}

async fn destroy_custom_attributes(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let contact = desk.contacts.get_mut(&id).ok_or(Refusal::Missing)?;
        for key in params.values.get("custom_attributes").and_then(Value::as_array).into_iter().flatten() {
            contact.custom_attributes.remove(key.as_str().unwrap_or_default());
        }
        shown(desk, id)
    })?)
}

async fn delete(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    administrators_only(&shared)?;
    shared.change(|desk| desk.delete_contact(id))?;
    ok_empty()
}

async fn list(State(shared): Desks, Query(query): Search) -> Answer {
    ok(&shared.change(|desk| contact_page(desk, &desk.known_contacts(), page(&query))))
}

async fn filter(State(shared): Desks, Query(query): Search, params: Params) -> Answer {
    let conditions = Condition::read_all(&params)?;
    ok(&shared.change(|desk| {
        let mut found = desk.known_contacts();
        found.retain(|contact| matches(contact, &conditions));
        contact_page(desk, &found, page(&query))
    }))
}

fn contact_page(desk: &Desk, found: &[&Contact], page: usize) -> Value {
    let rows = paged(found, page, CONTACTS_PER_PAGE).iter().map(|contact| desk.contact_json(contact));
    json!({"meta": {"count": found.len(), "current_page": page}, "payload": rows.collect::<Vec<_>>()})
}

/// Substring search over all contacts; `count` is that of the page, and `has_more` says the rest.
async fn search(State(shared): Desks, Query(query): Search) -> Answer {
    let Some(text) = query.get("q").filter(|text| !text.is_empty()) else {
        return Err(Refusal::Unprocessable("Specify search string with parameter q".to_owned()));
    };
    ok(&shared.change(|desk| {
        let mut found: Vec<&Contact> = desk.contacts.values().filter(|contact| matches_text(contact, text)).collect();
        found.sort_unstable_by_key(|contact| contact.id);
        let page = page(&query);
        let rows = paged(&found, page, CONTACTS_PER_PAGE);
        let has_more = found.len() > page.saturating_mul(CONTACTS_PER_PAGE);
        let payload: Vec<Value> = rows.iter().map(|contact| desk.contact_json(contact)).collect();
        json!({"meta": {"count": rows.len(), "current_page": page, "has_more": has_more}, "payload": payload})
    }))
}

async fn contactable(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| {
        let linked: Vec<(u64, String)> = desk
            .contact(id)?
            .links
            .iter()
            .filter_map(|link| desk.links.get(link))
            .map(|link| (link.inbox, link.source_id.clone()))
            .collect();
        let mut payload = Vec::new();
        for inbox in desk.inboxes.keys().copied().collect::<Vec<_>>() {
            // Without a link the source id is a new invention at every call.
            let known = linked.iter().find(|(linked, _)| *linked == inbox).map(|(_, source)| source.clone());
            let source_id = known.unwrap_or_else(|| desk.uuid());
            payload.push(json!({"inbox": desk.inboxes.get(&inbox).map(slim_inbox), "source_id": source_id}));
        }
        Ok::<_, Refusal>(json!({"payload": payload}))
    })?)
}

async fn conversations(State(shared): Desks, At((_, id)): At<(u64, u64)>) -> Answer {
    ok(&shared.change(|desk| {
        let links = desk.contact(id)?.links.iter().filter_map(|link| desk.links.get(link));
        let ids = links.flat_map(|link| &link.conversations);
        let mut found: Vec<_> = ids.filter_map(|id| desk.conversations.get(id)).collect();
        found.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_activity_ms, conversation.id)));
        let rows = found.into_iter().take(CONVERSATIONS_MAX);
        let payload = rows.map(|conversation| desk.conversation_json(conversation)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Refusal>(json!({"payload": payload}))
    })?)
}

async fn link(State(shared): Desks, At((_, id)): At<(u64, u64)>, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        desk.contact(id)?;
        let inbox = params.id("inbox_id").ok_or(Refusal::Missing)?;
        desk.inbox(inbox)?;
        let source_id = params.text("source_id").filter(|source| !source.is_empty());
        let link = desk.link(id, inbox, source_id)?;
        desk.links.get(&link).map(|link| desk.link_json(link)).ok_or(Refusal::Internal)
    })?)
}

async fn by_source_id(State(shared): Desks, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let inbox = params.id("inbox_id").ok_or(Refusal::Missing)?;
        desk.inbox(inbox)?;
        let link = params.text("source_id").and_then(|source| desk.link_of(inbox, source));
        let link = link.and_then(|link| desk.links.get(&link)).ok_or(Refusal::MissingEmpty)?;
        // A link whose contact is gone but not yet purged: the view meets nil.
        let contact = desk.contacts.get(&link.contact).ok_or(Refusal::Internal)?;
        Ok::<_, Refusal>(desk.contact_json(contact))
    })?)
}

async fn merge(State(shared): Desks, params: Params) -> Answer {
    ok(&shared.change(|desk| {
        let base = params.id("base_contact_id").ok_or(Refusal::Missing)?;
        let mergee = params.id("mergee_contact_id").ok_or(Refusal::Missing)?;
        desk.merge_contacts(base, mergee)?;
        Ok::<_, Refusal>(desk.contact_json(desk.contact(base)?))
    })?)
}
