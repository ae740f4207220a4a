//! `deskbridge try --irc`: the first thing that anybody runs.

use std::process::Command;

use crate::{
    http,
    irc::Person,
    peers::{
        self,
        ngircd::{Flood, Ngircd},
    },
    process::{Process, free_port},
    sandbox::Sandbox,
    wait::until,
};

#[test]
fn the_first_run_carries_a_conversation_with_nothing_set_up() {
    if !Ngircd::present() {
        return;
    }
    let server = Ngircd::start(Flood::Slowed);
    let folder = peers::folder();
    let network = format!("irc://127.0.0.1:{}/{}", server.port, Ngircd::CHANNEL);
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.args(["try", "--irc", &network, "--listen", &format!("127.0.0.1:{}", free_port())]);
    let mut tried = Process::spawn(command, "try", folder.path());
    let page = until("the agent's page to be named", || {
        assert!(tried.ended().is_none(), "it ended: {}", tried.err());
        let line = tried.out().lines().find(|line| line.starts_with("agent's page")).map(ToOwned::to_owned);
        line.and_then(|line| Some(line.split_whitespace().find(|word| word.starts_with("http"))?.to_owned()))
            .ok_or_else(|| tried.out())
    });
    let shown = http::get(&page).expect("the page is there");
    assert!(shown.status == 200 && shown.body.starts_with("<!doctype html>"), "{shown:?}");
    let nick = between(&tried.out(), "the nick `", "`");

    let mut alice = Person::join(server.address(), "alice");
    alice.join_channel(Ngircd::CHANNEL);
    alice.until_present(&nick, Ngircd::CHANNEL);
    let sandbox = Sandbox::at(&page);
    alice.say(&nick, "hello from the other side");
    let conversation = sandbox.conversation("alice", "hello from the other side").id;
    let reply = sandbox.reply(conversation, "hello to you");
    alice.hears(&nick, "hello to you");
    sandbox.until_status(reply, "delivered");

    tried.signal("INT");
    assert!(tried.wait().success(), "{}", tried.err());
}

fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map_or_else(|| panic!("no {before} in {text}"), |(found, _)| found.to_owned())
}
