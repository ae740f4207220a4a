//! The stand-in mail relay over loopback, spoken to line by line; its small client; and its page's calls.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking")]

mod dialogue;
mod faults;
mod page;
mod proof;

use std::net::SocketAddr;
use std::time::Duration;

use deskbridge::sandbox::mail::{OutgoingMail, Post, PostSettings};
use deskbridge::sandbox::{Sandbox, SandboxSettings};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// No condition here takes a fraction of this.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long nothing may happen before a test believes that nothing will.
const QUIET: Duration = Duration::from_millis(150);

/// A sandbox with a relay.
struct Place {
    sandbox: Sandbox,
    post: Post,
}

impl Place {
    async fn start(post: PostSettings) -> Self {
        let settings = SandboxSettings { post: Some(post), ..SandboxSettings::default() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let post = sandbox.post().unwrap();
        Self { sandbox, post }
    }

    async fn fresh() -> Self {
        Self::start(PostSettings::default()).await
    }

    async fn talk(&self) -> Talk<TcpStream> {
        let mut talk = Talk::connect(self.post.address()).await;
        assert!(talk.reply().await.unwrap().starts_with("220 "));
        talk
    }

    /// Greeted, with a sender and a recipient.
    async fn talk_up_to_data(&self) -> Talk<TcpStream> {
        let mut talk = self.talk().await;
        for line in ["EHLO mail.test", "MAIL FROM:<desk@acme.test>", "RCPT TO:<kim@example.org>"] {
            assert_eq!(talk.code(line).await, 250, "{line}");
        }
        talk
    }

    /// Hands a small mail to the relay by the sandbox's own client.
    async fn hand_over(&self, raw: &str) -> Vec<u16> {
        let mail = OutgoingMail::new("desk@acme.test", "kim@example.org", raw);
        self.post.send(self.post.address(), &mail).await.unwrap().codes()
    }
}

/// A client that writes what it is told to.
struct Talk<S> {
    stream: BufReader<S>,
}

impl Talk<TcpStream> {
    async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next answer with its line ends; None when the connection has ended.
    async fn reply(&mut self) -> Option<String> {
        let mut whole = String::new();
        loop {
            let start = whole.len();
            let read = tokio::time::timeout(DEADLINE, self.stream.read_line(&mut whole)).await.expect("an answer");
            if read.unwrap_or(0) == 0 {
                return None;
            }
            if whole.as_bytes()[start..].get(3) == Some(&b' ') {
                return Some(whole);
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.write(&format!("{line}\r\n")).await;
        self.reply().await.unwrap_or_else(|| panic!("no answer to {line}"))
    }

    async fn code(&mut self, line: &str) -> u16 {
        self.say(line).await[..3].parse().unwrap()
    }

    /// Sends a mail's data with its end, and returns the answer.
    async fn content(&mut self, data: &str) -> Option<String> {
        assert_eq!(self.code("DATA").await, 354);
        self.write(data).await;
        self.reply().await
    }

    async fn is_closed(&mut self) -> bool {
        self.reply().await.is_none()
    }
}
