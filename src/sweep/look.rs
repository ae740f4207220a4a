//! One look through a conversation: its messages to the gate, and what is known already looked at once more.

use super::{
    PAGES_MAX, Sweep, Trouble, position,
    second_look::{self, Failure, Finding},
};
use crate::{
    chatwoot::{
        CallFault, Conversation, MESSAGES_PAGE, MessageId, MessageRow,
        callback::{Callback, Event, listed, standing},
    },
    model::MessageRef,
};

/// Messages whose marks were put right that are remembered.
const PUT_RIGHT_MAX: usize = 100_000;

/// What looks have come to.
pub(super) struct Swept {
    pub(super) found: usize,
    /// The highest id of what was there for so long that nothing below it can still appear.
    pub(super) settled: MessageId,
    /// There is more behind this one than one look reads.
    pub(super) more_after: Option<MessageId>,
}

impl Sweep {
    pub(super) async fn look_through(
        &mut self,
        conversation: &Conversation,
        floor: MessageId,
        failed: &[Failure],
        today: i64,
    ) -> Result<Swept, Trouble> {
        let mut swept = Swept::default();
        for failure in failed.iter().filter(|failure| failure.message.message <= floor.0) {
            self.pace.turn().await;
            let asked_millis = self.clock.now();
            let row = self.client.message(conversation.id, MessageId(failure.message.message)).await;
            if let Some(row) = found(row)?.flatten() {
                self.judge(conversation, &[row], (failed, asked_millis), &mut swept).await?;
            }
        }
        if floor == MessageId(0) {
            // Before the first sweep has ended there is no floor to begin at.
            let asked_millis = self.clock.now();
            let rows = self.since_we_began(conversation).await?;
            self.judge(conversation, &rows, (failed, asked_millis), &mut swept).await?;
            swept.settle(&rows, today);
        } else {
            self.from(conversation, floor, (failed, today), &mut swept).await?;
        }
        let standing = standing(self.door.account_id, conversation);
        self.intake.listed(&self.door, &[standing]).await?;
        Ok(swept)
    }

    async fn from(
        &mut self,
        conversation: &Conversation,
        floor: MessageId,
        (failed, today): (&[Failure], i64),
        swept: &mut Swept,
    ) -> Result<(), Trouble> {
        let mut after = floor;
        for _ in 0..PAGES_MAX {
            self.pace.turn().await;
            let asked_millis = self.clock.now();
            // Deleted since it was listed.
            let Some(rows) = found(self.client.messages_after(conversation.id, after).await)? else { return Ok(()) };
            self.judge(conversation, &rows, (failed, asked_millis), swept).await?;
            swept.settle(&rows, today);
            match rows.last() {
                Some(last) if rows.len() >= MESSAGES_PAGE => after = last.id,
                Some(_) | None => return Ok(()),
            }
        }
        swept.more_after = Some(after);
        Ok(())
    }

    /// Backwards, to what was written before this gateway began.
    async fn since_we_began(&mut self, conversation: &Conversation) -> Result<Vec<MessageRow>, Trouble> {
        let mut rows = Vec::new();
        let mut before = None;
        for page in 1..=PAGES_MAX {
            self.pace.turn().await;
            let Some(older) = found(self.client.messages_before(conversation.id, before).await)? else { break };
            let Some(first) = older.first() else { break };
            before = Some(first.id);
            let reached = first.created_millis < self.intake.born_millis() - position::SKEW_MILLIS;
            rows.extend(older);
            if reached {
                break;
            }
            if page == PAGES_MAX {
                tracing::warn!(
                    inbox = self.door.inbox.as_str(),
                    conversation = conversation.id.0,
                    "a conversation is too long to be looked through to its beginning; what is older is not looked for"
                );
            }
        }
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    async fn judge(
        &mut self,
        conversation: &Conversation,
        rows: &[MessageRow],
        (failed, asked_millis): (&[Failure], i64),
        swept: &mut Swept,
    ) -> Result<(), Trouble> {
        let callbacks: Vec<_> = rows.iter().map(|row| listed(self.door.account_id, conversation, row)).collect();
        let news = self.intake.listed(&self.door, &callbacks).await?;
        for ((row, callback), is_new) in rows.iter().zip(callbacks).zip(news) {
            swept.found += usize::from(is_new);
            if !is_new {
                self.look_again(row, callback, (failed, asked_millis)).await?;
            }
        }
        Ok(())
    }

    async fn look_again(
        &mut self,
        row: &MessageRow,
        listed: Callback<'_>,
        (failed, asked_millis): (&[Failure], i64),
    ) -> Result<(), Trouble> {
        let message =
            MessageRef { inbox: self.door.inbox.clone(), conversation: row.conversation_id.0, message: row.id.0 };
        match second_look::look(&*self.store, (&message, row), failed, asked_millis).await? {
            Finding::Nothing => {}
            // Once: where callbacks never reach us, each word of ours is followed by the same mark.
            Finding::Untrue { .. } if self.put_right.contains(&row.id) => {}
            Finding::Untrue { status, reason } => {
                if self.put_right.len() >= PUT_RIGHT_MAX {
                    self.put_right.clear();
                }
                self.put_right.insert(row.id);
                self.intake.tell_status(&message, status, reason).await?;
            }
            Finding::Retried(failure) => {
                let retry = Callback { event: Event::MessageUpdated, ..listed };
                match &failure.late {
                    None => drop(self.intake.callback(&self.door, &retry).await?),
                    Some(late) => self.intake.send_again(&self.door, &retry, late).await?,
                }
            }
        }
        Ok(())
    }
}

impl Default for Swept {
    fn default() -> Self {
        Self { found: 0, settled: MessageId(0), more_after: None }
    }
}

impl Swept {
    fn settle(&mut self, rows: &[MessageRow], today: i64) {
        let old = rows.iter().filter(|row| row.created_millis < today - position::SKEW_MILLIS);
        self.settled = old.map(|row| row.id).fold(self.settled, MessageId::max);
    }
}

/// `None` where there is nothing of that name any more.
fn found<T>(answer: Result<T, CallFault>) -> Result<Option<T>, CallFault> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(CallFault::NotFound { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}
