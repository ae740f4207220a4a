//! The customer's page and its own small calls: a chat client for people who want to look at the gateway.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::{get, post};
use futures_util::Stream;
use serde_json::{Value, json};

use super::errors::MatrixError;
use super::house::House;
use super::room::Room;
use super::routes::{Answer, At, Cores, Parsed, Search, empty, ok, query_of};
use super::state::Core;
use super::{hooks, media_routes};
use crate::sandbox::{agent_routes, pages};

const NAME_LETTERS_MAX: usize = 60;
const TYPING_MS: i64 = 20_000;

/// The page, its calls, and the hooks: closed to other web pages.
pub(in crate::sandbox) fn routes(core: Arc<Core>) -> Router {
    let api = "/customer/api";
    let room = "/customer/api/rooms/{room}";
    Router::new()
        .route("/customer", get(page))
        .route(&format!("{api}/enter"), post(enter))
        .route(&format!("{api}/me"), get(known))
        .route(&format!("{api}/events"), get(events))
        .route(&format!("{api}/chats"), post(new_chat))
        .route(&format!("{room}/send"), post(send))
        .route(&format!("{room}/redact"), post(redact))
        .route(&format!("{room}/typing"), post(typing))
        .route(&format!("{room}/read"), post(read))
        .route(&format!("{room}/join"), post(join))
        .route(&format!("{room}/leave"), post(leave))
        .route(&format!("{api}/upload"), post(upload))
        .route(&format!("{api}/media/{{server}}/{{id}}"), get(media))
        .merge(hooks::routes())
        .layer(axum::middleware::from_fn(agent_routes::guard))
        .with_state(core)
}

async fn page() -> Response {
    pages::shown(pages::CUSTOMERS)
}

/// The customer that a page speaks for, named by its token in a header, or in the query where no header can be.
struct Customer(String);

impl FromRequestParts<Arc<Core>> for Customer {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, MatrixError> {
        let header = parts.headers.get("x-customer").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let token = header.or_else(|| query_of(parts).remove("customer")).unwrap_or_default();
        let access = core.look(|house| house.tokens.get(&token).cloned());
        access.map(|access| Self(access.user)).ok_or_else(MatrixError::unknown_token)
    }
}

/// A new customer for every page that asks, under a user id nobody has.
async fn enter(State(core): Cores, Parsed(body): Parsed) -> Answer {
    let name: String = body["name"].as_str().unwrap_or_default().trim().chars().take(NAME_LETTERS_MAX).collect();
    if name.is_empty() {
        return Err(MatrixError::bad("M_INVALID_PARAM", "A name, please"));
    }
    let answer = core.change(|house| {
        let base = localpart(&name);
        let exists = |house: &House, part: &str| house.users.contains_key(&house.user_id(part));
        let mut chosen = base.clone();
        let mut number = 2;
        while exists(house, &chosen) {
            chosen = format!("{base}-{number}");
            number += 1;
        }
        let user = house.create_user(&chosen, Some(&name), None);
        let (token, _) = house.new_token(&user, None);
        json!({"customer": token, "user_id": user, "name": name, "support": house.settings.support()})
    });
    ok(&answer)
}

/// Letters and digits of the name, never in the appservice's namespace.
fn localpart(name: &str) -> String {
    let letters =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
    let text: String = letters.collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "customer".to_owned() } else { text.to_owned() }
}

/// Whether the sandbox still knows this customer.
async fn known(Customer(user): Customer) -> Answer {
    ok(&json!({"user_id": user}))
}

async fn new_chat(State(core): Cores, Customer(user): Customer) -> Answer {
    let body = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [core.settings.support()]});
    let room = core.change(|house| house.create_room(&user, &body))?;
    ok(&json!({"room_id": room}))
}

async fn send(State(core): Cores, Customer(user): Customer, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    let kind = body["type"].as_str().unwrap_or("m.room.message");
    let event = core.change(|house| house.send(&user, &room, kind, &body["content"], None))?;
    ok(&json!({"event_id": event}))
}

async fn redact(State(core): Cores, Customer(user): Customer, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    let target = body["event_id"].as_str().unwrap_or_default();
    core.change(|house| house.redact(&user, &room, target, None))?;
    empty()
}

async fn typing(State(core): Cores, Customer(user): Customer, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    core.change(|house| house.typing(&user, &room, body["on"] == true, TYPING_MS))?;
    empty()
}

async fn read(State(core): Cores, Customer(user): Customer, At(room): At<String>, Parsed(body): Parsed) -> Answer {
    let event = body["event_id"].as_str().unwrap_or_default();
    core.change(|house| house.read(&user, &room, "m.read", event, None))?;
    empty()
}

async fn join(State(core): Cores, Customer(user): Customer, At(room): At<String>) -> Answer {
    core.change(|house| house.join(&user, &room, None))?;
    empty()
}

async fn leave(State(core): Cores, Customer(user): Customer, At(room): At<String>) -> Answer {
    core.change(|house| house.leave(&user, &room, None))?;
    empty()
}

async fn upload(
    State(core): Cores,
    _customer: Customer,
    Query(query): Search,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    if bytes.len() > core.settings.upload_bytes_max {
        return Err(MatrixError::too_large(format!("Files may have {} bytes", core.settings.upload_bytes_max)));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream");
    let name = query.get("filename").map(String::as_str);
    let address = core.change(|house| house.upload(content_type, name, bytes));
    ok(&json!({"content_uri": address}))
}

async fn media(
    State(core): Cores,
    _customer: Customer,
    At((server, id)): At<(String, String)>,
) -> Result<Response, MatrixError> {
    let found = core.look(|house| house.medium(&server, &id).cloned());
    found.map(|medium| media_routes::whole(&medium, None)).ok_or_else(|| MatrixError::missing("Not found"))
}

/// Every change as it happens. A browser that comes back tells what it has seen by the id of the last event.
async fn events(
    State(core): Cores,
    Customer(user): Customer,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let changed = core.changed.subscribe();
    let start = (core, user, changed, seen);
    let stream = futures_util::stream::unfold(start, |(core, user, mut changed, seen)| async move {
        loop {
            let (pos, news) = core.look(|house| (house.pos, house.customer_news(&user, seen)));
            if let Some(news) = news {
                let event = sse::Event::default().event("news").id(pos.to_string()).data(news.to_string());
                return Some((Ok(event), (core, user, changed, Some(pos))));
            }
            changed.changed().await.ok()?;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

impl House {
    /// Rooms with something new for this customer; on the first look also when there are none.
    fn customer_news(&self, user: &str, seen: Option<u64>) -> Option<Value> {
        let rooms: Vec<Value> =
            self.rooms.values().filter_map(|room| self.room_news(room, user, seen.unwrap_or(0))).collect();
        (seen.is_none() || !rooms.is_empty()).then(|| json!({"first": seen.is_none(), "rooms": rooms}))
    }

    fn room_news(&self, room: &Room, user: &str, seen: u64) -> Option<Value> {
        let member = self.state_event(room, "m.room.member", user)?;
        let membership = room.membership(user);
        // Who is not in sees only how that came about.
        let last = if membership == "join" { u64::MAX } else { member.pos };
        let from = if membership == "invite" { seen.max(member.pos - 1) } else { seen };
        let news: Vec<u64> = room.timeline.iter().copied().filter(|pos| *pos > from && *pos <= last).collect();
        let moved = membership == "join"
            && (room.typing_pos > seen || room.receipts.values().any(|receipt| receipt.pos > seen));
        if news.is_empty() && !moved {
            return None;
        }
        let events: Vec<Value> =
            news.iter().filter_map(|pos| self.log.get(pos)).map(|event| event.shown(self.now_ms, None)).collect();
        let receipts = room.receipts.iter().filter(|((_, kind), _)| kind == "m.read");
        let receipts: Vec<Value> = receipts
            .map(|((user, _), receipt)| json!({"user": user, "event_id": receipt.event, "ts": receipt.ts}))
            .collect();
        let members: Vec<Value> = room.members.iter().map(|(id, membership)| {
            let user = self.users.get(id).cloned().unwrap_or_default();
            json!({"id": id, "membership": membership, "name": user.displayname, "avatar": user.avatar_url, "support": self.settings.owns(id)})
        }).collect();
        Some(json!({
            "id": room.id, "membership": membership, "events": events, "members": members, "receipts": receipts,
            "typing": room.typing_now(self.now_ms),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_a_localpart_outside_of_the_namespace() {
        let check = |name: &str, wanted: &str| assert_eq!(localpart(name), wanted, "{name}");
        check("Kim Lee", "kim-lee");
        check("_desk_7", "desk-7");
        check("李", "customer");
    }
}
