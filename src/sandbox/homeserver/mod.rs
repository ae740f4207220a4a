//! A stand-in Matrix homeserver in memory: the client-server calls that a bridge needs, an appservice websocket in
//! both dialects that are in use, and a fault switch.
//!
//! A second reading of the contract: it uses nothing of the gateway's, so that it cannot share its mistakes.

mod accounts;
mod account_routes;
mod actions;
mod checks;

mod creation;
mod customer_routes;
mod delivery;
mod ephemeral;
mod errors;
mod event_routes;
mod faults;
mod handle;
mod history;
mod hooks;
mod house;
mod http;
mod link;
mod media;
mod media_routes;
mod outbox;
mod pauses;
mod push;
mod room;
mod room_routes;
mod routes;
mod socket;
mod state;
mod sync;
mod wire;

use std::time::Duration;

pub use errors::MatrixError;
pub use faults::{CallClass, CallFault, CallRule, HomeserverFaults, SocketFault, SocketRule};
pub use handle::Homeserver;
pub use link::Closed;
pub use state::Call;

pub(super) use customer_routes::routes as customer_routes;
pub(super) use http::answer;
pub(super) use push::run as push;
pub(super) use routes::router;
pub(super) use state::Core;

/// Which proxy's habits the websocket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// mautrix-wsproxy: no numbers, no acknowledgements, and what was written is forgotten.
    Wsproxy,
    /// mautrix-asmux and its successors: numbered transactions that are repeated until they are acknowledged.
    #[default]
    Asmux,
}

/// How the stand-in homeserver is set up. The defaults are for a first look on loopback.
#[derive(Debug, Clone)]
pub struct HomeserverSettings {
    pub server_name: String,
    /// The registration's `id`.
    pub appservice_id: String,
    pub as_token: String,
    pub hs_token: String,
    pub sender_localpart: String,
    /// Localparts that begin so are the appservice's.
    pub namespace_prefix: String,
    /// Whom the customer's page invites: a namespaced ghost, or the sender itself.
    pub support_localpart: String,
    pub dialect: Dialect,
    /// `m.upload.size`.
    pub upload_bytes_max: usize,
    /// Version of rooms that do not ask for another.
    pub room_version: String,
    /// `io.element.msc4190`: registering needs `inhibit_login`.
    pub msc4190: bool,
    /// What `/versions` lists.
    pub versions: Vec<String>,
    /// The first wait for an acknowledgement, and every later one.
    pub ack_wait: (Duration, Duration),
    /// Timeouts in a row after which the websocket is closed with 4002.
    pub ack_timeouts_max: u32,
    /// Transactions in one frame of the asmux dialect.
    pub merged_max: usize,
    /// Age at which the asmux dialect throws an event away instead of delivering it.
    pub drop_older_than: Option<Duration>,
    /// The registration's `url`: where transactions are pushed over HTTP. Then there is no websocket.
    pub push_url: Option<String>,
    /// The wait before a push is tried again, doubled each time, and its bound.
    pub push_retry: (Duration, Duration),
    /// Seeds ids and tokens.
    pub seed: u64,
}

impl Default for HomeserverSettings {
    fn default() -> Self {
        Self {
            server_name: "sandbox.test".to_owned(),
            appservice_id: "deskbridge".to_owned(),
            as_token: "sandbox-as-token".to_owned(),
            hs_token: "sandbox-hs-token".to_owned(),
            sender_localpart: "_desk_bot".to_owned(),
            namespace_prefix: "_desk_".to_owned(),
            support_localpart: "_desk_support".to_owned(),
            dialect: Dialect::default(),
            upload_bytes_max: 10 * 1024 * 1024,
            room_version: "12".to_owned(),
            msc4190: true,
            versions: (1..=12).map(|minor| format!("v1.{minor}")).collect(),
            ack_wait: (Duration::from_secs(5), Duration::from_secs(30)),
            ack_timeouts_max: 7,
            merged_max: 10,
            drop_older_than: Some(Duration::from_mins(3)),
            push_url: None,
            push_retry: (Duration::from_secs(2), Duration::from_secs(512)),
            seed: fastrand::u64(..),
        }
    }
}

impl HomeserverSettings {
    /// Waits for acknowledgements and between pushes, shortened by this factor, so that a test sees them pass.
    #[must_use]
    pub fn hastened(mut self, by: u32) -> Self {
        let by = by.max(1);
        self.ack_wait = (self.ack_wait.0 / by, self.ack_wait.1 / by);
        self.push_retry = (self.push_retry.0 / by, self.push_retry.1 / by);
        self
    }

    /// The appservice's own user.
    pub fn sender(&self) -> String {
        format!("@{}:{}", self.sender_localpart, self.server_name)
    }

    /// The user that customers write to.
    pub fn support(&self) -> String {
        format!("@{}:{}", self.support_localpart, self.server_name)
    }

    /// Whether this user is the appservice's.
    pub fn owns(&self, user: &str) -> bool {
        let Some((localpart, server)) = user.strip_prefix('@').and_then(|rest| rest.split_once(':')) else {
            return false;
        };
        server == self.server_name
            && (localpart == self.sender_localpart || localpart.starts_with(&self.namespace_prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_a_prefix_on_this_server_and_the_sender() {
        let settings = HomeserverSettings { sender_localpart: "desk".to_owned(), ..HomeserverSettings::default() };
        let check = |user: &str, owned| assert_eq!(settings.owns(user), owned, "{user}");
        check("@_desk_7:sandbox.test", true);
        check("@desk:sandbox.test", true);
        check("@_desk_7:elsewhere.test", false);
        check("@x_desk_7:sandbox.test", false);
        check("_desk_7:sandbox.test", false);
        check("@kim:sandbox.test", false);
    }
}
