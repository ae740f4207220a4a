//! An inbox that lies, breaks off, slows down and goes away.

use axum::http::Method;
use bridge_api::BridgeState;
use deskbridge::{
    sandbox::{RouteClass, RouteFault, RouteRule, SandboxSettings},
    store::Store,
};

use crate::world::World;

async fn each_fault_on(on: RouteClass, method: Method) {
    let faults = [
        RouteFault::CommitThenDrop,
        RouteFault::CommitThenServerError,
        RouteFault::CommitThenUnprocessable,
        RouteFault::ServerError,
        RouteFault::Drop,
        RouteFault::CommitThenBadGateway,
        RouteFault::CommitThenCut,
        RouteFault::BadGateway,
    ];
    for fault in faults {
        let world = World::new().await;
        let name = format!("{fault:?} on {on:?}");
        world.sandbox.faults().add(RouteRule::next(1, on, &method, fault));
        for n in 0..3 {
            world.write("ada", &n.to_string(), &format!("line {n}")).await;
        }
        assert_eq!(world.wait_for_incoming(1, 3).await, ["line 0", "line 1", "line 2"], "{name}");
        world.wait_for_rest().await;
        let state = world.sandbox.state();
        assert_eq!(world.texts(1, 0), ["line 0", "line 1", "line 2"], "{name}");
        assert_eq!(state["contacts"].as_array().unwrap().len(), 1, "{name}");
        assert_eq!(state["conversations"].as_array().unwrap().len(), 1, "{name}");
        assert_eq!(world.sandbox.faults().struck(), 1, "{name}: the fault must have been met");
    }
}

#[tokio::test]
async fn a_message_whose_post_ended_in_doubt_is_there_once() {
    each_fault_on(RouteClass::Messages, Method::POST).await;
}

#[tokio::test]
async fn a_contact_whose_creation_ended_in_doubt_is_there_once() {
    each_fault_on(RouteClass::Contacts, Method::POST).await;
}

#[tokio::test]
async fn a_conversation_whose_creation_ended_in_doubt_is_there_once() {
    each_fault_on(RouteClass::Conversations, Method::POST).await;
}

#[tokio::test]
async fn one_conversation_that_is_flooded_waits_alone() {
    let world = World::with(SandboxSettings { messages_per_minute_max: 3, ..SandboxSettings::default() }).await;
    for n in 0..5 {
        world.write("ada", &format!("a{n}"), &format!("line {n}")).await;
    }
    world.wait_for_incoming(1, 3).await;
    world.write("grace", "g1", "hello").await;
    assert_eq!(world.wait_for_incoming(2, 1).await, ["hello"]);
    // What grace wrote is there, but its attempt may not be settled yet.
    let waiting = loop {
        let waiting = world.store.list(10).await.unwrap();
        if waiting.iter().all(|row| !row.open) {
            break waiting;
        }
        tokio::task::yield_now().await;
    };
    assert!(waiting.iter().all(|row| row.attempts == 0), "a wait costs no attempt: {waiting:?}");
    assert_eq!(waiting.len(), 2);
}

#[tokio::test]
async fn an_inbox_that_is_not_there_holds_everything_and_gives_nothing_up() {
    let world = World::new().await;
    world.sandbox.faults().add(RouteRule::always(RouteClass::Any, RouteFault::Unauthorized));
    world.write("ada", "1", "hello").await;
    world
        .until("the inbox to be seen down", || {
            let state = world.gateway.board().inboxes()["support"].state.clone();
            matches!(state, BridgeState::Down { .. }).then_some(())
        })
        .await;
    let rows = world.store.list(10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(world.store.depth().await.unwrap().dead, 0);
    world.sandbox.faults().clear();
    assert_eq!(world.wait_for_incoming(1, 1).await, ["hello"]);
}

#[tokio::test]
async fn an_inbox_that_asks_for_fewer_requests_gets_none_until_its_next_minute_and_no_attempt_is_spent() {
    let world = World::new().await;
    world.write("ada", "1", "before").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    world.sandbox.faults().add(RouteRule::always(RouteClass::Any, RouteFault::TooManyRequests));
    for n in 2..6 {
        world.write("ada", &n.to_string(), "later").await;
    }
    world
        .until("the inbox to be held", || {
            let state = world.gateway.board().inboxes()["support"].state.clone();
            matches!(state, BridgeState::Down { .. }).then_some(())
        })
        .await;
    world.sandbox.faults().clear();
    let rows = world.store.list(10).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.attempts == 0), "{rows:?}");
    // What an agent writes passes through the same pump meanwhile, which therefore has looked at all that is due. The next
    // minute begins with a margin of a second, so this is always before it.
    world.sandbox.reply(1, "meanwhile").unwrap();
    world.network.wait_for_texts("a:ada", 1).await;
    assert_eq!(world.texts(1, 0).len(), 1, "nothing is sent within the minute");
}

#[tokio::test]
async fn a_post_in_doubt_is_found_also_when_its_session_was_forgotten() {
    let world = World::new().await;
    world.write("ada", "1", "line 1").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    world.sandbox.faults().add(RouteRule::next(1, RouteClass::Messages, &Method::POST, RouteFault::CommitThenDrop));
    world.write("ada", "2", "line 2").await;
    world.until("the post to break off", || (world.sandbox.faults().struck() == 1).then_some(())).await;
    let forget = async |store: &dyn Store| store.forget_session(&"net".into(), &"a:ada".into()).await.unwrap();
    let world = world.between(forget).await;
    world.wait_for_rest().await;
    assert_eq!(world.texts(1, 0), ["line 1", "line 2"]);
}
