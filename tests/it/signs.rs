//! Changes, signs and answers: what points to an earlier message, in both directions.

use bridge_api::{Fault, Inbound, Key, Part, Report, Sent, Target};

use crate::world::{World, message};

async fn accept(world: &World, event: &str, report: Report) {
    let event = Inbound { report, ..message("ada", event, "") };
    world.network.host().await.accept(vec![event], Vec::new()).await.unwrap();
}

fn edited(first: &str, text: &str) -> Report {
    let Report::Message(message) = message("ada", "", text).report else { panic!("a message") };
    Report::Edited { event: first.into(), message }
}

fn reacted(to: Target, sign: &str) -> Report {
    Report::Reacted { to, by: "ada".into(), sign: sign.into() }
}

/// Texts of the private notes of conversation 1, with the message that each answers.
fn notes(world: &World) -> Vec<(String, Option<u64>)> {
    let conversation = world.conversations().into_iter().find(|c| c["id"] == 1).unwrap();
    let rows = conversation["messages"].as_array().unwrap().clone();
    let notes = rows.iter().filter(|row| row["private"] == true);
    notes
        .map(|row| (row["content"].as_str().unwrap().to_owned(), row["content_attributes"]["in_reply_to"].as_u64()))
        .collect()
}

async fn wait_for_notes(world: &World, count: usize) -> Vec<(String, Option<u64>)> {
    world.until("private notes", || Some(notes(world)).filter(|notes| notes.len() >= count)).await
}

#[tokio::test]
async fn a_changed_message_comes_again_and_points_to_the_first() {
    let world = World::new().await;
    world.write("ada", "1", "helo").await;
    accept(&world, "2", edited("1", "hello")).await;
    accept(&world, "3", edited("never seen", "lost")).await;
    assert_eq!(world.wait_for_incoming(1, 3).await, ["helo", "*edited:* hello", "*edited:* lost"]);
    assert_eq!(world.row(1, 1)["content_attributes"]["in_reply_to"], world.row(1, 0)["id"]);
    assert!(world.row(1, 2)["content_attributes"]["in_reply_to"].is_null());
}

#[tokio::test]
async fn a_sign_is_a_note_at_its_message_opens_nothing_and_goes_when_it_is_taken_back() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let reply = world.sandbox.reply(1, "hello Ada").unwrap();
    world.network.wait_for_texts("a:ada", 1).await;
    world.sandbox.resolve(1).unwrap();
    accept(&world, "2", reacted(Target::Event("1".into()), "🎉")).await;
    let key = format!("support:{reply}/1/0");
    accept(&world, "3", reacted(Target::Effect(Key::from(key)), "👍{{x}}")).await;
    let hello = world.row(1, 0)["id"].as_u64();
    let expected = [("ada reacted with 🎉".into(), hello), ("ada reacted with 👍{ {x}}".into(), Some(reply))];
    assert_eq!(wait_for_notes(&world, 2).await, expected);
    let status = world.conversations()[0]["status"].clone();
    assert_eq!(status, "resolved");

    accept(&world, "4", Report::Withdrawn { event: "3".into() }).await;
    world.wait_for_rest().await;
    let deleted = notes(&world)[1].0.clone();
    assert_eq!(deleted, "This message was deleted");
}

#[tokio::test]
async fn an_answer_to_an_agents_message_points_to_it_within_its_conversation() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.network.will(Ok(Sent { event: Some("$named".into()), remark: None }));
    let reply = world.sandbox.reply(1, "hello Ada").unwrap();
    let key = world.network.wait_for_keys(1).await[0].clone();
    for (event, key, expected) in [
        ("2", key.as_str(), Some(reply)),
        ("3", &format!("support:{reply}/2/0"), None),
        ("4", &format!("sales:{reply}/1/0"), None),
        ("5", "support:x", None),
    ] {
        let Report::Message(mut answer) = message("ada", event, event).report else { panic!("a message") };
        answer.reply_to = Some(Target::Effect(Key::from(key)));
        accept(&world, event, Report::Message(answer)).await;
        world.until("the answer", || world.texts(1, 0).last().filter(|text| *text == event).cloned()).await;
        let conversations = world.conversations();
        let last = conversations[0]["messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["content_attributes"]["in_reply_to"].as_u64(), expected, "{key}");
    }
}

#[tokio::test]
async fn a_message_that_an_agent_takes_back_is_named_as_the_network_named_its_parts() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let named = |event: Option<&str>| Ok(Sent { event: event.map(Into::into), remark: None });
    // Three parts; the second has no name.
    for outcome in [named(Some("$one")), named(None), named(Some("$three"))] {
        world.network.will(outcome);
    }
    let text = ["a".repeat(340), "b".repeat(340), "c".repeat(20)].join(" ");
    let message = world.sandbox.reply(1, &text).unwrap();
    world.wait_for_status(message, "delivered").await;
    world.wait_for_rest().await;
    world.sandbox.delete_message(1, message).unwrap();
    let sent = world.network.wait_for_sent(4).await;
    let key = format!("support:{message}/1/0");
    let expected = Part::Withdraw { key: key.as_str().into(), events: vec!["$one".into(), "$three".into()] };
    assert_eq!(sent[3].part, expected);
}

#[tokio::test]
async fn what_was_never_sent_is_not_taken_back_and_what_was_sent_in_part_is() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.network.will(Err(Fault::refused("no")));
    let refused = world.sandbox.reply(1, "never").unwrap();
    world.wait_for_status(refused, "failed").await;
    world.network.will(Ok(Sent { event: Some("$half".into()), remark: None }));
    world.network.will(Err(Fault::refused("no")));
    let half = world.sandbox.reply(1, &format!("{} {}", "a".repeat(340), "b".repeat(340))).unwrap();
    world.wait_for_status(half, "failed").await;
    world.wait_for_rest().await;
    for message in [refused, half] {
        world.sandbox.delete_message(1, message).unwrap();
    }
    let sent = world.network.wait_for_sent(2).await;
    world.wait_for_rest().await;
    let expected = Part::Withdraw { key: format!("support:{half}/1/0").as_str().into(), events: vec!["$half".into()] };
    assert_eq!(sent[1].part, expected);
    assert_eq!(world.network.wait_for_sent(2).await.len(), 2);
}
