//! Conversations through the stack, both ways, while its containers are killed and started again.

use std::thread;

use crate::{
    people::Customer,
    wait::until,
    world::{DEFAULT, POSTGRES, Stack, docker, said, wanted},
};

const NAMES: [&str; 3] = ["Kim", "Lee", "Sam"];
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
    let people = NAMES.map(|name| Customer::enter(&stack.sandbox.url, name));
    let conversations = people.each_ref().map(|customer| {
        customer.say("hello");
        stack.sandbox.conversation(&customer.name, "hello").id
    });
    let gateway = stack.container("gateway");
    thread::scope(|scope| {
        let mut killing = None;
        for n in 1..=MESSAGES {
            for (customer, conversation) in people.iter().zip(conversations) {
                customer.say(&question(n));
                if n % 2 == 0 {
                    stack.sandbox.reply(conversation, &answer(n));
                }
            }
            if n == KILL_AT {
                // Beside the stream, which goes on meanwhile.
                killing = Some(scope.spawn(|| said(docker(&["kill", "--signal", "KILL", &gateway]))));
            }
            if n == START_AT {
                killing.take().expect("it was begun").join().expect("it is killed");
                assert!(arrived(stack) < NAMES.len() * (n + 1), "it was killed too late to miss anything");
                said(docker(&["start", &gateway]));
            }
        }
    });
    stack.until_healthy("gateway");
    let asked: Vec<String> = std::iter::once("hello".to_owned()).chain((1..=MESSAGES).map(question)).collect();
    let answered: Vec<String> = (1..=MESSAGES).filter(|n| n % 2 == 0).map(answer).collect();
    for customer in &people {
        let name = &customer.name;
        until(&format!("all that {name} wrote"), || {
            let desk = stack.sandbox.desk();
            let found = desk.of(name).iter().map(|one| one.incoming().len()).sum::<usize>();
            if found >= asked.len() { Ok(()) } else { Err(format!("{found} of {}", asked.len())) }
        });
        until(&format!("all that {name} was told"), || {
            let heard = customer.heard().len();
            if heard >= answered.len() { Ok(()) } else { Err(format!("{heard} of {}", answered.len())) }
        });
        assert_eq!(customer.heard(), answered, "{name} heard everything once and in order");
        let desk = stack.sandbox.desk();
        let [one] = desk.of(name)[..] else { panic!("{name} has several conversations: {desk:?}") };
        assert_eq!(one.incoming(), asked, "{name} was heard once and in order");
    }
    until("each reply to be marked as delivered", || {
        let desk = stack.sandbox.desk();
        let messages = desk.conversations.iter().flat_map(|one| &one.messages);
        let mut open = messages.filter(|one| answered.iter().any(|text| text == one.text()) && one.status == "sent");
        open.next().map_or(Ok(()), |message| Err(format!("{message:?}")))
    });
}

fn question(n: usize) -> String {
    format!("question {n}")
}

fn answer(n: usize) -> String {
    format!("answer {n}")
}

fn arrived(stack: &Stack) -> usize {
    stack.sandbox.desk().incoming().count()
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
