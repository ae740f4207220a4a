//! Typing, both ways: shown at once or not at all, and never kept.

use std::time::Duration;

use deskbridge::sandbox::SandboxSettings;
use serde_json::json;

use crate::world::{DEADLINE, World, message};

async fn answered() -> World {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    world
}

/// What the agent's page is told, from now on.
async fn page(world: &World) -> reqwest::Response {
    let page = reqwest::get(format!("{}/sandbox/events", world.sandbox.url())).await.unwrap();
    assert_eq!(page.status(), 200);
    page
}

/// Reads until the page was told of this many typings.
async fn typings(page: &mut reqwest::Response, count: usize) -> Vec<String> {
    let mut text = String::new();
    loop {
        let told = text.split("event: typing\ndata: ").skip(1).filter_map(|rest| rest.split_once('\n'));
        let told: Vec<String> = told.map(|(data, _)| data.to_owned()).collect();
        if told.len() >= count {
            return told;
        }
        let piece = tokio::time::timeout(DEADLINE, page.chunk()).await.expect("the page is told").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

#[tokio::test]
async fn an_agent_who_types_a_reply_is_shown_to_the_peer_and_one_who_types_a_note_is_not() {
    let world = answered().await;
    world.sandbox.types(1, true, true).unwrap();
    world.sandbox.types(1, true, false).unwrap();
    // Said already.
    world.sandbox.types(1, true, false).unwrap();
    world.sandbox.types(1, false, false).unwrap();
    assert_eq!(world.network.wait_for_typing(2).await, [("a:ada".to_owned(), true), ("a:ada".to_owned(), false)]);
    world.sandbox.until_callbacks_are_done().await;
    assert_eq!(world.store.depth().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn a_bridge_that_is_slow_to_show_typing_delays_no_callback() {
    let world = answered().await;
    world.network.show_no_typing();
    for n in 0..200 {
        world.sandbox.types(1, n % 2 == 0, false).unwrap();
    }
    let reply = world.sandbox.reply(1, "hello Ada").unwrap();
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["hello Ada"]);
    world.wait_for_status(reply, "delivered").await;
}

#[tokio::test]
async fn a_peer_who_types_is_shown_to_the_agents_of_a_conversation_that_lives() {
    let world = answered().await;
    let mut page = page(&world).await;
    let host = world.network.host().await;
    // Nobody knows grace yet, and her typing makes no conversation.
    host.typing(&"a:grace".into(), true);
    for on in [true, true, false, false] {
        host.typing(&"a:ada".into(), on);
    }
    assert_eq!(typings(&mut page, 2).await, [r#"{"id":1,"on":true}"#, r#"{"id":1,"on":false}"#]);
    assert_eq!(world.conversations().len(), 1);
}

#[tokio::test]
async fn a_thread_with_dots_and_slashes_in_its_name_is_found_by_the_client_api() {
    let world = World::new().await;
    let host = world.network.host().await;
    let mut event = message("ada", "1", "hello");
    event.thread = "!room/1:example.org".into();
    host.accept(vec![event], Vec::new()).await.unwrap();
    world.wait_for_incoming(1, 1).await;
    let mut page = page(&world).await;
    host.typing(&"!room/1:example.org".into(), true);
    assert_eq!(typings(&mut page, 1).await, [r#"{"id":1,"on":true}"#]);

    let identifier = world.sandbox.state()["inboxes"][0]["inbox_identifier"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().build().unwrap();
    for (source, status) in [
        ("net%2F%21room%2F1%3Aexample%2Eorg", 200),
        ("net%2F%21room%2F1%3Aexample.org", 404),
        ("net/%21room%2F1%3Aexample%2Eorg", 404),
        ("net%2Fnobody", 404),
    ] {
        let inbox = format!("{}/public/api/v1/inboxes/{identifier}", world.sandbox.url());
        let url = format!("{inbox}/contacts/{source}/conversations/1/toggle_typing");
        let answer = client.post(url).json(&json!({"typing_status": "on"})).send().await.unwrap();
        assert_eq!(answer.status(), status, "{source}");
    }
}

#[tokio::test]
async fn an_inbox_that_does_not_answer_costs_nothing_but_the_showing() {
    let world = World::with(SandboxSettings::default()).await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    world.sandbox.go_down().await;
    let host = world.network.host().await;
    for n in 0..200 {
        host.typing(&"a:ada".into(), n % 2 == 0);
    }
    world.sandbox.come_up().await;
    world.write("ada", "2", "again").await;
    assert_eq!(world.wait_for_incoming(1, 2).await, ["hello", "again"]);
    tokio::time::timeout(Duration::from_secs(5), world.gateway.stop()).await.expect("it stops in time");
}
