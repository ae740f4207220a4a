//! Both ways through the whole gateway, and what happens to a session whose records change under it.

use std::sync::Arc;

use bridge_api::Fault;
use deskbridge::{sandbox::SandboxSettings, store::MemoryStore};

use crate::world::{World, message};

#[tokio::test]
async fn a_first_message_makes_contact_link_and_conversation_and_later_ones_join_it() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.write("ada", "2", "are you there?").await;
    assert_eq!(world.wait_for_incoming(1, 2).await, ["hello", "are you there?"]);
    let state = world.sandbox.state();
    let contact = &state["contacts"][0];
    assert_eq!(contact["identifier"], "net/a:ada");
    assert_eq!(contact["name"], "ada");
    assert_eq!(contact["additional_attributes"]["nick"], "ada");
    assert_eq!(contact["contact_inboxes"][0]["source_id"], "net/a:ada");
    assert_eq!(state["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(state["conversations"][0]["messages"][0]["source_id"], "net/1/0");
}

#[tokio::test]
async fn an_older_inbox_that_answers_flat_serves_as_well() {
    let world = World::with(SandboxSettings { flat_contacts: true, ..SandboxSettings::default() }).await;
    world.write("ada", "1", "hello").await;
    assert_eq!(world.wait_for_incoming(1, 1).await, ["hello"]);
}

#[tokio::test]
async fn the_same_event_reported_twice_is_one_message() {
    let world = World::new().await;
    let event = message("ada", "1", "hello");
    let host = world.network.host().await;
    for _ in 0..3 {
        host.accept(vec![event.clone(), event.clone()], Vec::new()).await.unwrap();
    }
    world.write("ada", "2", "the end").await;
    assert_eq!(world.wait_for_incoming(1, 2).await, ["hello", "the end"]);
}

#[tokio::test]
async fn many_people_who_write_at_once_get_one_contact_and_one_conversation_each_in_order() {
    let settings = SandboxSettings { messages_per_minute_max: 10_000, ..SandboxSettings::default() };
    let world = World::with(settings).await;
    let host = world.network.host().await;
    let writers = (0..20).map(|peer| {
        let host = host.clone();
        async move {
            for n in 0..50 {
                let event = message(&format!("peer{peer}"), &format!("{peer}-{n}"), &format!("line {n}"));
                host.accept(vec![event], Vec::new()).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    world.wait_for_rest().await;
    let state = world.sandbox.state();
    assert_eq!(state["contacts"].as_array().unwrap().len(), 20);
    assert_eq!(state["conversations"].as_array().unwrap().len(), 20);
    let expected: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
    for conversation in 1..=20 {
        assert_eq!(world.texts(conversation, 0), expected);
    }
}

#[tokio::test]
async fn an_agents_answer_reaches_the_thread_and_is_marked_delivered() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let message = world.sandbox.reply(1, "hello Ada").unwrap();
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["hello Ada"]);
    world.wait_for_status(message, "delivered").await;
}

#[tokio::test]
async fn a_refused_answer_is_marked_failed_with_the_reason_and_retry_sends_it() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.network.will(Err(Fault::refused("ada is not on the network any more")));
    let message = world.sandbox.reply(1, "hello Ada").unwrap();
    let reason = world.wait_for_status(message, "failed").await;
    assert_eq!(reason.as_deref(), Some("ada is not on the network any more"));
    world.wait_for_rest().await;
    world.sandbox.retry(1, message).unwrap();
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["hello Ada"]);
    world.wait_for_status(message, "delivered").await;
}

#[tokio::test]
async fn a_lost_store_finds_the_same_contact_and_conversation_again() {
    let world = World::new().await;
    world.write("ada", "1", "before").await;
    world.wait_for_incoming(1, 1).await;
    let world = world.restart_on(Arc::new(MemoryStore::default())).await;
    world.write("ada", "2", "after").await;
    assert_eq!(world.wait_for_incoming(1, 2).await, ["before", "after"]);
    assert_eq!(world.sandbox.state()["contacts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_conversation_is_followed_by_a_new_one_and_nothing_is_lost() {
    let world = World::new().await;
    world.write("ada", "1", "before").await;
    world.wait_for_incoming(1, 1).await;
    world.sandbox.delete_conversation(1).unwrap();
    world.write("ada", "2", "after").await;
    assert_eq!(world.wait_for_incoming(2, 1).await, ["after"]);
}

#[tokio::test]
async fn a_deleted_contact_is_made_again() {
    let world = World::new().await;
    world.write("ada", "1", "before").await;
    world.wait_for_incoming(1, 1).await;
    let contact = world.sandbox.state()["contacts"][0]["id"].as_u64().unwrap();
    world.sandbox.delete_contact(contact).unwrap();
    world.write("ada", "2", "after").await;
    assert_eq!(world.wait_for_incoming(2, 1).await, ["after"]);
}

#[tokio::test]
async fn a_merged_contact_keeps_its_conversation() {
    let world = World::new().await;
    world.write("ada", "1", "from ada").await;
    world.write("grace", "2", "from grace").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_incoming(2, 1).await;
    let state = world.sandbox.state();
    let id = |at: usize| state["contacts"][at]["id"].as_u64().unwrap();
    world.sandbox.merge_contacts(id(0), id(1)).unwrap();
    let grace = (1..=2).find(|c| world.texts(*c, 0) == ["from grace"]).unwrap();
    world.write("grace", "3", "again").await;
    assert_eq!(world.wait_for_incoming(grace, 2).await, ["from grace", "again"]);
}

#[tokio::test]
async fn after_a_resolved_conversation_the_inbox_decides_where_the_next_message_goes() {
    for (lock, conversation, expected) in [(false, 2, vec!["after"]), (true, 1, vec!["before", "after"])] {
        let settings = SandboxSettings { lock_to_single_conversation: lock, ..SandboxSettings::default() };
        let world = World::with(settings).await;
        world.write("ada", "1", "before").await;
        world.wait_for_incoming(1, 1).await;
        world.sandbox.resolve(1).unwrap();
        let session = || async { world.store.session(&"net".into(), &"a:ada".into()).await.unwrap().unwrap() };
        while !session().await.resolved {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        world.write("ada", "2", "after").await;
        assert_eq!(world.wait_for_incoming(conversation, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_new_name_on_the_network_is_shown_to_the_agents() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let mut renamed = message("ada", "2", "me again");
    if let bridge_api::Report::Message(message) = &mut renamed.report {
        message.peer.name = "countess".into();
    }
    world.network.host().await.accept(vec![renamed], Vec::new()).await.unwrap();
    world.wait_for_incoming(1, 2).await;
    assert_eq!(world.sandbox.state()["contacts"][0]["name"], "countess");
}
