//! The homeserver is away, hangs, is overloaded, or its answers get lost. Everything arrives once and in order.

use std::{thread, time::Duration};

use reqwest::Method;

use super::world::{Guest, Mode, World, outage};
use crate::{
    peers::{
        as_proxy::Dialect,
        faulty::{Fault, Rule},
        synapse::Synapse,
    },
    wait::{PATIENCE, until, until_within},
    world::heavy,
};

const FOR_EVER: usize = 1_000_000;
const SEND: &str = "/send/m.room.message/";

fn rule(method: Method, path: &'static str, times: usize, carried_out: bool, fault: Fault) -> Rule {
    Rule { method, path, times, carried_out, fault }
}

fn numbered(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{word} {number}")).collect()
}

/// Returns once all have this status, however long the way there.
fn all_delivered(world: &World, replies: &[u64]) {
    until_within(PATIENCE * 2 + outage() * 3, "every reply to be delivered", || {
        let desk = world.sandbox.desk();
        let open: Vec<_> =
            replies.iter().filter_map(|id| desk.message(*id)).filter(|found| found.status != "delivered").collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    });
}

fn replies(world: &World, guest: &Guest, texts: &[String]) -> Vec<u64> {
    texts.iter().map(|text| world.sandbox.reply(guest.conversation, text)).collect()
}

/// What the customer wrote after `hello`, once it is so much.
fn said(world: &World, guest: &Guest, count: usize) -> Vec<String> {
    let desk = world.until_incoming(count + 1);
    let found = desk.conversations.iter().find(|found| found.id == guest.conversation).expect("it is there");
    found.incoming()[1..].iter().map(ToString::to_string).collect()
}

#[test]
fn replies_written_while_the_homeserver_is_down_arrive_once_and_in_order() {
    let _alone = heavy();
    if !Synapse::present() {
        return;
    }
    for mode in [Mode::Appservice, Mode::Sync] {
        let mut server = Synapse::start();
        let world = World::on(&server, mode);
        let mut carol = world.guest(&server, "Carol");
        server.go_down();
        let texts = numbered("reply", 5);
        let ids = replies(&world, &carol, &texts);
        until("the replies to be kept", || {
            let waiting = world.gateway.waiting();
            if waiting.len() >= texts.len() { Ok(()) } else { Err(format!("{waiting:?}")) }
        });
        thread::sleep(outage());
        assert_eq!(world.gateway.ready().expect("it answers").status, 200, "callbacks can be stored all the same");
        server.come_up();
        all_delivered(&world, &ids);
        assert_eq!(carol.texts_of_agents(&server), texts, "{mode:?}");
        carol.say("there you are");
        assert_eq!(said(&world, &carol, 1), ["there you are"]);
    }
}

#[test]
fn a_homeserver_that_hangs_loses_and_doubles_nothing() {
    let _alone = heavy();
    if !Synapse::present() {
        return;
    }
    for mode in [Mode::Appservice, Mode::Sync] {
        let server = Synapse::start();
        let world = World::on(&server, mode);
        let mut carol = world.guest(&server, "Carol");
        server.hang();
        let texts = numbered("reply", 5);
        let ids = replies(&world, &carol, &texts);
        thread::sleep(outage());
        server.wake();
        all_delivered(&world, &ids);
        assert_eq!(carol.texts_of_agents(&server), texts, "{mode:?}");
        carol.say("there you are");
        assert_eq!(said(&world, &carol, 1), ["there you are"]);
    }
}

#[test]
fn a_homeserver_that_is_overloaded_gets_every_reply_once_and_in_order() {
    for mode in [Mode::Appservice, Mode::Sync] {
        let Some(world) = World::shared(mode) else { return };
        let server = Synapse::shared();
        let carol = world.guest(server, "Carol");
        let faults = [
            (false, Fault::TooMany { seconds: 1 }),
            (false, Fault::BadGateway),
            (true, Fault::BadGateway),
            (false, Fault::HangUp),
            (true, Fault::HangUp),
            (true, Fault::Hang(Duration::from_secs(3))),
        ];
        for (carried_out, fault) in faults {
            world.balancer.add(rule(Method::PUT, SEND, 1, carried_out, fault));
        }
        let texts = numbered("reply", 8);
        let ids = replies(&world, &carol, &texts);
        all_delivered(&world, &ids);
        assert_eq!(carol.texts_of_agents(server), texts, "{mode:?}");
        assert_eq!(world.balancer.strikes_left(), 0, "a test that met no fault has shown nothing");
    }
}

#[test]
fn whoever_is_told_to_wait_waits_as_long() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let server = Synapse::shared();
    let carol = world.guest(server, "Carol");
    world.until_idle();
    let tries = |world: &World| world.balancer.calls().iter().filter(|call| call.path.contains(SEND)).count();
    let before = tries(&world);
    world.balancer.add(rule(Method::PUT, SEND, 1, false, Fault::TooMany { seconds: 4 }));
    let reply = world.sandbox.reply(carol.conversation, "no hurry");
    world.sandbox.until_status(reply, "delivered");
    assert_eq!((tries(&world) - before, world.balancer.impatient()), (2, 0));
}

/// A homeserver forgets at its restart which transactions it has seen.
#[test]
fn a_reply_whose_answer_was_lost_is_not_sent_again_after_a_restart_of_the_homeserver() {
    let _alone = heavy();
    if !Synapse::present() {
        return;
    }
    let mut server = Synapse::start();
    let world = World::on(&server, Mode::Appservice);
    let mut carol = world.guest(&server, "Carol");
    // Whatever is done once for each agent and room is done by now.
    let first = world.sandbox.reply(carol.conversation, "good morning");
    carol.hears("good morning");
    world.sandbox.until_status(first, "delivered");
    world.balancer.add(rule(Method::PUT, SEND, 1, true, Fault::HangUp));
    world.balancer.add(rule(Method::PUT, SEND, FOR_EVER, false, Fault::BadGateway));
    world.balancer.add(rule(Method::GET, "/rooms/", FOR_EVER, false, Fault::BadGateway));
    let reply = world.sandbox.reply(carol.conversation, "only once");
    until("the reply in the room", || match carol.texts_of_agents(&server).as_slice() {
        [_, _] => Ok(()),
        texts => Err(format!("{texts:?}")),
    });
    server.stop();
    server.come_up();
    world.balancer.clear();
    all_delivered(&world, &[reply]);
    assert_eq!(carol.texts_of_agents(&server), ["good morning", "only once"]);
}

#[test]
fn what_customers_write_while_the_gateway_is_down_arrives_afterwards() {
    let modes = [Mode::Appservice, Mode::Websocket(Dialect::Wsproxy), Mode::Websocket(Dialect::Asmux), Mode::Sync];
    for mode in modes {
        let Some(mut world) = World::shared(mode) else { return };
        let mut carol = world.guest(Synapse::shared(), "Carol");
        world.gateway.kill();
        // More than one page of anything, and than the first sync of a room shows.
        let texts = numbered("line", 60);
        for text in &texts {
            carol.say(text);
        }
        world.start();
        assert_eq!(said(&world, &carol, texts.len()), texts, "{mode:?}");
        // What the homeserver still has to push is known by now.
        carol.say("good night");
        assert_eq!(said(&world, &carol, texts.len() + 1).last().map(String::as_str), Some("good night"));
        world.until_idle();
        assert_eq!(said(&world, &carol, texts.len() + 1).len(), texts.len() + 1, "{mode:?}");
    }
}

/// An invite is all that there is of a customer who wrote to nobody.
#[test]
fn somebody_who_invites_us_while_the_gateway_is_down_is_answered_afterwards() {
    for mode in [Mode::Appservice, Mode::Websocket(Dialect::Wsproxy), Mode::Sync] {
        let Some(mut world) = World::shared(mode) else { return };
        let mut dave = crate::peers::customer::Customer::of(Synapse::shared(), "Dave");
        dave.set_name("Dave");
        world.gateway.kill();
        let room = dave.dm(&world.support);
        world.start();
        dave.until_joined(&room, &world.support);
        dave.say(&room, "finally");
        world.sandbox.conversation("Dave", "finally");
    }
}

#[test]
fn news_whose_answers_get_lost_are_asked_for_again() {
    let Some(world) = World::shared(Mode::Sync) else { return };
    let mut carol = world.guest(Synapse::shared(), "Carol");
    for (carried_out, fault) in [
        (false, Fault::BadGateway),
        (true, Fault::HangUp),
        (false, Fault::TooMany { seconds: 1 }),
        (true, Fault::BadGateway),
    ] {
        world.balancer.add(rule(Method::GET, "/sync", 1, carried_out, fault));
    }
    let texts = numbered("line", 10);
    for text in &texts {
        carol.say(text);
    }
    assert_eq!(said(&world, &carol, texts.len()), texts);
    until("all faults to strike", || match world.balancer.strikes_left() {
        0 => Ok(()),
        left => Err(format!("{left} left")),
    });
    carol.say("good night");
    assert_eq!(said(&world, &carol, texts.len() + 1).last().map(String::as_str), Some("good night"));
}

#[test]
fn files_whose_bytes_or_answers_get_lost_arrive_once() {
    for mode in [Mode::Appservice, Mode::Sync] {
        let Some(world) = World::shared(mode) else { return };
        let server = Synapse::shared();
        let mut carol = world.guest(server, "Carol");
        world.balancer.add(rule(Method::GET, "/media/download/", 1, false, Fault::BadGateway));
        world.balancer.add(rule(Method::GET, "/media/download/", 1, false, Fault::HangUp));
        world.balancer.add(rule(Method::POST, "/media/v3/upload", 1, true, Fault::HangUp));
        let room = carol.room.clone();
        carol.customer.send_image(&room, super::files::PICTURE, "crack.png");
        until_within(PATIENCE * 2, "the picture at the inbox", || {
            let desk = world.sandbox.desk();
            match desk.incoming().map(|message| message.attachments.len()).sum::<usize>() {
                1 => Ok(()),
                count => Err(format!("{count} pictures")),
            }
        });
        let reply = world.sandbox.reply_with_file(carol.conversation, "", "label.png", super::files::PICTURE);
        all_delivered(&world, &[reply]);
        let history = server.history(&carol.customer.account.token, &room);
        let pictures = history.iter().filter(|event| event["content"]["msgtype"] == "m.image").count();
        assert_eq!((pictures, world.balancer.strikes_left()), (2, 0), "{mode:?}: one each way");
    }
}

#[test]
fn a_gateway_that_starts_before_its_homeserver_takes_up_work_when_it_comes() {
    let _alone = heavy();
    if !Synapse::present() {
        return;
    }
    for mode in [Mode::Appservice, Mode::Websocket(Dialect::Wsproxy)] {
        let mut server = Synapse::start();
        let mut world = World::unstarted(&server, mode, false);
        server.go_down();
        world.gateway.start();
        until("the bridge to say that it is not up", || match world.gateway.bridge_state().as_str() {
            "up" | "absent" => Err("up or absent".to_owned()),
            _ => Ok(()),
        });
        server.come_up();
        world.gateway.until_on_network();
        let mut carol = world.guest(&server, "Carol");
        let reply = world.sandbox.reply(carol.conversation, "good morning");
        carol.hears("good morning");
        world.sandbox.until_status(reply, "delivered");
    }
}
