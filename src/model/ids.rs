//! Ids of ours. Those that a bridge sees are in `bridge-api`.

use std::{fmt, sync::Arc};

use bridge_api::BridgeName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::Partition;

/// Scope of the gateway's own cursors; no bridge's name holds a dot.
pub const OWN_SCOPE: &str = "gateway.own";

/// The configured name of one inbox.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InboxName(Arc<str>);

impl InboxName {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Where effects of one kind happen: `inbox:NAME` or `bridge:NAME`. What is held when its far side is down.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkName(Arc<str>);

impl SinkName {
    pub fn inbox(name: &InboxName) -> Self {
        Self(format!("inbox:{name}").into())
    }
    pub fn bridge(name: &BridgeName) -> Self {
        Self(format!("bridge:{name}").into())
    }
    /// As the store kept it.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether its effects happen on a network.
    pub fn is_network(&self) -> bool {
        self.0.starts_with("bridge:")
    }
    /// Where whatever is done once for it belongs: the connection of a bridge, the sweep of an inbox.
    pub fn home(&self) -> Partition {
        Sha256::digest(&*self.0)[0]
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The store's number for an envelope: grows with arrival, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvelopeId(pub i64);
