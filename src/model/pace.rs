//! How fast one thread may fill an inbox, and what agents read of one that writes faster. No clock: whoever spends
//! passes the moment in.

use bridge_api::{BridgeName, Key, ThreadId};

use crate::model::{Group, InboxName, Lane, Order, SinkName, orders, plain};

/// So many messages at once, and one more in each pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    burst: i64,
    pause_millis: i64,
}

impl Pace {
    /// `None` where nobody is slowed.
    pub fn new(burst: u32, pause_millis: u32) -> Option<Self> {
        (pause_millis > 0).then_some(Self { burst: i64::from(burst.max(1)), pause_millis: i64::from(pause_millis) })
    }

    /// For a thread whose bucket is full at `full_millis`: when it is full again after one more message, and from when on
    /// the next message may follow.
    pub fn spend(self, full_millis: i64, now_millis: i64) -> (i64, i64) {
        let full = full_millis.max(now_millis).saturating_add(self.pause_millis);
        (full, full.saturating_sub((self.burst - 1).saturating_mul(self.pause_millis)))
    }

    /// In words, for agents.
    fn words(self) -> String {
        match self.pause_millis {
            1000 => "one a second".to_owned(),
            millis if millis % 1000 == 0 => format!("one every {} seconds", millis / 1000),
            millis => format!("one every {millis} ms"),
        }
    }
}

/// Whether an order is something that whoever writes in a thread has caused: a message, or a sign that becomes a note.
/// What the gateway itself says, and what becomes of an agent's message, costs a thread nothing.
pub fn is_of_peer(order: &Order) -> bool {
    match order {
        Order::Post { message, .. } => message.speaker == bridge_api::Speaker::Peer,
        Order::Note { reply_to, .. } => reply_to.is_some(),
        Order::Withdrawn { .. } | Order::Status { .. } | Order::Resolved { .. } | Order::Send { .. } => false,
    }
}

/// What agents read once when a thread becomes slow. In a lane of its own: it speaks of what waits, so it must not wait
/// behind it.
pub fn slowed(
    inbox: &InboxName,
    (key, order): (&Key, &Order),
    (pace, waiting): (Pace, usize),
    now_millis: i64,
) -> Option<Group> {
    let (bridge, thread, who) = match order {
        Order::Post { bridge, thread, message } => (bridge, thread, plain(&message.peer.name)),
        Order::Note { bridge, thread, .. } => (bridge, thread, "Somebody".to_owned()),
        Order::Withdrawn { .. } | Order::Status { .. } | Order::Resolved { .. } | Order::Send { .. } => return None,
    };
    let messages = if waiting == 1 { "one message waits" } else { "messages wait" };
    let count = if waiting == 1 { String::new() } else { format!("{waiting} ") };
    let rate = pace.words();
    let text = format!(
        "{who} writes faster than is passed on: by now {count}{messages}. They come here in order, {rate}; nothing is lost"
    );
    let mut group = orders::note(Key::new(format!("{key}/slowed")), inbox, (bridge, thread), text, now_millis);
    for envelope in &mut group.envelopes {
        envelope.lane = notice_lane(inbox, bridge, thread);
    }
    Some(group)
}

fn notice_lane(inbox: &InboxName, bridge: &BridgeName, thread: &ThreadId) -> Lane {
    Lane::new(SinkName::inbox(inbox), "notice", bridge.as_str(), thread.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_one_in_each_pause() {
        let pace = Pace::new(3, 1000).unwrap();
        let (mut full, mut now, mut at) = (i64::MIN, 500, Vec::new());
        for _ in 0..6 {
            let free;
            (full, free) = pace.spend(full, now);
            at.push(now);
            now = now.max(free);
        }
        assert_eq!(at, [500, 500, 500, 1500, 2500, 3500]);
        assert_eq!(full, 6500, "after so much rest all of the burst is there again");
    }

    #[test]
    fn without_a_pause_there_is_no_pace_and_no_burst_is_one() {
        assert_eq!(Pace::new(5, 0), None);
        assert_eq!(Pace::new(0, 10), Pace::new(1, 10));
        assert_eq!(Pace::new(0, 10).unwrap().spend(0, 100), (110, 110));
    }

    #[test]
    fn agents_read_who_is_slowed_and_how_fast_it_goes_on() {
        let (support, thread) = (InboxName::new("support"), ThreadId::from("a:ada"));
        let order = |reply_to| Order::Note {
            bridge: "libera".into(),
            thread: thread.clone(),
            text: "x".into(),
            reply_to,
            see: None,
        };
        let sign = order(Some(bridge_api::Target::Event("1".into())));
        assert!(is_of_peer(&sign) && !is_of_peer(&order(None)));
        for (pause, waiting, expected) in [
            (1000, 7, "by now 7 messages wait. They come here in order, one a second"),
            (3000, 1, "by now one message waits. They come here in order, one every 3 seconds"),
            (1500, 2, "one every 1500 ms"),
        ] {
            let pace = Pace::new(1, pause).unwrap();
            let group = slowed(&support, (&"libera/9/0".into(), &sign), (pace, waiting), 7).unwrap();
            assert_eq!(group.envelopes[0].key.as_str(), "libera/9/0/slowed");
            let Order::Note { text, reply_to: None, .. } = &group.envelopes[0].order else { panic!("another order") };
            assert!(text.contains(expected), "{text}");
            let own = orders::note("k".into(), &support, (&"libera".into(), &thread), String::new(), 7);
            assert_ne!(group.envelopes[0].lane, own.envelopes[0].lane, "it does not wait behind what it speaks of");
        }
    }
}
