//! The websocket proxy without the gateway, fed by Synapse, in both dialects.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    peers::{
        self,
        as_proxy::{AsProxy, Dialect},
        customer::Customer,
        python,
        synapse::{Appservice, Synapse},
        websocket::{Next, Websocket, texts},
    },
    process::Process,
    wait::until,
};

/// Long enough for what would come at once.
const SHORT: Duration = Duration::from_millis(300);

/// A customer in a room with a ghost, and a client that has read everything up to here.
struct Scene {
    proxy: AsProxy,
    service: Appservice,
    client: Websocket,
    customer: Customer,
    room: String,
}

impl Scene {
    fn new(dialect: Dialect) -> Option<Self> {
        Synapse::present().then(|| {
            let server = Synapse::shared();
            let service = server.appservice();
            let proxy = AsProxy::start(dialect, &server.url(), std::slice::from_ref(&service));
            let mut client = Websocket::connect(&proxy.websocket_url(), &service.as_token, 3).expect("a good token");
            assert_eq!(client.frame()["status"], "connected");
            let ghost = server.register_ghost(&service, "support");
            let mut customer = Customer::of(server, "carol");
            let room = customer.dm(&ghost);
            join(server, &service, &room, &ghost);
            customer.until_joined(&room, &ghost);
            customer.say(&room, "first");
            client.until_text("first");
            if dialect == Dialect::Asmux {
                proxy.until("the last answer to be taken", |_| {
                    (proxy.count("answer") == proxy.count("frame")).then_some(())
                });
            }
            Self { proxy, service, client, customer, room }
        })
    }

    fn say(&mut self, text: &str) {
        self.customer.say(&self.room, text);
    }

    fn until_pushed(&self, transactions: usize) {
        until("Synapse to have pushed", || match self.proxy.count("transaction") {
            count if count >= transactions => Ok(()),
            count => Err(format!("{count} of {transactions} transactions")),
        });
    }
}

fn join(server: &Synapse, service: &Appservice, room: &str, user: &str) {
    let [room, user] = [room, user].map(peers::synapse::escape);
    let path = format!("/_matrix/client/v3/join/{room}?user_id={user}");
    until("the invite", || {
        match server.call(reqwest::Method::POST, &path, Some(&service.as_token), Some(&json!({}))) {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
}

fn closed(code: u16, status: &str) -> Next {
    Next::Closed(code, json!({ "command": "disconnect", "status": status }).to_string())
}

#[test]
fn the_pipe_delivers_without_numbers_and_answers_nothing_but_pings() {
    let Some(mut scene) = Scene::new(Dialect::Wsproxy) else { return };
    scene.say("hello");
    let frame = scene.client.until_text("hello");
    assert!(frame["id"].is_null() && frame["command"].is_null() && frame["txn_id"].is_string(), "{frame}");
    assert!(frame["events"][0]["unsigned"]["m.relations"].is_object() && frame["events"][0]["age"].is_null());
    scene.client.send(&json!({ "command": "ping", "id": 1, "data": { "timestamp": 1 } }));
    let pong = scene.client.frame();
    assert!(pong["id"] == 1 && pong["command"] == "response" && pong["data"]["timestamp"].is_u64(), "{pong}");
    scene.client.send(&json!({ "command": "bridge_status", "data": {} }));
    scene.client.send(&json!({ "command": "bridge_status", "id": 2, "data": {} }));
    let refused = scene.client.frame();
    assert!(refused["id"] == 2 && refused["command"] == "error" && refused["data"]["message"].is_string(), "{refused}");
    let unheard = Synapse::shared().ping(&scene.service);
    assert!(unheard.status == 502 && unheard.body.contains("404"), "{unheard:?}");
}

#[test]
fn the_queue_delivers_one_frame_at_a_time_and_waits_for_its_answer() {
    let Some(mut scene) = Scene::new(Dialect::Asmux) else { return };
    scene.say("hello");
    let frame = scene.client.frame();
    assert_eq!((texts(&frame), &frame["command"]), (vec!["hello".to_owned()], &json!("transaction")));
    scene.say("two");
    scene.say("three");
    assert_eq!(scene.client.next_within(SHORT), None, "the first is not acknowledged");
    scene.client.acknowledge(&frame);
    scene.client.until_text("three");
    assert_eq!(Synapse::shared().ping(&scene.service).status, 200);
    scene.client.send(&json!({ "command": "message_checkpoint", "id": 9, "data": {} }));
    assert_eq!(scene.client.frame(), json!({ "command": "response", "id": 9, "data": null }));
    // One address for everything.
    let url = format!("{}/_matrix/client/versions", scene.proxy.url());
    assert_eq!(crate::http::get(&url).map(|answer| answer.status), Ok(200));
}

#[test]
fn what_the_queue_was_not_answered_for_comes_again_merged_also_on_the_next_connection() {
    let Some(mut scene) = Scene::new(Dialect::Asmux) else { return };
    scene.proxy.switch(|switches| {
        switches.time_scale = 0.1;
        switches.ignore_acks = 1;
    });
    let pushed = scene.proxy.count("transaction");
    scene.say("one");
    let first = scene.client.until_text("one");
    scene.say("two");
    scene.until_pushed(pushed + 2);
    // It may come again alone before the second is there.
    let again = std::iter::repeat_with(|| scene.client.frame()).find(|frame| texts(frame) != ["one"]);
    let again = again.expect("frames have no end");
    assert_eq!(texts(&again), ["one", "two"], "{again}");
    let joined = again["txn_id"].as_str().expect("ids");
    assert!(joined.starts_with(&format!("{},", first["txn_id"].as_str().expect("an id"))), "{again}");
    assert_ne!(again["id"], first["id"]);

    let url = scene.proxy.websocket_url();
    let mut next = Websocket::connect(&url, &scene.service.as_token, 3).expect("a good token");
    assert_eq!(end_of(&mut scene.client), closed(4001, "conn_replaced"));
    assert_eq!(next.frame()["command"], "connect");
    assert_eq!(texts(&next.frame()), ["one", "two"]);
    // Nobody answers this one.
    scene.proxy.switch(|switches| switches.time_scale = 0.02);
    assert_eq!(end_of(&mut next), closed(4002, "transactions_not_acknowledged"));
    let log = scene.proxy.log();
    let of_this = log.rsplit(|entry| entry.what == "connect").next().expect("it connected");
    assert_eq!(of_this.iter().filter(|entry| entry.what == "timeout").count(), 7);
}

/// What comes after the last frame.
fn end_of(client: &mut Websocket) -> Next {
    let end = std::iter::repeat_with(|| client.next()).find(|next| !matches!(next, Next::Frame(_)));
    end.expect("something comes until it ends")
}

#[test]
fn a_refusal_and_a_duplicate_bring_the_same_events_again() {
    let Some(mut scene) = Scene::new(Dialect::Asmux) else { return };
    scene.say("one");
    let frame = scene.client.frame();
    scene.client.send(&json!({ "command": "error", "id": frame["id"], "data": { "code": "STORE_FAILED" } }));
    scene.proxy.switch(|switches| switches.duplicate_frames = 1);
    let again = scene.client.frame();
    assert_eq!((texts(&again), &again["txn_id"]), (vec!["one".to_owned()], &frame["txn_id"]));
    scene.client.acknowledge(&again);
    assert_eq!(scene.client.until_text("one")["txn_id"], frame["txn_id"]);
    assert_eq!(scene.client.next_within(SHORT), None);
    let asked = json!({ "method": "GET", "path": "/" });
    let service = scene.service.clone();
    std::thread::scope(|scope| {
        let proxy = &scene.proxy;
        let asking = scope.spawn(move || proxy.ask(&service, "http_proxy", &asked));
        let request = scene.client.frame();
        assert_eq!(request["command"], "http_proxy");
        scene.client.send(&json!({ "command": "response", "id": request["id"], "data": { "status": 404 } }));
        assert_eq!(asking.join().expect("an answer")["data"]["status"], 404);
    });
}

#[test]
fn the_pipe_loses_doubles_and_swaps_frames_as_it_is_told() {
    let Some(mut scene) = Scene::new(Dialect::Wsproxy) else { return };
    let say_one_by_one = |scene: &mut Scene, words: &[&str]| {
        for text in words {
            let pushed = scene.proxy.count("transaction");
            scene.say(text);
            scene.until_pushed(pushed + 1);
        }
    };
    let frames = |scene: &mut Scene, count: usize| -> Vec<String> {
        (0..count).flat_map(|_| texts(&scene.client.frame())).collect()
    };
    scene.proxy.switch(|switches| switches.drop_frames = 1);
    say_one_by_one(&mut scene, &["lost", "there"]);
    assert_eq!(frames(&mut scene, 1), ["there"]);
    scene.proxy.switch(|switches| switches.duplicate_frames = 1);
    say_one_by_one(&mut scene, &["twice"]);
    assert_eq!(frames(&mut scene, 2), ["twice", "twice"]);
    scene.proxy.switch(|switches| switches.swap_frames = 1);
    say_one_by_one(&mut scene, &["late", "early"]);
    assert_eq!(frames(&mut scene, 2), ["early", "late"]);
}

#[test]
fn connections_fall_in_the_middle_of_a_frame_and_tokens_are_refused() {
    let Some(mut scene) = Scene::new(Dialect::Wsproxy) else { return };
    let (url, token) = (scene.proxy.websocket_url(), scene.service.as_token.clone());
    let refused = |token: &str| Websocket::connect(&url, token, 3).map(drop);
    assert_eq!(refused("somebody else's"), Err(403));
    scene.proxy.switch(|switches| switches.refuse = true);
    assert_eq!(refused(&token), Err(403));
    scene.proxy.switch(|switches| {
        switches.refuse = false;
        switches.cut_frame_after = Some(40);
    });
    let pushed = scene.proxy.count("transaction");
    scene.say("cut in two");
    assert_eq!(scene.client.next(), Next::Fell);
    scene.until_pushed(pushed + 1);
    assert_eq!(scene.proxy.count("cut"), 1);

    let connect = || {
        let mut client = Websocket::connect(&url, &token, 3).expect("a good token");
        assert_eq!(client.frame(), json!({ "status": "connected" }));
        client
    };
    let mut client = connect();
    scene.proxy.cut();
    assert_eq!(client.next(), Next::Fell);
    client = connect();
    scene.proxy.hold();
    client.send(&json!({ "command": "ping", "id": 1, "data": {} }));
    assert_eq!(client.next_within(SHORT), None, "a dead link");
    scene.proxy.release();
    assert_eq!(client.frame()["id"], 1);
    scene.proxy.close(&scene.service, 1001, "server_shutting_down");
    assert_eq!(client.next(), closed(1001, "server_shutting_down"));
}

/// An independent client of the same protocol, which speaks to the queue's dialect only.
#[test]
fn heisenbridge_answers_through_the_queue() {
    if !Synapse::present() || !python::present(&python::heisenbridge_folder()) {
        return;
    }
    let server = Synapse::shared();
    let (service, folder) = (server.appservice(), peers::folder());
    let mut customer = Customer::of(server, "carol");
    let proxy = AsProxy::start(Dialect::Asmux, &server.url(), std::slice::from_ref(&service));
    let registration = server.registration(&service).to_string();
    let registration = peers::write(folder.path(), "registration.yaml", &registration);
    let mut command = Command::new(python::heisenbridge_folder().join("bin/heisenbridge"));
    // A port that it listens on for nobody.
    let port = crate::process::free_port().to_string();
    command.arg("-c").arg(registration).args(["-l", "127.0.0.1", "-p", &port, "-o", customer.user()]);
    command.arg(proxy.websocket_url()).current_dir(folder.path());
    let _bridge = Process::spawn(command, "heisenbridge", folder.path());
    proxy.until_connected(1);
    let bot = service.user("bot");
    let room = customer.dm(&bot);
    customer.until_joined(&room, &bot);
    customer.say(&room, "HELP");
    customer.wait_for("a list of commands", |seen| {
        seen.room == room && seen.sender() == bot && seen.body().starts_with("Following commands")
    });
    let acknowledged: Vec<Value> =
        proxy.log().into_iter().filter(|entry| entry.what == "answer").map(|entry| entry.data).collect();
    assert!(acknowledged.iter().all(|answer| answer["id"].is_u64()) && !acknowledged.is_empty());
}
