//! Forgetting a person: all of theirs, and nothing of anybody else.

use bridge_api::{Cursor, Message, Peer, Speaker};
use bytes::Bytes;

use super::{NOW, begin, key, lease, settle, waiting};
use crate::{
    model::{Group, InboxName, Lane, MessageRef, MessageStatus, NewEnvelope, Order, Session, orders},
    store::{Accepted, Batch, Blob, By, Forgotten, Settled, Store, Whom},
};

on_each_store! {
    what_is_kept_of_a_person_goes_and_what_is_of_others_stays
    nothing_is_removed_while_something_waits_unless_that_is_asked_for
    a_forgotten_event_that_comes_again_is_no_news
    a_contact_is_found_by_its_number_and_by_its_link
}

pub(in crate::store) fn whom(by: By, also_waiting: bool) -> Whom {
    Whom { bridge: "libera".into(), inbox: InboxName::new("support"), by, also_waiting }
}

fn ada() -> By {
    By::Word("a:ada".into())
}

fn post(peer: &str, event: &str) -> Group {
    let message = Message {
        peer: Peer { id: peer.into(), name: peer.into(), facts: [].into(), email: None, picture: None },
        speaker: Speaker::Peer,
        text: format!("{event} of {peer}"),
        attachments: Vec::new(),
        reply_to: None,
        quiet: false,
        facts: [].into(),
        thread_facts: [].into(),
    };
    let lane = Lane::new(crate::model::SinkName::inbox(&InboxName::new("support")), "in", "libera", peer);
    let order = Order::Post { bridge: "libera".into(), thread: peer.into(), message };
    let key = orders::event_key(&"libera".into(), &event.into());
    Group::one(NewEnvelope { key, at_millis: NOW, lane, rank: NOW, due_millis: NOW, order })
}

fn told(conversation: i64, message: i64) -> Group {
    let message = MessageRef { inbox: InboxName::new("support"), conversation, message };
    orders::status(&message, MessageStatus::Failed, Some("canary reason"), NOW)
}

/// Two people, each with a session, cursors, a kept file, a message that is done and one that was given up. `mark` is in
/// all that is text of the first.
pub(in crate::store) async fn people(store: &dyn Store, mark: &str) {
    for (peer, contact) in [("a:ada", 7), ("a:adam", 8)] {
        let session = Session {
            bridge: "libera".into(),
            thread: peer.into(),
            contact,
            source_id: format!("libera/{peer}"),
            conversation: contact * 10,
            resolved: false,
            profile: 1,
            home: 9,
        };
        store.save_session(&session).await.unwrap();
        let failed = format!(r#"{{"conversation":{},"reason":"{mark} {peer}"}}"#, contact * 10);
        let cursors = vec![
            ("libera".to_owned(), Cursor::set(format!("peer/{peer}"), format!("{mark} nick"))),
            ("libera".to_owned(), Cursor::set(format!("held/{contact}"), format!(r#"{{"of":"{peer}","x":"{mark}"}}"#))),
            (crate::model::OWN_SCOPE.to_owned(), Cursor::set(format!("failed/support:{contact}"), failed)),
        ];
        let bytes = Bytes::from(format!("From: {peer}\r\n\r\n{mark}"));
        let blobs = vec![Blob { id: store.name_blob(NOW), bytes, held_by: None }];
        let mut groups = vec![
            post(peer, &format!("done-{contact}")),
            post(peer, &format!("dead-{contact}")),
            told(contact * 10, contact),
        ];
        for envelope in groups.iter_mut().flat_map(|group| &mut group.envelopes) {
            if let Order::Post { message, .. } = &mut envelope.order {
                message.text.push_str(mark);
            }
        }
        let accepted = store.accept(Batch { groups, cursors, blobs, ..Batch::default() }, NOW).await.unwrap();
        let ids: Vec<_> = accepted.into_iter().flat_map(Accepted::into_waiting).map(|waiting| waiting.id).collect();
        let lease = lease(store).await;
        let done = Settled::Done { result: Some(format!("{}/9001", contact * 10)), follow: Vec::new() };
        let reason = format!("refused: {mark}");
        let dead = || Settled::Dead { at_millis: NOW, reason: reason.clone(), also: Vec::new(), follow: Vec::new() };
        for (id, outcome) in ids.into_iter().zip([done, dead(), dead()]) {
            begin(store, &lease, id, NOW).await;
            settle(store, &lease, id, outcome, NOW).await;
        }
    }
}

async fn what_is_kept_of_a_person_goes_and_what_is_of_others_stays(store: &dyn Store) {
    people(store, "").await;
    let forgotten = store.forget(&whom(ada(), false)).await.unwrap();
    // What may be left in files is each store's own matter.
    let forgotten = Forgotten { not_overwritten: None, ..forgotten };
    let expected = Forgotten {
        refused: 0,
        waiting: 0,
        dead: 2,
        finished: 1,
        sessions: 1,
        cursors: 3,
        blobs: 1,
        contacts: [7].into(),
        conversations: [70].into(),
        not_overwritten: None,
    };
    assert_eq!(forgotten, expected);
    for (peer, number, stays) in [("a:ada", 7, false), ("a:adam", 8, true)] {
        assert_eq!(store.session(&"libera".into(), &peer.into()).await.unwrap().is_some(), stays);
        for event in ["done", "dead"] {
            let history = store.history(&key(&format!("libera/{event}-{number}/0"))).await.unwrap();
            assert_eq!(history.is_some(), stays, "{event} {peer}");
        }
    }
    let names = store.cursors("libera", "").await.unwrap().into_iter().map(|cursor| cursor.name);
    assert_eq!(names.collect::<Vec<_>>(), ["held/8", "peer/a:adam"]);
    assert_eq!((store.dead(9).await.unwrap().len(), store.depth().await.unwrap().dead), (2, 2));
    assert_eq!(store.forget(&whom(ada(), false)).await, Ok(Forgotten::default()), "there is nothing left");
}

async fn nothing_is_removed_while_something_waits_unless_that_is_asked_for(store: &dyn Store) {
    people(store, "").await;
    let groups = vec![post("a:ada", "waits-1"), post("a:adam", "waits-2"), post("a:ada", "waits-3")];
    store.accept(Batch { groups, ..Batch::default() }, NOW).await.unwrap();
    let refused = store.forget(&whom(ada(), false)).await;
    assert_eq!(refused, Ok(Forgotten { refused: 2, ..Forgotten::default() }));
    assert!(store.session(&"libera".into(), &"a:ada".into()).await.unwrap().is_some());
    assert_eq!(store.forget(&whom(ada(), true)).await.unwrap().waiting, 2);
    let lease = lease(store).await;
    assert_eq!(waiting(store, &lease).await.len(), 1);
    assert_eq!(store.depth().await.unwrap().waiting, 1);
}

async fn a_forgotten_event_that_comes_again_is_no_news(store: &dyn Store) {
    people(store, "").await;
    store.accept(Batch { groups: vec![post("a:ada", "waits")], ..Batch::default() }, NOW).await.unwrap();
    store.forget(&whom(ada(), true)).await.unwrap();
    let groups = vec![post("a:ada", "done-7"), post("a:ada", "dead-7"), post("a:ada", "waits")];
    let accepted = store.accept(Batch { groups, ..Batch::default() }, NOW + 1).await.unwrap();
    assert_eq!(accepted, vec![Accepted::Duplicate; 3]);
    let groups = vec![post("a:ada", "another")];
    let accepted = store.accept(Batch { groups, ..Batch::default() }, NOW + 1).await.unwrap();
    assert!(matches!(&accepted[..], [Accepted::New(_)]), "whoever writes again is somebody new: {accepted:?}");
}

async fn a_contact_is_found_by_its_number_and_by_its_link(store: &dyn Store) {
    people(store, "").await;
    for by in [By::Contact(9), By::SourceId("libera/a".into()), By::Word("a".into())] {
        assert_eq!(store.forget(&whom(by, false)).await, Ok(Forgotten::default()));
    }
    let by_number = store.forget(&whom(By::Contact(7), false)).await.unwrap();
    assert_eq!((by_number.sessions, by_number.dead, by_number.cursors, by_number.blobs), (1, 2, 3, 1));
    let by_link = store.forget(&whom(By::SourceId("libera/a:adam".into()), false)).await.unwrap();
    assert_eq!((by_link.sessions, by_link.dead, by_link.cursors, by_link.blobs), (1, 2, 3, 1));
}
