//! Between the gateway and a server that it calls by HTTP: cuts one request, or its answer, after so many bytes. Every
//! message that it is told of is cut once, and passes afterwards.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::process::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Answer,
}

impl Side {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Request => "a request",
            Self::Answer => "an answer",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Scissors {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    /// Words of the first line of what is meant.
    method: &'static str,
    path: &'static str,
    side: Side,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum Aim {
    /// After so many bytes.
    Cut(usize),
    Pass,
}

#[derive(Debug, Default)]
struct State {
    /// After how many bytes, by a text that the request holds.
    cuts: HashMap<String, usize>,
    struck: usize,
    /// Bytes of the longest that was meant and not cut.
    longest: usize,
}

impl Scissors {
    /// Before the server on this port of 127.0.0.1.
    pub(crate) fn before(target: u16, method: &'static str, path: &'static str, side: Side) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared { target, method, path, side, state: Mutex::default() });
        let theirs = shared.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let shared = theirs.clone();
                // A connection ends in whatever way it likes.
                thread::spawn(move || drop(carry(&near, &shared)));
            }
        });
        Self { port, shared }
    }

    /// Cuts what holds this text after so many bytes, once.
    pub(crate) fn cut(&self, text: String, bytes: usize) {
        self.shared.lock().cuts.insert(text, bytes);
    }

    pub(crate) fn struck(&self) -> usize {
        self.shared.lock().struck
    }

    /// How many bytes the longest had that passed.
    pub(crate) fn longest(&self) -> usize {
        self.shared.lock().longest
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do to this request or to its answer, if it is one of those that are meant.
    fn aim(&self, request: &[u8]) -> Option<Aim> {
        let text = String::from_utf8_lossy(request);
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with(self.method) || !first.contains(self.path) {
            return None;
        }
        let mut state = self.lock();
        // Whole texts only: one may begin as another does.
        let named = |name: &&String| {
            text.match_indices(name.as_str())
                .any(|(at, name)| !text[at + name.len()..].starts_with(|letter: char| letter.is_ascii_digit()))
        };
        let name = state.cuts.keys().find(named).cloned();
        let cut = name.and_then(|name| state.cuts.remove(&name));
        if cut.is_none() && self.side == Side::Request {
            state.longest = state.longest.max(request.len());
        }
        Some(cut.map_or(Aim::Pass, Aim::Cut))
    }
}

/// One request after another, each with its answer.
fn carry(near: &TcpStream, shared: &Shared) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", shared.target))?;
    let (mut asks, mut answers) = (BufReader::new(near.try_clone()?), BufReader::new(far.try_clone()?));
    let (mut to_near, mut to_far) = (near.try_clone()?, far.try_clone()?);
    let ended = loop {
        let Ok(request) = message(&mut asks) else { break Ok(()) };
        let aim = shared.aim(&request);
        if let (Side::Request, Some(Aim::Cut(after))) = (shared.side, aim) {
            shared.lock().struck += 1;
            break to_far.write_all(begin(&request, after));
        }
        to_far.write_all(&request)?;
        let Ok(answer) = message(&mut answers) else { break Ok(()) };
        if let (Side::Answer, Some(Aim::Cut(after))) = (shared.side, aim) {
            shared.lock().struck += 1;
            break to_near.write_all(begin(&answer, after));
        }
        if shared.side == Side::Answer && aim.is_some() {
            let mut state = shared.lock();
            state.longest = state.longest.max(answer.len());
        }
        to_near.write_all(&answer)?;
    };
    // Both know at once that it is over; one of them may have gone before.
    drop(far.shutdown(Shutdown::Both));
    drop(near.shutdown(Shutdown::Both));
    ended
}

/// Lengths differ by a few bytes, such as the digits of a number, so the last cuts may lie behind the end of a short one:
/// those come after all of it.
fn begin(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[..length.min(bytes.len())]
}

/// Head and body of one request or answer, as they came.
fn message(from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let at = bytes.len();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&bytes[at..]).to_ascii_lowercase();
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
    }
    if !chunked {
        let at = bytes.len();
        bytes.resize(at + length, 0);
        from.read_exact(&mut bytes[at..])?;
        return Ok(bytes);
    }
    loop {
        let at = bytes.len();
        from.read_until(b'\n', &mut bytes)?;
        let size = String::from_utf8_lossy(&bytes[at..]).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let at = bytes.len();
        bytes.resize(at + size + 2, 0);
        from.read_exact(&mut bytes[at..])?;
        if size == 0 {
            return Ok(bytes);
        }
    }
}
