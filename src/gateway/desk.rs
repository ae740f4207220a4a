//! What bridges ask of their inbox besides taking messages in: its files, and how its agents look. Nothing here is kept
//! beyond the process.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bridge_api::{Agent, Attachment, Fault, File, Holder};
use futures_util::TryStreamExt;

use crate::{
    chatwoot::{CallFault, Client},
    clock::Clock,
    intake::user_of,
};

/// A message is announced before its files are stored: for so long a missing one is only late, and asked for again so
/// often.
const LATE_MAX_MILLIS: i64 = 30_000;
const LATE_AGAIN: Duration = Duration::from_secs(2);
/// Files that may be missing at once.
const MISSING_MAX: usize = 256;
/// How long the agents' pictures are remembered, and how long it is that they could not be read.
const PICTURES_MILLIS: i64 = 10 * 60 * 1000;
const NO_PICTURES_MILLIS: i64 = 60 * 1000;
/// A reply waits no longer than this for a picture.
const PICTURES_LIMIT: Duration = Duration::from_secs(5);

/// One inbox, as its bridges may use it.
pub(super) struct Desk {
    client: Arc<Client>,
    clock: Clock,
    attachment_bytes_max: u64,
    missing: Mutex<Missing>,
    pictures: Mutex<Pictures>,
}

/// Agents' pictures by the agents' numbers.
#[derive(Default)]
struct Pictures {
    good_until_millis: i64,
    by_agent: Arc<HashMap<i64, String>>,
}

impl Desk {
    pub(super) fn new(client: Arc<Client>, clock: Clock, attachment_bytes_max: u64) -> Self {
        Self { client, clock, attachment_bytes_max, missing: Mutex::default(), pictures: Mutex::default() }
    }

    /// A file of an agent's message, from its beginning.
    pub(super) async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        if attachment.holder != Holder::Inbox {
            return Err(Fault::refused(format!("the inbox keeps no file {:?}", attachment.name)));
        }
        match self.client.download(&attachment.url, self.attachment_bytes_max).await {
            Ok(file) => {
                lock(&self.missing).found(&attachment.url);
                let (media_type, clock) = (file.content_type().map(str::to_owned), self.clock);
                let length = file.length();
                let pieces = file.into_stream().map_err(move |fault| fault.into_fault(clock.of_day()));
                Ok(File::new(media_type, length, pieces))
            }
            Err(fault @ CallFault::NotFound { .. }) => {
                let late = lock(&self.missing).is_only_late(&attachment.url, self.clock.now());
                let gone = || Fault::refused(format!("the file {:?} is gone from the inbox", attachment.name));
                Err(if late { Fault::retry_after(LATE_AGAIN, fault.to_string()) } else { gone() })
            }
            Err(fault) => Err(fault.into_fault(self.clock.of_day())),
        }
    }

    /// The agent's picture as the inbox shows it now. A reply is not kept back for one: what cannot be had is none.
    pub(super) async fn picture(&self, agent: &Agent) -> Option<Attachment> {
        let user = user_of(&agent.id)?;
        let url = self.pictures().await.get(&user)?.clone();
        let name = format!("{}.picture", agent.id);
        Some(Attachment { name, media_type: None, size_bytes: None, url, holder: Holder::Inbox })
    }

    async fn pictures(&self) -> Arc<HashMap<i64, String>> {
        let now = self.clock.now();
        {
            let mut known = lock(&self.pictures);
            if now < known.good_until_millis {
                return known.by_agent.clone();
            }
            // Others who ask meanwhile are given what is known: one question is enough.
            known.good_until_millis = now + NO_PICTURES_MILLIS;
        }
        let asked = tokio::time::timeout(PICTURES_LIMIT, self.client.agents()).await;
        let mut known = lock(&self.pictures);
        match asked {
            Ok(Ok(agents)) => {
                let shown = agents.into_iter().filter(|agent| !agent.thumbnail.is_empty());
                known.by_agent = Arc::new(shown.map(|agent| (agent.id, agent.thumbnail)).collect());
                known.good_until_millis = now + PICTURES_MILLIS;
            }
            Ok(Err(fault)) => tracing::debug!(fault = fault.to_string(), "the agents' pictures are not shown"),
            Err(_) => tracing::debug!("the agents' pictures were not told in time"),
        }
        known.by_agent.clone()
    }
}

/// Files that were asked for and not there, with the moment of the first time, oldest first.
#[derive(Default)]
struct Missing(VecDeque<(String, i64)>);

impl Missing {
    fn is_only_late(&mut self, url: &str, now_millis: i64) -> bool {
        if let Some((_, since)) = self.0.iter().find(|(missing, _)| missing == url) {
            return now_millis - since < LATE_MAX_MILLIS;
        }
        if self.0.len() == MISSING_MAX {
            self.0.pop_front();
        }
        self.0.push_back((url.to_owned(), now_millis));
        true
    }

    fn found(&mut self, url: &str) {
        self.0.retain(|(missing, _)| missing != url);
    }
}

/// A thread that panicked left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_late_for_a_while_and_then_gone() {
        let mut missing = Missing::default();
        for (now, url, late) in [(0, "a", true), (29_999, "a", true), (30_000, "a", false), (30_000, "b", true)] {
            assert_eq!(missing.is_only_late(url, now), late, "{url} at {now}");
        }
        missing.found("a");
        assert!(missing.is_only_late("a", 60_000), "it was there once, so this is another time");
    }

    #[test]
    fn no_more_missing_files_are_remembered_than_there_is_room_for() {
        let mut missing = Missing::default();
        for n in 0..=MISSING_MAX {
            assert!(missing.is_only_late(&n.to_string(), 0));
        }
        assert_eq!(missing.0.len(), MISSING_MAX);
        assert!(missing.is_only_late("0", 30_000), "the oldest was forgotten");
    }
}
