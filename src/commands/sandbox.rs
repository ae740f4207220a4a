//! `deskbridge sandbox`: the stand-in inbox alone, until a signal ends it.

use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::sandbox::homeserver::{Dialect, HomeserverSettings};
use crate::sandbox::mail::PostSettings;
use crate::sandbox::{Sandbox, SandboxSettings};

/// The stand-in API inbox alone, with its agent page
#[derive(clap::Args)]
pub struct SandboxArgs {
    /// Where the inbox and its page listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    pub listen: SocketAddr,
    /// Where callbacks go: the gateway's /callbacks/NAME
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// The token that the gateway must send
    #[arg(long, value_name = "TOKEN", default_value = "sandbox-token", env = "DESKBRIDGE_SANDBOX_TOKEN")]
    pub api_access_token: String,
    /// The key that callbacks are signed with; a random one when left out
    #[arg(long, value_name = "SECRET", env = "DESKBRIDGE_SANDBOX_SECRET")]
    pub callback_secret: Option<String>,
    /// One conversation a person for ever, instead of a new one after each resolve
    #[arg(long)]
    pub lock: bool,
    /// Also a stand-in Matrix homeserver, with a customer's page at /customer and an appservice websocket
    #[arg(long, value_name = "DIALECT", num_args = 0..=1, default_missing_value = "asmux")]
    pub homeserver: Option<Habits>,
    /// Also a stand-in mail relay that keeps what it takes, on a free port unless one is given, with a page at /mail
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub mail: Option<SocketAddr>,
    /// Where the gateway takes mail: what is written on the page at /mail goes there
    #[arg(long, value_name = "ADDR", requires = "mail")]
    pub mail_target: Option<SocketAddr>,
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
    fn settings(self) -> SandboxSettings {
        let target = self.mail_target;
        SandboxSettings {
            listen: self.listen,
            api_access_token: self.api_access_token,
            callback_url: self.callback_url,
            callback_secret: self.callback_secret,
            lock_to_single_conversation: self.lock,
            homeserver: self.homeserver.map(homeserver),
            post: self.mail.map(|listen| PostSettings { listen, target, ..PostSettings::default() }),
            ..SandboxSettings::default()
        }
    }
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
    let sandbox = Sandbox::start(args.settings()).await;
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
            ("customer page", format!("{}/customer", sandbox.url())),
            ("homeserver_url", sandbox.url()),
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
            |address| address.to_string(),
        );
        let lines = [
            ("mail page", format!("{}/mail", sandbox.url())),
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
        url = sandbox.url(),
        account = sandbox.account_id(),
        inbox = sandbox.inbox_id(),
        token = sandbox.api_access_token(),
        secret = sandbox.callback_secret(),
        callback = callback_url.unwrap_or("nowhere yet (--callback-url, or the inbox's webhook_url)"),
    )
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
            post: Some(PostSettings { target: Some(([127, 0, 0, 1], 2525).into()), ..PostSettings::default() }),
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
        let line = Line::try_parse_from([&["sandbox"], words].concat())?;
        Ok(line.args.settings().post)
    }

    #[test]
    fn a_relay_is_there_only_when_asked_for_and_its_target_only_with_it() {
        let of = |words: &[&str]| post_of(words).unwrap().map(|post| (post.listen.to_string(), post.target));
        let target = Some(SocketAddr::from(([127, 0, 0, 1], 2525)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["--mail"]), Some(("127.0.0.1:0".to_owned(), None)));
        assert_eq!(of(&["--mail", "127.0.0.1:2600"]), Some(("127.0.0.1:2600".to_owned(), None)));
        assert_eq!(of(&["--mail", "--mail-target", "127.0.0.1:2525"]), Some(("127.0.0.1:0".to_owned(), target)));
        for wrong in [&["--mail-target", "127.0.0.1:2525"][..], &["--mail", "somewhere"]] {
            assert!(post_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
