//! The server over real sockets, with a host that records and refuses.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bridge_api::{KeptId, kit::RecordingHost};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
    time::timeout,
};

use super::*;
use crate::envelope::Envelope;

struct Running {
    host: Arc<RecordingHost>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    waiting: Arc<AtomicUsize>,
    mails: mpsc::Receiver<(KeptId, Envelope)>,
    tasks: TaskTracker,
}

fn start(changes: &[(&str, serde_json::Value)], timing: Timing) -> Running {
    let mut json = serde_json::json!({
        "listen": "127.0.0.1:0", "hostname": "mx.acme.test", "addresses": ["support@acme.test"],
        "from": "Acme <support@acme.test>", "relay": { "host": "relay.test" }
    });
    for (key, value) in changes {
        json[*key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(json).unwrap();
    let server = Server::bind(&settings, timing).unwrap();
    let address = server.listeners[0].1.local_addr().unwrap();
    let (host, stop, waiting) = (RecordingHost::new(), CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (sender, mails) = mpsc::channel(8);
    let intake =
        Intake { host: host.host("mail"), mails: sender, missed: Arc::new(Notify::new()), waiting: waiting.clone() };
    let tasks = TaskTracker::new();
    let ends = stop.clone();
    tasks.spawn(async move { server.run(&settings, intake, ends).await.unwrap() });
    Running { host, address, stop, waiting, mails, tasks }
}

/// Reads up to `end`, or to the end of the connection.
async fn hear(tcp: &mut TcpStream, end: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 1024];
    let reading = async {
        while !heard.contains(end) {
            match tcp.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => heard.push_str(&String::from_utf8_lossy(&buffer[..bytes])),
            }
        }
    };
    timeout(Duration::from_secs(20), reading).await.unwrap();
    heard
}

async fn begin(address: std::net::SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.starts_with("220"));
    tcp.write_all(b"EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<support@acme.test>\r\nDATA\r\n").await.unwrap();
    assert!(hear(&mut tcp, "354 ").await.contains("354 "));
    tcp
}

#[tokio::test]
async fn a_mail_is_stored_before_it_is_confirmed_and_put_off_when_it_cannot_be() {
    let mut running = start(&[], TIMING);
    let mut tcp = begin(running.address).await;
    tcp.write_all(b"x\r\n.\r\n").await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("250 2.0.0 kept as"));
    let (id, _) = running.mails.recv().await.unwrap();
    assert_eq!(running.host.recorded().kept[&id], &b"x\r\n"[..]);
    assert!(running.host.recorded().cursors.contains_key(&format!("mail/{id}")));
    running.host.recorded().refuses = true;
    let mut tcp = begin(running.address).await;
    tcp.write_all(b"x\r\n.\r\n").await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("452 4.3.1"));
    assert_eq!((running.host.recorded().kept.len(), running.waiting.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_large_mail_is_filled_in_and_a_cut_one_leaves_nothing() {
    let running = start(&[], TIMING);
    let mail = format!("X: y\r\n\r\n{}", format!("{}\r\n", "z".repeat(98)).repeat(52_429));
    let mut tcp = begin(running.address).await;
    tcp.write_all(&mail.as_bytes()[..3_000_000]).await.unwrap();
    drop(tcp);
    let mut tcp = begin(running.address).await;
    tcp.write_all(format!("{mail}.\r\n").as_bytes()).await.unwrap();
    assert!(hear(&mut tcp, "\r\n").await.contains("250 2.0.0"));
    let recorded = running.host.recorded();
    assert_eq!((recorded.kept.len(), recorded.cursors.len()), (1, 1));
    assert_eq!(recorded.kept.values().next().unwrap(), mail.as_bytes());
}

#[tokio::test]
async fn a_stop_ends_idle_sessions_and_lets_a_mail_end() {
    let running = start(&[("connections_per_client_max", 2.into())], TIMING);
    let mut mail = begin(running.address).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    hear(&mut idle, "\r\n").await;
    let mut third = TcpStream::connect(running.address).await.unwrap();
    assert!(hear(&mut third, "\r\n").await.starts_with("421 4.7.0"));
    running.stop.cancel();
    assert!(hear(&mut idle, "\r\n").await.starts_with("421 4.3.2"));
    drop(idle);
    mail.write_all(b"x\r\n.\r\n").await.unwrap();
    let heard = hear(&mut mail, "421").await;
    assert!(heard.starts_with("250 2.0.0"), "{heard}");
    drop(mail);
    running.tasks.close();
    timeout(Duration::from_secs(20), running.tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_slow_client_is_cut() {
    let running = start(&[], Timing { pause: Duration::from_millis(50), ..TIMING });
    let mut tcp = begin(running.address).await;
    assert!(hear(&mut tcp, "\r\n").await.starts_with("421 4.4.2"));
    assert!(running.host.recorded().kept.is_empty());
}
