//! `deskbridge forget`: a person goes from the data directory, while the gateway runs and while it does not.

use std::{fs, path::Path};

use crate::{
    gateway::NICK,
    peers::ngircd::{Flood, Ngircd},
    wait,
    world::World,
};

const CANARY: &[u8] = b"mallowcanary";

/// Files below that hold the nick, a word of the talk, or both.
fn holding(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(holding(&path));
        } else if fs::read(&path).unwrap_or_default().windows(CANARY.len()).any(|part| part == CANARY) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn talk(world: &World<Ngircd>) -> u64 {
    let mut person = world.person("mallowcanary");
    person.say(NICK, "hello from mallowcanary");
    let conversation = world.sandbox.conversation("mallowcanary", "hello from mallowcanary").id;
    let reply = world.sandbox.reply(conversation, "hello mallowcanary");
    person.hears(NICK, "hello mallowcanary");
    world.sandbox.until_status(reply, "delivered");
    wait::until("the outbox to be empty", || {
        let waiting = world.gateway.waiting();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    });
    person.quit();
    conversation
}

#[test]
fn nothing_of_a_person_is_left_in_the_data_directory() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let conversation = talk(&world);
    let contact = world.sandbox.desk().contacts[0].identifier.clone().expect("an identifier");
    assert!(!holding(&world.gateway.data_dir()).is_empty(), "the test can bite");
    let ran = world.gateway.command(&["forget", &contact]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("net: 1 sessions") && ran.out.contains(&format!("with #{conversation}:")), "{ran:?}");
    world.gateway.signal("TERM");
    assert!(world.gateway.wait().success());
    let ran = world.gateway.command(&["forget", "net/nobody-of-this-name"]);
    assert!(ran.code == Some(0) && ran.out.contains("net: 0 sessions"), "{ran:?}");
    // What the bridge noted of somebody who was online goes as well now.
    let ran = world.gateway.command(&["forget", &contact, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0]);
}
