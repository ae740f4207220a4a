//! What is counted of the pump's work.

use super::*;

fn line(rig: &Rig, begin: &str) -> String {
    let text = rig.pump.figures.text();
    text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no {begin} in {text}")).to_owned()
}

fn check(rig: &Rig, begin: &str, value: u32) {
    assert_eq!(line(rig, begin), format!("{begin} {value}"));
}

#[tokio::test(start_paused = true)]
async fn a_message_of_several_parts_is_delivered_once_and_given_up_once() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 3).await;
    rig.settle().await;
    rig.network.will(Ok(()));
    rig.network.will(Err(Fault::refused("no such nick")));
    rig.reply(10, 3).await;
    rig.settle().await;
    check(&rig, "deskbridge_messages_delivered_total{bridge=\"libera\",direction=\"outbound\"}", 1);
    check(&rig, "deskbridge_messages_failed_total{bridge=\"libera\",direction=\"outbound\"}", 1);
    check(&rig, "deskbridge_delivery_attempts_total{outcome=\"done\",sink=\"bridge:libera\"}", 4);
    check(&rig, "deskbridge_delivery_attempts_total{outcome=\"refused\",sink=\"bridge:libera\"}", 1);
    check(&rig, "deskbridge_delivery_seconds_count{direction=\"outbound\"}", 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_leaves_a_doubt_that_is_settled() {
    let mut rig = Rig::new(Resend::Askable).await;
    lock(&rig.network.script).panics = true;
    rig.reply(9, 1).await;
    rig.pump.step().await.unwrap();
    check(&rig, "deskbridge_worker_panics_total", 1);
    check(&rig, "deskbridge_unknown_outcomes_total", 1);
    check(&rig, "deskbridge_queue_messages{sink=\"bridge:libera\",state=\"in_doubt\"}", 1);
    check(&rig, "deskbridge_lanes_blocked{sink=\"bridge:libera\"}", 1);
    rig.settle().await;
    check(&rig, "deskbridge_reconciled_total{result=\"absent\"}", 1);
    check(&rig, "deskbridge_queue_messages{sink=\"bridge:libera\",state=\"in_doubt\"}", 0);
    check(&rig, "deskbridge_messages_delivered_total{bridge=\"libera\",direction=\"outbound\"}", 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_left_open_is_a_doubt_once() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.reply(9, 1).await;
    rig.pump.turn(Begins::Yes).await.unwrap();
    drop(std::mem::replace(&mut rig.pump, start(&rig.store, &rig.network, &rig.inbox, rig.clock).await));
    rig.network.will_answer(Err(Fault::retry("busy")));
    rig.network.will_answer(Ok(Some(())));
    rig.pump.rebuild().await.unwrap();
    check(&rig, "deskbridge_queue_messages{sink=\"bridge:libera\",state=\"waiting\"}", 1);
    rig.settle().await;
    check(&rig, "deskbridge_unknown_outcomes_total", 1);
    check(&rig, "deskbridge_reconciled_total{result=\"unanswered\"}", 1);
    check(&rig, "deskbridge_reconciled_total{result=\"found\"}", 1);
    check(&rig, "deskbridge_queue_messages{sink=\"bridge:libera\",state=\"waiting\"}", 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_says_until_when() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::down_for(Duration::from_mins(5), "the server asks for quiet")));
    rig.reply(9, 1).await;
    rig.pump.step().await.unwrap();
    let now = rig.clock.now();
    let shown = rig.pump.figures.snapshot(now).sinks.remove(0);
    assert_eq!((shown.name.as_str(), shown.waiting, shown.under_way), ("bridge:libera", 1, 0));
    assert!(shown.held_until_millis.is_some_and(|until| until >= now + 290_000), "{shown:?}");
    assert!(rig.pump.counted.iter().any(|sink| sink.oldest().is_some()));
}
