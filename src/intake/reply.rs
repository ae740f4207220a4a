//! An agent's message on its way in: to whom it goes, in which parts, and whether it comes too late.

use bridge_api::{Agent, AgentId, Attachment, BridgeName, Holder, Reply};

use super::{Door, Intake, Judged, WhenLate, message_ref};
use crate::{
    chatwoot::callback::{CallbackFile, Occasion, PublicOutgoing},
    model::{Group, MessageRef, MessageStatus, OnDuplicate, orders},
    store::Held,
};

const NO_ADDRESS: &str =
    "this conversation was not started from a network that the gateway carries, so there is no address to send to";
const TOO_OLD: &str = "not sent: it was heard of so long after it was written that it may have been sent before";
/// The inbox's clock may be behind ours by this much.
const CLOCK_SKEW_MILLIS: i64 = 5 * 60 * 1000;
/// What the store knows is forgotten by the second; a message's age is known by two clocks.
const MEMORY_MARGIN_MILLIS: i64 = 10 * 60 * 1000;
/// A message older than this is not sent because of an update alone: the update may be about anything.
const UPDATE_AGE_MAX_MILLIS: i64 = 24 * 3600 * 1000;

impl Intake {
    pub(super) fn reply(
        &self,
        door: &Door,
        outgoing: &PublicOutgoing<'_>,
        now_millis: i64,
        due_millis: i64,
    ) -> Result<Judged, &'static str> {
        let (created_millis, occasion) = (outgoing.created_millis, outgoing.occasion);
        // The inbox stamps by the time of day; what is forgotten is counted by the clock that nobody sets.
        let age_by = |clock_millis: i64| if created_millis > 0 { clock_millis - created_millis } else { 0 };
        let age_millis = age_by(self.clock.of_day());
        if created_millis > 0 && created_millis < self.horizon.born_millis - CLOCK_SKEW_MILLIS {
            return Err("written before this gateway began");
        }
        if age_by(now_millis) > self.horizon.memory_millis - MEMORY_MARGIN_MILLIS {
            if occasion == Occasion::Created {
                let message = message_ref(&door.inbox, outgoing.conversation, outgoing.message);
                return Ok(Judged::Work(orders::failed_once(&message, created_millis, TOO_OLD, now_millis)));
            }
            return Err("older than what the store remembers");
        }
        if occasion == Occasion::Updated && age_millis > UPDATE_AGE_MAX_MILLIS {
            return Err("an update of an old message");
        }
        let message = message_ref(&door.inbox, outgoing.conversation, outgoing.message);
        let Some((bridge, route, thread)) = outgoing.link.and_then(|link| self.place(&door.inbox, link)) else {
            return match (occasion, outgoing.link) {
                // A list does not always tell whose conversation it is.
                (Occasion::Listed, None) => Err("the list does not tell whose conversation it is"),
                // Each Retry is told anew, but what is only seen again is not.
                (Occasion::Updated, _) => {
                    Ok(Judged::Work(orders::status(&message, MessageStatus::Failed, Some(NO_ADDRESS), now_millis)))
                }
                (Occasion::Created | Occasion::Listed, _) => {
                    Ok(Judged::Work(orders::failed_once(&message, created_millis, NO_ADDRESS, now_millis)))
                }
            };
        };
        let reply = reply_of(outgoing, &bridge);
        let agent = reply.agent.clone();
        let parts = route.bridge.parts(&thread, reply);
        let reply = orders::Reply { message: message.clone(), created_millis, bridge, thread, agent, parts };
        let on_duplicate = match occasion {
            Occasion::Created | Occasion::Listed => OnDuplicate::Ignore,
            Occasion::Updated => OnDuplicate::Revive,
        };
        let group = orders::reply(reply, due_millis, on_duplicate).ok_or("nothing to show")?;
        if occasion == Occasion::Listed && age_millis > door.late.after_millis {
            return Ok(late(door.late.then, group, (&message, created_millis), (age_millis, now_millis)));
        }
        Ok(Judged::Work(group))
    }
}

/// A reply that a sweep found so long after it was written that the person may no longer wait for it.
fn late(
    then: WhenLate,
    group: Group,
    (message, created_millis): (&MessageRef, i64),
    (age_millis, now_millis): (i64, i64),
) -> Judged {
    let age = age_in_words(age_millis);
    match then {
        WhenLate::Hold => {
            let reason = format!(
                "not sent, because the gateway saw it {age} after it was written; an operator can still send it"
            );
            let told = orders::status(message, MessageStatus::Failed, Some(&reason), now_millis);
            Judged::Held(Held { group, reason, follow: vec![told] })
        }
        WhenLate::Fail => {
            let reason = format!(
                "not sent, because the gateway saw it {age} after it was written; write it again if it is still wanted"
            );
            Judged::Work(orders::failed_once(message, created_millis, &reason, now_millis))
        }
    }
}

fn age_in_words(millis: i64) -> String {
    let (minutes, hours) = (millis / 60_000, millis / 3_600_000);
    match hours {
        ..=1 => format!("{minutes} minutes"),
        2..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

fn reply_of(outgoing: &PublicOutgoing<'_>, bridge: &BridgeName) -> Reply {
    let attachment = |file: &CallbackFile<'_>| Attachment {
        name: file.name(),
        media_type: file.content_type.as_deref().map(str::to_owned),
        size_bytes: file.size_bytes,
        url: file.url.to_string(),
        holder: Holder::Inbox,
    };
    Reply {
        text: outgoing.content.to_owned(),
        agent: agent_of(outgoing),
        attachments: outgoing.attachments.iter().map(attachment).collect(),
        reply_to: outgoing.attributes.in_reply_to_external_id.as_deref().and_then(|id| orders::event_of(bridge, id)),
    }
}

/// `None` for the inbox's own texts.
fn agent_of(outgoing: &PublicOutgoing<'_>) -> Option<Agent> {
    let sender = outgoing.sender?;
    let name = sender.name.as_deref()?.to_owned();
    let is_robot = sender.kind.as_deref() != Some(USER);
    Some(Agent { id: agent_id(sender.kind.as_deref(), sender.id?), name, is_robot })
}

/// People and robots are numbered apart in the inbox. Of letters, digits and hyphens only, so that a network can make a
/// name of it.
pub(super) fn agent_id(kind: Option<&str>, id: i64) -> AgentId {
    let kind = match kind {
        Some("user") => USER,
        Some("agent_bot") => "bot",
        Some("captain_assistant") => "assistant",
        Some(_) | None => "other",
    };
    AgentId::from(format!("{kind}-{id}"))
}

const USER: &str = "user";

/// The number of the person behind an agent's id; robots have none.
pub fn user_of(agent: &AgentId) -> Option<i64> {
    agent.as_str().strip_prefix(USER)?.strip_prefix('-')?.parse().ok()
}
