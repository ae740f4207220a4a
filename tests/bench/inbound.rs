//! From IRC to the inbox, end to end: the real bridge reads lines as fast as it can, each becomes durable,
//! is posted and settled. Beside bare posts to the same stand-in at the same concurrency.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use deskbridge::clock::now_millis;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};

use crate::{
    disk::Gate,
    plan::{self, CONCURRENCY},
    slices::{Effort, Slice, cpu_time, median, ratio},
    stand_in::{StandIn, UNORDERED},
    wait::{until_posted, until_settled},
};

#[derive(Clone, Copy)]
struct Counts {
    peers: u64,
    /// Messages of one slice: whole turns of all peers.
    lines: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gateway,
    Bare,
}

pub(crate) async fn run(folder: &Path, effort: Effort) {
    let counts = Counts { peers: 10 * effort.scale as u64, lines: 400 * effort.scale as u64 };
    let inbox = Arc::new(StandIn::start());
    let (network, port) = Network::start();
    let (gateway, store) = plan::gateway(&folder.join("inbound"), inbox.address, plan::irc(port)).await;
    // The first line of each makes contact and conversation, which is not what is measured.
    network.speak(counts.peers, 1).await;
    until_posted(&inbox, counts.peers).await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let client = bare_client();
    let mut gate = Gate::new(effort.patience);
    for _ in 0..effort.rounds {
        let mut kinds = [Kind::Gateway, Kind::Bare];
        fastrand::shuffle(&mut kinds);
        for kind in kinds {
            let (_, quiet) = gate.wait(folder);
            let (before, cpu, begun) = (inbox.messages(), cpu_time(), Instant::now());
            match kind {
                Kind::Gateway => network.speak(counts.peers, counts.lines / counts.peers).await,
                Kind::Bare => post_all(&client, inbox.address, counts.lines).await,
            }
            let ended = until_posted(&inbox, before + counts.lines).await;
            let slice = Slice::of_all(counts.lines, ended - begun, cpu_time().saturating_sub(cpu), quiet);
            if kind == Kind::Gateway { &mut ours } else { &mut bare }.push(slice);
            until_settled(&*store).await;
        }
    }
    assert_eq!(inbox.wrong(), 0, "each message comes once and in its conversation's order");
    let expected = counts.peers + 2 * effort.rounds as u64 * counts.lines;
    assert_eq!(inbox.messages(), expected, "each message comes");
    assert_eq!(gateway.sessions_cached() as u64, counts.peers);
    gateway.stop().await;
    print(&ours, &bare);
}

/// A network with one client, the bridge. Says what it is told to.
struct Network {
    /// How many peers say how many lines each.
    orders: mpsc::Sender<(u64, u64)>,
}

impl Network {
    fn start() -> (Self, u16) {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (orders, told) = mpsc::channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, told));
        });
        (Self { orders }, port)
    }

    async fn speak(&self, peers: u64, lines: u64) {
        self.orders.send((peers, lines)).await.expect("the network runs");
    }
}

async fn serve(listener: std::net::TcpListener, mut told: mpsc::Receiver<(u64, u64)>) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let stream = listener.accept().await.expect("the bridge connects").0;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    welcome(&mut reader, &mut writer).await;
    let (mut said, mut line) = (0, String::new());
    loop {
        tokio::select! {
            read = reader.read_line(&mut line) => {
                if read.unwrap_or(0) == 0 {
                    return;
                }
                if let Some(token) = line.strip_prefix("PING ") {
                    writer.write_all(format!(":irc.bench PONG irc.bench {token}").as_bytes()).await.expect("the bridge reads");
                }
                line.clear();
            }
            Some((peers, lines)) = told.recv() => {
                for turn in said + 1..=said + lines {
                    let all: String = (0..peers).map(|peer| privmsg(peer, turn)).collect();
                    writer.write_all(all.as_bytes()).await.expect("the bridge reads");
                }
                said += lines;
            }
        }
    }
}

fn privmsg(peer: u64, turn: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(now_millis()).expect("today");
    format!(
        "@time={time:.3};msgid=m{turn}-{peer};account=peer{peer} :peer{peer}!p@host{peer}.example PRIVMSG help :hello, this is line {turn}\r\n"
    )
}

async fn welcome(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>, writer: &mut tokio::net::tcp::OwnedWriteHalf) {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await.expect("the bridge introduces itself");
        let answer = match line.trim_end() {
            "CAP END" => break,
            text if text.starts_with("CAP LS") => {
                ":irc.bench CAP * LS :server-time account-tag message-tags\r\n".to_owned()
            }
            text => match text.strip_prefix("CAP REQ ") {
                Some(wanted) => format!(":irc.bench CAP * ACK {wanted}\r\n"),
                None => continue,
            },
        };
        writer.write_all(answer.as_bytes()).await.expect("the bridge reads");
    }
    let welcome = ":irc.bench 001 help :Welcome help!help@host\r\n:irc.bench 005 help CASEMAPPING=ascii NICKLEN=30 :are supported\r\n:irc.bench 422 help :no motd\r\n";
    writer.write_all(welcome.as_bytes()).await.expect("the bridge reads");
}

fn bare_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("no settings that could be wrong")
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
}

/// The least that could post the same messages.
async fn post_all(client: &reqwest::Client, inbox: SocketAddr, count: u64) {
    let next = AtomicU64::new(0);
    let mut workers = tokio::task::JoinSet::new();
    let next = Arc::new(next);
    for worker in 0..CONCURRENCY as u64 {
        let (client, next) = (client.clone(), next.clone());
        let url = format!("http://{inbox}/api/v1/accounts/1/conversations/{}/messages", UNORDERED + worker);
        workers.spawn(async move {
            loop {
                let line = next.fetch_add(1, Ordering::Relaxed);
                if line >= count {
                    return;
                }
                let body = json!({
                    "content": format!("hello, this is line {line}"), "message_type": "incoming", "private": false,
                    "source_id": format!("net/m{line}-{worker}/0"),
                });
                let answer = client.post(&url).json(&body).send().await.expect("the stand-in answers");
                let answer: Answer = answer.json().await.expect("an id");
                assert!(answer.id > 0);
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("no worker panics");
    }
}

fn print(ours: &[Slice], bare: &[Slice]) {
    println!("\n| from IRC to the inbox | messages/s | CPU us, stand-in too | quiet |");
    println!("| --- | --- | --- | --- |");
    for (name, slices) in [("gateway, end to end", ours), ("bare posts at 32 connections", bare)] {
        println!(
            "| {name} | {:.0} | {:.1} | {}/{} |",
            median(slices, |slice| slice.rate),
            median(slices, |slice| slice.cpu_micros),
            slices.iter().filter(|slice| slice.quiet).count(),
            slices.len(),
        );
    }
    println!("inbound beside bare posts: {:.2} (goal 0.45)", ratio(ours, bare, |slice| slice.rate));
}
