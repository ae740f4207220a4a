//! Conversations through the stack, both ways, while its containers are killed and started again.

use std::thread;

use crate::{
    people::Customer,
    stream::Stream,
    world::{DEFAULT, POSTGRES, Stack, docker, said, wanted},
};

/// Of each customer; half as many replies. Together fewer than the inbox takes in a minute for one conversation.
const MESSAGES: usize = 60;
const KILL_AT: usize = 20;
const START_AT: usize = 40;

#[test]
fn a_gateway_killed_in_the_middle_of_a_stream_loses_doubles_and_reorders_nothing() {
    if !wanted() {
        return;
    }
    all_arrives(&Stack::up(&DEFAULT));
}

#[test]
fn the_same_holds_for_one_that_keeps_its_outbox_in_postgresql() {
    if !wanted() {
        return;
    }
    all_arrives(&Stack::up(&POSTGRES));
}

/// Whatever is said while the gateway is killed arrives once and in order, once it is started again.
fn all_arrives(stack: &Stack) {
    let mut stream = Stream::begin(stack);
    let gateway = stack.container("gateway");
    thread::scope(|scope| {
        let mut killing = None;
        while stream.asked() < MESSAGES {
            stream.go_on();
            if stream.asked() == KILL_AT {
                // Beside the stream, which goes on meanwhile.
                killing = Some(scope.spawn(|| said(docker(&["kill", "--signal", "KILL", &gateway]))));
            }
            if stream.asked() == START_AT {
                killing.take().expect("it was begun").join().expect("it is killed");
                assert!(stream.is_missed(), "it was killed too late to miss anything");
                said(docker(&["start", &gateway]));
            }
        }
    });
    stack.until_healthy("gateway");
    stream.all_arrives();
}

#[test]
fn a_restarted_sandbox_has_forgotten_everything_and_is_talked_with_anew() {
    if !wanted() {
        return;
    }
    let stack = Stack::up(&DEFAULT);
    for round in ["before", "after"] {
        let customer = Customer::enter(&stack.sandbox.url, "Kim");
        for n in 1..=2 {
            let text = format!("{round} {n}");
            customer.say(&text);
            let conversation = stack.sandbox.conversation("Kim", &text).id;
            let reply = stack.sandbox.reply(conversation, &format!("answer {round} {n}"));
            stack.sandbox.until_status(reply, "delivered");
        }
        assert_eq!(customer.heard(), [format!("answer {round} 1"), format!("answer {round} 2")]);
        if round == "before" {
            said(docker(&["restart", &stack.container("sandbox")]));
            stack.until_healthy("sandbox");
        }
    }
}
