//! What every store must do, as sentences; run against each of them.

/// A test of each sentence on one store.
macro_rules! on_a_store {
    ($place:ident: $on:ident, $($sentence:ident)*) => {
        mod $place {
            $(#[tokio::test]
            async fn $sentence() {
                crate::store::suite::$on(super::$sentence).await;
            })*
        }
    };
}

/// Each sentence becomes a test for each store.
macro_rules! on_each_store {
    ($($sentence:ident)*) => {
        on_a_store! { memory: on_memory, $($sentence)* }
        on_a_store! { sqlite: on_sqlite, $($sentence)* }
        on_a_store! { postgres: on_postgres, $($sentence)* }
    };
}

/// The same for stores that several processes may work on at once.
macro_rules! on_each_shared_store {
    ($($sentence:ident)*) => {
        on_a_store! { memory_shared: on_shared_memory, $($sentence)* }
        on_a_store! { postgres_shared: on_postgres, $($sentence)* }
    };
}

/// And for stores of one process.
macro_rules! on_each_sole_store {
    ($($sentence:ident)*) => {
        on_a_store! { memory_sole: on_memory, $($sentence)* }
        on_a_store! { sqlite_sole: on_sqlite, $($sentence)* }
    };
}

mod accepting;
mod attempts;
mod forgetting;
mod keeping;
mod letters;
mod looking;
mod sharing;

use bridge_api::{Key, Part};

#[cfg(test)]
pub(in crate::store) use forgetting::{people, whom};
#[cfg(test)]
pub(in crate::store) use keeping::put;

use crate::{
    model::{
        EnvelopeId, Group, InboxName, Lane, MessageRef, NewEnvelope, OnDuplicate, Order, Partitions, SinkName, Waiting,
        rank_of,
    },
    store::{
        Accepted, Batch, Begin, Lease, MemoryStore, Place, Settle, Settled, SqliteStore, Store, Turn, Turned, postgres,
    },
};

pub(in crate::store) const NOW: i64 = 1_700_000_000_000;

pub(in crate::store) fn sink(name: &str) -> SinkName {
    SinkName::inbox(&InboxName::new(name))
}
pub(super) fn lane(name: &str) -> Lane {
    Lane::new(sink("support"), "out", "support", name)
}
async fn on_memory(sentence: impl AsyncFn(&dyn Store)) {
    sentence(&MemoryStore::default()).await;
}
async fn on_shared_memory(sentence: impl AsyncFn(&dyn Store)) {
    sentence(&MemoryStore::shared()).await;
}
async fn on_sqlite(sentence: impl AsyncFn(&dyn Store)) {
    let folder = tempfile::tempdir().unwrap();
    sentence(&SqliteStore::open(&Place::in_dir(folder.path())).unwrap()).await;
}
/// Where a server is installed.
async fn on_postgres(sentence: impl AsyncFn(&dyn Store)) {
    let Some(store) = postgres::fresh().await else { return };
    sentence(&store).await;
}

pub(in crate::store) fn key(text: &str) -> Key {
    Key::from(text)
}
/// One part of message 7 of a lane; `part` is its rank's.
pub(in crate::store) fn new(name: &str, in_lane: &str, part: usize) -> NewEnvelope {
    let message = MessageRef { inbox: InboxName::new("support"), conversation: 1, message: 7 };
    let part_text = Part::Text { text: format!("text of {name}"), reply_to: None };
    let order =
        Order::Send { bridge: "irc".into(), thread: "ann".into(), part: part_text, agent: None, message, last: true };
    NewEnvelope { key: key(name), at_millis: NOW, lane: lane(in_lane), rank: rank_of(7, part), due_millis: NOW, order }
}
pub(super) fn group(names: &[&str]) -> Group {
    let envelopes = names.iter().enumerate().map(|(part, name)| new(name, "one", part)).collect();
    Group { envelopes, on_duplicate: OnDuplicate::Ignore, unless: None }
}
pub(super) fn reviving(names: &[&str]) -> Group {
    Group { on_duplicate: OnDuplicate::Revive, ..group(names) }
}
pub(super) async fn accept(store: &dyn Store, groups: Vec<Group>) -> Vec<Accepted> {
    store.accept(Batch { groups, ..Batch::default() }, NOW).await.unwrap()
}
pub(super) async fn accept_one(store: &dyn Store, name: &str) -> EnvelopeId {
    let waiting = accept(store, vec![group(&[name])]).await.remove(0).into_waiting();
    waiting.first().expect("the name is new").id
}
pub(super) async fn lease(store: &dyn Store) -> Lease {
    store.lease("tests", NOW).await.unwrap()
}
pub(super) async fn waiting(store: &dyn Store, lease: &Lease) -> Vec<Waiting> {
    store.waiting(lease, &Partitions::ALL, EnvelopeId(0), 1000).await.unwrap()
}
pub(super) async fn begin(store: &dyn Store, lease: &Lease, id: EnvelopeId, at: i64) -> Turned {
    let turn = Turn { begin: vec![Begin { id, mark: 40 }], ..Turn::default() };
    store.turn(lease, turn, at).await.unwrap()
}
pub(super) async fn settle(store: &dyn Store, lease: &Lease, id: EnvelopeId, outcome: Settled, at: i64) -> Turned {
    let turn = Turn { settle: vec![Settle { id, outcome }], ..Turn::default() };
    store.turn(lease, turn, at).await.unwrap()
}
pub(super) fn done() -> Settled {
    Settled::Done { result: Some("far/1".into()), follow: Vec::new() }
}
pub(super) fn dead(also: &[EnvelopeId]) -> Settled {
    Settled::Dead { at_millis: NOW, reason: "no such nick".into(), also: also.to_vec(), follow: Vec::new() }
}
pub(super) fn again(spent: bool) -> Settled {
    Settled::Again { due_millis: NOW + 5_000, spent, reason: "busy".into() }
}
