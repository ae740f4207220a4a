//! The bytes of an SMTP connection, plain or under TLS: lines that end in CRLF and nothing else, data that ends in
//! CRLF.CRLF and nothing else. Never keeps more of a line or a mail than it was told to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longest line with its CRLF; RFC 5321 asks for 512, and extensions for more.
pub(super) const LINE_BYTES_MAX: usize = 4_096;
const READ_BYTES: usize = 16 * 1024;

/// Why there is nothing more to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the other side closed the connection")]
    Closed,
    #[error("a line has more than {LINE_BYTES_MAX} bytes")]
    LongLine,
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Broken(#[from] io::Error),
}

/// What the data was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// As sent, without the dots that were doubled and without the final one.
    Whole(Vec<u8>),
    /// More than was allowed; read to its end and thrown away.
    TooLarge,
    /// So many bytes were read, and the rest is not wanted.
    Left,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Wire<S> {
    stream: S,
    /// Bytes that were read and not yet used begin at `used`.
    buffer: Vec<u8>,
    used: usize,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Each read and write may take as long as `patience`.
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, buffer: Vec::new(), used: 0, patience }
    }

    /// Whether more has come than was asked for so far.
    pub(super) fn has_more(&self) -> bool {
        self.used < self.buffer.len()
    }

    /// The next line without its CRLF.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, End> {
        let mut seen = self.used;
        loop {
            if let Some(at) = find(&self.buffer[seen..], b"\r\n") {
                let line = self.buffer[self.used..seen + at].to_vec();
                self.used = seen + at + 2;
                return if line.len() + 2 > LINE_BYTES_MAX { Err(End::LongLine) } else { Ok(line) };
            }
            if self.buffer.len() - self.used >= LINE_BYTES_MAX {
                return Err(End::LongLine);
            }
            let kept = self.buffer.len() - self.used;
            self.read().await?;
            // The CR may have come before, its LF now.
            seen = self.used + kept.saturating_sub(1);
        }
    }

    /// Reads data up to its end, or, when told, only until more than `leave_after` bytes have come.
    pub(super) async fn data(&mut self, bytes_max: usize, leave_after: Option<usize>) -> Result<Data, End> {
        let mut reader = Unstuffer::new(bytes_max);
        loop {
            let (taken, ended) = reader.feed(&self.buffer[self.used..]);
            self.used += taken;
            if leave_after.is_some_and(|bytes| reader.seen > bytes) {
                return Ok(Data::Left);
            }
            if ended {
                return Ok(reader.finish());
            }
            self.read().await?;
        }
    }

    /// Reads and forgets until the other side has gone.
    pub(super) async fn outlast(&mut self) {
        loop {
            self.used = self.buffer.len();
            match self.read().await {
                Ok(()) | Err(End::Late) => {}
                Err(End::Closed | End::LongLine | End::Broken(_)) => return,
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(self.patience, write).await.map_err(|_| End::Late)??;
        Ok(())
    }

    /// Says goodbye to TLS and TCP, as far as the other side still listens.
    pub(super) async fn close(mut self) {
        drop(tokio::time::timeout(self.patience, self.stream.shutdown()).await);
    }

    async fn read(&mut self) -> Result<(), End> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = tokio::time::timeout(self.patience, self.stream.read(&mut self.buffer[filled..])).await;
        let count = match &read {
            Ok(Ok(count)) => *count,
            Ok(Err(_)) | Err(_) => 0,
        };
        self.buffer.truncate(filled + count);
        match read {
            Ok(Ok(0)) => Err(End::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(End::Broken(error)),
            Err(_) => Err(End::Late),
        }
    }
}

impl Wire<Stream> {
    /// The same connection under TLS. Nothing may wait to be read: it would have come without TLS.
    pub(super) async fn under_tls(self, config: Arc<ServerConfig>) -> Result<Self, End> {
        let patience = self.patience;
        let Stream::Plain(stream) = self.stream else {
            return Err(End::Broken(io::Error::other("TLS is there already")));
        };
        let accepted = tokio::time::timeout(patience, TlsAcceptor::from(config).accept(stream)).await;
        let stream = accepted.map_err(|_| End::Late)??;
        Ok(Self::new(Stream::Tls(Box::new(stream)), patience))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// How far the end of the data has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind a CRLF, or at the very beginning.
    LineStart,
    Inside,
    /// Behind a CR inside a line.
    Cr,
    /// Behind a dot that begins a line; it is not kept yet.
    Dot,
    /// Behind such a dot and a CR.
    DotCr,
}

/// Takes data byte by byte and knows its only end.
struct Unstuffer {
    place: Place,
    mail: Vec<u8>,
    bytes_max: usize,
    seen: usize,
}

impl Unstuffer {
    fn new(bytes_max: usize) -> Self {
        Self { place: Place::LineStart, mail: Vec::new(), bytes_max, seen: 0 }
    }

    /// How many bytes were used, and whether they ended the data.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (index, byte) in bytes.iter().copied().enumerate() {
            self.seen += 1;
            self.place = match (self.place, byte) {
                (Place::LineStart, b'.') => Place::Dot,
                (Place::Dot, b'\r') => Place::DotCr,
                (Place::DotCr, b'\n') => return (index + 1, true),
                (Place::DotCr, other) => {
                    // The dot was doubled for transport, or should have been: it goes in both cases.
                    self.keep(b'\r');
                    self.keep(other);
                    if other == b'\r' { Place::Cr } else { Place::Inside }
                }
                (Place::Cr, b'\n') => {
                    self.keep(b'\n');
                    Place::LineStart
                }
                (Place::LineStart | Place::Inside | Place::Cr, b'\r') => {
                    self.keep(b'\r');
                    Place::Cr
                }
                (Place::LineStart | Place::Inside | Place::Cr | Place::Dot, other) => {
                    self.keep(other);
                    Place::Inside
                }
            };
        }
        (bytes.len(), false)
    }

    /// One byte more than allowed is enough to know.
    fn keep(&mut self, byte: u8) {
        if self.mail.len() <= self.bytes_max {
            self.mail.push(byte);
        }
    }

    fn finish(self) -> Data {
        if self.mail.len() > self.bytes_max { Data::TooLarge } else { Data::Whole(self.mail) }
    }
}

/// The mail as it travels: dots that begin a line doubled, and the final one.
pub(super) fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 64 + 5);
    let (mut at_line_start, mut before) = (true, b'\n');
    for byte in mail.iter().copied() {
        if byte == b'.' && at_line_start {
            out.push(b'.');
        }
        out.push(byte);
        at_line_start = before == b'\r' && byte == b'\n';
        before = byte;
    }
    if !mail.is_empty() && !mail.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unstuff(bytes: &[u8]) -> (usize, bool, Data) {
        let mut reader = Unstuffer::new(1_000);
        let (taken, ended) = reader.feed(bytes);
        (taken, ended, reader.finish())
    }

    #[test]
    fn only_one_sequence_ends_the_data() {
        let check = |sent: &str, mail: Option<&str>| {
            let (taken, ended, data) = unstuff(sent.as_bytes());
            assert_eq!(ended, mail.is_some(), "{sent:?}");
            if let Some(mail) = mail {
                assert_eq!(taken, sent.len(), "{sent:?}");
                assert_eq!(data, Data::Whole(mail.as_bytes().to_vec()), "{sent:?}");
            }
        };
        check(".\r\n", Some(""));
        check("a\r\n.\r\n", Some("a\r\n"));
        check("a\r\n..\r\n.\r\n", Some("a\r\n.\r\n"));
        check("..a\r\n.\r\n", Some(".a\r\n"));
        check(".a\r\n.\r\n", Some("a\r\n"));
        check("\r\n.\r\n", Some("\r\n"));
        check("a\n.\n", None);
        check("a\n.\r\n", None);
        check("a\r.\r\n", None);
        check("a\r\n.\n", None);
        check("a\r\n.\r.\r\n", None);
        check("a\r\n.\r\r\n.\r\n", Some("a\r\n\r\r\n"));
        check("a.\r\n", None);
    }

    #[test]
    fn what_follows_the_end_is_not_touched() {
        let (taken, ended, _) = unstuff(b"a\r\n.\r\nQUIT\r\n");
        assert_eq!((taken, ended), (6, true));
    }

    #[test]
    fn a_mail_over_the_bound_is_read_to_its_end_and_not_kept() {
        let mut reader = Unstuffer::new(3);
        assert_eq!(reader.feed(b"aaaaaaaaaa\r\n.\r\n"), (15, true));
        assert!(reader.mail.len() <= 4);
        assert_eq!(reader.finish(), Data::TooLarge);
    }

    #[tokio::test]
    async fn lines_end_in_both_letters_and_have_a_bound() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut wire = Wire::new(near, Duration::from_secs(5));
        far.write_all(b"EHLO x\r\nno\nend\r").await.unwrap();
        assert_eq!(wire.line().await.unwrap(), b"EHLO x");
        far.write_all(b"\nrest").await.unwrap();
        assert_eq!(wire.line().await.unwrap(), b"no\nend");
        let endless = async move {
            for _ in 0..LINE_BYTES_MAX {
                if far.write_all(b"xx").await.is_err() {
                    return;
                }
            }
        };
        let (line, ()) = tokio::join!(async move { wire.line().await }, endless);
        assert!(matches!(line, Err(End::LongLine)), "{line:?}");
    }

    proptest! {
        #[test]
        fn a_mail_comes_out_as_it_went_in_however_it_is_cut(
            lines in prop::collection::vec("[.a\r\n]{0,5}", 0..8), cut in 0_usize..40,
        ) {
            let mail = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect::<Vec<u8>>();
            let sent = stuffed(&mail);
            let mut reader = Unstuffer::new(10_000);
            let cut = cut.min(sent.len() - 1);
            prop_assert_eq!(reader.feed(&sent[..cut]), (cut, false));
            prop_assert_eq!(reader.feed(&sent[cut..]), (sent.len() - cut, true));
            prop_assert_eq!(reader.finish(), Data::Whole(mail));
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (taken, _, _) = unstuff(&bytes);
            prop_assert!(taken <= bytes.len());
        }
    }
}
