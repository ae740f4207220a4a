//! Whether an earlier attempt left its message in the inbox: a search for our mark.

use bridge_api::{BridgeName, Fault, Key, ThreadId};

use super::{Done, InboxSink};
use crate::{
    chatwoot::{CallFault, ConversationId, MESSAGES_PAGE, MessageId},
    sessions::source_id_of,
};

/// Pages of [`MESSAGES_PAGE`] that one search reads before it gives up for now.
const PAGES_MAX: usize = 100;

impl InboxSink {
    /// Looks wherever an attempt that began at this mark can have posted. `None`: it surely did not.
    pub(super) async fn search(
        &self,
        bridge: &BridgeName,
        thread: &ThreadId,
        key: &Key,
        mark: i64,
    ) -> Result<Option<Done>, Fault> {
        for conversation in self.conversations(bridge, thread).await? {
            if let Some(done) = self.find(conversation, key, mark).await? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Where a thread's messages may stand: where its session leads, and without one wherever the inbox has it. The
    /// session of the attempt may have been forgotten since, or not be believed any more.
    async fn conversations(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Vec<i64>, Fault> {
        if let Some(session) = self.sessions.known(bridge, thread).await.map_err(|e| Fault::retry(e.to_string()))? {
            return Ok(vec![session.conversation]);
        }
        let source_id = source_id_of(bridge, thread);
        let found = self.client.conversations_by_source_id(&source_id).await.map_err(|fault| self.fault(fault))?;
        Ok(found.into_iter().map(|conversation| conversation.id.0).collect())
    }

    /// Lists what came after the attempt began and looks for our mark.
    async fn find(&self, conversation: i64, key: &Key, mark: i64) -> Result<Option<Done>, Fault> {
        // A mark that lies ahead of all that was seen here may be one of another inbox.
        let mut after = mark.min(self.newest());
        for _ in 0..PAGES_MAX {
            let rows = match self.client.messages_after(ConversationId(conversation), MessageId(after)).await {
                Ok(rows) => rows,
                // A conversation that is gone holds nothing of ours.
                Err(CallFault::NotFound { .. }) => return Ok(None),
                Err(fault) => return Err(self.fault(fault)),
            };
            if let Some(row) = rows.iter().find(|row| row.source_id.as_deref() == Some(key.as_str())) {
                return Ok(Some(self.stands(conversation, row.id, key.as_str())));
            }
            match rows.last() {
                Some(last) if rows.len() >= MESSAGES_PAGE => after = last.id.0,
                Some(_) | None => return Ok(None),
            }
        }
        Err(Fault::retry(format!("conversation {conversation} is too long to search at once")))
    }

    /// The conversation and the message that a post ended as. Older records name the message alone.
    pub(super) async fn standing_at(
        &self,
        bridge: &BridgeName,
        thread: &ThreadId,
        result: &str,
    ) -> Result<Option<(ConversationId, MessageId)>, Fault> {
        let (conversation, id) = if let Some((conversation, id)) = result.split_once('/') {
            (conversation.parse().ok(), id)
        } else {
            let session = self.sessions.known(bridge, thread).await.map_err(|e| Fault::retry(e.to_string()))?;
            (session.map(|session| session.conversation), result)
        };
        Ok(conversation.map(ConversationId).zip(id.parse().ok().map(MessageId)))
    }
}
