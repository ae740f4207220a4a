//! Synapse, a Matrix homeserver, with registrations of several appservices: one for each test that needs one.
//!
//! A homeserver reads registrations at its start only, so they are all made up front.

use std::{
    path::Path,
    process::ChildStdin,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::python;
use crate::{
    http::{self, Answer},
    process::{Process, free_port, run},
    wait::until,
};

pub(crate) const SERVER_NAME: &str = "hs.test";
/// More than there are tests.
const SLOTS_SHARED: usize = 160;
const SLOTS_OWN: usize = 4;

/// An appservice as the homeserver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appservice {
    pub(crate) id: String,
    pub(crate) as_token: String,
    pub(crate) hs_token: String,
    /// Where the homeserver pushes to, on 127.0.0.1. Nobody listens there until the test does.
    pub(crate) port: u16,
    /// What the localparts of its users begin with.
    pub(crate) namespace: String,
}

/// Somebody with an account and a token.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Synapse {
    /// Ends when the pipe closes.
    process: Option<(Process, ChildStdin)>,
    folder: Folder,
    pub(crate) port: u16,
    slots: Vec<Appservice>,
    given: AtomicUsize,
}

#[derive(Debug)]
enum Folder {
    Own(TempDir),
    /// Nothing drops a static at the end of a process. Whoever ends last takes the folder along.
    Left(std::path::PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Left(path) => path,
        }
    }
}

impl Appservice {
    fn numbered(number: usize) -> Self {
        Self {
            id: format!("service-{number}"),
            as_token: format!("as-token-{number}-{:032x}", fastrand::u128(..)),
            hs_token: format!("hs-token-{number}-{:032x}", fastrand::u128(..)),
            port: free_port(),
            namespace: format!("_s{number}_"),
        }
    }

    /// The whole id of a user of its namespace.
    pub(crate) fn user(&self, rest: &str) -> String {
        format!("@{}{rest}:{SERVER_NAME}", self.namespace)
    }

    fn registration(&self) -> Value {
        json!({
            "id": self.id,
            "url": format!("http://127.0.0.1:{}", self.port),
            "as_token": self.as_token,
            "hs_token": self.hs_token,
            "sender_localpart": format!("{}bot", self.namespace),
            "rate_limited": false,
            "receive_ephemeral": true,
            "io.element.msc4190": true,
            "namespaces": {
                "users": [{ "exclusive": true, "regex": format!("@{}.*:hs\\.test", self.namespace) }],
                "aliases": [{ "exclusive": true, "regex": format!("#{}.*:hs\\.test", self.namespace) }],
                "rooms": [],
            },
        })
    }
}

impl Synapse {
    pub(crate) fn present() -> bool {
        python::present(&python::folder())
    }

    /// The one that all tests share which do not stop it. It ends with this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Synapse> = OnceLock::new();
        SHARED.get_or_init(|| {
            let folder = Folder::Left(super::folder().keep());
            Self::in_folder(folder, SLOTS_SHARED)
        })
    }

    /// One to stop and to start again.
    pub(crate) fn start() -> Self {
        Self::in_folder(Folder::Own(super::folder()), SLOTS_OWN)
    }

    fn in_folder(folder: Folder, slots: usize) -> Self {
        let slots: Vec<_> = (0..slots).map(Appservice::numbered).collect();
        let mut server = Self { process: None, folder, port: free_port(), slots, given: AtomicUsize::new(0) };
        server.write_settings();
        let mut keys = python::command();
        keys.args(["-m", "synapse.app.homeserver", "-c", "hs.yaml", "--generate-keys"]).current_dir(server.folder());
        let keys = run(keys);
        assert_eq!(keys.code, Some(0), "{keys:?}");
        server.come_up();
        server
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// JSON is YAML as well.
    fn write_settings(&self) {
        let write = |name: &str, value: &Value| super::write(self.folder(), name, &value.to_string());
        for slot in &self.slots {
            write(&format!("{}.yaml", slot.id), &slot.registration());
        }
        write("log.yaml", &log_settings());
        write("hs.yaml", &settings(self.port, &self.slots));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An appservice that no other test uses.
    pub(crate) fn appservice(&self) -> Appservice {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        self.slots.get(number).expect("a registration for every test; raise the number of slots").clone()
    }

    /// The registration file, for programs that read it themselves.
    pub(crate) fn registration(&self, service: &Appservice) -> Value {
        assert!(self.slots.contains(service));
        service.registration()
    }

    /// SIGKILL, as a power cut. What it answered 200 to is on the disk.
    pub(crate) fn go_down(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        if let Some((mut process, _pipe)) = self.process.take() {
            process.signal("TERM");
            process.wait();
        }
    }

    /// On the same data and port.
    pub(crate) fn come_up(&mut self) {
        let mut command = python::command();
        command.arg(python::script("homeserver.py")).arg("hs.yaml").current_dir(self.folder());
        if let Folder::Left(path) = &self.folder {
            command.arg(path);
        }
        let (mut process, pipe, _) = Process::spawn_talking(command, "synapse", self.folder());
        let url = format!("{}/health", self.url());
        until("Synapse to answer", || {
            if let Some(status) = process.ended() {
                panic!("Synapse ended at its start: {status}\n{}", process.err());
            }
            match http::get(&url)? {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        });
        self.process = Some((process, pipe));
    }

    /// Keeps every connection, and answers nothing.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    pub(crate) fn wake(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let (process, _) = self.process.as_ref().expect("it runs");
        process.signal(signal);
    }

    /// A new account. The name gets a number, so that tests may share a server.
    pub(crate) fn register(&self, name: &str) -> Account {
        let name = format!("{name}{}", fastrand::u32(..));
        let body = json!({
            "username": name, "password": "wonderland", "device_id": "TEST", "initial_device_display_name": "a test",
            "auth": { "type": "m.login.dummy" },
        });
        let made = self.call(Method::POST, "/_matrix/client/v3/register", None, Some(&body));
        assert_eq!(made.status, 200, "{made:?}");
        let made = made.json();
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name}: {made}")).to_owned();
        Account { user: text("user_id"), token: text("access_token") }
    }

    /// Any call of the client-server API.
    pub(crate) fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        call(&self.url(), method, path, token, body)
    }

    /// Has the homeserver ping the appservice, and with it retry at once what it could not push.
    pub(crate) fn ping(&self, service: &Appservice) -> Answer {
        let path = format!("/_matrix/client/v1/appservice/{}/ping", service.id);
        let body = json!({ "transaction_id": format!("{:x}", fastrand::u64(..)) });
        self.call(Method::POST, &path, Some(&service.as_token), Some(&body))
    }

    /// Everything that a room holds and this token may see, oldest first.
    pub(crate) fn history(&self, token: &str, room: &str) -> Vec<Value> {
        history(&self.url(), token, room)
    }

    /// Registers a user of the namespace, as a gateway does at its start.
    pub(crate) fn register_ghost(&self, service: &Appservice, rest: &str) -> String {
        let username = format!("{}{rest}", service.namespace);
        let body = json!({ "type": "m.login.application_service", "username": username, "inhibit_login": true });
        let made = self.call(Method::POST, "/_matrix/client/v3/register", Some(&service.as_token), Some(&body));
        assert_eq!(made.status, 200, "{made:?}");
        service.user(rest)
    }
}

/// Any call of the client-server API of whatever homeserver is there.
pub(crate) fn call(base: &str, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let body = body.map(|body| body.to_string().into_bytes());
    http::request(method, &format!("{base}{path}"), &headers, body).expect("the homeserver answers")
}

/// As [`Synapse::history`] there.
pub(crate) fn history(base: &str, token: &str, room: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut from = String::new();
    loop {
        let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=f&limit=100{from}", escape(room));
        let answer = call(base, Method::GET, &path, Some(token), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        events.extend(page["chunk"].as_array().expect("a chunk").iter().cloned());
        let Some(end) = page["end"].as_str() else { return events };
        from = format!("&from={}", escape(end));
    }
}

/// For a segment of a path or a value of a query: everything but what is safe in both.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("text takes text");
        }
        out
    })
}

fn log_settings() -> Value {
    json!({
        "version": 1,
        "formatters": { "plain": { "format": "%(asctime)s %(levelname)s %(name)s %(message)s" } },
        "handlers": { "stream": { "class": "logging.StreamHandler", "formatter": "plain" } },
        "root": { "level": "WARNING", "handlers": ["stream"] },
        "disable_existing_loggers": false,
    })
}

fn settings(port: u16, slots: &[Appservice]) -> Value {
    let free = json!({ "per_second": 1000, "burst_count": 1000 });
    let listener = json!({
        "port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": false, "x_forwarded": false,
        "resources": [{ "names": ["client"], "compress": false }],
    });
    json!({
        "server_name": SERVER_NAME,
        "listeners": [listener],
        "database": { "name": "sqlite3", "args": { "database": "hs.db" } },
        "log_config": "log.yaml",
        "media_store_path": "media",
        "signing_key_path": "hs.signing.key",
        "report_stats": false,
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "macaroon_secret_key": "test",
        "form_secret": "test",
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "federation_domain_whitelist": [],
        "presence": { "enabled": false },
        "max_upload_size": "10M",
        "app_service_config_files": slots.iter().map(|slot| format!("{}.yaml", slot.id)).collect::<Vec<_>>(),
        // As shipped, it takes five logins and a message in five seconds.
        "rc_message": free,
        "rc_registration": free,
        "rc_login": { "address": free, "account": free, "failed_attempts": free },
        "rc_joins": { "local": free, "remote": free },
        "rc_joins_per_room": free,
        "rc_invites": { "per_room": free, "per_user": free, "per_issuer": free },
        "rc_room_creation": free,
        "rc_admin_redaction": free,
    })
}
