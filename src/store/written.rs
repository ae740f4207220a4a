//! Envelopes in the form in which databases keep them: made on the caller's thread, which whoever writes for all is too
//! busy for.

use bridge_api::Key;
use sha2::{Digest, Sha256};

use super::Held;
use crate::model::{Group, Lane, NewEnvelope, OnDuplicate};

pub(super) struct Written {
    pub(super) envelopes: Vec<WrittenEnvelope>,
    pub(super) on_duplicate: OnDuplicate,
    pub(super) unless: Option<[u8; 16]>,
}

pub(super) struct WrittenEnvelope {
    pub(super) key: Key,
    pub(super) hash: [u8; 16],
    pub(super) at_millis: i64,
    pub(super) lane: Lane,
    pub(super) rank: i64,
    pub(super) due_millis: i64,
    pub(super) order_json: String,
}

/// A dead letter from the beginning, in the form in which it is written.
pub(super) struct WrittenHeld {
    pub(super) group: Written,
    pub(super) reason: String,
    pub(super) follow: Vec<Written>,
}

impl From<Held> for WrittenHeld {
    fn from(held: Held) -> Self {
        // Nothing of it is worked on, so nothing of it can be revived by coming again.
        let group = Group { on_duplicate: OnDuplicate::Ignore, ..held.group };
        let follow = held.follow.into_iter().map(Written::from).collect();
        Self { group: group.into(), reason: held.reason, follow }
    }
}

impl From<Group> for Written {
    fn from(group: Group) -> Self {
        let envelopes = group.envelopes.into_iter().map(WrittenEnvelope::from).collect();
        Self { envelopes, on_duplicate: group.on_duplicate, unless: group.unless.as_ref().map(hash) }
    }
}

impl From<NewEnvelope> for WrittenEnvelope {
    fn from(new: NewEnvelope) -> Self {
        Self {
            hash: hash(&new.key),
            key: new.key,
            at_millis: new.at_millis,
            lane: new.lane,
            rank: new.rank,
            due_millis: new.due_millis,
            order_json: serde_json::to_string(&new.order).expect("an order has text keys only"),
        }
    }
}

/// What stands for a key in the record of known ones.
pub(super) fn hash(key: &Key) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(key.as_str())[..16]);
    first
}
