//! Knows every message that was made, and judges where each one ended.

use std::collections::{HashMap, HashSet};

use bridge_api::{Key, Report, Resend};
use deskbridge::{policy::WhenInDoubt, store::Store};

use crate::{
    inbox::{Kind, Message},
    network::Network,
    weather::lock,
    world::World,
};

pub(crate) struct Oracle<'a> {
    world: &'a World,
    dead: HashSet<Key>,
}

impl<'a> Oracle<'a> {
    pub(crate) async fn ask(world: &'a World) -> Self {
        let dead = world.store.dead(usize::MAX).await.unwrap_or_default();
        Self { world, dead: dead.into_iter().map(|letter| letter.key).collect() }
    }

    /// Everything that a peer wrote is in the inbox once, or given up in public.
    pub(crate) fn inbound(&self) {
        let state = lock(&self.world.inbox.state);
        let mut posted: HashMap<&str, (usize, usize)> = HashMap::new();
        for message in state.messages.values() {
            let Some(source_id) = message.source_id.as_deref() else { continue };
            let (living, deleted) = posted.entry(source_id).or_default();
            let gone = state.conversations[&message.conversation].deleted;
            *if gone { deleted } else { living } += 1;
        }
        for network in &self.world.networks {
            for event in network.events() {
                let key = Key::from(format!("{}/{}/0", network.name, event.event));
                let (living, deleted) = posted.get(key.as_str()).copied().unwrap_or_default();
                let must_be = matches!(event.report, Report::Message(_) | Report::Edited { .. });
                let reached = living + deleted > 0;
                if living > 1 {
                    self.world.weather.violation(format!("{key} is in the inbox {living} times"));
                }
                if must_be && !reached && !self.dead.contains(&key) {
                    self.world.weather.violation(format!("{key} was acknowledged and is nowhere"));
                }
            }
        }
    }

    /// Everything that an agent wrote reached its peer; where it did not, the agent reads so.
    pub(crate) fn told(&self) {
        for (message, missing) in self.missing() {
            if message.status != "failed" {
                let text = format!("message {} lacks {missing:?}, and is shown as {}", message.id, message.status);
                self.world.weather.violation(text);
            }
        }
    }

    /// The same after every failed message was sent again: only those who are gone did not get theirs.
    pub(crate) fn delivered(&self) {
        for (message, missing) in self.missing() {
            let state = lock(&self.world.inbox.state);
            let link = &state.conversations[&message.conversation].source_id;
            let is_gone = link.split_once('/').is_some_and(|(bridge, thread)| {
                let network = self.world.networks.iter().find(|network| network.name.as_str() == bridge);
                network.is_some_and(|network| network.is_gone(&thread.into()))
            });
            if !is_gone {
                let text = format!("message {} lacks {missing:?} after a Retry in calm weather", message.id);
                self.world.weather.violation(text);
            }
        }
    }

    /// Messages for peers that still are one, with the keys that reached nobody.
    fn missing(&self) -> Vec<(Message, Vec<Key>)> {
        let reached: HashSet<Key> =
            self.world.networks.iter().flat_map(|network| network.reached()).map(|reached| reached.key).collect();
        let state = lock(&self.world.inbox.state);
        let for_peers = |message: &&Message| {
            let goes = match message.kind {
                Kind::Outgoing => true,
                Kind::Template => self.world.sends_templates,
                Kind::Incoming | Kind::Activity => false,
            };
            let there = !message.deleted && !state.conversations[&message.conversation].deleted;
            goes && there && !message.private && message.source_id.is_none()
        };
        let mut missing = Vec::new();
        for message in state.messages.values().filter(for_peers) {
            let keys = keys_of(message).filter(|key| !reached.contains(key)).collect::<Vec<_>>();
            if !keys.is_empty() {
                missing.push((message.clone(), keys));
            }
        }
        missing
    }

    /// Nobody reads anything twice, but where the network could not say whether it arrived.
    pub(crate) fn doubles(&self) {
        for network in &self.world.networks {
            let mut times: HashMap<Key, u32> = HashMap::new();
            for reached in network.reached() {
                *times.entry(reached.key).or_default() += 1;
            }
            for (key, times) in times {
                let most = self.most(network, &key);
                if times > most {
                    let text = format!("{key} reached its peer {times} times, at most {most} could be excused");
                    self.world.weather.violation(text);
                }
            }
        }
    }

    fn most(&self, network: &Network, key: &Key) -> u32 {
        let past = self.world.witness.past(key);
        let lives = 1 + past.revivals;
        match (network.resend, World::when_in_doubt(network)) {
            (Resend::Harmless | Resend::Askable, _) => 1,
            // One repeat in each life, and only for a doubt.
            (Resend::Risky, WhenInDoubt::Repeat) => (2 * lives).min(1 + past.doubts),
            (Resend::Risky, WhenInDoubt::Fail) => lives.min(1 + past.doubts),
        }
    }
}

fn keys_of(message: &Message) -> impl Iterator<Item = Key> {
    let (id, conversation) = (message.id, message.conversation);
    (0..message.content.lines().count()).map(move |part| Key::from(format!("support:{id}/{conversation}/{part}")))
}
