//! The callback door: who gets in, what comes of it, and what never leaves.

use bridge_api::Secret;
use deskbridge::{
    clock,
    http::BODY_BYTES_MAX,
    sandbox::{CallbackFaults, Duplicate, SandboxSettings},
};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::world::{SECRET, World};

fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

pub(crate) async fn post(world: &World, path: &str, secret: &str, off_seconds: i64, body: Vec<u8>) -> u16 {
    let timestamp = clock::now_millis() / 1000 + off_seconds;
    let client = reqwest::Client::builder().build().unwrap();
    let request = client.post(format!("http://{}{path}", world.gateway.address()));
    let request = request.header("x-chatwoot-timestamp", timestamp.to_string());
    let request = request.header("x-chatwoot-signature", signature(secret, timestamp, &body));
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_is_not_the_inboxs_is_refused_and_nothing_is_stored() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    let order = br#"{"event":"message_created","id":1,"message_type":"outgoing","private":false,"content":"x"}"#;
    let cases = [
        ("wrong secret", "/callbacks/support", "another", 0, order.to_vec(), 401),
        ("too old", "/callbacks/support", SECRET, -301, order.to_vec(), 401),
        ("from the future", "/callbacks/support", SECRET, 305, order.to_vec(), 401),
        ("unknown inbox", "/callbacks/sales", SECRET, 0, order.to_vec(), 404),
        ("no json", "/callbacks/support", SECRET, 0, b"hello".to_vec(), 400),
        ("no object", "/callbacks/support", SECRET, 0, b"[1]".to_vec(), 400),
        ("too large", "/callbacks/support", SECRET, 0, vec![b' '; BODY_BYTES_MAX + 1], 413),
    ];
    for (name, path, secret, off, body, expected) in cases {
        assert_eq!(post(&world, path, secret, off, body).await, expected, "{name}");
    }
    assert_eq!(world.store.depth().await.unwrap().waiting, 0);
    // The door is open for what is the inbox's.
    assert_eq!(post(&world, "/callbacks/support", SECRET, -299, order.to_vec()).await, 200);
}

#[tokio::test]
async fn private_notes_never_leave() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    for n in 0..20 {
        world.sandbox.note(1, &format!("secret {n}")).unwrap();
    }
    world.sandbox.reply(1, "public").unwrap();
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["public"]);
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), ["public"]);
}

#[tokio::test]
async fn doubled_and_shuffled_callbacks_deliver_each_message_once_in_the_order_of_their_ids() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.sandbox.faults().callbacks(CallbackFaults {
        duplicate: Some(Duplicate::NewDelivery),
        hold: true,
        ..CallbackFaults::default()
    });
    let texts: Vec<String> = (0..30).map(|n| format!("answer {n}")).collect();
    for text in &texts {
        world.sandbox.reply(1, text).unwrap();
    }
    world.sandbox.faults().callbacks(CallbackFaults {
        duplicate: Some(Duplicate::NewDelivery),
        reorder: 10,
        ..CallbackFaults::default()
    });
    world.sandbox.release_callbacks();
    assert_eq!(world.network.wait_for_texts("a:ada", 30).await, texts);
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), texts);
}

#[tokio::test]
async fn what_the_gateway_posts_itself_does_not_come_back() {
    let world = World::new().await;
    for n in 0..5 {
        world.write("ada", &n.to_string(), "hello").await;
    }
    world.wait_for_incoming(1, 5).await;
    let message = world.sandbox.reply(1, "answer").unwrap();
    world.wait_for_status(message, "delivered").await;
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), ["answer"]);
}

#[tokio::test]
async fn operators_are_asked_for_their_token() {
    let world = World::new().await;
    let client = reqwest::Client::builder().build().unwrap();
    let url = format!("http://{}/admin/outbox", world.gateway.address());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth("wrong").send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth("admin").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_callback_that_comes_before_the_inbox_has_told_its_secret_waits_for_it() {
    let world = World::new().await;
    world.sandbox.go_down().await;
    let world = world.restart_on(std::sync::Arc::new(deskbridge::store::MemoryStore::default())).await;
    let order = br#"{"event":"message_created","id":1,"message_type":"outgoing","private":false,"content":"x"}"#;
    let early = post(&world, "/callbacks/support", SECRET, 0, order.to_vec());
    let (status, ()) = tokio::join!(early, world.sandbox.come_up());
    assert_eq!(status, 200);
}

#[tokio::test]
async fn half_a_request_does_not_hold_its_connection_for_ever() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.write_all(b"POST /callbacks/support HTTP/1.1\r\nHost: x\r\nX-Half: ").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(crate::world::DEADLINE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

/// The secret is changed at Chatwoot some time after the gateway was told of the new one; some callbacks that were signed
/// before come late.
#[tokio::test]
async fn a_secret_is_changed_under_load_and_no_callback_is_refused() {
    let world = World::adjusted(SandboxSettings::default(), |plan| {
        plan.inboxes[0].callback_secret = Some(Secret::new("the new one"));
        plan.inboxes[0].callback_secret_before = Some(Secret::new(SECRET));
    })
    .await;
    let body = |n: usize| format!(r#"{{"event":"message_created","id":{n},"private":true}}"#).into_bytes();
    let signed = |n: usize| if n < 100 || n.is_multiple_of(7) { SECRET } else { "the new one" };
    let posted = (0..200).map(|n| post(&world, "/callbacks/support", signed(n), 0, body(n)));
    let posted: Vec<u16> = stream::iter(posted).buffered(8).collect().await;
    assert_eq!(posted, vec![200; 200]);
    for secret in ["another", "", "the new onethe new one"] {
        assert_eq!(post(&world, "/callbacks/support", secret, 0, body(1)).await, 401, "{secret:?}");
    }
}

/// What came once comes again in its minutes, and after a restart: known, and nothing is sent a second time.
#[tokio::test]
async fn a_callback_that_is_played_again_sends_nothing() {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let reply = world.sandbox.reply(1, "good morning").unwrap();
    world.wait_for_status(reply, "delivered").await;
    world.wait_for_rest().await;
    let created = jiff::Timestamp::from_second(world.row(1, 1)["created_at"].as_i64().unwrap()).unwrap();
    let body = include_str!("../fixtures/chatwoot/callback_message_created_outgoing.json")
        .replace("\"id\": 9002", &format!("\"id\": {reply}"))
        .replace("\"id\": 42,", "\"id\": 1,")
        .replace("\"source_id\": \"libera/ada\"", "\"source_id\": \"net/a:ada\"")
        .replace("2026-06-20T09:15:03.123Z", &format!("{created:.3}"));
    for off in [-1, -299, 299] {
        assert_eq!(post(&world, "/callbacks/support", SECRET, off, body.clone().into_bytes()).await, 200, "{off}");
    }
    assert_eq!(post(&world, "/callbacks/support", SECRET, -302, body.clone().into_bytes()).await, 401);
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), ["good morning"]);
    let world = world.away(|_| ()).await;
    assert_eq!(post(&world, "/callbacks/support", SECRET, 0, body.into_bytes()).await, 200);
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), [""; 0], "this process has sent nothing");
}

/// More than there are places. Those that say nothing, or half of something, are there while a true callback is answered.
#[tokio::test]
async fn clients_that_say_nothing_keep_no_callback_out() {
    use tokio::io::AsyncWriteExt;
    let world = World::new().await;
    let mut silent = Vec::new();
    for n in 0..2_000 {
        let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
        let words: &[u8] = match n % 3 {
            0 => b"",
            1 => b"POST /callbacks/support HTTP/1.1\r\nHost: x\r\nX-Half: ",
            _ => b"POST /callbacks/support HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{",
        };
        // One that was sent away already does not read.
        drop(stream.write_all(words).await);
        silent.push(stream);
    }
    let order = br#"{"event":"message_created","id":1,"private":true}"#;
    for _ in 0..20 {
        assert_eq!(post(&world, "/callbacks/support", SECRET, 0, order.to_vec()).await, 200);
    }
    let open = silent.iter().filter(|stream| {
        let read = stream.try_read(&mut [0; 1]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    let open = open.count();
    assert!((400..2_000).contains(&open), "they are still there, but for those that made room: {open}");
}
