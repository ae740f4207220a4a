//! Two gateways that share the work on one PostgreSQL, behind a load balancer. Who talks with the customers is killed in
//! the middle of it, comes back, and then one is stopped: each time the other goes on.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    http,
    stream::Stream,
    wait::{until, until_within},
    world::{REPLICAS, Stack, docker, said, wanted},
};

/// Each with the port of its own page.
const GATEWAYS: [(&str, &str); 2] = [("gateway", "GATEWAY_PORT"), ("gateway2", "GATEWAY2_PORT")];
/// Longer than a lease that nobody renews, on a machine that has much to do.
const TAKEOVER: Duration = Duration::from_mins(3);

/// Questions of each customer, as in the tests of one gateway: before the word that ends somebody, while that is done,
/// and when it is.
const BEFORE: usize = 20;
const MEANWHILE: usize = 5;
const AFTER: usize = 5;

#[test]
fn of_two_gateways_each_goes_on_without_the_other() {
    if !wanted() {
        return;
    }
    let stack = Stack::up(&REPLICAS);
    let (speaker, other) = settled(&stack);
    let mut stream = Stream::begin(&stack);
    a_mail_comes_and_is_answered(&stack, "Ann");

    // Nobody gives anything back.
    let killed = stack.container(speaker);
    interrupted(&mut stream, &["kill", "--signal", "KILL", &killed]);
    assert!(stream.is_missed(), "nobody was there to tell the inbox");
    until_alone(&stack, other);
    stream.all_arrives();
    a_mail_comes_and_is_answered(&stack, "Bea");
    let state = stack.inspect(speaker)["State"].take();
    assert_eq!(state["Running"], false, "the other one did it alone: {state}");

    said(docker(&["start", &killed]));
    stack.until_healthy(speaker);
    let (speaker, other) = settled(&stack);
    interrupted(&mut stream, &["stop", &stack.container(speaker)]);
    let state = stack.inspect(speaker)["State"].take();
    assert_eq!(state["ExitCode"], 0, "it came to its end by itself: {state}");
    until_alone(&stack, other);
    stream.all_arrives();
    a_mail_comes_and_is_answered(&stack, "Cleo");
}

/// Docker is told so beside the stream, which goes on meanwhile and afterwards.
fn interrupted(stream: &mut Stream<'_>, words: &[&str]) {
    (0..BEFORE).for_each(|_| stream.go_on());
    thread::scope(|scope| {
        let telling = scope.spawn(|| said(docker(words)));
        (0..MEANWHILE).for_each(|_| stream.go_on());
        telling.join().expect("it is done");
    });
    (0..AFTER).for_each(|_| stream.go_on());
}

/// The one that talks with the customers, and the other, once each bridge runs in one of them and the other says so.
fn settled(stack: &Stack) -> (&'static str, &'static str) {
    until_within(TAKEOVER, "each bridge to run in one of two gateways", || {
        let pages = GATEWAYS.map(|(_, port)| bridge(stack, port, "page"));
        let mails = GATEWAYS.map(|(_, port)| bridge(stack, port, "mail"));
        let one = |states: &[String; 2]| states.iter().position(|state| state == "up");
        let shared = |states: &[String; 2]| one(states).is_some() && states.iter().any(|state| state == "elsewhere");
        match one(&pages) {
            Some(place) if shared(&pages) && shared(&mails) => Ok((GATEWAYS[place].0, GATEWAYS[1 - place].0)),
            _ => Err(format!("{pages:?} {mails:?}")),
        }
    })
}

/// This one runs every bridge.
fn until_alone(stack: &Stack, service: &str) {
    let (_, port) = GATEWAYS.iter().find(|(name, _)| *name == service).expect("one of two");
    until_within(TAKEOVER, &format!("{service} to have taken over"), || {
        let states = ["page", "mail"].map(|name| bridge(stack, port, name));
        if states.iter().all(|state| state == "up") { Ok(()) } else { Err(format!("{states:?}")) }
    });
}

fn bridge(stack: &Stack, port: &str, name: &str) -> String {
    let seen = http::get(&format!("{}/readyz", stack.url(port)));
    seen.map_or_else(|error| error, |answer| state_of(&answer.json()["bridges"][name]).to_owned())
}

fn state_of(stated: &Value) -> &str {
    let state = &stated["state"];
    state.as_str().or_else(|| state["state"].as_str()).unwrap_or("absent")
}

/// Through the balancer, which leads to whoever takes mail now; so do callbacks and the status page.
fn a_mail_comes_and_is_answered(stack: &Stack, name: &str) {
    let sandbox = &stack.sandbox;
    let text = format!("{name} asks");
    let letter = json!({
        "from_name": name, "from": format!("{}@customer.test", name.to_lowercase()), "to": "support@desk.test",
        "subject": "a question", "text": text,
    });
    // As a mail server, which comes again until somebody takes it.
    until(&format!("the mail of {name} to be taken"), || {
        let told = http::post_json(&format!("{}/mail/send", sandbox.url), &letter)?;
        if told.status == 200 && told.json()["taken"] == true { Ok(()) } else { Err(format!("{told:?}")) }
    });
    let conversation = sandbox.conversation(name, &text).id;
    let answer = format!("{name} is answered");
    sandbox.reply(conversation, &answer);
    until(&format!("{name} to be answered"), || {
        let mails = http::get(&format!("{}/sandbox/mail/state", sandbox.url))?.json();
        let texts = mails["mails"].as_array().expect("mails").iter().map(|mail| mail["raw"].as_str());
        let answers = texts.flatten().filter(|raw| raw.contains(&answer)).count();
        if answers == 1 { Ok(()) } else { Err(format!("{answers} answers")) }
    });
    let page = http::get(&stack.url("BALANCER_PORT")).expect("the balancer answers");
    assert_eq!(page.status, 200, "{page:?}");
}
