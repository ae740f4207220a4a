//! The driver against a scripted server on loopback: what only sockets and time can show.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bridge_api::{
    Bridge, BridgeName, BridgeState, CancellationToken, FaultKind, Kind, Outbound, Part, Report, kit::RecordingHost,
};
use bridge_irc::Irc;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection of the bridge, seen from the server.
struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let accepted = timeout(PATIENCE, listener.accept()).await.expect("the bridge connects in time");
        Self { stream: BufReader::new(accepted.expect("a connection").0) }
    }

    async fn write(&mut self, lines: &str) {
        let lines: String = lines.lines().flat_map(|line| [line.trim_start(), "\r\n"]).collect();
        self.stream.write_all(lines.as_bytes()).await.expect("the bridge reads");
    }

    async fn read_until(&mut self, part: &str) -> String {
        let reading = async {
            loop {
                let mut line = String::new();
                let read = self.stream.read_line(&mut line).await.expect("text");
                assert!(read > 0, "the bridge closed before {part:?}");
                if line.contains(part) {
                    return line.trim_end().to_owned();
                }
            }
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {part:?} in time"))
    }

    /// With accounts on the lines, so that no WHOIS is needed.
    async fn welcome(&mut self) {
        self.read_until("USER").await;
        self.write(":irc.test CAP * LS :account-tag message-tags").await;
        self.read_until("CAP REQ").await;
        self.write(":irc.test CAP * ACK :account-tag message-tags").await;
        self.read_until("CAP END").await;
        self.write(
            ":irc.test 001 help :Welcome help!help@host
             :irc.test 005 help CASEMAPPING=ascii NICKLEN=30 :are supported
             :irc.test 422 help :no motd",
        )
        .await;
    }
}

struct Running {
    bridge: Arc<dyn Bridge>,
    host: Arc<RecordingHost>,
    listener: TcpListener,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(more: &Value) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let mut table = json!({ "server": "127.0.0.1", "port": port, "tls": false, "nick": "help",
                                "pace": { "burst": 100, "per_second": 100.0 } });
        for (key, value) in more.as_object().expect("a table") {
            table[key] = value.clone();
        }
        let settings = serde_json::from_value(table).expect("good settings");
        let bridge = Irc::build(BridgeName::from("net"), settings).expect("usable settings");
        let (host, stop) = (RecordingHost::new(), CancellationToken::new());
        let (running, token, handle) = (bridge.clone(), stop.clone(), host.host("net"));
        #[expect(clippy::disallowed_methods, reason = "a test is its own tracker")]
        let task = tokio::spawn(async move { running.run(handle, token).await.expect("the bridge goes on by itself") });
        Self { bridge, host, listener, stop, task }
    }

    async fn messages(&self, count: usize) {
        let enough = self.host.wait_for(|seen| (seen.events.len() >= count).then_some(()));
        let in_time = timeout(PATIENCE, enough).await.is_ok();
        assert!(in_time, "{} of {count} messages", self.host.recorded().events.len());
    }

    async fn state(&self, fits: impl Fn(&BridgeState) -> bool) {
        let found = self.host.wait_for(|seen| seen.states.last().is_some_and(&fits).then_some(()));
        timeout(PATIENCE, found).await.expect("the state comes in time");
    }
}

fn outbound(key: &str) -> Outbound {
    let part = Part::Text { text: "hello".to_owned(), reply_to: None };
    Outbound {
        key: key.into(),
        thread: "a:anna".into(),
        part,
        agent: None,
        earlier_attempts: 0,
        attempted_millis: None,
    }
}

#[tokio::test]
async fn what_the_host_refuses_is_kept_and_reported_again_the_same_while_ping_is_answered() {
    let running = Running::start(&json!({})).await;
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    running.state(|state| *state == BridgeState::Up).await;
    running.host.recorded().refuses = true;
    for n in 0..20 {
        server.write(&format!("@account=anna :anna!a@h PRIVMSG help :line {n}")).await;
    }
    server.write("PING :still-there").await;
    server.read_until("PONG :still-there").await;
    let refused = running.host.wait_for(|_| Some(())).await;
    assert_eq!(refused, ());
    loop {
        if running.host.recorded().refused >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.host.recorded().refuses = false;
    running.messages(20).await;
    let texts: Vec<String> = running.host.recorded().events.iter().map(|event| text(&event.report)).collect();
    assert_eq!(texts, (0..20).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert!(running.host.recorded().cursors.contains_key("peer/a:anna"));
}

fn text(report: &Report) -> String {
    match report {
        Report::Message(message) => message.text.clone(),
        Report::Receipt { .. } | Report::Withdrawn { .. } | Report::Note { .. } | _ => panic!("{report:?}"),
    }
}

#[tokio::test]
async fn after_a_cut_connection_the_written_is_unknown_and_the_bridge_comes_back() {
    let running = Running::start(&json!({})).await;
    assert!(matches!(running.bridge.send(&outbound("k/0/0")).await.unwrap_err().kind, FaultKind::Down { .. }));
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    server.write("@account=anna :anna!a@h PRIVMSG help :hi").await;
    running.messages(1).await;
    let out = outbound("k/1/0");
    let (sent, ()) = tokio::join!(running.bridge.send(&out), async {
        server.read_until("WHOIS anna anna").await;
        server
            .write(
                ":irc.test 311 help anna a h * :Anna\n:irc.test 330 help anna anna :is logged in as
                 :irc.test 317 help anna 1 1700000000 :x\n:irc.test 318 help anna :End",
            )
            .await;
        server.read_until("PRIVMSG anna :hello").await;
        drop(server);
    });
    assert_eq!(sent.unwrap_err().kind, FaultKind::Unknown);
    running.state(|state| matches!(state, BridgeState::Down { .. })).await;
    assert!(matches!(running.bridge.send(&outbound("k/2/0")).await.unwrap_err().kind, FaultKind::Down { .. }));
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    running.state(|state| *state == BridgeState::Up).await;
    assert_eq!(running.bridge.probe(&out).await.unwrap_err().kind, FaultKind::Unknown, "the old nick is ours again");
    assert_eq!(running.bridge.probe(&outbound("k/2/0")).await.unwrap(), None, "surely not written");
}

#[tokio::test]
async fn a_stop_says_goodbye_and_ends_soon_even_when_the_server_does_not_close() {
    let running = Running::start(&json!({})).await;
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    running.state(|state| *state == BridgeState::Up).await;
    running.stop.cancel();
    server.read_until("QUIT").await;
    timeout(PATIENCE, running.task).await.expect("the bridge stops in time").expect("no panic");
    assert!(matches!(running.bridge.send(&outbound("k/1/0")).await.unwrap_err().kind, FaultKind::Down { .. }));
}

#[tokio::test]
async fn bytes_that_are_no_irc_do_not_end_the_connection() {
    let running = Running::start(&json!({})).await;
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    let mut junk = vec![b'x'; 100_000];
    junk.extend_from_slice(b"\r\n:a!b@c PRIVMSG help \r\n\0\0\r\n\xff\xfe\r\n@ \r\n: \r\n");
    junk.extend_from_slice(b"@account=anna :anna!a@h PRIVMSG help :caf\xe9\r\n");
    server.stream.write_all(&junk).await.expect("the bridge reads");
    running.messages(1).await;
    assert_eq!(text(&running.host.recorded().events[0].report), "café");
    server.write("PING :alive").await;
    server.read_until("PONG :alive").await;
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_hammered() {
    let running = Running::start(&json!({})).await;
    for _ in 0..2 {
        let mut server = Peer::accept(&running.listener).await;
        let mut first = [0; 3];
        server.stream.read_exact(&mut first).await.expect("it speaks first");
    }
    let third = timeout(Duration::from_millis(1500), running.listener.accept()).await;
    assert!(third.is_err(), "the next try waits at least two seconds");
}

#[tokio::test]
async fn many_lines_are_taken_in_batches_and_in_order() {
    const LINES: usize = 50_000;
    let running = Running::start(&json!({})).await;
    let mut server = Peer::accept(&running.listener).await;
    server.welcome().await;
    running.state(|state| *state == BridgeState::Up).await;
    let lines: String = (0..LINES)
        .map(|n| format!("@account=p{};msgid=m{n} :p{}!a@h PRIVMSG help :message number {n}\r\n", n % 100, n % 100))
        .fold(String::new(), |all, line| all + &line);
    let started = std::time::Instant::now();
    let (_, writer) = tokio::io::split(server.stream);
    let mut writer = writer;
    let writing = async { writer.write_all(lines.as_bytes()).await.expect("the bridge reads") };
    let reading = running.host.wait_for(|seen| (seen.events.len() >= LINES).then_some(()));
    let ((), read) = tokio::join!(writing, timeout(Duration::from_mins(1), reading));
    read.expect("all lines in time");
    println!("{LINES} lines in {:?}", started.elapsed());
    let recorded = running.host.recorded();
    assert!(recorded.events.iter().enumerate().all(|(n, event)| event.event.as_str() == format!("m{n}")));
}
