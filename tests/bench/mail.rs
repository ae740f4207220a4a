//! Mails a second by smtp-source, 4 KiB each, on connections that are kept and on a new one for each mail. The gateway
//! answers after a mail is stored, as Postfix does; smtp-sink stores nothing, and is what the generator could do.

#[path = "../e2e/peers/postfix/layout.rs"]
mod layout;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    disk::Gate,
    slices::{Effort, Slice, median, ratio, resident_kib},
    wait,
};

const CONNECTIONS: [usize; 3] = [1, 20, 100];
/// A gateway that does not answer ends the run instead of hanging it.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
const ADMIN: &str = "operator";
const PROGRAMS: [&str; 4] = ["postfix", "postqueue", "smtp-source", "smtp-sink"];
/// Postfix as fast as it gets: it neither counts its clients nor slows them down.
const POSTFIX: &str = "\
relay_domains = support.bench.test
relay_transport = discard:
in_flow_delay = 0
default_process_limit = 150
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Gateway,
    Postfix,
    Sink,
}

const TARGETS: [Target; 3] = [Target::Gateway, Target::Postfix, Target::Sink];

/// Servers, ended when they are dropped.
struct Servers {
    gateway: Gateway,
    postfix: Postfix,
    sink: (Running, u16),
}

pub(crate) fn run(folder: &Path, effort: Effort) {
    if !present() {
        return;
    }
    // The daemons of Postfix have other rights than we, and must get in.
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    let folder = folder.join("mail");
    std::fs::create_dir(&folder).expect("the folder can be written");
    idle(&folder, if effort.scale == 1 { 20 } else { 500 });
    let mut servers =
        Servers { gateway: Gateway::start(&folder), postfix: Postfix::start(&folder), sink: sink(&folder) };
    println!(
        "\n| mails of 4 KiB, stored before 250 | connections | gateway/s | Postfix/s | smtp-sink/s | beside Postfix | beside the sink | quiet |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut gate = Gate::new(effort.patience);
    for kept in [true, false] {
        for connections in CONNECTIONS {
            // Enough for a second or two of the slowest.
            let mails = (connections.min(20) * effort.scale).max(connections) * 2;
            let slices = cell(&folder, effort, &mut gate, &mut servers, (kept, connections, mails));
            print(kept, connections, &slices);
        }
    }
    let kib = resident_kib(servers.gateway.running.0.id());
    println!("\nresident memory of the gateway with all of these waiting: {:.1} MiB", kib as f64 / 1024.0);
}

/// One way of sending, to each server in turns.
fn cell(
    folder: &Path,
    effort: Effort,
    gate: &mut Gate,
    servers: &mut Servers,
    (kept, connections, mails): (bool, usize, usize),
) -> [Vec<Slice>; 3] {
    let mut slices = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        let mut targets = TARGETS;
        fastrand::shuffle(&mut targets);
        for target in targets {
            let (_, quiet) = gate.wait(folder);
            let port = match target {
                Target::Gateway => servers.gateway.port,
                Target::Postfix => servers.postfix.port,
                Target::Sink => servers.sink.1,
            };
            let begun = Instant::now();
            send(port, kept, connections, mails);
            let rate = mails as f64 / begun.elapsed().as_secs_f64();
            slices[target as usize].push(Slice {
                rate,
                cpu_micros: 0.0,
                p50: Duration::ZERO,
                p99: Duration::ZERO,
                quiet,
            });
            // Nobody's afterwork disturbs the next.
            match target {
                Target::Gateway => servers.gateway.until_it_has(mails),
                Target::Postfix => servers.postfix.until_empty(),
                Target::Sink => {}
            }
        }
    }
    slices
}

fn print(kept: bool, connections: usize, slices: &[Vec<Slice>; 3]) {
    let [ours, postfix, sink] = slices;
    let rate = |slice: &Slice| slice.rate;
    println!(
        "| {} | {connections} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {}/{} |",
        if kept { "kept" } else { "one for each mail" },
        median(ours, rate),
        median(postfix, rate),
        median(sink, rate),
        ratio(ours, postfix, rate),
        ratio(ours, sink, rate),
        ours.iter().filter(|slice| slice.quiet).count(),
        ours.len(),
    );
}

/// Its status says whether each mail was taken.
fn send(port: u16, kept: bool, connections: usize, mails: usize) {
    let mut command = Command::new(layout::daemon("smtp-source"));
    command.args(["-l", "4096", "-m", &mails.to_string(), "-s", &connections.to_string()]);
    command.args(["-M", "client.bench.test", "-f", "a@cust.test", "-t", "help@support.bench.test"]);
    if kept {
        command.arg("-d");
    }
    let status = command.arg(format!("127.0.0.1:{port}")).status().expect("it starts");
    assert!(status.success(), "a mail was not taken");
}

/// What so many connections cost that say nothing any more after the greeting.
fn idle(folder: &Path, count: usize) {
    let gateway = Gateway::start(&folder.join("idle"));
    let before = resident_kib(gateway.running.0.id());
    let streams: Vec<_> = (0..count).map(|_| greeted(gateway.port)).collect();
    let after = resident_kib(gateway.running.0.id());
    println!(
        "\n{count} idle SMTP connections: {:.1} MiB resident, {:.1} KiB a connection",
        after as f64 / 1024.0,
        after.saturating_sub(before) as f64 / streams.len() as f64
    );
}

fn greeted(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the gateway listens");
    stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit that is not zero");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket is cloned"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("it greets");
    assert!(line.starts_with("220 "), "{line}");
    (&stream).write_all(b"EHLO client.bench.test\r\n").expect("it reads");
    while !line.starts_with("250 ") {
        line.clear();
        assert!(reader.read_line(&mut line).expect("it answers") > 0, "it hung up");
    }
    stream
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The executable, with an inbox that is not there, so that every mail waits and is counted.
struct Gateway {
    running: Running,
    port: u16,
    http: u16,
    had: u64,
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the folder can be written");
        let (port, http, settings) = (free_port(), free_port(), folder.join("deskbridge.toml"));
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:{http}\"\ndata_dir = \"{}\"\nadmin_token = \"{ADMIN}\"\n\
             [log]\nlevel = \"error\"\n\
             [inboxes.support]\nurl = \"http://127.0.0.1:1\"\naccount_id = 1\ninbox_id = 7\n\
             api_access_token = \"demo\"\ncallback_secret = \"demo\"\n\
             [bridges.mail]\nkind = \"smtp\"\ninbox = \"support\"\npeer_pause_millis = 0\nnew_per_peer_hour = 0\nnew_per_day = 0\n\
             listen = \"127.0.0.1:{port}\"\n\
             hostname = \"desk.bench.test\"\naddresses = [\"help@support.bench.test\"]\n\
             from = \"Help <help@support.bench.test>\"\nverify = \"off\"\ntrusted_clients = [\"127.0.0.1\"]\n\
             spool_max = 10000000\nrelay = {{ host = \"127.0.0.1\", port = 1, security = \"none\" }}\n",
            folder.join("data").display()
        );
        std::fs::write(&settings, text).expect("the folder can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.arg("run").arg("-c").arg(settings).stdout(Stdio::null());
        let running = Running(command.spawn().expect("it starts"));
        until("the gateway listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { running, port, http, had: 0 }
    }

    /// Everything that was taken waits for the inbox, once.
    fn until_it_has(&mut self, more: usize) {
        self.had += more as u64;
        let mut waiting = 0;
        until("every mail waits for the inbox", || {
            waiting = self.waiting();
            waiting >= self.had
        });
        assert_eq!(waiting, self.had, "no mail is there twice");
    }

    fn waiting(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("it listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit that is not zero");
        let request = format!("GET /admin/outbox HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let outbox: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        outbox["depth"]["waiting"].as_u64().expect("a count")
    }
}

struct Postfix {
    _running: Running,
    folder: PathBuf,
    port: u16,
}

impl Postfix {
    fn start(folder: &Path) -> Self {
        let (folder, port) = (folder.join("postfix"), free_port());
        std::fs::create_dir(&folder).expect("the folder can be written");
        layout::lay_out(&folder, POSTFIX, &[(port, "")]).expect("root writes files");
        let running = Running(layout::start(&folder).stderr(Stdio::null()).spawn().expect("it starts"));
        until("Postfix listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _running: running, folder, port }
    }

    fn until_empty(&self) {
        let mut command = Command::new(layout::daemon("postqueue"));
        command.arg("-c").arg(&self.folder).arg("-j");
        until("the queue of Postfix is empty", || command.output().is_ok_and(|output| output.stdout.is_empty()));
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        layout::end(&self.folder);
    }
}

fn sink(folder: &Path) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(layout::daemon("smtp-sink"));
    command.args(["-u", "nobody", "-m", "1000", &format!("127.0.0.1:{port}"), "1024"]).current_dir(folder);
    let running = Running(command.spawn().expect("it starts"));
    until("smtp-sink listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (running, port)
}

/// Whether there is something to measure with. Says so where there is not, and fails where CI expects it.
fn present() -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|name| !layout::daemon(name).is_file()).collect();
    if is_root && missing.is_empty() {
        return true;
    }
    let text = format!("mail is measured beside Postfix, as root; missing: {missing:?} (apt-get install postfix)");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    eprintln!("\n*** SKIPPED: {text} ***\n");
    false
}

/// Below those that the system gives to connections going out, of which there are very many here.
fn free_port() -> u16 {
    let mut ports = (20_000..32_000).skip(fastrand::usize(..11_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait::until(Duration::from_millis(5), || what.to_owned(), || is_so().then_some(()));
}
