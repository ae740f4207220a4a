//! A relay over loopback that plays a script: as usual, but for the moments at which it is told to be odd.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// What the relay does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Say(&'static str),
    Close,
    Hang,
}

/// A relay that answers as usual, but at certain words.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) offers: Vec<&'static str>,
    /// At lines that begin like this; `220` is the greeting, `.` the final dot. Only in the first so many sessions.
    pub(crate) odd: Vec<(&'static str, Do)>,
    pub(crate) odd_sessions: Option<usize>,
    /// Closes once so many octets of the data came.
    pub(crate) cut_data_at: Option<usize>,
    /// Closes behind each mail, after it was accepted.
    pub(crate) closes_behind: bool,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) tls_at_once: bool,
}

#[derive(Default)]
pub(crate) struct Seen {
    sessions: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) open_most: AtomicUsize,
    lines: Mutex<Vec<String>>,
    pub(crate) mails: Mutex<Vec<Vec<u8>>>,
}

impl Seen {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
    pub(crate) fn said(&self, word: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(word)).count()
    }
    pub(crate) fn mails(&self) -> usize {
        self.mails.lock().unwrap().len()
    }
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::SeqCst)
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

struct Session {
    wire: Box<dyn Wire>,
    script: Script,
    seen: Arc<Seen>,
    waiting: Vec<u8>,
    odd: bool,
}

impl Session {
    async fn run(mut self) -> Option<()> {
        self.answer("220", "220 relay.test").await?;
        loop {
            let line = self.line().await?;
            self.seen.lines.lock().unwrap().push(line.clone());
            let word = line.split([' ', ':']).next()?.to_owned();
            match word.as_str() {
                "EHLO" => {
                    let mut reply = String::from("250-relay.test\r\n");
                    self.script.offers.iter().for_each(|offer| reply.extend(["250-", offer, "\r\n"]));
                    self.answer(&line, &(reply + "250 HELP")).await?;
                }
                "STARTTLS" => {
                    self.answer(&line, "220 go").await?;
                    let acceptor = self.script.tls.clone()?;
                    self.wire = Box::new(acceptor.accept(self.wire).await.ok()?);
                    self.script.offers.retain(|offer| *offer != "STARTTLS");
                }
                "AUTH" => self.answer(&line, "235 ok").await?,
                "DATA" => {
                    self.answer(&line, "354 go").await?;
                    let mail = self.data().await?;
                    self.answer(".", "250 2.0.0 queued as 1").await?;
                    self.seen.mails.lock().unwrap().push(mail);
                    if self.script.closes_behind {
                        return None;
                    }
                }
                "QUIT" => return None,
                _ => self.answer(&line, "250 ok").await?,
            }
        }
    }

    async fn answer(&mut self, line: &str, usual: &str) -> Option<()> {
        let odd = self.script.odd.iter().find(|(word, _)| self.odd && line.starts_with(word)).map(|(_, it)| *it);
        let reply = match odd {
            None => usual,
            Some(Do::Say(reply)) => reply,
            Some(Do::Close) => return None,
            Some(Do::Hang) => std::future::pending().await,
        };
        self.wire.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
        self.wire.flush().await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.waiting.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.waiting.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Option<()> {
        let mut buffer = [0; 4096];
        let count = self.wire.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        self.waiting.extend_from_slice(&buffer[..count]);
        Some(())
    }

    /// Up to the final dot, dots still doubled.
    async fn data(&mut self) -> Option<Vec<u8>> {
        loop {
            if self.odd && self.script.cut_data_at.is_some_and(|at| self.waiting.len() >= at) {
                return None;
            }
            if self.waiting.starts_with(b".\r\n") {
                self.waiting.drain(..3);
                return Some(Vec::new());
            }
            if let Some(end) = self.waiting.windows(5).position(|five| five == b"\r\n.\r\n") {
                let mail = self.waiting.drain(..end + 5).collect::<Vec<u8>>();
                return Some(mail[..end + 2].to_vec());
            }
            self.read().await?;
        }
    }
}

/// Runs `work` with a relay that plays this script.
pub(crate) async fn with_relay<F: Future>(script: Script, work: impl FnOnce(u16, Arc<Seen>) -> F) -> F::Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let serve = async {
        let mut sessions = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            sessions.spawn(serve_one(socket, script.clone(), seen.clone()));
        }
    };
    let work = work(port, seen.clone());
    tokio::select! {
        outcome = work => outcome,
        () = serve => unreachable!("it serves for ever"),
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("the client hangs"),
    }
}

async fn serve_one(socket: TcpStream, script: Script, seen: Arc<Seen>) {
    let number = seen.sessions.fetch_add(1, Ordering::SeqCst);
    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
    seen.open_most.fetch_max(open, Ordering::SeqCst);
    let odd = script.odd_sessions.is_none_or(|most| number < most);
    let wire: Option<Box<dyn Wire>> = match script.tls.clone().filter(|_| script.tls_at_once) {
        Some(acceptor) => acceptor.accept(socket).await.ok().map(|wire| Box::new(wire) as Box<dyn Wire>),
        None => Some(Box::new(socket)),
    };
    if let Some(wire) = wire {
        let session = Session { wire, script, seen: seen.clone(), waiting: Vec::new(), odd };
        let _ended = session.run().await;
    }
    seen.open.fetch_sub(1, Ordering::SeqCst);
}
