//! Each order with its key, its lane and its place there, in one table of functions. Pure.
//!
//! A network's event has the key `BRIDGE/EVENT/0`; what an agent's message causes has a key that begins
//! with `INBOX:MESSAGE/`. Names of bridges and inboxes hold neither slash nor colon, so the two never meet.

use bridge_api::{Agent, BridgeName, EventId, Inbound, Key, Message, Part, Report, Speaker, Target, ThreadId};

use crate::model::{
    Group, InboxName, Lane, LaneId, LateFailure, MessageRef, MessageStatus, NewEnvelope, OnDuplicate, Order, PARTS_MAX,
    SinkName, plain, rank_of,
};

/// The key of a network's event, and its `source_id` in the inbox.
pub fn event_key(bridge: &BridgeName, event: &EventId) -> Key {
    Key::new(format!("{bridge}/{event}/0"))
}

/// The network's event behind a key or source id of [`event_key`].
pub fn event_of(bridge: &BridgeName, key: &str) -> Option<EventId> {
    let event = key.strip_prefix(bridge.as_str())?.strip_prefix('/')?.strip_suffix("/0")?;
    Some(EventId::from(event))
}

/// The lane of what one thread brings to its inbox.
fn inbound_lane(inbox: &InboxName, bridge: &BridgeName, thread: &ThreadId) -> Lane {
    Lane { id: inbound_lane_id(bridge, thread), sink: SinkName::inbox(inbox) }
}

/// Whichever inbox it is.
pub fn inbound_lane_id(bridge: &BridgeName, thread: &ThreadId) -> LaneId {
    LaneId::new("in", bridge.as_str(), thread.as_str())
}

/// The furthest that a network's clock may be ahead of ours before its stamps are not believed.
const AHEAD_MAX_MILLIS: i64 = 5 * 60 * 1000;

/// The place of what happened then among what its thread brings: by time, so that what a network hands over out
/// of order is put in order while it waits. A stamp that can be none, or lies too far ahead, counts as now, so that
/// one odd event gets neither before nor behind everything.
///
/// These ranks never meet those of an agent's message, whose low bits are a part's number: other lanes.
fn rank_at(at_millis: i64, now_millis: i64) -> i64 {
    if at_millis <= 0 || at_millis > now_millis.saturating_add(AHEAD_MAX_MILLIS) { now_millis } else { at_millis }
}

/// What a network reports, as an order to the inbox. `None` for news that concerns no envelope of ours.
pub fn inbound(inbox: &InboxName, bridge: &BridgeName, event: Inbound, now_millis: i64) -> Option<Group> {
    let Inbound { event, at_millis, thread, report } = event;
    let key = event_key(bridge, &event);
    let lane = inbound_lane(inbox, bridge, &thread);
    let bridge = bridge.clone();
    let order = match report {
        Report::Message(message) => Order::Post { bridge, thread, message },
        Report::Edited { event, message } => Order::Post { bridge, thread, message: edited(event, message) },
        // A note, so that a thumbs-up opens no resolved conversation.
        Report::Reacted { to, by, sign } => {
            let text = format!("{} reacted with {}", plain(&by), plain(&sign));
            Order::Note { bridge, thread, text, reply_to: Some(to), see: None }
        }
        Report::Note { text, see } => Order::Note { bridge, thread, text, reply_to: None, see },
        Report::Withdrawn { event } => Order::Withdrawn { bridge, thread, event },
        Report::Receipt { key: of, receipt } => {
            let message = message_of(inbox, &of)?;
            let (status, reason) = match receipt {
                bridge_api::Receipt::Delivered => (MessageStatus::Delivered, None),
                bridge_api::Receipt::Read => (MessageStatus::Read, None),
                bridge_api::Receipt::Failed(reason) => (MessageStatus::Failed, Some(reason)),
            };
            let lane = status_lane(&message);
            let order = Order::Status { message, status, reason };
            return Some(Group::one(NewEnvelope { key, at_millis, lane, rank: 0, due_millis: now_millis, order }));
        }
        _ => return None,
    };
    let rank = rank_at(at_millis, now_millis);
    Some(Group::one(NewEnvelope { key, at_millis, lane, rank, due_millis: now_millis, order }))
}

/// What is to be remembered of news that an agent's message failed after it was sent.
pub fn late_failure(group: &Group, now_millis: i64) -> Option<LateFailure> {
    let told = group.envelopes.first()?;
    let Order::Status { message, status: MessageStatus::Failed, reason } = &told.order else { return None };
    Some(LateFailure {
        conversation: message.conversation,
        message: message.message,
        at_millis: told.at_millis,
        seen_millis: now_millis,
        reason: reason.clone().unwrap_or_default(),
        told: told.key.clone(),
    })
}

/// The inbox cannot change a message, so what it says now comes as one more, which points to the first.
fn edited(event: EventId, message: Message) -> Message {
    // What begins a block of Markdown has to stand at the beginning of a line.
    let is_words = !message.text.contains('\n') && message.text.starts_with(char::is_alphanumeric);
    let between = if is_words { " " } else { "\n\n" };
    let text = format!("*edited:*{between}{}", message.text);
    Message { text, reply_to: Some(Target::Event(event)), ..message }
}

/// An agent's message as parts towards a network, each its own envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub message: MessageRef,
    /// When the inbox made the message, Unix milliseconds; 0 when it does not say.
    pub created_millis: i64,
    pub bridge: BridgeName,
    pub thread: ThreadId,
    pub agent: Option<Agent>,
    pub parts: Vec<Part>,
}

/// `None` when there is nothing to send. Parts beyond the last possible one are cut off.
pub fn reply(reply: Reply, due_millis: i64, on_duplicate: OnDuplicate) -> Option<Group> {
    let Reply { message, created_millis, bridge, thread, agent, parts } = reply;
    let count = parts.len().min(PARTS_MAX - 1);
    let lane = Lane::new(SinkName::bridge(&bridge), "out", bridge.as_str(), thread.as_str());
    let envelopes: Vec<NewEnvelope> = parts
        .into_iter()
        .take(count)
        .enumerate()
        .map(|(number, part)| NewEnvelope {
            key: part_key(&message, number),
            at_millis: moment_of(message.message, created_millis),
            lane: lane.clone(),
            rank: rank_of(message.message, number),
            due_millis,
            order: Order::Send {
                bridge: bridge.clone(),
                thread: thread.clone(),
                part,
                agent: agent.clone(),
                message: message.clone(),
                last: number + 1 == count,
            },
        })
        .collect();
    // Callbacks come in no order: what was taken back before it was heard of is not sent.
    (!envelopes.is_empty()).then_some(Group { envelopes, on_duplicate, unless: Some(withdraw_key(&message)) })
}

/// An agent took a message back: said once, after whatever of it was sent.
pub fn withdraw(
    message: MessageRef,
    created_millis: i64,
    (bridge, thread): (BridgeName, ThreadId),
    due_millis: i64,
) -> Group {
    let lane = Lane::new(SinkName::bridge(&bridge), "out", bridge.as_str(), thread.as_str());
    let part = Part::Withdraw { key: part_key(&message, 0), events: Vec::new() };
    Group::one(NewEnvelope {
        key: withdraw_key(&message),
        at_millis: moment_of(message.message, created_millis),
        lane,
        rank: rank_of(message.message, PARTS_MAX - 1),
        due_millis,
        order: Order::Send { bridge, thread, part, agent: None, message, last: false },
    })
}

fn withdraw_key(message: &MessageRef) -> Key {
    Key::new(format!("{}:{}/withdraw", message.inbox, message.message))
}

/// What became of an agent's message. Each call is news of its own, so its key holds the moment.
pub fn status(message: &MessageRef, status: MessageStatus, reason: Option<&str>, now_millis: i64) -> Group {
    Group::one(NewEnvelope {
        key: status_key(message, status, now_millis),
        at_millis: now_millis,
        lane: status_lane(message),
        rank: 0,
        due_millis: now_millis,
        order: Order::Status { message: message.clone(), status, reason: reason.map(str::to_owned) },
    })
}

/// The key of a status that became known at this moment.
pub fn status_key(message: &MessageRef, status: MessageStatus, at_millis: i64) -> Key {
    let word = match status {
        MessageStatus::Delivered => "delivered",
        MessageStatus::Read => "read",
        MessageStatus::Failed => "failed",
    };
    Key::new(format!("{}:{}/{word}@{at_millis}", message.inbox, message.message))
}

/// That an agent's message was not sent, told once however often the message is seen.
pub fn failed_once(message: &MessageRef, created_millis: i64, reason: &str, now_millis: i64) -> Group {
    let mut group = status(message, MessageStatus::Failed, Some(reason), now_millis);
    for envelope in &mut group.envelopes {
        envelope.key = Key::new(format!("{}:{}/failed", message.inbox, message.message));
        envelope.at_millis = moment_of(message.message, created_millis);
    }
    group
}

/// A private note in the thread's conversation.
pub fn note(
    key: Key,
    inbox: &InboxName,
    (bridge, thread): (&BridgeName, &ThreadId),
    text: String,
    now_millis: i64,
) -> Group {
    Group::one(NewEnvelope {
        key,
        at_millis: now_millis,
        lane: inbound_lane(inbox, bridge, thread),
        rank: now_millis,
        due_millis: now_millis,
        order: Order::Note { bridge: bridge.clone(), thread: thread.clone(), text, reply_to: None, see: None },
    })
}

/// What agents read in place of a message that the inbox will not take. Where the thread has no conversation, the note
/// has no place and nothing is said. A note that meets the same fate is not spoken of: this has an end.
pub fn unshown(inbox: &InboxName, key: &Key, order: &Order, reason: &str, now_millis: i64) -> Option<Group> {
    let Order::Post { bridge, thread, message } = order else { return None };
    let whose = match message.speaker {
        Speaker::Peer => format!(" of {}", plain(&message.peer.name)),
        Speaker::Ourselves => String::new(),
    };
    let (reason, shown) = (plain(reason), plain(key.as_str()));
    let text = format!("A message{whose} could not be shown here: {reason}; an operator finds it as {shown}");
    let note_key = Key::new(format!("{key}/unshown"));
    Some(note(note_key, inbox, (bridge, thread), text, now_millis))
}

/// The inbox says that a conversation was resolved. It goes through the thread's own lane, so
/// that it stands in order with what the person writes.
pub fn resolved(
    inbox: &InboxName,
    (bridge, thread): (BridgeName, ThreadId),
    conversation: i64,
    (updated_millis, now_millis): (i64, i64),
) -> Group {
    Group::one(NewEnvelope {
        key: Key::new(format!("{inbox}:conversation/{conversation}/resolved@{updated_millis}")),
        at_millis: updated_millis,
        lane: inbound_lane(inbox, &bridge, &thread),
        rank: rank_at(updated_millis, now_millis),
        due_millis: now_millis,
        order: Order::Resolved { bridge, thread, conversation },
    })
}

/// Callbacks tell the moment of a message to the millisecond, lists to the second: both must come to the same.
/// Without any moment the key is kept for good.
fn moment_of(message: i64, created_millis: i64) -> i64 {
    const NEVER_FORGOTTEN: i64 = 4_102_444_800_000;
    match created_millis {
        ..=0 => NEVER_FORGOTTEN + message,
        _ => created_millis - created_millis.rem_euclid(1000) + message.rem_euclid(1000),
    }
}

/// The key of one part of an agent's message.
pub fn part_key(message: &MessageRef, part: usize) -> Key {
    Key::new(format!("{}:{}/{}/{part}", message.inbox, message.message, message.conversation))
}

/// The message that a key of [`part_key`] stands for.
pub fn message_of(inbox: &InboxName, key: &Key) -> Option<MessageRef> {
    let rest = key.as_str().strip_prefix(inbox.as_str())?.strip_prefix(':')?;
    let mut numbers = rest.split('/');
    let message = numbers.next()?.parse().ok()?;
    let conversation = numbers.next()?.parse().ok()?;
    Some(MessageRef { inbox: inbox.clone(), conversation, message })
}

fn status_lane(message: &MessageRef) -> Lane {
    let conversation = message.conversation.to_string();
    Lane::new(SinkName::inbox(&message.inbox), "status", message.inbox.as_str(), &conversation)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bridge_api::{Peer, Receipt};

    use super::*;

    fn message() -> MessageRef {
        MessageRef { inbox: InboxName::new("support"), conversation: 42, message: 9001 }
    }

    fn text(text: &str) -> Part {
        Part::Text { text: text.into(), reply_to: None }
    }

    #[test]
    fn the_parts_of_a_reply_follow_each_other_in_one_lane_and_the_last_is_marked() {
        let parts = vec![text("one"), text("two")];
        let (bridge, thread) = (BridgeName::from("libera"), ThreadId::from("a:ada"));
        let all = Reply { message: message(), created_millis: 7_200_000, bridge, thread, agent: None, parts };
        let group = reply(all, 10, OnDuplicate::Ignore).unwrap();
        let seen: Vec<_> = group.envelopes.iter().map(|e| (e.key.as_str(), e.rank, e.at_millis)).collect();
        assert_eq!(
            seen,
            [("support:9001/42/0", 9001 << 12, 7_200_001), ("support:9001/42/1", (9001 << 12) + 1, 7_200_001)]
        );
        let last = |e: &NewEnvelope| matches!(&e.order, Order::Send { last, .. } if *last);
        assert_eq!(group.envelopes.iter().map(last).collect::<Vec<_>>(), [false, true]);
        assert_eq!(group.envelopes[0].lane, group.envelopes[1].lane);
    }

    #[test]
    fn a_message_has_one_moment_however_exactly_it_is_told() {
        assert_eq!(moment_of(9001, 7_200_123), moment_of(9001, 7_200_000));
        assert_ne!(moment_of(9001, 7_200_000), moment_of(9001, 7_201_000));
        assert_eq!(moment_of(9001, 0), moment_of(9001, 0));
        assert!(moment_of(9001, 0) > moment_of(9001, 1_800_000_000_000), "no pruning may reach it");
    }

    #[test]
    fn what_a_thread_brings_is_ordered_by_time_and_odd_stamps_count_as_now() {
        const NOW: i64 = 1_800_000_000_000;
        let rank_of_event = |at_millis| {
            let report = Report::Note { text: "x".into(), see: None };
            let event = Inbound { event: "1".into(), at_millis, thread: "a:ada".into(), report };
            inbound(&InboxName::new("support"), &"libera".into(), event, NOW).unwrap().envelopes[0].rank
        };
        let cases = [
            (NOW - 1, NOW - 1),
            (NOW + AHEAD_MAX_MILLIS, NOW + AHEAD_MAX_MILLIS),
            (NOW + AHEAD_MAX_MILLIS + 1, NOW),
            (i64::MAX, NOW),
            (i64::MIN, NOW),
            (-1, NOW),
            (0, NOW),
            (1, 1),
        ];
        for (at_millis, expected) in cases {
            assert_eq!(rank_of_event(at_millis), expected, "{at_millis}");
        }
        let place = || (BridgeName::from("libera"), ThreadId::from("a:ada"));
        let end = |at| resolved(&InboxName::new("support"), place(), 42, (at, NOW)).envelopes[0].rank;
        assert_eq!((end(NOW - 7), end(0)), (NOW - 7, NOW));
    }

    fn said(text: &str) -> Message {
        let peer = Peer { id: "a:ada".into(), name: "ada".into(), facts: BTreeMap::new(), email: None, picture: None };
        Message {
            peer,
            speaker: Speaker::Peer,
            text: text.into(),
            attachments: Vec::new(),
            reply_to: Some(Target::Event("another".into())),
            quiet: false,
            facts: BTreeMap::new(),
            thread_facts: BTreeMap::new(),
        }
    }

    #[test]
    fn agents_read_of_a_message_that_cannot_be_shown_and_of_no_more() {
        let (support, key) = (InboxName::new("support"), Key::from("libera/2/0"));
        let order = Order::Post { bridge: "libera".into(), thread: "a:ada".into(), message: said("x") };
        let group = unshown(&support, &key, &order, "chatwoot answered 422", 7).unwrap();
        assert_eq!(group.envelopes[0].key.as_str(), "libera/2/0/unshown");
        let event =
            Inbound { event: "3".into(), at_millis: 7, thread: "a:ada".into(), report: Report::Message(said("y")) };
        assert_eq!(group.envelopes[0].lane, inbound(&support, &"libera".into(), event, 7).unwrap().envelopes[0].lane);
        let Order::Note { text, .. } = &group.envelopes[0].order else { panic!("another order") };
        assert!(
            text.contains("of ada") && text.contains("chatwoot answered 422") && text.contains("libera/2/0"),
            "{text}"
        );
        assert_eq!(
            unshown(&support, &key, &group.envelopes[0].order, "chatwoot answered 422", 8),
            None,
            "it ends there"
        );
    }

    #[test]
    fn a_changed_message_says_so_and_points_to_what_it_replaces() {
        for (text, expected) in [
            ("hi there", "*edited:* hi there"),
            ("one\ntwo", "*edited:*\n\none\ntwo"),
            ("> quote", "*edited:*\n\n> quote"),
        ] {
            let message = said(text);
            let report = Report::Edited { event: "1".into(), message };
            let event = Inbound { event: "2".into(), at_millis: 7, thread: "a:ada".into(), report };
            let group = inbound(&InboxName::new("support"), &"libera".into(), event, 7).unwrap();
            assert_eq!(group.envelopes[0].key.as_str(), "libera/2/0");
            let Order::Post { message, .. } = &group.envelopes[0].order else { panic!("another order") };
            assert_eq!((message.text.as_str(), &message.reply_to), (expected, &Some(Target::Event("1".into()))));
        }
    }

    #[test]
    fn a_sign_is_a_note_in_plain_words() {
        let (to, by) = (Target::Event("1".into()), "*ada*\n".to_owned());
        let report = Report::Reacted { to: to.clone(), by, sign: "👍".into() };
        let event = Inbound { event: "2".into(), at_millis: 7, thread: "a:ada".into(), report };
        let group = inbound(&InboxName::new("support"), &"libera".into(), event, 7).unwrap();
        let Order::Note { text, reply_to, .. } = &group.envelopes[0].order else { panic!("another order") };
        assert_eq!((text.as_str(), reply_to), ("\\*ada\\* reacted with 👍", &Some(to)));
    }

    #[test]
    fn late_news_finds_the_message_that_its_key_was_made_for() {
        let event = Inbound {
            event: "bounce-1".into(),
            at_millis: 0,
            thread: "a:ada".into(),
            report: Report::Receipt { key: part_key(&message(), 3), receipt: Receipt::Failed("no such nick".into()) },
        };
        let group = inbound(&InboxName::new("support"), &"libera".into(), event.clone(), 0).unwrap();
        let expected =
            Order::Status { message: message(), status: MessageStatus::Failed, reason: Some("no such nick".into()) };
        assert_eq!(group.envelopes[0].order, expected);
        assert_eq!(inbound(&InboxName::new("sales"), &"libera".into(), event, 0), None);
    }
}
