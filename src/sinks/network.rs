//! Effects on a network: one part of an agent's message, and the news of it back to the inbox.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bridge_api::{Bridge, BridgeName, Fault, Key, Outbound, Part, Sent};

use super::{Done, Sink};
use crate::{
    clock,
    model::{Envelope, Group, MessageRef, MessageStatus, OpenAttempt, Order, orders},
    policy::{Rules, WhenInDoubt},
    store::{EnvelopeState, Store},
};

/// A bridge answers within 90 s; this is for one that does not.
const ATTEMPT_LIMIT: Duration = Duration::from_mins(2);

/// One bridge.
pub struct NetworkSink {
    name: BridgeName,
    bridge: Arc<dyn Bridge>,
    store: Arc<dyn Store>,
    when_in_doubt: WhenInDoubt,
}

impl NetworkSink {
    pub fn new(name: BridgeName, bridge: Arc<dyn Bridge>, store: Arc<dyn Store>, when_in_doubt: WhenInDoubt) -> Self {
        Self { name, bridge, store, when_in_doubt }
    }

    /// Only what was sent can be taken back.
    async fn nothing_to_withdraw(&self, part: &Part) -> Result<bool, Fault> {
        let Part::Withdraw { key, .. } = part else { return Ok(false) };
        let history = self.store.history(key).await.map_err(|error| Fault::retry(error.to_string()))?;
        Ok(!matches!(history.map(|h| h.state), Some(EnvelopeState::Done { .. })))
    }

    /// The message is delivered when its last part is. A remark of the network becomes a private note.
    fn done(&self, envelope: &Envelope, sent: Sent) -> Done {
        let Order::Send { bridge, thread, message, last, .. } = &envelope.order else { return Done::default() };
        let now = clock::now_millis();
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
        ATTEMPT_LIMIT
    }

    fn mark(&self) -> i64 {
        0
    }

    async fn deliver(&self, envelope: &Envelope) -> Result<Done, Fault> {
        let out = outbound(envelope)?;
        if self.nothing_to_withdraw(&out.part).await? {
            return Ok(Done::default());
        }
        let sent = self.bridge.send(&out).await?;
        Ok(self.done(envelope, sent))
    }

    async fn probe(&self, envelope: &Envelope, _attempt: OpenAttempt) -> Result<Option<Done>, Fault> {
        let sent = self.bridge.probe(&outbound(envelope)?).await?;
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

fn outbound(envelope: &Envelope) -> Result<Outbound, Fault> {
    let Order::Send { thread, part, agent, .. } = &envelope.order else {
        return Err(Fault::refused("a network takes no orders for an inbox"));
    };
    Ok(Outbound {
        key: envelope.key.clone(),
        thread: thread.clone(),
        part: part.clone(),
        agent: agent.clone(),
        earlier_attempts: envelope.attempts.saturating_sub(1),
    })
}
