//! What a gateway is made of: settings that were read, or the parts that a test puts together.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bridge_api::{Bridge, BridgeName, Secret};

use crate::{
    chatwoot::{AccountId, ClientSettings, InboxId},
    model::{
        InboxName, Pace,
        gate::{GateRules, Masks},
    },
    policy::WhenInDoubt,
    settings::{self, Settings, StoreUrl, defaults},
    store::{Location, Place, PostgresPlace, Tls},
};

pub use crate::intake::{Late, WhenLate};

/// Sessions kept in memory, over all inboxes.
pub const SESSIONS_MAX: usize = 100_000;

pub struct Plan {
    /// Callbacks, health, and for operators.
    pub listen: SocketAddr,
    /// Holds the control socket; the store has its files there too.
    pub data_dir: PathBuf,
    pub admin_token: Option<Secret>,
    /// Names under which the status page answers, beside its address.
    pub admin_hosts: Vec<String>,
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
    /// Beside it, as long as it is being changed.
    pub callback_secret_before: Option<Secret>,
    pub callback_path_token: Option<Secret>,
    pub send_templates: bool,
    /// How long after its start an unanswered request may still take effect.
    pub settle: Duration,
    /// How long a fresh reply waits for an elder one.
    pub callback_grace: Duration,
    /// How often the inbox is asked for what no callback told, and how many requests a minute that may take.
    pub sweep_every: Duration,
    pub sweep_requests_per_minute: u32,
    pub late: Late,
    /// How large a file may be, and all files of one message together.
    pub attachment_bytes_max: u64,
}

#[derive(Clone)]
pub struct BridgePlan {
    pub name: BridgeName,
    pub inbox: InboxName,
    pub when_in_doubt: WhenInDoubt,
    /// How fast each thread may fill the inbox, where that has a limit.
    pub peer_pace: Option<Pace>,
    /// Who may begin a conversation, and how often.
    pub gate: GateRules,
    pub bridge: Arc<dyn Bridge>,
}

impl Plan {
    /// What the settings ask for.
    pub fn of(settings: &Settings) -> Self {
        let gateway = &settings.gateway;
        Self {
            listen: gateway.listen,
            data_dir: gateway.data_dir.clone(),
            admin_token: gateway.admin_token.clone(),
            admin_hosts: admin_hosts(gateway),
            stop_limit: Duration::from_secs(gateway.stop_seconds),
            retention: Duration::from_secs(gateway.retention_days * 24 * 3600),
            inboxes: settings.inboxes.iter().map(|(name, inbox)| InboxPlan::of(name, inbox)).collect(),
            bridges: settings.bridges.iter().map(|(name, entry)| BridgePlan::of(name, entry)).collect(),
        }
    }
}

impl InboxPlan {
    /// As it is where the settings say nothing else.
    pub fn new(name: InboxName, client: ClientSettings) -> Self {
        Self {
            name,
            client,
            callback_secret: None,
            callback_secret_before: None,
            callback_path_token: None,
            send_templates: defaults::send_templates(),
            settle: Duration::from_secs(defaults::settle_seconds()),
            callback_grace: Duration::from_millis(defaults::callback_grace_millis()),
            sweep_every: Duration::from_secs(defaults::sweep_seconds()),
            sweep_requests_per_minute: defaults::sweep_requests_per_minute(),
            late: late(settings::LateReply::default(), defaults::late_reply_seconds()),
            attachment_bytes_max: defaults::attachment_bytes_max(),
        }
    }

    fn of(name: &str, inbox: &settings::Inbox) -> Self {
        Self {
            callback_secret: inbox.callback_secret.clone(),
            callback_secret_before: inbox.callback_secret_before.clone(),
            callback_path_token: inbox.callback_path_token.clone(),
            send_templates: inbox.send_templates,
            settle: Duration::from_secs(inbox.settle_seconds),
            callback_grace: Duration::from_millis(inbox.callback_grace_millis),
            sweep_every: Duration::from_secs(inbox.sweep_seconds),
            sweep_requests_per_minute: inbox.sweep_requests_per_minute,
            late: late(inbox.late_reply, inbox.late_reply_seconds),
            attachment_bytes_max: inbox.attachment_bytes_max,
            ..Self::new(InboxName::new(name), client_of(inbox))
        }
    }
}

/// Where an inbox of the settings is, and how to ask it.
pub fn client_of(inbox: &settings::Inbox) -> ClientSettings {
    let (account, id) = (AccountId(inbox.account_id as i64), InboxId(inbox.inbox_id as i64));
    let client = ClientSettings::new(inbox.url.url().clone(), account, id, inbox.api_access_token.clone());
    ClientSettings { concurrency: inbox.concurrency, ..client }
}

/// Whoever reaches us by the name that Chatwoot knows means us.
fn admin_hosts(gateway: &settings::Gateway) -> Vec<String> {
    let public = gateway.public_url.as_ref().and_then(|url| url.url().host_str()).map(str::to_owned);
    gateway.admin_hosts.iter().map(|host| host.as_str().to_owned()).chain(public).collect()
}

fn late(then: settings::LateReply, after_seconds: u64) -> Late {
    let then = match then {
        settings::LateReply::Hold => WhenLate::Hold,
        settings::LateReply::Fail => WhenLate::Fail,
    };
    Late { after_millis: after_seconds as i64 * 1000, then }
}

impl BridgePlan {
    pub(super) fn of(name: &BridgeName, entry: &settings::BridgeEntry) -> Self {
        Self {
            name: name.clone(),
            inbox: InboxName::new(entry.inbox.as_str()),
            when_in_doubt: match entry.when_in_doubt {
                settings::WhenInDoubt::Repeat => WhenInDoubt::Repeat,
                settings::WhenInDoubt::Fail => WhenInDoubt::Fail,
            },
            peer_pace: Pace::new(entry.peer_burst, entry.peer_pause_millis),
            gate: GateRules {
                per_peer_hour: entry.new_per_peer_hour,
                per_day: entry.new_per_day,
                blocked: Masks::new(entry.blocked.iter().map(String::as_str)),
            },
            bridge: entry.bridge.clone(),
        }
    }
}

/// Where the settings put the store.
pub fn location_of(settings: &Settings) -> Location {
    location(&settings.store.url, &settings.gateway.data_dir)
}

/// The same of another address.
pub fn location(url: &StoreUrl, data_dir: &Path) -> Location {
    match url {
        StoreUrl::Sqlite(database) => Location::Sqlite(Place { database: database.clone(), ..Place::in_dir(data_dir) }),
        StoreUrl::Postgres(url) => {
            let settings::PostgresUrl { config, schema, sslmode, sslrootcert } = (**url).clone();
            let tls = match sslmode {
                settings::SslMode::Disable => Tls::Disable,
                settings::SslMode::Prefer => Tls::Prefer,
                settings::SslMode::Require => Tls::Require,
                settings::SslMode::VerifyCa => Tls::VerifyCa,
                settings::SslMode::VerifyFull => Tls::VerifyFull,
            };
            let data_dir = Some(data_dir.to_owned());
            Location::Postgres(Box::new(PostgresPlace { config, schema, tls, ca_file: sslrootcert, data_dir }))
        }
    }
}
