//! Who wants to be let in: what the gateway's limits of new conversations and its list of blocked people are held against.

use crate::{Peer, ThreadId};

/// Somebody who writes to us, as the network vouches for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Every name by which an operator may block them, the best known first: an id, an address, a mask.
    pub names: Vec<String>,
    /// By what the new conversations of one hour are counted: an account or an address where it is proved, else what
    /// a stranger cannot change at will, such as a host. `None`: there is nothing of that kind, or many people share it.
    pub counted_as: Option<String>,
}

impl Caller {
    /// By the names that every network has.
    pub fn of(thread: &ThreadId, peer: &Peer) -> Self {
        let id = peer.id.to_string();
        Self { names: vec![id.clone(), thread.to_string()], counted_as: Some(id) }
    }
}

/// Whether a caller is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Welcome,
    /// Too many new conversations: the same may be welcome later.
    Later,
    /// Blocked by the operator.
    Never,
}
