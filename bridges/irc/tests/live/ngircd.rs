//! ngIRCd: no tags, no services, no MONITOR. Everything rests on WHOIS and PING.

use std::collections::BTreeMap;

use bridge_api::{FaultKind, kit::RecordingHost};
use serde_json::json;

use crate::{
    peer::{Person, Running, text_of},
    server::{Server, free_port},
};

async fn start() -> Option<(Server, u16)> {
    let program = Server::find("/usr/sbin/ngircd")?;
    let port = free_port();
    let folder = Server::folder();
    let config = format!(
        "[Global]\nName = irc.test\nInfo = test\nListen = 127.0.0.1\nPorts = {port}\nMotdPhrase = hi\n\
         [Limits]\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxNickLength = 16\nPingTimeout = 120\nPongTimeout = 20\nMaxPenaltyTime = 0\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n\
         [Channel]\nName = #support\n"
    );
    let file = folder.path().join("ngircd.conf");
    std::fs::write(&file, config).expect("our own folder");
    let server = Server::start(program, &["-n", "-f", file.to_str().expect("a plain path")], folder);
    Server::wait_for_port(port).await;
    Some((server, port))
}

fn settings(port: u16) -> serde_json::Value {
    json!({ "server": "127.0.0.1", "port": port, "tls": false, "nick": "help",
            "channels": [{ "name": "#support" }] })
}

#[tokio::test]
async fn a_person_writes_and_is_answered() {
    let Some((_server, port)) = start().await else { return };
    let running = Running::start(settings(port), RecordingHost::new());
    running.up().await;
    let mut anna = Person::connect(port, "anna").await;
    anna.write("PRIVMSG help :first question").await;
    anna.write("PRIVMSG help :and a second").await;
    let messages = running.messages(2).await;
    assert_eq!(messages.iter().map(text_of).collect::<Vec<_>>(), ["first question", "and a second"]);
    assert_eq!(messages[0].thread, messages[1].thread, "one connection is one conversation");
    let out = running.outbound("support/1/0", &messages[0].thread, "**hello** anna");
    running.bridge.send(&out).await.expect("anna is there");
    let line = anna.read_until(|line| line.contains("PRIVMSG")).await;
    assert!(line.ends_with(":\u{2}hello\u{2} anna"), "{line:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_nick_taken_over_never_receives_the_others_reply() {
    let Some((_server, port)) = start().await else { return };
    let running = Running::start(settings(port), RecordingHost::new());
    running.up().await;
    let mut anna = Person::connect(port, "anna").await;
    anna.write("PRIVMSG help :it is me").await;
    let messages = running.messages(1).await;
    anna.write("QUIT :bye").await;
    anna.read_until(|line| line.contains("ERROR")).await;
    drop(anna);
    let mut other = Person::connect(port, "other").await;
    other.write("NICK anna").await;
    other.read_until(|line| line.contains("NICK")).await;
    let out = running.outbound("support/1/0", &messages[0].thread, "a secret");
    let fault = running.bridge.send(&out).await.expect_err("anna is gone");
    assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
    assert!(other.read_all().await.iter().all(|line| !line.contains("secret")));
    other.write("PRIVMSG help :somebody else").await;
    let messages = running.messages(2).await;
    assert_ne!(messages[0].thread, messages[1].thread, "somebody new is a new contact");
    running.stop().await;
}

#[tokio::test]
async fn a_conversation_goes_on_after_a_restart() {
    let Some((_server, port)) = start().await else { return };
    let host = RecordingHost::new();
    let running = Running::start(settings(port), host.clone());
    running.up().await;
    let mut anna = Person::connect(port, "anna").await;
    anna.write("PRIVMSG help :one").await;
    anna.write("PRIVMSG help :two").await;
    running.messages(2).await;
    running.stop().await;
    host.recorded().states.clear();
    let running = Running::start(settings(port), host.clone());
    running.up().await;
    anna.write("PRIVMSG help :three").await;
    let messages = running.messages(3).await;
    assert_eq!(messages[0].thread, messages[2].thread, "the same connection is the same person");
    let out = running.outbound("support/1/0", &messages[2].thread, "still here");
    running.bridge.send(&out).await.expect("anna is there");
    anna.read_until(|line| line.contains("still here")).await;
    assert!(host.recorded().cursors.keys().all(|name| !name.starts_with("held/")));
    running.stop().await;
}

#[tokio::test]
async fn a_channel_line_is_answered_in_the_channel() {
    let Some((_server, port)) = start().await else { return };
    let running = Running::start(settings(port), RecordingHost::new());
    running.up().await;
    let mut anna = Person::connect(port, "anna").await;
    anna.write("JOIN #support").await;
    anna.read_until(|line| line.contains(" 366 ")).await;
    anna.write("PRIVMSG #support :not for us").await;
    anna.write("PRIVMSG #support :help: what now").await;
    let messages = running.messages(1).await;
    assert_eq!(text_of(&messages[0]), "what now");
    assert!(messages[0].thread.as_str().starts_with("#support:s:"), "{}", messages[0].thread);
    let out = running.outbound("support/1/0", &messages[0].thread, "this now");
    running.bridge.send(&out).await.expect("anna is there");
    let line = anna.read_until(|line| line.contains("PRIVMSG #support")).await;
    assert!(line.ends_with(":anna: this now"), "{line}");
    anna.write("PART #support").await;
    anna.read_until(|line| line.contains("PART")).await;
    let out = running.outbound("support/2/0", &messages[0].thread, "too late");
    let fault = running.bridge.send(&out).await.expect_err("anna has left");
    assert_eq!(fault.kind, FaultKind::Refused);
    running.stop().await;
}

#[tokio::test]
async fn twenty_people_who_write_at_once_are_twenty_conversations_in_order() {
    const PEOPLE: usize = 20;
    const LINES: usize = 20;
    let Some((_server, port)) = start().await else { return };
    let running = Running::start(settings(port), RecordingHost::new());
    running.up().await;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(Person::connect(port, &format!("peer{n}")).await);
    }
    for line in 0..LINES {
        for (n, person) in people.iter_mut().enumerate() {
            person.write(&format!("PRIVMSG help :{n} {line}")).await;
        }
    }
    let messages = running.messages(PEOPLE * LINES).await;
    let mut threads: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in &messages {
        threads.entry(message.thread.to_string()).or_default().push(text_of(message).to_owned());
    }
    assert_eq!(threads.len(), PEOPLE);
    for texts in threads.values() {
        let writer = texts[0].split(' ').next().expect("a number");
        assert_eq!(*texts, (0..LINES).map(|line| format!("{writer} {line}")).collect::<Vec<_>>());
    }
    running.stop().await;
}
