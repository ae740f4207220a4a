//! A server that is restarted, and connections that are cut, in the middle of work.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{PostgresPlace, PostgresStore, accept, begin, done, open};
use crate::{
    model::{EnvelopeId, Group, Partitions},
    store::{
        Accepted, EnvelopeState, Lease, Store, StoreError, Turn, Turned,
        postgres::{place::Role, server::Server},
        suite::{NOW, key, new},
    },
};

const TASKS: usize = 8;
const ROUNDS: usize = 40;
const PATIENCE: Duration = Duration::from_mins(1);

/// Does it again while nothing can be written, as the gateway does. How often that was.
async fn insist<T>(verb: impl AsyncFn() -> Result<T, StoreError>) -> (T, usize) {
    let until = Instant::now() + PATIENCE;
    let mut refused = 0;
    loop {
        match verb().await {
            Ok(done) => return (done, refused),
            Err(StoreError::Unwritable(reason)) => assert!(Instant::now() < until, "{reason}"),
            Err(error) => panic!("{error}"),
        }
        refused += 1;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn turn(store: &PostgresStore, lease: &Lease, turn: Turn) -> (Turned, usize) {
    insist(async || store.turn(lease, turn.clone(), NOW).await).await
}

/// Takes in, begins and settles one after another. Names of those that were acknowledged as new and as settled.
async fn toil(store: &PostgresStore, lease: &Lease, task: usize) -> Vec<String> {
    let mut settled = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("{task}/{round}");
        let (accepted, refused) = insist(async || accept(store, &name).await).await;
        let id = match accepted {
            Accepted::New(waiting) => waiting[0].id,
            Accepted::Duplicate | Accepted::Revived(_) => {
                assert!(refused > 0, "{name} is known though nobody offered it before");
                insist(async || store.history(&key(&name)).await).await.0.expect("a duplicate is there").id
            }
        };
        let (turned, _) = turn(store, lease, begin(id)).await;
        assert_eq!(turned.begun.len(), 1, "{name} waits");
        assert_eq!(turned.begun[0].doubt, None, "{name}: nobody has started it");
        let receipt = Group::one(new(&format!("{name}/receipt"), "receipts", 0));
        let (turned, refused) = turn(store, lease, done(id, vec![receipt])).await;
        assert!(turned.gone.is_empty() || refused > 0, "{name} is settled once");
        settled.push(name);
    }
    settled
}

async fn look(store: &PostgresStore, settled: &[String]) {
    for name in settled {
        let history = store.history(&key(name)).await.unwrap().unwrap_or_else(|| panic!("{name} is lost"));
        assert!(matches!(history.state, EnvelopeState::Done { .. }), "{name}: {history:?}");
        assert_eq!(history.attempts.len(), 1, "{name}");
        assert!(store.history(&key(&format!("{name}/receipt"))).await.unwrap().is_some(), "{name}");
    }
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (settled.len() as u64, 0), "each has caused one receipt");
    let client = store.side.client().await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM ev), (SELECT count(*) FROM body), (SELECT count(*) FROM done)";
    let row = client.query_one(counts, &[]).await.unwrap();
    assert_eq!([0, 1, 2].map(|column| row.get::<_, i64>(column)), [settled.len() as i64; 3]);
}

async fn work(place: &PostgresPlace, trouble: impl Future<Output = ()>) {
    let store = Arc::new(open(place).await);
    let lease = store.lease("tests", NOW).await.unwrap();
    let toils = join_all((0..TASKS).map(|task| toil(&store, &lease, task)));
    let (settled, ()) = tokio::join!(toils, trouble);
    let settled: Vec<String> = settled.into_iter().flatten().collect();
    assert_eq!(settled.len(), TASKS * ROUNDS);
    look(&store, &settled).await;
    let waiting = store.waiting(&lease, &Partitions::ALL, EnvelopeId(0), 10_000).await.unwrap();
    assert_eq!(waiting.len(), settled.len());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_settled_twice_when_the_server_crashes_at_work() {
    let Some(server) = Server::start() else { return };
    let server = Arc::new(server);
    let restart = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(150)).await;
            let server = server.clone();
            let restart = move || server.control(&["restart", "-m", "immediate"]);
            tokio::task::spawn_blocking(restart).await.unwrap();
        }
    };
    work(&server.place(), restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_settled_twice_when_connections_are_cut_at_work() {
    let Some(server) = Server::start() else { return };
    let place = server.place();
    let dialer = place.dialer(tokio_util::task::TaskTracker::new()).unwrap();
    let client = dialer.dial(Role::Side).await.unwrap();
    let cut = async {
        for _ in 0..60 {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.5";
            client.query(sql, &[]).await.unwrap();
            sleep(Duration::from_millis(15)).await;
        }
    };
    work(&place, cut).await;
}

#[tokio::test]
async fn while_the_server_is_away_nothing_is_written_and_afterwards_all_works_again() {
    let Some(server) = Server::start() else { return };
    let place = server.place();
    let store = open(&place).await;
    let lease = store.lease("tests", NOW).await.unwrap();
    accept(&store, "a").await.unwrap();
    server.control(&["stop", "-m", "fast"]);
    for _ in 0..3 {
        let refused = accept(&store, "b").await;
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
        let refused = store.turn(&lease, Turn::default(), NOW).await;
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
        let refused = store.waiting(&lease, &Partitions::ALL, EnvelopeId(0), 9).await;
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
        assert!(matches!(store.check().await, Err(StoreError::Unwritable(_))));
        let refused = PostgresStore::open(&place).await.map(drop);
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
    }
    server.control(&["start"]);
    insist(async || store.check().await).await;
    assert!(matches!(insist(async || accept(&store, "b").await).await.0, Accepted::New(_)));
    assert_eq!(insist(async || accept(&store, "a").await).await.0, Accepted::Duplicate);
    assert_eq!(insist(async || store.waiting(&lease, &Partitions::ALL, EnvelopeId(0), 9).await).await.0.len(), 2);
}
