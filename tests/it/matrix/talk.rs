//! A conversation in both directions, in every way.

use serde_json::{Value, json};

use super::house::{Guest, House, Way};

#[tokio::test]
async fn a_direct_chat_goes_both_ways() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        let text = "good morning, **Carol**";
        let reply = house.sandbox.reply(carol.conversation, text).unwrap();
        let heard = house.until_said(&carol.room, &named(way, text)).await;
        assert!(heard["content"]["formatted_body"].as_str().unwrap().contains("<strong>Carol</strong>"), "{heard}");
        assert_eq!(heard["content"]["msgtype"], "m.text");
        house.until_status(reply, "delivered").await;
        house.home.say(&carol.user, &carol.room, "one *more*").unwrap();
        house.until_text(carol.conversation, "one \\*more\\*").await;
        house.until_idle().await;
        assert_eq!(house.texts(carol.conversation), ["hello", "one \\*more\\*"], "{way:?}");
        assert_eq!((house.contacts().len(), house.conversations().len()), (1, 1), "{way:?}");
        let source = house.messages(carol.conversation)[0]["source_id"].as_str().unwrap().to_owned();
        assert!(source.starts_with("net/"), "{source}");
        assert_eq!(house.said(&carol.room).len(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn what_was_written_before_we_came_in_arrives_first_and_what_was_before_the_invite_never() {
    for way in Way::ALL {
        let mut house = House::unstarted(way, "", |settings| settings).await;
        let carol = house.home.customer("carol");
        let dave = house.home.customer("dave");
        let body = json!({"preset": "private_chat", "invite": [dave]});
        let room = house.home.create_room(&carol, &body).unwrap();
        house.home.join(&dave, &room).unwrap();
        house.home.say(&carol, &room, "between the two of us").unwrap();
        if way == Way::Sync {
            house.start().await;
            house.until_up().await;
        }
        house.home.invite(&carol, &room, &house.support()).unwrap_or_else(|error| {
            // The support user is made by the bridge.
            assert_ne!(way, Way::Sync, "{error:?}");
        });
        for number in 0..120 {
            house.home.say(&carol, &room, &format!("early {number}")).unwrap();
        }
        if way != Way::Sync {
            house.start().await;
        }
        house.until_joined(&room).await;
        house.home.say(&carol, &room, "late").unwrap();
        let conversation = house.until("a conversation", || house.conversation_of(&carol)).await;
        house.until_text(conversation, "late").await;
        house.until_idle().await;
        // Everything is asked for once more.
        house.restart().await;
        house.home.say(&carol, &room, "later").unwrap();
        house.until_text(conversation, "later").await;
        let mut expected: Vec<String> = (0..120).map(|number| format!("early {number}")).collect();
        expected.extend(["late".to_owned(), "later".to_owned()]);
        assert_eq!(house.texts(conversation), expected, "{way:?}");
    }
}

#[tokio::test]
async fn what_was_said_before_the_invite_stays_among_those_who_said_it_also_after_a_break() {
    for way in [Way::Wsproxy, Way::Asmux] {
        let house = House::new(way).await;
        let (carol, dave) = (house.home.customer("carol"), house.home.customer("dave"));
        let room = house.home.create_room(&carol, &json!({"preset": "private_chat", "invite": [dave]})).unwrap();
        house.home.join(&dave, &room).unwrap();
        house.home.say(&carol, &room, "shall we ask them?").unwrap();
        house.home.invite(&carol, &room, &house.support()).unwrap();
        house.until_joined(&room).await;
        house.home.say(&carol, &room, "hello").unwrap();
        let conversation = house.until("a conversation", || house.conversation_of(&carol)).await;
        let before = house.home.connections();
        assert!(house.home.strike(deskbridge::sandbox::homeserver::SocketFault::Cut));
        house.until("another connection", || (house.home.connections() > before).then_some(())).await;
        house.home.say(&dave, &room, "still there?").unwrap();
        house.until_text(conversation, "**dave:** still there?").await;
        assert_eq!(house.texts(conversation), ["hello", "**dave:** still there?"], "{way:?}");
    }
}

#[tokio::test]
async fn in_a_group_each_is_named_and_agents_are_heard_by_all() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        let dave = house.home.customer("dave");
        house.home.set_displayname(&dave, Some("Dave *the* Great")).unwrap();
        house.home.invite(&carol.user, &carol.room, &dave).unwrap();
        house.home.join(&dave, &carol.room).unwrap();
        house.home.say(&dave, &carol.room, "me too").unwrap();
        house.until_text(carol.conversation, "**Dave \\*the\\* Great:** me too").await;
        house.until_note(carol.conversation, "joined the Matrix room").await;
        assert_eq!((house.contacts().len(), house.conversations().len()), (1, 1), "{way:?}");
    }
}

#[tokio::test]
async fn formatted_texts_emotes_notices_and_odd_kinds_become_markdown() {
    let house = House::new(Way::Asmux).await;
    let carol = house.guest("carol").await;
    let cases = [
        (
            json!({"msgtype": "m.text", "body": "it is *urgent*", "format": "org.matrix.custom.html",
                "formatted_body": "it is <strong>urgent</strong><script>x</script>, <a href=\"https://a.example\">see</a>"}),
            "it is **urgent**, [see](https://a.example/)",
        ),
        (json!({"msgtype": "m.emote", "body": "waves"}), "_\\* carol waves_"),
        (json!({"msgtype": "m.notice", "body": "I am a robot"}), "*automatic:* I am a robot"),
        (json!({"msgtype": "com.example.poll", "body": "a poll"}), "a poll"),
        (
            json!({"msgtype": "m.location", "body": "Here", "geo_uri": "geo:51.5,-0.12;u=35"}),
            "*shared a place:* Here\nhttps://www.openstreetmap.org/?mlat=51.5&mlon=-0.12#map=17/51.5/-0.12",
        ),
    ];
    for (number, (content, _)) in cases.iter().enumerate() {
        house.home.send(&carol.user, &carol.room, "m.room.message", content).unwrap();
        house.until("each in turn", || (house.texts(carol.conversation).len() == number + 2).then_some(())).await;
    }
    let texts = house.texts(carol.conversation);
    let expected: Vec<&str> = std::iter::once("hello").chain(cases.iter().map(|(_, text)| *text)).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn private_notes_and_activity_never_leave() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        house.sandbox.note(carol.conversation, "a difficult customer").unwrap();
        house.sandbox.resolve(carol.conversation).unwrap();
        house.sandbox.reply(carol.conversation, "good morning").unwrap();
        house.until_said(&carol.room, &named(way, "good morning")).await;
        house.until_idle().await;
        let all = format!("{:?}", house.home.timeline(&carol.room));
        assert!(!all.contains("difficult"), "{way:?}");
        assert_eq!(house.said(&carol.room).len(), 1, "{way:?}");
    }
}

/// As it is heard: a bot cannot speak as somebody else.
fn named(way: Way, text: &str) -> String {
    if way == Way::Sync { format!("Grace: {text}") } else { text.to_owned() }
}

#[tokio::test]
async fn a_long_message_of_an_agent_is_split_in_order_and_taken_back_whole() {
    for way in [Way::Asmux, Way::Sync] {
        let house = House::with(way, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        let words: Vec<String> = (0..15_000).map(|number| format!("word{number}")).collect();
        let reply = house.sandbox.reply(carol.conversation, &words.join(" ")).unwrap();
        house.until_status(reply, "delivered").await;
        let said = house.said(&carol.room);
        assert!(said.len() > 1, "{way:?}: {}", said.len());
        let again: Vec<String> = said.iter().flat_map(|(_, text)| text.split_whitespace().map(str::to_owned)).collect();
        assert!(again == words, "{way:?}: the same words in the same order");
        house.sandbox.delete_message(carol.conversation, reply).unwrap();
        house
            .until("all to be taken back", || house.said(&carol.room).iter().all(|(_, t)| t.is_empty()).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn agents_write_as_users_of_their_own_with_name_and_picture() {
    for way in Way::SERVICES {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        // The same text from two people: a server tells two sends apart by their transaction ids alone.
        for agent in [5, 6] {
            house.sandbox.reply_as(agent, carol.conversation, "the same").unwrap();
        }
        house.until("both", || (house.said(&carol.room).len() >= 2).then_some(())).await;
        house.until_idle().await;
        let said = house.said(&carol.room);
        let speakers: Vec<&str> = said.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(speakers, ["@_desk_agent_user-5:sandbox.test", "@_desk_agent_user-6:sandbox.test"], "{way:?}");
        for (ghost, name) in speakers.iter().zip(["Grace", "Radia"]) {
            assert_eq!(house.home.profile(ghost).unwrap().0.as_deref(), Some(name));
            // No reply waits for it.
            let picture = house.until("a picture", || house.home.profile(ghost)?.1).await;
            let (kind, _, bytes) = house.home.download(&picture).unwrap();
            assert_eq!(kind, "image/png");
            assert!(bytes.starts_with(b"\x89PNG"));
        }
    }
}

#[tokio::test]
async fn an_agent_whom_a_room_does_not_let_in_is_named_instead() {
    let house = House::new(Way::Asmux).await;
    let carol = house.guest("carol").await;
    house.home.set_power(&carol.user, &carol.room, &json!({"invite": 101, "users_default": 0})).unwrap();
    // Trusted guests of a new room are above all levels: somebody else's ghost is banned instead.
    let ghost = "@_desk_agent_user-5:sandbox.test";
    house.home.ban(&carol.user, &carol.room, ghost, "no").unwrap();
    let reply = house.sandbox.reply(carol.conversation, "good **morning**").unwrap();
    house.until_status(reply, "delivered").await;
    assert_eq!(house.said(&carol.room), [(house.support(), "Grace: good **morning**".to_owned())]);
}

#[tokio::test]
async fn an_agent_who_is_put_out_comes_back_or_is_named() {
    let house = House::new(Way::Asmux).await;
    let carol = house.guest("carol").await;
    let ghost = "@_desk_agent_user-5:sandbox.test".to_owned();
    house.sandbox.reply(carol.conversation, "one").unwrap();
    house.until_said(&carol.room, "one").await;
    house.home.kick(&carol.user, &carol.room, &ghost, "shoo").unwrap();
    house.sandbox.reply(carol.conversation, "two").unwrap();
    house.until_said(&carol.room, "two").await;
    house.home.ban(&carol.user, &carol.room, &ghost, "shoo").unwrap();
    house.sandbox.reply(carol.conversation, "three").unwrap();
    house.until_said(&carol.room, "Grace: three").await;
    let speakers: Vec<String> = house.said(&carol.room).into_iter().map(|(who, _)| who).collect();
    assert_eq!(speakers, [ghost.clone(), ghost, house.support()]);
}

#[tokio::test]
async fn a_room_that_silences_us_is_told_to_the_agent() {
    let house = House::new(Way::Asmux).await;
    // Version 11, where nobody invited is above the levels.
    let carol = house.home.customer("carol");
    let room = house.home.create_room(&carol, &json!({"preset": "private_chat", "invite": [house.support()]})).unwrap();
    house.until_joined(&room).await;
    house.home.say(&carol, &room, "hello").unwrap();
    let conversation = house.until("a conversation", || house.conversation_of(&carol)).await;
    house.home.set_power(&carol, &room, &json!({"events_default": 50})).unwrap();
    let reply = house.sandbox.reply(conversation, "good morning").unwrap();
    let row = house.until_status(reply, "failed").await;
    let reason = row["content_attributes"]["external_error"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("does not let us write"), "{reason}");
}

#[tokio::test]
async fn names_go_before_the_text_where_that_is_wanted() {
    for way in [Way::Asmux, Way::Sync] {
        let house = House::with(way, "agents = \"names\"").await;
        let carol = house.guest("carol").await;
        house.sandbox.reply(carol.conversation, "good **morning**").unwrap();
        let heard = house.until_said(&carol.room, "Grace: good **morning**").await;
        let shown = heard["content"]["formatted_body"].as_str().unwrap();
        assert!(shown.contains("Grace: ") && shown.contains("<strong>morning</strong>"), "{heard}");
        assert_eq!(heard["sender"], house.support());
    }
}

#[tokio::test]
async fn a_greeting_is_said_once_over_restarts_and_only_where_we_were_invited() {
    for way in Way::ALL {
        let mut house = House::with(way, "greeting = \"Welcome to Acme\"").await;
        let carol = house.guest("carol").await;
        house.until("a greeting", || (house.notices(&carol.room).len() == 1).then_some(())).await;
        for _ in 0..3 {
            house.restart().await;
            house.home.forget_transactions();
        }
        // Thrown out, we open a room of our own.
        house.home.kick(&carol.user, &carol.room, &house.support(), "").unwrap();
        house.until_note(carol.conversation, "removed us").await;
        house.sandbox.reply(carol.conversation, "still here").unwrap();
        let room = house.until("a new room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        house.until_said(&room, &named(way, "still here")).await;
        house.until_idle().await;
        house.restart().await;
        assert_eq!(house.notices(&carol.room), ["Welcome to Acme"], "{way:?}");
        assert_eq!(house.notices(&room), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn two_customers_hear_nothing_of_each_other() {
    for way in Way::ALL {
        let house = House::with(way, "agents = \"hidden\"").await;
        let guests = [house.guest("carol").await, house.guest("dave").await];
        for number in 0..10 {
            for Guest { user, room, conversation } in &guests {
                house.home.say(user, room, &format!("{user} {number}")).unwrap();
                house.sandbox.reply(*conversation, &format!("to {user} {number}")).unwrap();
                house.sandbox.until_callbacks_are_done().await;
            }
        }
        for Guest { user, room, conversation } in &guests {
            house.until_text(*conversation, &format!("{user} 9")).await;
            house.until_said(room, &format!("to {user} 9")).await;
        }
        house.until_idle().await;
        for Guest { user, room, conversation } in &guests {
            let texts: Vec<String> = (0..10).map(|number| format!("{user} {number}")).collect();
            assert_eq!(house.texts(*conversation)[1..], texts, "{way:?}");
            let said: Vec<String> = house.said(room).into_iter().map(|(_, text)| text).collect();
            let expected: Vec<String> = (0..10).map(|number| format!("to {user} {number}")).collect();
            assert_eq!(said, expected, "{way:?}");
        }
    }
}

#[tokio::test]
async fn the_contact_bears_the_name_and_the_facts_of_the_person() {
    let house = House::new(Way::Asmux).await;
    let user = house.home.customer("carol");
    house.home.set_displayname(&user, Some("Carol Danvers")).unwrap();
    let carol = house.guest("carol").await;
    let contact = house.contacts().remove(0);
    assert_eq!(contact["name"], "Carol Danvers");
    assert_eq!(contact["additional_attributes"]["matrix_id"], Value::from(carol.user.as_str()));
}
