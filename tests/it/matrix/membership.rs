//! Who is in a room, who lets us in, and where a conversation goes on.

use serde_json::json;

use super::house::{Guest, House, Way};

#[tokio::test]
async fn thrown_out_we_go_on_in_a_room_of_our_own_and_back_where_the_person_writes() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        house.home.kick(&carol.user, &carol.room, &house.support(), "a mistake").unwrap();
        house.until_note(carol.conversation, "removed us from the Matrix room (a mistake)").await;
        house.sandbox.reply(carol.conversation, "still here").unwrap();
        let room = house.until("a new room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        house.until_said(&room, "still here").await;
        house.home.join(&carol.user, &room).unwrap();
        house.home.say(&carol.user, &room, "oh, sorry").unwrap();
        house.until_text(carol.conversation, "oh, sorry").await;

        // Where they write, they are answered.
        house.home.invite(&carol.user, &carol.room, &house.support()).unwrap();
        house.until_joined(&carol.room).await;
        house.home.say(&carol.user, &carol.room, "here again").unwrap();
        house.until_text(carol.conversation, "here again").await;
        house.sandbox.reply(carol.conversation, "gladly").unwrap();
        house.until_said(&carol.room, "gladly").await;

        house.home.ban(&carol.user, &carol.room, &house.support(), "").unwrap();
        house.until_note(carol.conversation, "banned us").await;
        house.sandbox.reply(carol.conversation, "at last").unwrap();
        house
            .until("it in a room of ours", || {
                let rooms = house.rooms_from_us(&carol.user);
                rooms.iter().any(|room| house.said(room).iter().any(|(_, text)| text == "at last")).then_some(())
            })
            .await;
        house.until_idle().await;
        assert_eq!(house.texts(carol.conversation), ["hello", "oh, sorry", "here again"], "{way:?}");
        assert_eq!((house.contacts().len(), house.conversations().len()), (1, 1), "{way:?}");
    }
}

#[tokio::test]
async fn a_reply_that_meets_a_closed_door_before_the_news_of_it_opens_another() {
    let house = House::with(Way::Sync, "").await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    // The news of it come late.
    house.home.faults().call(deskbridge::sandbox::homeserver::CallRule::always(
        deskbridge::sandbox::homeserver::CallClass::Sync,
        deskbridge::sandbox::homeserver::CallFault::Slow { milliseconds: 4_000 },
    ));
    house.home.say(&carol.user, &carol.room, "a nudge").unwrap();
    house.until_text(carol.conversation, "a nudge").await;
    house.home.kick(&carol.user, &carol.room, &house.support(), "").unwrap();
    let reply = house.sandbox.reply(carol.conversation, "still here").unwrap();
    house.until_status(reply, "delivered").await;
    let room = house.rooms_from_us(&carol.user).remove(0);
    assert_eq!(house.said(&room).len(), 1);
    house.home.faults().clear();
    house.until_note(carol.conversation, "removed us").await;
}

#[tokio::test]
async fn who_left_is_invited_again_once_and_then_gets_another_room() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        house.home.leave(&carol.user, &carol.room).unwrap();
        house.until_note(carol.conversation, "left the Matrix room").await;
        house.sandbox.reply(carol.conversation, "one thing more").unwrap();
        house.until_said(&carol.room, "one thing more").await;
        assert_eq!(house.home.membership(&carol.room, &carol.user), "invite", "{way:?}");
        house.home.leave(&carol.user, &carol.room).unwrap();
        house.until_note(carol.conversation, "declined the invitation").await;
        house.sandbox.reply(carol.conversation, "please").unwrap();
        let room = house.until("a new room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        house.until_said(&room, "please").await;
        house.home.join(&carol.user, &room).unwrap();
        house.home.say(&carol.user, &room, "fine").unwrap();
        house.until_text(carol.conversation, "fine").await;
        assert_eq!(house.conversations().len(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn who_left_and_came_back_is_told_and_answered_in_the_same_room() {
    let house = House::with(Way::Push, "").await;
    let carol = house.guest("carol").await;
    house.home.leave(&carol.user, &carol.room).unwrap();
    house.until_note(carol.conversation, "left the Matrix room").await;
    house.home.invite(&house.support(), &carol.room, &carol.user).unwrap();
    house.home.join(&carol.user, &carol.room).unwrap();
    house.until_note(carol.conversation, "joined the Matrix room").await;
    house.sandbox.reply(carol.conversation, "welcome back").unwrap();
    house.until_said(&carol.room, "welcome back").await;
    assert_eq!(house.rooms_from_us(&carol.user), Vec::<String>::new());
}

/// The successor of a room, which says so if `true_one`.
fn successor(house: &House, carol: &Guest, true_one: bool, invite: bool) -> String {
    let of = if true_one { carol.room.as_str() } else { "!nowhere" };
    let invited = if invite { json!([house.support()]) } else { json!([]) };
    let body = json!({"preset": "private_chat", "invite": invited,
        "creation_content": {"predecessor": {"room_id": of}}});
    house.home.create_room(&carol.user, &body).unwrap()
}

#[tokio::test]
async fn a_room_that_was_replaced_is_followed() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"\ngreeting = \"Welcome\"").await;
        let carol = house.guest("carol").await;
        let next = successor(&house, &carol, true, false);
        house.home.set_state(&carol.user, &next, "m.room.join_rules", "", &json!({"join_rule": "public"})).unwrap();
        house.home.tombstone(&carol.user, &carol.room, &next).unwrap();
        house.until_joined(&next).await;
        house.home.say(&carol.user, &next, "here we are").unwrap();
        house.until_text(carol.conversation, "here we are").await;
        house.sandbox.reply(carol.conversation, "so we are").unwrap();
        house.until_said(&next, "so we are").await;
        let support = house.support();
        house
            .until("us to leave the old one", || {
                (house.home.membership(&carol.room, &support) == "leave").then_some(())
            })
            .await;
        assert_eq!(house.conversations().len(), 1, "{way:?}");
        assert_eq!(house.notices(&next), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn a_room_that_replaces_another_and_lets_nobody_in_is_entered_at_its_invite() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"\ngreeting = \"Welcome\"").await;
        let carol = house.guest("carol").await;
        let next = successor(&house, &carol, true, false);
        house.home.tombstone(&carol.user, &carol.room, &next).unwrap();
        let refused = |house: &House| {
            house.home.calls().iter().any(|c| c.path.contains("/join/") && c.status == Some(403)).then_some(())
        };
        house.until("a first try", || refused(&house)).await;
        house.home.invite(&carol.user, &next, &house.support()).unwrap();
        house.until_joined(&next).await;
        house.home.say(&carol.user, &next, "here we are").unwrap();
        house.until_text(carol.conversation, "here we are").await;
        house.sandbox.reply(carol.conversation, "so we are").unwrap();
        house.until_said(&next, "so we are").await;
        assert_eq!(house.conversations().len(), 1, "{way:?}");
        assert_eq!(house.notices(&next), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn a_room_that_only_claims_to_be_the_next_one_is_left_and_never_gets_a_reply() {
    let house = House::with(Way::Asmux, "agents = \"hidden\"").await;
    let carol = house.guest("carol").await;
    let (dave, support) = (house.guest("dave").await, house.support());
    let impostor = successor(&house, &carol, false, false);
    house.home.set_state(&carol.user, &impostor, "m.room.join_rules", "", &json!({"join_rule": "public"})).unwrap();
    house.home.tombstone(&carol.user, &carol.room, &impostor).unwrap();
    house.until("us to leave it", || (house.home.membership(&impostor, &support) == "leave").then_some(())).await;
    house.sandbox.reply(carol.conversation, "for Carol").unwrap();
    let room = house.until("a new room", || house.rooms_from_us(&carol.user).first().cloned()).await;
    house.until_said(&room, "for Carol").await;
    assert_eq!(house.said(&impostor), []);

    // Somebody else's conversation, named to have us leave it or speak in it.
    let erin = house.guest("erin").await;
    house.home.tombstone(&erin.user, &erin.room, &dave.room).unwrap();
    house.sandbox.reply(erin.conversation, "for Erin").unwrap();
    house
        .until("it in a room of hers", || {
            let rooms = house.rooms_from_us(&erin.user);
            rooms.iter().any(|room| house.said(room).iter().any(|(_, text)| text == "for Erin")).then_some(())
        })
        .await;
    house.sandbox.reply(dave.conversation, "for Dave").unwrap();
    house.until_said(&dave.room, "for Dave").await;
    assert_eq!(house.home.membership(&dave.room, &support), "join");
    assert_eq!(house.said(&dave.room).len(), 1);
}

#[tokio::test]
async fn invites_are_accepted_by_policy_and_large_rooms_left() {
    let policy = "invites = { servers = [\"elsewhere.test\"], users = [\"@c*:sandbox.test\"], members_max = 3 }";
    let house = House::with(Way::Push, policy).await;
    let support = house.support();
    let dave = house.home.customer("dave");
    let refused = house.home.direct_chat(&dave);
    let carol = house.guest("carol").await;
    house.until("a no", || (house.home.membership(&refused, &support) == "leave").then_some(())).await;
    let everybody: Vec<String> = (0..4).map(|number| house.home.customer(&format!("guest{number}"))).collect();
    let body = json!({"preset": "private_chat", "invite": everybody});
    let crowd = house.home.create_room(&carol.user, &body).unwrap();
    for guest in &everybody {
        house.home.join(guest, &crowd).unwrap();
    }
    house.home.invite(&carol.user, &crowd, &support).unwrap();
    house
        .until("us to come and go", || {
            let timeline = house.home.timeline(&crowd);
            let ours = timeline.iter().filter(|event| event["state_key"] == support.as_str());
            let memberships: Vec<_> = ours.map(|event| event["content"]["membership"].clone()).collect();
            (memberships == [json!("invite"), json!("join"), json!("leave")]).then_some(())
        })
        .await;
    // Who was refused may be let in later by somebody else, and knows why they were not.
    let told = house.home.state(&refused, "m.room.member", &support).unwrap();
    assert!(told["reason"].as_str().unwrap().contains("does not take invitations"), "{told}");
}

#[tokio::test]
async fn an_invite_that_was_taken_back_or_comes_twice_harms_nobody() {
    let house = House::with(Way::Asmux, "").await;
    let carol = house.guest("carol").await;
    house.home.faults().socket(deskbridge::sandbox::homeserver::SocketFault::Duplicate);
    let dave = house.home.customer("dave");
    let room = house.home.direct_chat(&dave);
    house.until_joined(&room).await;
    house.home.say(&dave, &room, "hello").unwrap();
    let conversation = house.until("a conversation", || house.conversation_of(&dave)).await;
    // Taken back before we could follow.
    house.home.faults().call(deskbridge::sandbox::homeserver::CallRule::next(
        1,
        deskbridge::sandbox::homeserver::CallClass::Rooms,
        deskbridge::sandbox::homeserver::CallFault::Slow { milliseconds: 300 },
    ));
    let gone = house.home.create_room(&carol.user, &json!({"preset": "private_chat"})).unwrap();
    house.home.invite(&carol.user, &gone, &house.support()).unwrap();
    house.home.kick(&carol.user, &gone, &house.support(), "").unwrap();
    house.sandbox.reply(conversation, "hello Dave").unwrap();
    house.until_said(&room, "hello Dave").await;
    house.until_idle().await;
    assert_eq!(house.texts(conversation), ["hello"]);
    assert_eq!(house.home.membership(&gone, &house.support()), "leave");
}
