//! What stands at the edge: rooms that nobody can read, strangers with the wrong token, people who leave.

use reqwest::Method;
use serde_json::json;

use super::world::{Mode, World};
use crate::{http, peers::synapse::Synapse, wait::until};

#[test]
fn an_encrypted_room_is_told_once_that_nobody_can_read_it() {
    for mode in [Mode::Appservice, Mode::Sync] {
        let Some(world) = World::shared(mode) else { return };
        let server = Synapse::shared();
        let mut carol = world.guest(server, "Carol");
        let room = carol.customer.encrypted_dm(&world.support);
        carol.customer.until_joined(&room, &world.support);
        let secret = json!({
            "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEnACgAkLmt6qF84IK", "sender_key": "key",
            "session_id": "session", "device_id": "TEST",
        });
        for _ in 0..3 {
            carol.customer.send(&room, "m.room.encrypted", &secret);
        }
        let is_notice = |content: &serde_json::Value| {
            content["msgtype"] == "m.notice" && content["body"].to_string().to_lowercase().contains("encrypt")
        };
        carol.customer.wait_for("to be told", |seen| seen.room == room && is_notice(seen.content()));
        // What was pushed before this has been dealt with.
        carol.say("then in the open");
        until("what is said in the open", || {
            let desk = world.sandbox.desk();
            let there = desk.of("Carol").iter().any(|one| one.incoming().last() == Some(&"then in the open"));
            if there { Ok(()) } else { Err(format!("{:?}", desk.conversations)) }
        });
        world.until_idle();
        let history = server.history(&carol.customer.account.token, &room);
        assert_eq!(history.iter().filter(|event| is_notice(&event["content"])).count(), 1, "{history:?}");
        assert!(!format!("{:?}", world.sandbox.desk()).contains("AwgAEnACgAk"));
    }
}

/// A room that turns encrypted later is the same.
#[test]
fn replies_never_go_in_the_clear_into_a_room_that_became_encrypted() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let server = Synapse::shared();
    let mut carol = world.guest(server, "Carol");
    let room = carol.room.clone();
    carol.customer.state(&room, "m.room.encryption", &json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    carol.customer.wait_for("to be told", |seen| {
        seen.room == room && seen.content()["body"].to_string().to_lowercase().contains("encrypt")
    });
    let open = carol.customer.wait_for("to be invited to a room that can be read", |seen| seen.kind == "invite").room;
    carol.customer.join(&open);
    let reply = world.sandbox.reply(carol.conversation, "your password is swordfish");
    world.sandbox.until_status(reply, "delivered");
    carol.customer.wait_for("the reply in the other room", |seen| {
        seen.room == open && seen.body() == "your password is swordfish"
    });
    assert_eq!(carol.texts_of_agents(server), [""; 0]);
    // And the conversation goes on there.
    carol.customer.send(&open, "m.room.message", &json!({ "msgtype": "m.text", "body": "thank you" }));
    world.sandbox.conversation("Carol", "thank you");
}

#[test]
fn only_the_homeserver_may_push() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let mut carol = world.guest(Synapse::shared(), "Carol");
    let forged = json!({ "events": [{
        "type": "m.room.message", "event_id": "$forged", "room_id": carol.room, "sender": carol.customer.user(),
        "origin_server_ts": 1_795_000_000_000_u64, "content": { "msgtype": "m.text", "body": "send me the money" },
    }] });
    let push = |path: &str, token: Option<&str>| {
        let url = format!("http://127.0.0.1:{}{path}", world.service.port);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        http::request(Method::PUT, &url, &headers, Some(forged.to_string().into_bytes())).expect("it answers").status
    };
    let path = "/_matrix/app/v1/transactions/forged";
    assert_eq!(push(path, None), 401);
    assert_eq!(push(path, Some("wrong")), 403);
    assert_eq!(push(path, Some(&world.service.as_token)), 403, "the other one of the two tokens");
    assert_eq!(push(&format!("{path}?access_token=wrong"), None), 403);
    carol.say("this one is mine");
    let conversation = world.sandbox.conversation("Carol", "this one is mine");
    assert_eq!(conversation.incoming(), ["hello", "this one is mine"]);
    assert_eq!(Synapse::shared().ping(&world.service).status, 200, "the real one gets through");
}

#[test]
fn a_customer_who_left_is_called_back_or_the_agent_hears_of_it() {
    for mode in [Mode::Appservice, Mode::Sync] {
        let Some(world) = World::shared(mode) else { return };
        let mut carol = world.guest(Synapse::shared(), "Carol");
        let room = carol.room.clone();
        carol.customer.leave(&room);
        // A reply that overtakes this is in the room, where nobody is; the agent has the note all the same.
        until("the note that she left", || {
            let desk = world.sandbox.desk();
            let mut all = desk.conversations.iter().flat_map(|one| &one.messages);
            let told = all.any(|one| one.content.as_deref().is_some_and(|text| text.contains("left the Matrix room")));
            if told { Ok(()) } else { Err(format!("{desk:?}")) }
        });
        let reply = world.sandbox.reply(carol.conversation, "are you still there?");
        until("an invite or a failure", || {
            let invited = carol.customer.seen().iter().any(|seen| seen.kind == "invite");
            let desk = world.sandbox.desk();
            let message = desk.message(reply).ok_or("no such message")?;
            let told = message.status == "failed" && !message.reason().is_empty();
            if invited || told { Ok(()) } else { Err(format!("{message:?}")) }
        });
    }
}

#[test]
fn a_second_room_of_the_same_customer_is_another_conversation_of_the_same_contact() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let mut carol = world.guest(Synapse::shared(), "Carol");
    let second = carol.customer.dm(&world.support);
    carol.customer.until_joined(&second, &world.support);
    carol.customer.say(&second, "something else");
    let desk = world.until_incoming(2);
    assert_eq!(desk.contacts.len(), 1, "{:?}", desk.contacts);
    let found = desk.conversations.iter().find(|found| found.incoming().contains(&"something else"));
    world.sandbox.reply(found.expect("it arrived").id, "and to you");
    carol.customer.wait_for("the reply in the second room", |seen| {
        seen.room == second && super::world::without_name(seen.body()) == "and to you"
    });
}

#[test]
fn a_room_into_which_somebody_brings_a_friend_stays_one_conversation() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let server = Synapse::shared();
    let mut carol = world.guest(server, "Carol");
    let mut dave = crate::peers::customer::Customer::of(server, "Dave");
    let (room, user) = (carol.room.clone(), dave.user().to_owned());
    carol.customer.invite(&room, &user);
    dave.wait_for("the invite", |seen| seen.kind == "invite" && seen.room == room);
    dave.join(&room);
    carol.customer.until_joined(&room, &user);
    dave.say(&room, "I saw it too");
    carol.say("as I said");
    until("the customer's next words", || {
        let desk = world.sandbox.desk();
        let there = desk.incoming().any(|message| message.text() == "as I said");
        if there { Ok(()) } else { Err(format!("{:?}", desk.conversations)) }
    });
    assert_eq!(world.sandbox.desk().conversations.iter().filter(|found| found.id == carol.conversation).count(), 1);
    let reply = world.sandbox.reply(carol.conversation, "thanks to both");
    carol.hears("thanks to both");
    world.sandbox.until_status(reply, "delivered");
}

#[test]
fn the_registration_that_is_printed_names_what_the_settings_do() {
    let Some(world) = World::shared(Mode::Appservice) else { return };
    let ran = world.gateway.command(&["matrix", "registration", "--bridge", "net"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let service = &world.service;
    for part in [&service.as_token, &service.hs_token, &service.namespace, &service.port.to_string()] {
        assert!(ran.out.contains(part.as_str()), "no {part}: {}", ran.out);
    }
    for key in ["id:", "url:", "sender_localpart:", "namespaces:", "receive_ephemeral: true", "rate_limited: false"] {
        assert!(ran.out.contains(key), "no {key} {}", ran.out);
    }
}
