//! Who is let in: limits of new conversations, people who are blocked, and what operators see of it.

use std::time::Duration;

use deskbridge::{
    gateway::Plan,
    model::gate::{GateRules, Masks},
    sandbox::SandboxSettings,
};
use reqwest::Method;
use serde_json::Value;

use crate::{
    status_page::Browser,
    world::{World, message},
};

fn five_a_day(plan: &mut Plan) {
    plan.bridges[0].gate = GateRules { per_peer_hour: 2, per_day: 5, blocked: Masks::new(["a:eve", "a:*bot*"]) };
}

async fn status(world: &World) -> Value {
    let mut browser = Browser::new(world);
    let answer = browser.send(Method::GET, "/admin/status", &[("authorization", "Bearer admin")], "").await;
    serde_json::from_str(&answer.text).unwrap()
}

#[tokio::test]
async fn new_conversations_have_a_limit_that_a_restart_does_not_lift_and_those_that_there_are_have_none() {
    let world = World::adjusted(SandboxSettings::default(), five_a_day).await;
    let host = world.network.host().await;
    for n in 0..20 {
        // Each from another person, in one event each, as a crowd of invented ones would.
        host.accept(vec![message(&format!("p{n:02}"), &format!("e{n}"), "hello")], Vec::new()).await.unwrap();
    }
    world.wait_for_rest().await;
    assert_eq!(world.conversations().len(), 5);
    let of = |world: &World, name: &str| {
        let all = world.conversations();
        all.iter().find(|one| one["name"] == name).expect("a conversation of theirs")["id"].as_u64().unwrap()
    };
    world.write("p03", "again", "are you there?").await;
    assert_eq!(world.wait_for_incoming(of(&world, "p03"), 2).await, ["hello", "are you there?"]);
    let seen = status(&world).await;
    assert_eq!(
        (&seen["bridges"][0]["refused"], &seen["bridges"][0]["turned_away"][0]["reason"]),
        (&15.into(), &"bridge_limit".into())
    );
    let world = world.away(|_| ()).await;
    world.write("p19", "after", "hello").await;
    world.write("p00", "after", "I am back").await;
    assert_eq!(world.wait_for_incoming(of(&world, "p00"), 2).await, ["hello", "I am back"]);
    world.wait_for_rest().await;
    assert_eq!(world.conversations().len(), 5);
}

#[tokio::test]
async fn whoever_is_blocked_is_counted_and_shown_to_operators_alone() {
    let world = World::adjusted(SandboxSettings::default(), five_a_day).await;
    for (n, peer) in ["eve", "robot", "EVE", "ada", "eve"].iter().enumerate() {
        world.write(peer, &format!("e{n}"), "buy this").await;
    }
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    assert_eq!(world.conversations().len(), 1);
    let mut browser = Browser::new(&world);
    browser.sign_in("admin").await;
    let page = browser.get("/").await.text;
    assert!(
        page.contains("4 messages not let in") && page.contains("a:robot") && page.contains("blocked by the settings"),
        "{page}"
    );
    let metrics = browser.get("/metrics").await.text;
    assert!(metrics.contains("deskbridge_refused_total{bridge=\"net\",reason=\"blocked\"} 4"), "{metrics}");
    assert!(!metrics.contains("robot"));
}

/// Pause, and what is written to the network meanwhile.
#[tokio::test]
async fn a_bridge_that_is_paused_loses_nothing_and_says_so_until_it_is_resumed() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("admin").await;
    let press = async |browser: &mut Browser, path: &str, name: &str| {
        let page = browser.get("/").await;
        let done = browser.post(path, &[("form", page.token()), ("name", name), ("back", "/")]).await;
        assert_eq!(done.status, 303, "{path}");
        browser.get("/").await.text
    };
    let page = press(&mut browser, "/bridges/pause", "net").await;
    assert!(page.contains("net is paused, until it is resumed or the gateway starts again"), "{page}");
    assert!(page.contains("paused by an operator") && page.contains("Resume net") && !page.contains("Pause net"));
    let seen = status(&world).await;
    assert_eq!((&seen["bridges"][0]["paused"], &seen["bridges"][0]["state"]), (&true.into(), &"down".into()));
    let reply = world.sandbox.reply(1, "good morning").unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while world.store.depth().await.unwrap().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the reply waits");
    let again = press(&mut browser, "/bridges/pause", "net").await;
    assert!(again.contains("Nothing to do: net is paused already"), "{again}");
    let no = press(&mut browser, "/bridges/reconnect", "net").await;
    assert!(no.contains("Nothing to do: net is paused: resume it"), "{no}");
    assert_eq!(world.network.texts("a:ada"), [""; 0]);
    let page = press(&mut browser, "/bridges/resume", "net").await;
    assert!(page.contains("net is resumed"), "{page}");
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["good morning"]);
    world.wait_for_status(reply, "delivered").await;
    world.write("ada", "2", "thank you").await;
    world.wait_for_incoming(1, 2).await;
    let page = press(&mut browser, "/bridges/reconnect", "net").await;
    assert!(page.contains("net connects again"), "{page}");
    world.write("ada", "3", "bye").await;
    world.wait_for_incoming(1, 3).await;
    let page = press(&mut browser, "/inboxes/sweep", "support").await;
    assert!(page.contains("support is asked now for what no callback told"), "{page}");
    for (path, name) in [("/bridges/pause", "nobody"), ("/inboxes/sweep", "nobody")] {
        assert!(press(&mut browser, path, name).await.contains("There is no such"), "{path}");
    }
}

#[tokio::test]
async fn programs_pause_resume_reconnect_and_sweep_by_the_api_with_the_token_alone() {
    let world = World::new().await;
    world.network.host().await;
    let mut browser = Browser::new(&world);
    let bearer = [("authorization", "Bearer admin")];
    for (path, expected) in [
        ("/admin/bridges/net/pause", (200, true, true)),
        ("/admin/bridges/net/pause", (200, false, true)),
        ("/admin/bridges/net/reconnect", (200, false, true)),
        ("/admin/bridges/net/resume", (200, true, false)),
        ("/admin/bridges/net/resume", (200, false, false)),
        ("/admin/bridges/net/reconnect", (200, true, false)),
    ] {
        for refused in [&[][..], &[("authorization", "Bearer nimda")][..]] {
            // The first wrong ones cost nothing, and later ones their turn.
            assert_eq!(browser.send(Method::POST, path, refused, "").await.status, 401);
        }
        let answer = browser.send(Method::POST, path, &bearer, "").await;
        let seen: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(
            (answer.status.as_u16(), seen["changed"] == true, seen["paused"] == true),
            expected,
            "{path} {}",
            answer.text
        );
    }
    let swept = browser.send(Method::POST, "/admin/inboxes/support/sweep", &bearer, "").await;
    assert_eq!(swept.status, 200, "{}", swept.text);
    for path in ["/admin/bridges/nobody/pause", "/admin/bridges/net/destroy", "/admin/inboxes/nobody/sweep"] {
        assert_eq!(browser.send(Method::POST, path, &bearer, "").await.status, 404, "{path}");
    }
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
}

#[tokio::test]
async fn without_the_token_readiness_holds_no_word_of_a_stranger() {
    let world = World::new().await;
    let host = world.network.host().await;
    host.state(bridge_api::BridgeState::Down { reason: "K-lined: canary-reason".to_owned() });
    let mut browser = Browser::new(&world);
    let public = browser.get("/readyz").await;
    assert_eq!(public.status, 200);
    assert!(public.text.contains("\"state\":\"down\"") && !public.text.contains("canary-reason"), "{}", public.text);
    let wrong = browser.send(Method::GET, "/readyz", &[("authorization", "Bearer nimda")], "").await;
    assert!(!wrong.text.contains("canary-reason"), "{}", wrong.text);
    let whole = browser.send(Method::GET, "/readyz", &[("authorization", "Bearer admin")], "").await;
    assert!(whole.text.contains("canary-reason"), "{}", whole.text);
}

#[tokio::test]
async fn a_contact_is_found_by_the_inboxs_numbers() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.write("grace", "2", "hello").await;
    world.wait_for_rest().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("admin").await;
    let found = browser.get("/?q=2").await.text;
    assert!(found.contains("net/a:grace") && !found.contains("net/a:ada"), "{found}");
    assert!(found.contains("conversation 2"), "{found}");
}
