//! Agents as users of their own: made when they first answer, named and pictured as the inbox shows them, and
//! brought into each room that they answer in.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use bridge_api::{Agent, AgentId, Attachment, Cursor, Host};
use serde::{Deserialize, Serialize};

use crate::{
    client::{CallFault, Client, MediaRef},
    ids::{RoomId, UserId},
    settings::is_of_localpart,
};

const GHOST: &str = "ghost/";
const PICTURE_BYTES_MAX: usize = 5 << 20;
/// Pictures on their way at once. What is left out is tried at the agent's next reply.
const PICTURES_AT_ONCE: usize = 4;

pub(crate) struct Ghosts {
    prefix: String,
    server: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    shown: HashMap<AgentId, Shown>,
    /// A ghost is made or renamed by one reply at a time.
    making: HashMap<AgentId, Arc<tokio::sync::Mutex<()>>>,
    /// Whose pictures are on their way.
    picturing: HashSet<AgentId>,
    /// Which ghosts are in which rooms, as far as we brought them there.
    joined: HashSet<(RoomId, UserId)>,
}

/// As the homeserver was last told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    name: String,
    /// Address in the inbox.
    picture: Option<String>,
}

impl Ghosts {
    pub(crate) fn new(namespace: &str, server: &str, kept: &[Cursor]) -> Self {
        let shown = kept.iter().filter_map(|cursor| {
            let id = cursor.name.strip_prefix(GHOST)?;
            Some((AgentId::from(id), serde_json::from_str(cursor.value.as_deref()?).ok()?))
        });
        let known = Known { shown: shown.collect(), ..Known::default() };
        Self { prefix: format!("{namespace}agent_"), server: server.to_owned(), known: Mutex::new(known) }
    }

    /// The agent as a user who is in the room. `None` when the room does not let them in.
    pub(crate) async fn bring(
        &self,
        client: &Client,
        host: &Host,
        agent: &Agent,
        room: &RoomId,
    ) -> Result<Option<UserId>, CallFault> {
        let ghost = self.user(agent);
        self.name(client, host, agent, &ghost).await?;
        let place = (room.clone(), ghost.clone());
        if self.known().joined.contains(&place) {
            return Ok(Some(ghost));
        }
        let itself = client.speaking_as(&ghost);
        let joined = match itself.join(room, None).await {
            Err(CallFault::Refused { status: 403 | 404, .. }) => match client.invite(room, &ghost).await {
                Ok(()) => itself.join(room, None).await,
                Err(fault) => Err(fault),
            },
            joined => joined,
        };
        match joined {
            Ok(()) => {
                self.known().joined.insert(place);
                Ok(Some(ghost))
            }
            Err(fault) if fault.may_pass() => Err(fault),
            Err(fault) => {
                tracing::info!(
                    room = room.as_str(),
                    fault = fault.to_string(),
                    "an agent cannot be brought into a room"
                );
                Ok(None)
            }
        }
    }

    /// The ghost may have been put out of the room.
    pub(crate) fn forget_place(&self, room: &RoomId, ghost: &UserId) {
        self.known().joined.remove(&(room.clone(), ghost.clone()));
    }

    /// The homeserver may know none of them any more: each is made again when they answer.
    pub(crate) fn forget_all(&self) {
        let mut known = self.known();
        known.shown.clear();
        known.joined.clear();
    }

    fn user(&self, agent: &Agent) -> UserId {
        UserId::new(format!("@{}{}:{}", self.prefix, localpart_of(&agent.id), self.server))
    }

    /// Makes the user, and tells their name when it is new.
    async fn name(&self, client: &Client, host: &Host, agent: &Agent, ghost: &UserId) -> Result<(), CallFault> {
        let is_shown = || self.known().shown.get(&agent.id).is_some_and(|shown| shown.name == agent.name);
        if is_shown() {
            return Ok(());
        }
        let making = self.known().making.entry(agent.id.clone()).or_default().clone();
        let _one_at_a_time = making.lock().await;
        if is_shown() {
            return Ok(());
        }
        if !self.known().shown.contains_key(&agent.id) {
            client.register(ghost.localpart()).await?;
        }
        client.speaking_as(ghost).set_name(ghost, &agent.name).await?;
        self.remember(host, agent, |shown| shown.name.clone_from(&agent.name)).await;
        Ok(())
    }

    /// Shows the agent's picture when it is new. No reply waits for this.
    pub(crate) async fn picture(&self, client: &Client, host: &Host, agent: &Agent) {
        {
            let mut known = self.known();
            if known.picturing.len() >= PICTURES_AT_ONCE || !known.picturing.insert(agent.id.clone()) {
                return;
            }
        }
        let picturing = Picturing { ghosts: self, agent: &agent.id };
        let picture = match host.agent_picture(agent).await {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(fault) => {
                tracing::debug!(fault = fault.reason.as_str(), "an agent's picture is not known");
                return;
            }
        };
        let is_shown = |shown: &Shown| shown.picture.as_ref() == Some(&picture.url);
        if self.known().shown.get(&agent.id).is_some_and(is_shown) {
            return;
        }
        let ghost = self.user(agent);
        match show_picture(&client.speaking_as(&ghost), host, &ghost, &picture).await {
            Ok(()) => self.remember(host, agent, |shown| shown.picture = Some(picture.url.clone())).await,
            Err(reason) => {
                tracing::info!(reason, "an agent's picture is not shown");
                // A broken one is not tried at each reply, but after a restart.
                self.known().shown.entry(agent.id.clone()).or_default().picture = Some(picture.url.clone());
            }
        }
        drop(picturing);
    }

    async fn remember(&self, host: &Host, agent: &Agent, change: impl FnOnce(&mut Shown)) {
        let shown = {
            let mut known = self.known();
            let shown = known.shown.entry(agent.id.clone()).or_default();
            change(shown);
            shown.clone()
        };
        let value = serde_json::to_string(&shown).expect("plain data");
        let kept = host.save_cursors(vec![Cursor::set(format!("{GHOST}{}", agent.id), value)]).await;
        if let Err(error) = kept {
            tracing::info!(error = error.to_string(), "a ghost's profile will be told again after a restart");
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for the next picture, also when its showing is dropped.
struct Picturing<'g> {
    ghosts: &'g Ghosts,
    agent: &'g AgentId,
}

impl Drop for Picturing<'_> {
    fn drop(&mut self) {
        self.ghosts.known().picturing.remove(self.agent);
    }
}

async fn show_picture(client: &Client, host: &Host, ghost: &UserId, picture: &Attachment) -> Result<(), String> {
    let mut file = host.open(picture).await.map_err(|fault| fault.reason)?;
    file.media_type = file.media_type.filter(|kind| kind.starts_with("image/"));
    if file.media_type.is_none() {
        return Err("it is no picture".to_owned());
    }
    if file.length.is_some_and(|length| length > PICTURE_BYTES_MAX as u64) {
        return Err("it is too large".to_owned());
    }
    let media_type = file.media_type.clone();
    let bytes = file.read(PICTURE_BYTES_MAX).await.map_err(|fault| fault.reason)?;
    let media: MediaRef = client
        .upload("picture", bridge_api::File::whole(media_type, bytes))
        .await
        .map_err(|fault| fault.to_string())?;
    client.set_picture(ghost, &media).await.map_err(|fault| fault.to_string())
}

/// An agent's id in the characters of a localpart; others as `=` and two hex digits.
fn localpart_of(agent: &AgentId) -> String {
    use std::fmt::Write;
    let mut localpart = String::new();
    for byte in agent.as_str().bytes() {
        let c = char::from(byte);
        if is_of_localpart(c) && c != '=' {
            localpart.push(c);
        } else {
            write!(localpart, "={byte:02x}").expect("a string takes all");
        }
    }
    localpart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_id_becomes_a_localpart_of_its_own() {
        let cases = [("user-3", "user-3"), ("3", "3"), ("Ä b", "=c3=84=20b"), ("a=b", "a=3db"), ("A", "=41")];
        for (id, expected) in cases {
            assert_eq!(localpart_of(&AgentId::from(id)), expected);
        }
    }
}
