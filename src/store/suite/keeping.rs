//! What is kept beside the envelopes, and what is forgotten.

use bridge_api::Cursor;
use bytes::Bytes;

use super::{NOW, accept, accept_one, begin, dead, done, group, key, lease, settle};
use crate::{
    model::Session,
    store::{Accepted, Batch, Blob, BlobId, HOUR_MILLIS, Settled, Store, StoreError},
};

on_each_store! {
    a_session_is_kept_changed_and_forgotten
    a_text_with_a_nul_comes_back_as_it_was
    a_blob_comes_back_as_it_was
    ordinals_grow
    pruning_forgets_what_ended_and_its_key_but_nothing_that_lives
    a_blob_that_was_not_finished_never_was
    pruning_keeps_the_blobs_whose_cursor_is_still_there
    pruning_keeps_the_blobs_that_a_living_envelope_may_name
    a_dead_letter_keeps_the_blobs_that_it_names_and_no_others
    a_closed_store_refuses
    a_store_that_works_passes_its_check
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
        home: 9,
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

async fn a_text_with_a_nul_comes_back_as_it_was(store: &dyn Store) {
    let odd = "a\0b\u{1}";
    let session = Session {
        bridge: "irc".into(),
        thread: odd.into(),
        contact: 3,
        source_id: odd.to_owned(),
        conversation: 12,
        resolved: false,
        profile: 0,
        home: 9,
    };
    store.save_session(&session).await.unwrap();
    assert_eq!(store.session(&session.bridge, &session.thread).await, Ok(Some(session.clone())));
    assert_eq!(store.sessions_like(odd, 9).await, Ok(vec![session]));
    let cursors = vec![("irc".to_owned(), Cursor::set(odd, odd))];
    store.accept(Batch { groups: vec![group(&[odd])], cursors, ..Batch::default() }, NOW).await.unwrap();
    assert_eq!(store.cursors("irc", "a\0").await, Ok(vec![Cursor::set(odd, odd)]));
    let lease = lease(store).await;
    let id = store.list(1).await.unwrap()[0].id;
    assert_eq!(begin(store, &lease, id, NOW).await.begun[0].key, key(odd));
    let outcome = Settled::Dead { at_millis: NOW, reason: odd.to_owned(), also: Vec::new(), follow: Vec::new() };
    settle(store, &lease, id, outcome, NOW).await;
    let dead = store.dead(1).await.unwrap();
    assert_eq!((&dead[0].key, dead[0].reason.as_str()), (&key(odd), odd));
    assert_eq!(store.revive(&[key(odd)], NOW).await.unwrap().len(), 1);
}

/// Keeps a blob that nothing holds: a small one, or one that comes in pieces.
pub(in crate::store) async fn put(store: &dyn Store, bytes: &'static [u8], whole: bool) -> BlobId {
    put_at(store, bytes, whole, NOW).await
}

async fn put_at(store: &dyn Store, bytes: &'static [u8], whole: bool, at_millis: i64) -> BlobId {
    let id = store.name_blob(at_millis);
    if whole {
        let blobs = vec![Blob { id: id.clone(), bytes: Bytes::from_static(bytes), held_by: None }];
        store.accept(Batch { blobs, ..Batch::default() }, at_millis).await.unwrap();
    } else {
        let mut fill = store.fill(&id).await.unwrap();
        for piece in bytes.chunks(3) {
            fill.write(Bytes::from_static(piece)).await.unwrap();
        }
        fill.finish(Vec::new()).await.unwrap();
    }
    id
}

async fn ordinals_grow(store: &dyn Store) {
    let mut earlier = -1;
    // Also where a clock is set back.
    for now_millis in [NOW, NOW, NOW + 5, NOW - 1000, NOW] {
        let ordinal = store.ordinal(now_millis).await.unwrap();
        assert!(ordinal > earlier, "{ordinal} after {earlier}");
        earlier = ordinal;
    }
}

async fn a_blob_comes_back_as_it_was(store: &dyn Store) {
    let mut earlier = store.name_blob(NOW - 1).0;
    for whole in [true, false, true, false] {
        let id = put(store, b"\0\xffpicture", whole).await;
        assert!(id.0.len() == 32 && id.0.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
        assert!(id.0 > earlier, "{id:?}");
        assert_eq!(store.blob(&id).await, Ok(Some(Bytes::from_static(b"\0\xffpicture"))));
        earlier = id.0;
    }
    let empty = put(store, b"", true).await;
    assert_eq!(store.blob(&empty).await, Ok(Some(Bytes::new())));
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

async fn a_blob_that_was_not_finished_never_was(store: &dyn Store) {
    let id = store.name_blob(NOW);
    let mut fill = store.fill(&id).await.unwrap();
    fill.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(store.blob(&id).await, Ok(None));
    drop(fill);
    assert_eq!(store.blob(&id).await, Ok(None));
}

async fn pruning_keeps_the_blobs_whose_cursor_is_still_there(store: &dyn Store) {
    let much_later = NOW + 100 * HOUR_MILLIS;
    let cursor = |name: &str, value: Option<&str>| {
        ("mail".to_owned(), Cursor { name: name.to_owned(), value: value.map(str::to_owned) })
    };
    let (small, large) = (store.name_blob(NOW), store.name_blob(NOW));
    let held_by = Some(("mail".to_owned(), "small".to_owned()));
    let blobs = vec![Blob { id: small.clone(), bytes: Bytes::from_static(b"a"), held_by }];
    let cursors = vec![cursor("small", Some("x"))];
    store.accept(Batch { cursors, blobs, ..Batch::default() }, NOW).await.unwrap();
    let mut fill = store.fill(&large).await.unwrap();
    fill.write(Bytes::from_static(b"a")).await.unwrap();
    fill.finish(vec![cursor("large", Some("x")), cursor("other", Some("x"))]).await.unwrap();
    assert_eq!(store.cursors("mail", "").await.unwrap().len(), 3, "they come together");
    for (id, name) in [(small, "small"), (large, "large")] {
        let held = format!("held/{}", id.0);
        store
            .accept(Batch { cursors: vec![cursor(name, None), cursor(&held, Some("x"))], ..Batch::default() }, NOW)
            .await
            .unwrap();
        store.prune(much_later).await.unwrap();
        assert!(store.blob(&id).await.unwrap().is_some(), "{name} is held by another name");
        store
            .accept(Batch { cursors: vec![cursor(name, Some("x")), cursor(&held, None)], ..Batch::default() }, NOW)
            .await
            .unwrap();
        store.prune(much_later).await.unwrap();
        assert!(store.blob(&id).await.unwrap().is_some(), "{name}");
        let cursors = vec![cursor(name, None)];
        store.accept(Batch { cursors, ..Batch::default() }, NOW).await.unwrap();
        store.prune(NOW).await.unwrap();
        assert!(store.blob(&id).await.unwrap().is_some(), "{name} is not old enough");
        store.prune(much_later).await.unwrap();
        assert_eq!(store.blob(&id).await, Ok(None), "{name}");
    }
}

async fn pruning_keeps_the_blobs_that_a_living_envelope_may_name(store: &dyn Store) {
    for whole in [true, false] {
        keeps_while_it_may_be_named(store, if whole { "small" } else { "large" }, whole).await;
    }
}

async fn keeps_while_it_may_be_named(store: &dyn Store, name: &str, whole: bool) {
    let blob = put(store, b"a", whole).await;
    let id = accept_one(store, name).await;
    let much_later = NOW + 100 * HOUR_MILLIS;
    store.prune(much_later).await.unwrap();
    assert!(store.blob(&blob).await.unwrap().is_some());
    let lease = lease(store).await;
    begin(store, &lease, id, NOW).await;
    settle(store, &lease, id, done(), NOW).await;
    store.prune(much_later).await.unwrap();
    assert_eq!(store.blob(&blob).await, Ok(None));
}

/// A small and a large one from just too early for whatever arrives now, from just in time, and from now.
async fn around_the_margin(store: &dyn Store) -> Vec<BlobId> {
    let mut blobs = Vec::new();
    for at_millis in [NOW - HOUR_MILLIS - 1, NOW - HOUR_MILLIS, NOW] {
        for whole in [true, false] {
            blobs.push(put_at(store, b"a", whole, at_millis).await);
        }
    }
    blobs
}

async fn there(store: &dyn Store, blobs: &[BlobId]) -> Vec<bool> {
    let mut there = Vec::new();
    for blob in blobs {
        there.push(store.blob(blob).await.unwrap().is_some());
    }
    there
}

async fn a_dead_letter_keeps_the_blobs_that_it_names_and_no_others(store: &dyn Store) {
    let much_later = NOW + 100 * HOUR_MILLIS;
    let lease = lease(store).await;
    let blobs = around_the_margin(store).await;
    let waiting = accept_one(store, "a").await;
    store.prune(much_later).await.unwrap();
    assert_eq!(there(store, &blobs).await, [false, false, true, true, true, true], "what waits may name those");
    begin(store, &lease, waiting, NOW).await;
    settle(store, &lease, waiting, dead(&[]), NOW).await;
    // Their texts hold their keys.
    for named in [&blobs[2], &blobs[5]] {
        let id = accept_one(store, &named.0).await;
        begin(store, &lease, id, NOW).await;
        settle(store, &lease, id, dead(&[]), NOW).await;
    }
    store.prune(much_later).await.unwrap();
    assert_eq!(
        there(store, &blobs).await,
        [false, false, true, false, false, true],
        "a dead letter says what it names"
    );
    store.discard(&[key(&blobs[2].0), key(&blobs[5].0)], NOW).await.unwrap();
    store.prune(much_later).await.unwrap();
    assert_eq!(there(store, &blobs).await, [false; 6]);
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
