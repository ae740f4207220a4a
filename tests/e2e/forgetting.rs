//! `deskbridge forget`: a person goes from the data directory, while the gateway runs and while it does not.

use std::{fs, path::Path};

use crate::{
    gateway::NICK,
    http,
    irc::Person,
    limits,
    peers::ngircd::{Flood, Ngircd},
    process::free_port,
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

/// They are online when this returns.
fn talk(world: &World<Ngircd>) -> (Person, u64) {
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
    (person, conversation)
}

#[test]
fn nothing_of_a_person_is_left_in_the_data_directory() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let (person, conversation) = talk(&world);
    let contact = world.sandbox.desk().contacts[0].identifier.clone().expect("an identifier");
    assert!(!holding(&world.gateway.data_dir()).is_empty(), "the test can bite");
    let ran = world.gateway.command(&["forget", &contact]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("net: 1 sessions") && ran.out.contains(&format!("with #{conversation}:")), "{ran:?}");
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0], "although they are online, and the bridge knew them");
    // What the bridge hears of them now is nobody's whom it knows.
    person.quit();
    let mut other = world.person("other");
    other.say(NICK, "hello");
    world.sandbox.conversation("other", "hello");
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0]);
    world.gateway.signal("TERM");
    assert!(world.gateway.wait().success());
    let ran = world.gateway.command(&["forget", "net/nobody-of-this-name"]);
    assert!(ran.code == Some(0) && ran.out.contains("net: 0 sessions"), "{ran:?}");
    let ran = world.gateway.command(&["forget", &contact, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0]);
}

#[test]
fn who_wrote_by_mail_is_forgotten_beside_a_running_gateway_and_stays_so() {
    let port = free_port();
    let Some(world) = World::on_ngircd(Flood::Free, &limits::mail_bridge(port)) else { return };
    limits::until_mail_is_taken(&world.gateway);
    let letter = |who: &str, number: u32| {
        let mail = format!(
            "From: {who} <{who}@cust.test>\r\nSubject: Lamp\r\nMessage-ID: <{number}@cust.test>\r\n\r\nIt hums, says {who}\r\n"
        );
        assert!(limits::mail(port, mail.as_bytes()).starts_with("250 "));
    };
    letter("mallowcanary", 1);
    let drained = || {
        wait::until("the outbox to be empty", || {
            let (waiting, held) = (world.gateway.waiting(), world.sandbox.desk().conversations.len());
            if waiting.is_empty() && held > 0 { Ok(()) } else { Err(format!("{waiting:?}, {held}")) }
        });
    };
    drained();
    assert!(!holding(&world.gateway.data_dir()).is_empty(), "the test can bite");
    let url = world.gateway.url("/admin/search?q=mallowcanary%40cust");
    let found =
        http::request(reqwest::Method::GET, &url, &[("authorization", "Bearer operator")], None).expect("it answers");
    assert_eq!(found.json()["contacts"][0]["bridge"], "mail", "found by a part of the address: {found:?}");
    let ran = world.gateway.command(&["forget", "mail/mallowcanary@cust.test"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0]);
    // What the bridge does for others brings nothing back.
    letter("other", 2);
    wait::until("the other's mail to be shown", || match world.sandbox.desk().conversations.len() {
        2.. => Ok(()),
        count => Err(count.to_string()),
    });
    drained();
    assert_eq!(holding(&world.gateway.data_dir()), [""; 0]);
}
