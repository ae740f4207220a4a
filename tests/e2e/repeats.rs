//! What comes twice, out of order, or with an answer that got lost, takes effect once and in order.

use serde_json::json;

use crate::{
    gateway::NICK,
    peers::ngircd::Flood,
    wait::until,
    world::{FAST, World},
};

#[test]
fn callbacks_that_come_twice_and_shuffled_go_out_once_in_the_order_of_the_agent() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    let mut expected = Vec::new();
    for duplicate in ["same_delivery", "new_delivery"] {
        world.sandbox.faults(&json!({ "callbacks": { "duplicate": duplicate, "reorder": 6 } }));
        let texts: Vec<_> = (0..6).map(|number| format!("{duplicate} {number}")).collect();
        let replies: Vec<_> = texts.iter().map(|text| world.sandbox.reply(conversation, text)).collect();
        for reply in replies {
            world.sandbox.until_status(reply, "delivered");
        }
        expected.extend(texts);
    }
    // Every repetition has been answered before the count is taken.
    until("the callbacks to be answered", || {
        let (posted, failed) = world.sandbox.callbacks();
        assert_eq!(failed, 0);
        if posted >= 2 * expected.len() as u64 { Ok(()) } else { Err(format!("{posted} posted")) }
    });
    until("nothing to wait", || {
        let waiting = world.gateway.waiting();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    });
    alice.settle();
    assert_eq!(alice.texts_from(NICK), expected);
}

#[test]
fn a_message_whose_answer_was_lost_after_the_commit_is_not_posted_again() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let mut alice = world.person("alice");
    let kinds = [
        "commit_then_drop",
        "commit_then_server_error",
        "commit_then_cut",
        "commit_then_unprocessable",
        "commit_then_bad_gateway",
        "commit_then_drop",
    ];
    let rule = |kind: &&str| json!({ "on": "messages", "method": "POST", "count": 1, "kind": kind });
    let rules: Vec<_> = kinds.iter().map(rule).collect();
    world.sandbox.faults(&json!({ "routes": rules }));
    let texts: Vec<_> = (0..kinds.len() + 2).map(|number| format!("line {number}")).collect();
    for text in &texts {
        alice.say(NICK, text);
    }
    let last = texts.last().expect("there are some");
    let conversation = world.sandbox.conversation("alice", last);
    assert_eq!(conversation.incoming(), texts);
    assert_eq!(world.sandbox.strikes_left(), 0, "a test that met no fault has shown nothing");
}

#[test]
fn a_contact_and_a_conversation_whose_answers_were_lost_are_not_made_again() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let mut rules = Vec::new();
    for on in ["contacts", "conversations"] {
        for kind in ["commit_then_drop", "commit_then_server_error"] {
            rules.push(json!({ "on": on, "method": "POST", "count": 1, "kind": kind }));
        }
    }
    world.sandbox.faults(&json!({ "routes": rules }));
    let mut people: Vec<_> = ["alice", "bob", "carol", "dave"].map(|nick| world.person(nick)).into();
    for person in &mut people {
        person.say(NICK, "hello");
        person.say(NICK, "anybody?");
    }
    for person in &people {
        let conversation = world.sandbox.conversation(person.nick(), "anybody?");
        assert_eq!(conversation.incoming(), ["hello", "anybody?"]);
    }
    assert_eq!(world.sandbox.desk().contacts.len(), people.len());
    assert_eq!(world.sandbox.strikes_left(), 0, "a test that met no fault has shown nothing");
}
