//! Who gets what: a nick is not a person.

use crate::{gateway::NICK, peers::ngircd::Flood, peers::ngircd::Ngircd, world::World};

#[test]
fn a_reply_to_somebody_who_is_gone_fails_and_says_why() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    alice.quit();
    let reply = world.sandbox.reply(conversation, "are you still there?");
    let failed = world.sandbox.until_status(reply, "failed");
    assert!(failed.reason().contains("alice"), "the agent is told nothing of use: {failed:?}");
}

#[test]
fn whoever_takes_over_a_nick_gets_none_of_the_other_persons_replies() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "my password is lost");
    let of_alice = world.sandbox.conversation("alice", "my password is lost").id;
    alice.quit();

    let mut mallory = world.person("mallory");
    mallory.rename("alice");
    let reply = world.sandbox.reply(of_alice, "your new password is 1234");
    world.sandbox.until_status(reply, "failed");
    mallory.settle();
    assert_eq!(mallory.texts_from(NICK), [""; 0]);

    mallory.say(NICK, "hello, I am alice");
    let of_mallory = crate::wait::until("a conversation of its own", || {
        let desk = world.sandbox.desk();
        let found = desk.conversations.iter().find(|found| found.incoming() == ["hello, I am alice"]);
        found.map(|found| found.id).ok_or_else(|| format!("{desk:?}"))
    });
    assert_ne!(of_mallory, of_alice);
    let desk = world.sandbox.desk();
    let identifiers: Vec<_> = desk.contacts.iter().map(|contact| contact.identifier.clone()).collect();
    assert!(identifiers.len() == 2 && identifiers[0] != identifiers[1], "{identifiers:?}");

    let late = world.sandbox.reply(of_alice, "did it work?");
    world.sandbox.until_status(late, "failed");
    let answer = world.sandbox.reply(of_mallory, "hello to you");
    world.sandbox.until_status(answer, "delivered");
    mallory.settle();
    assert_eq!(mallory.texts_from(NICK), ["hello to you"]);
}

#[test]
fn a_nick_that_is_taken_over_while_the_gateway_is_away_gets_nothing_either() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let of_alice = world.sandbox.conversation("alice", "hello").id;
    world.gateway.kill();
    alice.quit();
    let mut mallory = world.person("alice");
    world.start_again();
    let reply = world.sandbox.reply(of_alice, "for alice alone");
    world.sandbox.until_status(reply, "failed");
    mallory.settle();
    assert_eq!(mallory.texts_from(NICK), [""; 0]);
}

#[test]
fn a_person_is_followed_through_a_change_of_nick() {
    let bridge = "channels = [{ name = \"#support\" }]\n";
    let Some(world) = World::on_ngircd(Flood::Slowed, bridge) else { return };
    let mut alice = world.person("alice");
    // Only whoever shares a channel sees a change of nick.
    alice.join_channel(Ngircd::CHANNEL);
    alice.until_present(NICK, Ngircd::CHANNEL);
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    alice.rename("alice_away");
    let reply = world.sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    world.sandbox.until_status(reply, "delivered");
    alice.say(NICK, "good morning to you");
    crate::wait::until("the next line in the same conversation", || {
        let desk = world.sandbox.desk();
        let texts: Vec<_> = desk.conversations.iter().map(|found| found.incoming()).collect();
        if texts == [["hello", "good morning to you"]] { Ok(()) } else { Err(format!("{texts:?}")) }
    });
}

#[test]
fn the_same_connection_is_known_again_after_a_restart() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    // By now the network has been asked what tells this connection from the next one of that nick.
    let reply = world.sandbox.reply(conversation, "good morning");
    world.sandbox.until_status(reply, "delivered");
    world.gateway.kill();
    world.start_again();
    let reply = world.sandbox.reply(conversation, "where were we?");
    alice.hears(NICK, "where were we?");
    world.sandbox.until_status(reply, "delivered");
    alice.say(NICK, "at the beginning");
    assert_eq!(world.sandbox.conversation("alice", "at the beginning").id, conversation);
}
