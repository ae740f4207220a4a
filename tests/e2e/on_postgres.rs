//! Gateways whose outbox is in PostgreSQL, on ngIRCd: killed, and with their database taken away, in the middle of a
//! conversation; and one that stands by for another.

use std::{fs, time::Duration};

use crate::{
    gateway::{Gateway, NICK},
    irc::Person,
    peers::{
        self,
        ngircd::{Flood, Ngircd},
        postgres::Postgres,
    },
    sandbox::Sandbox,
    wait::{until, until_within},
    world::{FAST, heavy},
};

/// Longer than a lease that nobody renews, and a start.
const TAKEOVER: Duration = Duration::from_secs(90);
const ROUNDS: usize = 6;

/// A gateway of this name, in a folder of its own.
fn gateway(folder: &std::path::Path, name: &str, sandbox: &Sandbox, network: &Ngircd, database: &Postgres) -> Gateway {
    let folder = folder.join(name);
    fs::create_dir(&folder).expect("a folder is made");
    let inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
    let bridge = format!("port = {}\ntls = false\n{FAST}", network.port);
    Gateway::new(&folder, &inbox, &bridge).with(&format!("\n[store]\nurl = \"{}\"\n", database.url()))
}

#[test]
fn an_outbox_in_postgresql_survives_kills_and_the_loss_of_its_database() {
    let _alone = heavy();
    if !Ngircd::present() {
        return;
    }
    let Some(mut database) = Postgres::start() else { return };
    let (folder, network) = (peers::folder(), Ngircd::start(Flood::Free));
    let sandbox = Sandbox::start(folder.path());
    let mut gateway = gateway(folder.path(), "one", &sandbox, &network, &database);
    sandbox.call_back(&gateway.callback_url());
    gateway.start();
    gateway.until_on_network();
    let mut alice = Person::join(network.address(), "alice");
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let question = format!("question {round}");
        alice.say(NICK, &question);
        let conversation = sandbox.conversation("alice", &question).id;
        asked.push(question);
        if round % 2 == 0 {
            gateway.kill();
        } else {
            database.go_down();
        }
        // Told of by nobody, or to somebody who cannot keep it.
        answered.push(format!("answer {round}"));
        let reply = sandbox.reply(conversation, &answered[round]);
        if round % 2 == 0 {
            gateway.start();
            gateway.until_on_network();
        } else {
            database.come_up();
            gateway.until_ready();
        }
        alice.hears(NICK, &answered[round]);
        // From then on no kill can leave it in doubt.
        sandbox.until_status(reply, "delivered");
    }
    alice.settle();
    assert_eq!(alice.texts_from(NICK), answered, "each once and in order");
    let desk = sandbox.desk();
    let [conversation] = desk.of("alice")[..] else { panic!("several conversations: {desk:?}") };
    assert_eq!(conversation.incoming(), asked, "each once and in order");
}

#[test]
fn a_second_gateway_stands_by_until_the_first_is_gone_and_then_goes_on() {
    let _alone = heavy();
    if !Ngircd::present() {
        return;
    }
    let Some(database) = Postgres::start() else { return };
    let (folder, network) = (peers::folder(), Ngircd::start(Flood::Free));
    let sandbox = Sandbox::start(folder.path());
    let mut first = gateway(folder.path(), "one", &sandbox, &network, &database);
    let mut second = gateway(folder.path(), "two", &sandbox, &network, &database);
    sandbox.call_back(&first.callback_url());
    first.start();
    first.until_on_network();
    second.spawn();
    until("the second to stand by", || {
        let log = second.log();
        if log.contains("standing by") { Ok(()) } else { Err(log) }
    });
    let mut alice = Person::join(network.address(), "alice");
    alice.say(NICK, "hello");
    let conversation = sandbox.conversation("alice", "hello").id;
    let reply = sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    // From then on no kill can leave it in doubt.
    sandbox.until_status(reply, "delivered");
    assert!(second.ready().is_err(), "it does not listen");

    first.kill();
    // The callback finds nobody.
    sandbox.reply(conversation, "are you there?");
    sandbox.call_back(&second.callback_url());
    until_within(TAKEOVER, "the second to work", || match second.ready()? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    second.until_on_network();
    alice.hears(NICK, "are you there?");
    alice.say(NICK, "yes");
    assert_eq!(sandbox.conversation("alice", "yes").id, conversation);

    // Who stops gives everything back: the first takes over at once.
    first.spawn();
    second.signal("TERM");
    assert!(second.wait().success());
    first.until_ready();
    first.until_on_network();
    sandbox.call_back(&first.callback_url());
    sandbox.reply(conversation, "welcome back");
    alice.hears(NICK, "welcome back");
    alice.settle();
    assert_eq!(alice.texts_from(NICK), ["good morning", "are you there?", "welcome back"]);
}
