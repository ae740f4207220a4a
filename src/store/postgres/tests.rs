//! What is this store's own: several replicas, and a server that goes away.

mod proxy;
mod rough;

use std::time::Duration;

use futures_util::future::join_all;

use self::proxy::{Losing, Proxy};
use super::{PostgresPlace, PostgresStore, Tls, place::Role, server};
use crate::{
    model::{EnvelopeId, Group, Partitions},
    store::{
        Accepted, Batch, Begin, EnvelopeState, LEASE_MILLIS, Settle, Settled, Store, StoreError, Turn, Turned,
        Watermark,
        suite::{NOW, key, new},
    },
};

async fn open(place: &PostgresPlace) -> PostgresStore {
    PostgresStore::open(place).await.unwrap()
}

async fn accept(store: &PostgresStore, name: &str) -> Result<Accepted, StoreError> {
    let groups = vec![Group::one(new(name, "one", 0))];
    let mut accepted = store.accept(Batch { groups, ..Batch::default() }, NOW).await?;
    Ok(accepted.remove(0))
}

async fn accepted_id(store: &PostgresStore, name: &str) -> EnvelopeId {
    accept(store, name).await.unwrap().into_waiting()[0].id
}

fn begin(id: EnvelopeId) -> Turn {
    Turn { begin: vec![Begin { id, mark: 1 }], ..Turn::default() }
}

fn done(id: EnvelopeId, follow: Vec<Group>) -> Turn {
    Turn { settle: vec![Settle { id, outcome: Settled::Done { result: None, follow } }], ..Turn::default() }
}

#[tokio::test]
async fn who_lost_the_lease_to_another_replica_settles_nothing() {
    let Some(place) = server::place() else { return };
    let (one, other) = (open(&place).await, open(&place).await);
    let id = accepted_id(&one, "a").await;
    let old = one.lease("one", NOW).await.unwrap();
    one.turn(&old, begin(id), NOW).await.unwrap();
    assert_eq!(other.worker().await, Ok(Some("one".to_owned())));
    let new = other.lease("other", NOW + LEASE_MILLIS).await.unwrap();
    let lost = Turned { lost: vec![id], ..Turned::default() };
    assert_eq!(one.turn(&old, done(id, Vec::new()), NOW).await, Ok(lost));
    assert_eq!(one.waiting(&old, &Partitions::ALL, EnvelopeId(0), 9).await, Ok(Vec::new()));
    let open = other.turn(&new, begin(id), NOW).await.unwrap().begun.remove(0);
    assert!(open.doubt.is_some(), "it is asked about");
    assert_eq!(other.turn(&new, done(id, Vec::new()), NOW).await.unwrap().gone, []);
    other.release(&new).await.unwrap();
    assert_eq!(one.worker().await, Ok(None));
}

/// The one before had this data directory, which one process has for itself.
#[tokio::test]
async fn who_comes_after_a_crash_in_the_same_place_does_not_wait_for_itself() {
    let Some(place) = server::place() else { return };
    let (before, after) = (open(&place).await, open(&place).await);
    before.lease("gateway x, pid 1", NOW).await.unwrap();
    let other = before.lease("gateway y, pid 1", NOW).await.unwrap();
    assert!(other.partitions().is_empty());
    after.bury("gateway x, ").await.unwrap();
    let taken = after.renew(&other, NOW).await.unwrap();
    assert_eq!((taken.lease.partitions(), taken.orphaned, taken.owners), (Partitions::ALL, Partitions::ALL, 1));
}

#[tokio::test]
async fn a_replica_hears_what_another_took_in_for_it_and_not_what_it_took_in_itself() {
    let Some(place) = server::place() else { return };
    let (one, other) = (open(&place).await, open(&place).await);
    let all = one.lease("one", NOW).await.unwrap();
    other.lease("other", NOW).await.unwrap();
    // Until both listen.
    let heard = async || tokio::time::timeout(Duration::from_millis(200), one.hint()).await.is_ok();
    let mut said = 0;
    while !heard().await {
        accepted_id(&other, &format!("of the other {said}")).await;
        said += 1;
        assert!(said < 100, "nothing is heard");
    }
    one.give_back(&all, &Partitions::ALL).await.unwrap();
    while heard().await {}
    accepted_id(&one, "own").await;
    assert!(!heard().await);
}

#[tokio::test]
async fn what_two_replicas_are_offered_at_once_becomes_one_envelope() {
    let Some(place) = server::place() else { return };
    let (one, other) = (open(&place).await, open(&place).await);
    let names: Vec<_> = (0..200).map(|number| format!("{number}")).collect();
    // Against each other's order, so that they meet in the middle.
    let (all, others) = tokio::join!(
        join_all(names.iter().map(|name| accept(&one, name))),
        join_all(names.iter().rev().map(|name| accept(&other, name))),
    );
    for (name, accepted) in names.iter().zip(all.into_iter().zip(others.into_iter().rev())) {
        let new = [&accepted.0, &accepted.1].map(|one| usize::from(matches!(one, Ok(Accepted::New(_)))));
        assert_eq!(new[0] + new[1], 1, "{name}: {accepted:?}");
    }
    assert_eq!(one.depth().await.unwrap().waiting, 200);
}

#[tokio::test]
async fn what_commits_late_is_still_seen_by_who_reads_on_from_the_newest() {
    let Some(place) = server::place() else { return };
    let store = open(&place).await;
    let lease = store.lease("tests", NOW).await.unwrap();
    let first = accepted_id(&store, "a").await;
    let late = place.dialer(store.tasks.clone()).unwrap().dial(Role::Writer).await.unwrap();
    late.batch_execute("BEGIN").await.unwrap();
    late.query(super::fence::ANNOUNCE, &[]).await.unwrap();
    let number: i64 = late.query_one("SELECT nextval('envelope_id')", &[]).await.unwrap().get(0);
    let copy = "INSERT INTO ev SELECT $1, share, sink, lane, rank, due, 0, 0 FROM ev WHERE id = $2";
    late.execute(copy, &[&number, &first.0]).await.unwrap();
    let newest = accepted_id(&store, "b").await;
    assert!(newest.0 > number);
    let ids = async |since| {
        let news = store.news(&lease, since, 9).await.unwrap();
        (news.waiting.iter().map(|waiting| waiting.id.0).collect::<Vec<_>>(), news.next)
    };
    let (seen, next) = ids(Watermark::START).await;
    assert!(seen.iter().all(|id| *id < number), "{seen:?} with {number} on its way");
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(next).await.0.last_chunk::<2>(), Some(&[number, newest.0]));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_out() {
    let Some(place) = server::place() else { return };
    let (proxy, proxied) = Proxy::before(&place);
    let store = open(&proxied).await;
    let lease = store.lease("tests", NOW).await.unwrap();
    for (name, losing) in [("a", Losing::Answer), ("b", Losing::Question)] {
        proxy.lose(losing);
        let accepted = accept(&store, name).await.unwrap();
        assert!(matches!(accepted, Accepted::New(_)), "{losing:?}: {accepted:?}");
        assert!(proxy.has_lost());
        let id = accepted.into_waiting()[0].id;
        proxy.lose(losing);
        let envelope = store.turn(&lease, begin(id), NOW).await.unwrap().begun.remove(0);
        assert_eq!((envelope.attempts, envelope.doubt), (1, None), "{losing:?}");
        proxy.lose(losing);
        let follow = vec![Group::one(new(&format!("{name}/receipt"), "receipts", 0))];
        let turned = store.turn(&lease, done(id, follow), NOW).await.unwrap();
        assert_eq!((turned.gone.len(), turned.accepted.len()), (0, 1), "{losing:?}");
        assert!(proxy.has_lost());
        let history = store.history(&key(name)).await.unwrap().unwrap();
        assert!(matches!(history.state, EnvelopeState::Done { .. }));
    }
    assert_eq!(store.depth().await.unwrap().waiting, 2, "the receipts");
}

#[tokio::test]
async fn a_server_that_took_over_and_is_behind_ends_the_process() {
    let Some(mut place) = server::place() else { return };
    place.config.application_name("behind");
    let store = open(&place).await;
    accept(&store, "a").await.unwrap();
    let client = store.side.client().await.unwrap();
    let lose = "UPDATE writer SET number = number - 1";
    client.batch_execute(lose).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'behind' AND pid <> pg_backend_pid()";
    client.batch_execute(cut).await.unwrap();
    let refused = loop {
        match accept(&store, "b").await {
            Err(StoreError::Unwritable(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(refused, Err(StoreError::Broken(_))), "{refused:?}");
}

#[tokio::test]
async fn a_verb_that_the_database_refuses_does_not_fail_those_that_share_its_transaction() {
    let Some(place) = server::place() else { return };
    let store = open(&place).await;
    // No index takes a name of this length.
    let long: String = (0..20_000).map(|n: u32| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap()).collect();
    let cursors = vec![("irc".to_owned(), bridge_api::Cursor::set(long, "x"))];
    let bad = store.accept(Batch { cursors, ..Batch::default() }, NOW);
    let (before, bad, after) = tokio::join!(accept(&store, "a"), bad, accept(&store, "b"));
    assert!(matches!(bad, Err(StoreError::Unwritable(_))), "{bad:?}");
    assert!(matches!((&before, &after), (Ok(Accepted::New(_)), Ok(Accepted::New(_)))), "{before:?} {after:?}");
}

#[tokio::test]
async fn an_order_that_cannot_be_read_becomes_a_dead_letter() {
    let Some(place) = server::place() else { return };
    let store = open(&place).await;
    let (bad, good) = (accepted_id(&store, "a").await, accepted_id(&store, "b").await);
    let client = store.side.client().await.unwrap();
    client.execute("UPDATE body SET order_json = '{\"order\":\"?\"}' WHERE id = $1", &[&bad.0]).await.unwrap();
    let lease = store.lease("tests", NOW).await.unwrap();
    let both = Turn { begin: vec![Begin { id: bad, mark: 0 }, Begin { id: good, mark: 0 }], ..Turn::default() };
    let turned = store.turn(&lease, both, NOW).await.unwrap();
    assert_eq!(turned.gone, [bad]);
    assert_eq!(turned.begun.iter().map(|envelope| &envelope.key).collect::<Vec<_>>(), [&key("b")]);
    assert!(store.dead(1).await.unwrap()[0].reason.contains("cannot be read"));
}

#[tokio::test]
async fn every_commit_waits_for_the_disk_and_every_wait_has_an_end() {
    let Some(place) = server::place() else { return };
    let store = open(&place).await;
    let dialer = place.dialer(store.tasks.clone()).unwrap();
    for role in [Role::Writer, Role::Side, Role::Reader] {
        let client = dialer.dial(role).await.unwrap();
        let show = async |name: &str| -> String {
            let sql = "SELECT current_setting($1)";
            client.query_one(sql, &[&name]).await.unwrap().get(0)
        };
        assert_eq!(show("synchronous_commit").await, "on", "{role:?}");
        for limit in ["lock_timeout", "idle_in_transaction_session_timeout"] {
            assert_ne!(show(limit).await, "0", "{limit} of the {role:?}");
        }
        assert_eq!(show("statement_timeout").await == "0", role == Role::Side, "{role:?}");
    }
    let commits = store.commits().unwrap();
    let before = commits.get_sample_count();
    accept(&store, "a").await.unwrap();
    assert!(commits.get_sample_count() > before);
    let space = store.space().await.unwrap();
    assert!(space.used_bytes > 100_000 && space.free_bytes == u64::MAX, "{space:?}");
    assert!(store.describe().contains("schema test"), "{}", store.describe());
}

#[tokio::test]
async fn a_connection_is_as_secret_as_the_address_asks_for() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n");
    let files = [("server.crt", certificate.clone()), ("server.key", key)];
    let Some(server) = server::Server::start_with(&settings, &files) else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate).unwrap();
    for (tls, host, known, expected) in [
        (Tls::Disable, "localhost", false, Some(false)),
        (Tls::Prefer, "elsewhere", false, Some(true)),
        (Tls::Require, "elsewhere", false, Some(true)),
        (Tls::Require, "elsewhere", true, Some(true)),
        (Tls::VerifyCa, "elsewhere", true, Some(true)),
        (Tls::VerifyFull, "localhost", true, Some(true)),
        (Tls::VerifyFull, "elsewhere", true, None),
        (Tls::VerifyCa, "localhost", false, None),
    ] {
        let mut place = server.place();
        place.config = tokio_postgres::Config::new();
        place.config.host(host).hostaddr([127, 0, 0, 1].into()).port(port).user("deskbridge").dbname("postgres");
        (place.tls, place.ca_file) = (tls, known.then(|| ca_file.clone()));
        let is_secret = async {
            let client = place.dialer(tokio_util::task::TaskTracker::new()).ok()?.dial(Role::Reader).await.ok()?;
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Some(client.query_one(sql, &[]).await.ok()?.get::<_, bool>(0))
        };
        assert_eq!(is_secret.await, expected, "{tls:?} of {host}, known: {known}");
    }
}
