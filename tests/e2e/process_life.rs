//! The process among other processes: one owner of the data, a disk that is full, a soft stop.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    bad_input::{callback, post},
    gateway::NICK,
    irc::Line,
    peers::{
        self,
        ngircd::{Flood, Ngircd},
    },
    process::run,
    small_disk::SmallDisk,
    wait::until,
    world::{FAST, World, desk_and_gateway},
};

/// Callbacks until a full disk must have shown: far more than fit in what is left in the files.
const CALLBACKS_MAX: u64 = 5_000;
const DISK_MIB: u64 = 16;

#[test]
fn a_second_process_on_the_same_data_is_refused_with_the_reason() {
    let Some(mut world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let ran = world.gateway.command(&["run"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let folder = world.gateway.data_dir().display().to_string();
    assert!(ran.err.contains(&folder) && ran.err.contains("process"), "{ran:?}");
    assert!(world.gateway.is_running());
    assert_eq!(world.gateway.bridge_state(), "up");
}

#[test]
fn a_soft_stop_leaves_the_network_ends_well_and_loses_nothing() {
    let bridge = format!("{FAST}channels = [{{ name = \"#support\" }}]\n");
    let Some(mut world) = World::on_ngircd(Flood::Free, &bridge) else { return };
    for signal in ["TERM", "INT"] {
        let nick = format!("nick{}", signal.to_lowercase());
        let mut alice = world.person(&nick);
        alice.join_channel(Ngircd::CHANNEL);
        alice.until_present(NICK, Ngircd::CHANNEL);
        alice.say(NICK, "hello");
        let conversation = world.sandbox.conversation(&nick, "hello").id;
        let texts: Vec<_> = (0..10).map(|number| format!("reply {number}")).collect();
        let replies: Vec<_> = texts.iter().map(|text| world.sandbox.reply(conversation, text)).collect();
        alice.hears(NICK, "reply 0");
        world.gateway.signal(signal);
        assert!(world.gateway.wait().success(), "{}", world.gateway.log());
        alice.until("the bridge to say good-bye", |line: &Line| line.command == "QUIT" && line.nick() == NICK);
        world.start_again();
        let desk = until("every reply to have an outcome", || {
            let desk = world.sandbox.desk();
            let open = |id: &&u64| desk.message(**id).is_none_or(|message| message.status == "sent");
            match replies.iter().filter(open).count() {
                0 => Ok(desk),
                count => Err(format!("{count} without")),
            }
        });
        // A callback that came after the door was closed failed, and the agent was told so by the inbox.
        let delivered = replies.iter().zip(&texts).filter(|(id, _)| {
            let message = desk.message(**id).expect("it was there");
            message.status == "delivered" || !message.reason().contains("connection")
        });
        let delivered: Vec<_> = delivered.map(|(_, text)| text.clone()).collect();
        alice.settle();
        assert_eq!(alice.texts_from(NICK), delivered);
    }
}

#[test]
fn a_health_check_tells_readiness_by_its_exit_status() {
    let folder = peers::folder();
    let (_sandbox, mut gateway) = desk_and_gateway(folder.path(), "port = 1\ntls = false\n");
    let healthcheck = |url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.args(["healthcheck", "--url", url]);
        run(command).code
    };
    assert_eq!(healthcheck(&gateway.url("/readyz")), Some(1));
    gateway.start();
    assert_eq!(healthcheck(&gateway.url("/readyz")), Some(0));
    assert_eq!(gateway.command(&["check"]).code, Some(0));
}

#[test]
fn a_store_that_cannot_be_written_answers_503_and_says_so_until_it_can() {
    let Some(mut world) = World::on_ngircd(Flood::Free, FAST) else { return };
    world.gateway.signal("TERM");
    assert!(world.gateway.wait().success());
    fs::remove_dir_all(world.gateway.data_dir()).expect("our own folder");
    let Some(disk) = SmallDisk::mount(world.gateway.data_dir(), DISK_MIB) else {
        eprintln!("\n*** SKIPPED: a full disk needs the right to mount one ***\n");
        return;
    };
    world.start_again();
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    world.sandbox.conversation("alice", "hello");
    let (url, secret) = (world.gateway.callback_url(), world.sandbox.secret());
    disk.fill();
    let mut taken = Vec::new();
    let refused = (0..CALLBACKS_MAX).find_map(|number| {
        let text = format!("reply {number}");
        let body = callback(&world.sandbox, 800_000 + number, &text).to_string();
        let status = post(&url, body.as_bytes(), &secret, 0);
        if status == 200 {
            taken.push(text);
        }
        (status != 200).then_some(status)
    });
    assert_eq!(refused, Some(503));
    let ready = world.gateway.ready().expect("it answers");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["store"]["state"], json!("down"), "{ready:?}");
    assert!(ready.json()["store"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{ready:?}");

    disk.free();
    world.gateway.until_ready();
    let body = callback(&world.sandbox, 890_000, "after all").to_string();
    assert_eq!(post(&url, body.as_bytes(), &secret, 0), 200);
    taken.push("after all".to_owned());
    alice.hears(NICK, "after all");
    alice.settle();
    assert_eq!(alice.texts_from(NICK), taken, "what was answered 200, once and in order");
    // The disk goes first, so that the folder below it can.
    world.gateway.kill();
    drop(disk);
}
