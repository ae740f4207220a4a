//! An operator says that an inbox is right as it is, although it is not the one that was posted to before.

use crate::{
    model::{Envelope, EnvelopeId, InboxName, Order, Partitions, SinkName},
    store::{Begin, Settle, Settled, Store, StoreError, Turn},
};

use super::position::{era, save_era};

/// Rows of one step.
const ROWS_MAX: usize = 1000;

/// What became of the orders that waited for the inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Messages of people that will be posted.
    pub kept: usize,
    /// News of messages that the inbox does not have any more: their numbers may be those of others by now.
    pub dropped: usize,
}

/// From now on nothing is believed that holds numbers of the inbox as it was: sessions, marks, and orders about single
/// messages. What people wrote waits on. No gateway may run on this store.
pub async fn adopt(store: &dyn Store, inbox: &InboxName, now_millis: i64) -> Result<Adopted, StoreError> {
    let lease = store.lease("adopt", now_millis).await?;
    if !lease.partitions().is_all() {
        store.release(&lease).await?;
        return Err(StoreError::Unwritable(
            "a gateway works on it, or did so a moment ago: stop all of them".to_owned(),
        ));
    }
    let (sink, mut after, mut adopted) = (SinkName::inbox(inbox), EnvelopeId(0), Adopted::default());
    loop {
        let rows = store.waiting(&lease, &Partitions::ALL, after, ROWS_MAX).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let ours = rows.iter().filter(|row| row.lane.sink == sink);
        let begin = ours.map(|row| Begin { id: row.id, mark: 0 }).collect();
        let envelopes = store.turn(&lease, Turn { begin, ..Turn::default() }, now_millis).await?.begun;
        let settle: Vec<_> = envelopes.iter().filter_map(|envelope| settled(envelope, now_millis)).collect();
        let dropped = settle.iter().filter(|settle| matches!(settle.outcome, Settled::Done { .. })).count();
        adopted.dropped += dropped;
        adopted.kept += envelopes.len() - dropped;
        store.turn(&lease, Turn { settle, ..Turn::default() }, now_millis).await?;
    }
    save_era(store, inbox, era(store, inbox).await? + 1, now_millis).await?;
    store.release(&lease).await?;
    Ok(adopted)
}

/// `None` for an attempt whose end is not known: the inbox is asked about it, as it is now.
fn settled(envelope: &Envelope, now_millis: i64) -> Option<Settle> {
    let outcome = match &envelope.order {
        Order::Status { .. } | Order::Withdrawn { .. } | Order::Resolved { .. } => {
            Settled::Done { result: Some("dropped: the inbox is another one now".into()), follow: Vec::new() }
        }
        Order::Post { .. } | Order::Note { .. } | Order::Send { .. } if envelope.doubt.is_some() => return None,
        Order::Post { .. } | Order::Note { .. } | Order::Send { .. } => {
            Settled::Again { due_millis: now_millis, spent: false, reason: "the inbox is another one now".into() }
        }
    };
    Some(Settle { id: envelope.id, outcome })
}
