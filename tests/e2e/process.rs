//! A child process in a group of its own, with its output in files, ended when it is dropped.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
};

use crate::wait;

/// How much of a log a failing test shows.
const SHOWN_BYTES_MAX: usize = 24 * 1024;
/// Below the range from which systems take the ports of outgoing connections, which would otherwise get in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Output is appended to `NAME.out` and `NAME.err` in `folder`, so that restarts share them.
    pub(crate) fn spawn(mut command: Command, name: &str, folder: &Path) -> Self {
        let out = folder.join(format!("{name}.out"));
        command.stdin(Stdio::null()).stdout(append_to(&out));
        Self::start(command, name, folder)
    }

    /// One that is talked with. It is expected to end when its input does, as it does when this process is killed.
    pub(crate) fn spawn_talking(mut command: Command, name: &str, folder: &Path) -> (Self, ChildStdin, ChildStdout) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::start(command, name, folder);
        let (input, output) = (process.child.stdin.take(), process.child.stdout.take());
        (process, input.expect("it is piped"), output.expect("it is piped"))
    }

    fn start(mut command: Command, name: &str, folder: &Path) -> Self {
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        command.process_group(0).stderr(append_to(&err));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.to_owned(), out, err, ended: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn out(&self) -> String {
        read(&self.out)
    }

    pub(crate) fn err(&self) -> String {
        read(&self.err)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be asked");
        }
        self.ended
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(signal, &self.pid().to_string());
    }

    /// SIGKILL to the whole group, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if self.ended().is_some() {
            return;
        }
        send("KILL", &format!("-{}", self.pid()));
        self.ended = Some(self.child.wait().expect("a child can be waited for"));
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("{name} to end"), || self.ended().ok_or_else(|| "it runs".to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let how = self.ended();
        self.kill();
        if thread::panicking() {
            eprintln!("--- {} ended by itself: {how:?}\n{}\n{}", self.name, tail(&self.out()), tail(&self.err()));
        }
    }
}

fn send(signal: &str, to: &str) {
    // A process that is gone already is as good as signalled.
    Command::new("kill").args([&format!("-{signal}"), "--", to]).stderr(Stdio::null()).status().expect("kill runs");
}

fn append_to(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log file opens")
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// A port on 127.0.0.1 that nobody listens on, never given out twice by this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Two runs at once begin in different places.
    let offset = (std::process::id() % 97) as u16 * 113;
    for _ in 0..span {
        let port = PORTS.start + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// The output of a command that is expected to end by itself.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(mut command: Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
