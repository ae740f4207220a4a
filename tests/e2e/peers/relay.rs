//! A relay that answers the end of each mail as a test wants it, and keeps what came. For what smtp-sink does only all
//! the time: put off twice and then take, or take and hang up before the answer.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::postfix::Letter;
use crate::{process::free_port, wait::PATIENCE};

/// What becomes of a mail whose last line has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Take,
    /// These words, which begin with a code; the mail is not kept.
    Say(&'static str),
    /// It is kept, and the connection ends without a word.
    KeepAndHangUp,
}

/// A mail that came to its last line.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) letter: Letter,
    /// How it was answered.
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    arrived: Mutex<Vec<Arrived>>,
    more: Condvar,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Takes everything once the script is over.
    pub(crate) fn start(script: &[Answer]) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let shared = Arc::new(Shared { script: Mutex::new(script.iter().cloned().collect()), ..Shared::default() });
        let theirs = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = theirs.clone();
                // A client may hang up at any time.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, shared }
    }

    /// Every mail that came to its last line, however it was answered.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        locked(&self.shared.arrived).clone()
    }

    /// Those that were taken, or kept without a word.
    pub(crate) fn kept(&self) -> Vec<Arrived> {
        self.arrived().into_iter().filter(|mail| !matches!(mail.answer, Answer::Say(_))).collect()
    }

    /// Returns once so many have come.
    pub(crate) fn until(&self, count: usize) -> Vec<Arrived> {
        let deadline = Instant::now() + PATIENCE * 2;
        let mut arrived = locked(&self.shared.arrived);
        while arrived.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} mails came: {arrived:?}", arrived.len());
            let waited = self.shared.more.wait_timeout(arrived, Duration::from_millis(200));
            arrived = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        arrived.clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    stream.write_all(b"220 relay.test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let answer = match line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => {
                "250-relay.test\r\n250-8BITMIME\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING"
            }
            "MAIL" => {
                (sender, recipients) = (path(line), Vec::new());
                "250 2.1.0 ok"
            }
            "RCPT" => {
                recipients.push(path(line));
                "250 2.1.5 ok"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let letter = Letter::new(data(&mut reader)?);
                let answer = locked(&shared.script).pop_front().unwrap_or(Answer::Take);
                let mail =
                    Arrived { sender: sender.clone(), recipients: recipients.clone(), letter, answer: answer.clone() };
                locked(&shared.arrived).push(mail);
                shared.more.notify_all();
                match answer {
                    Answer::Take => "250 2.0.0 taken",
                    Answer::Say(words) => words,
                    Answer::KeepAndHangUp => return stream.shutdown(std::net::Shutdown::Both),
                }
            }
            "RSET" | "NOOP" | "HELO" => "250 2.0.0 ok",
            "QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n"),
            _ => "500 5.5.2 what",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

fn path(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(inside, _)| inside.to_owned())
}

/// Up to the line with the dot, without the dots that were put before others.
fn data(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut mail, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
