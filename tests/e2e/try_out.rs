//! `deskbridge try`: the first thing that anybody runs.

use std::process::Command;

use crate::{
    browser::Browser,
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
    command.args(["try", "--irc", &network]).args(own_ports());
    let mut tried = Process::spawn(command, "try", folder.path());
    let page = named(&mut tried, "agent's page");
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

/// Nothing set up and nothing else running: two pages, and what is typed in one appears in the other.
#[test]
fn a_customer_and_an_agent_talk_from_page_to_page() {
    if !Browser::present() {
        return;
    }
    let folder = peers::folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.arg("try").args(own_ports());
    let mut tried = Process::spawn(command, "try", folder.path());
    let (customer, agent) = (named(&mut tried, "customer's page"), named(&mut tried, "agent's page"));
    let browser = Browser::start();
    let mut customer = browser.open(&customer);
    customer.size(1100, 760, false);
    customer.enter("#enter-name", "Kim Lee");
    customer.shows("#live", "live");
    customer.enter("#text", "My order 42 never came");
    let mut agent = browser.open(&agent);
    agent.size(1100, 760, false);
    agent.shows(".row", "My order 42 never came");
    agent.click(".row");
    agent.shows(".bubble", "My order 42 never came");
    agent.enter("#text", "It ships **today**");
    customer.shows(".msg:not(.out) .bubble strong", "today");
    agent.shows(".msg.out .foot", "Delivered");
    // Only a page that somebody looks at reads.
    customer.call("Page.bringToFront", &serde_json::json!({}));
    agent.shows(".msg.out .foot", "Read");
    customer.enter("#text", "Thank you!");
    agent.shows(".msg:not(.out) .bubble", "Thank you!");
    customer.picture("try-customer");
    agent.picture("try-agent");
    customer.has_no_complaints();
    agent.has_no_complaints();
    // As when the terminal is closed: without settings there is nothing to read again.
    tried.signal("HUP");
    assert!(tried.wait().success(), "{}", tried.err());
}

/// Beside other runs of it, which have the usual ones.
fn own_ports() -> [String; 4] {
    let at = || format!("127.0.0.1:{}", free_port());
    ["--listen".into(), at(), "--listen-mail".into(), at()]
}

/// The address behind this word of what it prints.
pub(crate) fn named(tried: &mut Process, word: &str) -> String {
    until(&format!("the {word} to be named"), || {
        assert!(tried.ended().is_none(), "it ended: {}", tried.err());
        let line = tried.out().lines().find(|line| line.starts_with(word)).map(ToOwned::to_owned);
        line.and_then(|line| Some(line.split_whitespace().find(|word| word.starts_with("http"))?.to_owned()))
            .ok_or_else(|| tried.out())
    })
}

fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map_or_else(|| panic!("no {before} in {text}"), |(found, _)| found.to_owned())
}
