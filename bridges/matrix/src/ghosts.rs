//! Agents as users of their own: made when they first answer, named and pictured as the inbox shows them, and
//! brought into each room that they answer in.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
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

pub(crate) struct Ghosts {
    prefix: String,
    server: String,
    known: Mutex<Known>,
    /// One ghost is made or changed at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    shown: HashMap<AgentId, Shown>,
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
        let known = Known { shown: shown.collect(), joined: HashSet::new() };
        Self {
            prefix: format!("{namespace}agent_"),
            server: server.to_owned(),
            known: Mutex::new(known),
            changing: tokio::sync::Mutex::new(()),
        }
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
        self.show(client, host, agent, &ghost).await?;
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

    fn user(&self, agent: &Agent) -> UserId {
        UserId::new(format!("@{}{}:{}", self.prefix, localpart_of(&agent.id), self.server))
    }

    /// Makes the user, and tells their name and picture when these are new.
    async fn show(&self, client: &Client, host: &Host, agent: &Agent, ghost: &UserId) -> Result<(), CallFault> {
        let picture = host.agent_picture(agent).await.unwrap_or_else(|fault| {
            tracing::debug!(fault = fault.reason.as_str(), "an agent's picture is not known");
            None
        });
        let wanted = Shown { name: agent.name.clone(), picture: picture.as_ref().map(|picture| picture.url.clone()) };
        if self.known().shown.get(&agent.id) == Some(&wanted) {
            return Ok(());
        }
        let _one_at_a_time = self.changing.lock().await;
        let before = self.known().shown.get(&agent.id).cloned();
        if before.as_ref() == Some(&wanted) {
            return Ok(());
        }
        if before.is_none() {
            client.register(ghost.localpart()).await?;
        }
        let itself = client.speaking_as(ghost);
        if before.as_ref().is_none_or(|before| before.name != wanted.name) {
            itself.set_name(ghost, &wanted.name).await?;
        }
        if let Some(picture) = picture.filter(|picture| before.is_none_or(|b| b.picture.as_ref() != Some(&picture.url)))
            && let Err(reason) = show_picture(&itself, host, ghost, &picture).await
        {
            // A reply does not wait for a picture, and a broken one is not tried at each reply.
            tracing::info!(reason, "an agent's picture is not shown");
        }
        let value = serde_json::to_string(&wanted).expect("plain data");
        let kept = host.save_cursors(vec![Cursor::set(format!("{GHOST}{}", agent.id), value)]).await;
        if let Err(error) = kept {
            tracing::info!(error = error.to_string(), "a ghost's profile will be told again after a restart");
        }
        self.known().shown.insert(agent.id.clone(), wanted);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
