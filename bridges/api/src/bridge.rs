//! Three verbs and two facts: all that an adapter implements, and a fourth verb for one whose network comes to it.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    Attachment, BridgeName, Caller, Capabilities, Cursor, EventId, Examination, Fault, File, Findings, Host, Landing,
    Outbound, Part, Peer, Reply, Sent, SettingsFault, ThreadId,
};

/// One configured connection to a network.
#[async_trait]
pub trait Bridge: Send + Sync + 'static {
    /// What this network can do, as known now. Cheap.
    fn capabilities(&self) -> Capabilities;

    /// Cuts an agent's message into the effects that show it, in order: texts that fit, then one part
    /// for each attachment. Pure and quick; called once for each message, before it is stored.
    fn parts(&self, _thread: &ThreadId, reply: Reply) -> Vec<Part> {
        crate::content::plain_parts(reply, self.capabilities().text_bytes_max)
    }

    /// The host is there. Told once, before anything else is asked for, and also where another replica of the gateway
    /// [runs](Self::run) it: its files may be opened here.
    fn meet(&self, _host: &Host) {}

    /// Stays connected, hands events to `host`, reconnects by itself, returns when `stop` fires.
    ///
    /// An error means that it cannot go on by itself: the gateway shows it and starts it again, paced.
    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault>;

    /// Takes in what may be brought to any replica of the gateway: keeps it in a [`Spool`](crate::Spool), acknowledges it,
    /// and leaves it for [`run`](Self::run), which goes on in one of them, perhaps in this one. Asked for where the
    /// placement is [`EveryReplica`](crate::Placement::EveryReplica), unless an operator has paused the bridge there;
    /// returns when `stop` fires.
    ///
    /// An error means the same as one of `run`. The state that `host` is told is that of the listener.
    async fn listen(&self, _host: Host, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }

    /// Causes one effect. `out.key` is the same at every attempt. Never retries. Dropping the future
    /// is allowed and leaves the outcome unknown.
    async fn send(&self, out: &Outbound) -> Result<Sent, Fault>;

    /// Says whether an earlier `send` of this key took effect. `None` means surely not;
    /// [`FaultKind::Unknown`](crate::FaultKind::Unknown) means that the network cannot tell.
    async fn probe(&self, out: &Outbound) -> Result<Option<Sent>, Fault>;

    /// Opens a file that only the network holds ([`Holder::Network`](crate::Holder::Network)), from its
    /// beginning. May be asked more than once for the same one.
    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        Err(Fault::refused(format!("the network keeps no file {:?}", attachment.name)))
    }

    /// Shows the peer that an agent is typing, or no longer is. Worthless a moment later, so it is tried
    /// once and never kept.
    async fn typing(&self, _thread: &ThreadId, _typing: bool) {}

    /// What the network's operator has to install for this bridge, as the text of a file.
    fn registration(&self) -> Result<String, Fault> {
        Err(Fault::refused("this kind of bridge needs no registration"))
    }

    /// Looks at everything that this bridge needs on its network, for `deskbridge doctor`: each check is one finding.
    /// Never speaks to a peer and changes nothing; may be dropped after half a minute. Not called on a bridge that runs.
    async fn examine(&self, _how: Examination, findings: &Findings) {
        findings.skipped("the network", "this kind of bridge has no checks of its own");
    }

    /// Who this is to the limits of new conversations and to the list of blocked people. `None` where the bridge asks by
    /// [`Host::admit`] itself, before it acknowledges a message to the network.
    fn caller(&self, thread: &ThreadId, peer: &Peer) -> Option<Caller> {
        Some(Caller::of(thread, peer))
    }

    /// The beginning of the names of those cursors that say who is in which thread, for whoever looks for a person.
    fn people(&self) -> Option<&'static str> {
        None
    }

    /// Of such a cursor: the names and addresses by which the person may be looked for, and a word that the names of
    /// their threads hold.
    fn person(&self, _cursor: &Cursor) -> Option<(Vec<String>, String)> {
        None
    }

    /// These cursors were removed because their person is to be forgotten: whatever was read from them or stands for
    /// them in memory goes as well. Returns once it has. Nothing is written in answer.
    async fn forget(&self, _cursors: &[String]) {}

    /// Says what became of a reported message on its way to the inbox. Cheap; may be told more than once
    /// or, after a crash, not at all.
    fn landed(&self, _event: &EventId, _landing: Landing) {}
}

/// What a crate offers to the registry.
pub trait Kind {
    /// The word in `kind = "..."`.
    const NAME: &'static str;
    /// The adapter's own table, beside `kind` and `inbox`. Unknown keys are refused.
    type Settings: DeserializeOwned + JsonSchema;
    /// Checks the settings and makes the bridge. No I/O but reading files that the settings name.
    fn build(name: BridgeName, settings: Self::Settings) -> Result<Arc<dyn Bridge>, SettingsFault>;
}
