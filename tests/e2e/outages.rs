//! The far side is away for a while. Nobody notices but the clock.

use std::time::Duration;

use crate::{
    gateway::NICK,
    irc::Line,
    peers::ngircd::{Flood, Ngircd},
    peers::proxy::Proxy,
    wait::{PATIENCE, until, until_within},
    world::{FAST, World},
};

/// A minute is meant; what matters is longer than every first retry. `DESKBRIDGE_E2E_OUTAGE_SECONDS=60` for the rest.
pub(crate) fn outage_seconds() -> u64 {
    let set = std::env::var("DESKBRIDGE_E2E_OUTAGE_SECONDS").ok();
    set.map_or(15, |text| text.parse().expect("DESKBRIDGE_E2E_OUTAGE_SECONDS is a number of seconds"))
}

#[test]
fn an_inbox_that_is_unreachable_changes_nothing_on_irc_and_gets_everything_afterwards_in_order() {
    let bridge = format!("{FAST}channels = [{{ name = \"#support\" }}]\n");
    let Some(world) = World::on_ngircd(Flood::Free, &bridge) else { return };
    let mut people: Vec<_> = ["alice", "bob", "carol"].map(|nick| world.person(nick)).into();
    people[0].join_channel(Ngircd::CHANNEL);
    people[0].until_present(NICK, Ngircd::CHANNEL);
    people[0].say(NICK, "before");
    world.sandbox.conversation("alice", "before");
    world.sandbox.down(outage_seconds());
    until("the sandbox to be down", || match crate::http::get(&world.sandbox.url) {
        Ok(_) => Err("it answers".to_owned()),
        Err(_) => Ok(()),
    });
    for number in 0..10 {
        for person in &mut people {
            person.say(NICK, &format!("line {number}"));
        }
    }
    until("the inbox to be called down", || {
        let ready = world.gateway.ready()?;
        assert_eq!(ready.status, 200, "callbacks can be stored all the same: {ready:?}");
        let inbox = ready.json()["inboxes"]["desk"].to_string();
        if inbox.contains("down") && inbox.contains("reason") { Ok(()) } else { Err(inbox) }
    });
    let lines: Vec<_> = (0..10).map(|number| format!("line {number}")).collect();
    let patience = PATIENCE + Duration::from_secs(3 * outage_seconds());
    until_within(patience, "everything at the inbox", || {
        // The sandbox is away for most of this time.
        crate::http::get(&format!("{}/sandbox/state", world.sandbox.url))?;
        let count = world.sandbox.desk().incoming().count();
        if count >= 31 { Ok(()) } else { Err(format!("{count} messages")) }
    });
    let desk = world.sandbox.desk();
    assert_eq!(desk.contacts.len(), 3);
    for person in &people {
        let found = desk.of(person.nick());
        assert_eq!(found.len(), 1);
        let texts = found[0].incoming();
        let texts = texts.strip_prefix(["before"].as_slice()).unwrap_or(&texts);
        assert_eq!(texts, lines, "{}", person.nick());
    }
    let left = |line: &Line| line.nick() == NICK && ["QUIT", "PART"].contains(&line.command.as_str());
    assert!(!people[0].lines().iter().any(left), "the bridge left the network meanwhile");
    let reply = world.sandbox.reply(desk.of("bob")[0].id, "sorry for the wait");
    people[1].hears(NICK, "sorry for the wait");
    world.sandbox.until_status(reply, "delivered");
}

#[test]
fn replies_written_while_the_irc_server_is_unreachable_are_taken_and_delivered_afterwards() {
    if !Ngircd::present() {
        return;
    }
    let network = Ngircd::start(Flood::Free);
    let mut wire = Proxy::to(network.address());
    let world = World::around(network, &format!("port = {}\ntls = false\n{FAST}", wire.port));
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    wire.cut();
    until("the bridge to be off", || match world.gateway.bridge_state().as_str() {
        "up" => Err("up".to_owned()),
        _ => Ok(()),
    });
    let texts: Vec<_> = (0..5).map(|number| format!("reply {number}")).collect();
    let replies: Vec<_> = texts.iter().map(|text| world.sandbox.reply(conversation, text)).collect();
    until("the callbacks to be answered", || {
        let (posted, failed) = world.sandbox.callbacks();
        assert_eq!(failed, 0, "a callback was not answered by 200");
        let waiting = world.gateway.waiting();
        if waiting.len() >= texts.len() { Ok(()) } else { Err(format!("{posted} posted, waiting: {waiting:?}")) }
    });
    assert_eq!(world.gateway.ready().expect("it answers").status, 200);
    wire.mend();
    for reply in replies {
        world.sandbox.until_status(reply, "delivered");
    }
    alice.settle();
    assert_eq!(alice.texts_from(NICK), texts);
}

#[test]
fn a_gateway_that_starts_before_its_network_and_inbox_takes_up_work_when_they_come() {
    if !Ngircd::present() {
        return;
    }
    let mut network = Ngircd::start(Flood::Slowed);
    network.go_down();
    let folder = crate::peers::folder();
    let lines = format!("port = {}\ntls = false\n", network.port);
    let (sandbox, mut gateway) = crate::world::desk_and_gateway(folder.path(), &lines);
    sandbox.down(2);
    gateway.start();
    until("the bridge to say that it is not up", || match gateway.bridge_state().as_str() {
        "up" | "absent" => Err("up or absent".to_owned()),
        _ => Ok(()),
    });
    network.come_up();
    gateway.until_on_network();
    let mut alice = crate::irc::Person::join(network.address(), "alice");
    alice.say(NICK, "hello");
    until("the sandbox to be back", || crate::http::get(&format!("{}/sandbox/state", sandbox.url)).map(drop));
    let conversation = sandbox.conversation("alice", "hello").id;
    let reply = sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    sandbox.until_status(reply, "delivered");
}
