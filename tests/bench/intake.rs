//! Callbacks stored and answered a second: the real gateway beside the same server over a raw file that
//! appends with group fdatasync. The bridge is down all the time, so every reply waits in the outbox.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use bridge_api::{CancellationToken, Secret};
use deskbridge::{
    chatwoot::callback::{parse, verify},
    clock::now_millis,
    gateway::Gateway,
    http::{BODY_BYTES_MAX, serve::serve},
    model::SinkName,
    store::Store,
};
use http_body_util::{BodyExt, Limited};

use crate::{
    disk::{Gate, RawLog},
    load::{self, SECRET},
    plan,
    slices::{Effort, Slice, cpu_time, median, millis, ratio},
};

/// What the outbox keeps of one callback: key, hash, order, numbers.
const KEPT_BYTES: usize = 400;
/// More than any slice can send.
const CALLBACKS_A_SECOND: usize = 60_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gateway,
    /// Appends whole callbacks.
    RawWhole,
    /// Appends as many bytes as the outbox keeps.
    RawKept,
}

struct Candidate {
    kind: Kind,
    connections: usize,
    address: SocketAddr,
    slices: Vec<Slice>,
}

pub(crate) async fn run(folder: &Path, effort: Effort) {
    let (gateway, store) = plan::gateway(&folder.join("intake"), plan::nobody(), plan::irc(1)).await;
    let stop = CancellationToken::new();
    let whole = raw_server(&folder.join("raw-whole"), None, stop.clone()).await;
    let kept = raw_server(&folder.join("raw-kept"), Some(KEPT_BYTES), stop.clone()).await;
    let servers = [(Kind::Gateway, gateway.address()), (Kind::RawWhole, whole), (Kind::RawKept, kept)];
    let mut candidates: Vec<Candidate> = [1, 16, 64]
        .into_iter()
        .flat_map(|connections| {
            servers.map(|(kind, address)| Candidate { kind, connections, address, slices: Vec::new() })
        })
        .collect();
    let mut gate = Gate::new(effort.patience);
    let (mut message, mut stored) = (1_000_000, 0);
    for _ in 0..effort.rounds {
        fastrand::shuffle(&mut candidates);
        for candidate in &mut candidates {
            let (_, quiet) = gate.wait(folder);
            let slice = measure(candidate, &mut message, effort.slice, quiet).await;
            if candidate.kind == Kind::Gateway {
                stored += slice.1;
            }
            candidate.slices.push(slice.0);
        }
    }
    each_is_kept_once(&gateway, &*store, message, stored).await;
    stop.cancel();
    gateway.stop().await;
    print(&candidates);
}

/// Returns how many callbacks were answered too.
async fn measure(candidate: &Candidate, message: &mut u64, length: Duration, quiet: bool) -> (Slice, usize) {
    let count = (CALLBACKS_A_SECOND as f64 * length.as_secs_f64()) as usize;
    let requests = load::callbacks(*message, count, now_millis());
    *message += count as u64;
    let cpu = cpu_time();
    let (address, connections) = (candidate.address, candidate.connections);
    let send = move || load::send(address, &requests, connections, length, "stored\n");
    let outcome = tokio::task::spawn_blocking(send).await.expect("every callback is answered");
    let answered = outcome.times.len();
    (Slice::new(outcome.times, outcome.elapsed, cpu_time().saturating_sub(cpu), quiet), answered)
}

/// What was answered waits, all of it and nothing else, and a second copy changes nothing.
async fn each_is_kept_once(gateway: &Gateway, store: &dyn Store, message: u64, stored: usize) {
    let network = SinkName::bridge(&"net".into());
    let depth = async || store.depth().await.expect("the store works").of(&network) as usize;
    assert_eq!(depth().await, stored, "each stored callback waits, and nothing else does");
    let (address, one) = (gateway.address(), load::callbacks(message, 1, now_millis()));
    let twice = move || {
        load::send(address, &one, 1, Duration::from_secs(9), "stored\n");
        load::send(address, &one, 1, Duration::from_secs(9), "known\n");
    };
    tokio::task::spawn_blocking(twice).await.expect("both are answered");
    assert_eq!(depth().await, stored + 1, "the same callback again is known");
}

/// The door without the gateway behind it.
async fn raw_server(path: &Path, bytes: Option<usize>, stop: CancellationToken) -> SocketAddr {
    let state = Arc::new((RawLog::open(path), vec![Secret::new(SECRET)], bytes));
    let router = Router::new().route("/callbacks/{inbox}", post(take)).with_state(state);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        // As many threads as the gateway has.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads are to be had");
        let listener = listener.into_std().expect("a listener");
        runtime.block_on(async {
            serve(tokio::net::TcpListener::from_std(listener).expect("a listener"), router, stop).await;
        });
    });
    address
}

type Raw = (RawLog, Vec<Secret>, Option<usize>);

async fn take(State(state): State<Arc<Raw>>, headers: HeaderMap, body: Body) -> Result<&'static str, StatusCode> {
    let (log, secrets, bytes) = &*state;
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    verify(&headers, &body, secrets, now_millis() / 1000).map_err(|_| StatusCode::UNAUTHORIZED)?;
    let callback = parse(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if callback.message_id.is_none() {
        return Err(StatusCode::BAD_REQUEST);
    }
    log.append(bytes.map_or_else(|| body.to_vec(), |bytes| vec![7; bytes])).await;
    Ok("stored\n")
}

fn print(candidates: &[Candidate]) {
    println!("\n| callbacks, connections | stored/s | p50 / p99 ms | CPU us, client too | quiet |");
    println!("| --- | --- | --- | --- | --- |");
    let find = |kind, connections| {
        let found = candidates.iter().find(|c| c.kind == kind && c.connections == connections);
        &found.expect("all were measured").slices
    };
    for connections in [1, 16, 64] {
        for (kind, name) in [
            (Kind::Gateway, "gateway"),
            (Kind::RawWhole, "raw log, whole callbacks"),
            (Kind::RawKept, "raw log, what the outbox keeps"),
        ] {
            let slices = find(kind, connections);
            println!(
                "| {name}, {connections} | {:.0} | {:.2} / {:.2} | {:.1} | {}/{} |",
                median(slices, |slice| slice.rate),
                median(slices, |slice| millis(slice.p50)),
                median(slices, |slice| millis(slice.p99)),
                median(slices, |slice| slice.cpu_micros),
                slices.iter().filter(|slice| slice.quiet).count(),
                slices.len(),
            );
        }
    }
    for (kind, name) in [(Kind::RawWhole, "whole callbacks"), (Kind::RawKept, "what the outbox keeps")] {
        let (ours, theirs) = (find(Kind::Gateway, 64), find(kind, 64));
        println!(
            "intake at 64 connections beside {name}: {:.2} (goal 0.70), p99 {:.1} times (goal 3)",
            ratio(ours, theirs, |slice| slice.rate),
            ratio(ours, theirs, |slice| millis(slice.p99)),
        );
    }
}
