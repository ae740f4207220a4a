//! What goes wrong with the websocket on purpose, as a client meets it.

use deskbridge::sandbox::homeserver::{
    CallClass, CallFault, CallRule, Dialect, HomeserverSettings, SocketFault, SocketRule,
};
use serde_json::json;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Place, Wire, bodies};

/// A chat whose backlog is out of the way, with the websocket that took it.
async fn ready(settings: HomeserverSettings) -> (Place, String, String, Wire) {
    let place = Place::start(settings).await;
    let (kim, room) = place.joined_chat("kim").await;
    let mut wire = place.socket().await;
    let frames = if place.home.settings().dialect == Dialect::Asmux { 1 } else { 2 };
    wire.frame().await;
    for _ in 0..frames {
        wire.transaction().await;
    }
    place.until("the backlog's end", |home| (home.undelivered() == 0).then_some(())).await;
    (place, kim, room, wire)
}

async fn ready_in(dialect: Dialect) -> (Place, String, String, Wire) {
    ready(HomeserverSettings { dialect, ..HomeserverSettings::default() }).await
}

#[tokio::test]
async fn a_connection_cut_at_or_within_a_frame_loses_it_in_one_dialect_only() {
    for fault in [SocketFault::Cut, SocketFault::CutMidFrame] {
        for (dialect, wanted) in [(Dialect::Asmux, vec!["first", "second"]), (Dialect::Wsproxy, vec!["second"])] {
            let (place, kim, room, mut wire) = ready_in(dialect).await;
            place.home.faults().socket(fault.clone());
            place.home.say(&kim, &room, "first").unwrap();
            wire.cut().await;
            place.until("the end", |home| (!home.is_connected()).then_some(())).await;
            place.home.say(&kim, &room, "second").unwrap();
            let mut next = place.socket().await;
            next.frame().await;
            assert_eq!(bodies(&next.transaction().await), wanted, "{dialect:?} {fault:?}");
            place.stop().await;
        }
    }
}

#[tokio::test]
async fn a_lost_frame_comes_again_where_somebody_waits_for_it() {
    let hasty = HomeserverSettings::default().hastened(100);
    let (place, kim, room, mut wire) = ready(hasty).await;
    place.home.faults().socket(SocketFault::Lose);
    place.home.say(&kim, &room, "Hi").unwrap();
    assert_eq!(bodies(&wire.transaction().await), ["Hi"]);
    assert_eq!(place.home.faults().struck(), 1);
    place.stop().await;
    let (place, kim, room, mut wire) = ready_in(Dialect::Wsproxy).await;
    place.home.faults().socket(SocketFault::Lose);
    place.home.say(&kim, &room, "lost").unwrap();
    place.home.say(&kim, &room, "kept").unwrap();
    assert_eq!(bodies(&wire.frame().await), ["kept"]);
    place.stop().await;
}

#[tokio::test]
async fn frames_are_doubled_merged_and_put_out_of_order() {
    let (place, kim, room, mut wire) = ready_in(Dialect::Wsproxy).await;
    let say = |texts: &[&str]| texts.iter().for_each(|text| drop(place.home.say(&kim, &room, text).unwrap()));
    place.home.faults().socket(SocketFault::Duplicate);
    say(&["one"]);
    let (first, second) = (wire.frame().await, wire.frame().await);
    assert_eq!((bodies(&first), first["txn_id"] == second["txn_id"]), (vec!["one"], true));
    assert_eq!(first["events"][0]["event_id"], second["events"][0]["event_id"]);
    place.home.faults().socket(SocketFault::Merge { transactions: 3 });
    say(&["two", "three"]);
    wire.is_quiet().await;
    say(&["four"]);
    let merged = wire.frame().await;
    assert_eq!(
        (bodies(&merged), merged["txn_id"].as_str().unwrap().split(',').count()),
        (vec!["two", "three", "four"], 3)
    );
    place.home.faults().socket(SocketFault::Reorder);
    say(&["five", "six"]);
    assert_eq!((bodies(&wire.frame().await), bodies(&wire.frame().await)), (vec!["six"], vec!["five"]));
    place.stop().await;
}

#[tokio::test]
async fn the_server_closes_with_any_code_now_or_at_a_frame() {
    let (place, kim, room, mut wire) = ready_in(Dialect::Asmux).await;
    let reason = r#"{"command":"disconnect","status":"server_shutting_down"}"#.to_owned();
    place.home.faults().socket_rule(SocketRule {
        count: 1,
        skip: 1,
        fault: SocketFault::Close { code: 1012, reason: reason.clone() },
    });
    place.home.say(&kim, &room, "passes").unwrap();
    assert_eq!(bodies(&wire.transaction().await), ["passes"]);
    place.home.say(&kim, &room, "stays").unwrap();
    assert_eq!(wire.close().await, (1012, reason));
    place.until("the end", |home| (!home.is_connected()).then_some(())).await;
    let mut next = place.socket().await;
    next.frame().await;
    assert_eq!(bodies(&next.transaction().await), ["stays"]);
    assert!(place.home.strike(SocketFault::Close { code: 4000, reason: String::new() }));
    assert_eq!(next.close().await.0, 4000);
    place.stop().await;
}

#[tokio::test]
async fn bytes_that_no_client_should_swallow() {
    let (place, kim, room, mut wire) = ready_in(Dialect::Asmux).await;
    // The library's own bound, 16 MiB a frame, stands for a client that has one.
    place.home.faults().socket(SocketFault::Oversized { bytes: 17 * 1024 * 1024 });
    place.home.say(&kim, &room, "large").unwrap();
    let too_long = wire.message().await.unwrap().unwrap_err();
    assert!(matches!(too_long, Error::Capacity(CapacityError::MessageTooLong { .. })), "{too_long:?}");
    let mut wire = place.socket().await;
    wire.frame().await;
    wire.transaction().await;
    place.home.strike(SocketFault::InvalidUtf8);
    let broken = wire.message().await.unwrap().unwrap_err();
    assert!(matches!(broken, Error::Utf8(_)), "{broken:?}");
    let mut wire = place.socket().await;
    wire.frame().await;
    place.home.strike(SocketFault::NotJson);
    assert_eq!(wire.message().await.unwrap().unwrap(), Message::text("this is no JSON"));
    place.home.strike(SocketFault::Binary);
    assert!(wire.message().await.unwrap().unwrap().is_binary());
    place.home.strike(SocketFault::EndlessFragments { bytes: 70 * 1024 * 1024 });
    let endless = wire.message().await.unwrap().unwrap_err();
    let expected = matches!(endless, Error::Capacity(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake));
    assert!(expected, "{endless:?}");
    place.stop().await;
}

#[tokio::test]
async fn a_half_open_link_answers_no_ping_and_swallows_what_is_not_acknowledged() {
    for (dialect, kept) in [(Dialect::Wsproxy, 0), (Dialect::Asmux, 1)] {
        let (place, kim, room, mut wire) = ready_in(dialect).await;
        assert!(place.home.strike(SocketFault::Freeze));
        wire.send(json!({"command": "ping", "id": 1, "data": {"timestamp": 1}})).await;
        wire.is_quiet().await;
        place.home.say(&kim, &room, "into the void").unwrap();
        place.until("the message's fate", |home| (home.undelivered() == kept).then_some(())).await;
        wire.is_quiet().await;
        assert!(place.home.is_connected(), "nobody has noticed");
        let mut next = place.socket().await;
        next.frame().await;
        if kept == 1 {
            assert_eq!(bodies(&next.transaction().await), ["into the void"]);
        } else {
            next.is_quiet().await;
        }
        place.stop().await;
    }
}

#[tokio::test]
async fn the_door_refuses_before_the_upgrade() {
    let place = Place::fresh().await;
    let check = async |fault: CallFault, status: u16| {
        place.home.faults().call(CallRule::next(1, CallClass::Socket, fault));
        match place.socket_with("sandbox-as-token", Some("3")).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), status),
            other => panic!("{:?}", other.err()),
        }
    };
    check(CallFault::UnknownToken, 403).await;
    check(CallFault::BadGateway, 502).await;
    check(CallFault::TooManyRequests { milliseconds: 5 }, 429).await;
    place.home.faults().call(CallRule::next(1, CallClass::Socket, CallFault::Drop));
    assert!(place.socket_with("sandbox-as-token", Some("3")).await.is_err());
    place.socket().await.frame().await;
    place.stop().await;
}
