//! Whom and what an order is about, for people who look after the gateway. Never what was said.

use bridge_api::{BridgeName, ThreadId};
use serde::Serialize;

use crate::model::{MessageRef, Order};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// `message`, `note`, `withdrawal`, `resolved`, `status`, `reply`.
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadId>,
    /// The name of who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Display id in the inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<i64>,
    /// The agent's message in the inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<i64>,
}

impl About {
    pub fn of(order: &Order) -> Self {
        match order {
            Order::Post { bridge, thread, message } => {
                Self { who: Some(message.peer.name.clone()), ..Self::thread("message", bridge, thread) }
            }
            Order::Note { bridge, thread, .. } => Self::thread("note", bridge, thread),
            Order::Withdrawn { bridge, thread, .. } => Self::thread("withdrawal", bridge, thread),
            Order::Resolved { bridge, thread, conversation } => {
                Self { conversation: Some(*conversation), ..Self::thread("resolved", bridge, thread) }
            }
            Order::Status { message, .. } => {
                Self { what: "status", bridge: None, thread: None, who: None, ..Self::message(message) }
            }
            Order::Send { bridge, thread, agent, message, .. } => Self {
                what: "reply",
                bridge: Some(bridge.clone()),
                thread: Some(thread.clone()),
                who: agent.as_ref().map(|agent| agent.name.clone()),
                ..Self::message(message)
            },
        }
    }

    fn thread(what: &'static str, bridge: &BridgeName, thread: &ThreadId) -> Self {
        let (bridge, thread) = (Some(bridge.clone()), Some(thread.clone()));
        Self { what, bridge, thread, who: None, conversation: None, message: None }
    }

    fn message(of: &MessageRef) -> Self {
        let (conversation, message) = (Some(of.conversation), Some(of.message));
        Self { what: "", bridge: None, thread: None, who: None, conversation, message }
    }
}
