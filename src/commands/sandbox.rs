//! `deskbridge sandbox`: the stand-in inbox alone, until a signal ends it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::clock;
use crate::sandbox::homeserver::{Dialect, HomeserverSettings};
use crate::sandbox::mail::{MailTarget, PostSettings};
use crate::sandbox::{Role, Sandbox, SandboxSettings};

/// The stand-in API inbox alone, with its agent page
#[derive(clap::Args)]
pub struct SandboxArgs {
    /// Where the inbox and its page listen; what is not loopback lets others read and write there
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    pub listen: SocketAddr,
    /// Where callbacks go: the gateway's /callbacks/NAME
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// The token that the gateway must send
    #[arg(long, value_name = "TOKEN", default_value = "sandbox-token", env = "DESKBRIDGE_SANDBOX_TOKEN")]
    pub api_access_token: String,
    /// A file that holds that token
    #[arg(long, value_name = "FILE", conflicts_with = "api_access_token")]
    pub api_access_token_file: Option<PathBuf>,
    /// The key that callbacks are signed with; a random one when left out
    #[arg(long, value_name = "SECRET", env = "DESKBRIDGE_SANDBOX_SECRET")]
    pub callback_secret: Option<String>,
    /// A file that holds that key
    #[arg(long, value_name = "FILE", conflicts_with = "callback_secret")]
    pub callback_secret_file: Option<PathBuf>,
    /// One conversation a person for ever, instead of a new one after each resolve
    #[arg(long)]
    pub lock: bool,
    /// Numbers that no earlier run gave out, for a gateway that kept its data while the sandbox forgot
    #[arg(long)]
    pub new_numbers: bool,
    /// Whose token it is: an agent's may not change inboxes and sees no secret
    #[arg(long, value_enum, value_name = "ROLE", default_value = "administrator")]
    pub role: Owner,
    /// Refuse to call private addresses, as Chatwoot does without `SAFE_FETCH_ALLOW_PRIVATE_NETWORK`
    #[arg(long)]
    pub refuse_private: bool,
    /// Which Chatwoot to play: before 4.13 nothing is signed
    #[arg(long, value_name = "VERSION", default_value = "4.15.1")]
    pub chatwoot_version: String,
    /// Also a stand-in Matrix homeserver, with a customer's page at /customer and an appservice websocket
    #[arg(long, value_name = "DIALECT", num_args = 0..=1, default_missing_value = "asmux")]
    pub homeserver: Option<Habits>,
    /// Also a stand-in mail relay that keeps what it takes, on a free port unless one is given, with a page at /mail
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub mail: Option<SocketAddr>,
    /// Where the gateway takes mail: what is written on the page at /mail goes there
    #[arg(long, value_name = "HOST:PORT", requires = "mail")]
    pub mail_target: Option<MailTarget>,
}

/// Whose the token is.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Owner {
    Administrator,
    Agent,
}

/// Whose websocket the stand-in homeserver speaks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Habits {
    /// Transactions are numbered, and repeated until they are acknowledged
    Asmux,
    /// Nothing is acknowledged: what was written is forgotten
    Wsproxy,
}

/// Without the token and the key.
impl std::fmt::Debug for SandboxArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxArgs").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl SandboxArgs {
    fn settings(self) -> Result<SandboxSettings, Failure> {
        let target = self.mail_target;
        let token = self.api_access_token_file.as_deref().map(read).transpose()?;
        let secret = self.callback_secret_file.as_deref().map(read).transpose()?;
        Ok(SandboxSettings {
            listen: self.listen,
            api_access_token: token.unwrap_or(self.api_access_token),
            callback_url: self.callback_url,
            callback_secret: secret.or(self.callback_secret),
            lock_to_single_conversation: self.lock,
            messages_before: if self.new_numbers { millis_of_the_project() } else { 0 },
            role: match self.role {
                Owner::Administrator => Role::Administrator,
                Owner::Agent => Role::Agent,
            },
            refuse_private_callbacks: self.refuse_private,
            chatwoot_version: self.chatwoot_version,
            homeserver: self.homeserver.map(homeserver),
            post: self.mail.map(|listen| PostSettings { listen, target, ..PostSettings::default() }),
            ..SandboxSettings::default()
        })
    }
}

/// Faster than anybody writes, and still short.
fn millis_of_the_project() -> u64 {
    /// 2025-01-01.
    const BEGUN_MILLIS: i64 = 1_735_689_600_000;
    u64::try_from(clock::now_millis() - BEGUN_MILLIS).unwrap_or(0)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(Failure::usage(format!("{} is empty", file.display()))) } else { Ok(text.to_owned()) }
}

fn homeserver(habits: Habits) -> HomeserverSettings {
    let dialect = match habits {
        Habits::Asmux => Dialect::Asmux,
        Habits::Wsproxy => Dialect::Wsproxy,
    };
    HomeserverSettings { dialect, ..HomeserverSettings::default() }
}

/// Runs until a signal.
pub async fn run(args: SandboxArgs) -> Result<(), Failure> {
    let no_signals = |error| Failure::new(format!("no signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let callback_url = args.callback_url.clone();
    let sandbox = Sandbox::start(args.settings()?).await;
    let sandbox =
        sandbox.map_err(|error| Failure::new(format!("{error}; choose another address by --listen or --mail")))?;
    super::print(&introduction(&sandbox, callback_url.as_deref()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}

fn introduction(sandbox: &Sandbox, callback_url: Option<&str>) -> String {
    let mut text = inbox(sandbox, callback_url);
    if let Some(home) = sandbox.homeserver() {
        let settings = home.settings();
        let lines = [
            ("customer page", format!("{}/customer", shown_url(sandbox))),
            ("homeserver_url", shown_url(sandbox)),
            ("server_name", settings.server_name.clone()),
            ("as_token", settings.as_token.clone()),
            ("hs_token", settings.hs_token.clone()),
            ("user", settings.support_localpart.clone()),
            ("namespace", settings.namespace_prefix.clone()),
        ];
        text.extend(lines.map(|(name, value)| format!("{name:<18}{value}\n")));
    }
    if let Some(post) = sandbox.post() {
        let target = post.target().map_or_else(
            || "nowhere yet (--mail-target, or POST /sandbox/mail/target)".to_owned(),
            |target| target.to_string(),
        );
        let lines = [
            ("mail page", format!("{}/mail", shown_url(sandbox))),
            ("mail relay", format!("{} (security = \"none\")", post.address())),
            ("its mails go to", target),
        ];
        text.extend(lines.map(|(name, value)| format!("{name:<18}{value}\n")));
    }
    text
}

fn inbox(sandbox: &Sandbox, callback_url: Option<&str>) -> String {
    format!(
        "agent page        {url}/\n\
         url               {url}\n\
         account_id        {account}\n\
         inbox_id          {inbox}\n\
         api_access_token  {token}\n\
         callback_secret   {secret}\n\
         callbacks go to   {callback}\n",
        url = shown_url(sandbox),
        account = sandbox.account_id(),
        inbox = sandbox.inbox_id(),
        token = sandbox.api_access_token(),
        secret = sandbox.callback_secret(),
        callback = callback_url.unwrap_or("nowhere yet (--callback-url, or the inbox's webhook_url)"),
    )
}

/// One that opens in a browser on this machine, also when every address is listened on.
fn shown_url(sandbox: &Sandbox) -> String {
    let address = sandbox.address();
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[tokio::test]
    async fn the_introduction_names_all_that_a_gateway_needs() {
        let settings = SandboxSettings {
            callback_secret: Some("demo-secret".to_owned()),
            homeserver: Some(homeserver(Habits::Wsproxy)),
            post: Some(PostSettings {
                target: Some(SocketAddr::from(([127, 0, 0, 1], 2525)).into()),
                ..PostSettings::default()
            }),
            ..SandboxSettings::default()
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let text = introduction(&sandbox, None);
        let relay = format!("mail relay        {}", sandbox.post().unwrap().address());
        for wanted in [
            sandbox.url().as_str(),
            "sandbox-token",
            "demo-secret",
            "account_id        1",
            "inbox_id          7",
            "/customer\n",
            "as_token          sandbox-as-token",
            "user              _desk_support",
            "/mail\n",
            relay.as_str(),
            "its mails go to   127.0.0.1:2525",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        sandbox.stop().await;
    }
    /// The flags as somebody types them.
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SandboxArgs,
    }

    fn post_of(words: &[&str]) -> Result<Option<PostSettings>, clap::Error> {
        Ok(settings_of(words)?.post)
    }

    fn settings_of(words: &[&str]) -> Result<SandboxSettings, clap::Error> {
        let line = Line::try_parse_from([&["sandbox"], words].concat())?;
        Ok(line.args.settings().expect("files that can be read"))
    }

    #[test]
    fn a_token_and_a_key_may_come_from_files_and_then_stand_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (token, key) = (file("token", "t0ken\n"), file("key", "k3y"));
        let settings = settings_of(&["--api-access-token-file", &token, "--callback-secret-file", &key]).unwrap();
        assert_eq!((settings.api_access_token.as_str(), settings.callback_secret.as_deref()), ("t0ken", Some("k3y")));
        assert_eq!(settings_of(&[]).unwrap().api_access_token, "sandbox-token");
        assert!(settings_of(&["--callback-secret-file", &key, "--callback-secret", "x"]).is_err());
        for bad in [file("empty", "\n"), folder.path().join("absent").to_str().unwrap().to_owned()] {
            let line = Line::try_parse_from(["sandbox", "--api-access-token-file", &bad]).unwrap();
            assert!(matches!(line.args.settings(), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_shown_opens_in_a_browser() {
        let every = SandboxSettings { listen: ([0, 0, 0, 0], 0).into(), ..SandboxSettings::default() };
        let sandbox = Sandbox::start(every).await.unwrap();
        assert_eq!(shown_url(&sandbox), format!("http://127.0.0.1:{}", sandbox.address().port()));
        sandbox.stop().await;
    }

    #[test]
    fn a_relay_is_there_only_when_asked_for_and_its_target_only_with_it() {
        let of = |words: &[&str]| post_of(words).unwrap().map(|post| (post.listen.to_string(), post.target));
        let target = Some("127.0.0.1:2525".parse().unwrap());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["--mail"]), Some(("127.0.0.1:0".to_owned(), None)));
        assert_eq!(of(&["--mail", "127.0.0.1:2600"]), Some(("127.0.0.1:2600".to_owned(), None)));
        assert_eq!(of(&["--mail", "--mail-target", "127.0.0.1:2525"]), Some(("127.0.0.1:0".to_owned(), target)));
        for wrong in [&["--mail-target", "127.0.0.1:2525"][..], &["--mail", "somewhere"]] {
            assert!(post_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
