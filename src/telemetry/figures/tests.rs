//! What is printed, and that nothing that was counted is lost.

use super::*;

fn figures() -> Figures {
    Figures::new([("libera", "support"), ("mail", "sales")], ["support", "sales"], None)
}

fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no {begin} in {text}"))
}

#[test]
fn what_many_count_at_once_is_counted_once_each() {
    let figures = figures();
    let (flow, sink) = (figures.bridge("libera").unwrap().inbound.clone(), figures.sink("inbox:support"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    flow.accepted(1_000);
                    flow.delivered(1_000, 1_020);
                    sink.attempted(Outcome::Done);
                }
            });
        }
    });
    let text = figures.text();
    for begin in [
        "deskbridge_messages_accepted_total{bridge=\"libera\",direction=\"inbound\"} ",
        "deskbridge_messages_delivered_total{bridge=\"libera\",direction=\"inbound\"} ",
        "deskbridge_delivery_attempts_total{outcome=\"done\",sink=\"inbox:support\"} ",
        "deskbridge_delivery_seconds_count{direction=\"inbound\"} ",
    ] {
        assert_eq!(line(&text, begin), format!("{begin}20000"));
    }
    assert_eq!(figures.snapshot(1_020).bridges[0].inbound.delivered_per_minute, 20_000);
}

#[test]
fn a_delivery_is_in_its_bucket_and_in_all_that_are_wider() {
    let figures = figures();
    let flow = figures.bridge("mail").unwrap().outbound.clone();
    for millis in [5, 6, 90_000_000, -3] {
        flow.delivered(1_000_000, 1_000_000 + millis);
    }
    let text = figures.text();
    for (le, count) in [("0.005", 2), ("0.01", 3), ("43200", 3), ("+Inf", 4)] {
        let begin = format!("deskbridge_delivery_seconds_bucket{{direction=\"outbound\",le=\"{le}\"}} ");
        assert_eq!(line(&text, &begin), format!("{begin}{count}"));
    }
    assert_eq!(figures.snapshot(0).bridges[1].outbound.last_success_millis, Some(91_000_000));
}

#[test]
fn a_name_cannot_end_its_label() {
    let figures = Figures::new([("a\"b\\c\nd", "support")], ["support"], None);
    let text = figures.text();
    let begin = "deskbridge_reconnects_total{bridge=\"a\\\"b\\\\c\\nd\"}";
    assert_eq!(line(&text, begin), format!("{begin} 0"));
}

#[test]
fn a_sink_shows_what_the_pump_told_last() {
    let figures = figures();
    let sink = figures.sink("bridge:libera");
    sink.stands(SinkNow {
        waiting: 3,
        under_way: 2,
        in_doubt: 1,
        lanes_blocked: 4,
        oldest: Some(7),
        held_until_millis: Some(5_000),
    });
    sink.waits_for(1_500);
    let shown = |now| figures.snapshot(now).sinks.into_iter().find(|shown| shown.name == "bridge:libera").unwrap();
    let expected = SinkShown {
        name: "bridge:libera".into(),
        waiting: 3,
        under_way: 2,
        in_doubt: 1,
        lanes_blocked: 4,
        held_until_millis: Some(5_000),
        oldest_age_seconds: Some(1.5),
    };
    assert_eq!((shown(4_999), sink.oldest()), (expected, Some(7)));
    assert_eq!(shown(5_000).held_until_millis, None);
    sink.stands(SinkNow::default());
    let empty = shown(0);
    assert_eq!((empty.oldest_age_seconds, empty.held_until_millis, sink.oldest()), (None, None, None));
}

#[test]
fn the_store_is_asked_once_a_second_by_whoever_comes_first() {
    let figures = figures();
    let asked: Vec<_> = [0, 0, 999, 1_000, 1_001, 2_000].map(|now| figures.look_is_due(now)).into();
    assert_eq!(asked, [true, false, false, true, false, true]);
}

#[test]
fn a_sink_of_the_settings_is_there_before_anything_waits_for_it() {
    let text = figures().text();
    for sink in ["bridge:libera", "bridge:mail", "inbox:support", "inbox:sales"] {
        line(&text, &format!("deskbridge_queue_oldest_age_seconds{{sink=\"{sink}\"}} 0"));
    }
}

#[test]
fn a_bridge_that_comes_later_is_counted_and_one_that_comes_again_goes_on() {
    let figures = figures();
    figures.bridge("mail").unwrap().outbound.accepted(5);
    assert!(figures.bridge("oftc").is_none());
    figures.enter("oftc", "support").inbound.accepted(5);
    figures.enter("mail", "support").outbound.accepted(6);
    let shown = figures.snapshot(7);
    let counts: Vec<_> = shown
        .bridges
        .iter()
        .map(|bridge| (bridge.name.as_str(), bridge.inbox.as_str(), bridge.inbound.accepted, bridge.outbound.accepted))
        .collect();
    assert_eq!(counts, [("libera", "support", 0, 0), ("mail", "support", 0, 2), ("oftc", "support", 1, 0)]);
    line(&figures.text(), "deskbridge_queue_messages{sink=\"bridge:oftc\",state=\"waiting\"} 0");
}
