//! Effects on a network: one part of an agent's message, and the news of it back to the inbox.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bridge_api::{Bridge, BridgeName, EventId, Fault, FaultKind, Key, Outbound, Part, Sent};

use super::{Done, Sink};
use crate::{
    clock::Clock,
    model::{Envelope, Group, MessageRef, MessageStatus, OpenAttempt, Order, PARTS_MAX, orders},
    policy::{Rules, WhenInDoubt},
    store::{EnvelopeState, Store},
    telemetry::{Figures, Limit},
};

/// One bridge.
pub struct NetworkSink {
    name: BridgeName,
    bridge: Arc<dyn Bridge>,
    store: Arc<dyn Store>,
    when_in_doubt: WhenInDoubt,
    clock: Clock,
    figures: Arc<Figures>,
}

impl NetworkSink {
    pub fn new(
        (name, bridge): (BridgeName, Arc<dyn Bridge>),
        store: Arc<dyn Store>,
        when_in_doubt: WhenInDoubt,
        clock: Clock,
        figures: Arc<Figures>,
    ) -> Self {
        Self { name, bridge, store, when_in_doubt, clock, figures }
    }

    /// The order as the bridge is given it. `None` when an agent takes back what was never sent.
    async fn outbound(&self, envelope: &Envelope) -> Result<Option<Outbound>, Fault> {
        let Order::Send { thread, part, agent, message, .. } = &envelope.order else {
            return Err(Fault::refused("a network takes no orders for an inbox"));
        };
        let part = match part {
            Part::Withdraw { key, .. } => match self.sent_parts(message).await? {
                Some(events) => Part::Withdraw { key: key.clone(), events },
                None => return Ok(None),
            },
            other @ (Part::Text { .. } | Part::Attachment(_) | Part::Letter { .. } | _) => other.clone(),
        };
        Ok(Some(Outbound {
            key: envelope.key.clone(),
            thread: thread.clone(),
            part,
            agent: agent.clone(),
            earlier_attempts: envelope.attempts.saturating_sub(1),
            attempted_millis: envelope.doubt.as_ref().map(|attempt| attempt.started_millis),
        }))
    }

    /// What the network called the parts of a message, as far as it named them; `None` when nothing of it was sent. Parts
    /// that still waited stood before the withdrawal in its lane, so all of them are settled by now.
    async fn sent_parts(&self, message: &MessageRef) -> Result<Option<Vec<EventId>>, Fault> {
        let mut events = None;
        for part in 0..PARTS_MAX {
            let history = self.store.history(&orders::part_key(message, part)).await;
            let Some(history) = history.map_err(|error| Fault::retry(error.to_string()))? else { break };
            match history.state {
                EnvelopeState::Done { result, .. } => {
                    events.get_or_insert_with(Vec::new).extend(result.map(EventId::from));
                }
                // Never sent, or given up.
                EnvelopeState::Waiting { .. } | EnvelopeState::Dead { .. } | EnvelopeState::Discarded { .. } => {}
            }
        }
        Ok(events)
    }

    fn count_pause(&self, fault: FaultKind) {
        match fault {
            FaultKind::Retry { after: Some(_) } | FaultKind::Down { after: Some(_) } => {
                self.figures.limited(Limit::Network);
            }
            FaultKind::Retry { after: None }
            | FaultKind::Down { after: None }
            | FaultKind::Unknown
            | FaultKind::Refused => {}
        }
    }

    /// The message is delivered when its last part is. A remark of the network becomes a private note.
    fn done(&self, envelope: &Envelope, sent: Sent) -> Done {
        let Order::Send { bridge, thread, message, last, .. } = &envelope.order else { return Done::default() };
        let now = self.clock.now();
        let mut follow = Vec::new();
        if *last {
            follow.push(orders::status(message, MessageStatus::Delivered, None, now));
        }
        if let Some(remark) = sent.remark {
            let key = Key::new(format!("{}/remark/{}", self.name, envelope.key));
            follow.push(orders::note(key, &message.inbox, (bridge, thread), remark, now));
        }
        Done { result: sent.event.map(|event| event.to_string()), follow }
    }
}

#[async_trait]
impl Sink for NetworkSink {
    fn limit(&self) -> usize {
        self.bridge.capabilities().in_flight_max
    }

    fn rules(&self) -> Rules {
        Rules { resend: self.bridge.capabilities().resend, settle_millis: 0, when_in_doubt: self.when_in_doubt }
    }

    fn attempt_limit(&self) -> Duration {
        self.bridge.capabilities().attempt_limit
    }

    fn mark(&self) -> i64 {
        0
    }

    async fn deliver(&self, envelope: &Envelope) -> Result<Done, Fault> {
        let Some(out) = self.outbound(envelope).await? else { return Ok(Done::default()) };
        let sent = self.bridge.send(&out).await.inspect_err(|fault| self.count_pause(fault.kind))?;
        Ok(self.done(envelope, sent))
    }

    async fn probe(&self, envelope: &Envelope, _attempt: OpenAttempt) -> Result<Option<Done>, Fault> {
        let Some(out) = self.outbound(envelope).await? else { return Ok(None) };
        let sent = self.bridge.probe(&out).await?;
        Ok(sent.map(|sent| self.done(envelope, sent)))
    }

    fn buried(&self, envelope: &Envelope, reason: &str, now_millis: i64) -> Vec<Group> {
        match message_of(&envelope.order) {
            Some(message) => vec![orders::status(message, MessageStatus::Failed, Some(reason), now_millis)],
            None => Vec::new(),
        }
    }
}

fn message_of(order: &Order) -> Option<&MessageRef> {
    match order {
        Order::Send { message, .. } => Some(message),
        Order::Post { .. }
        | Order::Note { .. }
        | Order::Withdrawn { .. }
        | Order::Status { .. }
        | Order::Resolved { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use bridge_api::kit::Idle;

    use super::*;
    use crate::{
        model::{EnvelopeId, InboxName, Lane, SinkName},
        store::MemoryStore,
    };

    /// By the system's clock, which somebody may set meanwhile, it could be due in days.
    #[tokio::test]
    async fn what_follows_is_due_at_once_by_the_clock_that_the_pump_goes_by() {
        let clock = Clock::from_millis(1_000);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let name = BridgeName::from("net");
        let figures = Arc::new(Figures::new([("net", "desk")], ["desk"], None));
        let sink = NetworkSink::new((name.clone(), Arc::new(Idle)), store, WhenInDoubt::Repeat, clock, figures);
        let message = MessageRef { inbox: InboxName::new("desk"), conversation: 1, message: 2 };
        let order = Order::Send {
            bridge: name.clone(),
            thread: "ada".into(),
            part: Part::Text { text: "hello".into(), reply_to: None },
            agent: None,
            message,
            last: true,
        };
        let envelope = Envelope {
            id: EnvelopeId(1),
            key: Key::new("desk:2/0"),
            lane: Lane::new(SinkName::bridge(&name), "out", "net", "ada"),
            rank: 0,
            accepted_millis: 0,
            attempts: 1,
            repeats: 0,
            doubt: None,
            order,
        };
        let done = sink.deliver(&envelope).await.unwrap();
        let due: Vec<_> = done.follow.iter().flat_map(|group| &group.envelopes).map(|order| order.due_millis).collect();
        assert!(due.iter().all(|due| *due <= clock.now()) && !due.is_empty(), "{due:?}");
    }
}
