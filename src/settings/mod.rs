//! The settings as types that cannot be wrong, each mistake in them reported at once.
//!
//! It reads the file, the environment and the files that hold secrets. It starts nothing, and knows
//! the adapters only through [`Kinds`].

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use bridge_api::{Bridge, BridgeName, Secret, SettingsFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod document;
mod draft;
mod faults;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod layers;
mod load;
mod page;
mod placing;
mod postgres;
mod prints;
mod rooms;
mod schema;
mod secrets;
mod shape;
#[cfg(any(test, feature = "fuzzing"))]
mod stub;
#[cfg(test)]
mod tests;
mod typed;
mod values;

pub use draft::{Draft, DraftInbox, load_draft, with_inbox_id};
pub use faults::{Fault, Faults, Place};
pub use load::{load, load_text};
pub use postgres::{PostgresUrl, SslMode};
pub use prints::Prints;
pub use schema::{file_schema, inlined};
pub use typed::read_table;
pub use values::{HostName, HttpUrl, LogFilter, StoreUrl};

/// Every key with its default and one comment. A test holds it against the schema, so it stays true.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Everything that the operator may choose, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub gateway: Gateway,
    pub store: Store,
    pub log: Log,
    /// By the name that their callbacks come to.
    pub inboxes: BTreeMap<String, Inbox>,
    pub bridges: BTreeMap<BridgeName, BridgeEntry>,
    /// To tell these from others.
    pub prints: Prints,
}

/// What the settings must know of the adapters. The registry implements it.
pub trait Kinds {
    /// The words that may stand in `kind = "..."`, in order.
    fn known(&self) -> Vec<&'static str>;
    /// The schema of the adapter's own table, without `$ref` (see [`inlined`]).
    fn schema(&self, kind: &str) -> Option<schemars::Schema>;
    /// Makes the bridge, or says everything that is wrong with its own table.
    fn build(&self, name: &BridgeName, kind: &str, table: toml::Table) -> Built;
}

/// A bridge that is made but not started, or all that kept it from being made.
pub type Built = Result<Arc<dyn Bridge>, Vec<SettingsFault>>;

/// The process itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Where callbacks, health and metrics are answered.
    #[serde(deserialize_with = "values::listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// How the help desk reaches `listen`.
    pub public_url: Option<HttpUrl>,
    /// The folder for the database and attachments, from the working directory.
    pub data_dir: PathBuf,
    /// For the status page and /admin; without one they are off.
    pub admin_token: Option<Secret>,
    /// Names under which the status page answers, beside its address, `localhost` and the host of `public_url`.
    pub admin_hosts: Vec<HostName>,
    /// How long a soft stop may take before it becomes a hard one.
    #[schemars(range(min = 1, max = 600))]
    pub stop_seconds: u64,
    /// How long the history of finished and given-up messages is kept.
    #[schemars(range(min = 1, max = 3650))]
    pub retention_days: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8600)),
            public_url: None,
            data_dir: "data".into(),
            admin_token: None,
            admin_hosts: Vec::new(),
            stop_seconds: 20,
            retention_days: 30,
        }
    }
}

/// Where envelopes are kept.
#[derive(Debug, Clone)]
pub struct Store {
    pub url: StoreUrl,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, also per module: `info,deskbridge::pump=debug`.
    pub level: LogFilter,
    /// How a line of the log looks.
    pub format: LogFormat,
    /// Where a collector takes traces by OTLP over HTTP. Only in a deskbridge that was built with the feature `otlp`.
    #[serde(deserialize_with = "values::otlp")]
    pub otlp: Option<HttpUrl>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `pretty` on a terminal, else `json`.
    #[default]
    Auto,
    Pretty,
    Json,
}

/// One API inbox of the help desk.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// Where the help desk's API answers.
    pub url: HttpUrl,
    #[schemars(range(min = 1))]
    pub account_id: u64,
    #[schemars(range(min = 1))]
    pub inbox_id: u64,
    /// Sent with every call.
    pub api_access_token: Secret,
    /// The inbox's `secret`, which signs callbacks. Left out, it is read from the inbox with an administrator's token.
    pub callback_secret: Option<Secret>,
    /// The one before it, for as long as it is being changed: callbacks that either of them signed are taken.
    pub callback_secret_before: Option<Secret>,
    /// For Chatwoot before 4.13, which signs nothing: callbacks then come to /callbacks/NAME/TOKEN.
    pub callback_path_token: Option<Secret>,
    /// Requests to the inbox at once.
    #[serde(default = "defaults::concurrency")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: usize,
    /// Whether template messages (greetings, surveys) go out like an agent's.
    #[serde(default = "defaults::send_templates")]
    pub send_templates: bool,
    /// How long after an unanswered request the inbox may still finish it.
    #[serde(default = "defaults::settle_seconds")]
    #[schemars(range(min = 1, max = 600))]
    pub settle_seconds: u64,
    /// How long a fresh reply waits for an elder one.
    #[serde(default = "defaults::callback_grace_millis")]
    #[schemars(range(min = 0, max = 10000))]
    pub callback_grace_millis: u64,
    /// How often the inbox is asked for replies whose callback did not come.
    #[serde(default = "defaults::sweep_seconds")]
    #[schemars(range(min = 5, max = 86400))]
    pub sweep_seconds: u64,
    /// How many requests a minute that may take.
    #[serde(default = "defaults::sweep_requests_per_minute")]
    #[schemars(range(min = 1, max = 60000))]
    pub sweep_requests_per_minute: u32,
    /// What becomes of a reply that is found too late.
    #[serde(default)]
    pub late_reply: LateReply,
    /// How long after it was written a reply that is found is too late.
    #[serde(default = "defaults::late_reply_seconds")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub late_reply_seconds: u64,
    /// How large a file from a network may be, and all files of one message together.
    #[serde(default = "defaults::attachment_bytes_max")]
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub attachment_bytes_max: u64,
}

/// What an inbox and a bridge are where the settings say nothing else.
pub(crate) mod defaults {
    pub(crate) fn concurrency() -> usize {
        4
    }
    pub(crate) fn send_templates() -> bool {
        true
    }
    pub(crate) fn settle_seconds() -> u64 {
        20
    }
    pub(crate) fn callback_grace_millis() -> u64 {
        250
    }
    pub(crate) fn sweep_seconds() -> u64 {
        60
    }
    /// A fifth of what Chatwoot takes from one address.
    pub(crate) fn sweep_requests_per_minute() -> u32 {
        600
    }
    pub(crate) fn late_reply_seconds() -> u64 {
        24 * 3600
    }
    /// With one more a second, no conversation gets the 200 messages a minute that Chatwoot refuses.
    pub(crate) fn peer_burst() -> u32 {
        120
    }
    pub(crate) fn peer_pause_millis() -> u32 {
        1000
    }
    /// Whoever begins one every three minutes is no person with questions.
    pub(crate) fn new_per_peer_hour() -> u32 {
        20
    }
    /// More than any desk could answer.
    pub(crate) fn new_per_day() -> u32 {
        5000
    }
    /// Chatwoot's usual limit.
    pub(crate) fn attachment_bytes_max() -> u64 {
        40 << 20
    }
}

/// What becomes of a reply that was found long after it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LateReply {
    /// It is kept for an operator to send, and the agent is told.
    #[default]
    Hold,
    /// The agent is told.
    Fail,
}

/// One bridge: what the gateway must know of it, and the bridge itself, made but not started.
#[derive(Clone)]
pub struct BridgeEntry {
    pub kind: String,
    /// A name in [`Settings::inboxes`].
    pub inbox: String,
    pub when_in_doubt: WhenInDoubt,
    /// Messages of one thread that go to the inbox at once, and the pause before each further one; 0 for no limit.
    pub peer_burst: u32,
    pub peer_pause_millis: u32,
    /// New conversations of one peer or host in an hour, and of all in a day; 0 for no limit.
    pub new_per_peer_hour: u32,
    pub new_per_day: u32,
    /// Masks of who is not let in.
    pub blocked: Vec<String>,
    pub bridge: Arc<dyn Bridge>,
}

impl fmt::Debug for BridgeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BridgeEntry");
        shown.field("kind", &self.kind).field("inbox", &self.inbox).field("when_in_doubt", &self.when_in_doubt);
        shown.finish_non_exhaustive()
    }
}

/// What to do when the network cannot say whether a line was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenInDoubt {
    /// Send it again: perhaps twice, surely once.
    #[default]
    Repeat,
    /// Tell the agent: perhaps not at all, surely not twice.
    Fail,
}
