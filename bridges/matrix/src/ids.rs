//! Ids of Matrix as types. Opaque but for a user's server: since room version 12 a room id names none.

use std::{fmt, sync::Arc};

use bridge_api::ThreadId;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(Arc<str>);

        impl $name {
            pub(crate) fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            pub(crate) fn as_str(&self) -> &str {
                &self.0
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
    };
}

id! {
    /// `!…`
    RoomId
}
id! {
    /// `$…`
    EventRef
}
id! {
    /// `@localpart:server`
    UserId
}

impl UserId {
    pub(crate) fn localpart(&self) -> &str {
        let name = self.0.strip_prefix('@').unwrap_or(&self.0);
        name.split_once(':').map_or(name, |(localpart, _)| localpart)
    }
    pub(crate) fn server(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, server)| server)
    }
}

/// The contract allows a thread 200 bytes.
const THREAD_BYTES_MAX: usize = 200;

impl RoomId {
    /// Our name for the conversation that began in this room. Without dots, which the help desk's routes cut
    /// at. `None` for an id that is too long to be kept.
    pub(crate) fn thread(&self) -> Option<ThreadId> {
        let name = self.0.replace('=', "=3d").replace('.', "=2e");
        (name.len() <= THREAD_BYTES_MAX && !name.starts_with('/')).then(|| ThreadId::from(name))
    }

    /// The room in which a conversation began.
    pub(crate) fn of_thread(thread: &ThreadId) -> Self {
        Self::new(thread.as_str().replace("=2e", ".").replace("=3d", "="))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_found_again_by_its_thread() {
        for room in ["!abc:shop.example", "!Zm9v-_bar", "!a=2eb:x.y", "!==2e.=3d:z"] {
            let room = RoomId::from(room);
            let thread = room.thread().unwrap();
            assert!(!thread.as_str().contains('.'), "{thread}");
            assert_eq!(RoomId::of_thread(&thread), room);
        }
        assert_eq!(RoomId::new("!".repeat(300)).thread(), None);
    }

    #[test]
    fn a_user_has_a_localpart_and_a_server() {
        let user = UserId::from("@kim:shop.example:8448");
        assert_eq!((user.localpart(), user.server()), ("kim", Some("shop.example:8448")));
        assert_eq!((UserId::from("odd").localpart(), UserId::from("odd").server()), ("odd", None));
    }
}
