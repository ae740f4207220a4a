//! Gateways whose outbox is in PostgreSQL, on ngIRCd: killed, and with their database taken away, in the middle of a
//! conversation; and two that share the work.

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
    wait::until_within,
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

/// The one whose bridge is on its network, and the other, once the other says so.
fn in_order<'a>(one: &'a mut Gateway, two: &'a mut Gateway) -> (&'a mut Gateway, &'a mut Gateway) {
    until_within(TAKEOVER, "one of two to be on the network, and the other not", || {
        let states = [one.bridge_state(), two.bridge_state()];
        let states = states.each_ref().map(String::as_str);
        if matches!(states, ["up", "elsewhere"] | ["elsewhere", "up"]) { Ok(()) } else { Err(format!("{states:?}")) }
    });
    if one.bridge_state() == "up" { (one, two) } else { (two, one) }
}

#[test]
fn two_gateways_share_the_work_and_each_goes_on_alone() {
    let _alone = heavy();
    if !Ngircd::present() {
        return;
    }
    let Some(database) = Postgres::start() else { return };
    let (folder, network) = (peers::folder(), Ngircd::start(Flood::Free));
    let sandbox = Sandbox::start(folder.path());
    let mut one = gateway(folder.path(), "one", &sandbox, &network, &database);
    let mut two = gateway(folder.path(), "two", &sandbox, &network, &database);
    one.start();
    two.start();
    let (speaker, other) = in_order(&mut one, &mut two);
    // Callbacks go to the one that is not on the network.
    sandbox.call_back(&other.callback_url());
    let mut alice = Person::join(network.address(), "alice");
    let mut asked = vec!["hello".to_owned()];
    alice.say(NICK, &asked[0]);
    let conversation = sandbox.conversation("alice", "hello").id;
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let (question, answer) = (format!("question {round}"), format!("answer {round}"));
        alice.say(NICK, &question);
        assert_eq!(sandbox.conversation("alice", &question).id, conversation);
        let reply = sandbox.reply(conversation, &answer);
        alice.hears(NICK, &answer);
        sandbox.until_status(reply, "delivered");
        asked.push(question);
        answered.push(answer);
    }

    // The one on the network dies. Nobody gives anything back.
    speaker.kill();
    let reply = sandbox.reply(conversation, "are you there?");
    answered.push("are you there?".to_owned());
    until_within(TAKEOVER, "the other to take over", || match other.bridge_state() {
        state if state == "up" => Ok(()),
        state => Err(state),
    });
    alice.hears(NICK, "are you there?");
    sandbox.until_status(reply, "delivered");

    // It comes back, and gets its share of the work; then the other one is stopped, which gives everything back.
    speaker.start();
    let (speaker, other) = in_order(speaker, other);
    sandbox.call_back(&other.callback_url());
    speaker.signal("TERM");
    assert!(speaker.wait().success());
    sandbox.reply(conversation, "welcome back");
    answered.push("welcome back".to_owned());
    other.until_on_network();
    alice.hears(NICK, "welcome back");
    alice.say(NICK, "thanks");
    asked.push("thanks".to_owned());
    assert_eq!(sandbox.conversation("alice", "thanks").id, conversation);
    alice.settle();
    assert_eq!(alice.texts_from(NICK), answered, "each once and in order");
    let desk = sandbox.desk();
    let [conversation] = desk.of("alice")[..] else { panic!("several conversations: {desk:?}") };
    assert_eq!(conversation.incoming(), asked, "each once and in order");
}
