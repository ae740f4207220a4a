//! How attempts begin and end, and who may say so.

use super::{NOW, accept, accept_one, again, begin, dead, done, group, key, lease, new, settle, waiting};
use crate::{
    model::{EnvelopeId, OpenAttempt, Partitions},
    store::{Begin, EnvelopeState, Settle, Settled, Store, StoreError, Turn, Turned},
};

on_each_store! {
    begin_writes_an_attempt_down_and_counts_it
    an_open_attempt_is_shown_and_not_begun_again
    a_doubt_keeps_the_attempt_open
    repeats_in_doubt_are_counted_until_it_is_given_up
    an_attempt_that_is_not_spent_does_not_count
    what_is_done_is_gone_and_remembered
    what_follows_is_accepted_once
    settling_what_is_not_open_is_ignored
    beginning_what_is_gone_is_ignored
    a_turn_settles_before_it_begins
    history_shows_every_attempt
}

on_each_sole_store! {
    a_lost_lease_changes_nothing
    a_released_lease_is_lost
}

async fn begin_writes_an_attempt_down_and_counts_it(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    let turned = begin(store, &lease, id, NOW + 1).await;
    let envelope = &turned.begun[0];
    let wanted = new("a", "one", 0);
    assert_eq!((&envelope.key, &envelope.lane, envelope.rank), (&wanted.key, &wanted.lane, wanted.rank));
    assert_eq!((&envelope.order, envelope.accepted_millis), (&wanted.order, NOW));
    assert_eq!((envelope.attempts, envelope.doubt.as_ref()), (1, None));
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
        assert_eq!(envelope.doubt, Some(OpenAttempt { number: 1, started_millis: NOW + 1, mark: 40, reason: None }));
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
    assert_eq!(envelope.doubt.map(|open| (open.number, open.reason)), Some((1, Some("cut".to_owned()))));
    settle(store, &lease, id, done(), NOW + 4).await;
    let history = store.history(&key("a")).await.unwrap().unwrap();
    assert_eq!(history.attempts.len(), 1);
    assert_eq!(history.attempts[0].outcome.as_deref(), Some("done"));
}

async fn repeats_in_doubt_are_counted_until_it_is_given_up(store: &dyn Store) {
    let id = accept_one(store, "a").await;
    let lease = lease(store).await;
    let repeat = || Settled::Repeat { due_millis: NOW + 5_000, reason: "cut".into() };
    for (attempts, repeats, outcome) in [(1, 0, repeat()), (2, 1, again(true)), (3, 1, repeat()), (4, 2, dead(&[]))] {
        let envelope = begin(store, &lease, id, NOW).await.begun.remove(0);
        assert_eq!((envelope.attempts, envelope.repeats, envelope.doubt), (attempts, repeats, None));
        settle(store, &lease, id, outcome, NOW + 1).await;
    }
    let attempts = store.history(&key("a")).await.unwrap().unwrap().attempts;
    let outcomes: Vec<_> = attempts.iter().map(|one| (one.outcome.as_deref(), one.ended_millis.is_some())).collect();
    assert_eq!(
        outcomes,
        [("doubt", true), ("again", true), ("doubt", true), ("dead", true)].map(|(o, e)| (Some(o), e))
    );
    store.revive(&[key("a")], NOW + 2).await.unwrap();
    assert_eq!(begin(store, &lease, id, NOW + 3).await.begun[0].repeats, 0, "put back, it begins anew");
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
    let outcome = Settled::Dead { at_millis: NOW, reason: "no".into(), also: Vec::new(), follow };
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
    assert!(new.epoch(0) > old.epoch(0));
    let turn = Turn { settle: vec![Settle { id, outcome: done() }], begin: vec![Begin { id, mark: 1 }] };
    assert_eq!(store.turn(&old, turn, NOW).await, Err(StoreError::LeaseLost));
    assert_eq!(store.waiting(&old, &Partitions::ALL, EnvelopeId(0), 9).await, Err(StoreError::LeaseLost));
    assert_eq!(store.release(&old).await, Err(StoreError::LeaseLost));
    assert_eq!(waiting(store, &new).await.len(), 1);
    assert!(begin(store, &new, id, NOW).await.begun[0].doubt.is_some(), "the older attempt is still open");
}

async fn a_released_lease_is_lost(store: &dyn Store) {
    let lease = lease(store).await;
    assert_eq!(lease.partitions(), Partitions::ALL);
    assert_eq!(store.release(&lease).await, Ok(()));
    assert_eq!(store.turn(&lease, Turn::default(), NOW).await, Err(StoreError::LeaseLost));
    assert_eq!(store.release(&lease).await, Err(StoreError::LeaseLost));
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
