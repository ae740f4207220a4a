//! Commands to a mail server and its replies, within a limit of time. Knows nothing of what they mean.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::late;
use crate::client::{Reader, Reply, Wire};

const READ_BYTES: usize = 4096;

pub(super) struct Talk {
    wire: Box<dyn Wire>,
    reader: Reader,
    until: Instant,
    limit: Duration,
}

impl Talk {
    pub(super) fn new(wire: Box<dyn Wire>, limit: Duration) -> Self {
        Self { wire, reader: Reader::default(), until: Instant::now() + limit, limit }
    }

    pub(super) fn plain(tcp: TcpStream, limit: Duration) -> Self {
        Self::new(Box::new(tcp), limit)
    }

    /// The bare connection, for TLS. `None` when more was said in clear than was asked.
    pub(super) fn into_wire(self) -> Option<Box<dyn Wire>> {
        self.reader.is_empty().then_some(self.wire)
    }

    /// One command, without its line end, and the reply.
    pub(super) async fn say(&mut self, command: &str) -> Result<Reply, String> {
        self.write(command).await?;
        self.hear().await
    }

    pub(super) async fn hear(&mut self) -> Result<Reply, String> {
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some(reply) = self.reader.next().map_err(|bad| bad.to_string())? {
                return Ok(reply);
            }
            let count = match timeout_at(self.until, self.wire.read(&mut buffer)).await {
                Ok(Ok(0)) => return Err("the connection was closed".to_owned()),
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return Err(format!("the connection broke off: {error}")),
                Err(_) => return Err(late(self.limit)),
            };
            self.reader.push(&buffer[..count]);
        }
    }

    /// QUIT, and a moment for the answer.
    pub(super) async fn leave(mut self, limit: Duration) {
        self.until = Instant::now() + limit;
        if self.say("QUIT").await.is_err() {
            tracing::debug!("the mail server did not say goodbye");
        }
    }

    async fn write(&mut self, command: &str) -> Result<(), String> {
        let line = format!("{command}\r\n");
        let writing = async {
            self.wire.write_all(line.as_bytes()).await?;
            self.wire.flush().await
        };
        match timeout_at(self.until, writing).await {
            Ok(written) => written.map_err(|error| format!("the connection broke off: {error}")),
            Err(_) => Err(late(self.limit)),
        }
    }
}
