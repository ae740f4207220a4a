//! News that an agent's message failed after all, long after it was taken to be sent: a bounce.

use bridge_api::{Cursor, Key};
use serde::{Deserialize, Serialize};

use crate::model::{InboxName, MessageRef};

/// Kept as a cursor of ours for as long as an agent may ask for the message again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateFailure {
    pub conversation: i64,
    pub message: i64,
    /// Of the news, the same at each report of it.
    pub at_millis: i64,
    pub seen_millis: i64,
    pub reason: String,
    /// The order that tells the agent.
    pub told: Key,
}

impl LateFailure {
    pub fn prefix(inbox: &InboxName) -> String {
        format!("failed/{inbox}:")
    }

    pub fn name(inbox: &InboxName, message: i64) -> String {
        format!("{}{message}", Self::prefix(inbox))
    }

    pub fn into_cursor(self, inbox: &InboxName) -> Cursor {
        let json = serde_json::to_string(&self).expect("numbers and texts");
        Cursor::set(Self::name(inbox, self.message), json)
    }

    /// `None` when the cursor was written by another version.
    pub fn from_cursor(cursor: &Cursor) -> Option<Self> {
        serde_json::from_str(cursor.value.as_deref()?).ok()
    }

    pub fn message_ref(&self, inbox: &InboxName) -> MessageRef {
        MessageRef { inbox: inbox.clone(), conversation: self.conversation, message: self.message }
    }
}
