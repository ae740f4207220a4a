//! What an answer of Chatwoot means when it is not the wanted one. Pure: no clock, no connection.
//!
//! Sorted by shape, since most texts are rendered in the account's language (Chatwoot 4.15). The question behind every
//! line is: may the effect have happened all the same?

use std::{borrow::Cow, time::Duration};

use bridge_api::Fault;
use serde::Deserialize;

use super::text::shown;

/// What was being asked, in words that complete "could not …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    FindContact,
    CreateContact,
    ReadContact,
    UpdateContact,
    AddLink,
    FindConversations,
    ReadConversation,
    CreateConversation,
    ToggleStatus,
    Typing,
    ListMessages,
    PostMessage,
    SetMessageStatus,
    DeleteMessage,
    ListAgents,
    ReadInbox,
    CreateInbox,
    UpdateInbox,
    ReadAccount,
    ReadProfile,
    ReadVersion,
    ReadHealth,
    Download,
}

impl Call {
    /// The call as a person would say it.
    pub fn words(self) -> &'static str {
        match self {
            Self::FindContact => "look up the contact",
            Self::CreateContact => "create the contact",
            Self::ReadContact => "read the contact",
            Self::UpdateContact => "update the contact",
            Self::AddLink => "link the contact to the inbox",
            Self::FindConversations => "look up conversations",
            Self::ReadConversation => "read the conversation",
            Self::CreateConversation => "create the conversation",
            Self::ToggleStatus => "change the conversation's status",
            Self::Typing => "show typing",
            Self::ListMessages => "list the conversation's messages",
            Self::PostMessage => "post the message",
            Self::SetMessageStatus => "set the message's status",
            Self::DeleteMessage => "delete the message",
            Self::ListAgents => "list the agents",
            Self::ReadInbox => "read the inbox",
            Self::CreateInbox => "create the inbox",
            Self::UpdateInbox => "change the inbox",
            Self::ReadAccount => "read the account",
            Self::ReadProfile => "read the token's profile",
            Self::ReadVersion => "read the version",
            Self::ReadHealth => "read the health page",
            Self::Download => "download the attachment",
        }
    }
}

impl Call {
    /// Whether the call changes nothing, so that a lost answer leaves nothing in doubt.
    pub fn only_reads(self) -> bool {
        match self {
            Self::FindContact
            | Self::ReadContact
            | Self::FindConversations
            | Self::ReadConversation
            | Self::ListMessages
            | Self::ListAgents
            | Self::ReadInbox
            | Self::ReadAccount
            | Self::ReadProfile
            | Self::ReadVersion
            | Self::ReadHealth
            | Self::Download => true,
            Self::CreateContact
            | Self::UpdateContact
            | Self::AddLink
            | Self::CreateConversation
            | Self::ToggleStatus
            | Self::Typing
            | Self::PostMessage
            | Self::SetMessageStatus
            | Self::CreateInbox
            | Self::UpdateInbox
            | Self::DeleteMessage => false,
        }
    }
}

/// Why a call has no result. Callers branch on it; [`CallFault::into_fault`] is the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// The account, inbox, contact, conversation or message is not there (any more).
    #[error("could not {}: chatwoot has no such record", call.words())]
    NotFound { call: Call },
    /// Not done. Something that must be unique is in use, or was malformed: Chatwoot says only which attributes.
    #[error("{reason}")]
    Taken { attributes: Vec<String>, reason: String },
    /// Not done, and the same request never will be.
    #[error("{reason}")]
    Invalid { reason: String },
    /// Not done: too many requests from here. Everything waits.
    #[error("chatwoot asks for fewer requests")]
    Limited { wait: Wait },
    /// Not done: too many messages in this one conversation within a minute.
    #[error("the conversation has too many messages this minute")]
    Flooded,
    /// Not done: token, role, membership or plan do not allow it. A person must change something.
    #[error("{reason}")]
    Unauthorised { reason: String },
    /// Surely not done: nothing reached Chatwoot's application.
    #[error("{reason}")]
    NotSent { reason: String },
    /// May have been done. Ask before doing it again.
    #[error("{reason}")]
    Doubtful { call: Call, reason: String },
    /// A status that the API is not known to use.
    #[error("could not {}: chatwoot answered with the unexpected status {status}", call.words())]
    Odd { call: Call, status: u16 },
}

impl CallFault {
    /// Its kind in one word, to be counted by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "inbox_not_found",
            Self::Taken { .. } => "inbox_taken",
            Self::Invalid { .. } => "inbox_invalid",
            Self::Limited { .. } => "inbox_limited",
            Self::Flooded => "inbox_flooded",
            Self::Unauthorised { .. } => "inbox_unauthorised",
            Self::NotSent { .. } => "inbox_unreachable",
            Self::Doubtful { .. } => "inbox_doubtful",
            Self::Odd { .. } => "inbox_odd",
        }
    }
}

/// How long a 429 asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Chatwoot's own limiter: counts by the clock's minute and names no time.
    NextMinute,
    /// `Retry-After` in seconds, set by a proxy.
    For(Duration),
    /// `Retry-After` as a date, set by a proxy: unix milliseconds.
    Until(i64),
}

/// The share of an answer that is looked at to sort it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    pub status: u16,
    pub content_type: &'a str,
    pub retry_after: Option<&'a str>,
    pub location: Option<&'a str>,
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn is_json(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    }
}

/// Sorts any answer outside 2xx.
pub fn classify(call: Call, answer: &Answer<'_>) -> CallFault {
    let said = Said::read(answer);
    match answer.status {
        300..=399 => CallFault::NotSent { reason: moved(call, answer) },
        400 | 413 => CallFault::Invalid { reason: said.reason(call, answer.status) },
        401..=403 | 407 => CallFault::Unauthorised { reason: said.reason(call, answer.status) },
        404 => missing(call, answer),
        422 => unprocessable(call, answer, &said),
        429 => CallFault::Limited { wait: wait(answer.retry_after) },
        // A proxy's own page: chatwoot is not there, and a look-up cannot have changed anything. Files come from storages
        // that may be away by themselves.
        502..=504 if call.only_reads() && call != Call::Download && !answer.is_json() => {
            let (call, status) = (call.words(), answer.status);
            CallFault::NotSent { reason: format!("could not {call}: what stands before chatwoot answered {status}") }
        }
        408 | 425 | 500..=599 => CallFault::Doubtful { call, reason: said.reason(call, answer.status) },
        status => CallFault::Odd { call, status },
    }
}

/// A 2xx answer that is not what the call gives: a login page, a cut body, another shape.
pub fn unreadable(call: Call, answer: &Answer<'_>) -> CallFault {
    let why = if answer.is_json() { "an answer of an unknown shape" } else { "something other than JSON" };
    let reason = format!("could not {}: {why} came back with status {}", call.words(), answer.status);
    CallFault::Doubtful { call, reason }
}

/// A 404 of Chatwoot is JSON. A page or nothing comes from something in front of it, and says nothing of the record.
fn missing(call: Call, answer: &Answer<'_>) -> CallFault {
    if answer.is_json() {
        return CallFault::NotFound { call };
    }
    let reason =
        format!("could not {}: the address answers 404 but is not chatwoot's api, check the url", call.words());
    CallFault::NotSent { reason }
}

/// Literal in every language (Chatwoot 4.15, `app/models/message.rb`).
const FLOOD_TEXT: &str = "Too many messages";
/// Literal in every language (Chatwoot 4.15, `conversation_builder.rb`).
const SOURCE_ID_TEXT: &str = "source_id should be unique";
/// Raised before anything is stored (Chatwoot 4.15, `message_builder.rb`).
const API_ONLY_TEXT: &str = "Incoming messages are only allowed in Api inboxes";
/// The attributes that Chatwoot keeps unique within an account.
const UNIQUE_ATTRIBUTES: [&str; 3] = ["identifier", "email", "phone_number"];

fn unprocessable(call: Call, answer: &Answer<'_>, said: &Said<'_>) -> CallFault {
    let reason = said.reason(call, answer.status);
    if said.text().contains(FLOOD_TEXT) {
        return CallFault::Flooded;
    }
    if call == Call::PostMessage {
        // Message creation rescues every exception into a 422, also those raised after the commit.
        return if said.error.as_deref() == Some(API_ONLY_TEXT) {
            CallFault::Invalid { reason }
        } else {
            CallFault::Doubtful { call, reason }
        };
    }
    if said.error.as_deref() == Some(SOURCE_ID_TEXT) {
        return CallFault::Taken { attributes: vec!["source_id".to_owned()], reason };
    }
    if !said.attributes.is_empty() && said.attributes.iter().all(|a| UNIQUE_ATTRIBUTES.contains(&a.as_str())) {
        return CallFault::Taken { attributes: said.attributes.clone(), reason };
    }
    // A validation names its attributes. An exception's text alone says nothing of what was stored before it.
    if said.attributes.is_empty() {
        return CallFault::Doubtful { call, reason };
    }
    CallFault::Invalid { reason }
}

fn moved(call: Call, answer: &Answer<'_>) -> String {
    let to = answer.location.and_then(|to| reqwest::Url::parse(to).ok()).map(|to| to.origin().ascii_serialization());
    let call = call.words();
    match to {
        Some(to) => format!("could not {call}: chatwoot points to {to}, set the inbox's url to it"),
        None => format!("could not {call}: chatwoot points to another address, set the inbox's url to it"),
    }
}

fn wait(retry_after: Option<&str>) -> Wait {
    let Some(text) = retry_after.map(str::trim) else { return Wait::NextMinute };
    if let Ok(seconds) = text.parse() {
        return Wait::For(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    date.map_or(Wait::NextMinute, |date| Wait::Until(date.as_millisecond()))
}

/// What an error body says, in either of Chatwoot's two shapes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    attributes: Vec<String>,
    errors: Vec<String>,
}

impl<'a> Said<'a> {
    fn read(answer: &Answer<'a>) -> Self {
        if answer.is_json() { serde_json::from_slice(answer.body).unwrap_or_default() } else { Self::default() }
    }

    fn text(&self) -> &str {
        let text = self.error.as_deref().or(self.message.as_deref());
        text.or(self.errors.first().map(String::as_str)).unwrap_or_default()
    }

    fn reason(&self, call: Call, status: u16) -> String {
        let text = shown(self.text());
        if text.is_empty() {
            return format!("could not {}: chatwoot answered {status} without a reason", call.words());
        }
        format!("could not {}: chatwoot answered {status} ({text})", call.words())
    }
}

/// The flood guard looks back this long.
const FLOOD_WINDOW: Duration = Duration::from_mins(1);
/// Chatwoot's minute may begin a little after ours.
const MINUTE_MARGIN: Duration = Duration::from_secs(1);
/// The longest pause that a proxy's `Retry-After` may ask for.
const WAIT_MAX: Duration = Duration::from_hours(1);

impl Wait {
    /// The pause as seen at `now_millis` (unix), at most [`WAIT_MAX`].
    pub fn from(self, now_millis: i64) -> Duration {
        let wait = match self {
            Self::NextMinute => Duration::from_millis(60_000 - now_millis.rem_euclid(60_000) as u64) + MINUTE_MARGIN,
            Self::For(wait) => wait,
            Self::Until(then) => Duration::from_millis(then.saturating_sub(now_millis).max(0) as u64),
        };
        wait.min(WAIT_MAX)
    }
}

impl CallFault {
    /// The fault of an effect whose call failed so. A caller that can do better (rebuild a session on `NotFound`, look
    /// for the contact on `Taken`) branches first. `now_millis` is unix time.
    pub fn into_fault(self, now_millis: i64) -> Fault {
        let reason = self.to_string();
        match self {
            Self::NotFound { .. } => Fault::retry(reason),
            Self::Taken { .. } | Self::Invalid { .. } | Self::Odd { status: 400..=499, .. } => Fault::refused(reason),
            Self::Limited { wait } => Fault::down_for(wait.from(now_millis), reason),
            Self::Flooded => Fault::retry_after(FLOOD_WINDOW, reason),
            Self::Unauthorised { .. } | Self::NotSent { .. } => Fault::down(reason),
            Self::Doubtful { call, .. } if call.only_reads() => Fault::retry(reason),
            Self::Doubtful { .. } | Self::Odd { .. } => Fault::unknown(reason),
        }
    }
}

#[cfg(test)]
mod tests;
