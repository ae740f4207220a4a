//! Lines to and from the server, within a limit of time. Knows what PING wants, and nothing else of what lines mean.

use std::{collections::VecDeque, fmt, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    driver::dial::Socket,
    message::{Command, Decoded, Fallback, Line, LineBuffer},
    settings::Settings,
};

const READ_BYTES: usize = 4096;
const LINE_BYTES: usize = 512;

pub(super) struct Talk {
    socket: Socket,
    lines: LineBuffer,
    /// Read and not yet handed out.
    waiting: VecDeque<String>,
    fallback: Fallback,
    until: Instant,
    limit: Duration,
}

/// Why no line came, or none could be written.
#[derive(Debug)]
pub(super) enum Lost {
    Closed,
    Broke(String),
    Late(Duration),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Broke(why) => write!(f, "the connection broke off: {why}"),
            Self::Late(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
        }
    }
}

impl Talk {
    pub(super) fn new(socket: Socket, settings: &Settings, limit: Duration) -> Self {
        let fallback = Fallback::from_label(&settings.fallback_encoding).unwrap_or_default();
        let until = Instant::now() + limit;
        Self { socket, lines: LineBuffer::default(), waiting: VecDeque::new(), fallback, until, limit }
    }

    /// From now on there is so much time.
    pub(super) fn allow(&mut self, limit: Duration) {
        self.until = Instant::now() + limit;
        self.limit = limit;
    }

    pub(super) async fn say(&mut self, command: &Command) -> Result<(), Lost> {
        let line = command.encode(LINE_BYTES).map_err(|error| Lost::Broke(error.to_string()))?;
        let writing = async {
            self.socket.write_all(&line).await?;
            self.socket.flush().await
        };
        match timeout_at(self.until, writing).await {
            Ok(written) => written.map_err(|error| Lost::Broke(error.to_string())),
            Err(_) => Err(Lost::Late(self.limit)),
        }
    }

    /// The next line that wants more than a PONG. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<String, Lost> {
        loop {
            while let Some(text) = self.waiting.pop_front() {
                match Line::parse(&text) {
                    Some(line) if line.is("PING") => {
                        let pong = Command::new("PONG").last(line.last());
                        self.say(&pong).await?;
                    }
                    Some(_) => return Ok(text),
                    None => {}
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Lost> {
        let mut buffer = [0; READ_BYTES];
        let count = match timeout_at(self.until, self.socket.read(&mut buffer)).await {
            Ok(Ok(0)) => return Err(Lost::Closed),
            Ok(Ok(count)) => count,
            Ok(Err(error)) => return Err(Lost::Broke(error.to_string())),
            Err(_) => return Err(Lost::Late(self.limit)),
        };
        let mut bytes = &buffer[..count];
        while let Some(line) = self.lines.next_line(&mut bytes) {
            self.waiting.push_back(Decoded::new(&line, self.fallback).text.into_owned());
        }
        Ok(())
    }

    /// QUIT, and a moment for the server to close.
    pub(super) async fn leave(mut self, limit: Duration) {
        self.allow(limit);
        if self.say(&Command::new("QUIT").last("")).await.is_err() {
            return;
        }
        let mut buffer = [0; READ_BYTES];
        let closing = async { while self.socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
        if timeout(limit, closing).await.is_err() {
            tracing::debug!("the server did not close the connection in time");
        }
    }
}
