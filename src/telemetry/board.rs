//! The state board: how each far side is, since when and why. Read by health checks, written by those who know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bridge_api::BridgeState;
use serde::Serialize;

use super::Figures;
use crate::clock::Clock;

#[derive(Debug)]
pub struct StateBoard {
    clock: Clock,
    figures: Arc<Figures>,
    bridges: Mutex<Bridges>,
    inboxes: Mutex<Inboxes>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Bridges {
    stated: BTreeMap<String, Stated>,
    /// What was told of each, by itself and by its listener; what is shown is made of both.
    running: BTreeMap<String, BridgeState>,
    listening: BTreeMap<String, BridgeState>,
    /// Those that were up once: when they come up out of another state, that is a reconnect.
    were_up: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Inboxes {
    stated: BTreeMap<String, Stated>,
    /// Of these nothing else is believed.
    silenced: BTreeSet<String>,
}

/// A state, and when it began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stated {
    #[serde(flatten)]
    pub state: BridgeState,
    /// Unix milliseconds.
    pub since_millis: i64,
}

impl StateBoard {
    pub fn new(clock: Clock, figures: Arc<Figures>) -> Self {
        let (bridges, inboxes) = Default::default();
        Self { clock, figures, bridges, inboxes, stopping: AtomicBool::new(false) }
    }
    /// What is counted beside the states.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }
    pub fn bridge(&self, name: &str, state: BridgeState) {
        let mut bridges = lock(&self.bridges);
        bridges.running.insert(name.to_owned(), state);
        self.show(&mut bridges, name);
    }
    /// How a bridge's listener is, where it has one beside what may run elsewhere.
    pub fn listener(&self, name: &str, state: Option<BridgeState>) {
        let mut bridges = lock(&self.bridges);
        match state {
            Some(state) => drop(bridges.listening.insert(name.to_owned(), state)),
            None => drop(bridges.listening.remove(name)),
        }
        self.show(&mut bridges, name);
    }
    fn show(&self, bridges: &mut Bridges, name: &str) {
        let Some(running) = bridges.running.get(name) else { return };
        let state = both(running, bridges.listening.get(name)).clone();
        let was_up = bridges.stated.get(name).is_some_and(|stated| works(&stated.state));
        let again = works(&state) && !was_up && !bridges.were_up.insert(name.to_owned());
        self.figures.bridge_is(name, &state, again);
        set(&mut bridges.stated, name, state, self.clock);
    }
    pub fn inbox(&self, name: &str, state: BridgeState) {
        let mut inboxes = lock(&self.inboxes);
        if !inboxes.silenced.contains(name) {
            self.set_inbox(&mut inboxes, name, state);
        }
    }
    /// This state stays, whatever else is told of the inbox, until it [may speak](Self::inbox_may_speak) again.
    pub fn inbox_silenced(&self, name: &str, state: BridgeState) {
        let mut inboxes = lock(&self.inboxes);
        inboxes.silenced.insert(name.to_owned());
        self.set_inbox(&mut inboxes, name, state);
    }
    pub fn inbox_may_speak(&self, name: &str, state: BridgeState) {
        let mut inboxes = lock(&self.inboxes);
        inboxes.silenced.remove(name);
        self.set_inbox(&mut inboxes, name, state);
    }
    pub fn bridges(&self) -> BTreeMap<String, Stated> {
        lock(&self.bridges).stated.clone()
    }
    pub fn inboxes(&self) -> BTreeMap<String, Stated> {
        lock(&self.inboxes).stated.clone()
    }
    /// From now on nothing new is taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn set_inbox(&self, inboxes: &mut Inboxes, name: &str, state: BridgeState) {
        self.figures.inbox_is(name, &state);
        set(&mut inboxes.stated, name, state, self.clock);
    }
}

fn works(state: &BridgeState) -> bool {
    match state {
        BridgeState::Up | BridgeState::Degraded { .. } => true,
        BridgeState::Connecting | BridgeState::Down { .. } | BridgeState::Elsewhere => false,
    }
}

/// The worse of the two. Nothing comes in where nobody listens, wherever the rest is done.
fn both<'a>(running: &'a BridgeState, listening: Option<&'a BridgeState>) -> &'a BridgeState {
    let Some(listening) = listening else { return running };
    match (listening, running) {
        (BridgeState::Up | BridgeState::Elsewhere, _)
        | (_, BridgeState::Down { .. })
        | (BridgeState::Connecting | BridgeState::Degraded { .. }, BridgeState::Connecting)
        | (BridgeState::Connecting, BridgeState::Elsewhere) => running,
        (BridgeState::Connecting | BridgeState::Degraded { .. } | BridgeState::Down { .. }, _) => listening,
    }
}

/// The moment stays while it is the same in other words, and while one try after another fails.
fn set(board: &mut BTreeMap<String, Stated>, name: &str, state: BridgeState, clock: Clock) {
    match board.get_mut(name) {
        Some(stated) if condition(&stated.state) == condition(&state) => stated.state = state,
        Some(_) | None => {
            board.insert(name.to_owned(), Stated { state, since_millis: clock.of_day() });
        }
    }
}

/// What an operator would call a change.
fn condition(state: &BridgeState) -> u8 {
    match state {
        BridgeState::Up => 0,
        BridgeState::Degraded { .. } => 1,
        BridgeState::Connecting | BridgeState::Down { .. } => 2,
        BridgeState::Elsewhere => 3,
    }
}

fn lock<T>(board: &Mutex<T>) -> MutexGuard<'_, T> {
    board.lock().expect("nothing panics while it holds the board")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_reconnects_when_it_was_up_before_and_was_lost() {
        let figures = Arc::new(Figures::new([("net", "support")], ["support"], None));
        let board = StateBoard::new(Clock::from_millis(0), figures.clone());
        let down = || BridgeState::Down { reason: "gone".into() };
        let degraded = || BridgeState::Degraded { reason: "so so".into() };
        let reconnects = || figures.snapshot(0).bridges[0].reconnects;
        for (state, expected) in [
            (BridgeState::Connecting, 0),
            (down(), 0),
            (BridgeState::Up, 0),
            (degraded(), 0),
            (BridgeState::Up, 0),
            (BridgeState::Connecting, 0),
            (degraded(), 1),
            (BridgeState::Up, 1),
            (down(), 1),
            (BridgeState::Up, 2),
        ] {
            board.bridge("net", state.clone());
            assert_eq!(reconnects(), expected, "{state:?}");
        }
    }

    #[test]
    fn a_bridge_is_down_since_it_was_lost_however_often_it_tries() {
        let figures = Arc::new(Figures::new([("net", "support")], ["support"], None));
        let board = StateBoard::new(Clock::system(), figures);
        let since = || board.bridges()["net"].since_millis;
        let begun = [BridgeState::Up, BridgeState::Down { reason: "gone".into() }].map(|state| {
            board.bridge("net", state);
            lock(&board.bridges).stated.get_mut("net").expect("it was told").since_millis -= 1_000_000;
            since()
        });
        for state in [BridgeState::Connecting, BridgeState::Down { reason: "still gone".into() }] {
            board.bridge("net", state.clone());
            assert_eq!((since(), board.bridges()["net"].state.clone()), (begun[1], state));
        }
        board.bridge("net", BridgeState::Up);
        assert!(since() > begun[1], "that is news");
    }

    #[test]
    fn what_is_shown_of_a_bridge_is_the_worse_of_itself_and_its_listener() {
        let figures = Arc::new(Figures::new([("net", "support")], ["support"], None));
        let board = StateBoard::new(Clock::from_millis(0), figures);
        let down = |reason: &str| BridgeState::Down { reason: reason.into() };
        let so_so = || BridgeState::Degraded { reason: "so so".into() };
        let taken = || Some(down("taken"));
        for (running, listening, shown) in [
            (BridgeState::Up, Some(BridgeState::Up), BridgeState::Up),
            (BridgeState::Up, None, BridgeState::Up),
            (BridgeState::Up, Some(BridgeState::Connecting), BridgeState::Connecting),
            (BridgeState::Up, taken(), down("taken")),
            (BridgeState::Up, Some(so_so()), so_so()),
            (so_so(), taken(), down("taken")),
            (down("gone"), Some(BridgeState::Up), down("gone")),
            (down("gone"), taken(), down("gone")),
            (BridgeState::Elsewhere, Some(BridgeState::Up), BridgeState::Elsewhere),
            (BridgeState::Elsewhere, Some(BridgeState::Connecting), BridgeState::Elsewhere),
            (BridgeState::Elsewhere, taken(), down("taken")),
            (BridgeState::Connecting, taken(), down("taken")),
        ] {
            board.bridge("net", running.clone());
            board.listener("net", listening.clone());
            assert_eq!(board.bridges()["net"].state, shown, "{running:?} {listening:?}");
        }
    }

    #[test]
    fn a_state_is_one_figure_of_four() {
        let figures = Arc::new(Figures::new([("net", "support")], ["support"], None));
        let board = StateBoard::new(Clock::from_millis(0), figures.clone());
        board.bridge("net", BridgeState::Up);
        board.inbox("support", BridgeState::Connecting);
        board.inbox("support", BridgeState::Down { reason: "gone".into() });
        board.bridge("stranger", BridgeState::Up);
        let text = figures.text();
        let ones: Vec<_> = text.lines().filter(|line| line.contains("_state{") && line.ends_with(" 1")).collect();
        assert_eq!(
            ones,
            [
                "deskbridge_bridge_state{bridge=\"net\",state=\"up\"} 1",
                "deskbridge_inbox_state{inbox=\"support\",state=\"down\"} 1"
            ]
        );
    }
}
