//! Socket, clock, TLS and disk around one machine. Decides nothing about the protocol.
//!
//! One input, then drain the machine to the end, then wait for octets, the wake time or stop.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bridge_api::CancellationToken;
use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use crate::tls::ServerTls;

use super::{
    arrival::{Arrival, Intake, has_memory},
    limits::Seat,
    machine::{Admission, Input, Machine, Now, Output, QUIT, Site},
};

type Socket = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What the sessions of one listener share.
pub(super) struct Door {
    pub(super) site: Arc<Site>,
    pub(super) intake: Intake,
    pub(super) budget: Arc<Semaphore>,
    pub(super) tls: Option<Arc<ServerTls>>,
    /// TLS from the first octet.
    pub(super) implicit: bool,
}

pub(super) struct Session {
    door: Arc<Door>,
    seat: Seat,
    machine: Machine,
    arrival: Arrival,
    writes: Vec<u8>,
    stopped: bool,
}

enum Next {
    Wait,
    Secure,
    End,
}

/// Most sessions are silent most of the time, so little is held for a command and more only while a mail comes.
const COMMAND_BYTES: usize = 2 * 1024;
const MAIL_BYTES: usize = 32 * 1024;
/// The limit for silent clients shrinks when many are here, so each of them is looked at now and then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The least that the disk must have left before a mail may come.
const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// Of what a client still sends while it is shown out.
const GOODBYE_BYTES_MAX: usize = 1024 * 1024;

impl Session {
    pub(super) fn new(door: Arc<Door>, seat: Seat, client: IpAddr) -> Self {
        let now = now(seat.is_crowded());
        let machine = Machine::new(door.site.clone(), client, door.implicit, now);
        let arrival = Arrival::new(door.intake.clone(), door.budget.clone());
        Self { door, seat, machine, arrival, writes: Vec::new(), stopped: false }
    }

    /// From the first octet to the last.
    pub(super) async fn run(mut self, tcp: TcpStream, stop: &CancellationToken) {
        if let Err(error) = self.talk(tcp, stop).await {
            tracing::debug!(error = error.to_string(), "a mail client's connection broke");
        }
    }

    async fn talk(&mut self, tcp: TcpStream, stop: &CancellationToken) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let entered = if self.door.implicit {
            Box::pin(secure(self.door.clone(), tcp, stop)).await?
        } else {
            Some(Either::Left(tcp))
        };
        let Some(mut socket) = entered else { return Ok(()) };
        let first = if spoke_first(&mut socket)? { Input::Bytes(b"?") } else { Input::Greet };
        self.machine.handle(first, now(self.seat.is_crowded()));
        loop {
            match self.converse(&mut socket, stop).await? {
                Next::Secure => {
                    let Either::Left(tcp) = socket else { return Ok(()) };
                    let Some(secured) = Box::pin(secure(self.door.clone(), tcp, stop)).await? else { return Ok(()) };
                    socket = secured;
                    self.machine.handle(Input::Secured, now(self.seat.is_crowded()));
                }
                Next::Wait | Next::End => return Ok(()),
            }
        }
    }

    async fn converse(&mut self, socket: &mut Socket, stop: &CancellationToken) -> io::Result<Next> {
        let mut buffer = Vec::new();
        loop {
            match Box::pin(self.drain(socket)).await? {
                Next::Wait => {}
                next @ (Next::Secure | Next::End) => return Ok(next),
            }
            let bytes = if self.machine.is_receiving() { MAIL_BYTES } else { COMMAND_BYTES };
            if buffer.capacity() != bytes {
                buffer = Vec::with_capacity(bytes);
            }
            buffer.clear();
            let latest = Instant::now() + LOOK_AGAIN;
            let wake = self.machine.wake().map_or(latest, |(at, _)| latest.min(at.into()));
            let input = tokio::select! {
                read = socket.read_buf(&mut buffer) => match read? {
                    0 => return Ok(Next::End),
                    _ => Input::Bytes(&buffer),
                },
                () = sleep_until(wake) => Input::Tick,
                () = stop.cancelled(), if !self.stopped => {
                    self.stopped = true;
                    Input::Stop
                }
            };
            self.machine.handle(input, now(self.seat.is_crowded()));
        }
    }

    /// Does what the machine says, to the end.
    async fn drain(&mut self, socket: &mut Socket) -> io::Result<Next> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Write(bytes) => self.writes.extend_from_slice(&bytes),
                Output::Body(piece) => self.arrival.take(&piece).await,
                Output::Discard => self.arrival.discard(),
                Output::Ask { bytes } => {
                    let admission = self.admit(bytes).await;
                    self.machine.handle(Input::Admit(admission), now(self.seat.is_crowded()));
                }
                Output::Store(envelope) => {
                    let turned_away = self.arrival.turned_away(&envelope, self.seat.is_counted()).await;
                    let input = if let Some(line) = turned_away {
                        self.arrival.discard();
                        Input::TurnedAway(line)
                    } else {
                        Input::Stored(self.arrival.keep(&envelope).await)
                    };
                    self.machine.handle(input, now(self.seat.is_crowded()));
                }
                Output::StartTls => {
                    self.flush(socket).await?;
                    return Ok(Next::Secure);
                }
                Output::Close(why) => {
                    tracing::debug!(reason = why, "a mail client's connection is closed");
                    self.arrival.discard();
                    self.flush(socket).await?;
                    self.close(socket, why != QUIT).await?;
                    return Ok(Next::End);
                }
            }
        }
        self.flush(socket).await?;
        Ok(Next::Wait)
    }

    async fn admit(&self, bytes: u64) -> Admission {
        let intake = &self.door.intake;
        if !has_memory(&self.door.budget, bytes)
            || intake.host().free_bytes() < bytes.saturating_mul(2).max(FREE_BYTES_MIN)
            || intake.spool.is_full().await
        {
            Admission::NoRoom
        } else if self.seat.admits_mail(Instant::now().into_std()) {
            Admission::Welcome
        } else {
            Admission::TooFast
        }
    }

    async fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.writes);
        let writing = async {
            socket.write_all(&bytes).await?;
            socket.flush().await
        };
        timeout(self.door.site.timing.write, writing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A connection that is closed while octets wait unread is reset, and our last words are lost with it: whoever did not
    /// ask for the end is listened to for a moment.
    async fn close(&mut self, socket: &mut Socket, listen: bool) -> io::Result<()> {
        let goodbye = async {
            socket.shutdown().await?;
            let mut left = if listen { GOODBYE_BYTES_MAX } else { 0 };
            let mut buffer = vec![0; COMMAND_BYTES];
            while left > 0 {
                match socket.read(&mut buffer).await? {
                    0 => break,
                    bytes => left = left.saturating_sub(bytes),
                }
            }
            Ok(())
        };
        timeout(self.door.site.timing.goodbye, goodbye).await.unwrap_or(Ok(()))
    }
}

/// `None`: the server is stopping. No mail is on its way yet, so nobody waits for the end of a handshake.
async fn secure(door: Arc<Door>, tcp: TcpStream, stop: &CancellationToken) -> io::Result<Option<Socket>> {
    let Some(tls) = &door.tls else { return Err(io::ErrorKind::Unsupported.into()) };
    let acceptor = TlsAcceptor::from(tls.config(Instant::now().into_std(), door.site.timing.certificate));
    let handshake = timeout(door.site.timing.handshake, acceptor.accept(tcp));
    tokio::select! {
        shaken = handshake => Ok(Some(Either::Right(Box::new(shaken.map_err(|_| io::ErrorKind::TimedOut)??)))),
        () = stop.cancelled() => Ok(None),
    }
}

/// Did the client send something before it was greeted?
fn spoke_first(socket: &mut Socket) -> io::Result<bool> {
    match socket {
        Either::Left(tcp) => {
            let mut octet = [std::mem::MaybeUninit::uninit()];
            match socket2::SockRef::from(&*tcp).peek(&mut octet) {
                Ok(bytes) => Ok(bytes > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            }
        }
        Either::Right(tls) => Ok(matches!(tls.read(&mut [0]).now_or_never(), Some(Ok(1)))),
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the machine's time comes from")]
fn now(crowded: bool) -> Now {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    Now { at: Instant::now().into_std(), millis, crowded }
}
