//! InspIRCd with services: TLS, SASL, and accounts as the identity of people.

use crate::{
    gateway::{Gateway, NICK},
    peers::{self, inspircd::Inspircd},
    wait::until,
    world::{World, desk_and_gateway},
};

const PASSWORD: &str = "correct-horse";

/// Over TLS, verified by our authority, with further lines.
fn over_tls(server: &Inspircd, tls: &str, rest: &str) -> String {
    let ca = server.file("ca.pem");
    format!("port = {}\ntls = {{ ca_file = \"{}\"{tls} }}\n{rest}", server.tls_port, ca.display())
}

fn with_plain(server: &Inspircd) -> String {
    server.register(NICK, PASSWORD).quit();
    let sasl = format!("sasl = {{ mechanism = \"plain\", account = \"{NICK}\", password = \"{PASSWORD}\" }}\n");
    over_tls(server, "", &sasl)
}

fn is_logged_in(world: &World<Inspircd>) -> bool {
    let mut probe = world.person("prober");
    probe.send(&format!("WHOIS {NICK}"));
    probe.until("the end of WHOIS", |line| line.command == "318");
    let lines = probe.lines();
    lines.iter().any(|line| line.command == "330" && line.params.get(2).is_some_and(|account| account == NICK))
}

#[test]
fn an_account_is_the_same_person_under_any_nick_and_on_any_connection() {
    let Some(world) = World::on_inspircd(with_plain) else { return };
    assert!(is_logged_in(&world), "SASL PLAIN did not log the bridge in");
    let mut alice = world.network.register("alice", "wonderland");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    let reply = world.sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    world.sandbox.until_status(reply, "delivered");
    alice.quit();

    let reply = world.sandbox.reply(conversation, "are you there?");
    assert!(!world.sandbox.until_status(reply, "failed").reason().is_empty());

    let mut elsewhere = world.person("rabbit");
    elsewhere.say("NickServ", "IDENTIFY alice wonderland");
    elsewhere.until("the log-in", |line| line.command == "900");
    elsewhere.say(NICK, "back again");
    until("the same conversation goes on", || {
        let desk = world.sandbox.desk();
        let texts: Vec<_> = desk.conversations.iter().map(|found| (found.id, found.incoming())).collect();
        if texts == [(conversation, vec!["hello", "back again"])] { Ok(()) } else { Err(format!("{texts:?}")) }
    });
    let reply = world.sandbox.reply(conversation, "welcome back");
    elsewhere.hears(NICK, "welcome back");
    world.sandbox.until_status(reply, "delivered");
}

#[test]
fn a_stranger_under_the_nick_of_an_account_is_somebody_else() {
    let Some(world) = World::on_inspircd(with_plain) else { return };
    let mut alice = world.network.register("alice", "wonderland");
    alice.say(NICK, "hello");
    let of_alice = world.sandbox.conversation("alice", "hello").id;
    alice.quit();
    let mut mallory = world.person("alice");
    let reply = world.sandbox.reply(of_alice, "for alice alone");
    world.sandbox.until_status(reply, "failed");
    mallory.say(NICK, "hello, I am alice");
    until("a conversation of its own", || {
        let desk = world.sandbox.desk();
        let texts: Vec<_> = desk.conversations.iter().map(|found| found.incoming()).collect();
        if texts == [["hello"], ["hello, I am alice"]] { Ok(()) } else { Err(format!("{texts:?}")) }
    });
    mallory.settle();
    assert_eq!(mallory.texts_from(NICK), [""; 0]);
}

#[test]
fn a_client_certificate_logs_the_bridge_in() {
    let external = |server: &Inspircd| {
        server.register(NICK, PASSWORD).quit();
        server.trust_certificate(NICK, PASSWORD);
        let (cert, key) = (server.file("client.pem"), server.file("client.key"));
        let tls = format!(", client_cert_file = \"{}\", client_key_file = \"{}\"", cert.display(), key.display());
        over_tls(server, &tls, "sasl = { mechanism = \"external\" }\n")
    };
    let Some(world) = World::on_inspircd(external) else { return };
    assert!(is_logged_in(&world), "SASL EXTERNAL did not log the bridge in");
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    let reply = world.sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    world.sandbox.until_status(reply, "delivered");
}

#[test]
fn a_reply_that_the_person_does_not_take_is_failed_although_the_server_took_it() {
    let Some(world) = World::on_inspircd(with_plain) else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    alice.send("MODE alice +g");
    alice.settle();
    let reply = world.sandbox.reply(conversation, "good morning");
    let failed = world.sandbox.until_status(reply, "failed");
    assert!(!failed.reason().is_empty(), "{failed:?}");
    alice.send(&format!("ACCEPT {NICK}"));
    alice.settle();
    let reply = world.sandbox.reply(conversation, "and now?");
    alice.hears(NICK, "and now?");
    world.sandbox.until_status(reply, "delivered");
}

#[test]
fn a_wrong_password_or_an_unknown_authority_keeps_the_bridge_off_and_says_so() {
    if !Inspircd::present() {
        return;
    }
    let server = Inspircd::start();
    server.register(NICK, PASSWORD).quit();
    let wrong = format!("sasl = {{ mechanism = \"plain\", account = \"{NICK}\", password = \"battery-staple\" }}\n");
    let check = |bridge: &str| {
        let folder = peers::folder();
        let (_sandbox, mut gateway): (_, Gateway) = desk_and_gateway(folder.path(), bridge);
        gateway.start();
        until("the bridge to say that it is down, and why", || {
            let seen = gateway.ready()?.json()["bridges"]["net"].to_string();
            if seen.contains("\"down\"") && seen.contains("reason") { Ok(()) } else { Err(seen) }
        });
        assert!(!gateway.log().contains("battery-staple"), "a password is in the log");
    };
    check(&over_tls(&server, "", &wrong));
    check(&format!("port = {}\ntls = true\n", server.tls_port));
}
