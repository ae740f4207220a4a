//! The remembered answer to "which contact, link and conversation is this thread?".

use bridge_api::{BridgeName, ThreadId};
use serde::{Deserialize, Serialize};

/// Can always be rebuilt by asking the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub bridge: BridgeName,
    pub thread: ThreadId,
    pub contact: i64,
    /// The link's name in the inbox: unique there, ours unless the inbox answered with another.
    pub source_id: String,
    /// The display id of the conversation that messages go to.
    pub conversation: i64,
    /// An agent resolved that conversation.
    pub resolved: bool,
    /// Hash of the name, facts and picture that the contact was last given.
    pub profile: i64,
    /// Hash of the installation, account and inbox that it leads to. Ids mean nothing anywhere else.
    pub home: i64,
}
