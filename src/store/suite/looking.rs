//! What people look at: lists in pieces, searches, one envelope by its number.

use super::{NOW, accept_one, begin, dead, key, lane, lease, settle};
use crate::{
    model::{EnvelopeId, Session},
    store::{RowMark, Rows, Settled, Store, Wanted},
};

on_each_store! {
    a_list_is_read_on_from_where_it_ended_and_by_its_sink
    a_search_walks_back_in_stretches_over_every_state
    sessions_are_found_by_a_piece_of_their_thread_or_source_id
}

async fn a_list_is_read_on_from_where_it_ended_and_by_its_sink(store: &dyn Store) {
    let lease = lease(store).await;
    for (name, at) in [("a", NOW + 2), ("b", NOW + 2), ("c", NOW + 1)] {
        let id = accept_one(store, name).await;
        begin(store, &lease, id, at).await;
        let outcome = Settled::Dead { at_millis: at, reason: "no".into(), also: Vec::new(), follow: Vec::new() };
        settle(store, &lease, id, outcome, NOW + 9).await;
    }
    for name in ["d", "e", "f"] {
        accept_one(store, name).await;
    }
    let (mut dead, mut waiting) = (Vec::new(), Vec::new());
    let mut rows = Rows { sink: Some("inbox:support".into()), ..Rows::first(2) };
    while let Some(last) = store.dead_rows(&rows).await.unwrap().last() {
        dead.extend(store.dead_rows(&rows).await.unwrap().into_iter().map(|letter| letter.key));
        rows.after = Some(RowMark { at_millis: last.died_millis, id: last.id });
    }
    rows.after = None;
    while let Some(last) = store.list_rows(&rows).await.unwrap().last() {
        waiting.extend(store.list_rows(&rows).await.unwrap().into_iter().map(|row| row.key));
        rows.after = Some(RowMark { at_millis: 0, id: last.id });
    }
    assert_eq!((dead, waiting), ([key("b"), key("a"), key("c")].into(), [key("d"), key("e"), key("f")].into()));
    let others = Rows { sink: Some("bridge:other".into()), ..Rows::first(9) };
    assert_eq!((store.dead_rows(&others).await, store.list_rows(&others).await), (Ok(Vec::new()), Ok(Vec::new())));
}

async fn a_search_walks_back_in_stretches_over_every_state(store: &dyn Store) {
    let lease = lease(store).await;
    let ids =
        [accept_one(store, "x/dead").await, accept_one(store, "x/done").await, accept_one(store, "y/other").await];
    let newest = accept_one(store, "x/waits").await;
    for (id, outcome) in
        [(ids[0], dead(&[])), (ids[1], Settled::Done { result: Some("3/99".into()), follow: Vec::new() })]
    {
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, outcome, NOW).await;
    }
    let walk = async |wanted: &Wanted| {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let found = store.find(wanted, before).await.unwrap();
            seen.push(found.hits.iter().map(|hit| hit.id).collect::<Vec<_>>());
            before = found.before;
            if before.is_none() {
                return seen;
            }
        }
    };
    let wanted = Wanted { stretch: 2, count_max: 9, ..Wanted::default() };
    let by_key = Wanted { key: Some("x/".into()), ..wanted.clone() };
    assert_eq!(walk(&by_key).await, [vec![newest], vec![ids[1], ids[0]]]);
    let one_at_a_time = Wanted { stretch: 100, count_max: 1, ..by_key };
    assert_eq!(walk(&one_at_a_time).await, [vec![newest], vec![ids[1]], vec![ids[0]]]);
    let by_number = Wanted { message: Some(99), ..wanted.clone() };
    assert_eq!(walk(&by_number).await, [vec![], vec![ids[1]]]);
    let by_lane = Wanted { lanes: vec![lane("one").id], ..wanted };
    assert_eq!(walk(&by_lane).await, [vec![newest, ids[2]], vec![ids[1], ids[0]]]);
    let history = store.history_of(ids[1]).await.unwrap().unwrap();
    assert_eq!((history.key.as_str(), history.attempts.len(), history.about), ("x/done", 1, None));
    assert!(store.history_of(newest).await.unwrap().unwrap().about.is_some());
    assert_eq!(store.history_of(EnvelopeId(newest.0 + 1)).await, Ok(None));
}

async fn sessions_are_found_by_a_piece_of_their_thread_or_source_id(store: &dyn Store) {
    for (bridge, thread, source_id) in
        [("irc", "a:ada", "irc/a:ada"), ("irc", "a:adam", "odd"), ("mail", "x", "mail/x")]
    {
        let session = Session {
            bridge: bridge.into(),
            thread: thread.into(),
            contact: 1,
            source_id: source_id.into(),
            conversation: 2,
            resolved: false,
            profile: 0,
            home: 0,
        };
        store.save_session(&session).await.unwrap();
    }
    let found = async |text: &str, count| {
        let found = store.sessions_like(text, count).await.unwrap();
        found.into_iter().map(|session| session.thread.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("ada", 9).await, ["a:ada", "a:adam"]);
    assert_eq!(found("a:adam", 1).await, ["a:adam"]);
    assert_eq!(found("mail/", 9).await, ["x"]);
    assert_eq!(found("a", 2).await, ["a:ada", "a:adam"]);
    assert_eq!(found("%", 9).await, Vec::<String>::new());
}
