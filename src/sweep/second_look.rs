//! What a row of the list says of a message that we know already: an agent's Retry whose callback was missed, or a mark of
//! Chatwoot's that a callback failed, which hides what really became of the message.

use std::collections::BTreeMap;

use bridge_api::Key;

use super::position::{Place, era_since};
use crate::{
    chatwoot::{self, ConversationId, MessageRow, MessageType},
    model::{LateFailure, MessageRef, MessageStatus, OWN_SCOPE, PARTS_MAX, orders},
    store::{Batch, EnvelopeState, Store, StoreError},
};

/// Dead letters that one sweep looks for, the newest first.
const LETTERS_MAX: usize = 1000;
/// The dashboard offers a Retry for a day.
const RETRY_MILLIS: i64 = 25 * 3600 * 1000;

/// Messages of this inbox that failed, by conversation.
pub(super) type Failed = BTreeMap<ConversationId, Vec<Failure>>;

/// An agent's message that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: MessageRef,
    reason: String,
    /// The order that tells the agent.
    told: Key,
    /// It had been sent before that.
    pub(super) late: Option<LateFailure>,
    /// It had not: the key and the moment of the dead letter.
    died: Option<(Key, i64)>,
}

/// Given up before it was sent, or failed after that; not so long ago that nobody can ask for it again, and not before
/// the inbox became the one that it is.
pub(super) async fn failed(
    store: &dyn Store,
    place: &Place<'_>,
    today: i64,
    now_millis: i64,
) -> Result<Failed, StoreError> {
    let inbox = place.inbox;
    let mut found = Failed::new();
    let mut add = |failure: Failure| {
        let conversation = ConversationId(failure.message.conversation);
        found.entry(conversation).or_default().push(failure);
    };
    let (_, era_since) = era_since(store, inbox).await?;
    let since = (today.min(now_millis) - RETRY_MILLIS).max(era_since);
    for letter in store.dead(LETTERS_MAX).await?.into_iter().filter(|letter| letter.died_millis >= since) {
        if let Some(message) = orders::message_of(inbox, &letter.key) {
            let told = orders::status_key(&message, MessageStatus::Failed, letter.died_millis);
            add(Failure {
                message,
                reason: letter.reason,
                told,
                late: None,
                died: Some((letter.key, letter.died_millis)),
            });
        }
    }
    let mut old = Vec::new();
    for cursor in store.cursors(OWN_SCOPE, &LateFailure::prefix(inbox)).await? {
        match LateFailure::from_cursor(&cursor).filter(|failure| failure.seen_millis >= since) {
            Some(late) => {
                let (message, reason, told) = (late.message_ref(inbox), late.reason.clone(), late.told.clone());
                add(Failure { message, reason, told, late: Some(late), died: None });
            }
            None => old.push((OWN_SCOPE.to_owned(), bridge_api::Cursor::remove(cursor.name))),
        }
    }
    if !old.is_empty() {
        store.accept(Batch { cursors: old, ..Batch::default() }, now_millis).await?;
    }
    Ok(found)
}

/// What is to be done about a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding<'f> {
    Nothing,
    /// The agent asks for it again.
    Retried(&'f Failure),
    /// The agent is shown something that is not so.
    Untrue {
        status: MessageStatus,
        reason: Option<&'f str>,
    },
}

/// `asked_millis`: when the row was asked for, by the clock that nobody sets.
pub(super) async fn look<'f>(
    store: &dyn Store,
    (message, row): (&MessageRef, &MessageRow),
    failed: &'f [Failure],
    asked_millis: i64,
) -> Result<Finding<'f>, StoreError> {
    if row.message_type != MessageType::Outgoing || row.private {
        return Ok(Finding::Nothing);
    }
    let failure = failed.iter().find(|failure| failure.message.message == row.id.0);
    match (row.status, failure) {
        (chatwoot::MessageStatus::Sent, Some(failure)) if is_retried(store, failure, asked_millis).await? => {
            Ok(Finding::Retried(failure))
        }
        (chatwoot::MessageStatus::Failed, failure) if is_of_a_callback(row) => match failure {
            Some(failure) => {
                Ok(Finding::Untrue { status: MessageStatus::Failed, reason: Some(failure.reason.as_str()) })
            }
            None if was_sent(store, message).await? => {
                Ok(Finding::Untrue { status: MessageStatus::Delivered, reason: None })
            }
            None => Ok(Finding::Nothing),
        },
        (_, _) => Ok(Finding::Nothing),
    }
}

/// Before we told that it failed it stood there as new as well. So that must have been told before the row was asked for,
/// and nothing have become of the message since.
async fn is_retried(store: &dyn Store, failure: &Failure, asked_millis: i64) -> Result<bool, StoreError> {
    let told = store.history(&failure.told).await?.map(|history| history.state);
    let Some(EnvelopeState::Done { at_millis, .. }) = told else { return Ok(false) };
    if at_millis >= asked_millis {
        return Ok(false);
    }
    let Some((key, died_millis)) = &failure.died else { return Ok(true) };
    let now = store.history(key).await?.map(|history| history.state);
    Ok(matches!(now, Some(EnvelopeState::Dead { at_millis, .. }) if at_millis == *died_millis))
}

/// Chatwoot's own words for a callback that failed (4.15, `lib/webhooks/trigger.rb`). Our reasons are sentences.
fn is_of_a_callback(row: &MessageRow) -> bool {
    let error = row.content_attributes.get("external_error").and_then(serde_json::Value::as_str).unwrap_or_default();
    // A mail server's words begin with a number as well.
    let statuses = [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "408 Request Timeout",
        "413 Payload Too Large",
        "413 Request Entity Too Large",
        "413 Content Too Large",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "504 Gateway Time-out",
    ];
    let words = [
        "Net::",
        "Failed to open TCP connection",
        "end of file reached",
        "execution expired",
        "Connection re",
        "Hostname '",
        "Could not resolve hostname",
        "Timed out",
        "timed out",
    ];
    statuses.contains(&error) || words.iter().any(|word| error.starts_with(word))
}

async fn was_sent(store: &dyn Store, message: &MessageRef) -> Result<bool, StoreError> {
    for part in 0..PARTS_MAX {
        match store.history(&orders::part_key(message, part)).await?.map(|history| history.state) {
            Some(EnvelopeState::Done { .. }) => {}
            Some(_) => return Ok(false),
            None => return Ok(part > 0),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(error: &str) -> MessageRow {
        let json = serde_json::json!({
            "id": 7, "conversation_id": 1, "message_type": 1, "content_attributes": {"external_error": error},
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_chatwoot_says_of_a_callback_is_told_from_what_a_network_says() {
        for theirs in [
            "502 Bad Gateway",
            "401 Unauthorized",
            "Net::ReadTimeout with #<TCPSocket:(closed)>",
            "Net::OpenTimeout",
            "Failed to open TCP connection to gateway:8600 (Connection refused - connect(2) for \"gateway\" port 8600)",
            "Hostname 'gateway' has no public ip addresses",
            "end of file reached",
            "Connection reset by peer",
        ] {
            assert!(is_of_a_callback(&row(theirs)), "{theirs}");
        }
        for ours in ["", "no such nick: ada", "550 5.1.1 no such user here", "550 Not Found", "the relay said: 550"] {
            assert!(!is_of_a_callback(&row(ours)), "{ours}");
        }
    }
}
