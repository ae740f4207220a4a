//! The servers of these tests, as far as the others lean on them.

use crate::{
    irc::Person,
    peers::{
        inspircd::Inspircd,
        ngircd::{Flood, Ngircd},
        synapse::Synapse,
    },
};

#[test]
fn people_hear_each_other_on_ngircd() {
    if !Ngircd::present() {
        return;
    }
    let mut server = Ngircd::start(Flood::Slowed);
    let (mut alice, mut bob) = (Person::join(server.address(), "alice"), Person::join(server.address(), "bob"));
    alice.say("bob", "hello there");
    bob.hears("alice", "hello there");
    server.go_down();
    server.come_up();
    Person::join(server.address(), "alice").quit();
}

#[test]
fn inspircd_knows_who_is_logged_in() {
    if !Inspircd::present() {
        return;
    }
    let server = Inspircd::start();
    let mut alice = server.register("alice", "wonderland");
    server.trust_certificate("alice", "wonderland");
    alice.send("WHOIS alice alice");
    alice.until("the account", |line| line.command == "330" && line.params.contains(&"alice".to_owned()));
}

#[test]
fn synapse_keeps_what_it_has_through_a_kill_and_answers_again_after_a_hang() {
    if !Synapse::present() {
        return;
    }
    let mut server = Synapse::start();
    let account = server.register("alice");
    server.go_down();
    server.come_up();
    let who = |server: &Synapse| {
        let path = "/_matrix/client/v3/account/whoami";
        server.call(reqwest::Method::GET, path, Some(&account.token), None).json()["user_id"].clone()
    };
    assert_eq!(who(&server), account.user);
    server.hang();
    server.wake();
    assert_eq!(who(&server), account.user);
    server.stop();
    server.come_up();
    assert_eq!(who(&server), account.user);
}
