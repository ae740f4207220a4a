//! The websocket loses, doubles, merges, swaps and cuts what it carries. Everything arrives once.

use std::time::Duration;

use serde_json::json;

use super::world::{Guest, Mode, World};
use crate::{
    peers::{
        as_proxy::{Dialect, Entry, Switches},
        synapse::Synapse,
        websocket::{Next, Websocket},
    },
    wait::{PATIENCE, until, until_within},
};

const DIALECTS: [Dialect; 2] = [Dialect::Wsproxy, Dialect::Asmux];

fn scene(dialect: Dialect) -> Option<(World, Guest)> {
    let world = World::shared(Mode::Websocket(dialect))?;
    let guest = world.guest(Synapse::shared(), "Carol");
    Some((world, guest))
}

/// What the customer wrote after `hello`, once it is so much and no more is under way.
fn arrived(world: &World, guest: &Guest, count: usize) -> Vec<String> {
    world.until_incoming(count + 1);
    world.until_idle();
    let desk = world.sandbox.desk();
    let found = desk.conversations.iter().find(|found| found.id == guest.conversation).expect("it is there");
    found.incoming()[1..].iter().map(ToString::to_string).collect()
}

/// Says one line after the other, each once the homeserver has pushed the one before.
fn say_one_by_one(world: &World, guest: &mut Guest, texts: &[&str]) {
    for text in texts {
        let event = guest.say(text);
        world.proxy().until(&format!("`{text}` to be pushed"), |log| {
            let pushed = log
                .iter()
                .any(|entry| entry.what == "transaction" && entry.data["events"].to_string().contains(&event));
            pushed.then_some(())
        });
    }
}

fn with(switch: impl Fn(&mut Switches), dialect: Dialect, texts: &[&str]) -> Option<(World, Guest, Vec<String>)> {
    let (world, mut carol) = scene(dialect)?;
    world.proxy().switch(|switches| {
        switches.time_scale = 0.05;
        switch(switches);
    });
    say_one_by_one(&world, &mut carol, texts);
    arrived(&world, &carol, texts.len());
    until("everything to have gone wrong", || {
        let mut left = String::new();
        world.proxy().switch(|switches| {
            let counts = [switches.drop_frames, switches.duplicate_frames, switches.swap_frames, switches.ignore_acks];
            if counts != [0; 4] || switches.cut_frame_after.is_some() {
                left = format!("{switches:?}");
            }
        });
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    // One connection keeps its order: after this one nothing else comes.
    carol.say("good night");
    let mut found = arrived(&world, &carol, texts.len() + 1);
    assert_eq!(found.pop().as_deref(), Some("good night"));
    Some((world, carol, found))
}

#[test]
fn frames_that_come_twice_take_effect_once() {
    for dialect in DIALECTS {
        let texts = ["one", "two", "three"];
        let Some((_world, _carol, arrived)) = with(|switches| switches.duplicate_frames = 3, dialect, &texts) else {
            return;
        };
        assert_eq!(arrived, texts, "{dialect:?}");
    }
}

#[test]
fn frames_that_come_again_merged_with_later_ones_take_effect_once() {
    let texts = ["one", "two", "three", "four"];
    let Some((world, _carol, arrived)) = with(|switches| switches.ignore_acks = 2, Dialect::Asmux, &texts) else {
        return;
    };
    assert_eq!(arrived, texts);
    let merged = |entry: &Entry| entry.what == "frame" && entry.data["txn_id"].to_string().contains(',');
    assert!(world.proxy().log().iter().any(merged), "a test that met no fault has shown nothing");
}

/// Two transactions that overtake each other are in no order that could be known.
#[test]
fn frames_that_overtake_each_other_are_all_there() {
    let Some((_world, _carol, mut arrived)) =
        with(|switches| switches.swap_frames = 1, Dialect::Wsproxy, &["late", "early"])
    else {
        return;
    };
    arrived.sort();
    assert_eq!(arrived, ["early", "late"]);
}

#[test]
fn a_connection_that_is_cut_in_the_middle_of_a_frame_loses_nothing() {
    for dialect in DIALECTS {
        for bytes in [0, 3, 200] {
            let texts = ["cut in two", "and then"];
            let cut = |switches: &mut Switches| switches.cut_frame_after = Some(bytes);
            let Some((world, _carol, arrived)) = with(cut, dialect, &texts) else { return };
            assert_eq!(arrived, texts, "{dialect:?} after {bytes} bytes");
            assert_eq!(world.proxy().count("cut"), 1);
        }
    }
}

#[test]
fn frames_that_were_lost_with_their_connection_are_fetched_after_the_next_one() {
    for dialect in DIALECTS {
        let Some((world, mut carol)) = scene(dialect) else { return };
        world.proxy().switch(|switches| {
            switches.time_scale = 0.05;
            switches.drop_frames = 2;
        });
        let connections = world.proxy().count("connect");
        say_one_by_one(&world, &mut carol, &["lost", "lost as well"]);
        world.proxy().cut();
        world.proxy().until_connected(connections + 1);
        say_one_by_one(&world, &mut carol, &["there"]);
        let mut found = arrived(&world, &carol, 3);
        // The pipe may carry the last one while the others are being fetched.
        if dialect == Dialect::Wsproxy {
            found.sort_by_key(|text| text == "there");
        }
        assert_eq!(found, ["lost", "lost as well", "there"], "{dialect:?}");
    }
}

#[test]
fn connections_that_fall_all_the_time_lose_and_double_nothing() {
    for dialect in DIALECTS {
        let Some((mut world, mut carol)) = scene(dialect) else { return };
        world.proxy().switch(|switches| switches.time_scale = 0.05);
        let texts: Vec<_> = (0..12).map(|number| format!("line {number}")).collect();
        for (number, text) in texts.iter().enumerate() {
            carol.say(text);
            if number % 4 == 1 {
                world.proxy().cut();
            }
            if number == 7 {
                world.proxy_mut().go_away();
                until("the bridge to be off", || match world.gateway.bridge_state().as_str() {
                    "up" => Err("up".to_owned()),
                    _ => Ok(()),
                });
                world.proxy_mut().mend();
            }
        }
        until_within(PATIENCE * 2, "the bridge to be back", || match world.gateway.bridge_state().as_str() {
            "up" => Ok(()),
            state => Err(state.to_owned()),
        });
        let mut found = arrived(&world, &carol, texts.len());
        // What the pipe lost is fetched while it already carries the next.
        if dialect == Dialect::Wsproxy {
            found.sort_by_key(|text| text["line ".len()..].parse::<usize>().expect("a number"));
        }
        assert_eq!(found, texts, "{dialect:?}");
        let reply = world.sandbox.reply(carol.conversation, "I am back");
        carol.hears("I am back");
        world.sandbox.until_status(reply, "delivered");
    }
}

#[test]
fn a_dead_link_is_noticed_and_replaced() {
    let Some((world, mut carol)) = scene(Dialect::Wsproxy) else { return };
    world.proxy().hold();
    carol.say("into the void");
    until_within(PATIENCE * 3, "the link to be given up", || match world.gateway.bridge_state().as_str() {
        "up" => Err("up".to_owned()),
        _ => Ok(()),
    });
    world.proxy().release();
    assert_eq!(arrived(&world, &carol, 1), ["into the void"]);
}

#[test]
fn whoever_is_replaced_does_not_come_back() {
    for dialect in DIALECTS {
        let Some((world, _carol)) = scene(dialect) else { return };
        let url = world.proxy().websocket_url();
        let mut other = Websocket::connect(&url, &world.service.as_token, 3).expect("a good token");
        until("the bridge to be down", || match world.gateway.bridge_state().as_str() {
            "down" => Ok(()),
            state => Err(state.to_owned()),
        });
        // Longer than the first delay of a reconnect.
        let closed = std::iter::from_fn(|| other.next_within(Duration::from_secs(6)))
            .find(|next| !matches!(next, Next::Frame(_)));
        assert_eq!(closed, None, "{dialect:?}: the two would drive each other out for ever");
        assert_eq!(world.proxy().log().iter().filter(|entry| entry.data["code"] == 4001).count(), 1);
    }
}

#[test]
fn a_token_that_is_refused_is_reported_and_tried_again() {
    let Some((world, mut carol)) = scene(Dialect::Wsproxy) else { return };
    world.proxy().switch(|switches| switches.refuse = true);
    world.proxy().cut();
    world.proxy().until("a refusal", |log| log.iter().any(|entry| entry.what == "refused").then_some(()));
    until("the bridge to say so", || match world.gateway.bridge_state().as_str() {
        "up" => Err("up".to_owned()),
        _ => Ok(()),
    });
    world.proxy().switch(|switches| switches.refuse = false);
    carol.say("and now?");
    assert_eq!(arrived(&world, &carol, 1), ["and now?"]);
}

#[test]
fn a_queue_that_closes_for_want_of_answers_is_connected_to_again() {
    let Some((world, mut carol)) = scene(Dialect::Asmux) else { return };
    let connections = world.proxy().count("connect");
    world.proxy().close(&world.service, 4002, "transactions_not_acknowledged");
    world.proxy().until_connected(connections + 1);
    carol.say("again");
    assert_eq!(arrived(&world, &carol, 1), ["again"]);
}

#[test]
fn requests_of_the_server_are_answered() {
    let Some((world, _carol)) = scene(Dialect::Asmux) else { return };
    let asked = world.proxy().ask(&world.service, "nonsense", &json!({}));
    assert_eq!((&asked["command"], &asked["data"]["code"]), (&json!("error"), &json!("UNKNOWN_COMMAND")));
    let asked = world.proxy().ask(&world.service, "ping", &json!({}));
    assert_eq!(asked["command"], "response");
    assert!(asked["data"]["bridgeState"]["state_event"].is_string(), "{asked}");
    let versions: Vec<_> = world.proxy().log().into_iter().filter(|entry| entry.what == "connect").collect();
    assert_eq!(versions[0].data["version"], 3);
}
