//! Whether the inbox is still the one that we posted to. After a restore from a backup, or on another installation behind
//! the same address, ids are used again: replies would be taken for known ones, and sessions would lead to strangers.

use super::{
    SweepParts, Trouble,
    pace::Pace,
    position::{era, save_era, witnesses},
};
use crate::{
    chatwoot::{CallFault, ConversationId, MessageId, MessageRow},
    model::Witness,
};

/// What the inbox is, as far as that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The one that we posted to, or one that we never posted to.
    Known,
    /// Nothing of what was posted there last is there.
    Another,
}

/// Looks for what was posted there last. One message that is where it was will do.
pub(super) async fn check(parts: &SweepParts, pace: &mut Pace) -> Result<Standing, Trouble> {
    // Another process may have found out.
    let saved = era(&*parts.store, &parts.door.inbox).await?;
    if saved > parts.sessions.era() {
        parts.sessions.enter(saved);
        return Ok(Standing::Another);
    }
    let witnesses = witnesses(&*parts.store, parts.place()).await?;
    let mut unread = None;
    for witness in witnesses.iter() {
        pace.turn().await;
        let (conversation, before) = (ConversationId(witness.conversation), MessageId(witness.message - 1));
        match parts.client.messages_after(conversation, before).await {
            Ok(rows) => return judge(witness, &rows).map(|()| Standing::Known),
            Err(CallFault::NotFound { .. }) => {}
            // Another one may be readable.
            Err(fault @ (CallFault::Doubtful { .. } | CallFault::Odd { .. })) => unread = Some(fault),
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(fault) = unread {
        return Err(fault.into());
    }
    if witnesses.is_empty() {
        return Ok(Standing::Known);
    }
    // Deleted, all of them; or the inbox is a new one. Either way no session is believed any more.
    tracing::warn!(
        inbox = parts.door.inbox.as_str(),
        "none of the conversations that were written to last is there any more; all are looked up anew"
    );
    let era = parts.sessions.era() + 1;
    save_era(&*parts.store, &parts.door.inbox, era, parts.clock.now()).await?;
    parts.sessions.enter(era);
    Ok(Standing::Another)
}

fn judge(witness: &Witness, rows: &[MessageRow]) -> Result<(), Trouble> {
    let Witness { conversation, message, source_id } = witness;
    let found = rows.iter().find(|row| row.id.0 == *message);
    match found.map(|row| row.source_id.as_deref()) {
        Some(Some(theirs)) if theirs == source_id => Ok(()),
        Some(_) => Err(Trouble::Foreign(format!(
            "message {message} of conversation {conversation} is not the one that was posted there, so the inbox was \
             restored from a backup or is another one: bring back the right one, or run `deskbridge inbox adopt`"
        ))),
        None => Err(Trouble::Foreign(format!(
            "message {message} is gone from conversation {conversation}, so the inbox was restored from a backup: \
             bring back the right one, or run `deskbridge inbox adopt`"
        ))),
    }
}
