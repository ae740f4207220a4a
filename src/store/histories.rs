//! Random histories: whatever is asked, and whenever the process starts anew, each store answers as the model does.

use std::time::Duration;

use bridge_api::{Cursor, Key};
use proptest::{collection::vec, option, prelude::*};

use super::{
    Accepted, Batch, Begin, CopyError, DeadLetter, Depth, Found, Held, History, Lease, Listed, MemoryStore, Place,
    PostgresStore, RowMark, Rows, Settle, Settled, SqliteStore, Store, StoreError, Turn, Turned, Wanted, copy,
    postgres,
    suite::{NOW, key, new, sink},
};
use crate::model::{EnvelopeId, Group, OnDuplicate, Waiting, rank_of};

const LANES: usize = 2;
const MESSAGES: usize = 3;
const PARTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Accept(Vec<Group>, Vec<Held>, Vec<(String, Cursor)>),
    Lease,
    Release,
    Turn(Turn),
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
    Unit(Result<(), StoreError>),
    Turned(Box<Result<Turned, StoreError>>),
    Revived(Result<Vec<Waiting>, StoreError>),
    Count(Result<usize, StoreError>),
}

/// All that can be seen from outside.
#[derive(Debug, PartialEq)]
struct View {
    waiting: Result<Vec<Waiting>, StoreError>,
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
        8 => turns().prop_map(Step::Turn),
        2 => Just(Step::Lease),
        1 => Just(Step::Release),
        2 => keys().prop_map(Step::Revive),
        1 => keys().prop_map(Step::Discard),
        1 => (0_i64..60).prop_map(|after| Step::Prune(NOW + after)),
        1 => Just(Step::Restart),
    ]
}

async fn take(store: &dyn Store, step: Step, lease: &Lease, now_millis: i64) -> Answer {
    match step {
        Step::Accept(groups, held, cursors) => {
            Answer::Accepted(store.accept(Batch { groups, cursors, held, ..Batch::default() }, now_millis).await)
        }
        Step::Lease => Answer::Leased(store.lease("tests", now_millis).await),
        Step::Release => Answer::Unit(store.release(lease).await),
        Step::Turn(turn) => Answer::Turned(Box::new(store.turn(lease, turn, now_millis).await)),
        Step::Revive(keys) => Answer::Revived(store.revive(&keys, now_millis).await),
        Step::Discard(keys) => Answer::Count(store.discard(&keys, now_millis).await),
        Step::Prune(before) => Answer::Count(store.prune(before).await),
        Step::Restart => Answer::Unit(Ok(())),
    }
}

async fn look(store: &dyn Store, lease: &Lease) -> Result<View, StoreError> {
    let mut histories = Vec::new();
    for name in names() {
        histories.push(store.history(&key(&name)).await?);
    }
    Ok(View {
        waiting: store.waiting(lease, EnvelopeId(0), 100).await,
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

async fn compare(history: Vec<(Step, i64)>, open: impl AsyncFn() -> Box<dyn Store>) -> Result<(), TestCaseError> {
    let model = MemoryStore::default();
    let mut store = open().await;
    let mut lease = model.lease("tests", NOW).await.unwrap();
    prop_assert_eq!(&store.lease("tests", NOW).await.unwrap(), &lease);
    let mut now_millis = NOW;
    for (step, passed) in history {
        now_millis += passed;
        if matches!(step, Step::Restart) {
            store.close().await;
            store = open().await;
        }
        let expected = take(&model, step.clone(), &lease, now_millis).await;
        prop_assert_eq!(&take(&*store, step.clone(), &lease, now_millis).await, &expected, "{:?}", step);
        if let Answer::Leased(Ok(newer)) = expected {
            lease = newer;
        }
        prop_assert_eq!(look(&*store, &lease).await, look(&model, &lease).await, "after {:?}", step);
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
    fn sqlite_answers_as_the_model_does(history in vec((steps(), 0_i64..9), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_dir(folder.path());
        let open = async || Box::new(SqliteStore::open(&place).unwrap()) as Box<dyn Store>;
        runtime().block_on(compare(history, open))?;
    }

    #[test]
    fn postgres_answers_as_the_model_does(history in vec((steps(), 0_i64..9), 1..40)) {
        let Some(place) = postgres::server::place() else { return Ok(()) };
        let open = async || Box::new(PostgresStore::open(&place).await.unwrap()) as Box<dyn Store>;
        runtime().block_on(compare(history, open))?;
    }
}

/// A store on SQLite with some history, copied twice, answers as its copy does.
async fn compare_with_copy(history: Vec<(Step, i64)>) -> Result<(), TestCaseError> {
    let Some(to) = postgres::server::place() else { return Ok(()) };
    let folder = tempfile::tempdir().unwrap();
    let from = Place::in_dir(folder.path());
    let sqlite = SqliteStore::open(&from).unwrap();
    let (mut lease, mut now_millis) = (sqlite.lease("tests", NOW).await.unwrap(), NOW);
    for (step, passed) in history {
        now_millis += passed;
        if let Answer::Leased(Ok(newer)) = take(&sqlite, step, &lease, now_millis).await {
            lease = newer;
        }
    }
    let occupied = Place { handover: Duration::ZERO, ..from.clone() };
    let refused = copy(&occupied, &to, |_| ()).await;
    prop_assert!(matches!(&refused, Err(CopyError::Source(StoreError::InUse { .. }))), "{:?}", refused);
    sqlite.close().await;
    let copied = copy(&from, &to, |_| ()).await.unwrap();
    prop_assert_eq!(copy(&from, &to, |_| ()).await.unwrap(), copied);

    let (sqlite, postgres) = (SqliteStore::open(&from).unwrap(), PostgresStore::open(&to).await.unwrap());
    let (here, there) = (sqlite.lease("tests", NOW).await.unwrap(), postgres.lease("tests", NOW).await.unwrap());
    prop_assert_eq!(look(&postgres, &there).await, look(&sqlite, &here).await);
    let next = Step::Accept(vec![Group::one(new("next", "lane 0", 0))], Vec::new(), Vec::new());
    let expected = take(&sqlite, next.clone(), &here, now_millis).await;
    prop_assert_eq!(take(&postgres, next, &there, now_millis).await, expected);
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
