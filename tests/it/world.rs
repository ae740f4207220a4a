//! One gateway, one sandbox inbox, and a network that the test itself plays.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bridge_api::{
    Attachment, Bridge, BridgeName, BridgeState, CancellationToken, Capabilities, EventId, Fault, File, Host, Inbound,
    Landing, Message, Outbound, Part, Peer, Report, Secret, Sent, Speaker, ThreadId, async_trait,
};
use deskbridge::{
    chatwoot::{AccountId, ClientSettings, InboxId},
    clock,
    gateway::{BridgePlan, Gateway, InboxPlan, Plan},
    model::{InboxName, gate::GateRules},
    policy::WhenInDoubt,
    sandbox::{Sandbox, SandboxSettings},
    store::{MemoryStore, Store},
};
use serde_json::Value;
use tokio::sync::watch;

/// Whatever a test waits for must come within this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const SECRET: &str = "demo-callback-secret";

/// A network played by the test.
pub(crate) struct Played {
    host: watch::Sender<Option<Host>>,
    sent: watch::Sender<Vec<Outbound>>,
    script: Mutex<VecDeque<Result<Sent, Fault>>>,
    files: Mutex<VecDeque<Result<File, Fault>>>,
    landed: watch::Sender<Vec<(String, Landing)>>,
    typing: watch::Sender<Vec<(String, bool)>>,
    shows_no_typing: AtomicBool,
}

impl Played {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            host: watch::channel(None).0,
            sent: watch::channel(Vec::new()).0,
            script: Mutex::default(),
            files: Mutex::default(),
            landed: watch::channel(Vec::new()).0,
            typing: watch::channel(Vec::new()).0,
            shows_no_typing: AtomicBool::new(false),
        })
    }

    /// From now on typing is never shown, and whoever waits for that waits for ever.
    pub(crate) fn show_no_typing(&self) {
        self.shows_no_typing.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn wait_for_typing(&self, count: usize) -> Vec<(String, bool)> {
        let mut typing = self.typing.subscribe();
        let there = tokio::time::timeout(DEADLINE, typing.wait_for(|typing| typing.len() >= count)).await;
        there.expect("the bridge is told who types").unwrap().clone()
    }

    /// The next file that is asked for is this one.
    pub(crate) fn will_open(&self, file: Result<File, Fault>) {
        self.files.lock().unwrap().push_back(file);
    }

    pub(crate) async fn wait_for_landings(&self, count: usize) -> Vec<(String, Landing)> {
        let mut landed = self.landed.subscribe();
        let there = tokio::time::timeout(DEADLINE, landed.wait_for(|landed| landed.len() >= count)).await;
        there.expect("the bridge is told where its messages landed").unwrap().clone()
    }

    /// The next effect ends so.
    pub(crate) fn will(&self, outcome: Result<Sent, Fault>) {
        self.script.lock().unwrap().push_back(outcome);
    }

    pub(crate) async fn host(&self) -> Host {
        let mut host = self.host.subscribe();
        let host = tokio::time::timeout(DEADLINE, host.wait_for(Option::is_some)).await.expect("the bridge runs");
        host.unwrap().clone().unwrap()
    }

    /// Texts that were sent to a thread.
    pub(crate) fn texts(&self, thread: &str) -> Vec<String> {
        self.sent.borrow().iter().filter(|out| out.thread.as_str() == thread).map(text_of).collect()
    }

    /// Keys of what was sent, whatever the thread.
    pub(crate) async fn wait_for_keys(&self, count: usize) -> Vec<String> {
        let sent = self.wait_for_sent(count).await;
        sent.iter().map(|out| out.key.to_string()).collect()
    }

    pub(crate) async fn wait_for_sent(&self, count: usize) -> Vec<Outbound> {
        let mut sent = self.sent.subscribe();
        let there = tokio::time::timeout(DEADLINE, sent.wait_for(|sent| sent.len() >= count)).await;
        there.expect("so many effects").unwrap().clone()
    }

    pub(crate) async fn wait_for_texts(&self, thread: &str, count: usize) -> Vec<String> {
        let mut sent = self.sent.subscribe();
        let there = |sent: &Vec<Outbound>| sent.iter().filter(|out| out.thread.as_str() == thread).count() >= count;
        let waited = tokio::time::timeout(DEADLINE, sent.wait_for(there)).await.map(drop);
        assert!(waited.is_ok(), "{count} texts to {thread}, there are {:?}", self.texts(thread));
        self.texts(thread)
    }
}

fn text_of(out: &Outbound) -> String {
    match &out.part {
        Part::Text { text, .. } => text.clone(),
        Part::Attachment(attachment) => format!("{}: {}", attachment.name, attachment.url),
        other @ (Part::Withdraw { .. } | _) => format!("{other:?}"),
    }
}

#[async_trait]
impl Bridge for Played {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        host.state(BridgeState::Up);
        self.host.send_replace(Some(host));
        stop.cancelled().await;
        Ok(())
    }
    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        let outcome = self.script.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Sent::default()));
        if outcome.is_ok() {
            self.sent.send_modify(|sent| sent.push(out.clone()));
        }
        outcome
    }
    async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
        Err(Fault::unknown("this network keeps no history"))
    }
    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        let scripted = self.files.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| Err(Fault::refused(format!("{} is gone", attachment.url))))
    }
    async fn typing(&self, thread: &ThreadId, typing: bool) {
        if self.shows_no_typing.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.typing.send_modify(|seen| seen.push((thread.to_string(), typing)));
    }
    fn landed(&self, event: &EventId, landing: Landing) {
        self.landed.send_modify(|landed| landed.push((event.to_string(), landing)));
    }
}

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) network: Arc<Played>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gateway: Gateway,
    data: tempfile::TempDir,
    adjust: Adjust,
    /// Behind `store` from the beginning; it outlives the gateways.
    memory: MemoryStore,
}

/// Changes what the settings are.
pub(crate) type Adjust = fn(&mut Plan);

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SandboxSettings::default()).await
    }

    pub(crate) async fn with(settings: SandboxSettings) -> Self {
        Self::adjusted(settings, |_| {}).await
    }

    pub(crate) async fn adjusted(settings: SandboxSettings, adjust: Adjust) -> Self {
        let settings = SandboxSettings { callback_secret: Some(SECRET.into()), ..settings };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let memory = MemoryStore::default();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let data = tempfile::tempdir().unwrap();
        let (network, gateway) = start(&sandbox, &store, data.path(), adjust).await;
        Self { sandbox, network, store, gateway, data, adjust, memory }
    }

    /// The gateway ends, and something happens before the next one starts on the same store.
    pub(crate) async fn away(self, meanwhile: impl FnOnce(&Sandbox)) -> Self {
        self.gateway.stop().await;
        meanwhile(&self.sandbox);
        self.memory.allow();
        self.sandbox.until_callbacks_are_done().await;
        let (network, gateway) = start(&self.sandbox, &self.store, self.data.path(), self.adjust).await;
        Self { network, gateway, ..self }
    }

    /// Something is done to the store while no gateway runs.
    pub(crate) async fn between(self, done: impl AsyncFnOnce(&dyn Store)) -> Self {
        self.gateway.stop().await;
        self.memory.allow();
        done(&*self.store).await;
        let (network, gateway) = start(&self.sandbox, &self.store, self.data.path(), self.adjust).await;
        Self { network, gateway, ..self }
    }

    /// The inbox is replaced: behind its address stands another installation, in which others have talked already.
    pub(crate) async fn moved(self, peer: &str) -> Self {
        self.gateway.stop().await;
        self.memory.allow();
        let listen = self.sandbox.address();
        self.sandbox.stop().await;
        let settings = SandboxSettings { callback_secret: Some(SECRET.into()), listen, ..SandboxSettings::default() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let others: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (network, gateway) = start(&sandbox, &others, self.data.path(), |_| {}).await;
        for n in 0..9 {
            let host = network.host().await;
            host.accept(vec![message(peer, &format!("{peer}-{n}"), "mine")], Vec::new()).await.unwrap();
        }
        let rest = async {
            while others.depth().await.unwrap().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, rest).await.expect("the other inbox takes what is for it");
        gateway.stop().await;
        let (network, gateway) = start(&sandbox, &self.store, self.data.path(), self.adjust).await;
        Self { sandbox, network, gateway, ..self }
    }

    /// Stops the gateway and starts another on this store.
    pub(crate) async fn restart_on(self, store: Arc<dyn Store>) -> Self {
        self.gateway.stop().await;
        let (network, gateway) = start(&self.sandbox, &store, self.data.path(), self.adjust).await;
        Self { network, store, gateway, ..self }
    }

    /// A person writes; returns when the gateway has it.
    pub(crate) async fn write(&self, peer: &str, event: &str, text: &str) {
        let host = self.network.host().await;
        host.accept(vec![message(peer, event, text)], Vec::new()).await.unwrap();
    }

    pub(crate) fn conversations(&self) -> Vec<Value> {
        self.sandbox.state()["conversations"].as_array().unwrap().clone()
    }

    /// Texts of a conversation with the given kind (0 incoming, 1 outgoing).
    pub(crate) fn texts(&self, conversation: u64, kind: u64) -> Vec<String> {
        let of_it = |c: &&Value| c["id"] == conversation;
        let Some(conversation) = self.conversations().iter().find(of_it).cloned() else { return Vec::new() };
        let messages = conversation["messages"].as_array().unwrap().clone();
        let kind = |m: &&Value| m["message_type"] == kind && m["private"] == false;
        messages.iter().filter(kind).map(|m| m["content"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A message of a conversation, by its place there.
    pub(crate) fn row(&self, conversation: u64, place: usize) -> Value {
        let conversations = self.conversations();
        let found = conversations.iter().find(|c| c["id"] == conversation).expect("a conversation of this number");
        found["messages"][place].clone()
    }

    pub(crate) async fn wait_for_incoming(&self, conversation: u64, count: usize) -> Vec<String> {
        self.until(&format!("{count} messages in conversation {conversation}"), || {
            let texts = self.texts(conversation, 0);
            (texts.len() >= count).then_some(texts)
        })
        .await
    }

    /// The status of an agent's message, and its reason.
    pub(crate) fn status(&self, message: u64) -> (String, Option<String>) {
        for conversation in self.conversations() {
            let messages = conversation["messages"].as_array().unwrap();
            if let Some(found) = messages.iter().find(|m| m["id"] == message) {
                let error = found["content_attributes"]["external_error"].as_str().map(str::to_owned);
                return (found["status"].as_str().unwrap().to_owned(), error);
            }
        }
        panic!("there is no message {message}");
    }

    pub(crate) async fn wait_for_status(&self, message: u64, status: &str) -> Option<String> {
        self.until(&format!("message {message} {status}"), || {
            let (now, reason) = self.status(message);
            (now == status).then_some(reason)
        })
        .await
    }

    pub(crate) async fn wait_for_rest(&self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.store.depth().await.unwrap().waiting > 0 {
            assert!(tokio::time::Instant::now() < deadline, "still waiting: {:?}", self.store.list(5).await.unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a condition of the sandbox.
    pub(crate) async fn until<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = ready() {
                return found;
            }
            let (waiting, dead) = (self.store.list(5).await, self.store.dead(5).await);
            assert!(tokio::time::Instant::now() < deadline, "waited for {what}; outbox: {waiting:?}, dead: {dead:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn start(
    sandbox: &Sandbox,
    store: &Arc<dyn Store>,
    data_dir: &std::path::Path,
    adjust: Adjust,
) -> (Arc<Played>, Gateway) {
    let network = Played::new();
    let gateway = adjusted_gateway(sandbox, store, data_dir, (network.clone(), adjust)).await;
    (network, gateway)
}

/// A gateway between the sandbox and this network, which it knows as `net`.
pub(crate) async fn gateway(
    sandbox: &Sandbox,
    store: &Arc<dyn Store>,
    data_dir: &std::path::Path,
    network: Arc<dyn Bridge>,
) -> Gateway {
    adjusted_gateway(sandbox, store, data_dir, (network, |_| {})).await
}

async fn adjusted_gateway(
    sandbox: &Sandbox,
    store: &Arc<dyn Store>,
    data_dir: &std::path::Path,
    (network, adjust): (Arc<dyn Bridge>, Adjust),
) -> Gateway {
    let url = sandbox.url().parse().unwrap();
    let (account, inbox) = (AccountId(sandbox.account_id() as i64), InboxId(sandbox.inbox_id() as i64));
    let client = ClientSettings::new(url, account, inbox, Secret::new(sandbox.api_access_token()));
    let mut plan = Plan {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data_dir.to_owned(),
        admin_token: Some(Secret::new("admin")),
        admin_hosts: Vec::new(),
        stop_limit: Duration::from_secs(5),
        retention: Duration::from_hours(1),
        inboxes: vec![InboxPlan {
            settle: Duration::from_secs(1),
            callback_grace: Duration::from_millis(100),
            ..InboxPlan::new(InboxName::new("support"), client)
        }],
        bridges: vec![BridgePlan {
            name: BridgeName::from("net"),
            inbox: InboxName::new("support"),
            when_in_doubt: WhenInDoubt::Repeat,
            peer_pace: None,
            gate: GateRules::default(),
            bridge: network,
        }],
    };
    adjust(&mut plan);
    let gateway = Gateway::start(plan, store.clone()).await.unwrap();
    sandbox.set_callback_url(format!("http://{}/callbacks/support", gateway.address()));
    gateway
}

pub(crate) fn message(peer: &str, event: &str, text: &str) -> Inbound {
    let message = Message {
        peer: Peer {
            id: format!("a:{peer}").as_str().into(),
            name: peer.into(),
            facts: facts(peer),
            email: None,
            picture: None,
        },
        speaker: Speaker::Peer,
        text: text.into(),
        attachments: Vec::new(),
        reply_to: None,
        quiet: false,
        facts: std::collections::BTreeMap::new(),
        thread_facts: std::collections::BTreeMap::new(),
    };
    Inbound {
        event: event.into(),
        at_millis: clock::now_millis(),
        thread: format!("a:{peer}").as_str().into(),
        report: Report::Message(message),
    }
}

fn facts(peer: &str) -> std::collections::BTreeMap<String, String> {
    HashMap::from([("nick".to_owned(), peer.to_owned())]).into_iter().collect()
}
