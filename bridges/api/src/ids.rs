//! Names as types, so that a peer is never taken for a thread. Cheap to clone.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    };
}

name! {
    /// The configured name of one bridge. Part of every key and source id, so it is never given to
    /// another network.
    BridgeName
}
name! {
    /// What happened on the network, by a name that is the same when it is reported again.
    EventId
}
name! {
    /// A person or robot as the bridge proves them: never a display name, always the same for the
    /// same one, at most 200 bytes. Opaque to the gateway.
    PeerId
}
name! {
    /// The network's conversation with one peer: a query, a peer in a channel, a room. At most 200
    /// bytes and without a slash at its start. Opaque to the gateway.
    ThreadId
}
name! {
    /// What makes an effect the same effect at every attempt, for example `support/9001/0`.
    Key
}
name! {
    /// Bytes that the gateway keeps for a bridge: 32 lower-case hexadecimal digits. Later ones sort behind
    /// earlier ones.
    KeptId
}
name! {
    /// An agent, by a name that stays when they are renamed. Opaque to bridges.
    AgentId
}
