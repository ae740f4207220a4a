//! A conversation in both directions on ngIRCd, in private and in a channel.

use crate::{
    gateway::NICK,
    peers::ngircd::{Flood, Ngircd},
    world::World,
};

const IN_CHANNEL: &str = "channels = [{ name = \"#support\" }]\n";

#[test]
fn a_person_and_an_agent_talk_and_the_reply_turns_to_delivered() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello, is anybody there?");
    let conversation = world.sandbox.conversation("alice", "hello, is anybody there?");
    let reply = world.sandbox.reply(conversation.id, "yes, how can I help?");
    alice.hears(NICK, "yes, how can I help?");
    world.sandbox.until_status(reply, "delivered");

    alice.say(NICK, "my order is late");
    let again = world.sandbox.conversation("alice", "my order is late");
    assert_eq!(again.id, conversation.id);
    let desk = world.sandbox.desk();
    let contacts: Vec<_> = desk.contacts.iter().map(|contact| contact.name.as_str()).collect();
    assert_eq!(contacts, ["alice"]);
    let sources = desk.incoming().map(|message| message.source_id.clone().expect("a source id"));
    assert!(sources.into_iter().all(|source| source.starts_with("net/")), "{desk:?}");
}

#[test]
fn private_notes_and_activity_never_leave() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    world.sandbox.note(conversation, "a difficult customer");
    world.sandbox.resolve(conversation);
    let reply = world.sandbox.reply(conversation, "good morning");
    world.sandbox.until_status(reply, "delivered");
    alice.settle();
    assert_eq!(alice.texts_from(NICK), ["good morning"]);
}

#[test]
fn a_mention_in_a_channel_is_answered_in_the_channel_and_other_talk_stays_there() {
    let Some(world) = World::on_ngircd(Flood::Slowed, IN_CHANNEL) else { return };
    let (mut alice, mut bob) = (world.person("alice"), world.person("bob"));
    for person in [&mut alice, &mut bob] {
        person.join_channel(Ngircd::CHANNEL);
        person.until_present(NICK, Ngircd::CHANNEL);
    }
    bob.say(Ngircd::CHANNEL, "nice weather");
    alice.say(Ngircd::CHANNEL, &format!("{NICK}: where is my parcel?"));
    let conversation = world.sandbox.conversation("alice", "where is my parcel?");
    let reply = world.sandbox.reply(conversation.id, "on its way");
    let heard = bob.hears(NICK, "alice: on its way");
    assert_eq!(heard.params[0], Ngircd::CHANNEL);
    world.sandbox.until_status(reply, "delivered");
    assert_eq!(world.sandbox.desk().conversations.len(), 1, "bob spoke to nobody");
}

#[test]
fn line_breaks_and_nul_in_a_reply_never_become_commands() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, IN_CHANNEL) else { return };
    let (mut alice, mut bob) = (world.person("alice"), world.person("bob"));
    bob.join_channel(Ngircd::CHANNEL);
    bob.until_present(NICK, Ngircd::CHANNEL);
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    for break_ in ["\r\n", "\r", "\n", "\0", "\u{b}", "\u{85}", "\u{2028}"] {
        let text = format!("first{break_}PRIVMSG bob :injected{break_}QUIT :gone{break_}/quit");
        let reply = world.sandbox.reply(conversation, &text);
        world.sandbox.until_status(reply, "delivered");
    }
    for person in [&mut alice, &mut bob] {
        person.settle();
    }
    assert_eq!(bob.texts_from(NICK), [""; 0], "a line of the reply reached somebody else");
    let left = |line: &crate::irc::Line| line.command == "QUIT" && line.nick() == NICK;
    assert!(!bob.lines().iter().any(left), "a line of the reply was taken as QUIT");
    let texts = alice.texts_from(NICK);
    assert!(texts.iter().filter(|text| text.starts_with("first")).count() >= 6, "{texts:?}");
    assert!(world.gateway.is_running());
    assert_eq!(world.gateway.bridge_state(), "up");
}

#[test]
fn a_long_reply_arrives_in_pieces_and_whole() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    // Three and four bytes a letter, so that a cut between bytes would show.
    let words: Vec<String> = (0..120).map(|number| format!("wort{number}€😀")).collect();
    let text = words.join(" ");
    let reply = world.sandbox.reply(conversation, &text);
    world.sandbox.until_status(reply, "delivered");
    alice.settle();
    let texts = alice.texts_from(NICK);
    assert!(texts.len() > 1, "{texts:?}");
    assert_eq!(texts.join(" "), text);
}

#[test]
fn text_that_is_not_utf_8_is_read_by_the_fallback_encoding() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.send_bytes(format!("PRIVMSG {NICK} :gr").as_bytes());
    alice.send_bytes(b"\xfc\xdfe aus K\xf6ln \x80\r\n");
    world.sandbox.conversation("alice", "grüße aus Köln €");
}
