//! A bridge's look at its wiring, against real servers: those that let it in, those that do not, and beside a gateway
//! that is running. The bridges are asked through the library, for which `deskbridge doctor` is another caller.

use bridge_api::{
    BridgeName, Verdict,
    kit::look::{self, Seen},
};
use deskbridge::{bridges::Registry, settings::Kinds};
use toml::Table;

use crate::{
    gateway::{Gateway, NICK},
    irc::Person,
    mail,
    matrix::{self, world::Mode},
    peers::{
        as_proxy::Dialect,
        inspircd::Inspircd,
        ngircd::{Flood, Ngircd},
        postfix::{HandIn, Postfix},
        synapse::{SERVER_NAME, Synapse},
    },
    process::free_port,
    world::World,
};

/// `lines` are those of a bridge's table.
fn look(lines: &str, at_work: bool) -> Seen {
    let mut table: Table = lines.parse().unwrap_or_else(|error| panic!("{error}: {lines}"));
    let kind = table.remove("kind").expect("a kind");
    for of_the_gateway in ["inbox", "when_in_doubt", "peer_burst", "peer_pause_millis"] {
        table.remove(of_the_gateway);
    }
    for of_the_gate in ["new_per_peer_hour", "new_per_day", "blocked"] {
        table.remove(of_the_gate);
    }
    let kind = kind.as_str().expect("a word");
    let built = Registry::standard().build(&BridgeName::from("net"), kind, table);
    let bridge = built.unwrap_or_else(|faults| panic!("{faults:?}: {lines}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    Seen(runtime.block_on(look::taken(&*bridge, at_work)))
}

/// By the very settings of a gateway.
fn look_as(gateway: &Gateway, at_work: bool) -> Seen {
    look(&bridge_of(gateway).to_string(), at_work)
}

fn bridge_of(gateway: &Gateway) -> Table {
    let text = std::fs::read_to_string(gateway.settings_file()).expect("its settings");
    let whole: Table = text.parse().expect("TOML");
    whole["bridges"]["net"].as_table().expect("a bridge").clone()
}

fn irc(port: u16, more: &str) -> String {
    format!("kind = \"irc\"\nserver = \"127.0.0.1\"\nport = {port}\nnick = \"{NICK}\"\n{more}\n")
}

const CAN_DO: &str = "see what the server can do";

#[test]
fn ngircd_lets_us_in_and_says_what_it_cannot_do() {
    if !Ngircd::present() {
        return;
    }
    let server = Ngircd::start(Flood::Free);
    let channels = "tls = false\nchannels = [{ name = \"#support\" }, { name = \"#nowhere\" }]";
    let seen = look(&irc(server.port, channels), false);
    seen.is_fine_but(&[CAN_DO, "see whether #nowhere"]);
    seen.holds(CAN_DO, Verdict::Warning, &["echo-message", "chathistory", "account-tag"]);
    seen.holds("see whether #nowhere", Verdict::Warning, &["no such channel"]);
    let mut holder = Person::join(server.address(), NICK);
    let seen = look(&irc(server.port, channels), false);
    seen.holds(&format!("take the nick {NICK}"), Verdict::Failed, &["held by", "127.0.0.1"]);
    holder.settle();
    assert!(holder.lines().iter().all(|line| line.command != "PRIVMSG"), "somebody spoke to a peer");
    holder.send("MODE #support");
    holder.send("JOIN #closed");
    holder.send("MODE #closed +ik sesame");
    holder.settle();
    let closed = "tls = false\nchannels = [{ name = \"#closed\" }]";
    let seen = look(&irc(server.port, closed), false);
    seen.holds("see whether #closed", Verdict::Failed, &["invite-only"]);
}

#[test]
fn inspircd_tells_a_wrong_password_and_a_missing_account() {
    if !Inspircd::present() {
        return;
    }
    let server = Inspircd::start();
    server.register(NICK, "correct-horse").quit();
    let tls = format!("tls = {{ ca_file = \"{}\" }}", server.file("ca.pem").display());
    let with = |account: &str, password: &str| {
        let sasl = format!("sasl = {{ mechanism = \"plain\", account = \"{account}\", password = \"{password}\" }}");
        look(&irc(server.tls_port, &format!("{tls}\n{sasl}")), false)
    };
    let seen = with(NICK, "correct-horse");
    seen.is_fine_but(&[CAN_DO]);
    seen.holds(&format!("log in to the account {NICK:?}"), Verdict::Fine, &["logged in"]);
    for (account, password) in [(NICK, "wrong"), ("nobody", "correct-horse")] {
        let seen = with(account, password);
        let words = ["904", "`sasl.password`", &format!("no account {account:?}")];
        seen.holds(&format!("log in to the account {account:?}"), Verdict::Failed, &words);
    }
    let untrusted = look(&irc(server.tls_port, "tls = true"), false);
    untrusted.holds("secure the connection", Verdict::Failed, &["not trusted", "`tls.ca_file`"]);
    let no_tls = look(&irc(server.port, "tls = true"), false);
    no_tls.holds("secure the connection", Verdict::Failed, &["6697"]);
}

#[test]
fn beside_a_running_gateway_its_nick_stays_its_own() {
    let Some(world) = World::on_ngircd(Flood::Free, "channels = [{ name = \"#support\" }]\n") else { return };
    let seen = look_as(&world.gateway, true);
    seen.holds(&format!("see who holds the nick {NICK}"), Verdict::Fine, &["running gateway"]);
    seen.holds("see whether #support", Verdict::Skipped, &["running gateway"]);
    let mut alice = world.person("alice");
    alice.say(NICK, "still there?");
    world.sandbox.conversation("alice", "still there?");
}

/// Of a bridge by push; `tokens` are those of the appservice and of the homeserver.
fn pushed(server: &Synapse, (id, listen): (&str, u16), tokens: (&str, &str), namespace: &str) -> Seen {
    let lines = format!(
        "kind = \"matrix\"\nmode = \"appservice\"\nhomeserver_url = \"{}\"\nserver_name = \"{SERVER_NAME}\"\n\
         appservice_id = \"{id}\"\nlisten = \"127.0.0.1:{listen}\"\nas_token = \"{}\"\nhs_token = \"{}\"\n\
         user = \"{namespace}support\"\nnamespace = \"{namespace}\"\n",
        server.url(),
        tokens.0,
        tokens.1,
    );
    look(&lines, false)
}

const PING: &str = "have the homeserver reach this bridge";

#[test]
fn synapse_tells_whether_it_knows_us_and_reaches_us() {
    if !Synapse::present() {
        return;
    }
    let server = Synapse::shared();
    let service = server.appservice();
    let (id, space, place) = (service.id.as_str(), service.namespace.as_str(), (service.id.as_str(), service.port));
    let tokens = (service.as_token.as_str(), service.hs_token.as_str());
    let seen = pushed(server, place, tokens, space);
    seen.is_fine_but(&[]);
    seen.holds("speak for", Verdict::Fine, &["not there yet"]);
    seen.holds(PING, Verdict::Fine, &["it does"]);
    server.register_ghost(&service, "support");
    pushed(server, place, tokens, space).holds("speak for", Verdict::Fine, &["allows it"]);
    pushed(server, place, tokens, "_elsewhere_").holds("speak for", Verdict::Failed, &["does not hold it"]);
    pushed(server, place, (tokens.0, "another"), space).holds(PING, Verdict::Failed, &["not `hs_token`"]);
    pushed(server, ("another", service.port), tokens, space).holds(PING, Verdict::Warning, &["`appservice_id`"]);
    pushed(server, (id, free_port()), tokens, space).holds(PING, Verdict::Failed, &["M_CONNECTION_FAILED"]);
    let unknown = pushed(server, place, ("another", tokens.1), space);
    unknown.holds("use `as_token`", Verdict::Failed, &["does not know the registration", "restart"]);
}

#[test]
fn synapse_lets_a_bot_account_ask() {
    if !Synapse::present() {
        return;
    }
    let server = Synapse::shared();
    let account = server.register("desk");
    let with = |token: &str| {
        let url = server.url();
        look(
            &format!("kind = \"matrix\"\nmode = \"sync\"\nhomeserver_url = \"{url}\"\naccess_token = \"{token}\"\n"),
            false,
        )
    };
    let seen = with(&account.token);
    seen.is_fine_but(&[]);
    seen.holds("use `access_token`", Verdict::Fine, &[&account.user]);
    with("another").holds("use `access_token`", Verdict::Failed, &["does not know this token"]);
}

#[test]
fn a_matrix_bridge_at_work_is_not_disturbed_and_nothing_is_lost() {
    for mode in [Mode::Appservice, Mode::Websocket(Dialect::Wsproxy), Mode::Websocket(Dialect::Asmux)] {
        let Some(mut world) = matrix::world::World::shared(mode) else { return };
        let mut bridge = bridge_of(&world.gateway);
        bridge.insert("appservice_id".to_owned(), world.service.id.clone().into());
        let seen = look(&bridge.to_string(), true);
        match mode {
            Mode::Appservice | Mode::Sync => {
                seen.holds("connect to the running gateway", Verdict::Fine, &["listens"]);
                seen.holds(PING, Verdict::Fine, &["it does"]);
            }
            Mode::Websocket(_) => seen.holds("open the appservice websocket", Verdict::Skipped, &["running gateway"]),
        }
        let mut guest = world.guest(Synapse::shared(), "alice");
        world.gateway.signal("TERM");
        world.gateway.wait();
        guest.say("while nobody is there");
        let seen = look(&bridge.to_string(), false);
        match mode {
            Mode::Appservice | Mode::Sync => seen.holds(PING, Verdict::Fine, &["it does"]),
            Mode::Websocket(_) => seen.holds("open the appservice websocket", Verdict::Fine, &["it opens"]),
        }
        world.start();
        world.sandbox.conversation("alice", "while nobody is there");
    }
}

#[test]
fn postfix_tells_whether_it_carries_for_us() {
    if !Postfix::present() {
        return;
    }
    let server = Postfix::start(HandIn::Smtp, free_port());
    let ca = server.certificate();
    let with = |relay: &str, from: &str| {
        let lines = mail::world::lines("listen", free_port(), relay);
        let lines = lines.replace(mail::world::HELP, from);
        look(&format!("{lines}dns_servers = [\"127.0.0.1:1\"]\n"), false)
    };
    let begin = |from: &str| format!("begin a mail from {}", from.replace('@', "+doctor@"));
    let (help, foreign) = (mail::world::HELP, "desk@elsewhere.test");
    let tls = format!("port = {}, security = \"starttls\", ca_file = \"{}\"", server.smarthost, ca.display());
    let seen = with(&tls, help);
    seen.holds("secure the connection to the relay", Verdict::Fine, &["trusted"]);
    seen.holds(&begin(help), Verdict::Fine, &["takes it"]);
    let plain = format!("port = {}, security = \"none\"", server.front);
    with(&plain, foreign).holds(&begin(foreign), Verdict::Failed, &["554", "carry mail for us"]);
    let stripped = format!("port = {}, security = \"starttls\"", server.front);
    with(&stripped, help).holds("secure the connection", Verdict::Failed, &["does not offer STARTTLS"]);
    let distrusted = format!("port = {}, security = \"starttls\"", server.smarthost);
    with(&distrusted, help).holds("secure the connection", Verdict::Failed, &["certificate", "`relay.ca_file`"]);
    let log_in = format!("{plain}, username = \"desk\", password = \"sesame\"");
    with(&log_in, help).holds("log in to the relay", Verdict::Failed, &["neither AUTH PLAIN nor AUTH LOGIN"]);
}

#[test]
fn a_mail_bridge_at_work_takes_ours_and_carries_nothing_foreign() {
    for hand_in in [HandIn::Smtp, HandIn::Lmtp] {
        let Some(world) = mail::world::World::start(hand_in) else { return };
        let seen = look_as(&world.gateway, true);
        seen.holds("connect to the running gateway", Verdict::Fine, &["answers"]);
        seen.holds("have the running gateway take mail", Verdict::Fine, &["it does"]);
        seen.holds("have our own server carry foreign mail", Verdict::Fine, &["refuses"]);
        assert!(world.sandbox.desk().conversations.is_empty(), "no mail came of it");
    }
}
