//! What was given up: kept, put back, dropped.

use super::{NOW, accept, accept_one, again, begin, dead, group, key, lane, lease, new, settle, waiting};
use crate::{
    model::{EnvelopeId, Waiting, rank_of},
    store::{EnvelopeState, Store, Turned},
};

on_each_store! {
    a_dead_letter_takes_the_later_parts_with_it
    a_revived_letter_is_due_now_with_fresh_attempts_and_its_old_place
    a_discarded_letter_leaves_its_history
    dead_letters_are_listed_newest_first
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
