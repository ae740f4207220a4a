//! What a network reports and what agents see of it: order, files, changes and signs.

use axum::http::Method;
use bridge_api::{Attachment, Fault, File, Holder, Inbound, Landing, Report};
use bytes::Bytes;
use deskbridge::sandbox::{RouteClass, RouteFault, RouteRule};
use futures_util::StreamExt;
use serde_json::Value;

use crate::world::{World, message};

fn at(event: Inbound, at_millis: i64) -> Inbound {
    Inbound { at_millis, ..event }
}

#[tokio::test]
async fn what_a_network_hands_over_out_of_order_is_put_in_order_while_it_waits() {
    let world = World::new().await;
    let now = deskbridge::clock::now_millis();
    let events = vec![
        at(message("ada", "3", "third"), now),
        at(message("ada", "1", "first"), now - 60_000),
        // Their clock is far off: it counts as now, and stands where it came in.
        at(message("ada", "4", "from the future"), now + 10 * 365 * 86_400_000),
        at(message("ada", "2", "second"), now - 30_000),
    ];
    world.network.host().await.accept(events, Vec::new()).await.unwrap();
    assert_eq!(world.wait_for_incoming(1, 4).await, ["first", "second", "third", "from the future"]);
}

fn picture(name: &str) -> Attachment {
    let (name, url) = (name.to_owned(), format!("net:{name}"));
    Attachment { name, media_type: Some("image/png".into()), size_bytes: None, url, holder: Holder::Network }
}

fn with_files(event: Inbound, files: &[&str]) -> Inbound {
    let Report::Message(mut message) = event.report else { panic!("a message") };
    message.attachments = files.iter().map(|name| picture(name)).collect();
    Inbound { report: Report::Message(message), ..event }
}

/// In pieces that come only when they are asked for.
fn streamed(pieces: Vec<Result<&'static str, Fault>>, length: u64) -> File {
    let bytes = |piece: Result<&'static str, Fault>| piece.map(|text| Bytes::from_static(text.as_bytes()));
    let pieces = futures_util::stream::iter(pieces.into_iter().map(bytes)).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    });
    File::new(Some("image/png".into()), Some(length), pieces)
}

async fn accept(world: &World, event: Inbound) {
    world.network.host().await.accept(vec![event], Vec::new()).await.unwrap();
}

async fn bytes_at(row: &Value, place: usize) -> (String, Bytes) {
    let url = row["attachments"][place]["data_url"].as_str().unwrap();
    let answer = reqwest::get(url).await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, answer.bytes().await.unwrap())
}

#[tokio::test]
async fn the_files_of_a_message_are_shown_with_it_as_what_they_are() {
    let world = World::new().await;
    world.network.will_open(Ok(streamed(vec![Ok("PNG "), Ok("bytes")], 9)));
    world.network.will_open(Ok(File::whole(Some("audio/ogg; codecs=opus".into()), "OGG")));
    let unmeasured = futures_util::stream::iter([Ok(Bytes::from_static(b"GIF"))]);
    world.network.will_open(Ok(File::new(Some("application/octet-stream".into()), None, unmeasured)));
    accept(&world, with_files(message("ada", "1", "look"), &["../cat.png", "song.ogg", ".gif"])).await;
    assert_eq!(world.wait_for_incoming(1, 1).await, ["look"]);
    let row = world.row(1, 0);
    assert_eq!(bytes_at(&row, 0).await, ("image/png".into(), "PNG bytes".into()));
    assert_eq!(bytes_at(&row, 1).await, ("audio/ogg".into(), "OGG".into()));
    assert_eq!(bytes_at(&row, 2).await, ("image/png".into(), "GIF".into()));
    let kind = |place: usize| row["attachments"][place]["file_type"].as_str().unwrap().to_owned();
    assert_eq!((kind(0), kind(1)), ("image".into(), "audio".into()));
    assert!(row["attachments"][0]["data_url"].as_str().unwrap().ends_with("/cat.png"), "{row}");
}

#[tokio::test]
async fn a_file_that_cannot_be_shown_is_a_line_and_the_message_is_there() {
    let world = World::new().await;
    world.network.will_open(Err(Fault::refused("it was deleted")));
    world.network.will_open(Ok(File::new(None, Some(41 << 20), futures_util::stream::empty())));
    world.network.will_open(Ok(File::whole(None, "PNG")));
    let mut event = with_files(message("ada", "1", "look"), &["gone_1.png", "huge.png", "cat.png", "declared.png"]);
    let Report::Message(of) = &mut event.report else { panic!("a message") };
    of.attachments[3].size_bytes = Some(1 << 40);
    of.attachments.push(Attachment { holder: Holder::Link, url: "https://x.example/y".into(), ..picture("link") });
    accept(&world, event).await;
    let expected = [
        "look",
        "gone\\_1.png: not shown here, it was deleted",
        "huge.png: not shown here, its 41 MiB are more than the 40 MiB that may be",
        "declared.png: not shown here, its 1048576 MiB are more than the 40 MiB that may be",
        "link: https://x.example/y",
    ];
    assert_eq!(world.wait_for_incoming(1, 1).await, [expected.join("\n")]);
    assert_eq!(world.row(1, 0)["attachments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn all_files_of_a_message_share_one_bound_of_bytes_and_of_number() {
    let world = World::new().await;
    for _ in 0..2 {
        let half = File::whole(None, vec![b'x'; 30 << 20]);
        world.network.will_open(Ok(half));
    }
    accept(&world, with_files(message("ada", "1", ""), &["a.png", "b.png"])).await;
    let text = world.wait_for_incoming(1, 1).await;
    assert_eq!(text, ["b.png: not shown here, all files of a message may have 40 MiB together"]);

    let names: Vec<String> = (0..17).map(|n| format!("{n}.png")).collect();
    for _ in 0..17 {
        world.network.will_open(Ok(File::whole(None, "PNG")));
    }
    accept(&world, with_files(message("ada", "2", ""), &names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let text = world.wait_for_incoming(1, 2).await[1].clone();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(world.row(1, 1)["attachments"].as_array().unwrap().len(), 15);
}

#[tokio::test]
async fn a_network_that_is_down_delays_its_own_message_and_holds_nobody_elses() {
    let world = World::new().await;
    world.network.will_open(Err(Fault::down("no connection")));
    world.network.will_open(Err(Fault::retry("still starting")));
    world.network.will_open(Ok(File::whole(None, "PNG")));
    accept(&world, with_files(message("ada", "1", "look"), &["cat.png"])).await;
    world.write("grace", "2", "hello").await;
    world.until("both messages", || (world.texts(1, 0).len() + world.texts(2, 0).len() == 2).then_some(())).await;
    let ada = if world.texts(1, 0) == ["look"] { 1 } else { 2 };
    assert_eq!(world.row(ada, 0)["attachments"].as_array().unwrap().len(), 1);
    let held = world.gateway.board().inboxes()["support"].state.clone();
    assert!(!matches!(held, bridge_api::BridgeState::Down { .. }), "{held:?}");
}

#[tokio::test]
async fn a_file_that_breaks_off_on_its_way_is_sent_again_and_never_half() {
    let world = World::new().await;
    world.network.will_open(Ok(streamed(vec![Ok("PN"), Err(Fault::retry("cut off"))], 3)));
    world.network.will_open(Ok(streamed(vec![Ok("PN")], 3)));
    world.network.will_open(Ok(streamed(vec![Ok("PN"), Ok("G")], 3)));
    accept(&world, with_files(message("ada", "1", "look"), &["cat.png"])).await;
    // While it is in doubt, operators read whose fault it was.
    let reason = loop {
        let rows = world.store.list(1).await.unwrap();
        if let Some(reason) = rows.first().and_then(|row| row.reason.clone()) {
            break reason;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(reason, "a file broke off on its way: cut off");
    assert_eq!(world.wait_for_incoming(1, 1).await, ["look"]);
    world.wait_for_rest().await;
    assert_eq!(world.texts(1, 0).len(), 1);
    assert_eq!(bytes_at(&world.row(1, 0), 0).await.1, "PNG");
}

#[tokio::test]
async fn a_message_with_a_file_whose_post_ended_in_doubt_is_there_once() {
    for fault in [RouteFault::CommitThenDrop, RouteFault::CommitThenServerError, RouteFault::ServerError] {
        let world = World::new().await;
        world.sandbox.faults().add(RouteRule::next(1, RouteClass::Messages, &Method::POST, fault.clone()));
        for _ in 0..2 {
            world.network.will_open(Ok(File::whole(None, "PNG")));
        }
        accept(&world, with_files(message("ada", "1", "look"), &["cat.png"])).await;
        world.write("ada", "2", "the end").await;
        assert_eq!(world.wait_for_incoming(1, 2).await, ["look", "the end"], "{fault:?}");
        assert_eq!(world.row(1, 0)["attachments"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn messages_whose_files_are_slow_keep_nobody_elses_words_waiting() {
    let world = World::new().await;
    // More than there are attempts at once; the first files never come to their ends.
    for _ in 0..2 {
        world.network.will_open(Ok(File::new(None, Some(9), futures_util::stream::pending())));
    }
    for person in 0..24 {
        let event = message(&format!("person {person}"), &format!("file {person}"), "look");
        accept(&world, with_files(event, &["cat.png"])).await;
    }
    world.write("grace", "1", "hello").await;
    world
        .until("what grace wrote", || {
            let conversations = world.conversations();
            let of_grace = |c: &&Value| c["messages"][0]["content"] == "hello";
            conversations.iter().find(of_grace).map(drop)
        })
        .await;
    assert_eq!(world.store.depth().await.unwrap().dead, 0);
}

#[tokio::test]
async fn what_stands_before_the_inbox_may_take_no_file_of_this_size_and_the_words_go_all_the_same() {
    let world = World::new().await;
    // Just what is allowed, and with the form around it more than the far side's whole body may be.
    for _ in 0..20 {
        world.network.will_open(Ok(File::whole(None, vec![b'x'; 40 << 20])));
    }
    accept(&world, with_files(message("ada", "1", "look"), &["cat.png"])).await;
    let text = world.wait_for_incoming(1, 1).await[0].clone();
    assert!(
        text.starts_with("look\ncat.png: not shown here, could not post the message: chatwoot answered 413"),
        "{text}"
    );
    assert_eq!(world.row(1, 0)["attachments"].as_array().map_or(0, Vec::len), 0);
}

#[tokio::test]
async fn a_bridge_is_told_where_its_messages_landed() {
    let world = World::new().await;
    world.sandbox.faults().add(RouteRule::next(1, RouteClass::Messages, &Method::POST, RouteFault::CommitThenDrop));
    world.write("ada", "found by asking", "hello").await;
    // Longer than any inbox takes.
    world.write("ada", "too long", &"x".repeat(150_001)).await;
    world.write("ada", "at once", "the end").await;
    let landed = world.network.wait_for_landings(3).await;
    let words: Vec<_> = landed.iter().map(|(event, landing)| (event.as_str(), landing == &Landing::Done)).collect();
    assert_eq!(words, [("found by asking", true), ("too long", false), ("at once", true)]);
    let Landing::Dead(reason) = &landed[1].1 else { panic!("it cannot be there") };
    assert!(reason.contains("150000"), "{reason}");
    // The agents are told as well, once.
    world.wait_for_rest().await;
    let rows: Vec<_> = (0..3).map(|place| world.row(1, place)).collect();
    let notes: Vec<_> = rows.iter().filter(|row| row["private"] == true).collect();
    assert_eq!((notes.len(), world.row(1, 3)), (1, Value::Null), "{rows:?}");
    let text = notes[0]["content"].as_str().unwrap();
    assert!(text.contains("too long") && text.contains("150000"), "{text}");
}

#[tokio::test]
async fn a_person_whose_mail_address_the_inbox_refuses_is_shown_without_it() {
    let world = World::new().await;
    for (event, thread) in [("1", "ada"), ("2", "ada/another thread")] {
        let Inbound { report: Report::Message(mut message), .. } = message("ada", event, "hello") else {
            panic!("a message")
        };
        message.peer.email = Some("ada@@example.org".into());
        let event =
            Inbound { thread: thread.into(), report: Report::Message(message), ..self::message("ada", event, "") };
        accept(&world, event).await;
    }
    world.wait_for_incoming(1, 1).await;
    world.wait_for_incoming(2, 1).await;
    let contacts = world.sandbox.state()["contacts"].as_array().unwrap().clone();
    assert_eq!((contacts.len(), &contacts[0]["email"]), (1, &Value::Null), "{contacts:?}");
}

fn with_picture(event: Inbound, url: &str) -> Inbound {
    let Report::Message(mut message) = event.report else { panic!("a message") };
    message.peer.picture = Some(Attachment { url: url.into(), ..picture("ada.png") });
    Inbound { report: Report::Message(message), ..event }
}

/// The bytes of the only contact's picture.
async fn shown(world: &World) -> Option<Bytes> {
    let url = world.sandbox.state()["contacts"][0]["thumbnail"].as_str().unwrap().to_owned();
    if url.is_empty() { None } else { Some(reqwest::get(url).await.unwrap().bytes().await.unwrap()) }
}

#[tokio::test]
async fn a_contact_has_the_picture_that_the_network_shows_now() {
    let world = World::new().await;
    for (event, url, bytes, expected) in [
        ("1", "net:one", Some("first"), "first"),
        // The same address is the same picture: nothing is opened.
        ("2", "net:one", None, "first"),
        ("3", "net:two", Some("second"), "second"),
    ] {
        if let Some(bytes) = bytes {
            world.network.will_open(Ok(File::whole(Some("image/png".into()), bytes)));
        }
        accept(&world, with_picture(message("ada", event, "hello"), url)).await;
        world.wait_for_rest().await;
        assert_eq!(shown(&world).await, Some(expected.into()), "{event}");
    }
}

#[tokio::test]
async fn a_picture_that_cannot_be_shown_keeps_no_message_back_and_is_tried_again_where_that_may_help() {
    for (first, again) in [
        (Err(Fault::down("no connection")), true),
        (Err(Fault::refused("it is gone")), false),
        (Ok(File::whole(Some("image/svg+xml".into()), "<svg/>")), false),
        (Ok(File::new(Some("image/png".into()), Some(16 << 20), futures_util::stream::empty())), false),
    ] {
        let world = World::new().await;
        let name = format!("{first:?}");
        world.network.will_open(first);
        accept(&world, with_picture(message("ada", "1", "hello"), "net:one")).await;
        world.wait_for_rest().await;
        assert_eq!((world.texts(1, 0), shown(&world).await), (vec!["hello".into()], None), "{name}");
        world.network.will_open(Ok(File::whole(Some("image/png".into()), "PNG")));
        accept(&world, with_picture(message("ada", "2", "again"), "net:one")).await;
        world.wait_for_rest().await;
        assert_eq!(world.texts(1, 0).len(), 2, "{name}");
        assert_eq!(shown(&world).await.is_some(), again, "{name}");
    }
}
