//! SIGHUP: the settings are read again while the gateway works. Only what changed is touched, what waits goes on with the
//! new ones, and settings that are wrong change nothing.

use std::fs;

use serde_json::Value;

use crate::{
    gateway::{Gateway, NICK},
    http,
    peers::ngircd::{Flood, Ngircd},
    wait::until,
    world::{FAST, World},
};

/// A second bridge on the same server.
fn other(world: &World<Ngircd>, nick: &str) -> String {
    let port = world.network.port;
    format!(
        "\n[bridges.other]\nkind = \"irc\"\ninbox = \"desk\"\nserver = \"127.0.0.1\"\nport = {port}\ntls = false\nnick = \"{nick}\"\n{FAST}"
    )
}

fn reread(gateway: &Gateway, text: &str) {
    fs::write(gateway.settings_file(), text).expect("a file is written");
    gateway.signal("HUP");
}

fn bridge(gateway: &Gateway, name: &str) -> Result<Value, String> {
    Ok(gateway.ready()?.json()["bridges"][name].clone())
}

fn until_up(gateway: &Gateway, name: &str) {
    until("the bridge to be up", || match bridge(gateway, name)? {
        seen if seen.to_string().contains("\"up\"") => Ok(()),
        seen => Err(seen.to_string()),
    });
}

#[test]
fn a_bridge_comes_changes_goes_and_returns_while_another_works_on() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let gateway = &world.gateway;
    let first = fs::read_to_string(gateway.settings_file()).expect("a file is read");
    let untouched = bridge(gateway, "net").expect("it is ready");
    let mut alice = world.person("alice");

    reread(gateway, &(first.clone() + &other(&world, "second")));
    until_up(gateway, "other");
    alice.say("second", "hello second");
    let conversation = world.sandbox.conversation("alice", "hello second").id;
    world.sandbox.reply(conversation, "from the second");
    alice.hears("second", "from the second");

    reread(gateway, &(first.clone() + &other(&world, "third")));
    world.sandbox.reply(conversation, "from the third");
    alice.hears("third", "from the third");

    reread(gateway, &first);
    until("the bridge to be out", || match bridge(gateway, "other")? {
        seen if seen["state"] == "down" => Ok(()),
        seen => Err(seen.to_string()),
    });
    let kept = world.sandbox.reply(conversation, "kept meanwhile");
    until("the reply to wait", || match gateway.waiting() {
        waiting if waiting.iter().any(|(_, sink)| sink == "bridge:other") => Ok(()),
        waiting => Err(format!("{waiting:?}")),
    });

    reread(gateway, &(first + &other(&world, "fourth")));
    alice.hears("fourth", "kept meanwhile");
    until("the agent to know", || match world.sandbox.desk().message(kept) {
        Some(message) if message.status == "delivered" => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    assert_eq!(bridge(gateway, "net").expect("it is ready"), untouched, "the other bridge was not touched");
}

/// What the figures say of the settings that were read last.
fn until_figure(gateway: &Gateway, value: u8) {
    let line = format!("\ndeskbridge_config_last_reload_successful {value}\n");
    until(&line, || match http::get(&gateway.url("/metrics"))? {
        answer if answer.body.contains(&line) => Ok(()),
        answer => Err(answer.body),
    });
}

#[test]
fn settings_that_are_wrong_change_nothing_and_are_named() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let gateway = &world.gateway;
    let first = fs::read_to_string(gateway.settings_file()).expect("a file is read");
    reread(gateway, &first.replace("tls = false", "tls = 5\nnik = \"x\""));
    until("the mistakes to be told", || {
        let log = gateway.log();
        let told = ["bridges.net.tls", "bridges.net.nik", "stay in force"].map(|word| log.contains(word));
        if told == [true; 3] { Ok(()) } else { Err(log) }
    });
    until_figure(gateway, 0);
    reread(gateway, &first.replace("stop_seconds = 10", "stop_seconds = 11"));
    until("what has to wait to be told", || {
        let log = gateway.log();
        if log.contains("gateway.stop_seconds") { Ok(()) } else { Err(log) }
    });
    until_figure(gateway, 1);
    let mut alice = world.person("alice");
    alice.say(NICK, "still there?");
    world.sandbox.conversation("alice", "still there?");
    assert_eq!(gateway.bridge_state(), "up");
}

#[test]
fn the_level_of_the_log_and_the_secret_of_callbacks_change_at_work() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let gateway = &world.gateway;
    let first = fs::read_to_string(gateway.settings_file()).expect("a file is read");
    let secret = first.lines().find(|line| line.starts_with("callback_secret = ")).expect("the inbox signs").to_owned();
    let other = first.replace(&secret, "callback_secret = \"another-secret\"");
    reread(gateway, &other.replace("level = \"info\"", "level = \"debug\""));
    until("the change to be told", || {
        let log = gateway.log();
        let told = log.contains("may be signed by the new secret too") && log.contains("has its new level");
        if told { Ok(()) } else { Err(log) }
    });
    // The inbox signs by the one before, as what it had queued would be.
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    world.sandbox.reply(conversation, "good morning");
    alice.hears(NICK, "good morning");
    assert!(gateway.log().contains("\"level\":\"DEBUG\""), "it says more now");
}

/// Whether the status page is for who bears this token.
fn is_let_in(gateway: &Gateway, token: &str) -> Result<bool, String> {
    let bearer = format!("Bearer {token}");
    let answer =
        http::request(reqwest::Method::GET, &gateway.url("/admin/status"), &[("authorization", &bearer)], None)?;
    Ok(answer.status == 200)
}

#[test]
fn blocked_people_limits_and_the_admin_token_change_while_the_bridge_stays_on_its_network() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let gateway = &world.gateway;
    let first = fs::read_to_string(gateway.settings_file()).expect("a file is read");
    let untouched = bridge(gateway, "net").expect("it is ready");
    let token = |token: &str| first.replacen("\"operator\"", &format!("\"{token}\""), 1);
    for (now, before) in
        [("first-token-of-the-page", "operator"), ("second-token-of-the-page", "first-token-of-the-page")]
    {
        reread(gateway, &token(now));
        until("the new token to be good, and the one before no longer", || {
            let seen = (is_let_in(gateway, now)?, is_let_in(gateway, before)?);
            if seen == (true, false) { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }
    let (mut mallory, mut alice) = (world.person("mallory"), world.person("alice"));
    let text = token("second-token-of-the-page").replacen("nick = ", "blocked = [\"MALL*!*@*\"]\nnick = ", 1);
    reread(gateway, &text);
    until("the change to be told", || {
        let log = gateway.log();
        if log.contains("limits and blocked people are the new ones") { Ok(()) } else { Err(log) }
    });
    mallory.say(NICK, "let me in");
    alice.say(NICK, "hello");
    world.sandbox.conversation("alice", "hello");
    until("the refusal to be counted", || match http::get(&gateway.url("/metrics"))? {
        answer if answer.body.contains("deskbridge_refused_total{bridge=\"net\",reason=\"blocked\"} 1") => Ok(()),
        answer => Err(answer.body),
    });
    assert!(!world.sandbox.desk().incoming().any(|message| message.text().contains("let me in")));
    let bearer = [("authorization", "Bearer second-token-of-the-page")];
    let status = http::request(reqwest::Method::GET, &gateway.url("/admin/status"), &bearer, None).expect("it answers");
    assert_eq!(status.json()["bridges"][0]["turned_away"][0]["reason"], "blocked", "{status:?}");
    // Who was let in is found by the name that they bear, and by their mask.
    for q in ["ALICE", "alice!~alice@"] {
        let url = gateway.url(&format!("/admin/search?q={}", q.replace('!', "%21").replace('@', "%40")));
        let found = http::request(reqwest::Method::GET, &url, &bearer, None).expect("it answers").json();
        let contacts = found["contacts"].as_array().expect("a list").clone();
        assert!(contacts.len() == 1 && contacts[0]["source_id"].to_string().contains("net/s:"), "{q}: {found}");
    }
    // Nobody was disconnected for all that.
    assert_eq!(bridge(gateway, "net").expect("it is ready"), untouched);
    assert!(!gateway.log().contains("mallory"), "who is blocked is for the page, not for the log");
}

#[test]
fn a_bridge_that_is_paused_stays_so_under_new_settings_and_comes_back_with_them() {
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let gateway = &world.gateway;
    let pull = |lever: &str| {
        let url = gateway.url(&format!("/admin/bridges/net/{lever}"));
        let bearer = [("authorization", "Bearer operator")];
        let answer = http::request(reqwest::Method::POST, &url, &bearer, None).expect("it answers");
        assert_eq!((answer.status, &answer.json()["changed"]), (200, &Value::Bool(true)), "{answer:?}");
    };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    let conversation = world.sandbox.conversation("alice", "hello").id;
    pull("pause");
    let first = fs::read_to_string(gateway.settings_file()).expect("a file is read");
    reread(gateway, &first.replace(&format!("nick = \"{NICK}\""), "nick = \"renamed\""));
    until("the change to be told", || {
        let log = gateway.log();
        if log.contains("the bridge is started with the new ones") { Ok(()) } else { Err(log) }
    });
    let kept = world.sandbox.reply(conversation, "kept meanwhile");
    until("the reply to wait", || match gateway.waiting() {
        waiting if waiting.iter().any(|(_, sink)| sink == "bridge:net") => Ok(()),
        waiting => Err(format!("{waiting:?}")),
    });
    let seen = bridge(gateway, "net").expect("it is ready").to_string();
    assert!(seen.contains("paused by an operator"), "{seen}");
    pull("resume");
    until_up(gateway, "net");
    alice.hears("renamed", "kept meanwhile");
    world.sandbox.until_status(kept, "delivered");
    pull("reconnect");
    until_up(gateway, "net");
    alice.say("renamed", "and on it goes");
    world.sandbox.conversation("alice", "and on it goes");
}
