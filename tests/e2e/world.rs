//! A network, an inbox and the gateway between them, each a process of its own, none shared with another test.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

use crate::{
    gateway::Gateway,
    irc::Person,
    peers::{
        self,
        inspircd::Inspircd,
        ngircd::{Flood, Ngircd},
    },
    sandbox::Sandbox,
};

/// Lets only one of the heavy tests run at a time.
static HEAVY: Mutex<()> = Mutex::new(());

pub(crate) fn heavy() -> MutexGuard<'static, ()> {
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct World<N> {
    // Dropped in this order: the gateway's log should end before its peers do.
    pub(crate) gateway: Gateway,
    pub(crate) sandbox: Sandbox,
    pub(crate) network: N,
    _folder: TempDir,
}

/// As fast as the server lets us.
pub(crate) const FAST: &str = "pace = { burst = 50, per_second = 100 }\n";

impl World<Ngircd> {
    /// `None` where there is no ngIRCd, after saying so. `bridge` are further lines of the bridge's table.
    pub(crate) fn on_ngircd(flood: Flood, bridge: &str) -> Option<Self> {
        Ngircd::present().then(|| {
            let network = Ngircd::start(flood);
            let lines = format!("port = {}\ntls = false\n{bridge}", network.port);
            Self::around(network, &lines)
        })
    }

    pub(crate) fn person(&self, nick: &str) -> Person {
        Person::join(self.network.address(), nick)
    }
}

impl World<Inspircd> {
    /// `bridge` makes the further lines of the bridge's table.
    pub(crate) fn on_inspircd(prepare: impl FnOnce(&Inspircd) -> String) -> Option<Self> {
        Inspircd::present().then(|| {
            let network = Inspircd::start();
            let lines = prepare(&network);
            Self::around(network, &lines)
        })
    }

    pub(crate) fn person(&self, nick: &str) -> Person {
        Person::join(self.network.address(), nick)
    }
}

impl<N> World<N> {
    pub(crate) fn around(network: N, bridge: &str) -> Self {
        let folder = peers::folder();
        let (sandbox, mut gateway) = desk_and_gateway(folder.path(), bridge);
        gateway.start();
        gateway.until_on_network();
        Self { gateway, sandbox, network, _folder: folder }
    }

    /// As after a crash or a stop: on the same data, port and settings.
    pub(crate) fn start_again(&mut self) {
        self.gateway.start();
        self.gateway.until_on_network();
    }
}

/// A sandbox that calls the gateway back, and a gateway that is not started.
pub(crate) fn desk_and_gateway(folder: &Path, bridge: &str) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(folder);
    let inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
    let gateway = Gateway::new(folder, &inbox, bridge);
    sandbox.call_back(&gateway.callback_url());
    (sandbox, gateway)
}
