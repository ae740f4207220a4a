//! A stand-in for Chatwoot's API inbox, in memory, with an agent's page, signed callbacks and a fault switch; and
//! beside it, on request, a stand-in homeserver with a customer's page, and a stand-in mail relay with a mailbox's page.
//!
//! It is the second reading of the contract and uses nothing of the gateway's, so that it cannot share its mistakes.

mod agent_routes;
mod api;
mod callbacks;
mod contact_fields;
mod contact_routes;
mod contact_search;
mod contacts;
mod conversation_routes;
mod conversations;
mod desk;
mod faults;
mod file_routes;
pub mod homeserver;
mod inbox_routes;
pub mod mail;
mod members;
mod messages;
mod pages;
mod params;
mod payload;
mod poster;
mod public_routes;
mod refusal;
mod routes;
mod server;
mod shared;
mod summary;
mod waiting;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use contact_fields::Locale;
pub use faults::{CallbackFaults, Denial, Duplicate, Faults, RouteClass, RouteFault, RouteRule, Signing};

use homeserver::{Core, Homeserver, HomeserverSettings};
use mail::{Post, PostSettings};
use refusal::Refusal;
use shared::Shared;

/// What the token's owner may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    #[default]
    Administrator,
    /// A member of the inbox who may not change inboxes, delete contacts, or see signing keys.
    Agent,
}

impl Role {
    fn is_administrator(self) -> bool {
        self == Self::Administrator
    }

    fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Agent => "agent",
        }
    }
}

/// How the stand-in is set up. The defaults are a fresh Chatwoot 4.15.1 with one API inbox and no callback address.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Chatwoot's own")]
pub struct SandboxSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    pub account_id: u64,
    pub account_name: String,
    pub inbox_id: u64,
    pub inbox_name: String,
    /// The token that requests must carry.
    pub api_access_token: String,
    pub role: Role,
    /// The inbox's `webhook_url`.
    pub callback_url: Option<String>,
    /// The inbox's `secret`; a random one when left out.
    pub callback_secret: Option<String>,
    pub lock_to_single_conversation: bool,
    /// `FRONTEND_URL`, where `data_url` points; the address listened on when left out.
    pub frontend_url: Option<String>,
    /// `CONVERSATION_MESSAGE_PER_MINUTE_LIMIT`: messages of one conversation in 60 seconds.
    pub messages_per_minute_max: usize,
    /// `RACK_ATTACK_LIMIT`: requests in one clock minute, or no limit, as Chatwoot has none for loopback.
    pub requests_per_minute_max: Option<u64>,
    /// `WEBHOOK_TIMEOUT`, for opening and for each read.
    pub webhook_timeout: Duration,
    /// Deliveries under way at once: Sidekiq's threads. With more than one there is no order.
    pub callback_workers: usize,
    /// Chatwoot opens a connection for each delivery; keeping them lets benches go further.
    pub keep_callback_connections: bool,
    /// Whether private addresses are refused, as without `SAFE_FETCH_ALLOW_PRIVATE_NETWORK`.
    pub refuse_private_callbacks: bool,
    /// How long links and conversations outlive a deleted contact.
    pub deletion_window: Duration,
    /// Which Chatwoot it plays: before 4.13 nothing is signed, before 4.11 there is no `/health`.
    pub chatwoot_version: String,
    /// What the inbox is; anything but `Channel::Api` is one that a gateway cannot use.
    pub channel_type: String,
    /// Answers contact creates flat, as the older documentation has it.
    pub flat_contacts: bool,
    /// Language of validation texts.
    pub locale: Locale,
    /// A Matrix homeserver with a customer's page, on the same address.
    pub homeserver: Option<HomeserverSettings>,
    /// A mail relay on an address of its own, and the mail page on this one.
    pub post: Option<PostSettings>,
    /// How many messages there have been, and a thousandth of it of all else: their numbers are not given out again.
    pub messages_before: u64,
    /// Seeds tokens, UUIDs and the chances of faults.
    pub seed: u64,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            account_id: 1,
            account_name: "Harbor Support".to_owned(),
            inbox_id: 7,
            inbox_name: "Sandbox".to_owned(),
            api_access_token: "sandbox-token".to_owned(),
            role: Role::default(),
            callback_url: None,
            callback_secret: None,
            lock_to_single_conversation: false,
            frontend_url: None,
            messages_per_minute_max: 200,
            requests_per_minute_max: None,
            webhook_timeout: Duration::from_secs(5),
            callback_workers: 10,
            keep_callback_connections: false,
            refuse_private_callbacks: false,
            deletion_window: Duration::from_secs(1),
            chatwoot_version: "4.15.1".to_owned(),
            channel_type: "Channel::Api".to_owned(),
            flat_contacts: false,
            locale: Locale::default(),
            homeserver: None,
            post: None,
            messages_before: 0,
            seed: fastrand::u64(..),
        }
    }
}

impl SandboxSettings {
    fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.chatwoot_version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
    }
}

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot build a client: {0}")]
    Client(reqwest::Error),
}

/// The desk refused what the person at the page wanted.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox refused: {0:?}")]
pub struct Refused(Refusal);

/// A running stand-in. Dropping it leaves it running until the process ends; [`Sandbox::stop`] ends it.
pub struct Sandbox {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sandbox {
    /// Binds and serves.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let address = settings.listen;
        let listen_error = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let workers = settings.callback_workers.max(1);
        let client = poster::client(&settings)?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let homeserver = settings.homeserver.clone().map(|settings| Core::new(settings, tasks.clone()));
        let homeserver = homeserver.transpose().map_err(SandboxError::Client)?.map(Arc::new);
        let post = match settings.post.clone() {
            Some(settings) => {
                let address = settings.listen;
                let opened = mail::open(settings).await;
                let (core, listener) = opened.map_err(|source| SandboxError::Listen { address, source })?;
                let core = Arc::new(core);
                let serving = mail::serve(core.clone(), listener, tasks.clone(), stop.clone());
                tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
                Some(core)
            }
            None => None,
        };
        if let Some(core) = homeserver.clone() {
            tasks.spawn(stop.clone().run_until_cancelled_owned(homeserver::push(core)));
        }
        let shared = Arc::new(Shared::new(settings, address, client, (homeserver, post), stop.clone(), tasks.clone()));
        let serving = server::serve(shared.clone(), listener);
        tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
        tasks.spawn(stop.clone().run_until_cancelled_owned(callbacks::dispatch(shared.clone())));
        for _ in 0..workers {
            tasks.spawn(stop.clone().run_until_cancelled_owned(callbacks::deliver(shared.clone())));
        }
        Ok(Self { shared, tasks, stop })
    }

    /// Cuts every connection, forgets what waits, and returns when the last task has ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Returns when the sandbox was told to stop from elsewhere, e.g. by a clone of [`Sandbox::stop_token`].
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The base URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    pub fn api_access_token(&self) -> &str {
        &self.shared.settings.api_access_token
    }

    pub fn account_id(&self) -> u64 {
        self.shared.settings.account_id
    }

    pub fn inbox_id(&self) -> u64 {
        self.shared.settings.inbox_id
    }

    /// The signing key as it is now.
    pub fn callback_secret(&self) -> String {
        let inbox = self.inbox_id();
        self.shared.look(|desk| desk.inboxes.get(&inbox).map(|inbox| inbox.secret.clone()).unwrap_or_default())
    }

    /// Sets the inbox's `webhook_url`.
    pub fn set_callback_url(&self, url: impl Into<String>) {
        let (inbox, url) = (self.inbox_id(), url.into());
        self.shared.change(|desk| {
            if let Some(inbox) = desk.inboxes.get_mut(&inbox) {
                inbox.webhook_url = Some(url);
            }
        });
    }

    /// The customers' side, when the settings have one.
    pub fn homeserver(&self) -> Option<Homeserver> {
        self.shared.homeserver.clone().map(Homeserver::new)
    }

    /// The mail relay and the customers' mailbox, when the settings have one.
    pub fn post(&self) -> Option<Post> {
        self.shared.post.clone().map(Post::new)
    }

    /// Tells the mail page where the gateway takes mail, when the settings have a relay.
    pub fn set_mail_target(&self, address: SocketAddr) {
        if let Some(post) = self.post() {
            post.set_target(Some(address.into()));
        }
    }

    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Lets go of callbacks that were held.
    pub fn release_callbacks(&self) {
        let faults = CallbackFaults { hold: false, ..self.shared.faults.callback_faults() };
        self.shared.faults.callbacks(faults);
        self.shared.callbacks.nudge();
    }

    /// Stops listening and cuts every connection: the next connect is refused. Returns when that is so.
    pub async fn go_down(&self) {
        self.shared.set_listening(false).await;
    }

    /// Listens again on the same address.
    pub async fn come_up(&self) {
        self.shared.set_listening(true).await;
    }

    /// Moves the sandbox's clock: a full minute for limits, five for download links.
    pub fn advance(&self, by: Duration) {
        self.shared.advance(by);
    }

    /// Everything there is, as `GET /sandbox/state` shows it.
    pub fn state(&self) -> Value {
        self.shared.change(|desk| desk.state_json())
    }

    /// Looks until `found` answers, after every change and at least every 20 ms. None when `deadline` passes first.
    pub async fn until<T>(&self, deadline: Duration, mut found: impl FnMut(&Value) -> Option<T>) -> Option<T> {
        let look = async {
            let mut changes = self.shared.feed.subscribe();
            loop {
                if let Some(found) = found(&self.state()) {
                    return found;
                }
                // Timed out, lagged or changed: look again in every case.
                drop(tokio::time::timeout(Duration::from_millis(20), changes.recv()).await);
            }
        };
        tokio::time::timeout(deadline, look).await.ok()
    }

    /// Returns when no callback waits or is under way.
    pub async fn until_callbacks_are_done(&self) {
        self.shared.callbacks.until_idle().await;
    }

    /// The agent writes; returns the message id.
    pub fn reply(&self, conversation: u64, content: &str) -> Result<u64, Refused> {
        self.reply_as(members::AGENT.id, conversation, content)
    }

    /// The agent of this id writes; returns the message id.
    pub fn reply_as(&self, agent: u64, conversation: u64, content: &str) -> Result<u64, Refused> {
        self.shared.change(|desk| desk.agent_message(agent, conversation, content, false)).map_err(Refused)
    }

    /// The agent sends a file; returns the message id.
    pub fn reply_with_file(
        &self,
        conversation: u64,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<u64, Refused> {
        let file = params::FilePart {
            name: name.to_owned(),
            content_type: media_type.to_owned(),
            bytes: bytes::Bytes::copy_from_slice(bytes),
        };
        let params = params::Params { files: vec![("attachments[]".to_owned(), file)], ..params::Params::default() };
        self.shared.change(|desk| desk.agent_form(conversation, params)).map_err(Refused)
    }

    /// The agent writes a private note; returns the message id.
    pub fn note(&self, conversation: u64, content: &str) -> Result<u64, Refused> {
        self.shared.change(|desk| desk.agent_message(members::AGENT.id, conversation, content, true)).map_err(Refused)
    }

    /// The agent types, or stops; in a note when `private`.
    pub fn types(&self, conversation: u64, on: bool, private: bool) -> Result<(), Refused> {
        self.shared.change(|desk| desk.agent_types(members::AGENT.id, conversation, on, private)).map_err(Refused)
    }

    /// The agent presses Retry on a failed message.
    pub fn retry(&self, conversation: u64, message: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.retry_message(conversation, message)).map_err(Refused)
    }

    /// The agent has a message translated: an update that orders nothing.
    pub fn translate(&self, conversation: u64, message: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.translate_message(conversation, message)).map_err(Refused)
    }

    /// The agent deletes a message.
    pub fn delete_message(&self, conversation: u64, message: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.delete_message(conversation, message)).map_err(Refused)
    }

    /// The agent resolves the conversation.
    pub fn resolve(&self, conversation: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.agent_status(conversation, desk::Status::Resolved)).map_err(Refused)
    }

    /// The agent opens the conversation again.
    pub fn reopen(&self, conversation: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.agent_status(conversation, desk::Status::Open)).map_err(Refused)
    }

    /// Deletes a contact in Chatwoot's two steps; no callback tells.
    pub fn delete_contact(&self, contact: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.delete_contact(contact)).map_err(Refused)
    }

    /// Deletes a conversation; no callback tells.
    pub fn delete_conversation(&self, conversation: u64) -> Result<(), Refused> {
        let gone = |desk: &mut desk::Desk| {
            desk.conversation(conversation)?;
            desk.remove_conversation(conversation);
            Ok(())
        };
        self.shared.change(gone).map_err(Refused)
    }

    /// Merges the second contact into the first; no callback tells.
    pub fn merge_contacts(&self, base: u64, mergee: u64) -> Result<(), Refused> {
        self.shared.change(|desk| desk.merge_contacts(base, mergee)).map_err(Refused)
    }
}
