//! Who is typing, both ways, as a side call: through a short queue, tried once, never kept. What cannot be shown at once is
//! worthless, so it is dropped without a word.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bridge_api::{Bridge, BridgeName, ThreadId};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    chatwoot::{CallFault, Client, ConversationId},
    clock::Clock,
    sessions::Sessions,
};

/// News that may wait for its turn.
const QUEUE_MAX: usize = 64;
/// One showing.
const SHOW_LIMIT: Duration = Duration::from_secs(5);
/// The same is not said again within this time.
const AGAIN_MILLIS: i64 = 5_000;
/// Who is typing at once, and for how long that is believed without a word.
const TYPERS_MAX: usize = 1024;
const TYPING_MILLIS: i64 = 60_000;
/// Between two looks for the inbox's identifier that failed.
const LOOK_AGAIN_MILLIS: i64 = 60_000;

/// Threads in which agents type, or no longer do.
pub(super) type AgentsTyping = mpsc::Receiver<(ThreadId, bool)>;

/// A thread in which a peer types, or no longer does.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) bridge: BridgeName,
    pub(super) thread: ThreadId,
    pub(super) on: bool,
}

pub(super) fn queue<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(QUEUE_MAX)
}

/// Shows peers of one bridge that agents type, until `stop`.
pub(super) async fn to_network(bridge: Arc<dyn Bridge>, mut news: AgentsTyping, clock: Clock, stop: CancellationToken) {
    let mut typers = Typers::default();
    while let Some(Some((thread, on))) = stop.run_until_cancelled(news.recv()).await {
        if typers.is_news(&thread, on, clock.now()) {
            let shown = AssertUnwindSafe(tokio::time::timeout(SHOW_LIMIT, bridge.typing(&thread, on)));
            if !matches!(stop.run_until_cancelled(shown.catch_unwind()).await, Some(Ok(Ok(())))) {
                tracing::debug!(typing = on, "typing was not shown to a network");
            }
        }
    }
}

/// Shows agents of one inbox that peers type, until `stop`.
pub(super) async fn to_inbox(
    client: Arc<Client>,
    sessions: Arc<Sessions>,
    mut news: mpsc::Receiver<News>,
    clock: Clock,
    stop: CancellationToken,
) {
    let (mut typers, mut door) = (Typers::default(), Door::default());
    while let Some(Some(News { bridge, thread, on })) = stop.run_until_cancelled(news.recv()).await {
        if !typers.is_news(&(bridge.clone(), thread.clone()), on, clock.now()) {
            continue;
        }
        let show = show((&client, &sessions), &mut door, clock.now(), (&bridge, &thread), on);
        match stop.run_until_cancelled(tokio::time::timeout(SHOW_LIMIT, show)).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(fault))) => {
                tracing::debug!(typing = on, fault = fault.to_string(), "typing was not shown in the inbox");
            }
            Some(Err(_)) | None => tracing::debug!(typing = on, "typing was not shown in the inbox in time"),
        }
    }
}

/// Where the inbox's client API is: under its identifier.
#[derive(Default)]
struct Door {
    identifier: Option<String>,
    look_at_millis: i64,
}

async fn show(
    (client, sessions): (&Client, &Sessions),
    door: &mut Door,
    now_millis: i64,
    (bridge, thread): (&BridgeName, &ThreadId),
    on: bool,
) -> Result<(), CallFault> {
    // Typing makes no conversation, and wakes none that an agent has done with.
    let Ok(Some(session)) = sessions.known(bridge, thread).await else { return Ok(()) };
    if session.resolved {
        return Ok(());
    }
    if door.identifier.is_none() {
        if now_millis < door.look_at_millis {
            return Ok(());
        }
        door.look_at_millis = now_millis + LOOK_AGAIN_MILLIS;
        door.identifier = client.inbox().await?.inbox_identifier;
    }
    let Some(identifier) = &door.identifier else { return Ok(()) };
    client.contact_typing(identifier, &session.source_id, ConversationId(session.conversation), on).await
}

/// Who is typing, and when that was said.
struct Typers<K>(HashMap<K, i64>);

impl<K> Default for Typers<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash + Clone> Typers<K> {
    /// Whether it has to be said: not twice within a moment, and an end only after a beginning.
    fn is_news(&mut self, who: &K, on: bool, now_millis: i64) -> bool {
        if !on {
            return self.0.remove(who).is_some();
        }
        if self.0.get(who).is_some_and(|said| (0..AGAIN_MILLIS).contains(&(now_millis - said))) {
            return false;
        }
        if self.0.len() >= TYPERS_MAX {
            self.0.retain(|_, said| now_millis - *said < TYPING_MILLIS);
        }
        let has_room = self.0.len() < TYPERS_MAX || self.0.contains_key(who);
        if has_room {
            self.0.insert(who.clone(), now_millis);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_said_once_in_a_while_and_its_end_only_after_its_beginning() {
        let mut typers = Typers::default();
        for (now, who, on, news) in [
            (0, "ada", false, false),
            (0, "ada", true, true),
            (4_999, "ada", true, false),
            (4_999, "grace", true, true),
            (5_000, "ada", true, true),
            (5_001, "ada", false, true),
            (5_002, "ada", false, false),
            (5_003, "ada", true, true),
        ] {
            assert_eq!(typers.is_news(&who, on, now), news, "{who} {on} at {now}");
        }
    }

    #[test]
    fn no_more_typers_are_remembered_than_there_is_room_for_and_old_ones_make_room() {
        let mut typers = Typers::default();
        for who in 0..TYPERS_MAX {
            assert!(typers.is_news(&who, true, 0));
        }
        assert!(!typers.is_news(&TYPERS_MAX, true, 59_999));
        assert!(typers.is_news(&TYPERS_MAX, true, 60_000));
        assert_eq!(typers.0.len(), 1);
    }
}
