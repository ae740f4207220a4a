//! A far end for tests that answers exactly as told, byte by byte: late, cut, twice, or not at all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// What the far end does with one request, once it has read the whole of it.
pub(super) enum Step {
    /// The head without its first line's version, and the body: a length is added, the connection closed after it.
    Answer { head: String, body: Vec<u8> },
    /// Says that this much follows, sends less, and closes.
    Cut { head: String, body: Vec<u8> },
    /// Exactly these bytes, then the end.
    Raw(Vec<u8>),
    /// Closes without a word.
    HangUp,
    /// Never answers.
    Silence,
    /// Answers as the health page does once `Notify` fires.
    Hold(Arc<Notify>),
}

impl Step {
    pub(super) fn json(status: u16, body: &str) -> Self {
        Self::Answer { head: format!("{status} X\r\nContent-Type: application/json"), body: body.into() }
    }
    pub(super) fn page(status: u16, body: &str) -> Self {
        Self::Answer { head: format!("{status} X\r\nContent-Type: text/html"), body: body.into() }
    }
    pub(super) fn redirect(location: &str) -> Self {
        Self::Answer { head: format!("302 Found\r\nLocation: {location}"), body: Vec::new() }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    seen: Vec<Seen>,
    open: usize,
    open_max: usize,
}

/// The far end. Its tasks end when it is dropped.
pub(super) struct Scripted {
    pub(super) origin: String,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Plays `steps`, one a request; hangs up after the last.
    pub(super) async fn play(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script { steps: steps.into_iter().collect(), ..Script::default() }));
        let mut tasks = JoinSet::new();
        let playing = Arc::clone(&script);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&playing)));
            }
        });
        Self { origin, script, _tasks: tasks }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    /// Requests being answered now, and the most there ever were.
    pub(super) fn open(&self) -> (usize, usize) {
        let script = self.script.lock().unwrap();
        (script.open, script.open_max)
    }
}

async fn serve(stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut stream = BufReader::new(stream);
    let Some(seen) = read(&mut stream).await else { return };
    let step = {
        let mut script = script.lock().unwrap();
        script.seen.push(seen);
        script.open += 1;
        script.open_max = script.open_max.max(script.open);
        script.steps.pop_front().unwrap_or(Step::HangUp)
    };
    let bytes = match step {
        Step::Answer { head, body } => answer(&head, &body, body.len()),
        Step::Cut { head, body } => answer(&head, &body, body.len() + 1),
        Step::Raw(bytes) => bytes,
        Step::HangUp => Vec::new(),
        Step::Silence => std::future::pending().await,
        Step::Hold(until) => {
            until.notified().await;
            answer("200 OK\r\nContent-Type: application/json", br#"{"status":"woot"}"#, 17)
        }
    };
    script.lock().unwrap().open -= 1;
    // The client may have turned away already, which is its right.
    stream.write_all(&bytes).await.ok();
    stream.shutdown().await.ok();
}

fn answer(head: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok().filter(|&read| read > 0)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { line: line.trim_end().to_owned(), headers, body: String::from_utf8_lossy(&body).into_owned() })
}
