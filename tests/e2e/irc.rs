//! A person's IRC client, as raw as it gets: exact bytes out, every line in kept, waits with deadlines.
//!
//! Shares no code with the bridge, so that they cannot be wrong together.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::wait::{self, PATIENCE};

/// One line from the server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) tags: String,
    pub(crate) source: String,
    pub(crate) command: String,
    pub(crate) params: Vec<String>,
}

impl Line {
    fn read(raw: &str) -> Self {
        let (tags, rest) = prefixed(raw, '@');
        let (source, mut rest) = prefixed(rest, ':');
        let mut words = Vec::new();
        while !rest.is_empty() {
            if let Some(text) = rest.strip_prefix(':') {
                words.push(text.to_owned());
                break;
            }
            let (word, more) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(word.to_owned());
            rest = more.trim_start_matches(' ');
        }
        let command = if words.is_empty() { String::new() } else { words.remove(0) };
        Self { tags: tags.to_owned(), source: source.to_owned(), command, params: words }
    }

    /// The nick of whoever said it.
    pub(crate) fn nick(&self) -> &str {
        self.source.split('!').next().unwrap_or_default()
    }

    pub(crate) fn last(&self) -> &str {
        self.params.last().map_or("", String::as_str)
    }

    fn is(&self, command: &str) -> bool {
        self.command == command
    }
}

fn prefixed(text: &str, mark: char) -> (&str, &str) {
    match text.strip_prefix(mark) {
        Some(marked) => marked.split_once(' ').unwrap_or((marked, "")),
        None => ("", text),
    }
}

/// What the reading thread and the test share.
#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<(Vec<Line>, bool)>,
    more: Condvar,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, (Vec<Line>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until something is heard, or it is time to look at the clock.
    fn wait<'a>(&'a self, heard: MutexGuard<'a, (Vec<Line>, bool)>) -> MutexGuard<'a, (Vec<Line>, bool)> {
        let waited = self.more.wait_timeout(heard, Duration::from_millis(200));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[derive(Debug)]
pub(crate) struct Person {
    stream: TcpStream,
    heard: Arc<Heard>,
    nick: String,
    /// Where the next wait begins to look.
    seen: usize,
}

impl Person {
    /// Connects and registers.
    pub(crate) fn join(server: SocketAddr, nick: &str) -> Self {
        let mut person = Self::connect(server, nick);
        person.register();
        person
    }

    /// Connects, and says nothing yet.
    pub(crate) fn connect(server: SocketAddr, nick: &str) -> Self {
        let stream = TcpStream::connect(server).expect("the IRC server takes connections");
        stream.set_nodelay(true).expect("an open socket takes options");
        let heard = Arc::new(Heard::default());
        let (reader, writer) = (stream.try_clone(), stream.try_clone());
        let (reader, writer) = (reader.expect("a socket is cloned"), writer.expect("a socket is cloned"));
        let shared = heard.clone();
        thread::spawn(move || listen(reader, writer, &shared));
        Self { stream, heard, nick: nick.to_owned(), seen: 0 }
    }

    fn register(&mut self) {
        let nick = self.nick.clone();
        self.send(&format!("NICK {nick}"));
        self.send(&format!("USER {nick} 0 * :{nick} of the tests"));
        self.until("the end of the log-in", |line| line.is("376") || line.is("422"));
    }

    pub(crate) fn nick(&self) -> &str {
        &self.nick
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    /// Exactly these bytes, which may be anything.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the IRC server reads");
    }

    pub(crate) fn say(&mut self, to: &str, text: &str) {
        self.send(&format!("PRIVMSG {to} :{text}"));
    }

    pub(crate) fn join_channel(&mut self, channel: &str) {
        self.send(&format!("JOIN {channel}"));
        self.until("the channel's names", |line| line.is("366"));
    }

    /// Returns when somebody else is in a channel that we are in.
    pub(crate) fn until_present(&mut self, nick: &str, channel: &str) {
        wait::until(&format!("{nick} in {channel}"), || {
            self.send(&format!("NAMES {channel}"));
            let names = self.until("names", |line| line.is("353"));
            let is_there = names.last().split(' ').any(|name| name.trim_start_matches(['@', '+']) == nick);
            if is_there { Ok(()) } else { Err(names.last().to_owned()) }
        });
    }

    pub(crate) fn rename(&mut self, nick: &str) {
        self.send(&format!("NICK {nick}"));
        self.until("the new nick", |line| line.is("NICK") && line.last() == nick);
        nick.clone_into(&mut self.nick);
    }

    /// Leaves, and returns when the server has closed.
    pub(crate) fn quit(mut self) {
        self.send("QUIT :bye");
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard.lock();
        while !heard.1 {
            assert!(Instant::now() < deadline, "the server did not let {} go", self.nick);
            heard = self.heard.wait(heard);
        }
    }

    /// The next line that fits, after the last one that was waited for.
    pub(crate) fn until(&mut self, what: &str, fits: impl Fn(&Line) -> bool) -> Line {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard.lock();
        loop {
            if let Some(at) = heard.0[self.seen..].iter().position(&fits) {
                self.seen += at + 1;
                return heard.0[self.seen - 1].clone();
            }
            let closed = heard.1;
            assert!(
                !closed && Instant::now() < deadline,
                "{}: no {what} (closed: {closed}); {:#?}",
                self.nick,
                heard.0
            );
            heard = self.heard.wait(heard);
        }
    }

    /// The next line that somebody says to us or to a channel we are in.
    pub(crate) fn hears(&mut self, from: &str, text: &str) -> Line {
        self.until(&format!("`{text}` from {from}"), |line| {
            line.is("PRIVMSG") && line.nick() == from && line.last() == text
        })
    }

    /// Waits until the server has done everything that it was sent before, and so has sent us everything from before.
    pub(crate) fn settle(&mut self) {
        let token = format!("settled-{}", fastrand::u64(..));
        self.send(&format!("PING {token}"));
        self.until("a pong", |line| line.is("PONG") && line.last() == token);
    }

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.heard.lock().0.clone()
    }

    /// Texts of all messages so far by `from`, in order.
    pub(crate) fn texts_from(&self, from: &str) -> Vec<String> {
        let lines = self.lines();
        let said = lines.iter().filter(|line| line.is("PRIVMSG") && line.nick() == from);
        said.map(|line| line.last().to_owned()).collect()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // Ends the reading thread; a server that is gone has closed already.
        drop(self.stream.shutdown(std::net::Shutdown::Both));
    }
}

fn listen(reader: TcpStream, mut writer: TcpStream, heard: &Heard) {
    let mut reader = BufReader::new(reader);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        match reader.read_until(b'\n', &mut raw) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        let text = String::from_utf8_lossy(&raw);
        let line = Line::read(text.trim_end_matches(['\r', '\n']));
        if line.is("PING") && writer.write_all(format!("PONG :{}\r\n", line.last()).as_bytes()).is_err() {
            break;
        }
        heard.lock().0.push(line);
        heard.more.notify_all();
    }
    heard.lock().1 = true;
    heard.more.notify_all();
}
