//! What is taken in, once, and how it waits.

use bridge_api::Cursor;

use super::{NOW, accept, accept_one, begin, dead, done, group, key, lease, new, reviving, settle, sink, waiting};
use crate::{
    model::{EnvelopeId, Group, Partitions, Waiting, rank_of},
    store::{Accepted, Batch, Store},
};

on_each_store! {
    what_is_accepted_waits_in_order_of_arrival
    a_group_whose_first_key_is_known_changes_nothing
    a_key_is_known_even_within_its_own_batch
    a_group_comes_too_late_where_what_forbids_it_is_known
    a_key_stays_known_whatever_became_of_its_envelope
    a_group_is_new_when_only_a_later_key_is_known
    a_repeated_order_revives_the_dead_parts_of_its_message_alone
    cursors_are_kept_with_what_they_cover
    cursors_are_found_by_scope_and_prefix_in_order
    what_waits_is_read_in_pages
    depth_counts_by_sink
    when_it_was_accepted_is_known_of_what_waits_alone
    ids_are_not_reused_after_everything_was_forgotten
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

async fn a_group_comes_too_late_where_what_forbids_it_is_known(store: &dyn Store) {
    let unless = |name: &str, unless: &str| Group { unless: Some(key(unless)), ..group(&[name]) };
    let accepted = accept(store, vec![unless("a", "b"), group(&["b"]), unless("c", "b")]).await;
    let new: Vec<_> = accepted.iter().map(|accepted| matches!(accepted, Accepted::New(_))).collect();
    assert_eq!(new, [true, true, false]);
    assert_eq!(accept(store, vec![group(&["c"])]).await[0].clone().into_waiting().len(), 1, "its key was not taken");
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
    store.accept(Batch { groups: vec![group(&["a"])], cursors, ..Batch::default() }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "").await.unwrap(), [Cursor::set("at", "41")]);
    let cursors = vec![("irc".to_owned(), Cursor::set("at", "42"))];
    store.accept(Batch { groups: vec![group(&["a"])], cursors, ..Batch::default() }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "a").await.unwrap(), [Cursor::set("at", "42")], "kept with a duplicate too");
    let cursors = vec![("irc".to_owned(), Cursor::remove("at"))];
    store.accept(Batch { cursors, ..Batch::default() }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "").await.unwrap(), []);
    assert_eq!(store.cursors("sweep", "").await.unwrap(), [Cursor::set("at", "1")]);
}

async fn cursors_are_found_by_scope_and_prefix_in_order(store: &dyn Store) {
    let names = ["peer/b", "peer/ä", "peer/a", "peers", "pe", "peer/%", "q"];
    let cursors = names.iter().map(|name| ("irc".to_owned(), Cursor::set(*name, "1"))).collect();
    store.accept(Batch { cursors, ..Batch::default() }, NOW).await.unwrap();
    let found = store.cursors("irc", "peer/").await.unwrap();
    let found: Vec<_> = found.iter().map(|cursor| cursor.name.as_str()).collect();
    assert_eq!(found, ["peer/%", "peer/a", "peer/b", "peer/ä"]);
    assert_eq!(store.cursors("matrix", "peer/").await.unwrap(), []);
}

async fn what_waits_is_read_in_pages(store: &dyn Store) {
    let names: Vec<_> = (0..10).map(|number| format!("m/{number}")).collect();
    accept(store, names.iter().map(|name| group(&[name])).collect()).await;
    let lease = lease(store).await;
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(EnvelopeId(0), |waiting: &Waiting| waiting.id);
        let page = store.waiting(&lease, &Partitions::ALL, after, 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, waiting(store, &lease).await);
    assert_eq!(read.len(), 10);
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

async fn ids_are_not_reused_after_everything_was_forgotten(store: &dyn Store) {
    let lease = lease(store).await;
    let id = accept_one(store, "a").await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, done(), NOW).await;
    assert_eq!(store.prune(NOW + 1).await, Ok(2));
    assert!(accept_one(store, "a").await > id);
}

async fn when_it_was_accepted_is_known_of_what_waits_alone(store: &dyn Store) {
    let (waits, ends) = (accept_one(store, "a").await, accept_one(store, "b").await);
    let later = store.accept(Batch { groups: vec![group(&["c"])], ..Batch::default() }, NOW + 7).await.unwrap();
    let later = later[0].clone().into_waiting()[0].id;
    let lease = lease(store).await;
    begin(store, &lease, ends, NOW).await;
    settle(store, &lease, ends, done(), NOW).await;
    let asked = store.accepted_millis(&[later, ends, EnvelopeId(4711), waits]).await.unwrap();
    assert_eq!(asked, [Some(NOW + 7), None, None, Some(NOW)]);
    assert_eq!(store.accepted_millis(&[]).await.unwrap(), []);
}
