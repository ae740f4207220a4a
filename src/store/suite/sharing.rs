//! Several owners at once, each with its share; and what everybody hears of what began to wait.

use super::{NOW, accept, accept_one, begin, done, group, key, lane, lease, new, reviving, settle};
use crate::{
    model::{EnvelopeId, Group, Lane, Partitions, Waiting},
    store::{Begin, LEASE_MILLIS, Lease, Settle, Store, StoreError, Turn, Turned, Watermark},
};

on_each_store! {
    what_waits_can_be_asked_for_by_partition
    news_is_what_began_to_wait_since_and_is_read_in_pieces
}

on_each_sole_store! {
    a_lease_of_all_is_not_shared
}

on_each_shared_store! {
    who_comes_first_has_all_and_gives_up_what_others_lack
    what_is_given_back_is_nobodys_fault
    who_is_not_heard_of_loses_its_share_and_what_it_writes
    only_the_rows_of_lost_partitions_are_refused
    who_comes_back_in_time_keeps_what_nobody_took
    one_name_is_one_owner
    what_is_put_back_is_news_to_all
    news_is_of_what_is_held
}

fn in_lanes(count: usize) -> Vec<Group> {
    (0..count).map(|n| Group::one(new(&format!("{n}"), &format!("lane {n}"), 0))).collect()
}

async fn all_news(store: &dyn Store, lease: &Lease, mut since: Watermark) -> (Vec<EnvelopeId>, Watermark) {
    let mut found = Vec::new();
    loop {
        let news = store.news(lease, since, 2).await.unwrap();
        assert!(news.next >= since);
        found.extend(news.waiting.iter().map(|row| row.id));
        since = news.next;
        if !news.more {
            return (found, since);
        }
    }
}

async fn what_waits_can_be_asked_for_by_partition(store: &dyn Store) {
    let lease = lease(store).await;
    let all: Vec<Waiting> =
        accept(store, in_lanes(20)).await.into_iter().flat_map(crate::store::Accepted::into_waiting).collect();
    let some: Partitions = all.iter().step_by(3).map(|row| row.lane.partition()).collect();
    let expected: Vec<_> = all.iter().filter(|row| some.has(row.lane.partition())).cloned().collect();
    let (mut found, mut after) = (Vec::new(), EnvelopeId(0));
    loop {
        let piece = store.waiting(&lease, &some, after, 2).await.unwrap();
        let Some(last) = piece.last() else { break };
        after = last.id;
        found.extend(piece);
    }
    assert_eq!(found, expected);
    assert_eq!(store.waiting(&lease, &Partitions::NONE, EnvelopeId(0), 9).await, Ok(Vec::new()));
}

async fn news_is_what_began_to_wait_since_and_is_read_in_pieces(store: &dyn Store) {
    let lease = lease(store).await;
    let first = accept_one(store, "a").await;
    let second = accept_one(store, "b").await;
    let third = accept_one(store, "c").await;
    begin(store, &lease, second, NOW).await;
    settle(store, &lease, second, done(), NOW).await;
    let (found, since) = all_news(store, &lease, Watermark::START).await;
    assert_eq!(found, [first, third]);
    assert_eq!(all_news(store, &lease, since).await.0, []);
    let fourth = accept_one(store, "d").await;
    let (found, next) = all_news(store, &lease, since).await;
    assert!(found.contains(&fourth) && !found.contains(&second));
    assert!(next > since);
}

async fn a_lease_of_all_is_not_shared(store: &dyn Store) {
    let lease = lease(store).await;
    let renewed = store.renew(&lease, NOW + 9 * LEASE_MILLIS).await.unwrap();
    assert_eq!((&renewed.lease, renewed.surplus, renewed.orphaned), (&lease, Partitions::NONE, Partitions::NONE));
    store.lease("another", NOW).await.unwrap();
    assert_eq!(store.renew(&lease, NOW).await, Err(StoreError::LeaseLost));
    assert_eq!(store.give_back(&lease, &Partitions::ALL).await, Err(StoreError::LeaseLost));
}

/// Two owners that have half of it each.
async fn halves(store: &dyn Store) -> (Lease, Lease) {
    let one = store.lease("one", NOW).await.unwrap();
    let other = store.lease("other", NOW).await.unwrap();
    let surplus = store.renew(&one, NOW).await.unwrap().surplus;
    let one = store.give_back(&one, &surplus).await.unwrap();
    let other = store.renew(&other, NOW).await.unwrap().lease;
    assert_eq!((one.partitions().len(), other.partitions().len()), (128, 128));
    (one, other)
}

async fn who_comes_first_has_all_and_gives_up_what_others_lack(store: &dyn Store) {
    let one = store.lease("one", NOW).await.unwrap();
    assert_eq!(one.partitions(), Partitions::ALL);
    let other = store.lease("other", NOW).await.unwrap();
    assert_eq!((other.owner(), other.partitions()), ("other", Partitions::NONE));
    let renewed = store.renew(&one, NOW + 1).await.unwrap();
    assert_eq!((renewed.owners, renewed.surplus.len(), &renewed.lease), (2, 128, &one));
    // Nobody takes what is not given back.
    assert_eq!(store.renew(&other, NOW + 1).await.unwrap().lease.partitions(), Partitions::NONE);
    let left = store.give_back(&one, &renewed.surplus).await.unwrap();
    assert_eq!(left.partitions(), Partitions::ALL.without(&renewed.surplus));
    let taken = store.renew(&other, NOW + 2).await.unwrap();
    assert_eq!(taken.lease.partitions(), renewed.surplus);
    let of = |lease: &Lease| renewed.surplus.iter().map(|partition| lease.epoch(partition)).max();
    assert!(of(&taken.lease) > of(&one), "each has a new fencing number");
    assert_eq!(store.renew(&left, NOW + 3).await.unwrap().surplus, Partitions::NONE);
}

async fn what_is_given_back_is_nobodys_fault(store: &dyn Store) {
    let (one, other) = halves(store).await;
    store.release(&one).await.unwrap();
    let renewed = store.renew(&other, NOW + 1).await.unwrap();
    assert_eq!((renewed.lease.partitions(), renewed.orphaned, renewed.owners), (Partitions::ALL, Partitions::NONE, 1));
}

async fn who_is_not_heard_of_loses_its_share_and_what_it_writes(store: &dyn Store) {
    let (one, other) = halves(store).await;
    let other = store.renew(&other, NOW + LEASE_MILLIS / 2).await.unwrap().lease;
    assert_eq!(other.partitions().len(), 128, "not before its time");
    let renewed = store.renew(&other, NOW + LEASE_MILLIS).await.unwrap();
    assert_eq!(renewed.lease.partitions(), Partitions::ALL);
    assert_eq!((renewed.orphaned, renewed.owners), (one.partitions(), 1));
    let id = accept_in(store, &one.partitions()).await;
    let turn = Turn { settle: vec![Settle { id, outcome: done() }], begin: vec![Begin { id, mark: 1 }] };
    let refused = Turned { lost: vec![id, id], ..Turned::default() };
    assert_eq!(store.turn(&one, turn, NOW).await, Ok(refused));
    assert_eq!(store.waiting(&one, &Partitions::ALL, EnvelopeId(0), 9).await, Ok(Vec::new()));
    assert_eq!(begin(store, &renewed.lease, id, NOW).await.begun[0].attempts, 1);
    // It joins anew, with nothing.
    let back = store.renew(&one, NOW + LEASE_MILLIS + 1).await.unwrap();
    assert_eq!((back.lease.partitions(), back.owners), (Partitions::NONE, 2));
}

/// One envelope in one of these partitions.
async fn accept_in(store: &dyn Store, partitions: &Partitions) -> EnvelopeId {
    let fits = |lane: &Lane| partitions.has(lane.partition());
    let name = (0..10_000).map(|n| format!("lane {n}")).find(|name| fits(&lane(name))).unwrap();
    let group = Group::one(new(&format!("of {name}"), &name, 0));
    accept(store, vec![group]).await.remove(0).into_waiting()[0].id
}

async fn only_the_rows_of_lost_partitions_are_refused(store: &dyn Store) {
    let (one, other) = halves(store).await;
    let (ours, theirs) = (accept_in(store, &one.partitions()).await, accept_in(store, &other.partitions()).await);
    let both = |id| Begin { id, mark: 1 };
    let turn = Turn { begin: vec![both(theirs), both(ours)], ..Turn::default() };
    let turned = store.turn(&one, turn, NOW).await.unwrap();
    assert_eq!((turned.begun.len(), turned.begun[0].id, turned.lost), (1, ours, vec![theirs]));
    let follow = vec![group(&["receipt"])];
    let outcome = crate::store::Settled::Done { result: None, follow };
    let settles = [theirs, ours].map(|id| Settle { id, outcome: outcome.clone() });
    let turned = store.turn(&one, Turn { settle: settles.into(), ..Turn::default() }, NOW).await.unwrap();
    assert_eq!((turned.accepted.len(), turned.lost, turned.gone), (1, vec![theirs], Vec::new()));
    assert_eq!(begin(store, &other, theirs, NOW).await.begun[0].doubt, None, "nothing of it had changed");
}

async fn who_comes_back_in_time_keeps_what_nobody_took(store: &dyn Store) {
    let lease = store.lease("one", NOW).await.unwrap();
    let id = accept_one(store, "a").await;
    let renewed = store.renew(&lease, NOW + 10 * LEASE_MILLIS).await.unwrap();
    assert_eq!((&renewed.lease, renewed.orphaned), (&lease, Partitions::NONE));
    assert_eq!(begin(store, &lease, id, NOW).await.begun.len(), 1);
}

async fn one_name_is_one_owner(store: &dyn Store) {
    let older = store.lease("one", NOW).await.unwrap();
    let id = accept_one(store, "a").await;
    let newer = store.lease("one", NOW).await.unwrap();
    assert_eq!(newer.partitions(), Partitions::ALL);
    assert_eq!(begin(store, &older, id, NOW).await.lost, [id]);
    assert_eq!(begin(store, &newer, id, NOW).await.begun.len(), 1);
}

async fn what_is_put_back_is_news_to_all(store: &dyn Store) {
    let lease = store.lease("one", NOW).await.unwrap();
    let id = accept_one(store, "a").await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, super::dead(&[]), NOW).await;
    let (_, since) = all_news(store, &lease, Watermark::START).await;
    store.revive(&[key("a")], NOW).await.unwrap();
    let (found, since) = all_news(store, &lease, since).await;
    assert_eq!(found, [id]);
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, super::dead(&[]), NOW).await;
    accept(store, vec![reviving(&["a"])]).await;
    assert_eq!(all_news(store, &lease, since).await.0, [id]);
}

async fn news_is_of_what_is_held(store: &dyn Store) {
    let (one, other) = halves(store).await;
    let ids = [&one, &other].map(Lease::partitions);
    let (ours, theirs) = (accept_in(store, &ids[0]).await, accept_in(store, &ids[1]).await);
    assert_eq!(all_news(store, &one, Watermark::START).await.0, [ours]);
    assert_eq!(all_news(store, &other, Watermark::START).await.0, [theirs]);
}
