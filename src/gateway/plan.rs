//! What a gateway is made of: settings that were read, or the parts that a test puts together.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bridge_api::{Bridge, BridgeName, Secret};

use crate::{chatwoot::ClientSettings, model::InboxName, policy::WhenInDoubt};

/// Sessions kept in memory, over all inboxes.
pub const SESSIONS_MAX: usize = 100_000;

pub struct Plan {
    /// Callbacks, health, and for operators.
    pub listen: SocketAddr,
    /// Holds the control socket; the store has its files there too.
    pub data_dir: PathBuf,
    pub admin_token: Option<Secret>,
    /// Attempts under way may finish within this time after a stop.
    pub stop_limit: Duration,
    /// Finished work is forgotten after this time.
    pub retention: Duration,
    pub inboxes: Vec<InboxPlan>,
    pub bridges: Vec<BridgePlan>,
}

pub struct InboxPlan {
    pub name: InboxName,
    pub client: ClientSettings,
    /// Left out, and without a path token, it is read from the inbox.
    pub callback_secret: Option<Secret>,
    pub callback_path_token: Option<Secret>,
    pub send_templates: bool,
    /// How long after its start an unanswered request may still take effect.
    pub settle: Duration,
    /// How long a fresh reply waits for an elder one.
    pub callback_grace: Duration,
}

pub struct BridgePlan {
    pub name: BridgeName,
    pub inbox: InboxName,
    pub when_in_doubt: WhenInDoubt,
    pub bridge: Arc<dyn Bridge>,
}
