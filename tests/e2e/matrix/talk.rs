//! A conversation in both directions, in every mode.

use super::world::{AGENT, Mode, World};
use crate::{
    peers::{as_proxy::Dialect, synapse::Synapse},
    wait::until,
};

#[test]
fn a_customer_and_an_agent_talk_through_an_appservice() {
    talk(Mode::Appservice);
}

#[test]
fn a_customer_and_an_agent_talk_through_a_pipe() {
    talk(Mode::Websocket(Dialect::Wsproxy));
}

#[test]
fn a_customer_and_an_agent_talk_through_a_queue() {
    talk(Mode::Websocket(Dialect::Asmux));
}

#[test]
fn a_customer_and_an_agent_talk_through_an_account_like_anybodys() {
    talk(Mode::Sync);
}

fn talk(mode: Mode) {
    let Some(world) = World::shared(mode) else { return };
    let server = Synapse::shared();
    let mut carol = world.guest(server, "Carol");

    let reply = world.sandbox.reply(carol.conversation, "good morning");
    let heard = carol.hears("good morning");
    world.sandbox.until_status(reply, "delivered");
    if mode.has_ghosts() {
        let named = heard.body().starts_with(AGENT) || carol.customer.name_of(heard.sender()).as_deref() == Some(AGENT);
        assert!(named, "nobody is told who answers: {heard:?}");
        assert!(heard.sender().starts_with(&format!("@{}", world.service.namespace)), "{heard:?}");
    } else {
        assert_eq!(heard.sender(), world.support);
        assert!(heard.body().starts_with(AGENT), "{heard:?}");
    }
    let (room, event) = (carol.room.clone(), heard.id().to_owned());
    carol.customer.has_read(&room, &event);
    world.sandbox.until_status(reply, "read");

    let html = "it is <strong>urgent</strong>, <em>please</em>";
    carol.customer.say_formatted(&room, "it is **urgent**, *please*", html);
    let shown = until("the formatted text", || {
        let desk = world.sandbox.desk();
        assert_eq!(desk.conversations.len(), 1, "{desk:?}");
        let last = desk.conversations[0].incoming().last().map(ToString::to_string).unwrap_or_default();
        if last.starts_with("it is") { Ok(last) } else { Err(last) }
    });
    // Emphasis has two ways to be written.
    assert_eq!(shown.replace('_', "*"), "it is **urgent**, *please*");
    world.sandbox.reply(carol.conversation, "**tomorrow** at `nine`");
    let heard = carol.customer.wait_for("the formatted reply", |seen| {
        seen.room == room && seen.content()["formatted_body"].to_string().contains("<strong>tomorrow</strong>")
    });
    assert!(heard.content()["formatted_body"].to_string().contains("<code>nine</code>"), "{heard:?}");
    assert_eq!(heard.content()["format"], "org.matrix.custom.html");

    let desk = world.sandbox.desk();
    assert_eq!((desk.contacts.len(), desk.conversations.len()), (1, 1), "{desk:?}");
    let sources = desk.incoming().map(|message| message.source_id.clone().expect("a source id"));
    assert!(sources.into_iter().all(|source| source.starts_with("net/")), "{desk:?}");
}

#[test]
fn private_notes_and_activity_never_leave() {
    for mode in Mode::ALL {
        let Some(world) = World::shared(mode) else { return };
        let server = Synapse::shared();
        let mut carol = world.guest(server, "Carol");
        world.sandbox.note(carol.conversation, "a difficult customer");
        world.sandbox.resolve(carol.conversation);
        let reply = world.sandbox.reply(carol.conversation, "good morning");
        carol.hears("good morning");
        world.sandbox.until_status(reply, "delivered");
        world.until_idle();
        let told = server.history(&carol.customer.account.token, &carol.room);
        assert!(!format!("{told:?}").contains("difficult"), "{told:?}");
        assert_eq!(carol.texts_of_agents(server), ["good morning"], "{mode:?}");
    }
}

#[test]
fn two_customers_have_a_conversation_each_and_hear_nothing_of_the_other() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let server = Synapse::shared();
    let (mut carol, mut dave) = (world.guest(server, "Carol"), world.guest(server, "Dave"));
    assert_ne!(carol.conversation, dave.conversation);
    for number in 0..10 {
        carol.say(&format!("carol {number}"));
        dave.say(&format!("dave {number}"));
        world.sandbox.reply(carol.conversation, &format!("to carol {number}"));
        world.sandbox.reply(dave.conversation, &format!("to dave {number}"));
    }
    world.until_incoming(22);
    carol.hears("to carol 9");
    dave.hears("to dave 9");
    let texts = |who: &str| (0..10).map(|number| format!("{who} {number}")).collect::<Vec<_>>();
    for (guest, name) in [(&carol, "carol"), (&dave, "dave")] {
        let desk = world.sandbox.desk();
        let found = desk.conversations.iter().find(|found| found.id == guest.conversation).expect("it is there");
        assert_eq!(found.incoming()[1..], texts(name));
        assert_eq!(guest.texts_of_agents(server), texts(&format!("to {name}")));
    }
}
