//! From Matrix to the inbox, end to end: the real bridge reads transactions from its websocket as fast as it can, each
//! becomes durable and is acknowledged, and is posted and settled. Beside a client that reads the same frames and
//! parses nothing.

use std::{path::Path, sync::Arc, time::Instant};

use bridge_api::{BridgeName, Kind};
use bridge_matrix::Matrix;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::{
    disk::Gate,
    homeserver::{Homeserver, Reader},
    plan,
    slices::{Effort, Slice, cpu_time, median, ratio, resident_kib},
    stand_in::StandIn,
    wait::{until_posted, until_settled},
};

/// What is said in each room in one slice.
const LINES: u64 = 20;

pub(crate) async fn run(folder: &Path, effort: Effort) {
    let (rooms, lines) = (20 * effort.scale as u64, LINES);
    let (inbox, mut home) = (Arc::new(StandIn::start()), Homeserver::start());
    let (me, port) = (std::process::id(), home.port);
    let memory = resident_kib(me);
    let (gateway, store) = plan::gateway(&folder.join("matrix"), inbox.address, bridge(port)).await;
    let begun = Instant::now();
    home.speak(Reader::Gateway, rooms, 1);
    let opened = until_posted(&inbox, rooms).await - begun;
    until_settled(&*store).await;
    let grown = resident_kib(me).saturating_sub(memory);

    let bare = bare(port).await;
    let mut slices = [Vec::new(), Vec::new(), Vec::new()];
    let mut gate = Gate::new(effort.patience);
    for _ in 0..effort.rounds {
        let mut readers = [Reader::Gateway, Reader::Bare];
        fastrand::shuffle(&mut readers);
        for reader in readers {
            let (_, quiet) = gate.wait(folder);
            let (posted, acknowledged, cpu, begun) =
                (inbox.messages(), home.acknowledged(), cpu_time(), Instant::now());
            let frames = home.speak(reader, rooms, lines);
            let stored = home.wait_for(acknowledged + frames);
            let count = rooms * lines;
            let mut keep = |at: usize, ended: Instant| {
                let cpu = cpu_time().saturating_sub(cpu);
                slices[at].push(Slice::of_all(count, ended - begun, cpu, quiet));
            };
            match reader {
                Reader::Bare => keep(2, stored),
                Reader::Gateway => {
                    keep(0, stored);
                    keep(1, until_posted(&inbox, posted + count).await);
                }
            }
            until_settled(&*store).await;
        }
    }
    drop(bare);
    assert_eq!(inbox.wrong(), 0, "each message comes once and in its conversation's order");
    assert_eq!(inbox.messages(), rooms * (1 + effort.rounds as u64 * lines), "each message comes");
    assert_eq!(gateway.sessions_cached() as u64, rooms);
    gateway.stop().await;
    println!(
        "\n{rooms} rooms with a message each, unknown before: all in the inbox after {:.2} s",
        opened.as_secs_f64()
    );
    println!("resident memory grew by {grown} KiB for them, stand-ins included");
    print(&slices);
}

fn bridge(port: u16) -> Arc<dyn bridge_api::Bridge> {
    let table = serde_json::json!({
        "mode": "websocket", "homeserver_url": format!("http://127.0.0.1:{port}"), "server_name": "bench.example",
        "as_token": Reader::Gateway.token(), "user": "_desk_support", "namespace": "_desk_",
    });
    let settings = serde_json::from_value(table).expect("good settings");
    Matrix::build(BridgeName::from("net"), settings).expect("usable settings")
}

/// The least that could read the same frames: answers each, and looks into none.
async fn bare(port: u16) -> tokio::task::JoinSet<()> {
    let url = format!("ws://127.0.0.1:{port}/_matrix/client/unstable/fi.mau.as_sync");
    let mut request = url.into_client_request().expect("an address");
    let token = format!("Bearer {}", Reader::Bare.token()).parse().expect("a header");
    request.headers_mut().insert("authorization", token);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("the homeserver runs");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let hello = socket.next().await;
        assert!(matches!(hello, Some(Ok(Message::Text(_)))), "{hello:?}");
        while let Some(Ok(Message::Text(_))) = socket.next().await {
            let answer = Message::text(r#"{"command":"response","id":1,"data":{}}"#);
            if socket.send(answer).await.is_err() {
                return;
            }
        }
    });
    tasks
}

fn print([stored, posted, bare]: &[Vec<Slice>; 3]) {
    println!("\n| from Matrix to the inbox | messages/s | CPU us, stand-ins too | quiet |");
    println!("| --- | --- | --- | --- |");
    for (name, slices) in
        [("stored and acknowledged", stored), ("in the inbox", posted), ("frames read, nothing parsed", bare)]
    {
        println!(
            "| {name} | {:.0} | {:.1} | {}/{} |",
            median(slices, |slice| slice.rate),
            median(slices, |slice| slice.cpu_micros),
            slices.iter().filter(|slice| slice.quiet).count(),
            slices.len(),
        );
    }
    println!(
        "stored beside bare frames: {:.3}; in the inbox beside bare frames: {:.3}",
        ratio(stored, bare, |slice| slice.rate),
        ratio(posted, bare, |slice| slice.rate)
    );
}
