//! What `/metrics` says is exactly what happened.

use bridge_api::Fault;
use deskbridge::{
    clock,
    sandbox::{CallbackFaults, RouteClass, RouteFault, RouteRule, SandboxSettings},
};

use crate::{
    callbacks::post,
    exposition::Page,
    world::{DEADLINE, World, message},
};

pub(crate) async fn scrape(world: &World) -> (String, Page) {
    let answer = reqwest::get(format!("http://{}/metrics", world.gateway.address())).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    let text = answer.text().await.unwrap();
    let page = Page::read(&text).unwrap_or_else(|reason| panic!("{reason}\n\n{text}"));
    (text, page)
}

/// A series without its prefix, its labels, and what it must be.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// Scrapes until all of it is so: what the store is asked for is up to a second old.
async fn until(world: &World, expected: &[Expected<'_>]) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let (text, page) = scrape(world).await;
        let wrong: Vec<_> = expected
            .iter()
            .map(|(name, labels, value)| (name, labels, value, page.value(&format!("deskbridge_{name}"), labels)))
            .filter(|(_, _, expected, found)| Some(**expected) != *found)
            .collect();
        if wrong.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{wrong:?}\n\n{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

const IN: (&str, &str) = ("direction", "inbound");
const OUT: (&str, &str) = ("direction", "outbound");
const NET: (&str, &str) = ("bridge", "net");
const TO_NET: (&str, &str) = ("sink", "bridge:net");
const TO_INBOX: (&str, &str) = ("sink", "inbox:support");
const SUPPORT: (&str, &str) = ("inbox", "support");

#[tokio::test]
async fn a_conversation_a_dead_letter_and_a_forged_callback_are_counted_once_each() {
    let world = World::new().await;
    let (host, hello) = (world.network.host().await, message("ada", "1", "hello"));
    host.accept(vec![hello.clone()], Vec::new()).await.unwrap();
    // Told again it is no news.
    host.accept(vec![hello], Vec::new()).await.unwrap();
    world.wait_for_incoming(1, 1).await;
    let answer = world.sandbox.reply(1, "good morning").unwrap();
    world.wait_for_status(answer, "delivered").await;
    world.network.will(Err(Fault::refused("no such nick")));
    let lost = world.sandbox.reply(1, "are you there?").unwrap();
    world.wait_for_status(lost, "failed").await;
    assert_eq!(post(&world, "/callbacks/support", "another", 0, b"{}".to_vec()).await, 401);
    assert_eq!(post(&world, "/callbacks/nowhere", "another", 0, b"{}".to_vec()).await, 404);
    world.wait_for_rest().await;
    until(
        &world,
        &[
            ("messages_accepted_total", &[NET, IN], 1.0),
            ("messages_accepted_total", &[NET, OUT], 2.0),
            ("messages_delivered_total", &[NET, IN], 1.0),
            ("messages_delivered_total", &[NET, OUT], 1.0),
            ("messages_failed_total", &[NET, IN], 0.0),
            ("messages_failed_total", &[NET, OUT], 1.0),
            ("delivery_seconds_count", &[IN], 1.0),
            ("delivery_seconds_count", &[OUT], 1.0),
            ("delivery_attempts_total", &[TO_NET, ("outcome", "done")], 1.0),
            ("delivery_attempts_total", &[TO_NET, ("outcome", "refused")], 1.0),
            ("delivery_attempts_total", &[TO_NET, ("outcome", "retry")], 0.0),
            // The message, and what became of the two replies.
            ("delivery_attempts_total", &[TO_INBOX, ("outcome", "done")], 3.0),
            ("dead_letters", &[], 1.0),
            ("callbacks_total", &[SUPPORT, ("result", "stored")], 2.0),
            ("callbacks_total", &[SUPPORT, ("result", "refused")], 1.0),
            ("callbacks_total", &[SUPPORT, ("result", "malformed")], 0.0),
            ("unknown_outcomes_total", &[], 0.0),
            ("sweep_recovered_total", &[SUPPORT], 0.0),
            ("bridge_state", &[NET, ("state", "up")], 1.0),
            ("bridge_state", &[NET, ("state", "down")], 0.0),
            ("inbox_state", &[SUPPORT, ("state", "up")], 1.0),
            ("reconnects_total", &[NET], 0.0),
            ("worker_panics_total", &[], 0.0),
            ("config_last_reload_successful", &[], 1.0),
            ("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
            ("lanes_blocked", &[TO_NET], 0.0),
            ("queue_oldest_age_seconds", &[TO_NET], 0.0),
            ("queue_messages", &[TO_NET, ("state", "waiting")], 0.0),
            ("queue_messages", &[TO_INBOX, ("state", "under_way")], 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_page_sees_the_same_with_the_time_of_the_last_success() {
    let before = clock::now_millis();
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    let snapshot = world.gateway.board().figures().snapshot(clock::now_millis());
    let [bridge] = &snapshot.bridges[..] else { panic!("{snapshot:?}") };
    assert_eq!((bridge.name.as_str(), bridge.inbox.as_str()), ("net", "support"));
    let inbound = bridge.inbound;
    assert_eq!((inbound.accepted, inbound.delivered, inbound.failed), (1, 1, 0));
    assert_eq!((inbound.accepted_per_minute, inbound.delivered_per_minute), (1, 1));
    assert!(inbound.last_success_millis.is_some_and(|last| last >= before), "{inbound:?}");
    assert_eq!(bridge.outbound.last_success_millis, None);
    let sinks: Vec<_> = snapshot.sinks.iter().map(|sink| (sink.name.as_str(), sink.waiting)).collect();
    assert_eq!(sinks, [("bridge:net", 0), ("inbox:support", 0)]);
}

#[tokio::test]
async fn what_waits_for_an_inbox_that_is_down_has_an_age_and_blocks_a_lane() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let refusals = RouteRule {
        count: None,
        ..RouteRule::next(1, RouteClass::Messages, &axum::http::Method::POST, RouteFault::Unauthorized)
    };
    world.sandbox.faults().add(refusals);
    for n in 2..5 {
        world.write("ada", &n.to_string(), "are you there?").await;
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let (text, page) = scrape(&world).await;
        let value = |name: &str, labels: &[(&str, &str)]| page.value(&format!("deskbridge_{name}"), labels).unwrap();
        let states = ["waiting", "under_way", "in_doubt"];
        let queue: f64 = states.map(|state| value("queue_messages", &[TO_INBOX, ("state", state)])).iter().sum();
        let old = value("queue_oldest_age_seconds", &[TO_INBOX]) > 0.0;
        let tried = value("delivery_attempts_total", &[TO_INBOX, ("outcome", "down")]) > 0.0;
        let blocked = value("lanes_blocked", &[TO_INBOX]) > 0.0;
        if queue >= 3.0 && old && tried && blocked {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn doubt_and_how_it_was_settled_are_counted() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let cut = RouteRule::next(1, RouteClass::Messages, &axum::http::Method::POST, RouteFault::CommitThenDrop);
    world.sandbox.faults().add(cut);
    world.write("ada", "2", "still there?").await;
    world.wait_for_incoming(1, 2).await;
    // This network cannot say what became of a line, so it is sent once more.
    world.network.will(Err(Fault::unknown("the link fell")));
    world.sandbox.reply(1, "yes").unwrap();
    world.network.wait_for_texts("a:ada", 1).await;
    world.wait_for_rest().await;
    until(
        &world,
        &[
            ("unknown_outcomes_total", &[], 2.0),
            ("reconciled_total", &[("result", "found")], 1.0),
            ("reconciled_total", &[("result", "unanswered")], 1.0),
            ("reconciled_total", &[("result", "absent")], 0.0),
            ("delivery_attempts_total", &[TO_NET, ("outcome", "unknown")], 1.0),
            ("delivery_attempts_total", &[TO_NET, ("outcome", "done")], 1.0),
            ("messages_delivered_total", &[NET, IN], 2.0),
            ("messages_delivered_total", &[NET, OUT], 1.0),
            ("queue_messages", &[TO_INBOX, ("state", "in_doubt")], 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_no_callback_told_is_counted_when_the_sweep_finds_it() {
    let often = |plan: &mut deskbridge::gateway::Plan| {
        plan.inboxes[0].sweep_every = std::time::Duration::from_millis(100);
    };
    let world = World::adjusted(SandboxSettings::default(), often).await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.sandbox.faults().callbacks(CallbackFaults { drop: 1, drop_of: 1, ..CallbackFaults::default() });
    world.sandbox.reply(1, "good morning").unwrap();
    world.network.wait_for_texts("a:ada", 1).await;
    world.wait_for_rest().await;
    until(
        &world,
        &[
            ("sweep_recovered_total", &[SUPPORT], 1.0),
            ("messages_accepted_total", &[NET, OUT], 1.0),
            ("callbacks_total", &[SUPPORT, ("result", "stored")], 0.0),
        ],
    )
    .await;
    let (_, page) = scrape(&world).await;
    let swept = page.value("deskbridge_sweep_last_success_timestamp_seconds", &[SUPPORT]).unwrap();
    assert!(swept >= (clock::now_millis() / 1000 - 3600) as f64, "{swept}");
}
