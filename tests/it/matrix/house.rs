//! A homeserver, an inbox and a gateway between them, which can die at any moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bridge_api::BridgeName;
use deskbridge::{
    bridges::Registry,
    gateway::Gateway,
    sandbox::{
        Sandbox, SandboxSettings,
        homeserver::{Dialect, Homeserver, HomeserverSettings},
    },
    settings::Kinds,
    store::{MemoryStore, Place, SqliteStore, Store},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::world::{SECRET, gateway};

/// Whatever a test waits for must come within this time. Long, since a connection that broke is not made again at once.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How the gateway is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Wsproxy,
    Asmux,
    Push,
    /// A bot account that asks.
    Sync,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Wsproxy, Self::Asmux, Self::Push, Self::Sync];
    /// Those of an appservice.
    pub(crate) const SERVICES: [Self; 3] = [Self::Wsproxy, Self::Asmux, Self::Push];
}

pub(crate) struct House {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) home: Homeserver,
    /// Where the disk is not meant.
    pub(crate) memory: Arc<MemoryStore>,
    /// Where it is, while somebody has it open.
    disk: Option<Arc<dyn Store>>,
    on_disk: bool,
    pub(crate) way: Way,
    /// The bridge's table.
    table: String,
    data: TempDir,
    running: Option<(Runtime, Gateway)>,
}

impl House {
    pub(crate) async fn new(way: Way) -> Self {
        Self::with(way, "").await
    }

    /// `more` are further lines of the bridge's table. The bridge is up when this returns.
    pub(crate) async fn with(way: Way, more: &str) -> Self {
        let mut house = Self::unstarted(way, more, |settings| settings).await;
        house.start().await;
        house.until_up().await;
        house
    }

    pub(crate) async fn unstarted(
        way: Way,
        more: &str,
        change: impl FnOnce(HomeserverSettings) -> HomeserverSettings,
    ) -> Self {
        let mut settings = HomeserverSettings {
            dialect: if way == Way::Wsproxy { Dialect::Wsproxy } else { Dialect::Asmux },
            ..HomeserverSettings::default().hastened(10)
        };
        if way == Way::Sync {
            "support".clone_into(&mut settings.support_localpart);
        }
        let settings = SandboxSettings {
            callback_secret: Some(SECRET.into()),
            homeserver: Some(change(settings)),
            ..SandboxSettings::default()
        };
        let sandbox = Arc::new(Sandbox::start(settings).await.unwrap());
        let home = sandbox.homeserver().unwrap();
        let table = format!("homeserver_url = \"{}\"\n{}{more}\n", sandbox.url(), lines(way, &home));
        let data = tempfile::tempdir().unwrap();
        Self { sandbox, home, memory: Arc::default(), disk: None, on_disk: false, way, table, data, running: None }
    }

    /// With SQLite, opened anew at each start.
    pub(crate) async fn on_disk(way: Way, more: &str) -> Self {
        let mut house = Self::unstarted(way, more, |settings| settings).await;
        house.on_disk = true;
        house.start().await;
        house.until_up().await;
        house
    }

    /// On the same store as before, if there was a before. Returns when callbacks are taken; the bridge may still be
    /// on its way.
    pub(crate) async fn start(&mut self) {
        if self.on_disk {
            let place = Place::in_dir(self.data.path());
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await.unwrap();
            self.disk = Some(Arc::new(opened.unwrap()));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let table = self.table.parse().unwrap();
        let bridge = Registry::standard().build(&BridgeName::from("net"), "matrix", table);
        let bridge = bridge.unwrap_or_else(|faults| panic!("{faults:?}"));
        let (sandbox, store, folder) = (self.sandbox.clone(), self.store(), self.data.path().to_owned());
        let started = runtime.spawn(async move { gateway(&sandbox, &store, &folder, bridge).await }).await.unwrap();
        self.running = Some((runtime, started));
    }

    /// As `kill -9` does.
    pub(crate) async fn crash(&mut self) {
        let (runtime, gateway) = self.running.take().expect("it runs");
        drop(gateway);
        let dead = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10)));
        dead.await.unwrap();
        self.disk = None;
    }

    /// Softly. `None` when it does not come to an end within this time.
    pub(crate) async fn stop_within(&mut self, limit: Duration) -> Option<()> {
        let (runtime, gateway) = self.running.take().expect("it runs");
        let stopped = tokio::time::timeout(limit, runtime.spawn(gateway.stop())).await.ok();
        runtime.shutdown_background();
        stopped.map(|stopped| stopped.unwrap())
    }

    pub(crate) async fn restart(&mut self) {
        self.crash().await;
        self.start().await;
        self.until_up().await;
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.disk.clone().unwrap_or_else(|| self.memory.clone())
    }

    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    fn gateway(&self) -> &Gateway {
        &self.running.as_ref().expect("it runs").1
    }

    /// `up`, `down: reason` and so on, as the board has it.
    pub(crate) fn state(&self) -> String {
        let state = self.gateway().board().bridges().get("net").map(|stated| format!("{:?}", stated.state));
        state.unwrap_or_default()
    }

    pub(crate) async fn until_up(&self) {
        self.until("the bridge to be up", || (self.state() == "Up").then_some(())).await;
    }

    pub(crate) async fn until_down(&self, reason: &str) {
        let down = || Some(self.state()).filter(|state| state.starts_with("Down") && state.contains(reason));
        self.until(&format!("the bridge to be down for {reason}"), down).await;
    }

    /// Where the homeserver pushes to.
    pub(crate) fn pushed_to(&self) -> Option<String> {
        let table: toml::Table = self.table.parse().unwrap();
        table.get("listen").and_then(toml::Value::as_str).map(|listen| format!("http://{listen}"))
    }

    /// Whom customers write to.
    pub(crate) fn support(&self) -> String {
        self.home.settings().support()
    }

    /// Somebody in a direct chat that the bridge has joined, whose first message has arrived.
    pub(crate) async fn guest(&self, name: &str) -> Guest {
        let user = self.home.customer(name);
        // Not a trusted one, in which nobody could put us out.
        let chat = json!({"preset": "private_chat", "is_direct": true, "invite": [self.support()]});
        let room = self.home.create_room(&user, &chat).unwrap();
        self.until_joined(&room).await;
        self.home.say(&user, &room, "hello").unwrap();
        let conversation = self.until("a conversation", || self.conversation_of(&user)).await;
        self.until_text(conversation, "hello").await;
        Guest { user, room, conversation }
    }

    pub(crate) async fn until_joined(&self, room: &str) {
        let support = self.support();
        self.until("support to come in", || (self.home.membership(room, &support) == "join").then_some(())).await;
    }

    /// Looks until `found` answers.
    pub(crate) async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            if tokio::time::Instant::now() >= deadline {
                let (waiting, dead) = (self.store().list(5).await, self.store().dead(5).await);
                let state = self.running.as_ref().map(|_| self.state());
                let desk: Vec<_> = self.conversations().iter().map(|c| (c["id"].clone(), rows(c))).collect();
                panic!(
                    "waited for {what} ({:?}, bridge {state:?}); outbox {waiting:?}; dead {dead:?}; inbox {desk:?}",
                    self.way
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Nothing waits on either side.
    pub(crate) async fn until_idle(&self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            self.sandbox.until_callbacks_are_done().await;
            let waiting = self.store().depth().await.unwrap().waiting;
            if waiting == 0 && (self.way == Way::Sync || self.home.undelivered() == 0) {
                return;
            }
            let list = self.store().list(5).await;
            assert!(tokio::time::Instant::now() < deadline, "still waiting ({:?}): {list:?}", self.way);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The inbox's side.
impl House {
    pub(crate) fn conversations(&self) -> Vec<Value> {
        self.sandbox.state()["conversations"].as_array().unwrap().clone()
    }

    pub(crate) fn contacts(&self) -> Vec<Value> {
        self.sandbox.state()["contacts"].as_array().unwrap().clone()
    }

    /// Of the contact that this user is.
    pub(crate) fn conversation_of(&self, user: &str) -> Option<u64> {
        let contact = self.contacts().into_iter().find(|contact| contact.to_string().contains(user))?;
        let of_them = |conversation: &&Value| conversation["contact_id"] == contact["id"];
        self.conversations().iter().find(of_them)?["id"].as_u64()
    }

    pub(crate) fn messages(&self, conversation: u64) -> Vec<Value> {
        let found = self.conversations().into_iter().find(|found| found["id"] == conversation);
        found.map(|found| found["messages"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// What people wrote.
    pub(crate) fn texts(&self, conversation: u64) -> Vec<String> {
        texts_of(&self.messages(conversation), |row| row["message_type"] == 0)
    }

    pub(crate) fn notes(&self, conversation: u64) -> Vec<String> {
        texts_of(&self.messages(conversation), |row| row["private"] == true)
    }

    pub(crate) async fn until_text(&self, conversation: u64, text: &str) -> Value {
        let is_it = |row: &Value| row["message_type"] == 0 && row["content"] == text;
        self.until(&format!("`{text}` at the inbox"), || self.messages(conversation).into_iter().find(|row| is_it(row)))
            .await
    }

    pub(crate) async fn until_note(&self, conversation: u64, part: &str) -> Value {
        let is_it = |row: &Value| row["private"] == true && row["content"].as_str().unwrap_or_default().contains(part);
        self.until(&format!("a note with `{part}`"), || self.messages(conversation).into_iter().find(|row| is_it(row)))
            .await
    }

    pub(crate) fn message(&self, id: u64) -> Value {
        let all: BTreeMap<u64, Value> = self
            .conversations()
            .iter()
            .flat_map(|conversation| conversation["messages"].as_array().unwrap().clone())
            .map(|row| (row["id"].as_u64().unwrap(), row))
            .collect();
        all.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) async fn until_status(&self, message: u64, status: &str) -> Value {
        let there = || Some(self.message(message)).filter(|row| row["status"] == status);
        self.until(&format!("message {message} to be {status}"), there).await
    }
}

/// The customers' side.
impl House {
    /// What agents said in a room, without the bridge's own notices, with who said it.
    pub(crate) fn said(&self, room: &str) -> Vec<(String, String)> {
        let ours = |event: &&Value| {
            let sender = event["sender"].as_str().unwrap_or_default();
            (self.home.settings().owns(sender) || sender == self.support())
                && event["type"] == "m.room.message"
                && event["content"]["msgtype"] != "m.notice"
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let timeline = self.home.timeline(room);
        timeline.iter().filter(ours).map(|event| (text(&event["sender"]), text(&event["content"]["body"]))).collect()
    }

    pub(crate) fn notices(&self, room: &str) -> Vec<String> {
        let notices = self.home.timeline(room);
        let notices = notices.iter().filter(|event| event["content"]["msgtype"] == "m.notice");
        notices.filter_map(|event| event["content"]["body"].as_str()).map(str::to_owned).collect()
    }

    /// The agent's event with this text.
    pub(crate) async fn until_said(&self, room: &str, text: &str) -> Value {
        let is_it = |event: &Value| event["content"]["body"] == text;
        self.until(&format!("`{text}` in {room}"), || self.home.timeline(room).into_iter().find(|event| is_it(event)))
            .await
    }

    /// Rooms of this user that were made by us, with their membership there.
    pub(crate) fn rooms_from_us(&self, user: &str) -> Vec<String> {
        let invited = self.home.rooms_of(user, "invite").into_iter().chain(self.home.rooms_of(user, "join"));
        let support = self.support();
        invited.filter(|room| self.home.timeline(room)[0]["sender"] == support).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

/// A customer in a conversation.
pub(crate) struct Guest {
    pub(crate) user: String,
    pub(crate) room: String,
    pub(crate) conversation: u64,
}

fn texts_of(rows: &[Value], which: impl Fn(&Value) -> bool) -> Vec<String> {
    let rows = rows.iter().filter(|row| which(row));
    rows.map(|row| row["content"].as_str().unwrap_or_default().to_owned()).collect()
}

fn rows(conversation: &Value) -> Vec<String> {
    let rows = conversation["messages"].as_array().unwrap().iter();
    rows.map(|row| format!("{} {} {}", row["message_type"], row["status"], row["content"])).collect()
}

/// What the bridge's table says of this way.
fn lines(way: Way, home: &Homeserver) -> String {
    let settings = home.settings().clone();
    let service = format!(
        "server_name = \"{}\"\nas_token = \"{}\"\nuser = \"{}\"\nnamespace = \"{}\"\nappservice_id = \"{}\"\n",
        settings.server_name,
        settings.as_token,
        settings.support_localpart,
        settings.namespace_prefix,
        settings.appservice_id
    );
    match way {
        Way::Wsproxy | Way::Asmux => format!("mode = \"websocket\"\n{service}"),
        Way::Push => {
            let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
            home.set_push_url(Some(format!("http://{free}")));
            format!("mode = \"appservice\"\nlisten = \"{free}\"\nhs_token = \"{}\"\n{service}", settings.hs_token)
        }
        Way::Sync => {
            home.account("support", "secret");
            format!("mode = \"sync\"\naccess_token = \"{}\"\n", home.token(&settings.support()))
        }
    }
}
