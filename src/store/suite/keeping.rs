//! What is kept beside the envelopes, and what is forgotten.

use bytes::Bytes;

use super::{NOW, accept, accept_one, begin, dead, done, group, key, lease, settle};
use crate::{
    model::Session,
    store::{Accepted, Batch, BlobId, HOUR_MILLIS, Store, StoreError},
};

on_each_store! {
    a_session_is_kept_changed_and_forgotten
    a_blob_comes_back_as_it_was
    pruning_forgets_what_ended_and_its_key_but_nothing_that_lives
    pruning_keeps_the_blobs_that_a_living_envelope_may_name
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
