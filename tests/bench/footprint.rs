//! Memory, and the start after a kill: with nothing, with many cached sessions, with much waiting. Each in a
//! process of its own, since memory that was given back is not always seen to be.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::{Message, Peer, Speaker};
use deskbridge::{
    clock::{Clock, now_millis},
    gateway::SESSIONS_MAX,
    model::{Group, InboxName, Lane, NewEnvelope, Order, Session, SinkName},
    sessions::{Sessions, home_of},
    store::{Batch, Place, SqliteStore, Store},
    tenure::Tenure,
};

use crate::{plan, slices, stand_in::StandIn, wait};

const LANES: usize = 10_000;
/// Beside what surrounds it, about a KiB.
const TEXT_BYTES: usize = 700;
const WRITERS: usize = 512;

/// How much is loaded; a hundredth when it only has to be shown that it works.
pub(crate) struct Load {
    pub(crate) waiting: usize,
    pub(crate) sessions: usize,
    pub(crate) cached: usize,
    pub(crate) kills: usize,
}

impl Load {
    pub(crate) fn small() -> Self {
        Self { waiting: 2_000, sessions: 12_000, cached: 2_000, kills: 2 }
    }
    pub(crate) fn large() -> Self {
        Self { waiting: 1_000_000, sessions: 1_000_000, cached: SESSIONS_MAX, kills: 7 }
    }
}

pub(crate) fn run(folder: &Path, load: &Load) {
    println!("\n| memory of the process | MiB resident |\n| --- | --- |");
    println!("| idle | {:.1} |", idle(folder));
    let full = folder.join("full");
    let (waiting, sessions, cached) = (load.waiting, load.sessions, load.cached);
    let begun = Instant::now();
    myself("footprint-fill", &full, &[waiting, sessions]);
    let filled = begun.elapsed().as_secs_f64();
    let resident = myself("footprint-cache", &full, &[cached]);
    println!("| {waiting} waiting, {cached} sessions cached | {:.1} |", resident[1] as f64 / 1024.0);
    println!("\na cached session costs {} bytes (goal 220)", resident[0]);
    println!("(filled in {filled:.1} s)");
    restarts(&full, load);
}

/// The words of a child process; says whether this is one.
pub(crate) async fn is_child(words: &[String]) -> bool {
    let number = |at: usize| words[at].parse().expect("a number");
    match words.first().map(String::as_str) {
        Some("footprint-fill") => fill(Path::new(&words[1]), number(2), number(3)).await,
        Some("footprint-cache") => cache(Path::new(&words[1]), number(2)).await,
        _ => return false,
    }
    true
}

/// Runs a part of this bench in a process of its own, which answers with numbers.
fn myself(part: &str, folder: &Path, numbers: &[usize]) -> Vec<u64> {
    let mut command = Command::new(std::env::current_exe().expect("this program has a file"));
    command.arg(part).arg(folder).args(numbers.iter().map(ToString::to_string));
    let output = command.stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{part} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&Place::in_dir(folder)).expect("the folder can be written"))
}

/// What waits goes to threads 0 to [`LANES`] - 1, which have sessions.
async fn fill(folder: &Path, waiting: usize, sessions: usize) {
    let store = open(folder);
    let threads: Vec<usize> = (0..sessions.max(LANES)).collect();
    for some in threads.chunks(WRITERS) {
        let saved = some.iter().map(|thread| {
            let store = store.clone();
            async move { store.save_session(&session(*thread)).await.expect("the store works") }
        });
        futures_util::future::join_all(saved).await;
    }
    let envelopes: Vec<usize> = (0..waiting).collect();
    for some in envelopes.chunks(WRITERS) {
        let groups = some.iter().map(|number| Group::one(envelope(*number))).collect();
        store.accept(Batch { groups, ..Batch::default() }, now_millis()).await.expect("the store works");
    }
    store.close().await;
}

fn thread(number: usize) -> String {
    format!("a:peer-number-{number}")
}

fn session(number: usize) -> Session {
    Session {
        bridge: "net".into(),
        thread: thread(number).into(),
        contact: number as i64 + 1,
        source_id: format!("net/{}", thread(number)),
        conversation: number as i64 + 1,
        resolved: false,
        profile: 0,
        home: home_of(&plan::client(plan::nobody()), 0),
    }
}

fn envelope(number: usize) -> NewEnvelope {
    let thread = thread(number % LANES);
    let message = Message {
        peer: Peer {
            id: thread.as_str().into(),
            name: "peer".into(),
            facts: std::collections::BTreeMap::new(),
            email: None,
            picture: None,
        },
        speaker: Speaker::Peer,
        text: format!("{} {}", "x".repeat(TEXT_BYTES), number / LANES + 1),
        attachments: Vec::new(),
        reply_to: None,
        quiet: false,
        facts: std::collections::BTreeMap::new(),
        thread_facts: std::collections::BTreeMap::new(),
    };
    NewEnvelope {
        key: format!("net/{number}/0").into(),
        at_millis: now_millis(),
        lane: Lane::new(SinkName::inbox(&InboxName::new("support")), "in", "net", &thread),
        rank: 0,
        due_millis: 0,
        order: Order::Post { bridge: "net".into(), thread: thread.as_str().into(), message },
    }
}

/// Prints bytes for each cached session, and KiB with all of it in memory.
async fn cache(folder: &Path, cached: usize) {
    let me = std::process::id();
    let (gateway, store) = plan::gateway(folder, plan::nobody(), plan::irc(1)).await;
    while gateway.board().inboxes().values().all(|stated| matches!(stated.state, bridge_api::BridgeState::Connecting)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The scan is over when a second look finds the memory at rest.
    let mut before = 0;
    while slices::resident_kib(me) != before {
        before = slices::resident_kib(me);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let clock = Clock::system();
    let tenure = Tenure::sole(store.lease("footprint", clock.now()).await.expect("the store works"), clock);
    let client = Arc::new(plan::client(plan::nobody()));
    let sessions = Sessions::new(store.clone(), client, (clock, tenure), (SESSIONS_MAX, 0));
    for number in 0..cached {
        let known = sessions.known(&"net".into(), &thread(number).into()).await.expect("the store works");
        assert!(known.is_some(), "session {number} was saved");
    }
    let after = slices::resident_kib(me);
    assert_eq!(sessions.len(), cached.min(sessions.len()));
    println!("{} {after}", (after.saturating_sub(before) * 1024) / cached as u64);
}

/// The executable itself with nothing to do.
fn idle(folder: &Path) -> f64 {
    let place = folder.join("idle");
    let (mut child, address) = start(&place, "127.0.0.1:1");
    wait_until_it_listens(address);
    std::thread::sleep(Duration::from_secs(1));
    let kib = slices::resident_kib(child.id());
    kill(&mut child);
    kib as f64 / 1024.0
}

/// Kills and starts it again over what waits; each time some more of that is delivered.
fn restarts(full: &Path, load: &Load) {
    let inbox = StandIn::start();
    let (mut listening, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..load.kills {
        let messages = inbox.messages();
        let begun = Instant::now();
        let (mut child, address) = start(full, &inbox.address.to_string());
        listening.push(wait_until_it_listens(address).duration_since(begun).as_secs_f64());
        delivered.push(inbox.wait_for(messages + 1).duration_since(begun).as_secs_f64());
        kill(&mut child);
    }
    let (listening, delivered) = (slices::middle(listening), slices::middle(delivered));
    println!(
        "\nstart after a kill with {} waiting and {} sessions, middle of {}:",
        load.waiting, load.sessions, load.kills
    );
    println!("listening after {listening:.3} s (goal 0.1), first delivery after {delivered:.3} s (goal 1)");
}

fn start(data_dir: &Path, inbox: &str) -> (Child, std::net::SocketAddr) {
    std::fs::create_dir_all(data_dir).expect("a folder");
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let settings = data_dir.with_extension("toml");
    let text = format!(
        "[gateway]\nlisten = \"{address}\"\ndata_dir = \"{}\"\n[inboxes.support]\nurl = \"http://{inbox}\"\naccount_id = 1\ninbox_id = 7\n\
         api_access_token = \"demo\"\ncallback_secret = \"demo\"\n[bridges.net]\nkind = \"irc\"\ninbox = \"support\"\npeer_pause_millis = 0\nserver = \"127.0.0.1\"\nport = 1\ntls = false\nnick = \"help\"\n",
        data_dir.display()
    );
    std::fs::write(&settings, text).expect("the folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.arg("run").arg("-c").arg(settings).stdout(Stdio::null()).stderr(Stdio::null());
    (command.spawn().expect("it starts"), address)
}

fn wait_until_it_listens(address: std::net::SocketAddr) -> Instant {
    let what = || format!("the executable to listen on {address}");
    let look = || std::net::TcpStream::connect(address).is_ok().then(Instant::now);
    wait::until(Duration::from_millis(1), what, look)
}

fn kill(child: &mut Child) {
    child.kill().expect("it runs");
    child.wait().expect("it was started here");
}
