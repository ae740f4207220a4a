//! Clients that are turned away, shown out or cut, and the end of the server itself.

use std::io::Write as _;

use serde_json::Value;

use super::*;

#[tokio::test]
async fn who_speaks_before_the_greeting_is_shown_out() {
    let settings = settings(&[]);
    let server = Server::bind(&settings, TIMING).unwrap();
    let address = server.listeners[0].1.local_addr().unwrap();
    // Before anybody takes the connection in, so that what it says is there first.
    let mut early = std::net::TcpStream::connect(address).unwrap();
    early.write_all(format!("{BEGIN}BDAT 3 LAST\r\nx\r\n").as_bytes()).unwrap();
    early.set_nonblocking(true).unwrap();
    let running = run(server, settings);
    let mut early = TcpStream::from_std(early).unwrap();
    assert_eq!(hear_out(&mut early).await, "554 5.5.0 the server speaks first\r\n");
    let mut polite = begin(address).await;
    assert!(say(&mut polite, "x\r\n.\r\n", "\r\n").await.starts_with("250 2.0.0"));
    assert_eq!(running.kept(), 1);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "listen_lmtp"] {
        let settings = settings(&[("listen", Value::Null), (key, address.clone().into())]);
        let fault = Server::bind(&settings, TIMING).err().expect("two cannot have the same port");
        assert!(matches!(fault.kind, bridge_api::FaultKind::Down { .. }), "{fault}");
        assert!(fault.reason.starts_with(&format!("cannot listen on {address} (`{key}`): ")), "{fault}");
    }
}

/// What a new client hears first, and the client.
async fn enter(running: &Running) -> (String, TcpStream) {
    let mut tcp = TcpStream::connect(running.addresses[0]).await.unwrap();
    let heard = hear(&mut tcp, "\r\n").await;
    (heard, tcp)
}

#[tokio::test]
async fn connections_are_limited_in_all_and_for_each_client() {
    for (key, expected) in [
        ("connections_max", "421 4.7.0 too many connections, come back later\r\n"),
        ("connections_per_client_max", "421 4.7.0 too many connections from your address\r\n"),
    ] {
        let running = start(&[(key, 2.into())], TIMING);
        let (_, mut first) = enter(&running).await;
        let (heard, _second) = enter(&running).await;
        assert!(heard.starts_with("220"), "{key}: {heard}");
        let (mut heard, mut third) = enter(&running).await;
        heard += &hear_out(&mut third).await;
        assert_eq!(heard, expected);
        say(&mut first, "QUIT\r\n", "\r\n").await;
        assert_eq!(hear_out(&mut first).await, "");
        let (heard, _fourth) = enter(&running).await;
        assert!(heard.starts_with("220"), "a place is free again, {key}: {heard}");
    }
}

#[tokio::test]
async fn a_trusted_client_has_all_connections_and_no_more() {
    let changes = [
        ("connections_max", 3.into()),
        ("connections_per_client_max", 1.into()),
        ("trusted_clients", serde_json::json!(["127.0.0.1"])),
    ];
    let running = start(&changes, TIMING);
    let mut heard = Vec::new();
    let mut all = Vec::new();
    for _ in 0..4 {
        let (line, tcp) = enter(&running).await;
        heard.push(line[..3].to_owned());
        all.push(tcp);
    }
    assert_eq!(heard, ["220", "220", "220", "421"]);
}

#[tokio::test]
async fn new_connections_and_mails_are_limited_by_the_minute() {
    let running = start(&[("mails_per_minute_max", 1.into())], TIMING);
    let (_, mut tcp) = enter(&running).await;
    say(&mut tcp, "EHLO c.test\r\n", "CHUNKING\r\n").await;
    let replies = say(&mut tcp, "MAIL FROM:<a@c.test>\r\nRSET\r\nMAIL FROM:<a@c.test>\r\n", "many mails").await;
    assert!(replies.contains("450 4.7.1 too many mails in a minute"), "{replies}");
    // With the first one above.
    for _ in 1..60 {
        let (heard, mut tcp) = enter(&running).await;
        assert!(heard.starts_with("220"), "{heard}");
        say(&mut tcp, "QUIT\r\n", "221").await;
        hear_out(&mut tcp).await;
    }
    assert_eq!(enter(&running).await.0, "421 4.7.1 too many new connections in a minute\r\n");
}

#[tokio::test]
async fn a_mail_that_does_not_end_is_given_up_when_the_time_of_the_stop_is_over() {
    for bytes in [1, 1_000_000] {
        let running = start(&[], Timing { stop: Duration::from_millis(50), ..TIMING });
        let mut mail = begin(running.addresses[0]).await;
        mail.write_all(format!("X: y\r\n\r\n{}", "z".repeat(bytes)).as_bytes()).await.unwrap();
        running.stop.cancel();
        running.ended().await;
        assert_eq!(hear_out(&mut mail).await, "");
        assert!(TcpStream::connect(running.addresses[0]).await.is_err(), "nobody listens any more");
        assert_eq!((running.kept(), running.waiting()), (0, 0));
        assert!(running.host.recorded().cursors.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_takes_no_replies_is_cut() {
    let running = start(&[], Timing { write: Duration::from_millis(50), ..TIMING });
    let mut tcp = connect(running.addresses[0]).await;
    tcp.write_all(BEGIN.as_bytes()).await.unwrap();
    let flight = "RCPT TO:<support@acme.test>\r\n".repeat(1000);
    // Until the server's replies have no room on the way, and then ours have none.
    let writing = async { while tcp.write_all(flight.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, writing).await.expect("the client is cut");
    begin(running.addresses[0]).await;
}
