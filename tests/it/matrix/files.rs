//! Files, both ways, with their bytes.

use deskbridge::sandbox::{
    RouteClass, RouteFault, RouteRule,
    homeserver::{CallClass, CallFault, CallRule},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::house::{House, Way};

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// The attachment of the inbox's message.
async fn fetched(row: &Value) -> (String, Vec<u8>) {
    let file = &row["attachments"][0];
    let url = file["data_url"].as_str().unwrap_or_else(|| panic!("no file: {row}"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, answer.bytes().await.unwrap().to_vec())
}

/// The message of the inbox with a file, once it is there.
async fn with_file(house: &House, conversation: u64, count: usize) -> Vec<Value> {
    let files = || -> Vec<Value> {
        let rows = house.messages(conversation);
        rows.into_iter().filter(|row| row["attachments"].as_array().is_some_and(|files| !files.is_empty())).collect()
    };
    house.until("a file at the inbox", || Some(files()).filter(|rows| rows.len() >= count)).await
}

#[tokio::test]
async fn an_image_goes_both_ways_byte_for_byte() {
    for way in Way::ALL {
        let house = House::new(way).await;
        let carol = house.guest("carol").await;
        let picture = bytes(300_000);
        let address = house.home.upload("image/jpeg", Some("crack.jpg"), picture.clone());
        let content = json!({"msgtype": "m.image", "url": address, "filename": "crack.jpg", "body": "see the *corner*",
            "info": {"mimetype": "image/jpeg", "size": 300_000, "w": 10, "h": 10}});
        house.home.send(&carol.user, &carol.room, "m.room.message", &content).unwrap();
        let row = with_file(&house, carol.conversation, 1).await.remove(0);
        assert_eq!(row["content"], "see the \\*corner\\*", "{way:?}");
        let (kind, found) = fetched(&row).await;
        assert!(kind == "image/jpeg" && found == picture, "{way:?}: {kind}, {} bytes", found.len());

        let drawing = bytes(200_001);
        let reply = house.sandbox.reply_with_file(carol.conversation, "plan b.png", "image/png", &drawing).unwrap();
        house.until_status(reply, "delivered").await;
        let timeline = house.home.timeline(&carol.room);
        let sent = timeline
            .iter()
            .find(|event| event["content"]["msgtype"] == "m.image" && event["sender"] != carol.user.as_str());
        let sent = sent.expect("it is there");
        assert_eq!(
            (&sent["content"]["body"], &sent["content"]["info"]["size"]),
            (&json!("plan b.png"), &json!(200_001))
        );
        let (kind, _, found) = house.home.download(sent["content"]["url"].as_str().unwrap()).unwrap();
        assert!(kind == "image/png" && found == drawing, "{way:?}");
    }
}

#[tokio::test]
async fn stickers_and_voices_come_as_files_and_what_is_encrypted_or_odd_as_words() {
    let house = House::new(Way::Wsproxy).await;
    let carol = house.guest("carol").await;
    let sticker = house.home.upload("image/png", None, bytes(500));
    house
        .home
        .send(&carol.user, &carol.room, "m.sticker", &json!({"body": "wave", "url": sticker, "info": {}}))
        .unwrap();
    let row = with_file(&house, carol.conversation, 1).await.remove(0);
    assert_eq!(fetched(&row).await.1, bytes(500));
    let voice = house.home.upload("audio/ogg", Some("voice.ogg"), bytes(700));
    let content = json!({"msgtype": "m.audio", "body": "voice.ogg", "url": voice, "org.matrix.msc3245.voice": {}});
    house.home.send(&carol.user, &carol.room, "m.room.message", &content).unwrap();
    let row = with_file(&house, carol.conversation, 2).await.remove(1);
    assert_eq!(fetched(&row).await.1, bytes(700));
    let cases = [
        (
            json!({"msgtype": "m.file", "body": "a.pdf", "file": {"url": "mxc://sandbox.test/x", "key": {}}}),
            "encrypted file",
        ),
        (json!({"msgtype": "m.file", "body": "a.pdf", "url": "https://evil.example/x"}), "without a usable address"),
        (json!({"msgtype": "m.file", "body": "gone.pdf", "url": "mxc://sandbox.test/nosuchfile"}), "gone.pdf"),
    ];
    for (content, words) in cases {
        house.home.send(&carol.user, &carol.room, "m.room.message", &content).unwrap();
        house
            .until(words, || house.texts(carol.conversation).last().filter(|text| text.contains(words)).map(drop))
            .await;
    }
}

#[tokio::test]
async fn a_file_that_the_homeserver_does_not_take_goes_as_a_link() {
    for limit_is_told in [true, false] {
        let told = if limit_is_told { 10_000 } else { 10_000_000 };
        let mut house = House::unstarted(Way::Asmux, "", |settings| {
            deskbridge::sandbox::homeserver::HomeserverSettings { upload_bytes_max: told, ..settings }
        })
        .await;
        house.start().await;
        house.until_up().await;
        let carol = house.guest("carol").await;
        let size = told + 1;
        let reply =
            house.sandbox.reply_with_file(carol.conversation, "big.bin", "application/zip", &bytes(size)).unwrap();
        house.until_status(reply, "delivered").await;
        let (_, text) = house.said(&carol.room).remove(0);
        assert!(text.contains("big.bin") && text.contains("http://"), "{text}");
    }
}

#[tokio::test]
async fn files_survive_a_homeserver_that_stumbles_over_them() {
    for fault in [CallFault::BadGateway, CallFault::Drop, CallFault::CommitThenDrop] {
        let house = House::new(Way::Asmux).await;
        let carol = house.guest("carol").await;
        house.home.faults().call(CallRule::next(1, CallClass::Upload, fault.clone()));
        // The first upload is the agent's picture; this one is the file's.
        house.sandbox.reply_as(6, carol.conversation, "a file follows").unwrap();
        house.until_said(&carol.room, "a file follows").await;
        house.until("the picture to be struck", || (house.home.faults().struck() > 0).then_some(())).await;
        house.home.faults().call(CallRule::next(1, CallClass::Upload, fault.clone()));
        let reply =
            house.sandbox.reply_with_file(carol.conversation, "a.bin", "application/zip", &bytes(5000)).unwrap();
        house.until_status(reply, "delivered").await;
        house.home.faults().call(CallRule::next(1, CallClass::Download, fault.clone()));
        let address = house.home.upload("image/png", None, bytes(500));
        let content = json!({"msgtype": "m.image", "body": "b.png", "url": address});
        house.home.send(&carol.user, &carol.room, "m.room.message", &content).unwrap();
        let row = with_file(&house, carol.conversation, 2).await.remove(1);
        assert_eq!(fetched(&row).await.1, bytes(500), "{fault:?}");
        let files = house.home.timeline(&carol.room);
        let files = files.iter().filter(|event| event["content"]["msgtype"] == "m.file").count();
        assert_eq!(files, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_holds_up_only_its_own_conversation() {
    let house = House::with(Way::Asmux, "agents = \"hidden\"").await;
    let (carol, dave) = (house.guest("carol").await, house.guest("dave").await);
    house.until_idle().await;
    house.home.faults().call(CallRule::always(CallClass::Upload, CallFault::ServerError));
    let stuck = house.sandbox.reply_with_file(carol.conversation, "a.bin", "application/zip", &bytes(5000)).unwrap();
    house.until("a try to upload it", || (house.home.faults().struck() > 0).then_some(())).await;
    for number in 0..5 {
        let reply = house.sandbox.reply(dave.conversation, &format!("reply {number}")).unwrap();
        house.until_status(reply, "delivered").await;
    }
    assert_eq!(house.message(stuck)["status"], "sent", "it still waits");
    assert_eq!(house.state(), "Up", "the homeserver is not down");
    house.home.faults().clear();
    house.until_status(stuck, "delivered").await;
}

#[tokio::test]
async fn a_file_that_the_inbox_does_not_give_holds_up_only_its_own_conversation() {
    let faults = [RouteFault::Drop, RouteFault::BadGateway, RouteFault::TooManyRequests, RouteFault::Unauthorized];
    join_all(faults.map(|fault| async move {
        let house = House::with(Way::Asmux, "agents = \"hidden\"").await;
        let (carol, dave) = (house.guest("carol").await, house.guest("dave").await);
        house.until_idle().await;
        house.sandbox.faults().add(RouteRule::always(RouteClass::Files, fault.clone()));
        let stuck =
            house.sandbox.reply_with_file(carol.conversation, "a.bin", "application/zip", &bytes(5000)).unwrap();
        house.until("a try to read it", || (house.sandbox.faults().struck() > 0).then_some(())).await;
        for number in 0..5 {
            let reply = house.sandbox.reply(dave.conversation, &format!("reply {number}")).unwrap();
            house.until_status(reply, "delivered").await;
        }
        assert_eq!(house.message(stuck)["status"], "sent", "{fault:?}: it still waits");
        assert_eq!(house.state(), "Up", "{fault:?}: nothing is wrong with the homeserver");
        house.sandbox.faults().clear();
        house.until_status(stuck, "delivered").await;
    }))
    .await;
}
