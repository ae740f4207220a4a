//! Chatwoot's numbers, one type each, so that a message is never taken for a conversation.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An account of the installation.
    AccountId
);
number!(
    /// An inbox of the installation.
    InboxId
);
number!(
    /// A contact of the installation.
    ContactId
);
number!(
    /// A conversation's display id: counted per account, so it means nothing without the [`AccountId`].
    ConversationId
);
number!(
    /// A message of the installation.
    MessageId
);
