//! Machines that answer machines.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use super::world::{ADA, HELP, World, desk_and_gateway, lines};
use crate::{
    gateway::Gateway,
    http,
    peers::{
        self,
        postfix::{HandIn, Postfix},
        swaks::{Mail, Swaks},
    },
    process::free_port,
    sandbox::Sandbox,
    wait::until,
};

/// Mails after which two gateways must have understood each other.
const MAILS_MAX: usize = 3;
/// Nothing may come for so long before the two are believed to be silent.
const SILENCE: Duration = Duration::from_secs(5);

/// A desk with an answering machine: whatever comes in is answered, as a greeting or an absence note is.
struct Desk {
    gateway: Gateway,
    sandbox: Sandbox,
    answered: HashSet<u64>,
    _folder: TempDir,
}

impl Desk {
    fn start(domain: &str, port: u16, relay: u16) -> Self {
        let folder = peers::folder();
        let bridge =
            lines("listen", port, &format!("port = {relay}, security = \"none\"")).replace("support.test", domain);
        let (sandbox, mut gateway) = desk_and_gateway(folder.path(), &bridge);
        gateway.start();
        gateway.until_on_network();
        Self { gateway, sandbox, answered: HashSet::new(), _folder: folder }
    }

    /// Says whether there was anything to answer.
    fn answer(&mut self) -> bool {
        let mut said = false;
        for conversation in self.sandbox.desk().conversations {
            for message in conversation.messages.iter().filter(|message| message.is_incoming()) {
                if self.answered.insert(message.id) {
                    said = true;
                    automatic(&self.sandbox, conversation.id);
                }
            }
        }
        said
    }

    fn incoming(&self) -> usize {
        self.sandbox.desk().incoming().count()
    }
}

/// The help desk writes by itself.
fn automatic(sandbox: &Sandbox, conversation: u64) {
    let url = format!("{}/sandbox/conversations/{conversation}/reply", sandbox.url);
    let answer = http::post_json(&url, &json!({ "content": "We are closed.", "kind": "template" }));
    assert!(answer.as_ref().is_ok_and(|answer| answer.status < 300), "{answer:?}");
}

#[test]
fn two_gateways_that_answer_each_other_by_themselves_stop_within_three_mails() {
    if !Postfix::present() {
        return;
    }
    let (one, two) = (free_port(), free_port());
    let mut desks = [Desk::start("one.test", one, two), Desk::start("two.test", two, one)];
    Swaks::to(one).send(&Mail::new("help@two.test", "help@one.test").subject("hello").text("hello from two"));
    until("the first mail to arrive", || {
        let count = desks[0].incoming();
        if count > 0 { Ok(()) } else { Err(format!("{:?}", desks[0].gateway.waiting())) }
    });
    // Silence counts only while nothing is on its way.
    let mut quiet = Instant::now();
    while quiet.elapsed() < SILENCE {
        for desk in &mut desks {
            if desk.answer() || !desk.gateway.waiting().is_empty() {
                quiet = Instant::now();
            }
        }
        let count: usize = desks.iter().map(Desk::incoming).sum();
        assert!(count <= MAILS_MAX, "{count} mails, and they go on");
        std::thread::sleep(Duration::from_millis(100));
    }
    let count: usize = desks.iter().map(Desk::incoming).sum();
    assert!(count >= 2, "the first one's answer did not arrive: nobody was stopped");
    for desk in &mut desks {
        assert!(desk.gateway.is_running());
        assert_eq!(desk.gateway.waiting(), [], "something still wants to be sent");
    }
}

#[test]
fn what_an_absent_person_s_mail_program_answers_is_shown_and_marked_but_not_answered_by_a_machine() {
    let Some(world) = World::start(HandIn::Smtp) else { return };
    let absent = Mail::new(ADA, HELP).subject("Out of office").header("Auto-Submitted", "auto-replied");
    world.receive(&absent.text("I am away until Monday."));
    let conversation = world.conversation("away until Monday").id;
    automatic(&world.sandbox, conversation);
    let reply = world.sandbox.reply(conversation, "A person answers nevertheless.");
    world.sandbox.until_status(reply, "delivered");
    let letters = world.postfix.mailbox("ada").settled(1);
    assert_eq!(letters.len(), 1, "a machine answered a machine: {letters:?}");
    assert!(letters[0].text().contains("A person answers"), "{letters:?}");
}

#[test]
fn what_the_help_desk_says_by_itself_tells_other_machines_so() {
    let Some(world) = World::start(HandIn::Smtp) else { return };
    world.receive(&Mail::new(ADA, HELP).subject("hello").text("is anybody there?"));
    automatic(&world.sandbox, world.conversation("is anybody there?").id);
    let letter = world.postfix.mailbox("ada").with("We are closed");
    assert!(letter.header("Auto-Submitted").is_some_and(|value| value.starts_with("auto-")), "{letter:?}");
}
