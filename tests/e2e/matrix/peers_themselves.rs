//! The peers without the gateway: a test against a server that does nothing would pass for the wrong reason.

use std::time::Duration;

use reqwest::Method;

use super::files::PICTURE;
use crate::{
    http,
    peers::{
        customer::Customer,
        faulty::{Fault, Faulty, Rule},
        synapse::Synapse,
    },
};

#[test]
fn two_customers_write_type_read_react_and_send_pictures() {
    if !Synapse::present() {
        return;
    }
    let server = Synapse::shared();
    let (mut alice, mut bob) = (Customer::of(server, "alice"), Customer::of(server, "bob"));
    alice.set_name("Alice");
    assert_eq!(bob.name_of(alice.user()).as_deref(), Some("Alice"));
    let (from, to) = (alice.user().to_owned(), bob.user().to_owned());
    let room = alice.dm(&to);
    bob.wait_for("the invite", |seen| seen.kind == "invite" && seen.room == room);
    bob.join(&room);
    alice.until_joined(&room, &to);

    let hello = alice.say(&room, "hello");
    assert_eq!(bob.hears(&room, "hello").id(), hello);
    bob.reply(&room, &hello, "hello to you");
    let answer = alice.hears(&room, "hello to you");
    assert_eq!(answer.content()["m.relates_to"]["m.in_reply_to"]["event_id"], hello);
    bob.react(&room, &hello, "👍");
    alice.wait_for("the reaction", |seen| seen.kind_of_event() == "m.reaction");
    alice.edit(&room, &hello, "hello!");
    bob.hears(&room, "* hello!");
    bob.typing(&room, true);
    alice.wait_for("bob to type", |seen| seen.event["users"].to_string().contains(&to));
    bob.has_read(&room, &hello);
    alice.wait_for("bob to read", |seen| seen.event["user"] == to && seen.event["event_id"] == hello);
    alice.send_image(&room, PICTURE, "pixel.png");
    let image = bob.hears(&room, "pixel.png");
    assert_eq!(bob.download(image.content()["url"].as_str().expect("an address")).bytes, PICTURE);
    alice.redact(&room, &hello);
    bob.wait_for("the redaction", |seen| seen.kind_of_event() == "m.room.redaction" && seen.sender() == from);

    let history = server.history(&bob.account.token, &room);
    let texts: Vec<_> = history.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    // The server leaves the edit of a redacted message as it is.
    assert_eq!(texts, ["hello to you", "* hello!", "pixel.png"], "the redacted one has no text");
}

#[test]
fn the_faulty_balancer_fails_as_often_as_it_is_told_and_carries_out_the_rest() {
    if !Synapse::present() {
        return;
    }
    let balancer = Faulty::to(&Synapse::shared().url());
    let rule = |fault, carried_out| Rule { method: Method::GET, path: "/versions", times: 1, carried_out, fault };
    balancer.add(rule(Fault::TooMany { seconds: 600 }, false));
    balancer.add(rule(Fault::BadGateway, true));
    balancer.add(rule(Fault::HangUp, false));
    balancer.add(rule(Fault::Hang(Duration::from_millis(10)), false));
    let get = || http::get(&format!("{}/_matrix/client/versions", balancer.url()));
    let limited = get().expect("an answer");
    assert_eq!((limited.status, &limited.json()["retry_after_ms"]), (429, &serde_json::json!(600_000)));
    assert_eq!(get().map(|answer| answer.status), Ok(502));
    assert!(get().is_err() && get().is_err());
    assert_eq!((get().map(|answer| answer.status), balancer.strikes_left()), (Ok(200), 0));
    assert_eq!((balancer.calls().len(), balancer.impatient()), (5, 4), "nobody waited ten minutes");
}
