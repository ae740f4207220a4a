//! The client API, as far as a gateway needs it: the contact's own typing. Without a token; the inbox's identifier and
//! the link's source id are the secrets.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::post;

use super::Shared;
use super::desk::{Event, Sender};
use super::params::Params;
use super::refusal::Refusal;
use super::routes::{Answer, At, Desks, ok_empty};

/// Rails' public exceptions, in JSON.
const MISSING: Refusal = Refusal::NoRoute { json: true };
/// The segment of the source id in a path: behind `/public/api/v1/inboxes/{identifier}/contacts/`.
const SOURCE_SEGMENT: usize = 7;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let conversation = "/public/api/v1/inboxes/{identifier}/contacts/{source}/conversations/{id}";
    Router::new().route(&format!("{conversation}/toggle_typing"), post(toggle_typing))
}

async fn toggle_typing(
    State(shared): Desks,
    uri: Uri,
    At((identifier, source, id)): At<(String, String, u64)>,
    params: Params,
) -> Answer {
    // The router of Rails looks for a dot before it decodes: one as it stands begins a format, so no route matches.
    if uri.path().split('/').nth(SOURCE_SEGMENT).is_none_or(|segment| segment.contains('.')) {
        return Err(MISSING);
    }
    shared.change(|desk| {
        let inbox = desk.inboxes.values().find(|inbox| inbox.identifier == identifier).ok_or(MISSING)?.id;
        let links = desk.links_by_source.get(&source).into_iter().flatten();
        let link = links.filter_map(|link| desk.links.get(link)).find(|link| link.inbox == inbox).ok_or(MISSING)?;
        let conversation = desk.conversations.get(&id).filter(|found| found.link == link.id).ok_or(MISSING)?;
        let by = Sender::Contact(conversation.contact);
        match params.text("typing_status") {
            Some("on") => desk.events.push(Event::Typing { conversation: id, on: true, private: false, by }),
            Some("off") => desk.events.push(Event::Typing { conversation: id, on: false, private: false, by }),
            Some(_) | None => {}
        }
        Ok::<_, Refusal>(())
    })?;
    ok_empty()
}
