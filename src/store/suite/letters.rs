//! What was given up: kept, put back, dropped.

use super::{NOW, accept, accept_one, again, begin, dead, group, key, lane, lease, new, settle, waiting};
use crate::{
    model::{EnvelopeId, Waiting, rank_of},
    store::{Accepted, Batch, EnvelopeState, Held, Settled, Store, Turned},
};

on_each_store! {
    a_dead_letter_takes_the_later_parts_with_it
    a_revived_letter_is_due_now_with_fresh_attempts_and_its_old_place
    a_discarded_letter_leaves_its_history
    what_is_held_is_a_dead_letter_from_the_beginning_and_causes_its_orders_once
    dead_letters_are_listed_newest_first
    dead_letters_are_counted_by_their_sink
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
        let outcome = Settled::Dead { at_millis: at, reason: "no".into(), also: Vec::new(), follow: Vec::new() };
        settle(store, &lease, id, outcome, NOW + 9).await;
    }
    let keys: Vec<_> = store.dead(2).await.unwrap().into_iter().map(|letter| letter.key).collect();
    assert_eq!(keys, [key("b"), key("a")]);
}

async fn what_is_held_is_a_dead_letter_from_the_beginning_and_causes_its_orders_once(store: &dyn Store) {
    accept(store, vec![group(&["b/0"])]).await;
    let held = |name: &str| Held {
        group: group(&[&format!("{name}/0"), &format!("{name}/1")]),
        reason: "too late".into(),
        follow: vec![group(&[&format!("{name}/told")])],
    };
    let batch = Batch { groups: vec![group(&["c/0"])], held: vec![held("a"), held("b")], ..Batch::default() };
    let first = store.accept(batch.clone(), NOW).await.unwrap();
    let Accepted::New(caused) = &first[1] else { panic!("{first:?}") };
    assert_eq!((caused.len(), &first[2]), (1, &Accepted::Duplicate), "what lives is not taken away");
    assert_eq!(store.accept(batch, NOW + 1).await.unwrap(), vec![Accepted::Duplicate; 3]);
    let lease = lease(store).await;
    let ids: Vec<_> = waiting(store, &lease).await.iter().map(|waiting| waiting.id).collect();
    assert_eq!(ids, [ids[0], first[0].clone().into_waiting()[0].id, caused[0].id]);
    let dead = store.dead(9).await.unwrap();
    let dead: Vec<_> = dead.iter().map(|l| (l.key.as_str(), l.died_millis, &*l.reason, l.attempts)).collect();
    assert_eq!(dead, [("a/1", NOW, "too late", 0), ("a/0", NOW, "too late", 0)]);
    let revived = store.revive(&[key("a/0"), key("a/1")], NOW + 2).await.unwrap();
    assert_eq!(revived.len(), 2);
    assert_eq!(begin(store, &lease, revived[0].id, NOW + 2).await.begun[0].key, key("a/0"));
}

async fn dead_letters_are_counted_by_their_sink(store: &dyn Store) {
    let lease = lease(store).await;
    for name in ["a", "b", "c"] {
        let id = accept_one(store, name).await;
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, dead(&[]), NOW).await;
    }
    let counts = async || store.depth().await.map(|depth| (depth.waiting, depth.dead, depth.dead_sinks)).unwrap();
    let of = |count: u64| vec![("inbox:support".to_owned(), count)];
    assert_eq!(counts().await, (0, 3, of(3)));
    store.revive(&[key("a")], NOW).await.unwrap();
    assert_eq!(counts().await, (1, 2, of(2)));
    store.discard(&[key("b"), key("c")], NOW).await.unwrap();
    assert_eq!(counts().await, (1, 0, Vec::new()));
}
