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
    (0..BEFORE).for_each(|_| stream.go_on());
    meanwhile(&["kill", "--signal", "KILL", &killed], || (0..MEANWHILE).for_each(|_| stream.go_on()));
    (0..AFTER).for_each(|_| stream.go_on());
    assert!(stream.is_missed(), "nobody was there to tell the inbox");
    until_alone(&stack, other);
    stream.all_arrives();
    a_mail_comes_and_is_answered(&stack, "Bea");
    let state = stack.inspect(speaker)["State"].take();
    assert_eq!(state["Running"], false, "the other one did it alone: {state}");

    said(docker(&["start", &killed]));
    stack.until_healthy(speaker);
    let (speaker, other) = settled(&stack);
    (0..BEFORE).for_each(|_| stream.go_on());
    let (stopped, seen) = (stack.container(speaker), times_down(&stack, speaker));
    // No agent: a callback that is led to an address where nobody is any more comes late, and behind younger ones.
    meanwhile(&["stop", &stopped], || (0..MEANWHILE).for_each(|_| stream.ask()));
    until("the balancer to have seen that it is gone", || {
        let times = times_down(&stack, speaker);
        if times > seen { Ok(()) } else { Err(format!("{times} times down")) }
    });
    (0..AFTER).for_each(|_| stream.go_on());
    let state = stack.inspect(speaker)["State"].take();
    assert_eq!(state["ExitCode"], 0, "it came to its end by itself: {state}");
    until_alone(&stack, other);
    stream.all_arrives();
    a_mail_comes_and_is_answered(&stack, "Cleo");
}

/// Docker is told so while something else is done.
fn meanwhile(words: &[&str], work: impl FnOnce()) {
    thread::scope(|scope| {
        let telling = scope.spawn(|| said(docker(words)));
        work();
        telling.join().expect("it is done");
    });
}

/// How often the balancer has found this gateway gone.
fn times_down(stack: &Stack, service: &str) -> usize {
    let log = docker(&["logs", &stack.container("balancer")]);
    log.out.matches(&format!("Server gateways/{service} is DOWN")).count()
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
    let conversation = until(&format!("the mail of {name} at the inbox"), || {
        let desk = sandbox.desk();
        match desk.of(name)[..] {
            [one] if one.incoming().iter().any(|seen| seen.contains(&text)) => Ok(one.id),
            _ => Err(format!("{desk:?}")),
        }
    });
    let answer = format!("{name} is answered");
    sandbox.reply(conversation, &answer);
    until(&format!("{name} to be answered"), || {
        let mails = http::get(&format!("{}/sandbox/mail/state", sandbox.url))?.json();
        let texts = mails["mails"].as_array().expect("mails").iter().map(|mail| mail["raw"].as_str());
        let answers = texts.flatten().filter(|raw| raw.contains(&answer)).count();
        if answers == 1 { Ok(()) } else { Err(format!("{answers} answers")) }
    });
    let page = http::get(&stack.url("BALANCER_PORT")).expect("the balancer answers");
    assert!(page.body.contains("<title>Sign in"), "somebody shows the status page: {page:?}");
}
