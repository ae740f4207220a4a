//! A person with a plain socket, and the bridge under test beside them.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bridge_api::{
    Bridge, BridgeName, BridgeState, CancellationToken, Inbound, Kind, Outbound, Reply, Report, ThreadId,
    kit::RecordingHost,
};
use bridge_irc::Irc;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Person {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Person {
    pub(crate) async fn connect(port: u16, nick: &str) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the server listens");
        let (reader, writer) = socket.into_split();
        let mut person = Self { reader: BufReader::new(reader), writer };
        person.write(&format!("NICK {nick}\r\nUSER {nick} 0 * :{nick} of the test")).await;
        person.read_until(|line| line.contains(" 376 ") || line.contains(" 422 ")).await;
        person
    }

    pub(crate) async fn write(&mut self, line: &str) {
        self.writer.write_all(format!("{line}\r\n").as_bytes()).await.expect("the server reads");
    }

    /// The first line that fits; PING is answered meanwhile.
    pub(crate) async fn read_until(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let reading = async {
            loop {
                let mut line = String::new();
                let read = self.reader.read_line(&mut line).await.expect("the server writes text");
                assert!(read > 0, "the server closed the person's connection");
                if let Some(token) = line.strip_prefix("PING ") {
                    let pong = format!("PONG {token}");
                    self.write(pong.trim_end()).await;
                }
                if fits(&line) {
                    return line.trim_end().to_owned();
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("the line comes in time")
    }

    /// All that came before the answer to a PING.
    pub(crate) async fn read_all(&mut self) -> Vec<String> {
        self.write("PING :all-read").await;
        let mut lines = Vec::new();
        loop {
            let line = self.read_until(|_| true).await;
            if line.contains("PONG") && line.contains("all-read") {
                return lines;
            }
            lines.push(line);
        }
    }
}

pub(crate) struct Running {
    pub(crate) bridge: Arc<dyn Bridge>,
    pub(crate) host: Arc<RecordingHost>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(settings: serde_json::Value, host: Arc<RecordingHost>) -> Self {
        let settings = serde_json::from_value(settings).expect("good settings");
        let bridge = Irc::build(BridgeName::from("net"), settings).expect("usable settings");
        let stop = CancellationToken::new();
        let (running, token, handle) = (bridge.clone(), stop.clone(), host.host("net"));
        #[expect(clippy::disallowed_methods, reason = "a test is its own tracker")]
        let task = tokio::spawn(async move { running.run(handle, token).await.expect("the bridge goes on by itself") });
        Self { bridge, host, stop, task }
    }

    pub(crate) async fn up(&self) {
        let up = self.host.wait_for(|seen| matches!(seen.states.last(), Some(BridgeState::Up)).then_some(()));
        let in_time = timeout(PATIENCE, up).await.is_ok();
        assert!(in_time, "not up in time: {:?}", self.host.recorded().states);
    }

    pub(crate) async fn messages(&self, count: usize) -> Vec<Inbound> {
        let found = self.host.wait_for(|seen| {
            let messages = seen.events.iter().filter(|event| matches!(event.report, Report::Message(_)));
            let messages: Vec<_> = messages.cloned().collect();
            (messages.len() >= count).then_some(messages)
        });
        timeout(PATIENCE, found).await.expect("the messages come in time")
    }

    pub(crate) fn outbound(&self, key: &str, thread: &ThreadId, text: &str) -> Outbound {
        let reply = Reply { text: text.to_owned(), agent: None, attachments: Vec::new(), reply_to: None };
        let part = self.bridge.parts(thread, reply).into_iter().next().expect("one part");
        Outbound {
            key: key.into(),
            thread: thread.clone(),
            part,
            agent: None,
            earlier_attempts: 0,
            attempted_millis: None,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("the bridge stops in time").expect("no panic");
    }
}

pub(crate) fn text_of(event: &Inbound) -> &str {
    match &event.report {
        Report::Message(message) => &message.text,
        Report::Receipt { .. } | Report::Withdrawn { .. } | Report::Note { .. } | _ => {
            panic!("not a message: {event:?}")
        }
    }
}
