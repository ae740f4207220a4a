//! A relay that has a bad day.

use super::world::{ADA, Behind, HELP, World};
use crate::peers::{
    postfix::HandIn,
    relay::{Answer, Relay},
    swaks::Mail,
};

/// A world whose relay follows the script, and a conversation in it.
fn with(script: &[Answer], in_doubt: &str) -> Option<(World, Relay, u64)> {
    let relay = Relay::start(script);
    let more = format!("when_in_doubt = \"{in_doubt}\"\n");
    let world = World::with(HandIn::Smtp, Behind::Port(relay.port), &more)?;
    world.receive(&Mail::new(ADA, HELP).subject("hello").text("is anybody there?"));
    let conversation = world.conversation("is anybody there?").id;
    Some((world, relay, conversation))
}

#[test]
fn an_answer_that_was_put_off_twice_is_sent_once_and_those_after_it_wait() {
    let later = Answer::Say("451 4.3.0 try again later");
    let Some((world, relay, conversation)) = with(&[later.clone(), later], "repeat") else { return };
    let texts = ["one", "two", "three"];
    let replies = texts.map(|text| world.sandbox.reply(conversation, text));
    for reply in replies {
        world.sandbox.until_status(reply, "delivered");
    }
    let arrived = relay.until(5);
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let tried: Vec<_> = arrived.iter().map(|mail| first(&mail.letter.text())).collect();
    assert_eq!(tried, ["one", "one", "one", "two", "three"]);
    let ids: Vec<_> = arrived.iter().map(|mail| mail.letter.id()).collect();
    assert_eq!((&ids[0], &ids[1]), (&ids[1], &ids[2]), "it is the same mail at each try");
    assert_eq!(relay.kept().len(), 3);
}

#[test]
fn an_answer_that_is_refused_fails_with_the_words_of_the_relay_and_the_next_one_goes_on() {
    let words = "550 5.7.1 this content is not welcome here";
    let Some((world, relay, conversation)) = with(&[Answer::Say(words)], "repeat") else { return };
    let refused = world.sandbox.reply(conversation, "one");
    let reason = world.sandbox.until_status(refused, "failed").reason().to_owned();
    assert!(reason.contains("5.7.1") && reason.contains("this content is not welcome here"), "{reason}");
    let next = world.sandbox.reply(conversation, "two");
    world.sandbox.until_status(next, "delivered");
    assert_eq!(relay.kept().len(), 1);
}

#[test]
fn a_connection_that_is_cut_after_the_last_line_leaves_a_doubt_that_is_shown() {
    let Some((world, relay, conversation)) = with(&[Answer::KeepAndHangUp], "fail") else { return };
    let reply = world.sandbox.reply(conversation, "one");
    let failed = world.sandbox.until_status(reply, "failed");
    assert!(!failed.reason().is_empty(), "nobody says why: {failed:?}");
    let next = world.sandbox.reply(conversation, "two");
    world.sandbox.until_status(next, "delivered");
    let texts: Vec<_> = relay.kept().iter().map(|mail| mail.letter.text()).collect();
    assert!(texts.len() == 2 && texts[0].contains("one") && texts[1].contains("two"), "{texts:?}");
}

#[test]
fn where_a_repeat_is_preferred_the_second_copy_is_the_same_mail() {
    let Some((world, relay, conversation)) = with(&[Answer::KeepAndHangUp], "repeat") else { return };
    let reply = world.sandbox.reply(conversation, "one");
    world.sandbox.until_status(reply, "delivered");
    let kept = relay.kept();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(kept[0].letter.id(), kept[1].letter.id(), "whoever has it already knows it by its id");
}

#[test]
fn an_answer_goes_out_under_tls_where_the_relay_wants_it() {
    let Some(world) = World::with(HandIn::Smtp, Behind::PostfixTls, "") else { return };
    world.receive(&Mail::new(ADA, HELP).subject("hello").text("is anybody there?"));
    let conversation = world.conversation("is anybody there?").id;
    let reply = world.sandbox.reply(conversation, "in private");
    let letter = world.postfix.mailbox("ada").with("in private");
    world.sandbox.until_status(reply, "delivered");
    let received = letter.header("Received").unwrap_or_default();
    assert!(received.contains("with ESMTPS"), "{letter:?}");
}
