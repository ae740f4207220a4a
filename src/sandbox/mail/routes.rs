//! The mail page and its own small calls, and the hooks under `/sandbox/mail/` for tests and demonstrations.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{self, Handover, HandoverError, OutgoingMail};
use super::compose::{self, File, Letter};
use super::core::Core;
use super::faults::{RULES_MAX, Sheet};
use super::mailbox::ReceivedMail;
use super::shown;
use super::target::NoTarget;
use crate::sandbox::desk::token;
use crate::sandbox::params::Params;
use crate::sandbox::refusal::{Refusal, body};
use crate::sandbox::routes::{Answer, At, Search, ok, ok_empty};
use crate::sandbox::{agent_routes, pages};

type Cores = State<Arc<Core>>;

/// The page, its calls, and the hooks: closed to other web pages.
pub(in crate::sandbox) fn routes(core: Arc<Core>) -> Router {
    Router::new()
        .route("/mail", get(page))
        .route("/mail/events", get(events))
        .route("/mail/messages", get(messages))
        .route("/mail/messages/{number}", get(message))
        .route("/mail/messages/{number}/raw", get(raw))
        .route("/mail/messages/{number}/files/{index}", get(file))
        .route("/mail/send", post(send))
        .route("/sandbox/mail/state", get(state))
        .route("/sandbox/mail/target", post(set_target))
        .route("/sandbox/mail/faults", get(faults).post(set_faults).delete(clear_faults))
        .layer(axum::middleware::from_fn(agent_routes::guard))
        .with_state(core)
}

/// A mail's HTML has styles of its own, and its frame inherits the page's policy: the page must allow them. They can load
/// nothing, since nothing else is allowed.
async fn page() -> Response {
    pages::shown_with_any_styles(pages::MAIL)
}

/// Rows of the mails behind `?after=`, oldest first, and what else the page must know.
async fn messages(State(core): Cores, Query(query): Search) -> Answer {
    let after = query.get("after").and_then(|text| text.parse().ok()).unwrap_or(0);
    ok(&News::of(&core).told(&core, Some(after)))
}

async fn message(State(core): Cores, At(number): At<u64>) -> Answer {
    ok(&shown::whole(&*found(&core, number)?))
}

async fn raw(State(core): Cores, At(number): At<u64>) -> Result<Response, Refusal> {
    let mail = found(&core, number)?;
    Ok(inert("text/plain; charset=utf-8", "inline", mail.raw.clone()))
}

async fn file(State(core): Cores, At((number, index)): At<(u64, usize)>) -> Result<Response, Refusal> {
    let (name, bytes) = shown::file(&*found(&core, number)?, index).ok_or(Refusal::Missing)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let letters =
        name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    let disposition = format!("attachment; filename*=utf-8''{}", letters.collect::<String>());
    Ok(inert("application/octet-stream", &disposition, bytes))
}

fn found(core: &Core, number: u64) -> Result<Arc<ReceivedMail>, Refusal> {
    core.mail(number).ok_or(Refusal::Missing)
}

/// Bytes from a mail: no browser may take them for more than that.
fn inert(media_type: &str, disposition: &str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, bytes).into_response()
}

/// Why nothing was sent.
enum NotSent {
    NoTarget,
    Form(&'static str),
    Handover(HandoverError),
}

impl IntoResponse for NotSent {
    fn into_response(self) -> Response {
        let (status, error) = match &self {
            Self::NoTarget => (
                StatusCode::CONFLICT,
                "no gateway takes mail here yet: tell the sandbox its address (POST /sandbox/mail/target)".to_owned(),
            ),
            Self::Form(reason) => (StatusCode::UNPROCESSABLE_ENTITY, (*reason).to_owned()),
            Self::Handover(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        };
        let before = match &self {
            Self::Handover(HandoverError::Broken { before, .. }) => steps(before),
            Self::Handover(HandoverError::Connect(..)) | Self::NoTarget | Self::Form(_) => json!([]),
        };
        body(status, &json!({"error": error, "steps": before}))
    }
}

/// Composes what the customer wrote, hands it to the gateway, and tells what the gateway said.
async fn send(State(core): Cores, params: Params) -> Result<Response, NotSent> {
    let target = core.target().ok_or(NotSent::NoTarget)?;
    let mut random = fastrand::Rng::new();
    let letter = letter(&core, &params);
    let domain = letter.from.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
    let domain = if domain.is_ascii() { domain } else { "customer.test".to_owned() };
    let message_id = format!("{}@{domain}", token(&mut random));
    let date = jiff::fmt::rfc2822::to_string(&jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC));
    let date = date.map_err(|_| NotSent::Form("this clock shows no date that a mail can have"))?;
    let raw = compose::compose(&letter, &date, &message_id, &format!("=_{}", token(&mut random)));
    let mail = OutgoingMail::new(&letter.from, &letter.to, raw.map_err(NotSent::Form)?);
    let handover = client::hand_over(&target, &mail).await.map_err(NotSent::Handover)?;
    let (step, reply) = handover.last().map(|(step, reply)| (step, reply.text())).unwrap_or_default();
    let answer = json!({
        "taken": handover.is_taken(), "answer": reply, "step": step, "steps": steps(&handover),
        "message_id": format!("<{message_id}>"), "to": letter.to,
    });
    Ok(body(StatusCode::OK, &answer))
}

fn letter(core: &Core, params: &Params) -> Letter {
    let text = |key: &str| params.text(key).unwrap_or_default().to_owned();
    let to = Some(text("to")).filter(|to| !to.trim().is_empty()).unwrap_or_else(|| core.desk_address());
    let files = params.files.iter().map(|(_, part)| File {
        name: part.name.clone(),
        media_type: part.content_type.clone(),
        bytes: part.bytes.clone(),
    });
    Letter {
        from_name: text("from_name"),
        from: text("from").trim().to_owned(),
        to: to.trim().to_owned(),
        subject: text("subject"),
        text: text("text"),
        in_reply_to: text("in_reply_to"),
        references: text("references"),
        files: files.collect(),
    }
}

fn steps(handover: &Handover) -> Value {
    handover.steps.iter().map(|(step, reply)| json!({"step": step, "answer": reply.text()})).collect()
}

/// What a page may have to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct News {
    newest: u64,
    oldest: Option<u64>,
    target: Option<String>,
    desk_address: String,
}

impl News {
    fn of(core: &Core) -> Self {
        let target = core.target().map(|target| target.to_string());
        Self { newest: core.counts().mails, oldest: core.oldest(), target, desk_address: core.desk_address() }
    }

    /// With the rows behind this number; all of them on the first look.
    fn told(&self, core: &Core, seen: Option<u64>) -> Value {
        let rows = core.mails_after(seen.unwrap_or(0));
        let rows: Vec<Value> = rows.iter().map(|mail| core.summary(mail)).collect();
        json!({
            "first": seen.is_none(), "oldest": self.oldest, "target": self.target, "desk_address": self.desk_address,
            "messages": rows,
        })
    }
}

/// Every mail as it comes. A browser that comes back tells what it has seen by the id of the last event.
async fn events(State(core): Cores, headers: HeaderMap) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|id| id.split_once('-'));
    // Numbers of another run say nothing of this one's mails.
    let ours = last.filter(|(era, _)| *era == core.era.to_string());
    let seen = ours.and_then(|(_, number)| number.parse().ok());
    let start = (core.clone(), core.changed.subscribe(), seen, None::<News>);
    let stream = futures_util::stream::unfold(start, |(core, mut changed, seen, before)| async move {
        loop {
            changed.mark_unchanged();
            let news = News::of(&core);
            if before.as_ref() != Some(&news) {
                let told = news.told(&core, seen);
                let newest = told["messages"].as_array().and_then(|rows| rows.last()?["number"].as_u64());
                let seen = newest.or(seen).unwrap_or(0);
                let event =
                    sse::Event::default().event("news").id(format!("{}-{seen}", core.era)).data(told.to_string());
                return Some((Ok(event), (core, changed, Some(seen), Some(news))));
            }
            changed.changed().await.ok()?;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// Counts, commands, and every mail with its envelope and its whole text.
async fn state(State(core): Cores) -> Answer {
    let counts = core.counts();
    let mails: Vec<Value> = core
        .mails_after(0)
        .iter()
        .map(|mail| {
            let mut shown = shown::whole(mail);
            shown["raw"] = json!(mail.text());
            shown
        })
        .collect();
    ok(&json!({
        "address": core.address.to_string(), "target": core.target().map(|target| target.to_string()),
        "counts": {
            "connections": counts.connections, "open": counts.open, "tls": counts.tls, "proved": counts.proved,
            "unproved": counts.unproved, "mails": counts.mails,
        },
        "heard": core.heard(), "struck": core.faults.struck(), "mails": mails,
    }))
}

/// `{"address":"127.0.0.1:2525","desk_address":"support@acme.test"}`; without an address the page cannot send.
async fn set_target(State(core): Cores, params: Params) -> Answer {
    let target = params.text("address").map(str::parse).transpose();
    core.set_target(target.map_err(|error: NoTarget| Refusal::Unprocessable(error.to_string()))?);
    if let Some(address) = params.text("desk_address") {
        core.set_desk_address(address.to_owned());
    }
    ok_empty()
}

async fn faults(State(core): Cores) -> Answer {
    ok(&json!(core.faults.sheet()))
}

/// Replaces the whole sheet.
async fn set_faults(State(core): Cores, params: Params) -> Answer {
    let sheet = Sheet::deserialize(Value::Object(params.values));
    let sheet = sheet.map_err(|error| Refusal::Unprocessable(error.to_string()))?;
    if sheet.rules.len() > RULES_MAX {
        return Err(Refusal::Unprocessable(format!("at most {RULES_MAX} rules")));
    }
    if let Some(rule) = sheet.rules.iter().find(|rule| !rule.fits()) {
        return Err(Refusal::Unprocessable(format!("{:?} means nothing at {:?}", rule.fault, rule.on)));
    }
    core.faults.replace(sheet);
    ok(&json!(core.faults.sheet()))
}

async fn clear_faults(State(core): Cores) -> Answer {
    core.faults.clear();
    ok_empty()
}
