//! A homeserver, an inbox and the gateway between them, in each of the ways in which a gateway can be told of events.

use std::time::Duration;

use tempfile::TempDir;

use crate::{
    gateway::Gateway,
    peers::{
        self,
        as_proxy::{AsProxy, Dialect},
        customer::{Customer, Seen},
        faulty::Faulty,
        synapse::{Appservice, SERVER_NAME, Synapse},
    },
    sandbox::{Desk, Sandbox},
    wait::{PATIENCE, until_within},
};

/// The agent of every sandbox.
pub(crate) const AGENT: &str = "Grace";

/// How the gateway is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Appservice,
    Websocket(Dialect),
    /// An account like anybody's.
    Sync,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] =
        [Self::Appservice, Self::Websocket(Dialect::Wsproxy), Self::Websocket(Dialect::Asmux), Self::Sync];

    /// Only an appservice can write as somebody else.
    pub(crate) fn has_ghosts(self) -> bool {
        self != Self::Sync
    }
}

#[derive(Debug)]
pub(crate) struct World {
    // Dropped in this order: the gateway's log should end before its peers do.
    pub(crate) gateway: Gateway,
    pub(crate) sandbox: Sandbox,
    /// In websocket mode.
    proxy: Option<AsProxy>,
    /// Between the gateway and the homeserver.
    pub(crate) balancer: Faulty,
    /// Between the gateway and the inbox, where a test wants to see the calls.
    pub(crate) desk_calls: Faulty,
    pub(crate) service: Appservice,
    /// Whom customers write to.
    pub(crate) support: String,
    _folder: TempDir,
}

/// A customer in a conversation.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) customer: Customer,
    pub(crate) room: String,
    pub(crate) conversation: u64,
}

impl World {
    /// `None` where there is no Synapse, after saying so.
    pub(crate) fn shared(mode: Mode) -> Option<Self> {
        Synapse::present().then(|| Self::on(Synapse::shared(), mode))
    }

    /// The gateway is up when this returns.
    pub(crate) fn on(server: &Synapse, mode: Mode) -> Self {
        let mut world = Self::unstarted(server, mode, false);
        world.start();
        world
    }

    /// With the calls of the inbox in [`World::desk_calls`].
    pub(crate) fn watched(mode: Mode) -> Option<Self> {
        Synapse::present().then(|| {
            let mut world = Self::unstarted(Synapse::shared(), mode, true);
            world.start();
            world
        })
    }

    pub(crate) fn unstarted(server: &Synapse, mode: Mode, watched: bool) -> Self {
        let folder = peers::folder();
        let (service, balancer) = (server.appservice(), Faulty::to(&server.url()));
        let proxy = match mode {
            Mode::Websocket(dialect) => Some(AsProxy::start(dialect, &balancer.url(), std::slice::from_ref(&service))),
            Mode::Appservice | Mode::Sync => None,
        };
        let sandbox = Sandbox::start(folder.path());
        let desk_calls = Faulty::to(&sandbox.url);
        let mut inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
        if watched {
            inbox = inbox.replace(&sandbox.url, &desk_calls.url());
        }
        let (lines, support) = match mode {
            Mode::Sync => {
                let account = server.register("support");
                (format!("mode = \"sync\"\naccess_token = \"{}\"\n", account.token), account.user)
            }
            Mode::Appservice => {
                let listen = format!("mode = \"appservice\"\nlisten = \"127.0.0.1:{}\"\n", service.port);
                (format!("{listen}{}", ours(&service)), service.user("support"))
            }
            Mode::Websocket(_) => (format!("mode = \"websocket\"\n{}", ours(&service)), service.user("support")),
        };
        let homeserver = addresses(mode, &balancer, proxy.as_ref());
        let bridge = format!("kind = \"matrix\"\nserver_name = \"{SERVER_NAME}\"\n{homeserver}{lines}");
        let gateway = Gateway::with_bridge(folder.path(), &inbox, &bridge);
        sandbox.call_back(&gateway.callback_url());
        Self { gateway, sandbox, proxy, balancer, desk_calls, service, support, _folder: folder }
    }

    /// Also as after a crash or a stop: on the same data, port and settings.
    pub(crate) fn start(&mut self) {
        self.gateway.start();
        self.gateway.until_on_network();
    }

    pub(crate) fn proxy(&self) -> &AsProxy {
        self.proxy.as_ref().expect("in websocket mode")
    }

    pub(crate) fn proxy_mut(&mut self) -> &mut AsProxy {
        self.proxy.as_mut().expect("in websocket mode")
    }

    /// Somebody whose first message has arrived.
    pub(crate) fn guest(&self, server: &Synapse, name: &str) -> Guest {
        let mut customer = Customer::of(server, name);
        customer.set_name(name);
        let room = customer.dm(&self.support);
        customer.until_joined(&room, &self.support);
        customer.say(&room, "hello");
        let conversation = self.sandbox.conversation(name, "hello").id;
        Guest { customer, room, conversation }
    }

    /// Returns once nothing waits in the outbox.
    pub(crate) fn until_idle(&self) {
        until_within(PATIENCE * 2, "nothing to wait", || {
            let waiting = self.gateway.waiting();
            if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
        });
    }

    /// Returns the inbox once it holds so many messages of customers.
    pub(crate) fn until_incoming(&self, count: usize) -> Desk {
        until_within(PATIENCE * 3, &format!("{count} messages at the inbox"), || {
            let desk = self.sandbox.desk();
            let found: Vec<_> = desk.incoming().map(|message| message.text().to_owned()).collect();
            if found.len() >= count { Ok(desk) } else { Err(format!("{found:?}")) }
        })
    }
}

impl Guest {
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.customer.say(&self.room, text)
    }

    /// Returns the agent's message with this text, under whatever name it comes.
    pub(crate) fn hears(&mut self, text: &str) -> Seen {
        let (room, own) = (self.room.clone(), self.customer.user().to_owned());
        self.customer.wait_for(&format!("`{text}` in {room}"), |seen| {
            seen.room == room && seen.sender() != own && without_name(seen.body()) == text
        })
    }

    /// What agents said in this room, oldest first, as the homeserver keeps it. Notices are the gateway's own.
    pub(crate) fn texts_of_agents(&self, server: &Synapse) -> Vec<String> {
        let history = server.history(&self.customer.account.token, &self.room);
        let of_agents = history
            .iter()
            .filter(|event| event["sender"] != self.customer.user() && event["content"]["msgtype"] == "m.text");
        of_agents
            .filter_map(|event| event["content"]["body"].as_str())
            .map(|text| without_name(text).to_owned())
            .collect()
    }
}

/// Who cannot write as the agent writes the name before the text.
pub(crate) fn without_name(text: &str) -> &str {
    text.strip_prefix(AGENT).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text)
}

/// Lines of the bridge's table that name an appservice.
pub(crate) fn ours(service: &Appservice) -> String {
    let Appservice { as_token, hs_token, namespace, .. } = service;
    format!(
        "as_token = \"{as_token}\"\nhs_token = \"{hs_token}\"\nuser = \"{namespace}support\"\nnamespace = \"{namespace}\"\n"
    )
}

/// With one address for everything where the proxy stands for the homeserver as well.
fn addresses(mode: Mode, balancer: &Faulty, proxy: Option<&AsProxy>) -> String {
    match (mode, proxy) {
        (Mode::Websocket(Dialect::Wsproxy), Some(proxy)) => {
            format!("homeserver_url = \"{}\"\nwebsocket_url = \"{}\"\n", balancer.url(), proxy.websocket_url())
        }
        (Mode::Websocket(Dialect::Asmux), Some(proxy)) => format!("homeserver_url = \"{}\"\n", proxy.url()),
        (Mode::Websocket(_) | Mode::Appservice | Mode::Sync, _) => format!("homeserver_url = \"{}\"\n", balancer.url()),
    }
}

/// A minute is meant; what matters is longer than every first retry. `DESKBRIDGE_E2E_OUTAGE_SECONDS=60` for the rest.
pub(crate) fn outage() -> Duration {
    Duration::from_secs(crate::outages::outage_seconds())
}
