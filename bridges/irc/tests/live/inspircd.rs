//! `InspIRCd` with Anope's services: TLS, log-in, accounts on lines, echoes with labels, MONITOR.

use std::{fs, path::Path, time::Duration};

use bridge_api::{BridgeState, FaultKind, kit::RecordingHost};
use serde_json::{Value, json};

use crate::{
    peer::{PATIENCE, Person, Running, text_of},
    server::{Server, free_port},
};

const MODULES: [&str; 22] = [
    "cap",
    "ircv3",
    "ircv3_accounttag",
    "ircv3_batch",
    "ircv3_capnotify",
    "ircv3_chghost",
    "ircv3_ctctags",
    "ircv3_echomessage",
    "ircv3_labeledresponse",
    "ircv3_msgid",
    "ircv3_servertime",
    "monitor",
    "sasl",
    "services_account",
    "callerid",
    "spanningtree",
    "sha256",
    "hidechans",
    "chghost",
    "chgident",
    "svshold",
    "uhnames",
];

struct Network {
    _inspircd: Server,
    _anope: Server,
    port: u16,
    tls_port: u16,
    ca_file: String,
}

async fn start() -> Option<Network> {
    let (inspircd, anope) = (Server::find("/usr/sbin/inspircd")?, Server::find("/usr/sbin/anope")?);
    let (port, tls_port, link_port) = (free_port(), free_port(), free_port());
    let folder = Server::folder();
    certificate(folder.path());
    let ca_file = folder.path().join("cert.pem").to_str().expect("a plain path").to_owned();
    let file = folder.path().join("inspircd.conf");
    fs::write(&file, inspircd_config(folder.path(), port, tls_port, link_port)).expect("our own folder");
    let file = file.to_str().expect("a plain path").to_owned();
    let inspircd = Server::start(inspircd, &["--nofork", "--nopid", "--config", &file], folder);
    Server::wait_for_port(port).await;
    let folder = Server::folder();
    anope_config(folder.path(), link_port);
    let path = folder.path().to_str().expect("a plain path").to_owned();
    let (conf, db, logs) = (format!("--confdir={path}"), format!("--dbdir={path}"), format!("--logdir={path}"));
    let arguments = ["--nofork", &conf, &db, &logs, "--localedir=/usr/share/locale", "--modulesdir=/usr/lib/anope"];
    let anope = Server::start(anope, &arguments, folder);
    Some(Network { _inspircd: inspircd, _anope: anope, port, tls_port, ca_file })
}

fn certificate(folder: &Path) {
    let names = ["irc.test", "localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("our own folder");
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("our own folder");
}

fn inspircd_config(folder: &Path, port: u16, tls_port: u16, link_port: u16) -> String {
    let folder = folder.display();
    let modules: String = MODULES.map(|name| format!("<module name=\"{name}\">\n")).concat();
    format!(
        r#"<server name="irc.test" description="test" id="001" network="Test">
<admin name="a" nick="a" email="a@irc.test">
<path configdir="{folder}" datadir="{folder}" logdir="{folder}" moduledir="/usr/lib/inspircd/modules">
<module name="ssl_gnutls">
<sslprofile name="tls" provider="gnutls" certfile="{folder}/cert.pem" keyfile="{folder}/key.pem" hash="sha256">
<bind address="127.0.0.1" port="{port}" type="clients">
<bind address="127.0.0.1" port="{tls_port}" type="clients" sslprofile="tls">
<bind address="127.0.0.1" port="{link_port}" type="servers">
<connect allow="*" threshold="100" commandrate="100000" fakelag="no" recvq="100K" softsendq="1M" hardsendq="1M" localmax="100" globalmax="100" resolvehostnames="no" useident="no">
<options casemapping="ascii">
<link name="services.irc.test" ipaddr="127.0.0.1" port="{link_port}" allowmask="127.0.0.1" recvpass="p" sendpass="p">
<uline server="services.irc.test" silent="yes">
<sasl target="services.irc.test" requiressl="no">
{modules}"#
    )
}

fn anope_config(folder: &Path, link_port: u16) {
    fs::write(folder.join("services.motd"), "hi\n").expect("our own folder");
    let modules = ["nickserv", "ns_register", "ns_identify", "ns_logout", "ns_recover", "m_sasl", "enc_sha256"];
    let modules = modules.map(|name| match name {
        "nickserv" => "module { name = \"nickserv\"\n client = \"NickServ\"\n forceemail = no\n \
                       defaults = \"kill_quick ns_private\"\n regdelay = 0s\n expire = 21d\n killquick = 20s\n \
                       kill = 60s\n restrictopernicks = yes\n guestnickprefix = \"Guest\"\n passlen = 32\n}\n"
            .to_owned(),
        "ns_register" => "module { name = \"ns_register\"\n registration = \"none\"\n}\n".to_owned(),
        name => format!("module {{ name = \"{name}\" }}\n"),
    });
    let commands = ["register", "identify", "logout", "recover"].map(|name| {
        format!(
            "command {{ service = \"NickServ\"; name = \"{}\"; command = \"nickserv/{name}\"; }}\n",
            name.to_uppercase()
        )
    });
    let (modules, commands) = (modules.concat(), commands.concat());
    let pid = folder.join("services.pid").display().to_string();
    let config = format!(
        "uplink {{ host = \"127.0.0.1\"\n port = {link_port}\n password = \"p\"\n}}\n\
         serverinfo {{ name = \"services.irc.test\"\n description = \"services\"\n pid = \"{pid}\"\n motd = \"services.motd\"\n id = \"00B\"\n}}\n\
         networkinfo {{ networkname = \"Test\"\n nicklen = 30\n userlen = 10\n hostlen = 64\n chanlen = 60\n}}\n\
         options {{ casemap = \"ascii\"\n strictpasswords = no\n readtimeout = 5s\n warningtimeout = 4h\n timeoutcheck = 3s\n updatetimeout = 5m\n expiretimeout = 30m\n nonicknameownership = no\n defaultlanguage = \"\"\n}}\n\
         module {{ name = \"inspircd3\"\n use_server_side_mlock = yes\n use_server_side_topiclock = yes\n}}\n\
         service {{ nick = \"NickServ\"\n user = \"services\"\n host = \"services.irc.test\"\n gecos = \"Nickname Service\"\n}}\n\
         {modules}{commands}\
         module {{ name = \"db_flatfile\"\n database = \"anope.db\"\n fork = no\n}}\n"
    );
    fs::write(folder.join("services.conf"), config).expect("our own folder");
}

/// Registers an account for the nick, once the services are there.
async fn register(person: &mut Person, nick: &str) {
    let mut lines = Vec::new();
    for _ in 0..60 {
        person.write("PRIVMSG NickServ :REGISTER sesame42 mail@irc.test").await;
        lines = person.read_all().await;
        if lines.iter().any(|line| line.contains(" 900 ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the services did not register {nick}: {lines:?}");
}

fn settings(network: &Network, more: &Value) -> Value {
    let mut table = json!({ "server": "127.0.0.1", "port": network.tls_port, "tls": { "ca_file": network.ca_file },
            "nick": "help", "pace": { "burst": 50, "per_second": 50.0 } });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    table
}

async fn with_account(network: &Network) -> Running {
    let mut owner = Person::connect(network.port, "help").await;
    register(&mut owner, "help").await;
    owner.write("QUIT :bye").await;
    owner.read_until(|line| line.contains("ERROR")).await;
    let sasl = json!({ "mechanism": "plain", "account": "help", "password": "sesame42" });
    let running = Running::start(settings(network, &json!({ "sasl": sasl })), RecordingHost::new());
    running.up().await;
    running
}

#[tokio::test]
async fn tls_login_accounts_and_echoes_work_together() {
    let Some(network) = start().await else { return };
    let running = with_account(&network).await;
    let mut anna = Person::connect(network.port, "anna").await;
    register(&mut anna, "anna").await;
    anna.write("PRIVMSG help :one").await;
    let messages = running.messages(1).await;
    assert_eq!(messages[0].thread.as_str(), "a:anna");
    let out = running.outbound("support/1/0", &messages[0].thread, "hello");
    let sent = running.bridge.send(&out).await.expect("anna is there");
    assert!(sent.event.is_some(), "the server's own id of the line");
    anna.read_until(|line| line.contains("PRIVMSG anna :hello")).await;
    anna.write("PRIVMSG NickServ :LOGOUT").await;
    anna.read_until(|line| line.contains(" 901 ")).await;
    anna.write("PRIVMSG help :two").await;
    let messages = running.messages(2).await;
    assert!(messages[1].thread.as_str().starts_with("s:"), "logged out is not the account");
    let out = running.outbound("support/2/0", &messages[0].thread, "secret");
    assert_eq!(running.bridge.send(&out).await.expect_err("not logged in").kind, FaultKind::Refused);
    let out = running.outbound("support/3/0", &messages[1].thread, "to the session");
    running.bridge.send(&out).await.expect("the same connection");
    anna.write("QUIT :bye").await;
    anna.read_until(|line| line.contains("ERROR")).await;
    let out = running.outbound("support/4/0", &messages[1].thread, "nobody");
    assert_eq!(running.bridge.send(&out).await.expect_err("gone").kind, FaultKind::Refused);
    running.stop().await;
}

#[tokio::test]
async fn a_person_behind_caller_id_is_a_failure_with_a_reason() {
    let Some(network) = start().await else { return };
    let running = Running::start(settings(&network, &json!({})), RecordingHost::new());
    running.up().await;
    let mut ben = Person::connect(network.port, "ben").await;
    for text in ["one", "two", "three"] {
        ben.write(&format!("PRIVMSG help :{text}")).await;
    }
    let messages = running.messages(3).await;
    assert_eq!(messages.iter().map(text_of).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(messages[0].thread, messages[2].thread);
    ben.write("MODE ben +g").await;
    ben.read_until(|line| line.contains("MODE")).await;
    let out = running.outbound("support/1/0", &messages[0].thread, "hello");
    let fault = running.bridge.send(&out).await.expect_err("caller id");
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.reason.contains("accept"), "{fault}");
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_password_keeps_the_bridge_away() {
    let Some(network) = start().await else { return };
    with_account(&network).await.stop().await;
    let sasl = json!({ "mechanism": "plain", "account": "help", "password": "wrong" });
    let running = Running::start(settings(&network, &json!({ "sasl": sasl })), RecordingHost::new());
    let down = running.host.wait_for(|seen| match seen.states.last() {
        Some(BridgeState::Down { reason }) => Some(reason.clone()),
        _ => None,
    });
    let reason = tokio::time::timeout(PATIENCE, down).await.expect("refused in time");
    assert!(reason.contains("sasl"), "{reason}");
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_and_a_pinned_one_is_not() {
    let Some(network) = start().await else { return };
    let distrusted =
        Running::start(settings(&network, &json!({ "tls": { "pin_sha256": "00".repeat(32) } })), RecordingHost::new());
    let down = distrusted.host.wait_for(|seen| match seen.states.last() {
        Some(BridgeState::Down { reason }) => Some(reason.clone()),
        _ => None,
    });
    let reason = tokio::time::timeout(PATIENCE, down).await.expect("refused in time");
    let pin = reason.rsplit(' ').next().expect("the fingerprint is named").to_owned();
    distrusted.stop().await;
    let pinned = Running::start(settings(&network, &json!({ "tls": { "pin_sha256": pin } })), RecordingHost::new());
    pinned.up().await;
    pinned.stop().await;
}

#[tokio::test]
async fn a_nick_taken_over_never_receives_the_others_reply() {
    let Some(network) = start().await else { return };
    let running = Running::start(settings(&network, &json!({})), RecordingHost::new());
    running.up().await;
    let mut anna = Person::connect(network.port, "anna").await;
    anna.write("PRIVMSG help :it is me").await;
    let messages = running.messages(1).await;
    anna.write("NICK anna2").await;
    anna.read_until(|line| line.contains("NICK")).await;
    let mut other = Person::connect(network.port, "other").await;
    other.write("NICK anna").await;
    other.read_until(|line| line.contains("NICK")).await;
    let out = running.outbound("support/1/0", &messages[0].thread, "a secret");
    let fault = running.bridge.send(&out).await.expect_err("the nick is somebody else's");
    assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
    assert!(other.read_all().await.iter().all(|line| !line.contains("secret")));
    other.write("PRIVMSG help :somebody else").await;
    let messages = running.messages(2).await;
    assert_ne!(messages[0].thread, messages[1].thread);
    running.stop().await;
}
