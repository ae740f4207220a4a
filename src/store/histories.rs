//! Random histories: whatever is asked, and whenever the process starts anew, each store answers as the model does.

use std::{collections::BTreeSet, time::Duration};

use bridge_api::{Cursor, Key};
use proptest::{collection::vec, option, prelude::*};

use super::{
    Accepted, Batch, Begin, CopyError, DeadLetter, Depth, Found, Held, History, LEASE_MILLIS, Lease, Listed,
    MemoryStore, Place, PostgresStore, Renewed, RowMark, Rows, Settle, Settled, SqliteStore, Store, StoreError, Turn,
    Turned, Wanted, Watermark, copy, postgres,
    suite::{NOW, key, new, sink},
};
use crate::model::{EnvelopeId, Group, OnDuplicate, Partition, Partitions, Waiting, rank_of};

const LANES: usize = 2;
const MESSAGES: usize = 3;
const PARTS: usize = 3;

/// Which of those who work on it.
type Owner = usize;

const OWNERS: [&str; 3] = ["one", "other", "third"];

#[derive(Clone, Debug)]
enum Step {
    Accept(Vec<Group>, Vec<Held>, Vec<(String, Cursor)>),
    Lease(Owner),
    Renew(Owner),
    GiveBack(Owner, Partitions),
    Release(Owner),
    Turn(Owner, Turn),
    News(Owner),
    Revive(Vec<Key>),
    Discard(Vec<Key>),
    Prune(i64),
    /// The process ends and another one opens the same store.
    Restart,
}

/// What a verb answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Accepted(Result<Vec<Accepted>, StoreError>),
    Leased(Result<Lease, StoreError>),
    Renewed(Result<Renewed, StoreError>),
    /// Each once.
    News(Result<BTreeSet<EnvelopeId>, StoreError>),
    Unit(Result<(), StoreError>),
    Turned(Box<Result<Turned, StoreError>>),
    Revived(Result<Vec<Waiting>, StoreError>),
    Count(Result<usize, StoreError>),
}

/// All that can be seen from outside.
#[derive(Debug, PartialEq)]
struct View {
    waiting: Vec<Result<Vec<Waiting>, StoreError>>,
    list: Vec<Listed>,
    dead: Vec<DeadLetter>,
    depth: Depth,
    pages: (Vec<DeadLetter>, Vec<Listed>),
    found: Vec<Found>,
    histories: Vec<Option<History>>,
    cursors: Vec<Cursor>,
}

fn name(lane: usize, message: usize, part: usize) -> String {
    format!("{lane}/{message}/{part}")
}

fn names() -> impl Iterator<Item = String> {
    (0..LANES)
        .flat_map(|lane| (0..MESSAGES).flat_map(move |message| (0..PARTS).map(move |part| name(lane, message, part))))
}

prop_compose! {
    fn groups()(
        (lane, message) in (0..LANES, 0..MESSAGES),
        (from, count) in (0..PARTS, 0..=PARTS),
        revive: bool,
        unless in option::weighted(0.3, 0..PARTS),
    ) -> Group {
        let parts = (from..PARTS).take(count).map(|part| {
            let mut envelope = new(&name(lane, message, part), &format!("lane {lane}"), part);
            envelope.at_millis = NOW + 10 * message as i64;
            envelope.rank = rank_of(message as i64, part);
            envelope.lane.sink = sink(if lane == 0 { "support" } else { "billing" });
            envelope
        });
        let on_duplicate = if revive { OnDuplicate::Revive } else { OnDuplicate::Ignore };
        let unless = unless.map(|part| key(&name(lane, message, part)));
        Group { envelopes: parts.collect(), on_duplicate, unless }
    }
}

fn held() -> impl Strategy<Value = Held> {
    (groups(), vec(groups(), 0..2)).prop_map(|(group, follow)| Held { group, reason: "late".into(), follow })
}

fn ids() -> impl Strategy<Value = EnvelopeId> {
    (1_i64..16).prop_map(EnvelopeId)
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let key = (0..LANES, 0..MESSAGES, 0..PARTS).prop_map(|(lane, message, part)| key(&name(lane, message, part)));
    vec(key, 0..4)
}

fn outcomes() -> impl Strategy<Value = Settled> {
    prop_oneof![
        (any::<Option<u8>>(), vec(groups(), 0..2))
            .prop_map(|(result, follow)| Settled::Done { result: result.map(|one| format!("3/{}", one % 9)), follow }),
        (0_i64..100, any::<bool>()).prop_map(|(later, spent)| Settled::Again {
            due_millis: NOW + later,
            spent,
            reason: format!("busy {later}")
        }),
        (0_i64..100).prop_map(|later| Settled::Repeat { due_millis: NOW + later, reason: format!("cut {later}") }),
        (0_i64..100).prop_map(|later| Settled::Doubt { due_millis: NOW + later, reason: format!("cut {later}") }),
        (0_i64..100, vec(ids(), 0..3), vec(groups(), 0..2)).prop_map(|(later, also, follow)| Settled::Dead {
            at_millis: NOW + later,
            reason: "no".into(),
            also,
            follow
        }),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    let settle = (ids(), outcomes()).prop_map(|(id, outcome)| Settle { id, outcome });
    let begin = (ids(), 0_i64..9).prop_map(|(id, mark)| Begin { id, mark });
    (vec(settle, 0..4), vec(begin, 0..6)).prop_map(|(settle, begin)| Turn { settle, begin })
}

fn cursors() -> impl Strategy<Value = Vec<(String, Cursor)>> {
    let cursor = ("[ab]", "[ab/]{0,2}", any::<Option<u8>>())
        .prop_map(|(scope, name, value)| (scope, Cursor { name, value: value.map(|value| value.to_string()) }));
    vec(cursor, 0..3)
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (vec(groups(), 0..4), vec(held(), 0..2), cursors())
            .prop_map(|(groups, held, cursors)| Step::Accept(groups, held, cursors)),
        8 => (owners(), turns()).prop_map(|(owner, turn)| Step::Turn(owner, turn)),
        2 => owners().prop_map(Step::Lease),
        4 => owners().prop_map(Step::Renew),
        2 => (owners(), 0_usize..4).prop_map(|(owner, nth)| Step::GiveBack(owner, quarter(nth))),
        1 => owners().prop_map(Step::Release),
        2 => owners().prop_map(Step::News),
        2 => keys().prop_map(Step::Revive),
        1 => keys().prop_map(Step::Discard),
        1 => (0_i64..60).prop_map(|after| Step::Prune(NOW + after)),
        1 => Just(Step::Restart),
    ]
}

/// Mostly the first.
fn owners() -> impl Strategy<Value = Owner> {
    prop_oneof![6 => Just(0), 2 => Just(1), 1 => Just(2)]
}

fn quarter(nth: usize) -> Partitions {
    (0..=Partition::MAX).filter(|one| usize::from(*one) % 4 == nth).collect()
}

/// A little time, and now and then so much that whoever said nothing is taken for dead.
fn pauses() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 0_i64..9, 1 => LEASE_MILLIS + 100..2 * LEASE_MILLIS]
}

/// One store, with what each owner knows of it.
struct Party<'a> {
    store: &'a dyn Store,
    leases: [Lease; 3],
    seen: [Watermark; 3],
}

impl<'a> Party<'a> {
    async fn new(store: &'a dyn Store) -> Self {
        let leases = OWNERS.map(Lease::none);
        let mut party = Self { store, leases, seen: [Watermark::START; 3] };
        party.leases[0] = store.lease(OWNERS[0], NOW).await.unwrap();
        party
    }

    async fn take(&mut self, step: Step, now_millis: i64) -> Answer {
        let answer = take(self, step.clone(), now_millis).await;
        match (&step, &answer) {
            (Step::Lease(owner) | Step::GiveBack(owner, _), Answer::Leased(Ok(newer))) => {
                self.leases[*owner] = newer.clone();
            }
            (Step::Renew(owner), Answer::Renewed(Ok(renewed))) => self.leases[*owner] = renewed.lease.clone(),
            _ => {}
        }
        answer
    }

    async fn news(&mut self, owner: Owner) -> Result<BTreeSet<EnvelopeId>, StoreError> {
        let mut found = BTreeSet::new();
        loop {
            let news = self.store.news(&self.leases[owner], self.seen[owner], 3).await?;
            found.extend(news.waiting.iter().map(|row| row.id));
            self.seen[owner] = news.next;
            if !news.more {
                break;
            }
        }
        // A store may also name what this lease is no longer good for.
        let held = self.store.waiting(&self.leases[owner], &Partitions::ALL, EnvelopeId(0), 100).await?;
        found.retain(|id| held.iter().any(|row| row.id == *id));
        Ok(found)
    }
}

async fn take(party: &mut Party<'_>, step: Step, now_millis: i64) -> Answer {
    let (store, leases) = (party.store, party.leases.clone());
    match step {
        Step::Accept(groups, held, cursors) => {
            Answer::Accepted(store.accept(Batch { groups, cursors, held, ..Batch::default() }, now_millis).await)
        }
        Step::Lease(owner) => Answer::Leased(store.lease(OWNERS[owner], now_millis).await),
        Step::Renew(owner) => Answer::Renewed(store.renew(&leases[owner], now_millis).await),
        Step::GiveBack(owner, some) => Answer::Leased(store.give_back(&leases[owner], &some).await),
        Step::Release(owner) => Answer::Unit(store.release(&leases[owner]).await),
        Step::Turn(owner, turn) => Answer::Turned(Box::new(store.turn(&leases[owner], turn, now_millis).await)),
        Step::News(owner) => Answer::News(party.news(owner).await),
        Step::Revive(keys) => Answer::Revived(store.revive(&keys, now_millis).await),
        Step::Discard(keys) => Answer::Count(store.discard(&keys, now_millis).await),
        Step::Prune(before) => Answer::Count(store.prune(before).await),
        Step::Restart => Answer::Unit(Ok(())),
    }
}

async fn look(party: &Party<'_>) -> Result<View, StoreError> {
    let store = party.store;
    let mut histories = Vec::new();
    for name in names() {
        histories.push(store.history(&key(&name)).await?);
    }
    let mut waiting = Vec::new();
    for lease in &party.leases {
        waiting.push(store.waiting(lease, &Partitions::ALL, EnvelopeId(0), 100).await);
    }
    Ok(View {
        waiting,
        list: store.list(100).await?,
        dead: store.dead(100).await?,
        depth: store.depth().await?,
        pages: pages(store).await?,
        found: found(store).await?,
        histories,
        cursors: store.cursors("a", "a").await?,
    })
}

/// The lists again, by sink and in pieces.
async fn pages(store: &dyn Store) -> Result<(Vec<DeadLetter>, Vec<Listed>), StoreError> {
    let (mut dead, mut list) = (Vec::new(), Vec::new());
    for name in ["inbox:support", "inbox:billing", "inbox:nobody"] {
        let mut rows = Rows { sink: Some(name.to_owned()), ..Rows::first(2) };
        loop {
            let piece = store.dead_rows(&rows).await?;
            rows.after = piece.last().map(|last| RowMark { at_millis: last.died_millis, id: last.id });
            dead.extend(piece);
            if rows.after.is_none() {
                break;
            }
        }
        loop {
            let piece = store.list_rows(&rows).await?;
            rows.after = piece.last().map(|last| RowMark { at_millis: 0, id: last.id });
            list.extend(piece);
            if rows.after.is_none() {
                break;
            }
        }
    }
    Ok((dead, list))
}

/// Walks to the end, in stretches so short that there are several.
async fn found(store: &dyn Store) -> Result<Vec<Found>, StoreError> {
    let lane = new("any", "lane 1", 0).lane.id;
    let wanted = |wanted: Wanted| Wanted { stretch: 3, count_max: 2, ..wanted };
    let mut stretches = Vec::new();
    for wanted in [
        wanted(Wanted { key: Some("0/1".into()), ..Wanted::default() }),
        wanted(Wanted { lanes: vec![lane], ..Wanted::default() }),
        wanted(Wanted { message: Some(7), key: Some("1/".into()), ..Wanted::default() }),
    ] {
        let mut before = None;
        loop {
            let found = store.find(&wanted, before).await?;
            before = found.before;
            stretches.push(found);
            if before.is_none() {
                break;
            }
        }
    }
    Ok(stretches)
}

/// Nobody begins what is not there yet, and may come to be by the very same turn.
async fn without_guesses(step: Step, model: &dyn Store) -> Step {
    let Step::Turn(owner, mut turn) = step else { return step };
    let mut known = Vec::new();
    for begin in turn.begin {
        if model.history_of(begin.id).await.is_ok_and(|history| history.is_some()) {
            known.push(begin);
        }
    }
    turn.begin = known;
    Step::Turn(owner, turn)
}

async fn compare(
    history: Vec<(Step, i64)>,
    model: MemoryStore,
    open: impl AsyncFn() -> Box<dyn Store>,
) -> Result<(), TestCaseError> {
    let (mut store, mut model, mut now_millis) = (open().await, Party::new(&model).await, NOW);
    let Party { leases, seen, .. } = Party::new(&*store).await;
    prop_assert_eq!(&leases, &model.leases);
    let mut known = (leases, seen);
    for (step, passed) in history {
        now_millis += passed;
        if matches!(step, Step::Restart) {
            store.close().await;
            store = open().await;
        }
        let step = without_guesses(step, model.store).await;
        let mut party = Party { store: &*store, leases: known.0, seen: known.1 };
        let expected = model.take(step.clone(), now_millis).await;
        prop_assert_eq!(&party.take(step.clone(), now_millis).await, &expected, "{:?}", step);
        prop_assert_eq!(look(&party).await, look(&model).await, "after {:?}", step);
        known = (party.leases, party.seen);
    }
    store.close().await;
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_the_model_does(history in vec((steps(), pauses()), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_dir(folder.path());
        let open = async || Box::new(SqliteStore::open(&place).unwrap()) as Box<dyn Store>;
        runtime().block_on(compare(history, MemoryStore::default(), open))?;
    }

    #[test]
    fn postgres_answers_as_the_model_does(history in vec((steps(), pauses()), 1..25)) {
        let Some(place) = postgres::server::place() else { return Ok(()) };
        let open = async || Box::new(PostgresStore::open(&place).await.unwrap()) as Box<dyn Store>;
        runtime().block_on(compare(history, MemoryStore::shared(), open))?;
    }
}

/// A store on SQLite with some history, copied twice, answers as its copy does.
async fn compare_with_copy(history: Vec<(Step, i64)>) -> Result<(), TestCaseError> {
    let Some(to) = postgres::server::place() else { return Ok(()) };
    let folder = tempfile::tempdir().unwrap();
    let from = Place::in_dir(folder.path());
    let sqlite = SqliteStore::open(&from).unwrap();
    let (mut party, mut now_millis) = (Party::new(&sqlite).await, NOW);
    for (step, passed) in history {
        now_millis += passed;
        party.take(step, now_millis).await;
    }
    let occupied = Place { handover: Duration::ZERO, ..from.clone() };
    let refused = copy(&occupied, &to, |_| ()).await;
    prop_assert!(matches!(&refused, Err(CopyError::Source(StoreError::InUse { .. }))), "{:?}", refused);
    sqlite.close().await;
    let copied = copy(&from, &to, |_| ()).await.unwrap();
    prop_assert_eq!(copy(&from, &to, |_| ()).await.unwrap(), copied);

    let (sqlite, postgres) = (SqliteStore::open(&from).unwrap(), PostgresStore::open(&to).await.unwrap());
    let (mut here, mut there) = (Party::new(&sqlite).await, Party::new(&postgres).await);
    // In SQLite one lease is all there is.
    let (mut seen, mut copied) = (look(&here).await.unwrap(), look(&there).await.unwrap());
    prop_assert!(seen.waiting.drain(1..).all(|one| one == Err(StoreError::LeaseLost)));
    prop_assert!(copied.waiting.drain(1..).all(|one| one == Ok(Vec::new())));
    prop_assert_eq!(copied, seen);
    let next = Step::Accept(vec![Group::one(new("next", "lane 0", 0))], Vec::new(), Vec::new());
    let expected = here.take(next.clone(), now_millis).await;
    prop_assert_eq!(there.take(next, now_millis).await, expected);
    sqlite.close().await;
    postgres.close().await;
    let refused = copy(&from, &to, |_| ()).await;
    prop_assert!(matches!(&refused, Err(CopyError::WorkedOn(_))), "{:?}", refused);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_answers_as_what_it_was_copied_from(history in vec((steps(), 0_i64..9), 1..60)) {
        runtime().block_on(compare_with_copy(history))?;
    }
}
