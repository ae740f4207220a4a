//! What becomes of attempts whose end nobody knows.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_reply_is_not_repeated_when_only_the_answer_was_lost() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::unknown("the answer was lost")));
    rig.network.will_answer(Ok(Some(())));
    rig.reply(9, 1).await;
    let begun = rig.clock.now();
    rig.settle().await;
    assert_eq!(rig.network.log(), ["deliver support:9/1/0", "probe support:9/1/0 after 77"]);
    assert!(rig.clock.now() - begun >= 20_000, "asked before the far side's own limit had passed");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_the_far_side_does_not_have_is_sent_again() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::unknown("the answer was lost")));
    rig.reply(9, 1).await;
    rig.settle().await;
    let expected = ["deliver support:9/1/0", "probe support:9/1/0 after 77", "deliver support:9/1/0"];
    assert_eq!(rig.network.log(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_finds_no_answer_is_asked_again_and_nothing_is_guessed() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::unknown("the answer was lost")));
    rig.network.will_answer(Err(Fault::unknown("no answer to the question either")));
    rig.network.will_answer(Err(Fault::retry("busy")));
    rig.network.will_answer(Ok(Some(())));
    rig.reply(9, 1).await;
    rig.settle().await;
    assert_eq!(rig.network.log().iter().filter(|line| line.starts_with("deliver")).count(), 1);
    assert!(matches!(rig.state("support:9/1/0").await, EnvelopeState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_a_definite_answer_is_repeated_with_pauses_and_given_up_in_public() {
    for resend in [Resend::Askable, Resend::Harmless] {
        let mut rig = Rig::new(resend).await;
        for _ in 0..100 {
            rig.network.will(Err(Fault::unknown("the far side always stumbles")));
        }
        rig.reply(9, 1).await;
        rig.reply(10, 1).await;
        let begun = rig.clock.now();
        for _ in 0..3 {
            rig.pump.step().await.unwrap();
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        let first = rig.network.log().iter().filter(|line| line.starts_with("deliver")).count();
        assert_eq!(first, if resend == Resend::Askable { 2 } else { 3 }, "the first repeat is not put off");
        while matches!(rig.state("support:9/1/0").await, EnvelopeState::Waiting { .. }) {
            rig.settle_one().await;
        }
        let EnvelopeState::Dead { reason, .. } = rig.state("support:9/1/0").await else { panic!("it must be dead") };
        assert!(reason.contains("the far side always stumbles"), "{reason}");
        assert_eq!(reason.contains("may have been delivered"), resend == Resend::Harmless, "{reason}");
        let hours = (rig.clock.now() - begun) / 3_600_000;
        let tries = rig.network.log().iter().filter(|line| line.starts_with("deliver support:9/")).count();
        assert!((72..80).contains(&hours) && (15..50).contains(&tries), "{tries} tries in {hours} hours");
        rig.pump.step().await.unwrap();
        rig.pump.step().await.unwrap();
        assert!(rig.inbox.log()[0].starts_with("deliver support:9/failed@"), "{:?}", rig.inbox.log());
        assert!(rig.network.log().contains(&"deliver support:10/1/0".to_owned()), "its lane goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_after_doubt_says_so() {
    let mut rig = Rig::new(Resend::Askable).await;
    rig.network.will(Err(Fault::unknown("the answer was lost")));
    rig.network.will_answer(Err(Fault::refused("the room is gone")));
    rig.reply(9, 1).await;
    rig.settle().await;
    let EnvelopeState::Dead { reason, .. } = rig.state("support:9/1/0").await else { panic!("it must be dead") };
    assert!(reason.contains("may have been delivered") && reason.contains("the room is gone"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_surely_failed_are_no_repeats() {
    let mut rig = Rig::new(Resend::Risky).await;
    rig.network.will(Err(Fault::retry("greylisted")));
    rig.network.will(Err(Fault::unknown("the connection broke after the final dot")));
    rig.network.will_answer(Err(Fault::unknown("the network keeps no history")));
    rig.reply(9, 1).await;
    rig.settle().await;
    assert_eq!(rig.network.log().iter().filter(|line| line.starts_with("deliver")).count(), 3);
    assert!(matches!(rig.state("support:9/1/0").await, EnvelopeState::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_say_there_is_one_repeat_and_then_the_agent_is_told() {
    let mut rig = Rig::new(Resend::Risky).await;
    for _ in 0..2 {
        rig.network.will(Err(Fault::unknown("the connection broke after the line left")));
        rig.network.will_answer(Err(Fault::unknown("the network keeps no history")));
    }
    rig.reply(9, 1).await;
    rig.settle().await;
    assert_eq!(rig.network.log().iter().filter(|line| line.starts_with("deliver")).count(), 2);
    let EnvelopeState::Dead { reason, .. } = rig.state("support:9/1/0").await else { panic!("it must be dead") };
    assert!(reason.contains("may have been delivered"), "{reason}");
    assert!(rig.inbox.log()[0].starts_with("deliver support:9/failed@"), "{:?}", rig.inbox.log());
}
