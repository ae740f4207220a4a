//! Postfix, an inbox and the gateway between them; or the gateway between Postfix and a relay that misbehaves.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    gateway::Gateway,
    peers::{
        self,
        postfix::{HandIn, OURS, Postfix},
        swaks::{Mail, Swaks},
    },
    process::free_port,
    sandbox::{Conversation, Desk, Sandbox},
    wait::{PATIENCE, until, until_within},
};

/// The agent of every sandbox.
pub(crate) const AGENT: &str = "Grace";
/// The desk's own address, and who answers come from.
pub(crate) const HELP: &str = "help@support.test";
pub(crate) const COMPANY: &str = "Acme Support";
/// A customer with a mailbox.
pub(crate) const ADA: &str = "ada@cust.test";

#[derive(Debug)]
pub(crate) struct World {
    // Dropped in this order: the gateway's log should end before its peers do.
    pub(crate) gateway: Gateway,
    pub(crate) sandbox: Sandbox,
    pub(crate) postfix: Postfix,
    /// Where the gateway takes mail without anybody in front.
    pub(crate) port: u16,
    folder: TempDir,
}

/// Who takes what the gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Postfix,
    /// By STARTTLS, and only if its certificate is the right one.
    PostfixTls,
    /// Somebody on this port.
    Port(u16),
}

/// The lines of a bridge's table but for what a test wants otherwise. `relay` are the keys of its table.
pub(crate) fn lines(listener: &str, port: u16, relay: &str) -> String {
    format!(
        "kind = \"smtp\"\n{listener} = \"127.0.0.1:{port}\"\nhostname = \"desk.{OURS}\"\n\
         addresses = [\"{HELP}\", \"@{OURS}\"]\nfrom = \"{COMPANY} <{HELP}>\"\nverify = \"off\"\n\
         trusted_clients = [\"127.0.0.1\"]\n\
         relay = {{ host = \"127.0.0.1\", {relay} }}\n"
    )
}

/// A sandbox that calls the gateway back, and a gateway that is not started.
pub(crate) fn desk_and_gateway(folder: &Path, bridge: &str) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(folder);
    let inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
    let gateway = Gateway::with_bridge(folder, &inbox, bridge);
    sandbox.call_back(&gateway.callback_url());
    (sandbox, gateway)
}

impl World {
    /// `None` where there is no Postfix, after saying so.
    pub(crate) fn start(hand_in: HandIn) -> Option<Self> {
        Self::with(hand_in, Behind::Postfix, "")
    }

    /// With more lines of the bridge's table.
    pub(crate) fn with(hand_in: HandIn, behind: Behind, more: &str) -> Option<Self> {
        Postfix::present().then(|| {
            let (folder, port) = (peers::folder(), free_port());
            let postfix = Postfix::start(hand_in, port);
            let listener = match hand_in {
                HandIn::Smtp => "listen",
                HandIn::Lmtp => "listen_lmtp",
            };
            let plain = |port: u16| format!("port = {port}, security = \"none\"");
            let relay = match behind {
                Behind::Postfix => plain(postfix.smarthost),
                Behind::Port(port) => plain(port),
                Behind::PostfixTls => {
                    let (port, ca) = (postfix.smarthost, postfix.certificate());
                    format!("port = {port}, security = \"starttls\", ca_file = \"{}\"", ca.display())
                }
            };
            let bridge = lines(listener, port, &relay);
            let (sandbox, gateway) = desk_and_gateway(folder.path(), &format!("{bridge}{more}"));
            let mut world = Self { gateway, sandbox, postfix, port, folder };
            world.come_up();
            world
        })
    }

    /// Also as after a crash or a stop: on the same data, port and settings.
    pub(crate) fn come_up(&mut self) {
        self.gateway.start();
        self.gateway.until_on_network();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends it through Postfix, as a stranger on the internet would.
    pub(crate) fn receive(&self, mail: &Mail) {
        Swaks::to(self.postfix.front).send(mail);
    }

    /// The only conversation whose last message of the customer holds these words.
    pub(crate) fn conversation(&self, words: &str) -> Conversation {
        until(&format!("`{words}` at the inbox"), || {
            let desk = self.sandbox.desk();
            let last =
                |conversation: &&Conversation| conversation.incoming().last().is_some_and(|text| text.contains(words));
            let found: Vec<_> = desk.conversations.iter().filter(last).collect();
            assert!(found.len() < 2, "`{words}` is in several conversations: {found:?}");
            found.first().map(|found| (*found).clone()).ok_or_else(|| format!("{:?}", desk.conversations))
        })
    }

    /// Returns the inbox once it holds so many messages of customers.
    pub(crate) fn until_incoming(&self, count: usize) -> Desk {
        until_within(PATIENCE * 5, &format!("{count} messages at the inbox"), || {
            let desk = self.sandbox.desk();
            let found = desk.incoming().count();
            if found >= count { Ok(desk) } else { Err(format!("{found} messages")) }
        })
    }

    /// Returns once nothing waits in the outbox.
    pub(crate) fn until_idle(&self) {
        until_within(PATIENCE * 2, "nothing to wait", || {
            let waiting = self.gateway.waiting();
            if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
        });
    }
}
