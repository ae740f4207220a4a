//! What every store must do, as sentences; run against each of them.

use bridge_api::{Cursor, Key, Part};
use bytes::Bytes;

use super::{
    Accepted, Batch, Begin, BlobId, EnvelopeState, HOUR_MILLIS, Lease, MemoryStore, Settle, Settled, SqliteStore,
    Store, StoreError, Turn, Turned,
};
use crate::model::{
    EnvelopeId, Group, InboxName, Lane, MessageRef, NewEnvelope, OnDuplicate, OpenAttempt, Order, Session, SinkName,
    Waiting, rank_of,
};

const NOW: i64 = 1_700_000_000_000;

/// Each sentence becomes a test for each store.
macro_rules! sentences {
    ($($sentence:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(&super::MemoryStore::default()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                let folder = tempfile::tempdir().unwrap();
                let store = super::SqliteStore::open(&super::super::Place::in_dir(folder.path())).unwrap();
                super::$sentence(&store).await;
            })*
        }
    };
}

sentences! {
    what_is_accepted_waits_in_order_of_arrival
    a_group_whose_first_key_is_known_changes_nothing
    a_key_is_known_even_within_its_own_batch
    a_key_stays_known_whatever_became_of_its_envelope
    a_group_is_new_when_only_a_later_key_is_known
    a_repeated_order_revives_the_dead_parts_of_its_message_alone
    cursors_are_kept_with_what_they_cover
    cursors_are_found_by_scope_and_prefix_in_order
    begin_writes_an_attempt_down_and_counts_it
    an_open_attempt_is_shown_and_not_begun_again
    a_doubt_keeps_the_attempt_open
    an_attempt_that_is_not_spent_does_not_count
    what_is_done_is_gone_and_remembered
    a_dead_letter_takes_the_later_parts_with_it
    what_follows_is_accepted_once
    settling_what_is_not_open_is_ignored
    beginning_what_is_gone_is_ignored
    a_turn_settles_before_it_begins
    a_lost_lease_changes_nothing
    a_released_lease_is_lost
    what_waits_is_read_in_pages
    a_revived_letter_is_due_now_with_fresh_attempts_and_its_old_place
    a_discarded_letter_leaves_its_history
    dead_letters_are_listed_newest_first
    history_shows_every_attempt
    depth_counts_by_sink
    a_session_is_kept_changed_and_forgotten
    a_blob_comes_back_as_it_was
    pruning_forgets_what_ended_and_its_key_but_nothing_that_lives
    pruning_keeps_the_blobs_that_a_living_envelope_may_name
    ids_are_not_reused_after_everything_was_forgotten
    a_closed_store_refuses
    a_store_that_works_passes_its_check
}

pub(super) fn sink(name: &str) -> SinkName {
    SinkName::inbox(&InboxName::new(name))
}
pub(super) fn lane(name: &str) -> Lane {
    Lane::new(sink("support"), "out", "support", name)
}
pub(super) fn key(text: &str) -> Key {
    Key::from(text)
}
/// One part of message 7 of a lane; `part` is its rank's.
pub(super) fn new(name: &str, in_lane: &str, part: usize) -> NewEnvelope {
    let message = MessageRef { inbox: InboxName::new("support"), conversation: 1, message: 7 };
    let part_text = Part::Text { text: format!("text of {name}"), reply_to: None };
    let order = Order::Send { bridge: "irc".into(), thread: "ann".into(), part: part_text, message, last: true };
    NewEnvelope { key: key(name), at_millis: NOW, lane: lane(in_lane), rank: rank_of(7, part), due_millis: NOW, order }
}
fn group(names: &[&str]) -> Group {
    let envelopes = names.iter().enumerate().map(|(part, name)| new(name, "one", part)).collect();
    Group { envelopes, on_duplicate: OnDuplicate::Ignore }
}
fn reviving(names: &[&str]) -> Group {
    Group { on_duplicate: OnDuplicate::Revive, ..group(names) }
}
async fn accept(store: &dyn Store, groups: Vec<Group>) -> Vec<Accepted> {
    store.accept(Batch { groups, cursors: Vec::new() }, NOW).await.unwrap()
}
async fn accept_one(store: &dyn Store, name: &str) -> EnvelopeId {
    let waiting = accept(store, vec![group(&[name])]).await.remove(0).into_waiting();
    waiting.first().expect("the name is new").id
}
async fn lease(store: &dyn Store) -> Lease {
    store.lease("tests", NOW).await.unwrap()
}
async fn waiting(store: &dyn Store, lease: &Lease) -> Vec<Waiting> {
    store.waiting(lease, EnvelopeId(0), 1000).await.unwrap()
}
async fn begin(store: &dyn Store, lease: &Lease, id: EnvelopeId, at: i64) -> Turned {
    let turn = Turn { begin: vec![Begin { id, mark: 40 }], ..Turn::default() };
    store.turn(lease, turn, at).await.unwrap()
}
async fn settle(store: &dyn Store, lease: &Lease, id: EnvelopeId, outcome: Settled, at: i64) -> Turned {
    let turn = Turn { settle: vec![Settle { id, outcome }], ..Turn::default() };
    store.turn(lease, turn, at).await.unwrap()
}
fn done() -> Settled {
    Settled::Done { result: Some("far/1".into()), follow: Vec::new() }
}
fn dead(also: &[EnvelopeId]) -> Settled {
    Settled::Dead { reason: "no such nick".into(), also: also.to_vec(), follow: Vec::new() }
}
fn again(spent: bool) -> Settled {
    Settled::Again { due_millis: NOW + 5_000, spent, reason: "busy".into() }
}

async fn what_is_accepted_waits_in_order_of_arrival(store: &dyn Store) {
    let accepted = accept(store, vec![group(&["a/0", "a/1"]), group(&["b/0"])]).await;
    let all: Vec<_> = accepted.into_iter().flat_map(Accepted::into_waiting).collect();
    assert_eq!(
        all.iter().map(|waiting| waiting.rank).collect::<Vec<_>>(),
        [rank_of(7, 0), rank_of(7, 1), rank_of(7, 0)]
    );
    assert!(all.is_sorted_by(|one, next| one.id < next.id), "{all:?}");
    let lease = lease(store).await;
    assert_eq!(waiting(store, &lease).await, all);
    let listed: Vec<_> = store.list(2).await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(listed, [key("a/0"), key("a/1")]);
}

async fn a_group_whose_first_key_is_known_changes_nothing(store: &dyn Store) {
    accept(store, vec![group(&["a/0"])]).await;
    let accepted = accept(store, vec![group(&["a/0", "a/1"]), group(&["b/0"])]).await;
    assert_eq!(accepted[0], Accepted::Duplicate);
    assert!(matches!(accepted[1], Accepted::New(_)));
    assert_eq!(store.depth().await.unwrap().waiting, 2);
}

async fn a_key_is_known_even_within_its_own_batch(store: &dyn Store) {
    let accepted = accept(store, vec![group(&["a/0"]), group(&["a/0"])]).await;
    assert!(matches!(accepted[0], Accepted::New(_)));
    assert_eq!(accepted[1], Accepted::Duplicate);
}

async fn a_key_stays_known_whatever_became_of_its_envelope(store: &dyn Store) {
    let lease = lease(store).await;
    for (name, outcome) in [("a", done()), ("b", dead(&[])), ("c", dead(&[]))] {
        let id = accept_one(store, name).await;
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, outcome, NOW).await;
    }
    assert_eq!(store.discard(&[key("c")], NOW).await, Ok(1));
    for name in ["a", "b", "c"] {
        assert_eq!(accept(store, vec![group(&[name])]).await, [Accepted::Duplicate], "{name}");
    }
}

async fn a_group_is_new_when_only_a_later_key_is_known(store: &dyn Store) {
    accept(store, vec![group(&["a/0", "a/1"])]).await;
    assert_eq!(accept(store, vec![group(&["a/1"])]).await, [Accepted::Duplicate], "all keys of a group are known");
    let accepted = accept(store, vec![group(&["b/0", "a/1"])]).await.remove(0);
    assert_eq!(accepted.into_waiting().len(), 2);
}

async fn a_repeated_order_revives_the_dead_parts_of_its_message_alone(store: &dyn Store) {
    let mut other = new("other", "one", 0);
    other.rank = rank_of(8, 0);
    let parts = accept(store, vec![reviving(&["a/0", "a/1", "a/2"])]).await.remove(0).into_waiting();
    let others = accept(store, vec![Group::one(other), Group::one(new("elsewhere", "two", 0))]).await;
    let others: Vec<_> = others.into_iter().flat_map(Accepted::into_waiting).map(|waiting| waiting.id).collect();
    let lease = lease(store).await;
    begin(store, &lease, parts[0].id, NOW).await;
    settle(store, &lease, parts[0].id, done(), NOW).await;
    assert_eq!(accept(store, vec![reviving(&["a/0"])]).await, [Accepted::Duplicate], "no part is dead");

    for (id, also) in [(parts[1].id, vec![parts[2].id]), (others[0], vec![]), (others[1], vec![])] {
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, dead(&also), NOW).await;
    }
    assert_eq!(accept(store, vec![group(&["a/0"])]).await, [Accepted::Duplicate]);
    let revived = accept(store, vec![reviving(&["a/0"])]).await.remove(0);
    let expected = parts[1..].to_vec();
    assert_eq!(revived, Accepted::Revived(expected.clone()));
    assert_eq!(waiting(store, &lease).await, expected);
    assert_eq!(store.depth().await.unwrap().dead, 2);
}

async fn cursors_are_kept_with_what_they_cover(store: &dyn Store) {
    let cursors = vec![("irc".to_owned(), Cursor::set("at", "41")), ("sweep".to_owned(), Cursor::set("at", "1"))];
    store.accept(Batch { groups: vec![group(&["a"])], cursors }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "").await.unwrap(), [Cursor::set("at", "41")]);
    let cursors = vec![("irc".to_owned(), Cursor::set("at", "42"))];
    store.accept(Batch { groups: vec![group(&["a"])], cursors }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "a").await.unwrap(), [Cursor::set("at", "42")], "kept with a duplicate too");
    let cursors = vec![("irc".to_owned(), Cursor::remove("at"))];
    store.accept(Batch { groups: Vec::new(), cursors }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "").await.unwrap(), []);
    assert_eq!(store.cursors("sweep", "").await.unwrap(), [Cursor::set("at", "1")]);
}

async fn cursors_are_found_by_scope_and_prefix_in_order(store: &dyn Store) {
    let names = ["peer/b", "peer/ä", "peer/a", "peers", "pe", "peer/%", "q"];
    let cursors = names.iter().map(|name| ("irc".to_owned(), Cursor::set(*name, "1"))).collect();
    store.accept(Batch { groups: Vec::new(), cursors }, NOW).await.unwrap();
    let found = store.cursors("irc", "peer/").await.unwrap();
    let found: Vec<_> = found.iter().map(|cursor| cursor.name.as_str()).collect();
    assert_eq!(found, ["peer/%", "peer/a", "peer/b", "peer/ä"]);
    assert_eq!(store.cursors("matrix", "peer/").await.unwrap(), []);
}

async fn begin_writes_an_attempt_down_and_counts_it(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    let turned = begin(store, &lease, id, NOW + 1).await;
    let envelope = &turned.begun[0];
    let wanted = new("a", "one", 0);
    assert_eq!((&envelope.key, &envelope.lane, envelope.rank), (&wanted.key, &wanted.lane, wanted.rank));
    assert_eq!((&envelope.order, envelope.accepted_millis), (&wanted.order, NOW));
    assert_eq!((envelope.attempts, envelope.doubt), (1, None));
    let listed = store.list(1).await.unwrap().remove(0);
    assert!(listed.open);
    assert_eq!((listed.attempts, listed.reason), (1, None));
}

async fn an_open_attempt_is_shown_and_not_begun_again(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    begin(store, &lease, id, NOW + 1).await;
    let turn = Turn { begin: vec![Begin { id, mark: 99 }], ..Turn::default() };
    for _ in 0..2 {
        let envelope = store.turn(&lease, turn.clone(), NOW + 2).await.unwrap().begun.remove(0);
        assert_eq!(envelope.attempts, 1);
        assert_eq!(envelope.doubt, Some(OpenAttempt { number: 1, started_millis: NOW + 1, mark: 40 }));
    }
}

async fn a_doubt_keeps_the_attempt_open(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    begin(store, &lease, id, NOW + 1).await;
    settle(store, &lease, id, Settled::Doubt { due_millis: NOW + 60_000, reason: "cut".into() }, NOW + 2).await;
    assert_eq!(waiting(store, &lease).await[0].due_millis, NOW + 60_000);
    let attempt = store.history(&key("a")).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((attempt.ended_millis, attempt.outcome.as_deref()), (None, Some("doubt")));
    assert_eq!(attempt.reason.as_deref(), Some("cut"));
    let envelope = begin(store, &lease, id, NOW + 3).await.begun.remove(0);
    assert_eq!(envelope.doubt.map(|open| open.number), Some(1));
    settle(store, &lease, id, done(), NOW + 4).await;
    let history = store.history(&key("a")).await.unwrap().unwrap();
    assert_eq!(history.attempts.len(), 1);
    assert_eq!(history.attempts[0].outcome.as_deref(), Some("done"));
}

async fn an_attempt_that_is_not_spent_does_not_count(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    for (spent, attempts) in [(false, 1), (false, 1), (true, 1), (true, 2), (false, 3)] {
        let envelope = begin(store, &lease, id, NOW).await.begun.remove(0);
        assert_eq!((envelope.attempts, envelope.doubt), (attempts, None));
        settle(store, &lease, id, again(spent), NOW + 1).await;
    }
    assert_eq!(waiting(store, &lease).await[0].due_millis, NOW + 5_000);
    let listed = store.list(1).await.unwrap().remove(0);
    assert_eq!((listed.attempts, listed.open, listed.reason.as_deref()), (2, false, Some("busy")));
    let numbers = store.history(&key("a")).await.unwrap().unwrap().attempts;
    assert_eq!(numbers.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

async fn what_is_done_is_gone_and_remembered(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    begin(store, &lease, id, NOW).await;
    assert_eq!(settle(store, &lease, id, done(), NOW + 9).await, Turned::default());
    assert_eq!(waiting(store, &lease).await, []);
    let state = store.history(&key("a")).await.unwrap().unwrap().state;
    assert_eq!(state, EnvelopeState::Done { at_millis: NOW + 9, result: Some("far/1".into()) });
    assert_eq!(store.history(&key("b")).await, Ok(None));
}

async fn a_dead_letter_takes_the_later_parts_with_it(store: &dyn Store) {
    let parts = accept(store, vec![group(&["a/0", "a/1", "a/2"])]).await.remove(0).into_waiting();
    let lease = lease(store).await;
    begin(store, &lease, parts[0].id, NOW).await;
    let also = [parts[1].id, EnvelopeId(i64::MAX)];
    assert_eq!(settle(store, &lease, parts[0].id, dead(&also), NOW + 1).await, Turned::default());
    assert_eq!(waiting(store, &lease).await, parts[2..]);
    let letters = store.dead(9).await.unwrap();
    let letters: Vec<_> =
        letters.iter().map(|letter| (letter.key.as_str(), letter.attempts, &*letter.reason)).collect();
    assert_eq!(letters, [("a/1", 0, "no such nick"), ("a/0", 1, "no such nick")]);
}

async fn what_follows_is_accepted_once(store: &dyn Store) {
    let first = accept_one(store, "a").await;
    let second = accept_one(store, "b").await;
    let lease = lease(store).await;
    for id in [first, second] {
        begin(store, &lease, id, NOW).await;
    }
    let follow = vec![group(&["receipt/0", "receipt/1"])];
    let outcome = Settled::Done { result: None, follow: follow.clone() };
    let accepted = settle(store, &lease, first, outcome.clone(), NOW).await.accepted;
    assert_eq!(accepted.len(), 2);
    assert_eq!(settle(store, &lease, first, outcome, NOW).await.accepted, [], "ignored as a whole");
    let outcome = Settled::Dead { reason: "no".into(), also: Vec::new(), follow };
    assert_eq!(settle(store, &lease, second, outcome, NOW).await.accepted, []);
    assert_eq!(waiting(store, &lease).await, accepted);
}

async fn settling_what_is_not_open_is_ignored(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    let unknown = EnvelopeId(i64::MAX);
    for outcome in [done(), dead(&[]), again(false), Settled::Doubt { due_millis: 0, reason: "?".into() }] {
        for id in [id, unknown] {
            assert_eq!(settle(store, &lease, id, outcome.clone(), NOW).await.gone, [id], "{outcome:?}");
        }
    }
    assert_eq!(waiting(store, &lease).await[0].due_millis, NOW);
    assert_eq!(begin(store, &lease, id, NOW).await.begun[0].attempts, 1);
}

async fn beginning_what_is_gone_is_ignored(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, done(), NOW).await;
    assert_eq!(begin(store, &lease, id, NOW).await, Turned { gone: vec![id], ..Turned::default() });
}

async fn a_turn_settles_before_it_begins(store: &dyn Store) {
    let parts = accept(store, vec![group(&["a/0", "a/1"])]).await.remove(0).into_waiting();
    let lease = lease(store).await;
    begin(store, &lease, parts[0].id, NOW).await;
    let settle = vec![Settle { id: parts[0].id, outcome: done() }];
    let begin = parts.iter().map(|part| Begin { id: part.id, mark: 1 }).collect();
    let turned = store.turn(&lease, Turn { settle, begin }, NOW).await.unwrap();
    assert_eq!(turned.gone, [parts[0].id]);
    assert_eq!(turned.begun.iter().map(|envelope| envelope.id).collect::<Vec<_>>(), [parts[1].id]);
}

async fn a_lost_lease_changes_nothing(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let old = lease(store).await;
    begin(store, &old, id, NOW).await;
    let new = store.lease("another", NOW).await.unwrap();
    assert!(new.epoch > old.epoch);
    let turn = Turn { settle: vec![Settle { id, outcome: done() }], begin: vec![Begin { id, mark: 1 }] };
    assert_eq!(store.turn(&old, turn, NOW).await, Err(StoreError::LeaseLost));
    assert_eq!(store.waiting(&old, EnvelopeId(0), 9).await, Err(StoreError::LeaseLost));
    assert_eq!(store.release(&old).await, Err(StoreError::LeaseLost));
    assert_eq!(waiting(store, &new).await.len(), 1);
    assert!(begin(store, &new, id, NOW).await.begun[0].doubt.is_some(), "the older attempt is still open");
}

async fn a_released_lease_is_lost(store: &dyn Store) {
    let lease = lease(store).await;
    assert_eq!(lease.partitions, [u64::MAX; 4]);
    assert_eq!(store.release(&lease).await, Ok(()));
    assert_eq!(store.turn(&lease, Turn::default(), NOW).await, Err(StoreError::LeaseLost));
    assert_eq!(store.release(&lease).await, Err(StoreError::LeaseLost));
}

async fn what_waits_is_read_in_pages(store: &dyn Store) {
    let names: Vec<_> = (0..10).map(|number| format!("m/{number}")).collect();
    accept(store, names.iter().map(|name| group(&[name])).collect()).await;
    let lease = lease(store).await;
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(EnvelopeId(0), |waiting: &Waiting| waiting.id);
        let page = store.waiting(&lease, after, 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, waiting(store, &lease).await);
    assert_eq!(read.len(), 10);
}

async fn a_revived_letter_is_due_now_with_fresh_attempts_and_its_old_place(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    for outcome in [again(true), dead(&[])] {
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, outcome, NOW).await;
    }
    let later = accept_one(store, "b").await;
    let revived = store.revive(&[key("a"), key("b"), key("unknown"), key("a")], NOW + 7).await.unwrap();
    assert_eq!(revived, [Waiting { id, lane: lane("one"), rank: rank_of(7, 0), due_millis: NOW + 7 }]);
    let ids: Vec<_> = waiting(store, &lease).await.iter().map(|waiting| waiting.id).collect();
    assert_eq!(ids, [id, later]);
    let envelope = begin(store, &lease, id, NOW + 8).await.begun.remove(0);
    assert_eq!((envelope.attempts, envelope.doubt, &envelope.order), (1, None, &new("a", "one", 0).order));
    let numbers = store.history(&key("a")).await.unwrap().unwrap().attempts;
    assert_eq!(numbers.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.dead(9).await.unwrap(), []);
}

async fn a_discarded_letter_leaves_its_history(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, dead(&[]), NOW).await;
    accept_one(store, "living").await;
    assert_eq!(store.discard(&[key("a"), key("living"), key("unknown")], NOW + 3).await, Ok(1));
    assert_eq!(store.discard(&[key("a")], NOW + 4).await, Ok(0));
    assert_eq!(store.revive(&[key("a")], NOW).await, Ok(Vec::new()));
    let history = store.history(&key("a")).await.unwrap().unwrap();
    assert_eq!(history.state, EnvelopeState::Discarded { at_millis: NOW + 3 });
    assert_eq!(history.attempts[0].outcome.as_deref(), Some("dead"));
}

async fn dead_letters_are_listed_newest_first(store: &dyn Store) {
    let lease = lease(store).await;
    for (name, at) in [("a", NOW + 2), ("b", NOW + 3), ("c", NOW + 1)] {
        let id = accept_one(store, name).await;
        begin(store, &lease, id, at).await;
        settle(store, &lease, id, dead(&[]), at).await;
    }
    let keys: Vec<_> = store.dead(2).await.unwrap().into_iter().map(|letter| letter.key).collect();
    assert_eq!(keys, [key("b"), key("a")]);
}

async fn history_shows_every_attempt(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    for (step, outcome) in [again(true), again(false), done()].into_iter().enumerate() {
        let at = NOW + 10 * step as i64;
        begin(store, &lease, id, at).await;
        let open = store.history(&key("a")).await.unwrap().unwrap().attempts.pop().unwrap();
        assert_eq!((open.number, open.ended_millis, open.outcome), (step as u32 + 1, None, None));
        settle(store, &lease, id, outcome, at + 1).await;
    }
    let history = store.history(&key("a")).await.unwrap().unwrap();
    assert_eq!((history.sink.as_str(), history.accepted_millis), ("inbox:support", NOW));
    let attempts: Vec<_> = history
        .attempts
        .iter()
        .map(|one| {
            (one.number, one.started_millis - NOW, one.ended_millis, one.outcome.as_deref(), one.reason.as_deref())
        })
        .collect();
    let expected = [
        (1, 0, Some(NOW + 1), Some("again"), Some("busy")),
        (2, 10, Some(NOW + 11), Some("again"), Some("busy")),
        (3, 20, Some(NOW + 21), Some("done"), None),
    ];
    assert_eq!(attempts, expected);
}

async fn depth_counts_by_sink(store: &dyn Store) {
    let mut elsewhere = new("b", "one", 0);
    elsewhere.lane.sink = sink("billing");
    accept(store, vec![Group::one(elsewhere), group(&["a/0", "a/1"])]).await;
    let lease = lease(store).await;
    let id = waiting(store, &lease).await[0].id;
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (3, 0));
    assert_eq!(depth.sinks, [("inbox:billing".to_owned(), 1), ("inbox:support".to_owned(), 2)]);
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, dead(&[]), NOW).await;
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead, depth.of(&sink("billing"))), (2, 1, 0));
}

async fn a_session_is_kept_changed_and_forgotten(store: &dyn Store) {
    let mut session = Session {
        bridge: "irc".into(),
        thread: "ann".into(),
        contact: 3,
        source_id: "irc/ann".into(),
        conversation: 12,
        resolved: false,
        profile: -5,
    };
    assert_eq!(store.session(&session.bridge, &session.thread).await, Ok(None));
    for resolved in [false, true] {
        session.resolved = resolved;
        store.save_session(&session).await.unwrap();
        assert_eq!(store.session(&session.bridge, &session.thread).await, Ok(Some(session.clone())));
    }
    assert_eq!(store.session(&"matrix".into(), &session.thread).await, Ok(None));
    store.forget_session(&session.bridge, &session.thread).await.unwrap();
    assert_eq!(store.session(&session.bridge, &session.thread).await, Ok(None));
}

async fn a_blob_comes_back_as_it_was(store: &dyn Store) {
    let bytes = Bytes::from_static(b"\0\xffpicture");
    let id = store.put_blob(bytes.clone(), NOW).await.unwrap();
    assert_ne!(store.put_blob(Bytes::new(), NOW).await.unwrap(), id);
    assert!(id.0.len() == 32 && id.0.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
    assert_eq!(store.blob(&id).await, Ok(Some(bytes)));
    for unknown in ["../../../etc/passwd", "", &"0".repeat(31), &"f".repeat(32)] {
        assert_eq!(store.blob(&BlobId(unknown.to_owned())).await, Ok(None), "{unknown:?}");
    }
}

async fn pruning_forgets_what_ended_and_its_key_but_nothing_that_lives(store: &dyn Store) {
    let lease = lease(store).await;
    for (name, outcome) in [("done", done()), ("discarded", dead(&[])), ("dead", dead(&[]))] {
        let id = accept_one(store, name).await;
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, outcome, NOW).await;
    }
    store.discard(&[key("discarded")], NOW).await.unwrap();
    accept_one(store, "waiting").await;
    assert_eq!(store.prune(NOW).await, Ok(0), "only what is older");
    assert_eq!(store.prune(NOW + 1).await, Ok(4), "two envelopes and their keys");
    for name in ["done", "discarded"] {
        assert_eq!(store.history(&key(name)).await, Ok(None), "{name}");
    }
    for name in ["dead", "waiting"] {
        assert_eq!(accept(store, vec![group(&[name])]).await, [Accepted::Duplicate], "{name}");
    }
    assert_eq!(store.prune(NOW + 1).await, Ok(0));
}

async fn pruning_keeps_the_blobs_that_a_living_envelope_may_name(store: &dyn Store) {
    let blob = store.put_blob(Bytes::from_static(b"a"), NOW).await.unwrap();
    let id = accept_one(store, "a").await;
    let much_later = NOW + 100 * HOUR_MILLIS;
    store.prune(much_later).await.unwrap();
    assert!(store.blob(&blob).await.unwrap().is_some());
    let lease = lease(store).await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, done(), NOW).await;
    store.prune(much_later).await.unwrap();
    assert_eq!(store.blob(&blob).await, Ok(None));
}

async fn ids_are_not_reused_after_everything_was_forgotten(store: &dyn Store) {
    let lease = lease(store).await;
    let id = accept_one(store, "a").await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, done(), NOW).await;
    assert_eq!(store.prune(NOW + 1).await, Ok(2));
    assert!(accept_one(store, "a").await > id);
}

async fn a_closed_store_refuses(store: &dyn Store) {
    store.close().await;
    assert_eq!(store.accept(Batch::default(), NOW).await, Err(StoreError::Closed));
    assert_eq!(store.depth().await, Err(StoreError::Closed));
    assert_eq!(store.check().await, Err(StoreError::Closed));
    store.close().await;
}

async fn a_store_that_works_passes_its_check(store: &dyn Store) {
    assert_eq!(store.check().await, Ok(()));
}
