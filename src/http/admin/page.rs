//! The page itself: who may see it, what of it is asked for, and what its buttons do.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Response},
};
use bridge_api::Key;
use maud::Markup;

use super::{
    asked::Asked,
    board,
    form::{self, Form},
    guard::{self, Unproven, Visitor},
    message, search,
    shell::{self, For},
    status::Status,
    words,
};
use crate::http::Front;

/// Keys of one form.
const KEYS_MAX: usize = 1_000;

pub(super) async fn show(State(front): State<Arc<Front>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let visitor = match visitor(&front, &headers).await {
        Ok(visitor) => visitor,
        Err(refused) => return refused,
    };
    let asked = Asked::of(query.as_deref());
    let to = For { admin: &front.admin, visitor: &visitor };
    let (title, live) = content(&front, &to, &asked).await;
    let notice = front.admin.visits.take_notice(&visitor.id);
    shell::page(&to, &title, asked.q.as_deref().unwrap_or_default(), notice.as_deref(), &live)
}

/// What changes on the page, for its script.
pub(super) async fn live(State(front): State<Arc<Front>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let visitor = match visitor(&front, &headers).await {
        Ok(visitor) => visitor,
        Err(refused) => return refused,
    };
    let to = For { admin: &front.admin, visitor: &visitor };
    let (_, live) = content(&front, &to, &Asked::of(query.as_deref())).await;
    Html(live.into_string()).into_response()
}

/// Whoever is signed in, or bears the token; else what to answer.
async fn visitor(front: &Front, headers: &HeaderMap) -> Result<Visitor, Response> {
    let visitor = Visitor::of(&front.admin, headers, front.clock.now());
    let wrong = match guard::proven(front, headers).await {
        Ok(()) => return Ok(visitor),
        Err(Unproven::Off) => return Err(shell::off()),
        Err(Unproven::Missing) if visitor.signed_in => return Ok(visitor),
        Err(Unproven::Missing) if visitor.may_be_signed_in() => return Err(shell::again()),
        Err(Unproven::Missing) => None,
        Err(Unproven::Wrong) => Some("That is not the admin token"),
    };
    Err(shell::sign_in(&front.admin, &visitor, StatusCode::UNAUTHORIZED, wrong))
}

/// The title, and what stands below the header.
async fn content(front: &Arc<Front>, to: &For<'_>, asked: &Asked) -> (String, Markup) {
    let status = Status::now(front).await;
    let (heading, inside) = if let Some(id) = asked.id {
        ("Message".to_owned(), message::page(front, to, &status, id).await)
    } else if let Some(text) = &asked.q {
        ("Search".to_owned(), search::page(front, to, &status, (text, asked)).await)
    } else {
        (board::title(&status), board::page(front, to, &status, asked).await)
    };
    let live = board::live(&status, &heading, &inside);
    (heading, live)
}

pub(super) async fn retry(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let (keys, visitor, back) = match ordered(&front, &headers, &body) {
        Ok(ordered) => ordered,
        Err(refused) => return *refused,
    };
    let notice = match front.intake.revive(keys).await {
        Ok(revived) => {
            tracing::info!(count = revived, "an operator put dead letters back");
            format!("{} put back", words::many(revived as u64, "message", "messages"))
        }
        Err(error) => format!("Nothing was put back: {error}"),
    };
    front.admin.visits.notify(&visitor.id, notice);
    shell::see(&back)
}

pub(super) async fn discard(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let (keys, visitor, back) = match ordered(&front, &headers, &body) {
        Ok(ordered) => ordered,
        Err(refused) => return *refused,
    };
    let notice = match front.store.discard(&keys, front.clock.now()).await {
        Ok(discarded) => {
            tracing::info!(count = discarded, "an operator discarded dead letters");
            format!("{} discarded", words::many(discarded as u64, "message", "messages"))
        }
        Err(error) => format!("Nothing was discarded: {error}"),
    };
    front.admin.visits.notify(&visitor.id, notice);
    shell::see(&back)
}

/// The keys that a visitor's form names, and where it stood.
fn ordered(
    front: &Arc<Front>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Vec<Key>, Visitor, String), Box<Response>> {
    let (form, visitor, back) = signed(front, headers, body)?;
    let keys: Vec<_> = form.all("key").take(KEYS_MAX).map(Key::from).collect();
    Ok((keys, visitor, back))
}

/// The form of somebody who is signed in, and where it stood.
pub(super) fn signed(
    front: &Arc<Front>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Form, Visitor, String), Box<Response>> {
    let (form, visitor) = form::sent(front, headers, body)?;
    if front.admin.token().is_none() || !visitor.signed_in {
        let status = StatusCode::UNAUTHORIZED;
        return Err(Box::new(shell::sign_in(&front.admin, &visitor, status, Some("You are not signed in"))));
    }
    // Made anew from what it asks for, so that it leads nowhere else.
    let back = form.first("back").and_then(|back| back.split_once('?')).map(|(_, query)| query);
    let back = Asked::of(back).address();
    Ok((form, visitor, back))
}
