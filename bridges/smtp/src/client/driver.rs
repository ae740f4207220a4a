//! One connection to the relay: socket, TLS and time limits around the machine. Decides nothing about the protocol, and
//! is driven by whoever sends.

use std::{future::Future, io, sync::Arc, time::Duration};

use bridge_api::Fault;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    dots::{Dots, FINAL_DOT},
    envelope::Addressed,
    machine::{Accepted, Input, Machine, Manners, Output, Phase},
};
use crate::settings::Security;

/// How long each step may take, and how much one connection is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) greeting: Duration,
    pub(crate) command: Duration,
    /// For the relay to take one piece of the data in.
    pub(crate) piece: Duration,
    pub(crate) final_dot: Duration,
    /// For what a relay said before it stopped to listen.
    pub(crate) last_words: Duration,
    pub(crate) idle: Duration,
    pub(crate) mails_per_connection: u32,
}

impl Limits {
    pub(crate) const USUAL: Self = Self {
        connect: Duration::from_secs(15),
        handshake: Duration::from_secs(30),
        greeting: Duration::from_mins(1),
        command: Duration::from_mins(1),
        piece: Duration::from_mins(2),
        // RFC 5321, 4.5.3.2.6: it may be looking into the mail, and giving up early makes doubles.
        final_dot: Duration::from_mins(10),
        last_words: Duration::from_secs(1),
        idle: Duration::from_mins(1),
        mails_per_connection: 100,
    };
}

/// Where the relay is and how it is spoken to.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connector: TlsConnector,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) manners: Arc<Manners>,
    pub(crate) limits: Limits,
}

pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(crate) struct Connection {
    /// `None` once it is of no more use.
    wire: Option<Box<dyn Wire>>,
    machine: Machine,
    target: Arc<Target>,
    mails: u32,
    pub(crate) idle_since: Instant,
}

/// What the machine waits for the driver to do.
enum Turn {
    Ready,
    Body,
    Accepted(Accepted),
}

const READ_BYTES: usize = 4096;

impl Connection {
    /// Connects, as far as the point at which a mail may come.
    pub(crate) async fn open(target: &Arc<Target>) -> Result<Self, Fault> {
        let (host, port, limits) = (target.host.as_str(), target.port, target.limits);
        let down = |why: String| Fault::down(format!("cannot connect to the relay {host}:{port}: {why}"));
        let socket = within(limits.connect, TcpStream::connect((host, port))).await.map_err(down)?;
        socket.set_nodelay(true).map_err(|error| down(error.to_string()))?;
        let loopback = socket.peer_addr().is_ok_and(|address| address.ip().is_loopback());
        let mut connection = Self {
            wire: Some(Box::new(socket)),
            machine: Machine::new(target.manners.clone()),
            target: target.clone(),
            mails: 0,
            idle_since: Instant::now(),
        };
        if target.manners.security == Security::Tls {
            connection.secure().await?;
        }
        connection.machine.handle(Input::Connected { loopback });
        match connection.turn().await? {
            Turn::Ready => Ok(connection),
            Turn::Body | Turn::Accepted(_) => Err(connection.lost("it got out of step")),
        }
    }

    /// Looks whether a kept connection is still good, and makes the relay forget the last mail.
    pub(crate) async fn reset(&mut self) -> Result<(), Fault> {
        self.machine.handle(Input::Reset);
        match self.turn().await? {
            Turn::Ready => Ok(()),
            Turn::Body | Turn::Accepted(_) => Err(self.lost("it got out of step")),
        }
    }

    /// Hands over one mail. The body is not touched before the relay asks for it.
    pub(crate) async fn send(
        &mut self,
        mail: &Addressed,
        body: &mut (impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin),
    ) -> Result<Accepted, Fault> {
        self.mails += 1;
        self.machine.handle(Input::Mail(mail.clone()));
        match self.turn().await? {
            Turn::Body => self.data(body).await?,
            Turn::Ready | Turn::Accepted(_) => return Err(self.lost("it got out of step")),
        }
        match self.turn().await? {
            Turn::Accepted(accepted) => Ok(accepted),
            Turn::Ready | Turn::Body => Err(self.lost("it got out of step")),
        }
    }

    /// Another mail may be sent over it, after a reset.
    pub(crate) fn is_usable(&self) -> bool {
        self.wire.is_some() && self.machine.is_usable()
    }
    /// The relay has said something to the MAIL of the last mail.
    pub(crate) fn has_answered(&self) -> bool {
        self.machine.has_answered()
    }
    pub(crate) fn is_worn(&self) -> bool {
        self.mails >= self.target.limits.mails_per_connection
    }

    /// Takes leave, without waiting for an answer.
    pub(crate) async fn quit(mut self) {
        self.machine.handle(Input::Quit);
        while let Some(output) = self.machine.poll() {
            if let Output::Write(bytes) = output
                && self.write(&bytes, self.target.limits.last_words).await.is_err()
            {
                return;
            }
        }
        if let Some(wire) = &mut self.wire {
            // A relay that is gone already needs no farewell.
            let _gone = timeout(self.target.limits.last_words, wire.shutdown()).await;
        }
    }

    /// Drains the machine and reads, until it is the driver's turn.
    async fn turn(&mut self) -> Result<Turn, Fault> {
        let mut buffer = [0; READ_BYTES];
        loop {
            while let Some(output) = self.machine.poll() {
                match output {
                    Output::Write(bytes) => {
                        self.write(&bytes, self.target.limits.command).await.map_err(|why| self.lost(&why))?;
                    }
                    Output::Secure => {
                        self.secure().await?;
                        self.machine.handle(Input::Secured);
                    }
                    Output::Ready => return Ok(Turn::Ready),
                    Output::Body => return Ok(Turn::Body),
                    Output::Accepted(accepted) => return Ok(Turn::Accepted(accepted)),
                    Output::Failed(fault) => return Err(fault),
                }
            }
            let limit = self.wait_limit();
            match self.read(&mut buffer, limit).await {
                Ok(count) => self.machine.handle(Input::Bytes(&buffer[..count])),
                Err(why) => return Err(self.lost(&why)),
            }
        }
    }

    fn wait_limit(&self) -> Duration {
        let limits = &self.target.limits;
        match self.machine.phase() {
            Phase::Greeting => limits.greeting,
            Phase::Command => limits.command,
            Phase::Body => limits.piece,
            Phase::Final => limits.final_dot,
        }
    }

    async fn data(
        &mut self,
        body: &mut (impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin),
    ) -> Result<(), Fault> {
        let (mut dots, mut wire) = (Dots::new(), Vec::new());
        let limit = self.target.limits.piece;
        while let Some(piece) = body.next().await {
            wire.clear();
            let piece = piece.inspect_err(|_| self.drop_wire())?;
            if let Err(bare) = dots.write(&piece, &mut wire) {
                self.drop_wire();
                return Err(Fault::refused(bare.to_string()));
            }
            if let Err(why) = self.write(&wire, limit).await {
                return Err(self.last_words(&why).await);
            }
        }
        let end = dots.end().map_err(|bare| {
            self.drop_wire();
            Fault::refused(bare.to_string())
        })?;
        if let Err(why) = self.write(end, limit).await {
            return Err(self.last_words(&why).await);
        }
        self.look().await?;
        self.machine.handle(Input::Finishing);
        self.write(FINAL_DOT, limit).await.map_err(|why| self.lost(&why))
    }

    /// A relay that is gone already, or has refused already, is not told that the mail is whole: then it surely did not
    /// take it.
    async fn look(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; READ_BYTES];
        let Some(wire) = &mut self.wire else { return Err(self.lost("the connection is closed")) };
        match timeout(Duration::ZERO, wire.read(&mut buffer)).await {
            Err(_) => Ok(()),
            Ok(Ok(count)) if count > 0 => {
                self.machine.handle(Input::Bytes(&buffer[..count]));
                match self.machine.poll() {
                    Some(Output::Failed(fault)) => Err(fault),
                    Some(_) | None => Ok(()),
                }
            }
            Ok(_) => Err(self.lost("the connection was closed")),
        }
    }

    /// The relay takes no more of the data. It may have said why before it stopped.
    async fn last_words(&mut self, why: &str) -> Fault {
        let mut buffer = [0; READ_BYTES];
        let limit = self.target.limits.last_words;
        while let Ok(count) = self.read(&mut buffer, limit).await {
            self.machine.handle(Input::Bytes(&buffer[..count]));
            if let Some(Output::Failed(fault)) = self.machine.poll() {
                self.wire = None;
                return fault;
            }
        }
        self.lost(why)
    }

    async fn secure(&mut self) -> Result<(), Fault> {
        let Some(wire) = self.wire.take() else { return Err(self.lost("the connection is closed")) };
        let handshake = self.target.connector.connect(self.target.server_name.clone(), wire);
        match within(self.target.limits.handshake, handshake).await {
            Ok(wire) => {
                self.wire = Some(Box::new(wire));
                Ok(())
            }
            Err(why) => Err(self.lost(&format!("TLS failed: {why}"))),
        }
    }

    async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), String> {
        let wire = self.wire.as_mut().ok_or("the connection is closed")?;
        within(limit, async {
            wire.write_all(bytes).await?;
            wire.flush().await
        })
        .await
    }

    async fn read(&mut self, buffer: &mut [u8], limit: Duration) -> Result<usize, String> {
        let wire = self.wire.as_mut().ok_or("the connection is closed")?;
        match within(limit, wire.read(buffer)).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            other => other,
        }
    }

    fn lost(&mut self, why: &str) -> Fault {
        self.wire = None;
        self.machine.lost(why)
    }

    /// A mail without its final dot is never taken, so this is how one is given up.
    fn drop_wire(&mut self) {
        self.wire = None;
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing came for {} s", limit.as_secs_f32())),
    }
}
