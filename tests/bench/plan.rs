//! The gateway under measurement: one inbox, one IRC bridge, SQLite on the disk.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bridge_api::{Bridge, BridgeName, Kind, Secret};
use bridge_irc::Irc;
use deskbridge::{
    chatwoot::{AccountId, Client, ClientSettings, InboxId},
    gateway::{BridgePlan, Gateway, InboxPlan, Plan},
    model::{InboxName, Pace, gate::GateRules},
    policy::WhenInDoubt,
    store::{Place, SqliteStore, Store},
};

use crate::load::SECRET;

pub(crate) const ADMIN_TOKEN: &str = "operator";
pub(crate) const CONCURRENCY: usize = 32;

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

/// A bridge named `net` to a server on this port, as fast as the server takes it.
pub(crate) fn irc(port: u16) -> Arc<dyn Bridge> {
    let table = serde_json::json!({
        "server": "127.0.0.1", "port": port, "tls": false, "nick": "help",
        "pace": { "burst": 1000, "per_second": 1000.0 },
    });
    let settings = serde_json::from_value(table).expect("good settings");
    Irc::build(BridgeName::from("net"), settings).expect("usable settings")
}

pub(crate) fn client_settings(inbox: SocketAddr) -> ClientSettings {
    let url = format!("http://{inbox}").parse().expect("an address");
    ClientSettings {
        concurrency: CONCURRENCY,
        ..ClientSettings::new(url, AccountId(1), InboxId(7), Secret::new("demo-token"))
    }
}

pub(crate) fn client(inbox: SocketAddr) -> Client {
    Client::new(client_settings(inbox)).expect("good settings")
}

pub(crate) async fn gateway(folder: &Path, inbox: SocketAddr, bridge: Arc<dyn Bridge>) -> (Gateway, Arc<dyn Store>) {
    gateway_of(folder, inbox, vec![("net", bridge)], None).await
}

pub(crate) async fn gateway_of(
    folder: &Path,
    inbox: SocketAddr,
    bridges: Vec<(&str, Arc<dyn Bridge>)>,
    peer_pace: Option<Pace>,
) -> (Gateway, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&Place::in_dir(folder)).expect("the folder can be written"));
    let inbox = InboxPlan {
        callback_secret: Some(Secret::new(SECRET)),
        ..InboxPlan::new(InboxName::new("support"), client_settings(inbox))
    };
    let bridges = bridges.into_iter().map(|(name, bridge)| {
        let (inbox, when_in_doubt) = (InboxName::new("support"), WhenInDoubt::Repeat);
        BridgePlan { name: name.into(), inbox, when_in_doubt, peer_pace, gate: GateRules::default(), bridge }
    });
    let plan = Plan {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        data_dir: folder.to_owned(),
        admin_token: Some(Secret::new(ADMIN_TOKEN)),
        admin_hosts: Vec::new(),
        stop_limit: Duration::from_secs(20),
        retention: Duration::from_hours(24),
        inboxes: vec![inbox],
        bridges: bridges.collect(),
    };
    (Gateway::start(plan, store.clone()).await.expect("the gateway starts"), store)
}
