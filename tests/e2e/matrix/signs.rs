//! What people do to messages: change them, take them back, answer them, put a sign on them.

use super::world::{Guest, Mode, World, without_name};
use crate::{
    peers::{as_proxy::Dialect, synapse::Synapse},
    sandbox::{Conversation, Message},
    wait::until,
};

/// One that is pushed to, and one that asks.
const MODES: [Mode; 2] = [Mode::Appservice, Mode::Sync];

fn each(test: impl Fn(&World, &'static Synapse, Guest)) {
    for mode in MODES {
        let Some(world) = World::shared(mode) else { return };
        eprintln!("{mode:?}");
        let guest = world.guest(Synapse::shared(), "Carol");
        test(&world, Synapse::shared(), guest);
    }
}

/// Returns once some message of the conversation fits.
fn until_there(world: &World, conversation: u64, what: &str, fits: impl Fn(&Message) -> bool) -> Message {
    until(what, || {
        let desk = world.sandbox.desk();
        let found = conversation_of(&desk.conversations, conversation);
        found.messages.iter().rfind(|message| fits(message)).cloned().ok_or_else(|| format!("{:?}", found.messages))
    })
}

fn conversation_of(all: &[Conversation], id: u64) -> &Conversation {
    all.iter().find(|found| found.id == id).expect("it is there")
}

#[test]
fn an_edit_of_a_customer_shows_at_the_inbox() {
    each(|world, _, mut carol| {
        let event = carol.say("my order is 41");
        world.sandbox.conversation("Carol", "my order is 41");
        let room = carol.room.clone();
        carol.customer.edit(&room, &event, "my order is 42");
        until_there(world, carol.conversation, "the edit", |message| message.text().contains("my order is 42"));
        let desk = world.sandbox.desk();
        let shown = &conversation_of(&desk.conversations, carol.conversation).messages;
        assert!(shown.iter().all(|message| !message.text().starts_with("* ")), "the fallback is shown: {shown:?}");
    });
}

#[test]
fn what_a_customer_takes_back_is_gone_or_told_of() {
    each(|world, _, mut carol| {
        let event = carol.say("my password is swordfish");
        let said = world.sandbox.conversation("Carol", "my password is swordfish");
        let before = said.messages.len();
        let room = carol.room.clone();
        carol.customer.redact(&room, &event);
        until("the redaction", || {
            let desk = world.sandbox.desk();
            let messages = &conversation_of(&desk.conversations, carol.conversation).messages;
            let gone = messages.iter().any(Message::is_deleted) || messages.len() > before;
            if gone { Ok(()) } else { Err(format!("{messages:?}")) }
        });
    });
}

#[test]
fn what_an_agent_takes_back_is_gone_from_the_room() {
    each(|world, _, mut carol| {
        let reply = world.sandbox.reply(carol.conversation, "your password is swordfish");
        let heard = carol.hears("your password is swordfish").id().to_owned();
        world.sandbox.until_status(reply, "delivered");
        world.sandbox.delete(carol.conversation, reply);
        carol.customer.wait_for("the redaction", |seen| {
            let target = seen.event["redacts"].as_str().or(seen.content()["redacts"].as_str());
            seen.kind_of_event() == "m.room.redaction" && target == Some(&heard)
        });
    });
}

#[test]
fn a_sign_on_a_reply_is_told() {
    each(|world, _, mut carol| {
        let reply = world.sandbox.reply(carol.conversation, "is that fine?");
        let heard = carol.hears("is that fine?").id().to_owned();
        world.sandbox.until_status(reply, "delivered");
        let room = carol.room.clone();
        carol.customer.react(&room, &heard, "👍");
        until_there(world, carol.conversation, "the sign", |message| message.text().contains('👍'));
    });
}

#[test]
fn answers_keep_what_they_answer_both_ways() {
    each(|world, _, mut carol| {
        let first = carol.say("two questions");
        let reply = world.sandbox.reply(carol.conversation, "which ones?");
        let heard = carol.hears("which ones?").id().to_owned();
        world.sandbox.until_status(reply, "delivered");

        let room = carol.room.clone();
        carol.customer.reply(&room, &heard, "when, and where?");
        let found =
            until_there(world, carol.conversation, "the answer", |message| message.text() == "when, and where?");
        assert_eq!(found.answers(), Some(reply), "{found:?}");

        let desk = world.sandbox.desk();
        let messages = &conversation_of(&desk.conversations, carol.conversation).messages;
        let question = messages.iter().find(|message| message.text() == "two questions").expect("it arrived").id;
        world.sandbox.answer_to(carol.conversation, question, "tomorrow, here");
        let heard = carol.hears("tomorrow, here");
        assert_eq!(heard.content()["m.relates_to"]["m.in_reply_to"]["event_id"], first, "{heard:?}");
    });
}

#[test]
fn a_message_in_a_thread_arrives_as_what_it_says() {
    each(|world, _, mut carol| {
        let first = carol.say("a long story");
        let room = carol.room.clone();
        carol.customer.say_in_thread(&room, &first, &first, "it began in May");
        world.sandbox.conversation("Carol", "it began in May");
    });
}

#[test]
fn a_notice_of_some_robot_is_never_answered_by_ours() {
    each(|world, server, mut carol| {
        let before = carol.texts_of_agents(server).len();
        let room = carol.room.clone();
        carol.customer.notice(&room, "I am away");
        carol.say("good day");
        world.sandbox.conversation("Carol", "good day");
        world.until_idle();
        assert_eq!(carol.texts_of_agents(server).len(), before);
    });
}

#[test]
fn typing_goes_both_ways() {
    for mode in [Mode::Appservice, Mode::Websocket(Dialect::Asmux), Mode::Sync] {
        let Some(world) = World::watched(mode) else { return };
        let mut carol = world.guest(Synapse::shared(), "Carol");
        let (room, own) = (carol.room.clone(), carol.customer.user().to_owned());
        carol.customer.typing(&room, true);
        let typed =
            |world: &World| world.desk_calls.calls().into_iter().filter(|call| call.path.contains("typing")).count();
        until("the customer to type at the inbox", || match typed(&world) {
            0 => Err(format!("{:?}", world.desk_calls.calls())),
            _ => Ok(()),
        });
        carol.customer.typing(&room, false);
        world.sandbox.types(carol.conversation, true);
        carol.customer.wait_for("the agent to type", |seen| {
            let users = seen.event["users"].as_array().map_or(&[][..], Vec::as_slice);
            seen.room == room && users.iter().any(|user| user.as_str().is_some_and(|user| user != own))
        });
    }
}

#[test]
fn names_and_pictures_of_customers_follow_their_profile() {
    each(|world, _, mut carol| {
        carol.customer.set_name("Carol the Second");
        let picture = carol.customer.upload(super::files::PICTURE, "image/png", "me.png");
        carol.customer.set_avatar(&picture);
        carol.say("it is still me");
        until("the new name", || {
            let contacts = world.sandbox.desk().contacts;
            match contacts.as_slice() {
                [one] if one.name == "Carol the Second" => Ok(()),
                _ => Err(format!("{contacts:?}")),
            }
        });
        let reply = world.sandbox.reply(carol.conversation, "I see");
        assert_eq!(without_name(carol.hears("I see").body()), "I see");
        world.sandbox.until_status(reply, "delivered");
    });
}
