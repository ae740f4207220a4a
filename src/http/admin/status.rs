//! How everything is at one moment, gathered from those who know. Asks the store only what costs the same however much
//! waits.

use std::{collections::BTreeMap, time::Duration};

use bridge_api::{BridgeName, BridgeState};
use serde::Serialize;

use crate::{
    http::Front,
    model::gate::TurnedAway,
    store::Depth,
    telemetry::{BridgeShown, Snapshot, Stated},
};

/// The disk may be slow; the page is not.
const CHECK_LIMIT: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) started_millis: i64,
    pub(super) now_millis: i64,
    pub(super) stopping: bool,
    pub(super) store: StoreShown,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    pub(super) bridges: Vec<Side>,
    pub(super) inboxes: Vec<Side>,
    /// What is for a far side that the settings no longer name.
    pub(super) gone: Vec<Gone>,
}

#[derive(Debug, Serialize)]
pub(super) struct StoreShown {
    pub(super) kind: String,
    /// Why it cannot be used.
    pub(super) fault: Option<String>,
}

/// A bridge or an inbox.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) name: String,
    /// `bridge:NAME` or `inbox:NAME`.
    pub(super) sink: String,
    /// `None` before anything was heard of it.
    #[serde(flatten)]
    pub(super) stated: Option<Stated>,
    /// That a bridge feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inbox: Option<String>,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    /// By an operator.
    pub(super) paused: bool,
    /// Who was not let in lately.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) turned_away: Vec<TurnedAway>,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What is counted of a far side. `None` where nobody counts, or nothing was seen yet.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    /// Messages from the networks towards the inbox, and the other way, within the last minute.
    pub(super) inbound_per_minute: Option<u64>,
    pub(super) outbound_per_minute: Option<u64>,
    pub(super) last_inbound_millis: Option<i64>,
    pub(super) last_outbound_millis: Option<i64>,
    /// How long the oldest that waits for it has waited.
    pub(super) oldest_millis: Option<i64>,
    /// Nothing is tried before that moment.
    pub(super) held_until_millis: Option<i64>,
    pub(super) last_sweep_millis: Option<i64>,
    /// Messages that were not let in since the start.
    pub(super) refused: Option<u64>,
    /// Messages that sweeps found since the start.
    pub(super) sweep_recovered: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Gone {
    pub(super) sink: String,
    pub(super) waiting: u64,
    pub(super) dead: u64,
}

/// How much somebody should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
}

impl Status {
    /// Says so when the store cannot be asked, and shows the rest all the same.
    pub(super) async fn now(front: &Front) -> Self {
        let (depth, fault) = match front.store.depth().await {
            Ok(depth) => (depth, unwritable(front).await),
            Err(error) => (Depth::default(), Some(error.to_string())),
        };
        let (bridges, inboxes) = (front.board.bridges(), front.board.inboxes());
        let counted = front.snapshot().await;
        let bridge = |shown: &BridgeShown| {
            let side = Side::of("bridge", &shown.name, &bridges, &depth);
            let paused = front.levers.is_paused(&BridgeName::from(shown.name.as_str()));
            let turned_away = front.intake.gates().turned_away(&shown.name);
            Side { inbox: Some(shown.inbox.clone()), paused, turned_away, ..side }
        };
        // One that left with a change of the settings is counted on, and no longer stated.
        let shown = counted.bridges.iter().filter(|shown| bridges.contains_key(&shown.name));
        let mut names: Vec<_> = front.doors.keys().collect();
        names.sort();
        let mut status = Self {
            version: env!("CARGO_PKG_VERSION"),
            started_millis: front.admin.started_millis,
            now_millis: front.clock.now(),
            stopping: front.board.stopping(),
            store: StoreShown { kind: front.store.describe(), fault },
            waiting: depth.waiting,
            dead: depth.dead,
            bridges: shown.map(bridge).collect(),
            inboxes: names.into_iter().map(|name| Side::of("inbox", name, &inboxes, &depth)).collect(),
            gone: Vec::new(),
        };
        status.gone = gone(&depth, &status);
        status.fill(&counted);
        status
    }

    fn fill(&mut self, counted: &Snapshot) {
        for side in self.bridges.iter_mut().chain(&mut self.inboxes) {
            if let Some(sink) = counted.sinks.iter().find(|sink| sink.name == side.sink) {
                side.figures.oldest_millis = sink.oldest_age_seconds.map(|seconds| (seconds * 1000.0) as i64);
                side.figures.held_until_millis = sink.held_until_millis;
            }
        }
        for bridge in &counted.bridges {
            let fed = self.inboxes.iter_mut().filter(|side| side.name == bridge.inbox);
            let sides = self.bridges.iter_mut().filter(|side| side.name == bridge.name).chain(fed);
            sides.for_each(|side| side.figures.add(bridge));
        }
        for inbox in &counted.inboxes {
            for side in self.inboxes.iter_mut().filter(|side| side.name == inbox.name) {
                side.figures.last_sweep_millis = inbox.last_sweep_millis;
                side.figures.sweep_recovered = Some(inbox.sweep_recovered);
            }
        }
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        self.bridges.iter().chain(&self.inboxes)
    }

    /// The worst of everything.
    pub(super) fn tone(&self) -> Tone {
        let sides = self.sides().map(Side::tone).max().unwrap_or(Tone::Good);
        let store = if self.store.fault.is_some() { Tone::Bad } else { Tone::Good };
        let rest = if self.dead > 0 || self.stopping { Tone::Warn } else { Tone::Good };
        sides.max(store).max(rest)
    }
}

impl Side {
    fn of(kind: &str, name: &str, stated: &BTreeMap<String, Stated>, depth: &Depth) -> Self {
        let sink = format!("{kind}:{name}");
        let count = |counts: &[(String, u64)]| counts.iter().find(|(of, _)| *of == sink).map_or(0, |(_, count)| *count);
        let (waiting, dead) = (count(&depth.sinks), count(&depth.dead_sinks));
        let stated = stated.get(name).cloned();
        let (paused, turned_away, figures) = Default::default();
        Self { name: name.to_owned(), sink, stated, inbox: None, waiting, dead, paused, turned_away, figures }
    }

    pub(super) fn tone(&self) -> Tone {
        match self.stated.as_ref().map(|stated| &stated.state) {
            Some(BridgeState::Up | BridgeState::Elsewhere) => Tone::Good,
            Some(BridgeState::Connecting | BridgeState::Degraded { .. }) | None => Tone::Warn,
            Some(BridgeState::Down { .. }) => Tone::Bad,
        }
    }
}

impl Figures {
    /// An inbox has those of all bridges that feed it.
    fn add(&mut self, bridge: &BridgeShown) {
        let (inbound, outbound) = (&bridge.inbound, &bridge.outbound);
        *self.inbound_per_minute.get_or_insert(0) += inbound.delivered_per_minute;
        *self.refused.get_or_insert(0) += bridge.refused;
        *self.outbound_per_minute.get_or_insert(0) += outbound.delivered_per_minute;
        self.last_inbound_millis = self.last_inbound_millis.max(inbound.last_success_millis);
        self.last_outbound_millis = self.last_outbound_millis.max(outbound.last_success_millis);
    }
}

/// Why nothing can be written, when that is known in time.
async fn unwritable(front: &Front) -> Option<String> {
    let checked = tokio::time::timeout(CHECK_LIMIT, front.store.check()).await;
    checked.ok()?.err().map(|error| error.to_string())
}

fn gone(depth: &Depth, status: &Status) -> Vec<Gone> {
    let mut gone = BTreeMap::<&str, (u64, u64)>::new();
    for (sink, waiting) in &depth.sinks {
        gone.entry(sink).or_default().0 = *waiting;
    }
    for (sink, dead) in &depth.dead_sinks {
        gone.entry(sink).or_default().1 = *dead;
    }
    let named = |sink: &str| status.sides().any(|side| side.sink == sink);
    let gone = gone.into_iter().filter(|(sink, _)| !named(sink));
    gone.map(|(sink, (waiting, dead))| Gone { sink: sink.to_owned(), waiting, dead }).collect()
}
