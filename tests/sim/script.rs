//! What people do in one run, and what is done to the gateway meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bridge_api::{EventId, Inbound, Message, Peer, Receipt, Report, Speaker, ThreadId};
use tokio::sync::mpsc;

use crate::{
    canary,
    inbox::Kind,
    network::Network,
    replicas,
    weather::{Strike, lock},
    world::{Order, World},
};

/// Threads of each network: a peer each, but for the last two, which one peer has.
const THREADS: usize = 4;
/// Of three people, one has a thread that leads nowhere any more.
const GONE: usize = 3;

pub(crate) struct Script {
    world: Arc<World>,
    /// To whoever runs the process in each place.
    orders: Vec<mpsc::Sender<Order>>,
    /// Numbers everything that is said.
    said: usize,
    /// As the network shows them at the moment, by network and peer.
    nicks: BTreeMap<(usize, usize), usize>,
    /// Public messages of agents, oldest first.
    answers: Vec<i64>,
}

impl Script {
    pub(crate) fn new(world: Arc<World>, orders: Vec<mpsc::Sender<Order>>) -> Self {
        Self { world, orders, said: 0, nicks: BTreeMap::new(), answers: Vec::new() }
    }

    /// So many things happen, at any pace.
    pub(crate) async fn play(&mut self, steps: usize) {
        let pace = [20, 300, 3_000][self.world.weather.below(3)];
        for step in 0..steps {
            tokio::time::sleep(self.world.weather.between(0, pace)).await;
            // Somebody has to have written before anybody can answer.
            match if step < 6 { 0 } else { self.world.weather.below(100) } {
                0..=33 => self.peer_writes(),
                34..=40 => self.peer_does(),
                41..=66 => self.agent_writes(),
                67..=77 => self.inbox_writes(),
                78..=88 => self.agent_does(),
                89..=96 => self.gateway_suffers().await,
                _ => self.time_passes().await,
            }
        }
    }

    /// Each thread of each network has its conversation after that.
    pub(crate) async fn everybody_writes(&mut self) {
        for at in 0..self.world.networks.len() {
            let network = self.world.networks[at].clone();
            for thread in 0..THREADS {
                let message = self.message(at, &network, thread);
                self.happen(&network, thread, Report::Message(message));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn network(&self) -> (usize, Arc<Network>) {
        let at = self.world.weather.below(self.world.networks.len());
        (at, self.world.networks[at].clone())
    }

    fn peer_writes(&mut self) {
        let (at, network) = self.network();
        let thread = self.world.weather.below(THREADS);
        for _ in 0..=self.world.weather.below(3) {
            let message = self.message(at, &network, thread);
            self.happen(&network, thread, Report::Message(message));
        }
    }

    fn message(&mut self, at: usize, network: &Network, thread: usize) -> Message {
        self.said += 1;
        // The last two threads are one peer's.
        let peer = thread.min(THREADS - 2);
        let nick = *self.nicks.entry((at, peer)).or_insert(peer);
        let peer = Peer {
            id: format!("p{peer}").into(),
            name: format!("nick{nick}"),
            facts: BTreeMap::new(),
            email: None,
            picture: None,
        };
        Message {
            peer,
            speaker: Speaker::Peer,
            text: canary::from_peer(&format!("{}/t{thread}", network.name), self.said),
            attachments: Vec::new(),
            reply_to: None,
            quiet: false,
            facts: BTreeMap::new(),
            thread_facts: BTreeMap::new(),
        }
    }

    fn happen(&mut self, network: &Network, thread: usize, report: Report) {
        self.said += 1;
        let at_millis = self.world.weather.clock.now();
        let thread = ThreadId::from(format!("t{thread}"));
        let event = EventId::from(format!("e{}", self.said));
        network.happens(Inbound { event, at_millis, thread, report });
    }

    fn peer_does(&mut self) {
        let (at, network) = self.network();
        let thread = self.world.weather.below(THREADS);
        match self.world.weather.below(5) {
            0 => self.change_nicks(at),
            1 => {
                let earlier = network.events().into_iter().rev().find(|event| {
                    event.thread.as_str() == format!("t{thread}") && matches!(event.report, Report::Message(_))
                });
                if let Some(earlier) = earlier {
                    self.happen(&network, thread, Report::Withdrawn { event: earlier.event });
                }
            }
            2 => {
                let text = canary::from_peer(&format!("{}/t{thread}", network.name), self.said);
                self.happen(&network, thread, Report::Note { text, see: None });
            }
            3 => {
                let message = self.message(at, &network, thread);
                let event = EventId::from("e1");
                self.happen(&network, thread, Report::Edited { event, message });
            }
            _ => self.hear_of_receipt(&network),
        }
    }

    /// Two people swap their names: whoever goes by names sends to the wrong one.
    fn change_nicks(&mut self, at: usize) {
        self.world.weather.met(Strike::NickChanged);
        let (one, other) = (self.world.weather.below(THREADS - 1), self.world.weather.below(THREADS - 1));
        let nick = |of: usize| self.nicks.get(&(at, of)).copied().unwrap_or(of);
        let (was, is) = (nick(one), nick(other));
        self.nicks.insert((at, one), is);
        self.nicks.insert((at, other), was);
    }

    fn hear_of_receipt(&mut self, network: &Network) {
        let reached = network.reached();
        let Some(reached) = reached.get(self.world.weather.below(reached.len())).cloned() else { return };
        self.world.weather.met(Strike::ReceiptLate);
        let thread: usize = reached.thread.as_str()[1..].parse().unwrap_or(0);
        let receipt = match self.world.weather.below(5) {
            0 | 1 => Receipt::Delivered,
            2 | 3 => Receipt::Read,
            _ => Receipt::Failed("nobody of this name".into()),
        };
        self.happen(network, thread, Report::Receipt { key: reached.key, receipt });
    }

    /// Any conversation that is there.
    fn conversation(&self) -> Option<(i64, String)> {
        let state = lock(&self.world.inbox.state);
        let living: Vec<_> = state.conversations.values().filter(|conversation| !conversation.deleted).collect();
        let found = living.get(self.world.weather.below(living.len()))?;
        Some((found.id, found.source_id.clone()))
    }

    fn agent_writes(&mut self) {
        let Some((conversation, link)) = self.conversation() else { return };
        for _ in 0..=self.world.weather.below(2) {
            self.said += 1;
            let lines = 1 + self.world.weather.below(3);
            let text: Vec<_> = (0..lines).map(|line| canary::to_peer(&link, self.said, line)).collect();
            self.answers.push(self.world.inbox.write(conversation, Kind::Outgoing, false, text.join("\n")));
        }
    }

    /// Everything that is not for a peer, and templates, which may be.
    fn inbox_writes(&mut self) {
        let Some((conversation, link)) = self.conversation() else { return };
        self.said += 1;
        let secret = format!("{} {}", canary::SECRET, self.said);
        let inbox = &self.world.inbox;
        match self.world.weather.below(6) {
            0 | 1 => {
                self.world.weather.met(Strike::Note);
                inbox.write(conversation, Kind::Outgoing, true, secret);
            }
            2 => {
                self.world.weather.met(Strike::Activity);
                inbox.write(conversation, Kind::Activity, false, secret);
            }
            3 => {
                self.world.weather.met(Strike::Template);
                let text = if self.world.sends_templates { canary::to_peer(&link, self.said, 0) } else { secret };
                inbox.write(conversation, Kind::Template, false, text);
            }
            _ => inbox.write_elsewhere(conversation),
        }
    }

    fn agent_does(&mut self) {
        let weather = &self.world.weather;
        let inbox = &self.world.inbox;
        let recent = self.answers.iter().rev().take(6).copied().collect::<Vec<_>>();
        let answer = recent.get(weather.below(recent.len())).copied();
        match (weather.below(12), answer) {
            (0 | 1, Some(answer)) => inbox.take_back(answer),
            (2 | 3, Some(answer)) => inbox.translate(answer),
            (4..=6, _) => {
                let failed = |m: &&crate::inbox::Message| m.status == "failed" && !m.deleted;
                let failed: Vec<i64> = lock(&inbox.state).messages.values().filter(failed).map(|m| m.id).collect();
                if let Some(id) = failed.get(weather.below(failed.len())) {
                    inbox.press_retry(*id);
                }
            }
            (7 | 8, _) => {
                if let Some((conversation, _)) = self.conversation() {
                    inbox.resolve(conversation);
                }
            }
            (9, _) => inbox.merge_two(),
            (10, _) if weather.one_in(3) => {
                if let Some((conversation, _)) = self.conversation() {
                    inbox.delete_conversation(conversation);
                }
            }
            (11, _) if weather.one_in(4) => {
                let thread = ThreadId::from(format!("t{}", weather.below(THREADS)));
                self.world.networks[weather.below(GONE)].leaves(&thread);
            }
            _ => {}
        }
    }

    async fn gateway_suffers(&self) {
        let weather = &self.world.weather;
        if self.world.is_shared() {
            let place = weather.below(self.orders.len());
            return replicas::suffers(&self.world, place, &self.orders[place]).await;
        }
        match weather.below(10) {
            0..=5 => self.world.crash_after(weather.below(150)),
            6 | 7 => self.order(Order::Restart).await,
            _ => self.order(Order::TakeOver).await,
        }
    }

    async fn order(&self, order: Order) {
        // Between two lives nobody takes orders.
        if self.orders[0].send_timeout(order, Duration::from_secs(5)).await.is_err() {
            self.world.weather.say("nobody takes orders now");
        }
    }

    async fn time_passes(&self) {
        tokio::time::sleep(self.world.weather.between(1_000, 120_000)).await;
    }
}
