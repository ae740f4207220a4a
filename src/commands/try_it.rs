//! `deskbridge try`: the whole product in one process, with nothing to set up. The gateway, the sandbox inbox
//! with its agent's page, the sandbox homeserver with its customer's page, and a port that takes mail with a page
//! of what is answered, on loopback; with `--irc` also a real IRC network.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bridge_api::{Bridge, BridgeName, BridgeState, Secret};
use clap::Args;
use reqwest::Url;

use super::Failure;
use crate::{
    bridges::Registry,
    chatwoot::{AccountId, ClientSettings, InboxId},
    gateway::{BridgePlan, Gateway, InboxPlan, Plan, until_told},
    model::{InboxName, gate::GateRules},
    policy::WhenInDoubt,
    sandbox::{Sandbox, SandboxSettings, homeserver::HomeserverSettings, mail::PostSettings},
    settings::Kinds,
    store::{Place, SqliteStore, Store},
};

const INBOX: &str = "sandbox";
/// Names of the bridges.
const IRC: &str = "irc";
const MATRIX: &str = "matrix";
const MAIL: &str = "mail";
/// Where the agent's page usually is.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8700);
/// Where mail is usually taken.
const USUAL_MAIL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

#[derive(Debug, Args)]
pub struct TryArgs {
    /// Keep the data here; a temporary folder otherwise
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Join a real IRC network: `irc://host[:port]/channel`, or `ircs://` with TLS
    #[arg(long, value_name = "URL")]
    pub irc: Option<String>,
    /// Nick on that network
    #[arg(long, value_name = "NICK", default_value = "deskbridge")]
    pub nick: String,
    /// Where the agent's page listens [default: 127.0.0.1:8700, or a free port when that one is taken]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where mail is taken [default: 127.0.0.1:2525, or a free port when that one is taken]
    #[arg(long, value_name = "ADDR")]
    pub listen_mail: Option<SocketAddr>,
}

/// Where an IRC network is, from its URL.
#[derive(Debug, PartialEq, Eq)]
struct IrcPlace {
    host: String,
    port: u16,
    tls: bool,
    /// With its `#`.
    channel: Option<String>,
}

/// Runs until a signal.
pub async fn run(args: &TryArgs, registry: &Registry) -> Result<(), Failure> {
    let irc = args.irc.as_deref().map(irc_place).transpose()?;
    let mut bridges = Vec::new();
    if let Some(place) = &irc {
        bridges.push((IRC, irc_bridge(place, &args.nick, registry)?));
    }
    let temporary = match args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| Failure::new(format!("no temporary folder: {error}")))?),
    };
    let data_dir = args.data_dir.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let data_dir = data_dir.expect("one of the two is there").to_owned();

    let sandbox = start_sandbox(args.listen).await?;
    let place = Place::in_dir(&data_dir);
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await;
    let store = opened.map_err(|error| Failure::new(error.to_string()))?;
    let store: Arc<dyn Store> = Arc::new(store.map_err(|error| Failure::new(error.to_string()))?);
    bridges.push((MATRIX, matrix_bridge(&sandbox, registry)?));
    let mail = mail_place(args.listen_mail)?;
    bridges.push((MAIL, mail_bridge(&sandbox, mail, registry)?));
    sandbox.set_mail_target(mail);
    let plan = plan(&sandbox, bridges, &data_dir)?;
    let token = plan.admin_token.clone();
    let gateway = Gateway::start(plan, store).await.map_err(|error| Failure::new(error.to_string()))?;
    sandbox.set_callback_url(format!("http://{}/callbacks/{INBOX}", gateway.address()));
    until_mail_is_taken(&gateway).await;
    println!("{}", welcome(&sandbox, &gateway, (irc.as_ref(), mail), args, (&data_dir, token.as_ref())));
    let ended = until_told(gateway, None).await;
    sandbox.stop().await;
    ended.map_err(|error| Failure::new(error.to_string()))
}

/// A first look must not fail because something else has the usual port.
async fn start_sandbox(listen: Option<SocketAddr>) -> Result<Sandbox, Failure> {
    let start = |listen| {
        let (homeserver, post) = (Some(HomeserverSettings::default()), Some(PostSettings::default()));
        Sandbox::start(SandboxSettings { listen, homeserver, post, ..SandboxSettings::default() })
    };
    let failed = |error| Failure::new(format!("{error}; choose another address by --listen"));
    match listen {
        Some(listen) => start(listen).await.map_err(failed),
        None => match start(USUAL).await {
            Ok(sandbox) => Ok(sandbox),
            Err(_) => start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(failed),
        },
    }
}

fn plan(sandbox: &Sandbox, bridges: Vec<(&str, Arc<dyn Bridge>)>, data_dir: &Path) -> Result<Plan, Failure> {
    let url = Url::parse(&sandbox.url()).map_err(|error| Failure::new(error.to_string()))?;
    let settings = SandboxSettings::default();
    let (account, inbox) = (AccountId(settings.account_id as i64), InboxId(settings.inbox_id as i64));
    let client = ClientSettings::new(url, account, inbox, Secret::new(settings.api_access_token));
    let inbox = InboxPlan {
        callback_secret: Some(Secret::new(sandbox.callback_secret())),
        ..InboxPlan::new(InboxName::new(INBOX), client)
    };
    let bridges = bridges.into_iter().map(|(name, bridge)| BridgePlan {
        name: BridgeName::from(name),
        inbox: InboxName::new(INBOX),
        when_in_doubt: WhenInDoubt::Repeat,
        peer_pace: None,
        gate: GateRules::default(),
        bridge,
    });
    Ok(Plan {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data_dir: data_dir.to_owned(),
        admin_token: Some(admin_token()?),
        admin_hosts: Vec::new(),
        stop_limit: Duration::from_secs(20),
        retention: Duration::from_hours(30 * 24),
        inboxes: vec![inbox],
        bridges: bridges.collect(),
    })
}

/// For this run alone: it is printed beside the page's address.
fn admin_token() -> Result<Secret, Failure> {
    let mut bytes = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| Failure::new("this system has no randomness"))?;
    Ok(Secret::new(hex::encode(bytes)))
}

/// The same table that a settings file would hold.
fn irc_bridge(place: &IrcPlace, nick: &str, registry: &Registry) -> Result<Arc<dyn Bridge>, Failure> {
    let mut table = toml::Table::new();
    table.insert("server".into(), place.host.clone().into());
    table.insert("port".into(), i64::from(place.port).into());
    table.insert("tls".into(), place.tls.into());
    table.insert("nick".into(), nick.into());
    if let Some(channel) = &place.channel {
        let channel = toml::Table::from_iter([("name".to_owned(), toml::Value::from(channel.as_str()))]);
        table.insert("channels".into(), vec![toml::Value::Table(channel)].into());
    }
    built(registry, IRC, table)
}

/// The customer's side: the sandbox's own homeserver, over its appservice websocket.
fn matrix_bridge(sandbox: &Sandbox, registry: &Registry) -> Result<Arc<dyn Bridge>, Failure> {
    let home = sandbox.homeserver().ok_or_else(|| Failure::new("the sandbox has no homeserver"))?;
    let settings = home.settings();
    let mut table = toml::Table::new();
    for (key, value) in [
        ("mode", "websocket"),
        ("homeserver_url", &sandbox.url()),
        ("server_name", &settings.server_name),
        ("as_token", &settings.as_token),
        ("hs_token", &settings.hs_token),
        ("user", &settings.support_localpart),
        ("namespace", &settings.namespace_prefix),
        ("appservice_id", &settings.appservice_id),
        ("display_name", "Support"),
    ] {
        table.insert(key.to_owned(), value.into());
    }
    built(registry, MATRIX, table)
}

/// The first thing that is printed has to work at once. A port that stays closed is named by the log.
async fn until_mail_is_taken(gateway: &Gateway) {
    for _ in 0..100 {
        let states = gateway.board().bridges();
        if states.get(MAIL).is_some_and(|stated| stated.state == BridgeState::Up) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The bridge opens the port by itself a moment later; whoever takes it in between is named by the log.
fn mail_place(listen: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
    let find = |address| TcpListener::bind(address).and_then(|listener| listener.local_addr());
    let found = match listen {
        Some(address) => find(address),
        None => find(USUAL_MAIL).or_else(|_| find(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
    };
    found.map_err(|error| Failure::new(format!("no port for mail: {error}; choose another address by --listen-mail")))
}

/// People write by any mail program; the sandbox's relay takes what is answered and shows it on a page.
fn mail_bridge(sandbox: &Sandbox, listen: SocketAddr, registry: &Registry) -> Result<Arc<dyn Bridge>, Failure> {
    let post = sandbox.post().ok_or_else(|| Failure::new("the sandbox has no relay"))?;
    let desk = PostSettings::default().desk_address;
    let mut relay = toml::Table::new();
    relay.insert("host".into(), post.address().ip().to_string().into());
    relay.insert("port".into(), i64::from(post.address().port()).into());
    relay.insert("security".into(), "none".into());
    let mut table = toml::Table::new();
    for (key, value) in [
        ("listen", listen.to_string()),
        ("hostname", "desk.test".to_owned()),
        ("from", format!("Support <{desk}>")),
        ("verify", "off".to_owned()),
    ] {
        table.insert(key.to_owned(), value.into());
    }
    table.insert("addresses".into(), vec![toml::Value::from(desk)].into());
    table.insert("relay".into(), relay.into());
    built_as(registry, MAIL, "smtp", table)
}

fn built(registry: &Registry, kind: &str, table: toml::Table) -> Result<Arc<dyn Bridge>, Failure> {
    built_as(registry, kind, kind, table)
}

fn built_as(registry: &Registry, name: &str, kind: &str, table: toml::Table) -> Result<Arc<dyn Bridge>, Failure> {
    let built = registry.build(&BridgeName::from(name), kind, table);
    built.map_err(|faults| Failure::new(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

/// `irc://host/support`, `irc://host/#support` and `irc://host` are all in use.
fn irc_place(url: &str) -> Result<IrcPlace, Failure> {
    let wrong =
        |reason: &str| Failure::usage(format!("--irc {url}: {reason}; write it like irc://127.0.0.1:6667/#support"));
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let tls = match parsed.scheme() {
        "irc" => false,
        "ircs" => true,
        _ => return Err(wrong("it must begin with irc:// or ircs://")),
    };
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = parsed.path().trim_start_matches('/');
    let channel = match (path, parsed.fragment()) {
        ("", None | Some("")) => None,
        ("", Some(name)) => Some(format!("#{name}")),
        (name, _) if name.starts_with(['#', '&', '+', '!']) => Some(name.to_owned()),
        (name, _) => Some(format!("#{}", name.strip_prefix("%23").unwrap_or(name))),
    };
    Ok(IrcPlace { host, port: parsed.port().unwrap_or(if tls { 6697 } else { 6667 }), tls, channel })
}

fn welcome(
    sandbox: &Sandbox,
    gateway: &Gateway,
    (irc, mail): (Option<&IrcPlace>, SocketAddr),
    args: &TryArgs,
    (data_dir, token): (&Path, Option<&Secret>),
) -> String {
    let desk = PostSettings::default().desk_address;
    let people = match irc {
        None => "irc              add --irc irc://HOST/CHANNEL to join a network".to_owned(),
        Some(place) => {
            let nick = &args.nick;
            let channel = place.channel.as_deref();
            let channel = channel.map_or_else(String::new, |name| format!(", or say `{nick}: hello` in {name}"));
            format!("irc              write to the nick `{nick}` on {}:{}{channel}", place.host, place.port)
        }
    };
    let url = sandbox.url();
    format!(
        "customer's page  {url}/customer\nagent's page     {url}/\nmail page        {url}/mail\n\
         mail             to {desk} at smtp://{mail}, for example:\n\
         \u{20}                printf 'Subject: Hello\\n\\nIt hums.\\n' | curl smtp://{mail} --mail-from ada@example.org --mail-rcpt {desk} -T -\n\
         {people}\nstatus page      http://{}/\nadmin token      {}\ndata             {}\n\nCtrl-C stops it.",
        gateway.address(),
        token.map_or("", Secret::expose),
        data_dir.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_irc_url_names_host_port_and_channel() {
        let place = |host: &str, port, tls, channel: Option<&str>| IrcPlace {
            host: host.into(),
            port,
            tls,
            channel: channel.map(str::to_owned),
        };
        let cases = [
            ("irc://127.0.0.1:6667/#support", place("127.0.0.1", 6667, false, Some("#support"))),
            ("irc://127.0.0.1/support", place("127.0.0.1", 6667, false, Some("#support"))),
            ("ircs://irc.example.org/%23support", place("irc.example.org", 6697, true, Some("#support"))),
            ("ircs://irc.example.org:7000", place("irc.example.org", 7000, true, None)),
            ("irc://[::1]/&local", place("::1", 6667, false, Some("&local"))),
        ];
        for (url, expected) in cases {
            assert_eq!(irc_place(url).unwrap(), expected, "{url}");
        }
        for url in ["http://irc.example.org", "irc:///x", "support"] {
            assert!(irc_place(url).is_err(), "{url}");
        }
    }
}
