//! Socket, clock and TLS around the machine. Decides nothing about the protocol.
//!
//! One input, then drain the machine to the end, then wait for bytes, a call, the wake time or stop.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bridge_api::{CancellationToken, Fault, Host, Outbound, Sent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};

use crate::{
    intake::Intake,
    machine::{Input, Machine, Now, Output, Ticket},
    settings::Settings,
    view::View,
};

pub(crate) mod dial;

use dial::Socket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Send,
    Probe,
}

/// One call of the gateway.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) out: Outbound,
    pub(crate) answer: oneshot::Sender<Result<Option<Sent>, Fault>>,
}

/// People who are to be forgotten, by their cursors; answered once nothing of them can be written any more.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) cursors: Vec<String>,
    pub(crate) answer: oneshot::Sender<()>,
}

pub(crate) struct Driver {
    machine: Machine,
    calls: mpsc::Receiver<Call>,
    forgets: mpsc::Receiver<Forget>,
    /// Whoever waits for what the host is given now.
    forgotten: Vec<oneshot::Sender<()>>,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Option<Sent>, Fault>>>,
    tickets: Ticket,
    remembers: bool,
    /// Bytes to write, closing, and when to connect again: what the last drain said.
    bytes: Vec<u8>,
    close: bool,
    redial: Option<Duration>,
}

const READ_BYTES: usize = 64 * 1024;
const WRITE_TIME: Duration = Duration::from_secs(10);
const GOODBYE_TIME: Duration = Duration::from_secs(2);
const REMEMBER_PAUSE: Duration = Duration::from_secs(1);

impl Driver {
    pub(crate) fn new(settings: Arc<Settings>, calls: mpsc::Receiver<Call>, forgets: mpsc::Receiver<Forget>) -> Self {
        Self {
            machine: Machine::new(settings, fastrand::u64(..), now()),
            calls,
            forgets,
            forgotten: Vec::new(),
            waiting: HashMap::new(),
            tickets: 0,
            remembers: false,
            bytes: Vec::new(),
            close: false,
            redial: None,
        }
    }

    pub(crate) fn view(&self) -> View {
        self.machine.view()
    }

    /// Connects, and again, until `stop`.
    pub(crate) async fn run(&mut self, host: Host, stop: CancellationToken, view: &RwLock<View>) -> Result<(), Fault> {
        let mut intake = Intake::new(host);
        self.machine.begin_run();
        if !self.remembers {
            let Some(cursors) =
                self.serve(recall(intake.host().clone()), &mut Intake::new(intake.host().clone()), &stop).await
            else {
                return Ok(());
            };
            self.remembers = true;
            self.input(Input::Remember(cursors), &mut intake);
        }
        if self.machine.is_connected() {
            // An earlier run was dropped in the middle, and its connection with it.
            self.input(Input::Closed { reason: "the bridge was started again".to_owned() }, &mut intake);
        }
        self.redial = None;
        while !stop.is_cancelled() {
            if let Some(wait) = self.redial.take()
                && self.serve(tokio::time::sleep(wait), &mut intake, &stop).await.is_none()
            {
                break;
            }
            let endpoint = self.machine.endpoint();
            match self.serve(dial::dial(&endpoint), &mut intake, &stop).await {
                None => break,
                Some(Err(error)) => self.input(Input::Closed { reason: error.to_string() }, &mut intake),
                Some(Ok(socket)) => {
                    let secure = endpoint.tls.is_some();
                    let input = Input::Connected { secure, epoch: epoch(), nonce: nonce() };
                    self.input(input, &mut intake);
                    let reason = self.online(socket, &mut intake, &stop, view).await;
                    self.input(Input::Closed { reason }, &mut intake);
                }
            }
            self.bytes.clear();
            self.close = false;
        }
        self.turn_away("the bridge is stopping");
        flush(&mut intake).await;
        Ok(())
    }

    /// Fails all calls that wait.
    pub(crate) fn turn_away(&mut self, reason: &str) {
        while let Ok(call) = self.calls.try_recv() {
            // The caller may have given up; then nobody minds.
            let _unread = call.answer.send(Err(Fault::down(reason)));
        }
    }

    /// Waits for `work` while calls, the host and the machine are served. `None`: stop fired.
    async fn serve<T>(
        &mut self,
        work: impl Future<Output = T>,
        intake: &mut Intake,
        stop: &CancellationToken,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let wake = self.wake();
            tokio::select! {
                done = &mut work => return Some(done),
                () = stop.cancelled() => return None,
                () = intake.step() => self.forgotten(intake),
                Some(call) = self.calls.recv() => self.call(call, intake),
                Some(forget) = self.forgets.recv() => self.forget(forget, intake),
                () = sleep_until(wake) => self.input(Input::Tick, intake),
            }
        }
    }

    /// From the first byte to the last; says why it ended.
    async fn online(
        &mut self,
        socket: Socket,
        intake: &mut Intake,
        stop: &CancellationToken,
        view: &RwLock<View>,
    ) -> String {
        let (mut reader, mut writer) = tokio::io::split(socket);
        let mut buffer = vec![0; READ_BYTES];
        let mut goodbye: Option<tokio::time::Instant> = None;
        loop {
            if let Err(error) = self.write(&mut writer).await {
                return format!("writing failed: {error}");
            }
            if self.close {
                close(&mut reader, &mut writer, &mut buffer).await;
                return "closed by the bridge".to_owned();
            }
            let wake = self.wake();
            tokio::select! {
                read = reader.read(&mut buffer), if !intake.is_full() => match read {
                    Ok(0) => return "the server closed the connection".to_owned(),
                    Ok(bytes) => {
                        self.input(Input::Bytes(&buffer[..bytes]), intake);
                        *view.write().unwrap_or_else(PoisonError::into_inner) = self.machine.view();
                    }
                    Err(error) => return format!("reading failed: {error}"),
                },
                () = intake.step() => self.forgotten(intake),
                Some(call) = self.calls.recv() => self.call(call, intake),
                Some(forget) = self.forgets.recv() => self.forget(forget, intake),
                () = sleep_until(wake) => self.input(Input::Tick, intake),
                () = stop.cancelled(), if goodbye.is_none() => {
                    goodbye = Some(tokio::time::Instant::now() + GOODBYE_TIME);
                    self.input(Input::Stop, intake);
                }
                () = sleep_until(goodbye.unwrap_or(wake)), if goodbye.is_some() => return "stopped".to_owned(),
            }
        }
    }

    fn forget(&mut self, forget: Forget, intake: &mut Intake) {
        self.machine.forget(&forget.cursors);
        intake.forget(&forget.cursors);
        self.forgotten.push(forget.answer);
        self.forgotten(intake);
    }

    fn forgotten(&mut self, intake: &Intake) {
        if !intake.is_accepting() {
            for answer in self.forgotten.drain(..) {
                // Whoever asked may have gone; then nobody minds.
                let _unread = answer.send(());
            }
        }
    }

    /// The same between two runs.
    pub(crate) fn forget_at_rest(&mut self, cursors: &[String]) {
        self.machine.forget(cursors);
    }

    async fn write(&mut self, writer: &mut WriteHalf<Socket>) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let writing = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        timeout(WRITE_TIME, writing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn wake(&self) -> tokio::time::Instant {
        const LONGEST: Duration = Duration::from_mins(1);
        let latest = Instant::now() + LONGEST;
        self.machine.wake().map_or(latest, |(at, _)| at.min(latest)).into()
    }

    fn call(&mut self, call: Call, intake: &mut Intake) {
        self.tickets += 1;
        let ticket = self.tickets;
        self.waiting.insert(ticket, call.answer);
        let input = match call.verb {
            Verb::Send => Input::Send { ticket, out: call.out },
            Verb::Probe => Input::Probe { ticket, out: call.out },
        };
        self.input(input, intake);
    }

    /// One input, then the machine's outputs to the end.
    fn input(&mut self, input: Input<'_>, intake: &mut Intake) {
        self.machine.handle(input, now());
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Write(line) => self.bytes.extend_from_slice(&line),
                Output::Event(event) => intake.next().events.push(event),
                Output::Cursor(cursor) => intake.next().cursors.push(cursor),
                Output::State(state) => intake.host().state(state),
                Output::Close => self.close = true,
                Output::Redial(wait) => self.redial = Some(wait),
                Output::Settled(ticket, result) => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        // The caller may have given up; then nobody minds.
                        let _unread = answer.send(result);
                    }
                }
            }
        }
    }
}

/// Lets the server have our last line, and reads its goodbye, for a moment.
async fn close(reader: &mut ReadHalf<Socket>, writer: &mut WriteHalf<Socket>, buffer: &mut [u8]) {
    let goodbye = async {
        while reader.read(buffer).await.is_ok_and(|bytes| bytes > 0) {}
        writer.shutdown().await
    };
    if timeout(GOODBYE_TIME, goodbye).await.is_err() {
        tracing::debug!("the server did not close the connection in time");
    }
}

/// What an earlier run knew. Without it people would be taken for strangers, so this waits.
async fn recall(host: Host) -> Vec<bridge_api::Cursor> {
    loop {
        match host.cursors("").await {
            Ok(cursors) => return cursors,
            Err(error) => tracing::warn!(error = error.to_string(), "what is known of people cannot be read yet"),
        }
        tokio::time::sleep(REMEMBER_PAUSE).await;
    }
}

async fn flush(intake: &mut Intake) {
    let flushing = async {
        while !intake.is_empty() {
            intake.step().await;
        }
    };
    if timeout(GOODBYE_TIME, flushing).await.is_err() {
        tracing::error!("lines that were read could not be kept before the stop");
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the machine's time comes from")]
fn now() -> Now {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    Now { at: Instant::now(), millis }
}

/// Unique for each connection: the start and some chance.
fn epoch() -> String {
    format!("{:x}{:04x}", now().millis, fastrand::u16(..))
}

pub(crate) fn nonce() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(24).collect()
}
