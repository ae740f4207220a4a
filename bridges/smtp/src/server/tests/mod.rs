//! The server over real sockets, with a host that records and refuses.

use std::{net::SocketAddr, time::Duration};

use bridge_api::{KeptId, Spool, Spooled, kit::RecordingHost};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;
use crate::envelope::{Envelope, SPOOL};

mod door;
mod ends;
mod flood;
mod lmtp;
mod room;
mod secured;

/// For anything that must come; no test waits so long but one that fails.
const PATIENCE: Duration = Duration::from_secs(20);
const BEGIN: &str = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\n";

struct Running {
    host: Arc<RecordingHost>,
    /// Of each listener: plain, TLS, LMTP, as far as they are set.
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

type Changes<'a> = &'a [(&'a str, serde_json::Value)];

fn settings(changes: Changes<'_>) -> Settings {
    let mut json = serde_json::json!({
        "listen": "127.0.0.1:0", "hostname": "mx.acme.test", "addresses": ["support@acme.test", "sales@acme.test"],
        "from": "Acme <support@acme.test>", "relay": { "host": "relay.test" }
    });
    for (key, value) in changes {
        json[*key] = value.clone();
    }
    serde_json::from_value(json).unwrap()
}

fn start(changes: Changes<'_>, timing: Timing) -> Running {
    let settings = settings(changes);
    let server = Server::bind(&settings, timing).unwrap();
    run(server, settings)
}

fn run(server: Server, settings: Settings) -> Running {
    let addresses = server.listeners.iter().map(|(_, listener)| listener.local_addr().unwrap()).collect();
    let (host, stop) = (RecordingHost::new(), CancellationToken::new());
    let spool = Arc::new(Spool::new(&host.host("mail"), SPOOL, settings.spool_max));
    let intake = Intake { spool, porter: Arc::new(Porter::new(&settings)) };
    let tasks = TaskTracker::new();
    let ends = stop.clone();
    tasks.spawn(async move { server.run(&settings, intake, ends).await.unwrap() });
    Running { host, addresses, stop, tasks }
}

impl Running {
    /// In the spool.
    fn waiting(&self) -> usize {
        self.host.recorded().cursors.keys().filter(|name| name.starts_with(SPOOL)).count()
    }
    /// The only mail in the spool.
    async fn mail(&self) -> (KeptId, Envelope) {
        let mut mails = Spooled::all(&self.host.host("mail"), SPOOL).await.unwrap();
        let Some(Spooled { id, about }) = mails.pop() else { panic!("no mail is kept") };
        assert_eq!(mails, []);
        (id, serde_json::from_str(&about).unwrap())
    }
    fn kept(&self) -> usize {
        self.host.recorded().kept.len()
    }
    /// Until the server has ended by itself.
    async fn ended(&self) {
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.expect("the server ends");
    }
}

/// Reads up to `end`, or to the end of the connection.
async fn hear(socket: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 1024];
    let reading = async {
        while !heard.contains(end) {
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => heard.push_str(&String::from_utf8_lossy(&buffer[..bytes])),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("something is heard");
    heard
}

/// Everything up to the end of the connection.
async fn hear_out(socket: &mut (impl AsyncRead + Unpin)) -> String {
    hear(socket, "no reply says this").await
}

/// What is answered up to `end`.
async fn say(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str, end: &str) -> String {
    socket.write_all(text.as_bytes()).await.unwrap();
    socket.flush().await.unwrap();
    hear(socket, end).await
}

/// A client that was greeted.
async fn connect(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.starts_with("220"));
    tcp
}

/// A client whose mail may come.
async fn begin(address: SocketAddr) -> TcpStream {
    let mut tcp = connect(address).await;
    assert!(say(&mut tcp, &format!("{BEGIN}DATA\r\n"), "354 ").await.contains("354 "));
    tcp
}

#[tokio::test]
async fn a_mail_is_stored_before_it_is_confirmed_and_put_off_when_it_cannot_be() {
    let running = start(&[], TIMING);
    let mut tcp = begin(running.addresses[0]).await;
    tcp.write_all(b"x\r\n.\r\n").await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("250 2.0.0 kept as"));
    timeout(PATIENCE, running.host.host("mail").rung()).await.expect("the desk hears of it");
    let (id, bytes) = running.host.recorded().kept.pop_first().unwrap();
    assert_eq!(bytes, &b"x\r\n"[..]);
    assert!(running.host.recorded().cursors.contains_key(&format!("mail/{id}")));
    running.host.recorded().refuses = true;
    let mut tcp = begin(running.addresses[0]).await;
    tcp.write_all(b"x\r\n.\r\n").await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("452 4.3.1"));
    assert_eq!((running.kept(), running.waiting()), (0, 1));
    assert!(timeout(Duration::ZERO, running.host.host("mail").rung()).await.is_err(), "there is nothing to hear of");
}

#[tokio::test]
async fn a_large_mail_is_filled_in_and_a_cut_one_leaves_nothing() {
    let running = start(&[], TIMING);
    let mail = format!("X: y\r\n\r\n{}", format!("{}\r\n", "z".repeat(98)).repeat(52_429));
    let mut tcp = begin(running.addresses[0]).await;
    tcp.write_all(&mail.as_bytes()[..3_000_000]).await.unwrap();
    drop(tcp);
    let mut tcp = begin(running.addresses[0]).await;
    tcp.write_all(format!("{mail}.\r\n").as_bytes()).await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("250 2.0.0"));
    let recorded = running.host.recorded();
    assert_eq!((recorded.kept.len(), recorded.cursors.len()), (1, 1));
    assert_eq!(recorded.kept.values().next().unwrap(), mail.as_bytes());
}

#[tokio::test]
async fn a_stop_ends_idle_sessions_and_lets_a_mail_end() {
    let running = start(&[("connections_per_client_max", 2.into())], TIMING);
    let mut mail = begin(running.addresses[0]).await;
    let mut idle = TcpStream::connect(running.addresses[0]).await.unwrap();
    hear(&mut idle, "\r\n").await;
    let mut third = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert!(hear(&mut third, "\r\n").await.starts_with("421 4.7.0"));
    running.stop.cancel();
    assert!(hear(&mut idle, "\r\n").await.starts_with("421 4.3.2"));
    drop(idle);
    mail.write_all(b"x\r\n.\r\n").await.unwrap();
    let heard = hear(&mut mail, "421").await;
    assert!(heard.starts_with("250 2.0.0"), "{heard}");
    drop(mail);
    running.ended().await;
}

#[tokio::test]
async fn a_slow_client_is_cut() {
    let running = start(&[], Timing { pause: Duration::from_millis(50), ..TIMING });
    let mut tcp = begin(running.addresses[0]).await;
    assert!(hear(&mut tcp, "\r\n").await.starts_with("421 4.4.2"));
    assert!(running.host.recorded().kept.is_empty());
}
