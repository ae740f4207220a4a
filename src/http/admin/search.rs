//! The search: a message's key; a contact by thread, name or address; or the inbox's number of a message, contact or
//! conversation; and the whole history of what is found.
//!
//! Nothing is indexed for it, so it looks from the newest back for a while, says how far it came, and goes on when
//! asked to.

use std::time::Duration;

use bridge_api::Key;
use maud::{Markup, html};
use serde::Serialize;

use super::{asked::Asked, letters, message, shell::For, status::Status, words};
use crate::{
    http::Front,
    model::{EnvelopeId, Lane, LaneId, Session, SinkName},
    store::{EnvelopeState, History, StoreError, Wanted},
};

/// Envelopes that are looked through at once, and for how long stretches follow each other.
const STRETCH: i64 = 20_000;
const LOOK_LIMIT: Duration = Duration::from_millis(50);
const HITS_MAX: usize = 50;
const CONTACTS_MAX: usize = 20;
/// Sessions that are looked through for a number, which no index knows.
const SESSIONS_MAX: usize = 100_000;
/// Of so few hits the whole history is shown.
const STORIES_MAX: usize = 8;

/// What was found, and how far was looked.
#[derive(Debug, Default, Serialize)]
pub(super) struct Result {
    pub(super) contacts: Vec<Session>,
    /// Newest first, with all their attempts when there are few.
    pub(super) messages: Vec<History>,
    /// There is more to look through below this number.
    pub(super) before: Option<EnvelopeId>,
}

pub(super) async fn search(
    front: &Front,
    text: &str,
    before: Option<EnvelopeId>,
) -> std::result::Result<Result, StoreError> {
    let number = text.parse::<i64>().ok();
    let contacts = match number {
        Some(number) => numbered(front, number).await?,
        None => named(front, text).await?,
    };
    let key = number.is_none().then(|| text.to_owned());
    let lanes = contacts.iter().flat_map(lanes).collect();
    let wanted = Wanted { key, message: number, lanes, stretch: STRETCH, count_max: HITS_MAX };
    let mut found = Result { contacts, before, ..Result::default() };
    let until_millis = front.clock.now() + LOOK_LIMIT.as_millis() as i64;
    loop {
        let stretch = front.store.find(&wanted, found.before).await?;
        found.messages.extend(stretch.hits);
        found.before = stretch.before;
        let just_it = found.messages.iter().any(|message| message.key.as_str() == text);
        let enough = found.messages.len() >= HITS_MAX || front.clock.now() >= until_millis;
        if found.before.is_none() || enough || just_it {
            break;
        }
    }
    // A whole key is found however old it is.
    if before.is_none() && found.messages.is_empty() && text.contains('/') {
        found.messages.extend(front.store.history(&Key::from(text)).await?);
    }
    if found.messages.len() <= STORIES_MAX {
        for history in &mut found.messages {
            if let Some(whole) = front.store.history_of(history.id).await? {
                *history = whole;
            }
        }
    }
    Ok(found)
}

/// Those whose thread or `source_id` holds the text, and those who bear such a name or address on their network.
async fn named(front: &Front, text: &str) -> std::result::Result<Vec<Session>, StoreError> {
    let mut contacts = front.store.sessions_like(text, CONTACTS_MAX).await?;
    for (bridge, word) in front.intake.people_named(text, CONTACTS_MAX).await? {
        if contacts.len() >= CONTACTS_MAX {
            break;
        }
        let found = front.store.sessions_like(&word, CONTACTS_MAX).await?;
        let new = found.into_iter().filter(|one| one.bridge == bridge && !contacts.contains(one)).collect::<Vec<_>>();
        contacts.extend(new);
    }
    contacts.truncate(CONTACTS_MAX);
    Ok(contacts)
}

/// Those who have this number in an inbox, or whose conversation has it.
async fn numbered(front: &Front, number: i64) -> std::result::Result<Vec<Session>, StoreError> {
    let mut all = front.store.sessions_like("", SESSIONS_MAX).await?;
    all.retain(|session| session.contact == number || session.conversation == number);
    all.truncate(CONTACTS_MAX);
    Ok(all)
}

/// Both directions of a contact's thread.
fn lanes(contact: &Session) -> Vec<LaneId> {
    let bridge = contact.bridge.as_str();
    // A lane's number does not depend on its sink.
    let sink = SinkName::bridge(&contact.bridge);
    ["in", "out"].map(|way| Lane::new(sink.clone(), way, bridge, contact.thread.as_str()).id).into()
}

pub(super) async fn page(front: &Front, to: &For<'_>, status: &Status, (text, asked): (&str, &Asked)) -> Markup {
    let found = search(front, text, asked.before).await;
    html! {
        p.back { a href="/" { "← Status" } }
        h1.found { "Search for " q { (words::foreign(text)) } }
        @match found {
            Ok(found) => (shown(to, status, &found, asked)),
            Err(error) => p.notice.bad role="alert" { "The store cannot be read: " (error) "." }
        }
    }
}

fn shown(to: &For<'_>, status: &Status, found: &Result, asked: &Asked) -> Markup {
    let more = Asked { before: found.before, ..asked.clone() };
    html! {
        @if !found.contacts.is_empty() {
            section aria-labelledby="contacts" {
                h2 #contacts { "Contacts" }
                ul.contacts { @for contact in &found.contacts { (contact_row(contact)) } }
            }
        }
        section aria-labelledby="messages" {
            h2 #messages { "Messages" }
            @if found.messages.is_empty() {
                p.none { @if found.before.is_some() { "None so far." } @else { "None." } }
            } @else if found.messages.len() <= STORIES_MAX {
                @for history in &found.messages { (message::story(to, status, history, &asked.address())) }
            } @else {
                ul.letters { @for history in &found.messages { (hit(history, status.now_millis)) } }
            }
            @if found.before.is_some() { p.more { a href=(more.address()) { "Look further back" } } }
        }
    }
}

fn contact_row(contact: &Session) -> Markup {
    let address = Asked { q: Some(contact.source_id.clone()), ..Asked::default() }.address();
    html! {
        li {
            a.key href=(address) { (words::foreign(&contact.source_id)) }
            span.soft { " contact " (contact.contact) ", conversation " (contact.conversation) }
            @if contact.resolved { span.soft { ", resolved" } }
        }
    }
}

fn hit(history: &History, now_millis: i64) -> Markup {
    let (tone, word) = match history.state {
        EnvelopeState::Waiting { .. } => ("warn", "waiting"),
        EnvelopeState::Done { .. } => ("good", "done"),
        EnvelopeState::Dead { .. } => ("bad", "given up"),
        EnvelopeState::Discarded { .. } => ("", "discarded"),
    };
    html! {
        li {
            div.what {
                p { span.state.{ (tone) } { (word) } " " a.key href=(letters::link(history.id)) { (words::foreign(history.key.as_str())) } }
                p.facts {
                    (letters::about(history.about.as_ref(), &history.sink))
                    " · accepted " (words::ago(history.accepted_millis, now_millis))
                }
            }
        }
    }
}
