//! One person who writes without end: slowed in a conversation of their own, with nothing lost, while others are not.

use std::time::Duration;

use deskbridge::{gateway::Plan, model::Pace, sandbox::SandboxSettings};
use serde_json::Value;

use crate::world::{DEADLINE, World, message};

const BURST: usize = 5;
const FLOOD: usize = 300;

fn slow(plan: &mut Plan) {
    plan.bridges[0].peer_pace = Pace::new(BURST as u32, 600_000);
}

fn brisk(plan: &mut Plan) {
    plan.bridges[0].peer_pace = Pace::new(BURST as u32, 20);
}

async fn flood(world: &World, peer: &str) {
    let host = world.network.host().await;
    for ten in 0..FLOOD / 10 {
        let events = (0..10).map(|n| message(peer, &format!("{peer}-{ten:03}-{n}"), &format!("{peer} {ten:03}-{n}")));
        host.accept(events.collect(), Vec::new()).await.unwrap();
    }
}

fn notes(world: &World, conversation: u64) -> Vec<String> {
    let rows = world.conversations();
    let rows = rows.iter().find(|one| one["id"] == conversation).unwrap()["messages"].as_array().unwrap().clone();
    let is_note = |row: &&Value| row["private"] == true;
    rows.iter().filter(is_note).map(|row| row["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_flood_waits_in_its_own_conversation_and_everybody_else_is_heard_at_once() {
    let world = World::adjusted(SandboxSettings::default(), slow).await;
    flood(&world, "mallory").await;
    assert_eq!(world.wait_for_incoming(1, BURST).await.len(), BURST);
    for (conversation, peer) in (2..).zip(["ada", "grace", "alan"]) {
        world.write(peer, &format!("{peer}-1"), "is anybody there?").await;
        assert_eq!(world.wait_for_incoming(conversation, 1).await, ["is anybody there?"]);
    }
    // An answer, and what becomes of it, waits for nothing.
    let reply = world.sandbox.reply(1, "please write slowly").unwrap();
    world.wait_for_status(reply, "delivered").await;
    let seen = world.until("the note", || Some(notes(&world, 1)).filter(|notes| !notes.is_empty())).await;
    assert_eq!(seen.len(), 1, "told once: {seen:?}");
    assert!(seen[0].contains("mallory writes faster") && seen[0].contains("one every 600 seconds"), "{seen:?}");
    let rests = async {
        while world.store.depth().await.unwrap().waiting as usize != FLOOD - BURST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, rests).await.expect("what is left is the rest of the flood");
    assert_eq!((world.texts(1, 0).len(), world.store.depth().await.unwrap().dead), (BURST, 0));
}

#[tokio::test]
async fn a_flood_comes_whole_and_in_order_when_its_time_has_come() {
    let settings = SandboxSettings { messages_per_minute_max: 2 * FLOOD, ..SandboxSettings::default() };
    let world = World::adjusted(settings, brisk).await;
    flood(&world, "mallory").await;
    let came = world.wait_for_incoming(1, FLOOD).await;
    let expected: Vec<_> = (0..FLOOD).map(|n| format!("mallory {:03}-{}", n / 10, n % 10)).collect();
    assert_eq!(came, expected);
    world.wait_for_rest().await;
    assert!(!notes(&world, 1).is_empty(), "the agent knows");
    assert_eq!(world.store.depth().await.unwrap().dead, 0);
}
