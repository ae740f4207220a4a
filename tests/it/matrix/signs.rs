//! What points to something said before: replies, threads, edits, signs, what is taken back, typing and reading.

use serde_json::{Value, json};

use super::house::{DEADLINE, Guest, House, Way};

/// An agent's message that has arrived: its number in the inbox, and its event.
async fn said(house: &House, carol: &Guest, text: &str) -> (u64, String) {
    let id = house.sandbox.reply(carol.conversation, text).unwrap();
    house.until_status(id, "delivered").await;
    let event = house.until_said(&carol.room, text).await;
    (id, event["event_id"].as_str().unwrap().to_owned())
}

async fn house_of(way: Way) -> (House, Guest) {
    let house = House::with(way, "agents = \"hidden\"").await;
    let carol = house.guest("carol").await;
    (house, carol)
}

/// An agent answers this message of the inbox.
async fn reply_to(house: &House, carol: &Guest, message: &Value, text: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/sandbox/conversations/{}/reply", house.sandbox.url(), carol.conversation);
    let body = json!({"content": text, "content_attributes": {"in_reply_to": message["id"]}});
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn replies_point_to_what_they_answer_on_both_sides() {
    for way in Way::ALL {
        let (house, carol) = house_of(way).await;
        let (reply, event) = said(&house, &carol, "good morning").await;
        house.home.reply(&carol.user, &carol.room, &event, "> <@x:y> good morning\n\nthank you").unwrap();
        let row = house.until_text(carol.conversation, "thank you").await;
        assert_eq!(row["content_attributes"]["in_reply_to"], reply, "{way:?}");
        let first = house.messages(carol.conversation)[0].clone();
        let own = first["source_id"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
        house.home.reply(&carol.user, &carol.room, &own, "to myself").unwrap();
        let row = house.until_text(carol.conversation, "to myself").await;
        assert_eq!(row["content_attributes"]["in_reply_to"], first["id"], "{way:?}");
        reply_to(&house, &carol, &row, "I see").await;
        let heard = house.until_said(&carol.room, "I see").await;
        let asked = row["source_id"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
        assert_eq!(heard["content"]["m.relates_to"]["m.in_reply_to"]["event_id"], asked, "{way:?}");
    }
}

#[tokio::test]
async fn who_writes_in_a_thread_is_answered_in_it_until_they_leave_it() {
    for way in [Way::Wsproxy, Way::Sync] {
        let (mut house, carol) = house_of(way).await;
        let root = house.home.say(&carol.user, &carol.room, "about the invoice").unwrap();
        let in_thread = |text: &str| {
            json!({"msgtype": "m.text", "body": text, "m.relates_to": {"rel_type": "m.thread", "event_id": root,
                "is_falling_back": true, "m.in_reply_to": {"event_id": root}}})
        };
        let last = house.home.send(&carol.user, &carol.room, "m.room.message", &in_thread("it is wrong")).unwrap();
        let row = house.until_text(carol.conversation, "it is wrong").await;
        assert!(row["content_attributes"]["in_reply_to"].is_null(), "{row}");
        house.sandbox.reply(carol.conversation, "which line?").unwrap();
        let heard = house.until_said(&carol.room, "which line?").await;
        let expected = json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": true,
            "m.in_reply_to": {"event_id": last}});
        assert_eq!(heard["content"]["m.relates_to"], expected, "{way:?}");
        house.restart().await;
        reply_to(&house, &carol, &row, "this line?").await;
        let heard = house.until_said(&carol.room, "this line?").await;
        let expected = json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": false,
            "m.in_reply_to": {"event_id": last}});
        assert_eq!(heard["content"]["m.relates_to"], expected, "{way:?}");
        house.home.say(&carol.user, &carol.room, "and something else").unwrap();
        house.until_text(carol.conversation, "and something else").await;
        house.sandbox.reply(carol.conversation, "yes?").unwrap();
        let heard = house.until_said(&carol.room, "yes?").await;
        assert!(heard["content"]["m.relates_to"].is_null(), "{heard}");
    }
}

#[tokio::test]
async fn an_edit_by_its_author_comes_again_and_anybody_elses_is_none() {
    for way in Way::ALL {
        let (mut house, carol) = house_of(way).await;
        let dave = house.home.customer("dave");
        house.home.invite(&carol.user, &carol.room, &dave).unwrap();
        house.home.join(&dave, &carol.room).unwrap();
        let first = house.home.say(&carol.user, &carol.room, "helo").unwrap();
        let row = house.until_text(carol.conversation, "helo").await;
        let (_, ours) = said(&house, &carol, "good morning").await;
        // Also after a restart, when who wrote what has to be asked.
        house.restart().await;
        house.home.edit(&dave, &carol.room, &first, "forged").unwrap();
        house.home.edit(&carol.user, &carol.room, &ours, "forged too").unwrap();
        house.home.edit(&carol.user, &carol.room, &first, "hello").unwrap();
        let edited = house.until_text(carol.conversation, "*edited:* hello").await;
        assert_eq!(edited["content_attributes"]["in_reply_to"], row["id"], "{way:?}");
        house.until_idle().await;
        let all = format!("{:?}", house.texts(carol.conversation));
        assert!(!all.contains("forged"), "{way:?}: {all}");
    }
}

#[tokio::test]
async fn what_a_person_takes_back_is_taken_back_and_a_sign_is_a_note_that_goes_too() {
    for way in Way::ALL {
        let (house, carol) = house_of(way).await;
        let (reply, event) = said(&house, &carol, "good morning").await;
        let oops = house.home.say(&carol.user, &carol.room, "my password is 1234").unwrap();
        house.until_text(carol.conversation, "my password is 1234").await;
        house.home.redact(&carol.user, &carol.room, &oops, Some("oops")).unwrap();
        house
            .until("it to be gone", || {
                (!format!("{:?}", house.texts(carol.conversation)).contains("1234")).then_some(())
            })
            .await;
        let sign = house.home.react(&carol.user, &carol.room, &event, "👍").unwrap();
        let note = house.until_note(carol.conversation, "carol reacted with 👍").await;
        assert_eq!(note["content_attributes"]["in_reply_to"], reply, "{way:?}");
        house.home.redact(&carol.user, &carol.room, &sign, None).unwrap();
        house
            .until("the note to be gone", || {
                (!format!("{:?}", house.notes(carol.conversation)).contains("👍")).then_some(())
            })
            .await;
        // Rooms before version 11 have the target at the top alone.
        let more = house.home.say(&carol.user, &carol.room, "once more 5678").unwrap();
        house.until_text(carol.conversation, "once more 5678").await;
        house.home.raw(
            &carol.room,
            &json!({"type": "m.room.redaction", "event_id": "$old-redaction", "room_id": carol.room, "sender": carol.user,
                "origin_server_ts": row_time(&house, carol.conversation), "content": {}, "redacts": more}),
        );
        house
            .until("it to be gone", || {
                (!format!("{:?}", house.texts(carol.conversation)).contains("5678")).then_some(())
            })
            .await;
    }
}

/// The moment of the newest message, in milliseconds.
fn row_time(house: &House, conversation: u64) -> i64 {
    house.messages(conversation).last().unwrap()["created_at"].as_i64().unwrap() * 1000
}

#[tokio::test]
async fn what_an_agent_takes_back_is_redacted_whoever_of_us_sent_it() {
    for way in Way::SERVICES {
        let mut house = House::new(way).await;
        let carol = house.guest("carol").await;
        let (reply, event) = said(&house, &carol, "the wrong person, sorry").await;
        assert!(house.home.event(&event).unwrap()["sender"].as_str().unwrap().contains("agent"), "{way:?}");
        house.restart().await;
        house.sandbox.delete_message(carol.conversation, reply).unwrap();
        house.until("it to be gone", || (house.home.event(&event)?["content"] == json!({})).then_some(())).await;
        house.until_idle().await;
        assert_eq!(house.home.timeline(&carol.room).iter().filter(|e| e["type"] == "m.room.redaction").count(), 1);
    }
}

#[tokio::test]
async fn typing_is_shown_both_ways_and_ends_by_itself() {
    for way in Way::ALL {
        let (house, carol) = house_of(way).await;
        let typing = || house.home.typing_in(&carol.room).contains(&house.support());
        house.sandbox.types(carol.conversation, true, false).unwrap();
        house.until("support to type", || typing().then_some(())).await;
        said(&house, &carol, "good morning").await;
        house.until("support to type no more", || (!typing()).then_some(())).await;
        let mut page = reqwest::get(format!("{}/sandbox/events", house.sandbox.url())).await.unwrap();
        house.home.typing(&carol.user, &carol.room, true).unwrap();
        until_page_says(&mut page, "\"on\":true").await;
        house.home.say(&carol.user, &carol.room, "I was typing").unwrap();
        until_page_says(&mut page, "\"on\":false").await;
    }
}

/// Reads what the agent's page is told.
async fn until_page_says(page: &mut reqwest::Response, part: &str) {
    let mut text = String::new();
    while !(text.contains("event: typing") && text.contains(part)) {
        let piece = tokio::time::timeout(DEADLINE, page.chunk()).await.expect("the page is told").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

#[tokio::test]
async fn what_was_read_is_read_and_so_is_what_came_before_it_also_after_a_restart() {
    for way in Way::ALL {
        let (mut house, carol) = house_of(way).await;
        let (first, _) = said(&house, &carol, "one").await;
        let (second, event) = said(&house, &carol, "two").await;
        house.home.read(&carol.user, &carol.room, &event).unwrap();
        for message in [first, second] {
            house.until_status(message, "read").await;
        }
        let (third, _) = said(&house, &carol, "three").await;
        let (fourth, event) = said(&house, &carol, "four").await;
        house.restart().await;
        house.home.read(&carol.user, &carol.room, &event).unwrap();
        for message in [third, fourth] {
            house.until_status(message, "read").await;
        }
    }
}

#[tokio::test]
async fn a_person_sees_that_agents_read() {
    let house = House::new(Way::Push).await;
    let carol = house.guest("carol").await;
    let event = house.home.say(&carol.user, &carol.room, "hello?").unwrap();
    house.until_text(carol.conversation, "hello?").await;
    assert_eq!(house.home.read_by(&carol.room, &house.support()), None);
    house.sandbox.types(carol.conversation, true, false).unwrap();
    let read = || house.home.read_by(&carol.room, &house.support()).filter(|read| *read == event);
    house.until("a receipt", read).await;
}

/// A conversation may have been in several rooms by the time an agent takes something back.
#[tokio::test]
async fn what_was_said_in_a_room_that_the_conversation_left_is_taken_back_there() {
    for restarts in [false, true] {
        let mut house = House::with(Way::Asmux, "agents = \"hidden\"").await;
        let carol = house.guest("carol").await;
        house.home.kick(&carol.user, &carol.room, &house.support(), "by mistake").unwrap();
        house.until_note(carol.conversation, "removed us").await;
        let reply = house.sandbox.reply(carol.conversation, "swordfish").unwrap();
        house.until_status(reply, "delivered").await;
        let other = house.until("another room", || house.rooms_from_us(&carol.user).first().cloned()).await;
        // And back to where it began.
        house.home.invite(&carol.user, &carol.room, &house.support()).unwrap();
        house.until_joined(&carol.room).await;
        house.home.say(&carol.user, &carol.room, "sorry").unwrap();
        house.until_text(carol.conversation, "sorry").await;
        house.until_idle().await;
        if restarts {
            house.restart().await;
        }
        house.sandbox.delete_message(carol.conversation, reply).unwrap();
        house
            .until("the reply to be gone", || house.said(&other).iter().all(|(_, text)| text.is_empty()).then_some(()))
            .await;
    }
}
