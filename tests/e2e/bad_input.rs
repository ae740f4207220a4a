//! What nobody should send: forged callbacks, impossible bytes, broken settings.

use std::{fs, io::Write, process::Command};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    gateway::{Gateway, NICK},
    http,
    peers::{self, ngircd::Flood, scripted::Scripted},
    process::run,
    sandbox::Sandbox,
    wait::until,
    world::{World, desk_and_gateway},
};

/// A callback of the kind that goes out, for the first conversation there is.
pub(crate) fn callback(sandbox: &Sandbox, id: u64, text: &str) -> Value {
    let fixture = include_str!("../fixtures/chatwoot/callback_message_created_outgoing.json");
    let mut body: Value = serde_json::from_str(fixture).expect("the fixture is JSON");
    let state = http::get(&format!("{}/sandbox/state", sandbox.url)).expect("the sandbox answers").json();
    let conversation = &state["conversations"][0];
    body["id"] = json!(id);
    body["content"] = json!(text);
    body["created_at"] = json!(jiff::Timestamp::now().to_string());
    body["account"]["id"] = state["account_id"].clone();
    body["inbox"]["id"] = conversation["inbox_id"].clone();
    body["conversation"]["id"] = conversation["id"].clone();
    body["conversation"]["inbox_id"] = conversation["inbox_id"].clone();
    body["conversation"]["contact_inbox"]["source_id"] = conversation["source_id"].clone();
    body
}

/// Posts as Chatwoot does. `secret` and `age` (seconds) are right or not.
pub(crate) fn post(url: &str, body: &[u8], secret: &str, age: i64) -> u16 {
    let timestamp = (jiff::Timestamp::now().as_second() - age).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = [
        ("content-type", "application/json"),
        ("x-chatwoot-timestamp", &timestamp),
        ("x-chatwoot-signature", &signature),
    ];
    http::request(Method::POST, url, &headers, Some(body.to_vec())).expect("the gateway answers").status
}

#[test]
fn a_callback_that_is_forged_lost_huge_or_no_json_is_refused_and_nothing_is_stored() {
    let Some(world) = World::on_ngircd(Flood::Slowed, "") else { return };
    let mut alice = world.person("alice");
    alice.say(NICK, "hello");
    world.sandbox.conversation("alice", "hello");
    let (url, secret) = (world.gateway.callback_url(), world.sandbox.secret());
    let good = callback(&world.sandbox, 900_000, "forged").to_string().into_bytes();
    let huge = callback(&world.sandbox, 900_001, &"x".repeat(2 << 20)).to_string().into_bytes();

    assert_eq!(post(&url, &good, "another secret", 0), 401, "wrong signature");
    assert_eq!(post(&url, &good, &secret, 3600), 401, "replayed after an hour");
    assert_eq!(post(&url, &good, &secret, -3600), 401, "from the future");
    let unsigned = http::request(Method::POST, &url, &[], Some(good.clone())).expect("the gateway answers");
    assert_eq!(unsigned.status, 401, "no signature");
    assert_eq!(post(&world.gateway.url("/callbacks/sales"), &good, &secret, 0), 404, "unknown inbox");
    assert_eq!(post(&url, &huge, &secret, 0), 413, "oversize");
    for body in ["", "no json", "[1, 2]", "\"text\"", "{\"event\": \"message_created\"", "\0"] {
        assert_eq!(post(&url, body.as_bytes(), &secret, 0), 400, "{body:?}");
    }
    assert_eq!(world.gateway.waiting(), [], "something was stored");

    // The control: the same callback, well signed, is taken and goes out.
    assert_eq!(post(&url, &good, &secret, 0), 200);
    alice.hears(NICK, "forged");
    alice.settle();
    assert_eq!(alice.texts_from(NICK), ["forged"]);
}

#[test]
fn impossible_lines_from_the_server_never_end_the_bridge() {
    let folder = peers::folder();
    let server = Scripted::start();
    let (sandbox, mut gateway) = desk_and_gateway(folder.path(), &format!("port = {}\ntls = false\n", server.port));
    gateway.start();
    let mut stream = server.next();
    gateway.until_on_network();
    let mut say = |bytes: &[u8]| stream.write_all(bytes).expect("the bridge reads");
    say(b"\r\n\n\r\r\n \r\n:\r\n@\r\n@ \r\n: :\r\n@a=b :x!y@z\r\n");
    say(b":s.test 001\r\n:s.test 005 helper\r\n:s.test 433\r\n:x!y@z PRIVMSG\r\n:x!y@z PRIVMSG helper\r\nNICK\r\n:helper NICK\r\n");
    say(&[vec![b'x'; 100_000], b"\r\n".to_vec()].concat());
    say(&[b":x!y@z PRIVMSG helper :".to_vec(), vec![b'y'; 50_000], b"\r\n".to_vec()].concat());
    say(&[vec![0; 600], b"\r\n".to_vec()].concat());
    let every_byte: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    for command in ["", ":n!u@h PRIVMSG helper :", "@time=", ":", "BATCH +", ":s.test 353 helper = #x :"] {
        say(&[command.as_bytes(), &every_byte, b"\r\n"].concat());
    }
    say(b":alice!a@host.test PRIVMSG helper :with \0 nul\r\n");
    say(b":alice!a@host.test PRIVMSG helper :\xff\xfe\xc3\r\n");
    say(b":alice!a@host.test PRIVMSG helper :the last one\n");
    let conversation = until("the last line at the inbox", || {
        let desk = sandbox.desk();
        let found = desk.of("alice").into_iter().find(|found| found.incoming().last() == Some(&"the last one"));
        found.cloned().ok_or_else(|| format!("{desk:?}"))
    });
    assert_eq!(conversation.incoming().len(), 3, "{conversation:?}");
    assert!(!conversation.incoming()[0].contains('\0'));
    assert!(!server.has_next(), "the bridge had to connect again");
    assert!(gateway.is_running());
}

#[test]
fn settings_with_several_mistakes_are_refused_with_all_of_them() {
    let folder = peers::folder();
    let mut gateway = Gateway::new(
        folder.path(),
        "url = \"http://127.0.0.1:1\"\nacount_id = 1\naccount_id = 1\ninbox_id = \"seven\"\n\
         api_access_token = \"very-secret-token\"\n",
        "tls = false\nchanels = []\npace = \"fast\"\n",
    );
    let mut text = fs::read_to_string(gateway.settings_file()).expect("it was written");
    text.push_str("\n[bridges.other]\nkind = \"ircc\"\ninbox = \"dask\"\n");
    fs::write(gateway.settings_file(), text).expect("a file is written");
    for words in [["check"].as_slice(), &["run"]] {
        let ran = gateway.command(words);
        assert_eq!(ran.code, Some(2), "{words:?}: {ran:?}");
        let told = format!("{}{}", ran.out, ran.err);
        for expected in ["acount_id", "account_id", "inbox_id", "chanels", "channels", "pace", "ircc", "dask"] {
            assert!(told.contains(expected), "{words:?} says nothing of {expected}: {told}");
        }
        assert!(!told.contains("very-secret-token"), "{told}");
    }
    assert!(!gateway.data_dir().exists(), "something was started");
    assert!(!gateway.is_running());
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let check = |words: &[&str], code: i32| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.args(words).env_remove("DESKBRIDGE_CONFIG").current_dir(std::env::temp_dir());
        let ran = run(command);
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
    };
    check(&["--version"], 0);
    check(&["--help"], 0);
    check(&["schema"], 0);
    check(&["completions", "bash"], 0);
    check(&["no-such-command"], 2);
    check(&["run", "-c", "no/such/file.toml"], 2);
    check(&["try", "--irc", "gopher://nowhere"], 2);
    check(&["healthcheck", "--url", "http://127.0.0.1:1/readyz"], 1);
}
