//! The callback door: who gets in, what comes of it, and what never leaves.

use deskbridge::{
    clock,
    http::BODY_BYTES_MAX,
    sandbox::{CallbackFaults, Duplicate},
};
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
