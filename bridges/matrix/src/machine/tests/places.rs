//! Where conversations go on, and what was read before this start.

use super::*;

fn created(rig: &mut Rig, room: &str, sender: &str, content: &Value) -> Staged {
    let event = rig.event(room, sender, "m.room.create", content, &json!({"state_key": ""}));
    rig.take(vec![event], Vec::new())
}

#[test]
fn a_room_of_ours_is_known_by_its_first_event_and_nobody_is_greeted_in_it() {
    let mut rig = Rig::chat();
    let staged = created(&mut rig, "!open", ME, &json!({PLACE_MARK: "!r"}));
    rig.machine.commit(staged);
    assert_eq!(rig.machine.rooms.place_of(&"!r".into()), &RoomId::from("!open"));
    let open = rig.machine.rooms.get(&"!open".into()).unwrap();
    assert_eq!((open.duty(), open.peer.as_ref().map(UserId::as_str)), (None, Some(KIM)));
    // Told again, after the conversation went on elsewhere.
    rig.machine.rooms.place("!r".into(), "!later".into());
    assert!(created(&mut rig, "!open", ME, &json!({PLACE_MARK: "!r"})).places.is_empty());
    // Anybody may write anything into a room of theirs.
    assert!(created(&mut rig, "!theirs", KIM, &json!({PLACE_MARK: "!r"})).places.is_empty());
    assert!(created(&mut rig, "!odd", ME, &json!({PLACE_MARK: "!unknown"})).places.is_empty());
}

#[test]
fn an_invite_into_the_room_that_replaces_ours_goes_on_with_its_conversation() {
    let invite = |rig: &mut Rig, predecessor: &str| {
        let stripped = json!({"state_key": ME, "unsigned": {"invite_room_state": [
            {"type": "m.room.create", "state_key": "", "content": {"predecessor": {"room_id": predecessor}}}]}});
        let event = rig.event("!new", KIM, "m.room.member", &json!({"membership": "invite"}), &stripped);
        rig.take(vec![event], Vec::new())
    };
    let mut rig = Rig::chat();
    assert!(invite(&mut rig, "!r").places.is_empty(), "the old room does not say that it was replaced");
    let named = json!({"replacement_room": "!new"});
    let tombstone = rig.event("!r", KIM, "m.room.tombstone", &named, &json!({"state_key": ""}));
    rig.one(tombstone);
    assert!(invite(&mut rig, "!other").places.is_empty(), "the new one does not say what it replaces");
    let staged = invite(&mut rig, "!r");
    assert_eq!(staged.places.get(&"!r".into()), Some(&"!new".into()));
    rig.machine.commit(staged);
    assert_eq!(rig.duty(), Some(Duty::Leave(Why::Moved)));
    assert!(rig.machine.rooms.get(&"!new".into()).unwrap().settled);
}

#[test]
fn replies_go_where_the_person_wrote_last_whatever_is_told_again() {
    let mut rig = Rig::chat();
    let said = |rig: &mut Rig, room: &str, more: &Value| {
        let event = rig.event(room, KIM, "m.room.message", &json!({"msgtype": "m.text", "body": "x"}), more);
        let staged = rig.take(vec![event], Vec::new());
        rig.machine.commit(staged);
        rig.machine.rooms.place_of(&"!r".into()).as_str().to_owned()
    };
    assert_eq!(said(&mut rig, "!r", &json!({"origin_server_ts": NOW + 1000})), "!r");
    let staged = created(&mut rig, "!open", ME, &json!({PLACE_MARK: "!r"}));
    rig.machine.commit(staged);
    assert_eq!(said(&mut rig, "!open", &json!({"origin_server_ts": NOW + 2000})), "!open");
    assert_eq!(said(&mut rig, "!r", &json!({"origin_server_ts": NOW + 1500})), "!open", "an old one, read back");
    assert_eq!(said(&mut rig, "!r", &json!({"origin_server_ts": NOW + 3000})), "!r");
    let mut encrypted = rig.machine.rooms.get(&"!open".into()).unwrap().clone();
    encrypted.encrypted = true;
    rig.machine.rooms.put("!open".into(), encrypted);
    assert_eq!(said(&mut rig, "!open", &json!({"origin_server_ts": NOW + 4000})), "!r");
}

#[test]
fn what_was_read_before_this_start_is_found_in_the_rooms_history() {
    let mut rig = Rig::chat();
    let ours = |rig: &mut Rig, key: &str| {
        rig.event("!r", ME, "m.room.message", &json!({"body": "x", KEY_MARK: key}), &json!({}))
    };
    let history =
        vec![ours(&mut rig, "support:1/1/0"), ours(&mut rig, "support:2/1/0"), ours(&mut rig, "support:3/1/0")];
    let seen = Seen { event: history[1].id.clone(), user: KIM.into(), at_millis: NOW };
    let receipt = Ephemeral::Receipts { room: "!r".into(), seen: vec![seen] };
    let transaction = Transaction { events: Vec::new(), ephemeral: vec![receipt.clone()] };
    assert_eq!(rig.machine.wants(&transaction).histories, ["!r".into()].into());
    rig.answers.histories.insert("!r".into(), history);
    assert_eq!(rig.reports(Vec::new(), vec![receipt]).len(), 2);
    assert!(rig.machine.wants(&transaction).histories.is_empty(), "it is asked for once");
}

#[test]
fn an_echo_after_a_start_does_not_hide_what_was_sent_before_it() {
    for together in [false, true] {
        let mut rig = Rig::chat();
        let ours = |rig: &mut Rig, key: &str| {
            rig.event("!r", ME, "m.room.message", &json!({"body": "x", KEY_MARK: key}), &json!({}))
        };
        let history = vec![ours(&mut rig, "support:1/1/0"), ours(&mut rig, "support:2/1/0")];
        let seen = Seen { event: history[1].id.clone(), user: KIM.into(), at_millis: NOW };
        let receipt = Ephemeral::Receipts { room: "!r".into(), seen: vec![seen] };
        let mut events = vec![history[1].clone()];
        if !together {
            rig.reports(std::mem::take(&mut events), Vec::new());
        }
        let transaction = Transaction { events, ephemeral: vec![receipt] };
        assert_eq!(rig.machine.wants(&transaction).histories, ["!r".into()].into(), "{together}");
        rig.answers.histories.insert("!r".into(), history);
        let reports = rig.reports(transaction.events, transaction.ephemeral);
        assert_eq!(reports.len(), 2, "{together}: {reports:?}");
    }
}

#[test]
fn every_room_that_a_conversation_was_in_stays_its_own_over_a_restart() {
    let mut rig = Rig::chat();
    let mut kept = BTreeMap::new();
    let mut keep = |rig: &mut Rig, staged: Staged| {
        kept.extend(staged.cursors().into_iter().map(|cursor| (cursor.name.clone(), cursor)));
        rig.machine.commit(staged);
    };
    let hello = rig.event("!r", KIM, "m.room.message", &json!({"msgtype": "m.text", "body": "x"}), &json!({}));
    let staged = rig.take(vec![hello], Vec::new());
    keep(&mut rig, staged);
    for room in ["!second", "!third"] {
        let staged = created(&mut rig, room, ME, &json!({PLACE_MARK: "!r"}));
        keep(&mut rig, staged);
    }
    let kept: Vec<Cursor> = kept.into_values().collect();
    let me = Me { user: ME.into(), namespace: Some("_acme_".to_owned()) };
    let rooms = Machine::new(me, Invites::default(), &kept).rooms;
    assert_eq!(rooms.place_of(&"!r".into()), &RoomId::from("!third"));
    for room in ["!r", "!second", "!third"] {
        assert_eq!(rooms.base_of(&room.into()), &RoomId::from("!r"), "{room}");
    }
}

#[test]
fn typing_ends_in_the_room_that_it_was_in() {
    let mut rig = Rig::chat();
    let staged = created(&mut rig, "!open", ME, &json!({PLACE_MARK: "!r"}));
    rig.machine.commit(staged);
    let typing = Ephemeral::Typing { room: "!r".into(), users: vec![KIM.into()] };
    let staged = rig.take(Vec::new(), vec![typing]);
    assert_eq!(staged.typing, [(RoomId::from("!r"), ThreadId::from("!r"), true)]);
    rig.machine.commit(staged);
    assert_eq!(rig.machine.stop_typing(&"!r".into()), Some(ThreadId::from("!r")));
}

#[test]
fn what_is_remembered_of_rooms_that_are_busy_has_an_end() {
    let mut rig = Rig::chat();
    for number in 0..=RINGS_MAX {
        let room = format!("!busy{number}");
        let event = rig.event(&room, KIM, "m.room.message", &json!({"body": "x"}), &json!({}));
        rig.one(event);
    }
    assert!(rig.machine.rings.len() <= RINGS_MAX, "{}", rig.machine.rings.len());
}
