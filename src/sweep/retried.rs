//! An agent's Retry, when its callback was missed: a message that we gave up and told so, and that stands there as if it
//! were new.

use std::collections::HashMap;

use bridge_api::Key;

use crate::{
    chatwoot::{ConversationId, MessageRow, MessageStatus},
    model::{InboxName, MessageRef, orders},
    store::{EnvelopeState, Store, StoreError},
};

/// Dead letters that one sweep looks for, the newest first. The dashboard offers a Retry for a day.
const LETTERS_MAX: usize = 1000;

/// Messages of this inbox that were given up, by conversation.
pub(super) type GivenUp = HashMap<ConversationId, Vec<Letter>>;

/// An agent's message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) message: MessageRef,
    pub(super) died_millis: i64,
}

pub(super) async fn given_up(store: &dyn Store, inbox: &InboxName) -> Result<GivenUp, StoreError> {
    let mut found = GivenUp::new();
    for letter in store.dead(LETTERS_MAX).await? {
        if let Some(message) = orders::message_of(inbox, &letter.key) {
            let conversation = ConversationId(message.conversation);
            found.entry(conversation).or_default().push(Letter { message, died_millis: letter.died_millis });
        }
    }
    Ok(found)
}

/// Whether the agent asked for the message again. It stood as new before we told that it failed, too: so only once that
/// was told.
pub(super) async fn is_retried(store: &dyn Store, row: &MessageRow, given_up: &[Letter]) -> Result<bool, StoreError> {
    if row.status != MessageStatus::Sent {
        return Ok(false);
    }
    for letter in given_up.iter().filter(|letter| letter.message.message == row.id.0) {
        if was_told(store, letter).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn was_told(store: &dyn Store, letter: &Letter) -> Result<bool, StoreError> {
    let key: Key = orders::status_key(&letter.message, crate::model::MessageStatus::Failed, letter.died_millis);
    let history = store.history(&key).await?;
    Ok(history.is_some_and(|history| matches!(history.state, EnvelopeState::Done { .. })))
}
