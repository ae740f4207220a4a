//! The real binary with a secret in each secret key, between an inbox, a homeserver, a relay, and an IRC server that
//! refuses every password.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use deskbridge::sandbox::{
    Sandbox, SandboxSettings,
    homeserver::HomeserverSettings,
    mail::{PostAccount, PostSettings},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Output,
    collector::{self, Taken},
    secrets::{ACCESS, ADMIN, API, AS, CALLBACK, CHANNEL_KEY, HS, IRC, OTHER_API, PATH, RELAY, SASL},
};

const DEADLINE: Duration = Duration::from_mins(1);

pub(super) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn deskbridge(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

pub(super) struct Stage {
    process: Child,
    pub(super) sandbox: Sandbox,
    /// Never called back by itself: its callbacks bear a token in the path.
    _other: Sandbox,
    heard: Arc<Mutex<Vec<String>>>,
    spans: Taken,
    pub(super) settings: PathBuf,
    pub(super) data: PathBuf,
    address: SocketAddr,
    /// Where the gateway takes mail, and where the homeserver pushes to.
    pub(super) mail: SocketAddr,
    pub(super) pushed_to: SocketAddr,
    folder: TempDir,
}

impl Stage {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, settings) = (folder.path().join("data"), folder.path().join("deskbridge.toml"));
        let (mail, pushed_to) = (free(), free());
        let sandbox = sandbox(pushed_to).await;
        let other = SandboxSettings { api_access_token: OTHER_API.into(), ..SandboxSettings::default() };
        let other = Sandbox::start(other).await.unwrap();
        let (irc, heard) = refusing_server();
        let (collector, spans) = collector::start();
        let otlp = if cfg!(feature = "otlp") { format!("otlp = \"http://{collector}\"\n") } else { String::new() };
        let relay = sandbox.post().unwrap().address().port();
        let text = [
            format!(
                "[gateway]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}\"\nadmin_token = \"{ADMIN}\"\n[log]\n\
                 level = \"trace\"\nformat = \"json\"\n{otlp}",
                data.display()
            ),
            inbox("support", &sandbox, API, &format!("callback_secret = \"{CALLBACK}\"")),
            inbox("old", &other, OTHER_API, &format!("callback_path_token = \"{PATH}\"")),
            matrix(&sandbox, pushed_to),
            irc_bridge(irc),
            mail_bridge(mail, relay),
        ];
        fs::write(&settings, text.concat()).unwrap();
        let log = |name: &str| File::create(folder.path().join(name)).unwrap();
        let mut command = deskbridge(&["run", "-c"]);
        command.arg(&settings).stdout(log("out")).stderr(log("err"));
        let process = command.spawn().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut stage =
            Self { process, sandbox, _other: other, heard, spans, settings, data, address, mail, pushed_to, folder };
        stage.address = until("the gateway to be ready", async || stage.said_address()).await;
        stage.sandbox.set_callback_url(stage.url("/callbacks/support"));
        let client = reqwest::Client::builder().build().unwrap();
        let works = async || {
            let seen: Value = client.get(stage.url("/readyz")).send().await.ok()?.json().await.ok()?;
            ["matrix", "mail"].iter().all(|bridge| seen["bridges"][bridge]["state"] == "up").then_some(())
        };
        until("the bridges to be up", works).await;
        stage
    }

    fn said_address(&mut self) -> Option<SocketAddr> {
        assert!(self.process.try_wait().unwrap().is_none(), "the gateway ended by itself:\n{}", self.log());
        let log = self.log();
        let ready = log.lines().find(|line| line.contains("deskbridge is ready"))?;
        let event: Value = serde_json::from_str(ready).ok()?;
        event["address"].as_str()?.parse().ok()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("err")).unwrap()).into_owned()
    }

    pub(super) fn out(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("out")).unwrap()
    }

    /// What the IRC server was told.
    pub(super) fn irc_heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// All that a collector was sent.
    pub(super) fn spans(&self) -> Output {
        Output::new("spans", self.spans.lock().unwrap().concat())
    }

    /// The conversation in which somebody wrote this.
    pub(super) fn conversation_with(&self, words: &str) -> Option<u64> {
        let conversations = self.sandbox.state()["conversations"].as_array()?.clone();
        conversations.iter().find(|found| found.to_string().contains(words))?["id"].as_u64()
    }

    pub(super) async fn stop(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("the gateway to stop", async || self.process.try_wait().unwrap()).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // One that has ended already is as good as killed.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn sandbox(pushed_to: SocketAddr) -> Sandbox {
    let homeserver = HomeserverSettings {
        as_token: AS.into(),
        hs_token: HS.into(),
        push_url: Some(format!("http://{pushed_to}")),
        ..HomeserverSettings::default().hastened(10)
    };
    let account = PostAccount { user: "acme".into(), password: RELAY.into() };
    let settings = SandboxSettings {
        api_access_token: API.into(),
        callback_secret: Some(CALLBACK.into()),
        homeserver: Some(homeserver),
        post: Some(PostSettings { account: Some(account), ..PostSettings::default() }),
        ..SandboxSettings::default()
    };
    Sandbox::start(settings).await.unwrap()
}

fn inbox(name: &str, sandbox: &Sandbox, token: &str, more: &str) -> String {
    let (account, inbox) = (sandbox.account_id(), sandbox.inbox_id());
    let url = sandbox.url();
    format!(
        "[inboxes.{name}]\nurl = \"{url}\"\naccount_id = {account}\ninbox_id = {inbox}\n\
         api_access_token = \"{token}\"\n{more}\n"
    )
}

/// One that works, and one whose token is not the account's.
fn matrix(sandbox: &Sandbox, listen: SocketAddr) -> String {
    let (url, home) = (sandbox.url(), sandbox.homeserver().unwrap());
    let settings = home.settings();
    format!(
        "[bridges.matrix]\nkind = \"matrix\"\ninbox = \"support\"\nmode = \"appservice\"\nlisten = \"{listen}\"\n\
         homeserver_url = \"{url}\"\nserver_name = \"{}\"\nas_token = \"{AS}\"\nhs_token = \"{HS}\"\nuser = \"{}\"\n\
         namespace = \"{}\"\nappservice_id = \"{}\"\n\
         [bridges.bot]\nkind = \"matrix\"\ninbox = \"support\"\nmode = \"sync\"\nhomeserver_url = \"{url}\"\n\
         access_token = \"{ACCESS}\"\n",
        settings.server_name, settings.support_localpart, settings.namespace_prefix, settings.appservice_id
    )
}

fn irc_bridge(port: u16) -> String {
    format!(
        "[bridges.irc]\nkind = \"irc\"\ninbox = \"support\"\nserver = \"127.0.0.1\"\nport = {port}\ntls = false\n\
         nick = \"helper\"\npassword = \"{IRC}\"\n\
         sasl = {{ mechanism = \"plain\", account = \"helper\", password = \"{SASL}\", required = false }}\n\
         channels = [{{ name = \"#acme\", key = \"{CHANNEL_KEY}\" }}]\n"
    )
}

fn mail_bridge(listen: SocketAddr, relay: u16) -> String {
    format!(
        "[bridges.mail]\nkind = \"smtp\"\ninbox = \"support\"\nlisten = \"{listen}\"\nhostname = \"desk.test\"\n\
         addresses = [\"help@desk.test\"]\nfrom = \"Acme <help@desk.test>\"\nverify = \"off\"\n\
         relay = {{ host = \"127.0.0.1\", port = {relay}, security = \"none\", username = \"acme\", password = \"{RELAY}\" }}\n"
    )
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Offers SASL, refuses it, lets everybody in all the same, and into no channel. Its thread ends with the process.
fn refusing_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let told = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away has heard enough.
            converse(stream, &told).ok();
        }
    });
    (port, heard)
}

fn converse(mut stream: TcpStream, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        heard.lock().unwrap().push(line.clone());
        let mut words = line.split(' ');
        let answer = match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            ("CAP", "LS") => ":irc.test CAP * LS :sasl".to_owned(),
            ("CAP", "REQ") => ":irc.test CAP * ACK :sasl".to_owned(),
            ("AUTHENTICATE", "PLAIN") => "AUTHENTICATE +".to_owned(),
            ("AUTHENTICATE", _) => ":irc.test 904 helper :SASL authentication failed".to_owned(),
            ("CAP", "END") => ":irc.test 001 helper :Welcome\r\n:irc.test 422 helper :no motd".to_owned(),
            ("JOIN", channel) => format!(":irc.test 475 helper {channel} :Cannot join channel (+k)"),
            ("PING", token) => format!(":irc.test PONG irc.test {token}"),
            _ => continue,
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}
