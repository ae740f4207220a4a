//! What no callback told: found by asking, sent once and in order, and never what is not for a person.

use std::time::Duration;

use bridge_api::{BridgeState, Fault, Inbound, Receipt, Report};
use deskbridge::{
    clock,
    gateway::{Late, Plan, WhenLate},
    model::InboxName,
    sandbox::{CallbackFaults, RouteClass, RouteFault, RouteRule, SandboxSettings, Signing},
    sweep,
};

use crate::world::World;

/// Somebody wrote, an agent answered, and all of it is settled.
async fn acquainted(adjust: fn(&mut Plan)) -> World {
    let world = World::adjusted(SandboxSettings::default(), adjust).await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    let reply = world.sandbox.reply(1, "good morning").unwrap();
    world.wait_for_status(reply, "delivered").await;
    world.wait_for_rest().await;
    world
}

fn often(plan: &mut Plan) {
    plan.inboxes[0].sweep_every = Duration::from_millis(100);
}

fn seldom(_: &mut Plan) {}

#[tokio::test]
async fn what_was_written_while_nobody_listened_arrives_at_the_start_once_and_in_order() {
    let world = acquainted(seldom).await;
    let world = world
        .away(|sandbox| {
            for n in 0..150 {
                // The help desk takes 200 a minute.
                sandbox.reply(1, &format!("reply {n}")).unwrap();
            }
            sandbox.note(1, "secret").unwrap();
        })
        .await;
    let expected: Vec<_> = (0..150).map(|n| format!("reply {n}")).collect();
    assert_eq!(world.network.wait_for_texts("a:ada", 150).await, expected);
    let last = world.sandbox.reply(1, "and now").unwrap();
    world.wait_for_status(last, "delivered").await;
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada").len(), 151);
    // What arrived is no longer marked as failed; the note is nobody's business.
    let conversation = &world.conversations()[0];
    let rows = conversation["messages"].as_array().unwrap().iter();
    let replies = rows.filter(|row| row["message_type"] == 1 && row["private"] == false);
    assert!(replies.into_iter().all(|row| row["status"] == "delivered"), "{conversation}");
}

#[tokio::test]
async fn what_waited_in_the_store_is_not_sent_before_an_elder_reply_that_nobody_heard_of() {
    let world = acquainted(seldom).await;
    let faults = CallbackFaults { drop: 1, drop_of: 1, ..CallbackFaults::default() };
    world.sandbox.faults().callbacks(faults);
    let elder = world.sandbox.reply(1, "elder").unwrap();
    world.sandbox.until_callbacks_are_done().await;
    world.sandbox.faults().callbacks(CallbackFaults::default());
    world.network.will(Err(Fault::retry_after(Duration::from_secs(1), "busy")));
    let younger = world.sandbox.reply(1, "younger").unwrap();
    world
        .until("the younger one to wait", || {
            let waiting = futures_util::FutureExt::now_or_never(world.store.list(9)).unwrap().unwrap();
            waiting.iter().any(|row| row.reason.is_some()).then_some(())
        })
        .await;
    let world = world.away(|_| {}).await;
    assert_eq!(world.network.wait_for_texts("a:ada", 2).await, ["elder", "younger"]);
    for message in [elder, younger] {
        world.wait_for_status(message, "delivered").await;
    }
}

#[tokio::test]
async fn what_is_lost_in_silence_is_found_by_the_next_sweep() {
    let world = acquainted(often).await;
    let faults = CallbackFaults { drop: 1, drop_of: 2, ..CallbackFaults::default() };
    world.sandbox.faults().callbacks(faults);
    let replies: Vec<_> = (0..20).map(|n| world.sandbox.reply(1, &format!("reply {n}")).unwrap()).collect();
    for reply in replies {
        world.wait_for_status(reply, "delivered").await;
    }
    world.wait_for_rest().await;
    let mut texts = world.network.texts("a:ada").split_off(1);
    texts.sort_by_key(|text| text["reply ".len()..].parse::<u32>().unwrap());
    assert_eq!(texts, (0..20).map(|n| format!("reply {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_callback_that_was_refused_is_made_good_soon() {
    let world = acquainted(seldom).await;
    world.sandbox.faults().callbacks(CallbackFaults { signing: Signing::Wrong, ..CallbackFaults::default() });
    let reply = world.sandbox.reply(1, "signed by nobody").unwrap();
    world.sandbox.until_callbacks_are_done().await;
    world.sandbox.faults().callbacks(CallbackFaults::default());
    world.wait_for_status(reply, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["good morning", "signed by nobody"]);
}

#[tokio::test]
async fn a_sweep_that_meets_trouble_is_tried_again_until_it_comes_to_its_end() {
    for fault in [RouteFault::ServerError, RouteFault::TooManyRequests, RouteFault::Drop, RouteFault::BadGateway] {
        let world = acquainted(seldom).await;
        let (met, name) = (world.sandbox.faults().struck(), format!("{fault:?}"));
        let world = world
            .away(|sandbox| {
                sandbox.reply(1, "late").unwrap();
                for on in [RouteClass::Conversations, RouteClass::Messages] {
                    sandbox.faults().add(RouteRule { count: Some(1), ..RouteRule::always(on, fault.clone()) });
                }
            })
            .await;
        if name == "TooManyRequests" {
            // Chatwoot's minute need not be waited out here: that is the pump's test. Until then nothing is sent.
            world.until("the pause", || (world.sandbox.faults().struck() > met).then_some(())).await;
            assert!(world.network.texts("a:ada").is_empty());
            continue;
        }
        assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["late"], "{name}");
        assert!(world.sandbox.faults().struck() > met, "{name}: it must have been met");
    }
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_keeps_no_other_from_being_swept() {
    let world = acquainted(often).await;
    world.write("grace", "g1", "hello").await;
    world.wait_for_incoming(2, 1).await;
    world.wait_for_rest().await;
    let struck = world.sandbox.faults().struck();
    let world = world
        .away(|sandbox| {
            for conversation in [1, 2] {
                sandbox.reply(conversation, "while you were away").unwrap();
            }
            // The first reading is of what was posted last, the next ones are of the two conversations.
            let rule = RouteRule {
                count: Some(1),
                skip: 1,
                ..RouteRule::always(RouteClass::Messages, RouteFault::ServerError)
            };
            sandbox.faults().add(RouteRule { method: Some("GET".into()), ..rule });
        })
        .await;
    assert_eq!(world.network.wait_for_texts("a:grace", 1).await, ["while you were away"]);
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["while you were away"]);
    assert_eq!(world.sandbox.faults().struck(), struck + 1);
}

fn hold_all(plan: &mut Plan) {
    plan.inboxes[0].late = Late { after_millis: -1, then: WhenLate::Hold };
}

fn fail_all(plan: &mut Plan) {
    plan.inboxes[0].late = Late { after_millis: -1, then: WhenLate::Fail };
}

#[tokio::test]
async fn what_is_found_too_late_is_held_for_an_operator_and_the_agent_is_told() {
    let world = acquainted(hold_all).await;
    let world = world
        .away(|sandbox| {
            sandbox.reply(1, "yesterday's news").unwrap();
        })
        .await;
    let reply = world.row(1, 2)["id"].as_u64().unwrap();
    let reason = world.until("the agent to be told", || {
        world.status(reply).1.filter(|reason| reason.contains("an operator can still send it"))
    });
    reason.await;
    assert_eq!(world.network.texts("a:ada"), [""; 0]);
    let dead = world.store.dead(9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attempts, 0);
    // The agent wants it sent all the same.
    world.sandbox.retry(1, reply).unwrap();
    world.wait_for_status(reply, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["yesterday's news"]);
}

#[tokio::test]
async fn what_is_found_too_late_may_fail_and_is_told_once() {
    let world = acquainted(fail_all).await;
    let mut world = world
        .away(|sandbox| {
            sandbox.reply(1, "yesterday's news").unwrap();
        })
        .await;
    let reply = world.row(1, 2)["id"].as_u64().unwrap();
    for _ in 0..2 {
        world.until("the agent to be told", || world.status(reply).1.filter(|r| r.contains("write it again"))).await;
        world.wait_for_rest().await;
        world = world.away(|_| {}).await;
    }
    assert_eq!(world.network.texts("a:ada"), [""; 0]);
    assert_eq!(world.store.dead(9).await.unwrap(), []);
    let told = world.store.history(&format!("support:{reply}/failed").as_str().into()).await.unwrap().unwrap();
    assert_eq!(told.attempts.len(), 1);
}

#[tokio::test]
async fn a_retry_that_nobody_heard_of_is_carried_out_and_a_failure_that_was_not_told_yet_is_none() {
    let world = acquainted(seldom).await;
    world.network.will(Err(Fault::refused("nobody of that name is here")));
    let reply = world.sandbox.reply(1, "are you there?").unwrap();
    world.wait_for_status(reply, "failed").await;
    world.wait_for_rest().await;
    // Nothing was retried: nothing is sent.
    let world = world.away(|_| {}).await;
    let after = world.sandbox.reply(1, "after").unwrap();
    world.wait_for_status(after, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["after"]);
    // The callback of the Retry is lost in silence, so the message stands there as if it were new.
    world.sandbox.faults().callbacks(CallbackFaults { drop: 1, drop_of: 1, ..CallbackFaults::default() });
    world.sandbox.retry(1, reply).unwrap();
    world.sandbox.until_callbacks_are_done().await;
    world.sandbox.faults().callbacks(CallbackFaults::default());
    assert_eq!(world.status(reply).0, "sent");
    let world = world.away(|_| {}).await;
    world.wait_for_status(reply, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["are you there?"]);
}

#[tokio::test]
async fn an_agent_who_takes_a_message_back_while_nobody_listens_is_obeyed() {
    let world = acquainted(seldom).await;
    let sent = world.row(1, 1)["id"].as_u64().unwrap();
    let world = world
        .away(|sandbox| {
            sandbox.delete_message(1, sent).unwrap();
            let never = sandbox.reply(1, "never sent").unwrap();
            sandbox.delete_message(1, never).unwrap();
        })
        .await;
    let texts = world.network.wait_for_texts("a:ada", 1).await;
    assert!(texts[0].starts_with("Withdraw"), "{texts:?}");
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada").len(), 1);
}

/// The network says long after that a message did not arrive.
async fn bounce(world: &World, reply: u64, reason: &str) {
    let key = format!("support:{reply}/1/0").as_str().into();
    let report = Report::Receipt { key, receipt: Receipt::Failed(reason.into()) };
    let event = Inbound { event: "bounce-1".into(), at_millis: 1_800_000_000_000, thread: "a:ada".into(), report };
    world.network.host().await.accept(vec![event], Vec::new()).await.unwrap();
}

#[tokio::test]
async fn an_agents_retry_of_what_bounced_is_sent_once_more() {
    for heard in [true, false] {
        let world = acquainted(often).await;
        let reply = world.sandbox.reply(1, "come back").unwrap();
        world.wait_for_status(reply, "delivered").await;
        bounce(&world, reply, "no such user").await;
        assert_eq!(world.wait_for_status(reply, "failed").await.as_deref(), Some("no such user"));
        world.wait_for_rest().await;
        if !heard {
            world.sandbox.faults().callbacks(CallbackFaults { drop: 1, drop_of: 1, ..CallbackFaults::default() });
        }
        world.sandbox.retry(1, reply).unwrap();
        world.wait_for_status(reply, "delivered").await;
        world.wait_for_rest().await;
        assert_eq!(world.network.texts("a:ada"), ["good morning", "come back", "come back"], "heard {heard}");
        // Told twice, the same bounce orders nothing more.
        bounce(&world, reply, "no such user").await;
        let world = world.away(|_| {}).await;
        let last = world.sandbox.reply(1, "still there?").unwrap();
        world.wait_for_status(last, "delivered").await;
        assert_eq!(world.network.texts("a:ada"), ["still there?"], "heard {heard}");
        assert_eq!(world.status(reply).0, "delivered");
    }
}

#[tokio::test]
async fn a_mark_that_only_a_callback_failed_does_not_hide_what_became_of_a_message() {
    let world = acquainted(seldom).await;
    world.network.will(Err(Fault::refused("nobody of that name is here")));
    let refused = world.sandbox.reply(1, "are you there?").unwrap();
    world.wait_for_status(refused, "failed").await;
    let sent = world.sandbox.reply(1, "hello?").unwrap();
    world.wait_for_status(sent, "delivered").await;
    world.wait_for_rest().await;
    // Something moves at both while nobody listens, so that both are marked.
    let world = world
        .away(|sandbox| {
            for message in [refused, sent] {
                sandbox.translate(1, message).unwrap();
            }
        })
        .await;
    world.wait_for_status(sent, "delivered").await;
    let told = world.until("the agent to be told the reason again", || {
        world.status(refused).1.filter(|reason| reason == "nobody of that name is here")
    });
    told.await;
    world.wait_for_rest().await;
    assert_eq!(world.network.texts("a:ada"), [""; 0]);
}

#[tokio::test]
async fn an_inbox_that_is_another_one_is_stopped_and_no_stranger_reads_anything() {
    let world = acquainted(often).await.moved("bob").await;
    world
        .until("the inbox to be seen as another one", || {
            let state = world.gateway.board().inboxes()["support"].state.clone();
            matches!(state, BridgeState::Down { reason } if reason.contains("inbox adopt")).then_some(())
        })
        .await;
    world.write("ada", "2", "for us alone").await;
    let reply = world.sandbox.reply(1, "for bob").unwrap();
    let reason = world.wait_for_status(reply, "failed").await;
    assert_eq!(reason.as_deref(), Some("503 Service Unavailable"), "callbacks are refused");
    assert_eq!(world.texts(1, 0), vec!["mine"; 9]);
    assert_eq!(world.network.texts("a:ada"), [""; 0]);
    assert_eq!(world.store.depth().await.unwrap().waiting, 1, "what ada wrote is kept");

    // The operator takes it as it is.
    let world = world
        .between(async |store| {
            let adopted = sweep::adopt(store, &InboxName::new("support"), clock::now_millis()).await.unwrap();
            assert_eq!(adopted, sweep::Adopted { kept: 1, dropped: 0 });
        })
        .await;
    assert_eq!(world.wait_for_incoming(2, 1).await, ["for us alone"]);
    let reply = world.sandbox.reply(2, "welcome back").unwrap();
    world.wait_for_status(reply, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["welcome back"]);
    assert_eq!(world.texts(1, 0), vec!["mine"; 9]);
}

#[tokio::test]
async fn where_all_conversations_are_gone_none_is_believed_and_people_are_found_again() {
    let world = acquainted(often).await;
    let world = world
        .away(|sandbox| {
            sandbox.delete_conversation(1).unwrap();
        })
        .await;
    world.write("ada", "2", "hello again").await;
    assert_eq!(world.wait_for_incoming(2, 1).await, ["hello again"]);
    let reply = world.sandbox.reply(2, "welcome back").unwrap();
    world.wait_for_status(reply, "delivered").await;
    assert_eq!(world.network.texts("a:ada"), ["welcome back"]);
    assert_eq!(world.sandbox.state()["contacts"].as_array().unwrap().len(), 1);
}
